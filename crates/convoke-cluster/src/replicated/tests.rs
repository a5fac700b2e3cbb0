use std::io::{self, Read, Write};

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::System;
use crate::{
    At, Image, StateMachine, coding,
    engine::types::{Op, Origin, Proposal},
    kv::{
        self,
        machine::{Command as KvCommand, When},
    },
    locks::table::{Answer, Command},
};

/// Counts its commands, and tells the times it was given.
#[derive(Debug, Clone, Default)]
struct Tally {
    commands: u64,
    ticks: u64,
    last_ms: u64,
}

impl StateMachine for Tally {
    type Image = Tally;

    fn apply(&mut self, at: At, command: &[u8]) -> Bytes {
        self.commands += 1;
        self.last_ms = at.time_ms;
        Bytes::from([command, &self.commands.to_le_bytes()].concat())
    }

    fn tick(&mut self, at: At) {
        self.ticks += 1;
        self.last_ms = at.time_ms;
    }

    fn next_expiry_ms(&self) -> Option<u64> {
        (self.ticks < 3).then_some(5_000)
    }

    fn image(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, image: &mut dyn Read) -> io::Result<()> {
        let (commands, ticks, last_ms) = coding::read_record(image, 100)?;
        *self = Self { commands, ticks, last_ms };
        Ok(())
    }
}

impl Image for Tally {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        coding::write_record(to, &(self.commands, self.ticks, self.last_ms))
    }
}

fn command(time_ms: u64, sequence: Option<u64>) -> Proposal {
    let origin =
        sequence.map(|sequence| Origin { client: Uuid::from_u128(1), sequence, answered_below: 0, born: 0 });
    Proposal { time_ms, origin, op: Op::Machine(Bytes::from_static(b"x")) }
}

fn lock(time_ms: u64, name: &str) -> Proposal {
    let command =
        Command::Acquire { name: name.into(), owner: Uuid::from_u128(9), ttl_ms: 2_000, wait: false };
    Proposal { time_ms, origin: None, op: Op::Lock(coding::encode(&command)) }
}

fn bytes_of<M: StateMachine>(system: &System<M>) -> Vec<u8> {
    let mut bytes = Vec::new();
    system.image().write(&mut bytes).unwrap();
    bytes
}

fn filled() -> System<Tally> {
    let mut system = System::new(Tally::default());
    system.apply(1, 1, command(1_000, Some(0)));
    system.apply(2, 1, lock(1_500, "nightly"));
    system.apply(3, 2, command(1_600, Some(1)));
    system
}

#[test]
fn a_proposal_that_comes_twice_is_applied_once_and_answered_as_before() {
    let mut system = System::new(Tally::default());
    let first = system.apply(5, 1, command(1_000, Some(0)));
    let again = system.apply(8, 2, command(2_000, Some(0)));
    assert_eq!(first, again);
    assert_eq!((system.machine().commands, again.index, again.term), (1, 5, 1));
}

#[test]
fn without_an_origin_each_comes_anew() {
    let mut system = System::new(Tally::default());
    system.apply(5, 1, command(1_000, None));
    system.apply(6, 1, command(1_000, None));
    assert_eq!(system.machine().commands, 2);
}

#[test]
fn what_may_have_been_applied_is_not_applied_and_says_so() {
    let mut system = System::new(Tally::default());
    let mut later = command(1_000, Some(5));
    later.origin.as_mut().unwrap().answered_below = 5;
    system.apply(5, 1, later);
    let late = system.apply(6, 1, command(1_000, Some(4)));
    assert!(late.forgotten && late.answer.is_empty());
    assert_eq!((late.index, system.machine().commands), (6, 1));
}

#[test]
fn time_never_goes_back() {
    let mut system = System::new(Tally::default());
    system.apply(1, 1, command(5_000, None));
    system.apply(2, 2, command(1_000, None));
    assert_eq!((system.clock.time_ms, system.machine().last_ms), (5_000, 5_000));
    system.apply(3, 2, Proposal { time_ms: 6_000, origin: None, op: Op::Tick });
    assert_eq!((system.clock.time_ms, system.machine().last_ms, system.machine().ticks), (6_000, 6_000, 1));
}

#[test]
fn the_next_expiry_is_the_earliest_of_locks_and_machine() {
    let mut system = System::new(Tally::default());
    assert_eq!(system.next_expiry_ms(1), Some(0), "a leader writes once before its clock counts");
    let held = system.apply(1, 1, lock(1_000, "nightly"));
    assert_eq!(coding::decode(&held.answer), Some(Answer::Granted { fence: 1 }));
    assert_eq!(system.next_expiry_ms(1), Some(3_000));
    system.apply(2, 1, Proposal { time_ms: 3_000, origin: None, op: Op::Tick });
    assert_eq!(system.next_expiry_ms(1), Some(6_000), "the lease was ended by the tick");
    assert_eq!(system.next_expiry_ms(2), Some(0));
}

#[test]
fn a_copy_restored_from_an_image_goes_on_as_the_one_it_was_made_of() {
    let mut system = filled();
    let image = system.image();
    let mut bytes = Vec::new();
    let retry = command(9_000, Some(1));
    let expected = system.apply(4, 3, retry.clone());
    image.write(&mut bytes).unwrap();

    let mut copy = System::new(Tally::default());
    copy.restore(&mut &bytes[..]).unwrap();
    assert_eq!(copy.clock.time_ms, 1_600, "the image was taken before the retry");
    assert_eq!(copy.apply(4, 3, retry), expected);
    assert_eq!(bytes_of(&copy), bytes_of(&system));
}

#[test]
fn an_image_that_was_cut_off_or_is_of_another_version_is_an_error() {
    let bytes = bytes_of(&filled());
    for len in 0..bytes.len() {
        assert!(System::new(Tally::default()).restore(&mut &bytes[..len]).is_err(), "cut off at {len}");
    }
    let mut other = bytes.clone();
    other[0] = 2;
    let err = System::new(Tally::default()).restore(&mut &other[..]).unwrap_err();
    assert!(err.to_string().contains("version 2"), "{err}");
}

proptest::proptest! {
    #[test]
    fn noise_in_an_image_is_an_error_or_a_state_and_never_a_panic(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        noise in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = bytes_of(&filled());
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = System::new(Tally::default()).restore(&mut &bytes[..]);
        let _ = System::new(Tally::default()).restore(&mut &[&[super::IMAGE_VERSION][..], &noise].concat()[..]);
    }
}

fn kv_commands() -> impl Strategy<Value = KvCommand> {
    let key = prop_oneof![Just("a"), Just("b")].prop_map(|key| Bytes::from_static(key.as_bytes()));
    let when = prop_oneof![Just(When::Always), Just(When::Absent), (0..30u64).prop_map(When::Version)];
    let fence =
        proptest::option::weighted(0.3, (0..9u64).prop_map(|token| (Bytes::from_static(b"nightly"), token)));
    (key, when, fence, proptest::option::of(1..2_000u64), any::<bool>()).prop_map(
        |(key, when, fence, ttl_ms, puts)| {
            let value = Bytes::from_static(b"value");
            if puts {
                KvCommand::Put { key, value, ttl_ms, when, fence }
            } else {
                KvCommand::Delete { key, when, fence }
            }
        },
    )
}

fn lock_commands() -> impl Strategy<Value = Command> {
    let name = prop_oneof![Just("x"), Just("y")].prop_map(str::to_owned);
    (name, 0..4u128, 0..3u8, any::<bool>(), 0..30u64).prop_map(|(name, who, kind, wait, fence)| {
        let owner = Uuid::from_u128(who);
        match kind {
            0 => Command::Acquire { name, owner, ttl_ms: 1_500, wait },
            1 => Command::Renew { name, owner, fence },
            _ => Command::Release { name, owner },
        }
    })
}

/// What stands in a log: some of it twice, and terms that begin with a clock of their own.
fn log() -> impl Strategy<Value = Vec<(bool, Proposal)>> {
    let op = prop_oneof![
        Just(Op::Tick),
        kv_commands().prop_map(|command| Op::Machine(coding::encode(&command))),
        lock_commands().prop_map(|command| Op::Lock(coding::encode(&command))),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|noise| Op::Machine(noise.into())),
    ];
    let origin = (0..3u128, 0..20u64, 0..20u64).prop_map(|(client, sequence, answered_below)| Origin {
        client: Uuid::from_u128(client),
        sequence,
        answered_below,
        born: 0,
    });
    let proposal = (0..9_000u64, proptest::option::of(origin), op)
        .prop_map(|(time_ms, origin, op)| Proposal { time_ms, origin, op });
    proptest::collection::vec((proptest::bool::weighted(0.1), proposal), 1..60)
}

proptest::proptest! {
    #[test]
    fn two_copies_and_one_restored_half_way_answer_alike_and_end_alike(log in log(), half in 0..60usize) {
        let [mut one, mut two] = [(); 2].map(|()| System::new(kv::Machine::default()));
        let (mut term, mut late) = (1, None::<System<kv::Machine>>);
        for (number, (elected, proposal)) in log.into_iter().enumerate() {
            if number == half {
                let mut copy = System::new(kv::Machine::default());
                copy.restore(&mut &bytes_of(&one)[..]).unwrap();
                late = Some(copy);
            }
            term += u64::from(elected);
            let index = number as u64 + 1;
            let answer = one.apply(index, term, proposal.clone());
            prop_assert_eq!(&answer, &two.apply(index, term, proposal.clone()));
            if let Some(late) = &mut late {
                prop_assert_eq!(&answer, &late.apply(index, term, proposal));
                prop_assert_eq!(bytes_of(late), bytes_of(&one));
            }
        }
        prop_assert_eq!(bytes_of(&one), bytes_of(&two));
    }
}

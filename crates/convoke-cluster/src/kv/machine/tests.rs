use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::{Answer, Change, Command, Machine, Refusal, When};
use crate::{
    At, Image, StateMachine, coding,
    kv::{
        Value,
        limits::{
            EXPIRED_PER_ENTRY, KEY_BYTES_MAX, PAGE_BYTES_MAX, PAGE_VISITS_MAX, SCOPE_BYTES_MAX,
            VALUE_BYTES_MAX,
        },
    },
};

fn at(index: u64, time_ms: u64) -> At {
    At { index, term: 1, time_ms: 0, steady_ms: time_ms }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> Command {
    Command::Put { key: bytes(key), value: bytes(value), ttl_ms: None, when: When::Always, fence: None }
}

fn swap(key: &str, when: When, value: &str) -> Command {
    Command::Put { key: bytes(key), value: bytes(value), ttl_ms: None, when, fence: None }
}

fn mortal(key: &str, ttl_ms: u64) -> Command {
    Command::Put { key: bytes(key), value: bytes("v"), ttl_ms: Some(ttl_ms), when: When::Always, fence: None }
}

fn delete(key: &str, when: When) -> Command {
    Command::Delete { key: bytes(key), when, fence: None }
}

fn fenced(key: &str, scope: &str, token: u64) -> Command {
    let fence = Some((bytes(scope), token));
    Command::Put { key: bytes(key), value: bytes("v"), ttl_ms: None, when: When::Always, fence }
}

fn ask(machine: &mut Machine, at: At, command: &Command) -> Answer {
    coding::decode(&machine.apply(at, &coding::encode(command))).unwrap()
}

fn done(index: u64, existed: bool) -> Answer {
    Answer::Done { index, existed }
}

/// Each step: its time, what is asked, what is answered. The index of a step is its number from 1.
#[track_caller]
fn check(steps: &[(u64, Command, Answer)]) -> Machine {
    let mut machine = Machine::default();
    for (number, (time_ms, command, expected)) in steps.iter().enumerate() {
        let answer = ask(&mut machine, at(number as u64 + 1, *time_ms), command);
        assert_eq!(answer, *expected, "step {}", number + 1);
    }
    machine
}

fn image_of(machine: &Machine) -> Vec<u8> {
    let mut bytes = Vec::new();
    machine.image().write(&mut bytes).unwrap();
    bytes
}

fn restored(image: &[u8]) -> Machine {
    let mut machine = Machine::default();
    machine.restore(&mut &image[..]).unwrap();
    machine
}

#[test]
fn the_version_of_a_value_is_the_place_of_its_last_write() {
    let machine = check(&[
        (0, put("a", "1"), done(1, false)),
        (0, put("b", "1"), done(2, false)),
        (0, put("a", "2"), done(3, true)),
    ]);
    assert_eq!(machine.get(b"a", 0), Some(Value { bytes: bytes("2"), version: 3, remaining: None }));
    assert_eq!(machine.get(b"c", 0), None);
}

#[test]
fn a_condition_that_does_not_hold_changes_nothing_and_tells_the_version() {
    check(&[
        (0, swap("a", When::Version(1), "x"), Answer::Conflict { current: None }),
        (0, swap("a", When::Absent, "1"), done(2, false)),
        (0, swap("a", When::Absent, "x"), Answer::Conflict { current: Some(2) }),
        (0, swap("a", When::Version(1), "x"), Answer::Conflict { current: Some(2) }),
        (0, swap("a", When::Version(2), "2"), done(5, true)),
        (0, delete("a", When::Version(2)), Answer::Conflict { current: Some(5) }),
        (0, delete("a", When::Version(5)), done(7, true)),
        (0, delete("a", When::Always), done(8, false)),
        (0, delete("a", When::Absent), done(9, false)),
    ]);
}

#[test]
fn a_key_whose_time_is_over_is_invisible_at_once_and_removed_by_a_tick() {
    let mut machine = check(&[(100, mortal("a", 50), done(1, false))]);
    assert_eq!(machine.get(b"a", 149).map(|value| value.remaining), Some(Some(Duration::from_millis(1))));
    assert_eq!(machine.get(b"a", 150), None);
    assert_eq!(machine.page(b"", None, 9, 150).entries, vec![]);
    assert_eq!(machine.next_expiry_ms(), Some(150));
    machine.tick(at(2, 149));
    assert_eq!(machine.entries.len(), 1);
    machine.tick(at(3, 150));
    assert_eq!((machine.entries.len(), machine.next_expiry_ms(), machine.bytes), (0, None, 0));
}

#[test]
fn a_key_whose_time_is_over_is_absent_to_the_next_command_too() {
    let machine = check(&[
        (0, mortal("a", 50), done(1, false)),
        (50, swap("a", When::Version(1), "x"), Answer::Conflict { current: None }),
        (50, swap("a", When::Absent, "2"), done(3, false)),
    ]);
    assert_eq!(machine.next_expiry_ms(), None, "the new value has no lifetime");
    let (changes, _) = machine.changes().since(0, b"", 9).unwrap();
    assert!(matches!(&changes[1], Change::Expired { index: 2, .. }), "{changes:?}");
}

#[test]
fn a_write_without_a_lifetime_ends_the_one_before() {
    let mut machine = check(&[(0, mortal("a", 50), done(1, false)), (0, put("a", "2"), done(2, true))]);
    machine.tick(at(3, 1_000));
    assert_eq!(machine.get(b"a", 1_000).map(|value| value.version), Some(2));
}

#[test]
fn one_entry_removes_a_bounded_number_of_keys_and_the_next_goes_on() {
    let mut machine = Machine::default();
    for number in 0..=EXPIRED_PER_ENTRY {
        ask(&mut machine, at(1, 0), &mortal(&number.to_string(), 5));
    }
    machine.tick(at(2, 5));
    assert_eq!((machine.entries.len(), machine.next_expiry_ms()), (1, Some(5)));
    machine.tick(at(3, 5));
    assert_eq!(machine.entries.len(), 0);
}

#[test]
fn a_write_behind_a_newer_fence_is_refused_also_after_a_restart() {
    let steps = [
        (0, fenced("a", "nightly", 30), done(1, false)),
        (0, fenced("b", "nightly", 29), Answer::Fenced { newest: 30 }),
        (0, fenced("b", "hourly", 29), done(3, false)),
        (0, fenced("a", "nightly", 31), done(4, true)),
        (0, fenced("a", "nightly", 30), Answer::Fenced { newest: 31 }),
    ];
    let mut machine = restored(&image_of(&check(&steps)));
    assert_eq!(ask(&mut machine, at(6, 0), &fenced("a", "nightly", 30)), Answer::Fenced { newest: 31 });
    assert_eq!(machine.get(b"a", 0).map(|value| value.version), Some(4));
}

#[test]
fn what_is_beyond_the_limits_is_refused() {
    let long = |len: usize| "x".repeat(len);
    let scope = SCOPE_BYTES_MAX;
    check(&[
        (0, put("", "v"), Answer::Refused(Refusal::NoKey)),
        (
            0,
            put(&long(KEY_BYTES_MAX + 1), "v"),
            Answer::Refused(Refusal::Key { bytes: KEY_BYTES_MAX as u64 + 1 }),
        ),
        (0, put(&long(KEY_BYTES_MAX), &long(VALUE_BYTES_MAX)), done(3, false)),
        (
            0,
            put("a", &long(VALUE_BYTES_MAX + 1)),
            Answer::Refused(Refusal::Value { bytes: VALUE_BYTES_MAX as u64 + 1 }),
        ),
        (0, mortal("a", 0), Answer::Refused(Refusal::Ttl)),
        (0, mortal("a", u64::MAX), done(6, false)),
        (0, fenced("a", &long(scope), 1), done(7, true)),
        (0, fenced("a", &long(scope + 1), 1), Answer::Refused(Refusal::Scope { bytes: scope as u64 + 1 })),
        (0, delete(&long(KEY_BYTES_MAX + 1), When::Always), Answer::Refused(Refusal::Key { bytes: 4097 })),
    ]);
}

#[test]
fn the_largest_command_there_can_be_fits_into_one_entry_of_the_log() {
    let long = |len: usize| Bytes::from(vec![1; len]);
    let largest = Command::Put {
        key: long(KEY_BYTES_MAX),
        value: long(VALUE_BYTES_MAX),
        ttl_ms: Some(u64::MAX),
        when: When::Version(u64::MAX),
        fence: Some((long(SCOPE_BYTES_MAX), u64::MAX)),
    };
    assert_eq!(largest.refusal(), None);
    assert!(coding::encode(&largest).len() + 512 < 1024 * 1024);
}

#[test]
fn a_full_store_takes_nothing_that_makes_it_larger() {
    let mut machine = Machine::with_bytes_max(10);
    assert_eq!(ask(&mut machine, at(1, 0), &put("a", "12345")), done(1, false));
    assert_eq!(ask(&mut machine, at(2, 0), &put("b", "1234")), Answer::Refused(Refusal::Full));
    assert_eq!(ask(&mut machine, at(3, 0), &put("a", "123456789")), done(3, true));
    assert_eq!(ask(&mut machine, at(4, 0), &put("a", "1234567890")), Answer::Refused(Refusal::Full));
    assert_eq!(machine.get(b"a", 0).map(|value| value.version), Some(3), "the one before is still there");
    assert_eq!(ask(&mut machine, at(5, 0), &delete("a", When::Always)), done(5, true));
    assert_eq!(ask(&mut machine, at(6, 0), &put("b", "1234")), done(6, false));
}

#[test]
fn what_cannot_be_read_is_an_answer() {
    let mut machine = Machine::default();
    let answer = machine.apply(at(1, 0), b"");
    assert_eq!(coding::decode(&answer), Some(Answer::Refused(Refusal::Unreadable)));
}

#[test]
fn pages_together_are_all_keys_of_the_prefix_in_order() {
    let mut machine = Machine::default();
    for (number, key) in ["a", "b", "b/1", "b/2", "b/3", "c"].into_iter().enumerate() {
        ask(&mut machine, at(number as u64, 0), &put(key, "v"));
    }
    let keys = |page: &crate::kv::Page| page.entries.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    let first = machine.page(b"b", None, 3, 0);
    assert_eq!(
        (keys(&first), first.next.clone()),
        (vec![bytes("b"), bytes("b/1"), bytes("b/2")], Some(bytes("b/2")))
    );
    let second = machine.page(b"b", first.next.as_deref(), 3, 0);
    assert_eq!((keys(&second), second.next), (vec![bytes("b/3")], None));
    assert_eq!(machine.page(b"b", Some(b"a"), 9, 0).entries.len(), 4, "nothing before the prefix");
    let whole = machine.page(b"b", None, 4, 0);
    assert_eq!((whole.entries.len(), whole.next), (4, None), "no empty page at the end");
}

#[test]
fn a_page_ends_at_its_bytes_and_at_what_it_may_look_at() {
    let mut machine = Machine::default();
    let large = "x".repeat(VALUE_BYTES_MAX);
    for key in ["a", "b", "c", "d", "e", "f"] {
        ask(&mut machine, at(1, 0), &put(key, &large));
    }
    let page = machine.page(b"", None, 100, 0);
    assert_eq!((page.entries.len(), page.next), (PAGE_BYTES_MAX / VALUE_BYTES_MAX, Some(bytes("d"))));

    let mut machine = Machine::default();
    for number in 0..PAGE_VISITS_MAX {
        ask(&mut machine, at(1, 0), &mortal(&format!("{number:05}"), 5));
    }
    ask(&mut machine, at(1, 0), &put("x", "v"));
    let page = machine.page(b"", None, 100, 5);
    assert_eq!((page.entries.len(), page.next.as_deref()), (0, Some(&b"09999"[..])));
    assert_eq!(machine.page(b"", page.next.as_deref(), 100, 5).entries.len(), 1);
}

#[test]
fn an_image_does_not_see_what_comes_after_it() {
    let mut machine = check(&[(0, put("a", "1"), done(1, false))]);
    let image = machine.image();
    ask(&mut machine, at(2, 0), &put("a", "2"));
    let mut written = Vec::new();
    image.write(&mut written).unwrap();
    assert_eq!(restored(&written).get(b"a", 0).map(|value| value.version), Some(1));
}

#[test]
fn an_image_that_was_cut_off_is_of_another_version_or_has_a_key_twice_is_an_error() {
    let machine = check(&[
        (0, put("a", "1"), done(1, false)),
        (0, mortal("b", 9), done(2, false)),
        (0, fenced("c", "nightly", 3), done(3, false)),
    ]);
    let image = image_of(&machine);
    for len in 0..image.len() {
        assert!(Machine::default().restore(&mut &image[..len]).is_err(), "cut off at {len}");
    }
    let mut other = image.clone();
    other[0] = 9;
    assert!(Machine::default().restore(&mut &other[..]).unwrap_err().to_string().contains("version 9"));

    let mut twice = Machine::default();
    ask(&mut twice, at(1, 0), &put("a", "1"));
    let mut twice = image_of(&twice);
    let entry = twice[twice.len() - 10..].to_vec();
    let len = twice.len();
    assert_eq!(entry[..4], [6, 0, 0, 0], "the length of the one record");
    twice[len - 18] = 2;
    twice.extend(entry);
    assert!(Machine::default().restore(&mut &twice[..]).unwrap_err().to_string().contains("not in order"));
}

/// The same rules on a plain map.
#[derive(Default)]
struct Model(BTreeMap<Bytes, (Bytes, u64, Option<u64>)>);

impl Model {
    fn run(&mut self, index: u64, now: u64, command: &Command) -> Answer {
        self.settle(now);
        let (key, when, _) = command.target();
        let current = self.0.get(key).map(|(_, version, _)| *version);
        let holds = match when {
            When::Always => true,
            When::Absent => current.is_none(),
            When::Version(version) => current == Some(version),
        };
        if !holds {
            return Answer::Conflict { current };
        }
        match command {
            Command::Put { key, value, ttl_ms, .. } => {
                self.0.insert(key.clone(), (value.clone(), index, ttl_ms.map(|ttl| now + ttl)));
            }
            Command::Delete { key, .. } => drop(self.0.remove(key)),
        }
        done(index, current.is_some())
    }

    fn settle(&mut self, now: u64) {
        self.0.retain(|_, (_, _, ends)| ends.is_none_or(|ends| ends > now));
    }

    fn told(&self, prefix: &[u8], now: u64) -> Vec<(Bytes, Value)> {
        let with_prefix = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
        with_prefix
            .map(|(key, (bytes, version, ends))| {
                let remaining = ends.map(|ends| Duration::from_millis(ends - now));
                (key.clone(), Value { bytes: bytes.clone(), version: *version, remaining })
            })
            .collect()
    }
}

fn commands() -> impl Strategy<Value = Vec<(u64, Option<Command>)>> {
    let key = prop_oneof![Just("a"), Just("a/1"), Just("a/2"), Just("b"), Just("b/1")];
    let when = prop_oneof![3 => Just(When::Always), 1 => Just(When::Absent), 2 => (0..40u64).prop_map(When::Version)];
    let command = (key, when, proptest::option::of(1..60u64), any::<u8>(), 0..4u8).prop_map(
        |(key, when, ttl_ms, value, kind)| match kind {
            0 => delete(key, when),
            _ => Command::Put { key: bytes(key), value: vec![value; 3].into(), ttl_ms, when, fence: None },
        },
    );
    vec((0..30u64, proptest::option::weighted(0.85, command)), 1..80)
}

proptest! {
    /// `None` is a tick. A watcher that follows the changes has the same keys in the end.
    #[test]
    fn the_store_does_as_its_model_and_two_copies_are_equal(steps in commands(), page in 1..4usize) {
        let (mut machine, mut copy, mut model, mut now) = (Machine::default(), Machine::default(), Model::default(), 0);
        let (mut seen, mut place) = (BTreeMap::new(), 0);
        for (number, (later, step)) in steps.into_iter().enumerate() {
            now += later;
            let at = at(number as u64 + 1, now);
            match step {
                None => {
                    machine.tick(at);
                    copy.tick(at);
                    model.settle(now);
                    prop_assert_eq!(machine.entries.len(), model.0.len());
                }
                Some(command) => {
                    prop_assert_eq!(ask(&mut machine, at, &command), model.run(at.index, now, &command));
                    ask(&mut copy, at, &command);
                }
            }
            for prefix in [&b""[..], b"a", b"a/", b"c"] {
                prop_assert_eq!(pages(&machine, prefix, page, now), model.told(prefix, now));
            }
            prop_assert_eq!(image_of(&machine), image_of(&copy));
            let again = restored(&image_of(&machine));
            prop_assert_eq!(&again.entries, &machine.entries);
            prop_assert_eq!(&again.expiries, &machine.expiries);
            prop_assert_eq!((again.bytes, again.index), (machine.bytes, machine.index));

            let (changes, next) = machine.changes().since(place, b"", usize::MAX).unwrap();
            place = next;
            for change in changes {
                match change {
                    Change::Put { key, value } => drop(seen.insert(key, value.version)),
                    Change::Deleted { key, .. } | Change::Expired { key, .. } => {
                        prop_assert!(seen.remove(&key).is_some(), "it was not there");
                    }
                }
            }
            let there: BTreeMap<_, _> = machine.entries.iter().map(|(key, entry)| (key.clone(), entry.version)).collect();
            prop_assert_eq!(&seen, &there);
        }
    }

    #[test]
    fn noise_is_an_answer_and_no_image(noise in vec(any::<u8>(), 0..200), place in any::<prop::sample::Index>()) {
        let mut machine = Machine::default();
        prop_assert!(coding::decode::<Answer>(&machine.apply(at(1, 0), &noise)).is_some());
        ask(&mut machine, at(2, 0), &put("a", "1"));
        let mut image = image_of(&machine);
        let place = place.index(image.len());
        for byte in &noise {
            image[place] = *byte;
            let _ = Machine::default().restore(&mut &image[..]);
        }
    }
}

fn pages(machine: &Machine, prefix: &[u8], max: usize, now: u64) -> Vec<(Bytes, Value)> {
    let mut all = Vec::new();
    let mut page = machine.page(prefix, None, max, now);
    loop {
        assert!(page.entries.len() <= max);
        all.append(&mut page.entries);
        match page.next {
            Some(next) => page = machine.page(prefix, Some(&next), max, now),
            None => return all,
        }
    }
}

/// What is declared is not believed: memory grows with what is there.
#[test]
fn an_image_that_declares_more_than_it_has_ends_where_it_ends() {
    let mut image = image_of(&Machine::default());
    let count = image.len() - 8;
    image[count..].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(
        Machine::default().restore(&mut &image[..]).unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof
    );
    image.extend(u32::MAX.to_le_bytes());
    assert_eq!(
        Machine::default().restore(&mut &image[..]).unwrap_err().kind(),
        std::io::ErrorKind::InvalidData
    );
}

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use super::{Answer, Command, EXPIRED_PER_ENTRY, Refusal, Standing, Table, model::Model};
use crate::{
    At, coding,
    locks::{LOCKS_MAX, NAME_BYTES_MAX, TTL_MAX, TTL_MIN, WAITERS_MAX},
};

fn at(index: u64, time_ms: u64) -> At {
    At { index, term: 1, time_ms: 0, steady_ms: time_ms }
}

fn owner(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn acquire(name: &str, who: u128, wait: bool) -> Command {
    Command::Acquire { name: name.into(), owner: owner(who), ttl_ms: 2_000, wait }
}

fn release(name: &str, who: u128) -> Command {
    Command::Release { name: name.into(), owner: owner(who) }
}

fn renew(name: &str, who: u128, fence: u64) -> Command {
    Command::Renew { name: name.into(), owner: owner(who), fence }
}

fn ask(table: &mut Table, at: At, command: &Command) -> Answer {
    coding::decode(&table.apply(at, &coding::encode(command))).unwrap()
}

/// Each step: its time, what is asked, what is answered. The index of a step is its number from 1.
#[track_caller]
fn check(steps: &[(u64, Command, Answer)]) -> Table {
    let mut table = Table::default();
    for (number, (time_ms, command, expected)) in steps.iter().enumerate() {
        let answer = ask(&mut table, at(number as u64 + 1, *time_ms), command);
        assert_eq!(answer, *expected, "step {}", number + 1);
    }
    table
}

#[test]
fn one_holds_and_the_others_wait_in_the_order_of_asking() {
    check(&[
        (0, acquire("a", 1, true), Answer::Granted { fence: 1 }),
        (0, acquire("a", 2, true), Answer::Queued { ahead: 0 }),
        (0, acquire("a", 3, true), Answer::Queued { ahead: 1 }),
        (0, acquire("a", 2, true), Answer::Queued { ahead: 0 }),
        (0, release("a", 1), Answer::Released { was_there: true }),
        (0, acquire("a", 3, true), Answer::Queued { ahead: 0 }),
        (0, acquire("a", 2, true), Answer::Granted { fence: 5 }),
    ]);
}

#[test]
fn who_does_not_wait_is_told_at_once_and_has_no_place() {
    let table = check(&[
        (0, acquire("a", 1, false), Answer::Granted { fence: 1 }),
        (0, acquire("a", 2, false), Answer::Held),
    ]);
    assert_eq!(table.standing("a", owner(1)), Standing::Holds);
    assert_eq!(table.standing("a", owner(2)), Standing::Absent);
}

#[test]
fn each_holder_has_a_larger_fence_than_all_before() {
    check(&[
        (0, acquire("a", 1, false), Answer::Granted { fence: 1 }),
        (0, release("a", 1), Answer::Released { was_there: true }),
        (0, acquire("a", 1, false), Answer::Granted { fence: 3 }),
        (2_000, acquire("a", 2, false), Answer::Granted { fence: 4 }),
    ]);
}

#[test]
fn a_lease_that_is_over_is_not_renewed_even_when_nobody_else_wants_it() {
    check(&[
        (0, acquire("a", 1, false), Answer::Granted { fence: 1 }),
        (1_999, renew("a", 1, 1), Answer::Granted { fence: 1 }),
        (3_999, renew("a", 1, 1), Answer::Lost),
    ]);
}

#[test]
fn a_fence_of_before_renews_nothing() {
    check(&[
        (0, acquire("a", 1, false), Answer::Granted { fence: 1 }),
        (0, release("a", 1), Answer::Released { was_there: true }),
        (0, acquire("a", 1, false), Answer::Granted { fence: 3 }),
        (0, renew("a", 1, 1), Answer::Lost),
        (0, renew("a", 2, 3), Answer::Lost),
    ]);
}

#[test]
fn what_is_over_goes_to_the_next_who_still_waits_with_a_lease_that_starts_then() {
    let mut table = check(&[
        (0, acquire("a", 1, true), Answer::Granted { fence: 1 }),
        (0, acquire("a", 2, true), Answer::Queued { ahead: 0 }),
        (500, acquire("a", 3, true), Answer::Queued { ahead: 1 }),
    ]);
    assert_eq!(table.next_expiry_ms(), Some(2_000));
    table.tick(at(4, 1_999));
    assert_eq!(table.standing("a", owner(1)), Standing::Holds);
    table.tick(at(5, 2_000));
    assert_eq!(table.standing("a", owner(2)), Standing::Absent, "it was silent for as long as its lease");
    assert_eq!(table.standing("a", owner(3)), Standing::Holds);
    assert_eq!(table.next_expiry_ms(), Some(4_000));
    assert_eq!(ask(&mut table, at(6, 2_001), &acquire("a", 3, true)), Answer::Granted { fence: 5 });
}

#[test]
fn who_leaves_the_queue_is_passed_over() {
    let table = check(&[
        (0, acquire("a", 1, true), Answer::Granted { fence: 1 }),
        (0, acquire("a", 2, true), Answer::Queued { ahead: 0 }),
        (0, acquire("a", 3, true), Answer::Queued { ahead: 1 }),
        (0, release("a", 2), Answer::Released { was_there: true }),
        (0, release("a", 2), Answer::Released { was_there: false }),
        (0, release("a", 1), Answer::Released { was_there: true }),
    ]);
    assert_eq!(table.standing("a", owner(3)), Standing::Holds);
}

#[test]
fn a_lock_that_nobody_holds_takes_no_memory() {
    let table = check(&[
        (0, release("a", 1), Answer::Released { was_there: false }),
        (0, renew("a", 1, 1), Answer::Lost),
        (0, acquire("a", 1, true), Answer::Granted { fence: 3 }),
        (0, release("a", 1), Answer::Released { was_there: true }),
    ]);
    assert_eq!(table, Table::default());
}

#[test]
fn what_is_beyond_the_limits_is_refused() {
    let with_ttl = |ttl_ms| Command::Acquire { name: "a".into(), owner: owner(1), ttl_ms, wait: true };
    let ttls = [TTL_MIN, TTL_MAX].map(|ttl| u64::try_from(ttl.as_millis()).unwrap());
    check(&[
        (0, acquire("", 1, true), Answer::Refused(Refusal::Name)),
        (0, acquire(&"n".repeat(NAME_BYTES_MAX + 1), 1, true), Answer::Refused(Refusal::Name)),
        (0, acquire(&"n".repeat(NAME_BYTES_MAX), 1, true), Answer::Granted { fence: 3 }),
        (0, with_ttl(ttls[0] - 1), Answer::Refused(Refusal::Ttl)),
        (0, with_ttl(ttls[1] + 1), Answer::Refused(Refusal::Ttl)),
        (0, with_ttl(ttls[0]), Answer::Granted { fence: 6 }),
        (0, with_ttl(ttls[1]), Answer::Granted { fence: 6 }),
    ]);
}

#[test]
fn a_full_queue_refuses_until_somebody_leaves_or_is_silent_too_long() {
    let mut table = Table::default();
    ask(
        &mut table,
        at(1, 0),
        &Command::Acquire { name: "a".into(), owner: owner(0), ttl_ms: 60_000, wait: true },
    );
    for who in 1..=WAITERS_MAX as u128 {
        assert!(matches!(ask(&mut table, at(2, 0), &acquire("a", who, true)), Answer::Queued { .. }));
    }
    assert_eq!(ask(&mut table, at(3, 0), &acquire("a", 999, true)), Answer::Refused(Refusal::TooManyWaiters));
    assert_eq!(
        ask(&mut table, at(3, 0), &acquire("a", 7, true)),
        Answer::Queued { ahead: 6 },
        "it has its place"
    );
    assert_eq!(ask(&mut table, at(4, 2_000), &acquire("a", 999, true)), Answer::Queued { ahead: 0 });
}

#[test]
fn no_more_locks_are_held_than_there_may_be() {
    let mut table = Table::default();
    for number in 0..LOCKS_MAX {
        ask(&mut table, at(1, 0), &acquire(&number.to_string(), 1, false));
    }
    assert_eq!(ask(&mut table, at(2, 0), &acquire("more", 1, false)), Answer::Refused(Refusal::TooManyLocks));
    assert_eq!(ask(&mut table, at(2, 0), &acquire("0", 2, false)), Answer::Held);
    ask(&mut table, at(3, 0), &release("0", 1));
    assert_eq!(ask(&mut table, at(4, 0), &acquire("more", 1, false)), Answer::Granted { fence: 4 });
}

#[test]
fn one_entry_ends_a_bounded_number_of_leases_and_the_next_goes_on() {
    let mut table = Table::default();
    for number in 0..=EXPIRED_PER_ENTRY {
        ask(&mut table, at(1, 0), &acquire(&number.to_string(), 1, false));
    }
    table.tick(at(2, 9_000));
    assert_eq!(table.locks.len(), 1);
    assert_eq!(table.next_expiry_ms(), Some(2_000), "so the next tick comes at once");
    table.tick(at(3, 9_000));
    assert_eq!((table.locks.len(), table.next_expiry_ms()), (0, None));
}

#[test]
fn what_cannot_be_read_is_an_answer() {
    let mut table = Table::default();
    let answer = table.apply(at(1, 0), b"\x01\xff\xff\xff");
    assert_eq!(coding::decode(&answer), Some(Answer::Refused(Refusal::Unreadable)));
    assert_eq!(table, Table::default());
}

fn commands() -> impl Strategy<Value = Vec<(u64, Option<Command>)>> {
    let name = prop_oneof![Just("a"), Just("b")].prop_map(str::to_owned);
    let command = (name, 0..5u128, 0..3u8, 1_000..4_000u64, any::<bool>(), 0..60u64).prop_map(
        |(name, who, kind, ttl_ms, wait, fence)| match kind {
            0 => Command::Acquire { name, owner: owner(who), ttl_ms, wait },
            1 => Command::Renew { name, owner: owner(who), fence },
            _ => Command::Release { name, owner: owner(who) },
        },
    );
    vec((0..900u64, proptest::option::weighted(0.8, command)), 1..120)
}

proptest! {
    /// `None` is a tick.
    #[test]
    fn the_table_does_as_its_model_and_two_copies_are_equal(steps in commands()) {
        let (mut table, mut copy, mut model, mut now) = (Table::default(), Table::default(), Model::default(), 0);
        let mut fences = std::collections::BTreeMap::<String, (u64, Uuid)>::new();
        for (number, (later, step)) in steps.into_iter().enumerate() {
            now += later;
            let at = at(number as u64 + 1, now);
            match step {
                None => {
                    table.tick(at);
                    copy.tick(at);
                    let names: Vec<_> = model.locks.keys().cloned().collect();
                    names.iter().for_each(|name| model.settle(name, at.index, now));
                }
                Some(command) => {
                    // Half of the renewals know their fence.
                    let command = knowing(command, &model);
                    prop_assert_eq!(ask(&mut table, at, &command), model.run(at.index, now, &command));
                    ask(&mut copy, at, &command);
                }
            }
            for (name, list) in &model.locks {
                let holder = list.first().map(|claim| (claim.fence, claim.owner));
                prop_assert_eq!(table.locks.get(name).and_then(|s| s.holder).map(|h| (h.fence, h.lease.owner)), holder);
                if let Some((fence, owner)) = holder {
                    let (before, who) = *fences.entry(name.clone()).or_insert((fence, owner));
                    prop_assert!(fence > before || (fence == before && owner == who), "the fence did not grow");
                    fences.insert(name.clone(), (fence, owner));
                }
            }
            let mut images = [Vec::new(), Vec::new()];
            table.write(&mut images[0]).unwrap();
            copy.write(&mut images[1]).unwrap();
            prop_assert_eq!(&images[0], &images[1]);
            prop_assert_eq!(&Table::read(&mut &images[0][..]).unwrap(), &table);
        }
    }

    #[test]
    fn noise_is_an_answer_and_changes_nothing_that_is_not_a_command(noise in vec(any::<u8>(), 0..100)) {
        let mut table = Table::default();
        let is_command = coding::decode::<Command>(&noise).is_some();
        let answer = coding::decode::<Answer>(&table.apply(at(1, 0), &noise)).unwrap();
        prop_assert_eq!(!is_command, answer == Answer::Refused(Refusal::Unreadable));
        let _ = Table::read(&mut &noise[..]);
    }
}

fn knowing(command: Command, model: &Model) -> Command {
    match command {
        Command::Renew { name, owner, fence } if fence % 2 == 0 => {
            let known = model.locks.get(&name).and_then(|list| list.first()).map(|claim| claim.fence);
            Command::Renew { name, owner, fence: known.unwrap_or(fence) }
        }
        other => other,
    }
}

use convoke_testing::history::{
    Limits, Model, Operation, Register,
    RegisterAnswer::{self, *},
    RegisterCall::{self, *},
    check,
};
use convoke_testing::proptest_cases;
use proptest::prelude::*;

/// Changed histories that are looked at of one run.
const MUTATED_MAX: usize = 4;

type Asked = Operation<RegisterCall, RegisterAnswer>;

/// How one operation of a sequential run is made into one that others overlap.
#[derive(Debug, Clone)]
struct Drawn {
    call: u8,
    before: u64,
    after: u64,
    outcome_known: bool,
}

fn drawn(most: usize) -> impl Strategy<Value = Vec<Drawn>> {
    let one = (0..5_u8, 0..40_u64, 0..40_u64, prop::bool::weighted(0.85));
    let one =
        one.prop_map(|(call, before, after, outcome_known)| Drawn { call, before, after, outcome_known });
    prop::collection::vec(one, 1..most)
}

/// A run of one client after the other, each operation then widened around its moment.
fn widened(drawn: &[Drawn]) -> Vec<Asked> {
    let mut held = None;
    let mut operations = Vec::new();
    for (nth, drawn) in (0_u64..).zip(drawn) {
        let call = match drawn.call {
            0 => Write(nth),
            1 => Swap { from: held, to: nth },
            2 => Swap { from: Some(999_999), to: nth },
            3 if nth % 7 == 0 => Delete,
            _ => Read,
        };
        let answer = match call {
            Read => Value(held),
            Swap { from, .. } if from != held => Differs,
            _ => Done,
        };
        held = Register.step(&held, &call, Some(&answer)).expect("the answer is the register's own");
        // Moments are ten apart, so an operation overlaps up to eight others.
        let moment = 1000 + nth * 10;
        let returned = drawn.outcome_known.then_some((moment + drawn.after, answer));
        let called = moment - drawn.before;
        operations.push(Operation { client: nth, key: "k".into(), call, called, returned });
    }
    ranked(operations)
}

/// The same with places for times: all calls of one moment before its returns, as nothing says what came first.
fn ranked(mut operations: Vec<Asked>) -> Vec<Asked> {
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (nth, operation) in operations.iter().enumerate() {
        events.push((operation.called, false, nth));
        events.extend(operation.returned.map(|(at, _)| (at, true, nth)));
    }
    events.sort_unstable();
    for (place, (_, is_return, nth)) in (1..).zip(events) {
        match &mut operations[nth] {
            Operation { returned: Some((at, _)), .. } if is_return => *at = place,
            operation => operation.called = place,
        }
    }
    operations
}

/// Reads that saw a value although another one was written wholly between that value's write and the read.
fn staled(operations: &[Asked]) -> Vec<Vec<Asked>> {
    let returned = |operation: &Asked| operation.returned.map_or(u64::MAX, |(at, _)| at);
    let writes = || operations.iter().filter(|o| matches!(o.call, Write(_)) && o.returned.is_some());
    let mut all = Vec::new();
    for (place, read) in operations.iter().enumerate().filter(|(_, o)| o.call == Read && o.returned.is_some())
    {
        let newer = writes().filter(|write| returned(write) < read.called).max_by_key(|write| write.called);
        let older = newer.and_then(|newer| writes().find(|older| returned(older) < newer.called));
        if let Some(Operation { call: Write(value), .. }) = older {
            let mut mutated = operations.to_vec();
            mutated[place].returned = Some((returned(read), Value(Some(*value))));
            all.push(mutated);
        }
    }
    all
}

/// By trying every order of every choice of what happened.
fn by_brute_force(operations: &[Asked], held: Option<u64>) -> bool {
    let returned = |operation: &Asked| operation.returned.map_or(u64::MAX, |(at, _)| at);
    if operations.iter().all(|operation| operation.returned.is_none()) {
        return true;
    }
    let first = operations.iter().map(returned).min().unwrap_or(u64::MAX);
    operations.iter().enumerate().filter(|(_, next)| next.called < first).any(|(place, next)| {
        let answer = next.returned.as_ref().map(|(_, answer)| answer);
        let mut rest = operations.to_vec();
        rest.remove(place);
        Register.step(&held, &next.call, answer).is_some_and(|held| by_brute_force(&rest, held))
    })
}

fn any_history() -> impl Strategy<Value = Vec<Asked>> {
    let call = prop_oneof![
        (1..3_u64).prop_map(Write),
        Just(Read),
        Just(Read),
        (prop::option::of(1..3_u64), 1..4_u64).prop_map(|(from, to)| Swap { from, to }),
    ];
    let one = (call, 0..20_u64, 1..8_u64, 0..6_u8, prop::option::of(1..4_u64));
    let operation = |(call, called, took, answer, value)| {
        let answer = match (call, answer) {
            (_, 0) => None,
            (Read, _) => Some(Value(value)),
            (Swap { .. }, 1 | 2) => Some(Differs),
            _ => Some(Done),
        };
        let returned = answer.map(|answer| (called + took, answer));
        Operation { client: 1, key: "k".into(), call, called, returned }
    };
    prop::collection::vec(one.prop_map(operation), 1..7).prop_map(ranked)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(proptest_cases(300)))]

    #[test]
    fn a_run_whose_operations_are_widened_in_time_is_linearizable(drawn in drawn(120)) {
        check(&Register, &widened(&drawn), Limits::default()).assert();
    }

    #[test]
    fn a_run_with_one_stale_or_invented_read_is_not(drawn in drawn(30)) {
        let operations = widened(&drawn);
        let mut mutated = staled(&operations);
        if let Some(place) = operations.iter().position(|o| o.call == Read && o.returned.is_some()) {
            let mut invented = operations.clone();
            invented[place].returned = invented[place].returned.map(|(at, _)| (at, Value(Some(777_777))));
            mutated.push(invented);
        }
        for history in mutated.into_iter().rev().take(MUTATED_MAX) {
            let verdict = check(&Register, &history, Limits::default());
            prop_assert!(verdict.violation().is_some(), "{verdict}: {history:?}");
        }
    }

    #[test]
    fn the_verdict_is_that_of_trying_every_order(operations in any_history()) {
        let verdict = check(&Register, &operations, Limits::default());
        prop_assert_eq!(verdict.is_linearizable(), by_brute_force(&operations, None), "{}", verdict);
    }

    #[test]
    fn what_is_shown_of_a_violation_is_one_by_itself(operations in any_history()) {
        let verdict = check(&Register, &operations, Limits::default());
        if let Some(violation) = verdict.violation() {
            let window: Vec<Asked> = violation.window.iter().map(|place| operations[*place].clone()).collect();
            prop_assert!(!by_brute_force(&window, None), "{verdict}");
        }
    }
}

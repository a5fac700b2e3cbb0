use convoke_testing::history::{
    Limits, Operation, Register, RegisterAnswer::*, RegisterCall::*, Verdict, check,
};

use crate::written::{fails, passes, verdict};

#[test]
fn one_after_the_other_is_fine() {
    passes::<Register>(&[
        (1, 1, 2, Read, Some(Value(None))),
        (1, 3, 4, Write(1), Some(Done)),
        (2, 5, 6, Swap { from: Some(1), to: 2 }, Some(Done)),
        (2, 7, 8, Swap { from: Some(1), to: 3 }, Some(Differs)),
        (1, 9, 10, Read, Some(Value(Some(2)))),
        (1, 11, 12, Delete, Some(Done)),
        (1, 13, 14, Swap { from: None, to: 4 }, Some(Done)),
    ]);
}

#[test]
fn writes_under_way_at_a_time_may_be_seen_in_any_one_order() {
    passes::<Register>(&[
        (1, 1, 10, Write(1), Some(Done)),
        (2, 2, 9, Write(2), Some(Done)),
        (3, 3, 4, Read, Some(Value(Some(2)))),
        (3, 5, 6, Read, Some(Value(Some(1)))),
    ]);
    fails::<Register>(
        &[
            (1, 1, 10, Write(1), Some(Done)),
            (2, 2, 9, Write(2), Some(Done)),
            (3, 3, 4, Read, Some(Value(Some(2)))),
            (3, 5, 6, Read, Some(Value(Some(1)))),
            (3, 7, 8, Read, Some(Value(Some(2)))),
        ],
        &[0, 1, 2, 3, 4],
    );
}

#[test]
fn a_stale_read_is_found_and_shown_without_what_came_long_before() {
    fails::<Register>(
        &[
            (1, 1, 2, Write(1), Some(Done)),
            (1, 3, 4, Read, Some(Value(Some(1)))),
            (2, 5, 6, Write(2), Some(Done)),
            (1, 7, 8, Read, Some(Value(Some(1)))),
            (1, 9, 10, Read, Some(Value(Some(2)))),
        ],
        &[2, 3],
    );
}

#[test]
fn a_lost_write_is_found() {
    fails::<Register>(
        &[
            (1, 1, 2, Write(1), Some(Done)),
            (1, 3, 4, Write(2), Some(Done)),
            (2, 5, 6, Swap { from: Some(1), to: 3 }, Some(Done)),
        ],
        &[1, 2],
    );
}

#[test]
fn a_lost_swap_is_found() {
    // Both swapped the same value away.
    fails::<Register>(
        &[
            (1, 1, 2, Write(1), Some(Done)),
            (1, 3, 6, Swap { from: Some(1), to: 2 }, Some(Done)),
            (2, 4, 5, Swap { from: Some(1), to: 3 }, Some(Done)),
        ],
        &[1, 2],
    );
}

#[test]
fn a_swap_that_was_refused_without_a_reason_is_found() {
    fails::<Register>(
        &[(1, 1, 2, Write(1), Some(Done)), (2, 3, 4, Swap { from: Some(1), to: 2 }, Some(Differs))],
        &[0, 1],
    );
}

#[test]
fn a_retry_that_was_applied_twice_is_found() {
    // The write was answered once; the second time it undid what came after it.
    fails::<Register>(
        &[
            (1, 1, 4, Write(1), Some(Done)),
            (2, 2, 3, Read, Some(Value(Some(1)))),
            (2, 5, 6, Write(2), Some(Done)),
            (2, 7, 8, Read, Some(Value(Some(1)))),
        ],
        &[2, 3],
    );
}

#[test]
fn a_write_whose_outcome_is_unknown_may_be_seen_late_or_never_but_not_twice() {
    passes::<Register>(&[
        (1, 1, 0, Write(1), None),
        (2, 2, 3, Write(2), Some(Done)),
        (2, 4, 5, Read, Some(Value(Some(2)))),
        (2, 6, 7, Read, Some(Value(Some(1)))),
    ]);
    passes::<Register>(&[(1, 1, 0, Write(1), None), (2, 2, 3, Read, Some(Value(None)))]);
    fails::<Register>(
        &[
            (1, 1, 0, Write(1), None),
            (2, 2, 3, Read, Some(Value(Some(1)))),
            (2, 4, 5, Write(2), Some(Done)),
            (2, 6, 7, Read, Some(Value(Some(1)))),
        ],
        &[0, 1, 2, 3],
    );
}

#[test]
fn what_nobody_wrote_is_not_read() {
    fails::<Register>(&[(1, 1, 2, Write(1), Some(Done)), (1, 3, 4, Read, Some(Value(Some(9))))], &[1]);
}

#[test]
fn keys_do_not_know_of_each_other() {
    let on = |key: &str, called, call, answer| Operation {
        client: 1,
        key: key.into(),
        call,
        called,
        returned: Some((called + 1, answer)),
    };
    let a = on("a", 1, Write(1), Done);
    check(&Register, &[a.clone(), on("b", 3, Read, Value(None))], Limits::default()).assert();
    let verdict = check(&Register, &[a, on("a", 3, Read, Value(None))], Limits::default());
    assert_eq!(verdict.violation().map(|violation| violation.key.as_str()), Some("a"));
}

#[test]
fn what_takes_too_long_is_undecided_and_no_pass() {
    // Nobody knows which of the writes were done, so every set of them is tried.
    let mut lines: Vec<_> = (1..30).map(|value| (value, value, 0, Write(value), None)).collect();
    lines.push((99, 100, 101, Read, Some(Value(Some(1000)))));
    let operations = crate::written::operations::<Register>(&lines);
    let verdict = check(&Register, &operations, Limits::default().steps(10_000));
    assert!(matches!(verdict, Verdict::Undecided { operations: 30, steps: 10_001, .. }), "{verdict}");
    assert!(!verdict.is_linearizable());
    assert!(std::panic::catch_unwind(|| verdict.assert()).is_err());
}

#[test]
#[should_panic(expected = "returned before it was called")]
fn a_history_that_runs_backwards_is_refused() {
    let _ = verdict::<Register>(&[(1, 5, 4, Write(1), Some(Done))]);
}

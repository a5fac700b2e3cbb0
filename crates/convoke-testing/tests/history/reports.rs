use convoke_testing::history::{
    Limits, Recorder, Register, RegisterAnswer::*, RegisterCall::*, Terms, check,
};

use crate::written::verdict;

#[test]
fn a_contradiction_is_read_at_a_glance() {
    let verdict = verdict::<Register>(&[
        (1, 1, 2, Write(1), Some(Done)),
        (7, 3, 0, Write(5), None),
        (2, 4, 6, Write(2), Some(Done)),
        (1, 5, 7, Read, Some(Value(Some(2)))),
        (3, 8, 9, Read, Some(Value(Some(1)))),
    ]);
    let expected = "\
not linearizable: no order of these 4 of 5 operations on \"k\" explains their answers, after any of 4 states
  client 7    write 5 -> ?     |------?
  client 2    write 2 -> done   |-|
  client 1    read -> 2          |-|
  client 3    read -> 1             ||
";
    let text = verdict.to_string();
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&text), lines(expected), "{text}");
    assert!(text.starts_with("not linearizable: no order of these 4 of 5 operations on \"k\""), "{text}");
}

#[test]
fn a_recorder_keeps_the_order_of_events_and_forgets_what_was_refused() {
    let recorder = Recorder::new();
    let refused = recorder.call(1, "k", Write(1));
    let lost = recorder.call(2, "k", Write(2));
    let read = recorder.call(3, "k", Read);
    read.returned(Value(Some(2)));
    refused.refused();
    drop(lost);
    recorder.may(4, "k", Delete);
    let operations = recorder.operations();
    let seen: Vec<_> = operations.iter().map(|o| (o.client, o.called, o.returned)).collect();
    assert_eq!(seen, [(2, 2, None), (3, 3, Some((4, Value(Some(2))))), (4, 5, None)]);
    assert_eq!(recorder.len(), 3);
    check(&Register, &operations, Limits::default()).assert();
}

#[tokio::test(start_paused = true)]
async fn runs_that_overlap_are_shown_with_their_times() {
    let terms = Terms::new();
    let first = terms.begin("a", 1);
    tokio::time::advance(std::time::Duration::from_millis(20)).await;
    let _second = terms.begin("b", 2);
    tokio::time::advance(std::time::Duration::from_millis(5)).await;
    drop(first);
    let overlap = terms.check().unwrap_err().to_string();
    let expected = "one began before the other had ended:\n  a in term 1: began at 0s, ended at 25ms\n  \
        b in term 2: began at 20ms, running";
    assert_eq!(overlap, expected);
    assert_eq!(terms.changes(), 1);
}

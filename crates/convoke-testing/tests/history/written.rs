//! Histories written by hand.

use convoke_testing::history::{Limits, Model, Operation, Verdict, check};

/// `(client, called, returned, call, answer)` of one key; not answered when it returned at 0.
pub(crate) type Line<M> = (u64, u64, u64, <M as Model>::Call, Option<<M as Model>::Answer>);

pub(crate) fn operations<M: Model>(lines: &[Line<M>]) -> Vec<Operation<M::Call, M::Answer>> {
    let operation = |(client, called, returned, call, answer): &Line<M>| Operation {
        client: *client,
        key: "k".into(),
        call: call.clone(),
        called: *called,
        returned: answer.clone().map(|answer| (*returned, answer)),
    };
    lines.iter().map(operation).collect()
}

pub(crate) fn verdict<M: Model + Default>(lines: &[Line<M>]) -> Verdict {
    check(&M::default(), &operations::<M>(lines), Limits::default())
}

#[track_caller]
pub(crate) fn passes<M: Model + Default>(lines: &[Line<M>]) {
    verdict::<M>(lines).assert();
}

/// Fails, and the window is of these lines.
#[track_caller]
pub(crate) fn fails<M: Model + Default>(lines: &[Line<M>], window: &[usize]) {
    let verdict = verdict::<M>(lines);
    let violation = verdict.violation().unwrap_or_else(|| panic!("a violation, not {verdict}"));
    assert_eq!(violation.window, window, "{verdict}");
}

//! Every order in which the steps of two runs of one key can follow each other: outcome, claim and publications agree
//! each time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;
mod events;

/// Every word of so many first and so many second letters: the orders in which two parties can take their steps.
fn words(firsts: usize, seconds: usize) -> Vec<Vec<usize>> {
    if firsts == 0 || seconds == 0 {
        return vec![[vec![1; firsts], vec![2; seconds]].concat()];
    }
    let begin =
        |with: usize, rests: Vec<Vec<usize>>| rests.into_iter().map(move |rest| [vec![with], rest].concat());
    begin(1, words(firsts - 1, seconds)).chain(begin(2, words(firsts, seconds - 1))).collect()
}

#[test]
fn there_are_924_orders_of_six_steps_each() {
    let words = words(6, 6);
    assert_eq!(words.len(), 924);
    assert_eq!(words.iter().collect::<std::collections::BTreeSet<_>>().len(), 924);
}

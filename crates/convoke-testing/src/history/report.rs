//! A contradiction as people read it.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use super::Operation;

/// States that are named, at most.
const STATES_SHOWN_MAX: usize = 4;

/// One line for each operation: who, what, and when beside the others.
pub(super) fn text<C: Debug, A: Debug, S: Debug>(
    window: &[&Operation<C, A>],
    of: usize,
    from: &[S],
) -> String {
    let before = match from {
        [one] => format!("after {one:?}"),
        some if some.len() <= STATES_SHOWN_MAX => format!("after any of {some:?}"),
        many => format!("after any of {} states", many.len()),
    };
    let mut text = format!(
        "not linearizable: no order of these {} of {of} operations on {:?} explains their answers, {before}\n",
        window.len(),
        window.first().map_or("", |operation| &operation.key),
    );
    let moments: BTreeMap<u64, usize> = window
        .iter()
        .flat_map(|operation| [Some(operation.called), operation.returned.as_ref().map(|(at, _)| *at)])
        .flatten()
        .collect::<std::collections::BTreeSet<u64>>()
        .into_iter()
        .enumerate()
        .map(|(column, moment)| (moment, column))
        .collect();
    let said: Vec<String> = window.iter().map(|operation| said(operation)).collect();
    let width = said.iter().map(String::len).max().unwrap_or(0);
    for (operation, said) in window.iter().zip(&said) {
        let bar = bar(operation, &moments);
        let _ = writeln!(text, "  client {:<4} {said:<width$}  {bar}", operation.client); // into a string
    }
    text
}

fn said<C: Debug, A: Debug>(operation: &Operation<C, A>) -> String {
    match &operation.returned {
        Some((_, answer)) => format!("{:?} -> {answer:?}", operation.call),
        None => format!("{:?} -> ?", operation.call),
    }
}

/// `|---|` from the call to the return; `|---` when there was none. A column for each moment.
fn bar<C, A>(operation: &Operation<C, A>, moments: &BTreeMap<u64, usize>) -> String {
    let from = moments[&operation.called];
    let to = operation.returned.as_ref().map(|(at, _)| moments[at]);
    let mut bar = " ".repeat(from);
    bar.push('|');
    bar.push_str(&"-".repeat(to.unwrap_or(moments.len()) - from - 1));
    bar.push(if to.is_some() { '|' } else { '?' });
    bar
}

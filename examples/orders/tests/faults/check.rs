//! What must hold of every run, and histories for which it does not.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::history::{History, NodeView};

/// How soon all nodes are ready after a fault.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(10);

impl History {
    /// Everything that is wrong with it, each as a sentence.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        self.coverage(&mut wrong);
        self.callers(&mut wrong);
        for (node, view) in &self.nodes {
            self.orders_of(node, view, &mut wrong);
            self.events_of(node, view, &mut wrong);
        }
        self.agreement(&mut wrong);
        self.order_effects(&mut wrong);
        wrong
    }

    fn coverage(&self, wrong: &mut Vec<String>) {
        let (accepted, faults) = (self.record.accepted.len(), self.faults.values().sum::<usize>());
        if accepted < self.accepted_min {
            wrong.push(format!("only {accepted} orders were accepted: the run does not count"));
        }
        if faults < self.faults_min || self.recoveries.is_empty() {
            wrong.push(format!("only {faults} faults happened: the run does not count"));
        }
        if self.nodes.len() != 3 {
            wrong.push(format!("{} nodes were looked at", self.nodes.len()));
        }
    }

    fn callers(&self, wrong: &mut Vec<String>) {
        let record = &self.record;
        wrong.extend(record.unexpected.iter().map(|answer| format!("an unexpected answer: {answer}")));
        wrong.extend(record.hung.iter().map(|request| format!("no answer in time: {request}")));
        wrong.extend(record.unknown.iter().map(|key| format!("{key} was given up")));
        wrong.extend(self.panics.iter().map(|line| format!("a panic: {line}")));
        let late = self.recoveries.iter().filter(|recovery| **recovery > READY_WITHIN);
        wrong.extend(late.map(|recovery| format!("ready again after {recovery:?} only")));
        let mut keys = BTreeMap::new();
        for (key, accepted) in &record.accepted {
            if let Some(other) = keys.insert(&accepted.order_id, key) {
                wrong.push(format!("{other} and {key} were answered with one order, {}", accepted.order_id));
            }
        }
    }

    fn orders_of(&self, node: &str, view: &NodeView, wrong: &mut Vec<String>) {
        let mut listed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, key) in &view.listed {
            listed.entry(key).or_default().push(id);
        }
        for (key, accepted) in &self.record.accepted {
            match listed.remove(key.as_str()).as_deref() {
                None => wrong.push(format!("{node} lost the order {} of {key}", accepted.order_id)),
                Some([id]) if *id == accepted.order_id => {}
                Some(ids) => wrong.push(format!(
                    "{node} has {ids:?} for {key}, which was answered with {}",
                    accepted.order_id
                )),
            }
        }
        for (key, ids) in listed {
            if !self.record.unknown.contains(key) || ids.len() > 1 {
                wrong.push(format!("{node} has {ids:?} for {key}, which was not accepted"));
            }
        }
        wrong.extend(view.not_found.iter().map(|what| format!("{node} does not show {what}")));
        wrong.extend(view.other_answers.iter().map(|what| format!("{node} answers a repeat with {what}")));
        if view.outbox > 0 {
            wrong.push(format!("{node} sees {} rows in the outbox at rest", view.outbox));
        }
    }

    fn events_of(&self, node: &str, view: &NodeView, wrong: &mut Vec<String>) {
        let mut events: BTreeMap<&str, usize> = BTreeMap::new();
        for (event, order) in &view.events {
            *events.entry(order).or_default() += 1;
            if !self.effects.events.contains_key(&(node.to_owned(), event.clone())) {
                wrong.push(format!("{node} never handled the event {event} of {order}"));
            }
        }
        let listed: BTreeSet<_> = view.listed.iter().map(|(id, _)| id.as_str()).collect();
        for accepted in self.record.accepted.values() {
            if !events.contains_key(accepted.order_id.as_str()) {
                wrong.push(format!("{node} has no event of {}", accepted.order_id));
            }
        }
        for (order, count) in events {
            if count > 1 {
                wrong.push(format!("{node} has {count} events of {order}"));
            }
            if !listed.contains(order) {
                wrong.push(format!("{node} has an event of {order}, which it does not have"));
            }
        }
    }

    /// All nodes show the same.
    fn agreement(&self, wrong: &mut Vec<String>) {
        let sets = |view: &NodeView| {
            let ids: BTreeSet<_> = view.listed.iter().map(|(id, _)| id.clone()).collect();
            (ids, view.events.iter().cloned().collect::<BTreeSet<_>>())
        };
        let mut views = self.nodes.iter().map(|(node, view)| (node, sets(view)));
        let Some((first, expected)) = views.next() else { return };
        wrong.extend(
            views
                .filter(|(_, sets)| *sets != expected)
                .map(|(node, _)| format!("{node} shows other orders or events than {first}")),
        );
    }

    fn order_effects(&self, wrong: &mut Vec<String>) {
        let mut told: BTreeMap<&str, &str> = BTreeMap::new();
        let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
        for (order, key) in self.effects.orders.keys() {
            if let Some(other) = told.insert(order, key) {
                wrong.push(format!("the order {order} was done for {other} and for {key}"));
            }
            if let Some(other) = keys.insert(key, order) {
                wrong.push(format!("for {key} were done {other} and {order}"));
            }
        }
        for (key, fences) in self.effects.commits.iter().filter(|(_, fences)| fences.len() > 1) {
            wrong.push(format!("{key} was committed under the fences {fences:?}"));
        }
        for (key, accepted) in &self.record.accepted {
            if told.get(accepted.order_id.as_str()) != Some(&key.as_str()) {
                wrong.push(format!("the order {} of {key} was never done", accepted.order_id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Accepted, Effects, Record};

    const NODES: [&str; 3] = ["node1", "node2", "node3"];

    /// Two orders, seen by all, one fault.
    fn sound() -> History {
        let mut history = History { accepted_min: 2, faults_min: 1, ..History::default() };
        history.faults.insert("kill", 1);
        history.recoveries.push(Duration::from_secs(1));
        for n in ["1", "2"] {
            let (key, order, event) = (format!("k{n}"), format!("o{n}"), format!("e{n}"));
            let accepted = Accepted { order_id: order.clone(), answer: String::new() };
            history.record.accepted.insert(key.clone(), accepted);
            history.effects.orders.insert((order.clone(), key.clone()), 1);
            for node in NODES {
                let view = history.nodes.entry(node.to_owned()).or_default();
                view.listed.push((order.clone(), key.clone()));
                view.events.push((event.clone(), order.clone()));
                history.effects.events.insert((node.to_owned(), event.clone()), 1);
            }
        }
        history
    }

    #[track_caller]
    fn check<T>(break_it: impl FnOnce(&mut History) -> T, expected: &str) {
        let mut history = sound();
        break_it(&mut history);
        let violations = history.violations();
        assert!(violations.iter().any(|violation| violation.contains(expected)), "{violations:?}");
    }

    fn node2(history: &mut History) -> &mut NodeView {
        history.nodes.get_mut("node2").expect("it is there")
    }

    #[test]
    fn a_sound_history_passes() {
        assert_eq!(sound().violations(), Vec::<String>::new());
    }

    #[test]
    fn a_repeated_report_of_one_effect_passes() {
        let mut history = sound();
        history.effects.orders.values_mut().for_each(|count| *count = 2);
        history.effects.events.values_mut().for_each(|count| *count = 2);
        assert_eq!(history.violations(), Vec::<String>::new());
    }

    #[test]
    fn a_lost_order_is_found() {
        check(|h| node2(h).listed.pop(), "node2 lost the order o2 of k2");
        check(|h| node2(h).not_found.push("o1".into()), "node2 does not show o1");
        check(|h| h.effects.orders.pop_last(), "the order o2 of k2 was never done");
    }

    #[test]
    fn a_doubled_order_is_found() {
        check(|h| node2(h).listed.push(("o3".into(), "k2".into())), r#"node2 has ["o2", "o3"] for k2"#);
        check(|h| node2(h).listed.push(("o2".into(), "k2".into())), r#"node2 has ["o2", "o2"] for k2"#);
        check(|h| h.effects.orders.insert(("o3".into(), "k2".into()), 1), "for k2 were done o2 and o3");
        check(|h| h.effects.orders.insert(("o2".into(), "k3".into()), 1), "was done for k2 and for k3");
    }

    #[test]
    fn a_stale_commit_is_found() {
        let twice = |h: &mut History| {
            h.effects.commits.insert("k1".into(), ["1".to_owned(), "2".to_owned()].into());
        };
        check(twice, r#"k1 was committed under the fences {"1", "2"}"#);
    }

    #[test]
    fn an_order_of_nobody_is_found() {
        check(|h| node2(h).listed.push(("o3".into(), "k3".into())), "which was not accepted");
    }

    #[test]
    fn one_order_for_two_keys_is_found() {
        let same = |h: &mut History| {
            h.record.accepted.get_mut("k2").expect("it is there").order_id = "o1".into();
        };
        check(same, "k1 and k2 were answered with one order, o1");
    }

    #[test]
    fn a_lost_event_is_found() {
        check(|h| node2(h).events.pop(), "node2 has no event of o2");
        check(|h| node2(h).events.pop(), "node2 shows other orders or events than node1");
        let unhandled = |h: &mut History| h.effects.events.remove(&("node2".into(), "e1".into()));
        check(unhandled, "node2 never handled the event e1 of o1");
    }

    #[test]
    fn a_doubled_event_is_found() {
        check(|h| node2(h).events.push(("e9".into(), "o1".into())), "node2 has 2 events of o1");
        check(|h| node2(h).events.push(("e9".into(), "o9".into())), "an event of o9, which it does not have");
    }

    #[test]
    fn another_answer_to_a_repeat_is_found() {
        check(|h| node2(h).other_answers.push("k1: 500".into()), "node2 answers a repeat with k1: 500");
    }

    #[test]
    fn an_outbox_that_is_not_empty_is_found() {
        check(|h| node2(h).outbox = 1, "node2 sees 1 rows in the outbox at rest");
    }

    #[test]
    fn what_callers_must_not_see_is_found() {
        check(|h| h.record.unexpected.push("418".into()), "an unexpected answer: 418");
        check(|h| h.record.hung.push("k1".into()), "no answer in time: k1");
        check(|h| h.record.unknown.insert("k7".into()), "k7 was given up");
        check(|h| h.panics.push("boom".into()), "a panic: boom");
    }

    #[test]
    fn a_slow_recovery_is_found() {
        check(
            |h| h.recoveries.push(READY_WITHIN + Duration::from_millis(1)),
            "ready again after 10.001s only",
        );
    }

    #[test]
    fn a_run_that_saw_too_little_is_found() {
        check(|h| h.accepted_min = 3, "only 2 orders were accepted");
        check(|h| h.faults.clear(), "only 0 faults happened");
        check(|h| h.faults_min = 2, "only 1 faults happened");
        check(|h| h.nodes.pop_last(), "2 nodes were looked at");
        let nothing =
            History { effects: Effects::default(), record: Record::default(), ..History::default() };
        assert!(!nothing.violations().is_empty());
    }
}

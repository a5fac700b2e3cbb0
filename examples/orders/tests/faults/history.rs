use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What callers were told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// The order each key was answered with, and the whole answer.
    pub(crate) accepted: BTreeMap<String, Accepted>,
    /// Keys that were given up: there may be an order, or none.
    pub(crate) unknown: BTreeSet<String>,
    /// Attempts that were made again, by their reason.
    pub(crate) retries: BTreeMap<String, usize>,
    /// What faulted runs were answered with, each text once.
    pub(crate) faults: BTreeSet<String>,
    /// Answers nobody should get.
    pub(crate) unexpected: Vec<String>,
    /// Requests without an answer beyond every deadline.
    pub(crate) hung: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) order_id: String,
    pub(crate) answer: String,
}

/// What one node shows when everything has come to rest.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeView {
    /// Orders of the paged list: id and key, which the callers write into the customer.
    pub(crate) listed: Vec<(String, String)>,
    /// Accepted orders that it does not show one by one.
    pub(crate) not_found: Vec<String>,
    /// Events: their id and their order's.
    pub(crate) events: Vec<(String, String)>,
    /// Accepted keys that were answered with something else when they were sent again.
    pub(crate) other_answers: Vec<String>,
    /// Rows that the outbox still holds.
    pub(crate) outbox: u64,
}

/// What the sink was told, counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effects {
    /// By node and event.
    pub(crate) events: BTreeMap<(String, String), usize>,
    /// By order and key.
    pub(crate) orders: BTreeMap<(String, String), usize>,
    /// Fences under which a key was committed, where nodes report it.
    pub(crate) commits: BTreeMap<String, BTreeSet<String>>,
}

/// A whole run.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) accepted_min: usize,
    pub(crate) faults_min: usize,
    pub(crate) record: Record,
    pub(crate) faults: BTreeMap<&'static str, usize>,
    /// How long it took after each fault until all nodes were ready.
    pub(crate) recoveries: Vec<Duration>,
    /// By node id.
    pub(crate) nodes: BTreeMap<String, NodeView>,
    pub(crate) effects: Effects,
    /// Runs that ended because another node had taken the key over.
    pub(crate) fenced: usize,
    /// Lines of nodes that tell of a panic.
    pub(crate) panics: Vec<String>,
}

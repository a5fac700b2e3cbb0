use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::Task;

/// The singletons of a node, and how they stand.
#[derive(Default)]
pub(crate) struct Singletons {
    pub(crate) each: Vec<Arc<One>>,
    /// Tasks that have not ended.
    running: watch::Sender<usize>,
}

/// One of them.
pub(crate) struct One {
    pub(crate) name: Arc<str>,
    pub(crate) task: Box<dyn Task>,
    standing: Mutex<Standing>,
}

struct Standing {
    state: SingletonState,
    failures: u32,
    last_error: Option<String>,
    since: Instant,
}

/// How a singleton stands on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SingletonHealth {
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: SingletonState,
    /// For how long.
    pub since: Duration,
    /// How often it failed since this node started.
    pub failures: u32,
    /// What it failed with last.
    pub last_error: Option<String>,
}

/// What a singleton does on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SingletonState {
    /// This node does not lead.
    Waiting,
    /// It runs here.
    Running,
    /// It failed here, and is started again after a pause.
    Pausing,
    /// It ended well in this term.
    Done,
}

impl SingletonState {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Done => "done",
        }
    }
}

impl Singletons {
    pub(crate) fn new(tasks: Vec<(String, Box<dyn Task>)>) -> Self {
        let each = tasks.into_iter().map(|(name, task)| Arc::new(One::new(name, task))).collect();
        Self { each, running: watch::Sender::new(0) }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.each.iter().map(|one| one.name.to_string()).collect()
    }

    pub(crate) fn health(&self) -> Vec<SingletonHealth> {
        self.each.iter().map(|one| one.health()).collect()
    }

    /// Waits until none runs, and none will.
    pub(crate) async fn stopped(&self) {
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await; // the sender lives in self
    }

    /// Counts a task until it is dropped.
    pub(crate) fn begin(&self) -> Running {
        self.running.send_modify(|running| *running += 1);
        Running(self.running.clone())
    }
}

/// A task that has not ended.
pub(crate) struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

impl One {
    fn new(name: String, task: Box<dyn Task>) -> Self {
        let standing =
            Standing { state: SingletonState::Waiting, failures: 0, last_error: None, since: Instant::now() };
        Self { name: name.into(), task, standing: Mutex::new(standing) }
    }

    pub(crate) fn set(&self, state: SingletonState) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        (standing.state, standing.since) = (state, Instant::now());
    }

    pub(crate) fn failed(&self, error: &str) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        (standing.state, standing.since) = (SingletonState::Pausing, Instant::now());
        standing.failures = standing.failures.saturating_add(1);
        standing.last_error = Some(error.to_owned());
    }

    fn health(&self) -> SingletonHealth {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        SingletonHealth {
            name: self.name.to_string(),
            state: standing.state,
            since: standing.since.elapsed(),
            failures: standing.failures,
            last_error: standing.last_error.clone(),
        }
    }
}

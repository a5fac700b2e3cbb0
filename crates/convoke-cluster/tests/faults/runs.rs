//! What runs for the leader in each process: when it began and ended, by the clock they share, and what it wrote.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use convoke_cluster::{Cluster, ErrorKind, Fence};
use convoke_testing::history::{Run, Terms};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// One line of the file that all processes write to.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Event {
    Began {
        node: u64,
        term: u64,
        at: Duration,
    },
    Ended {
        node: u64,
        term: u64,
        at: Duration,
    },
    /// Everything that ran on this node was over then, or had not begun.
    Killed {
        node: u64,
        at: Duration,
    },
    /// A fenced write was accepted, as this version.
    Wrote {
        term: u64,
        version: u64,
    },
    /// A fenced write was refused.
    Fenced {
        term: u64,
    },
}

/// The clock that all processes of a machine share.
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::Monotonic).try_into().expect("it began at zero")
}

/// Where one node writes what it runs.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    node: u64,
    file: Arc<File>,
}

impl Runs {
    pub(crate) fn of(node: u64, path: &Path) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(path).expect("the folder is ours");
        Self { node, file: Arc::new(file) }
    }

    /// It was killed, after this moment.
    pub(crate) fn killed(&self, at: Duration) {
        self.say(&Event::Killed { node: self.node, at });
    }

    /// One line at once: those of several processes do not mix.
    fn say(&self, event: &Event) {
        let line = serde_json::to_string(event).expect("it has no odd keys") + "\n";
        (&*self.file).write_all(line.as_bytes()).expect("the file is ours");
    }
}

/// What one node at a time does: it says that it runs, and writes under its fence.
pub(crate) async fn lead(cluster: Cluster, runs: Runs) {
    loop {
        if cluster.wait_for_leadership(Duration::from_secs(1)).await.is_err() {
            continue;
        }
        let body = async |fence: Fence| {
            let _running = Running::begin(&runs, fence.term);
            tokio::spawn(outlive(cluster.clone(), fence.term, runs.clone()));
            std::future::pending::<()>().await;
        };
        let _cut_short = cluster.run_if_leader(body).await; // it ends in no other way
    }
}

/// What a body must not leave behind: it writes until it is refused. Only the fence keeps it from writing over what
/// later leaders wrote.
async fn outlive(cluster: Cluster, term: u64, runs: Runs) {
    loop {
        let put = cluster.kv().put("led", term.to_string()).fence("led", term);
        match put.timeout(Duration::from_secs(2)).await {
            Ok(version) => runs.say(&Event::Wrote { term, version }),
            Err(error) if matches!(error.kind(), ErrorKind::Fenced { .. }) => {
                return runs.say(&Event::Fenced { term });
            }
            Err(_) => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Says when a run is over, however it ends.
struct Running<'a>(&'a Runs, u64);

impl<'a> Running<'a> {
    fn begin(runs: &'a Runs, term: u64) -> Self {
        runs.say(&Event::Began { node: runs.node, term, at: now() });
        Self(runs, term)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.say(&Event::Ended { node: self.0.node, term: self.1, at: now() });
    }
}

/// What all nodes wrote so far.
pub(crate) struct Seen(Vec<Event>);

impl Seen {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self(text.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect())
    }

    /// The latest run that began: its node and term.
    pub(crate) fn latest(&self) -> Option<(u64, u64)> {
        self.0.iter().rev().find_map(|event| match *event {
            Event::Began { node, term, .. } => Some((node, term)),
            _ => None,
        })
    }

    /// Whether a fenced write was accepted in this term or a later one.
    pub(crate) fn has_written(&self, from: u64) -> bool {
        self.0.iter().any(|event| matches!(event, Event::Wrote { term, .. } if *term >= from))
    }

    /// Whether the writer of this term was refused.
    pub(crate) fn is_fenced(&self, of: u64) -> bool {
        self.0.iter().any(|event| matches!(event, Event::Fenced { term } if *term == of))
    }

    /// All runs.
    pub(crate) fn terms(&self) -> Terms {
        let base = Instant::now();
        let at = |at: Duration| base + at;
        let mut runs: Vec<Run> = Vec::new();
        for event in &self.0 {
            match *event {
                Event::Began { node, term, at: began } => {
                    runs.push(Run { node: format!("n{node}"), term, began: at(began), ended: None });
                }
                Event::Ended { node, at: ended, .. } | Event::Killed { node, at: ended } => {
                    let node = format!("n{node}");
                    for run in runs.iter_mut().filter(|run| run.node == node && run.ended.is_none()) {
                        run.ended = Some(at(ended).max(run.began));
                    }
                }
                Event::Wrote { .. } | Event::Fenced { .. } => {}
            }
        }
        runs.into_iter().collect()
    }

    /// No write was accepted behind one of a newer term. How many were accepted, and how many writers were refused.
    #[track_caller]
    pub(crate) fn assert_fenced(&self) -> (usize, usize) {
        let mut writes: Vec<(u64, u64)> = Vec::new();
        let mut fenced = 0;
        for event in &self.0 {
            match *event {
                Event::Wrote { term, version } => writes.push((version, term)),
                Event::Fenced { .. } => fenced += 1,
                _ => {}
            }
        }
        writes.sort_unstable();
        for pair in writes.windows(2) {
            assert!(pair[0].1 <= pair[1].1, "as (version, term), the second behind a newer fence: {pair:?}");
        }
        (writes.len(), fenced)
    }
}

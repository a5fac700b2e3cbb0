//! Nodes in processes of their own, with a switchboard between them.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use convoke_cluster::Timing;
use convoke_testing::{eventually_within, servers::free_port};
use futures_util::future::join_all;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;

use crate::{
    board::Board,
    child::{ORDERS, Orders, TEST},
    line::Line,
    runs::{self, Runs, Seen},
    wire::{Ask, Question, Said, Standing},
};

/// What a test waits for at most. Machines that run tests are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// Elections on machines that run tests.
pub(crate) const TIMING: Timing =
    Timing::new(Duration::from_millis(100), (Duration::from_millis(400), Duration::from_millis(700)));
/// Of a node that does not answer for so long nothing is known.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// Of a log, when a test failed.
const LINES_SHOWN: usize = 20;

pub(crate) struct Fleet {
    pub(crate) board: Board,
    orders: BTreeMap<u64, Orders>,
    processes: BTreeMap<u64, Child>,
    folder: TempDir,
}

impl Fleet {
    /// Three nodes, one of which leads.
    pub(crate) async fn start(timing: Timing) -> Self {
        let mut fleet = Self::prepare(timing, &BTreeMap::new()).await;
        fleet.run_all().await;
        fleet
    }

    /// Three nodes that are not started yet. Some of them may have a directory elsewhere.
    pub(crate) async fn prepare(timing: Timing, elsewhere: &BTreeMap<u64, PathBuf>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = || free_port().expect("a free port");
        let behind: BTreeMap<u64, SocketAddr> =
            (1..=3).map(|id| (id, SocketAddr::from(([127, 0, 0, 1], port())))).collect();
        let board = Board::start(&behind).await;
        let path = |name: String| folder.path().join(name);
        let orders = behind.iter().map(|(&id, &raft)| {
            let orders = Orders {
                id,
                raft,
                control: path(format!("{id}.socket")),
                founders: board.addresses.clone(),
                dir: elsewhere.get(&id).cloned().unwrap_or_else(|| path(id.to_string())),
                heartbeat: timing.heartbeat,
                election: timing.election,
                runs: path("runs".to_owned()),
            };
            (id, orders)
        });
        let orders = orders.collect();
        Self { orders, board, processes: BTreeMap::new(), folder }
    }

    /// Starts what does not run, and waits until somebody leads.
    pub(crate) async fn run_all(&mut self) {
        self.ids().into_iter().for_each(|id| self.run(id));
        self.leader().await;
    }

    /// Starts a node, unless it runs.
    pub(crate) fn run(&mut self, id: u64) {
        if self.processes.contains_key(&id) {
            return;
        }
        let log = fs::File::options().append(true).create(true).open(self.log(id)).expect("a log file");
        let child = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["--ignored", "--exact", TEST, "--nocapture"])
            .env(ORDERS, serde_json::to_string(&self.orders[&id]).expect("it has no odd keys"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("this program runs again");
        self.board.is(id, child.id());
        self.processes.insert(id, child);
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.orders.keys().copied().collect()
    }

    /// All but this one.
    pub(crate) fn others(&self, id: u64) -> Vec<u64> {
        self.ids().into_iter().filter(|other| *other != id).collect()
    }

    pub(crate) fn line(&self, id: u64) -> Line {
        Line::to(self.orders[&id].control.clone())
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen::read(&self.folder.path().join("runs"))
    }

    /// `kill -9`. Returns when it is gone.
    pub(crate) fn kill(&mut self, id: u64) {
        let Some(mut child) = self.processes.remove(&id) else { return };
        let before = runs::now();
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        Runs::of(id, &self.orders[&id].runs).killed(before);
    }

    pub(crate) fn kill_all(&mut self) {
        self.ids().into_iter().for_each(|id| self.kill(id));
    }

    /// Returns when it stands still, in the middle of whatever it did.
    pub(crate) fn freeze(&self, id: u64) {
        let pid = self.pid(id);
        kill_process(pid, Signal::STOP).expect("it runs");
        let stood = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(pid), stood).expect("it is ours").expect("it changed");
        assert!(status.stopped(), "node {id} ended: {status:?}");
    }

    /// It goes on as if no time had passed.
    pub(crate) fn thaw(&self, id: u64) {
        kill_process(self.pid(id), Signal::CONT).expect("it is there");
    }

    fn pid(&self, id: u64) -> Pid {
        Pid::from_child(&self.processes[&id])
    }

    pub(crate) async fn ask(&self, id: u64, ask: Ask, within: Duration) -> Said {
        self.line(id).ask(ask, within).await
    }

    /// How a node sees itself. `None` when it does not answer.
    pub(crate) async fn standing(&self, id: u64) -> Option<Standing> {
        match self.ask(id, Ask::Standing, ANSWERS_WITHIN).await {
            Said::Standing(standing) => Some(standing),
            _ => None,
        }
    }

    /// Who leads, and in which term.
    pub(crate) async fn leader(&self) -> (u64, u64) {
        eventually_within(PATIENCE, "a node leads", async || self.leads().await).await
    }

    /// Who says that it leads: the one with the greatest term, when another one does not know yet that it is over.
    pub(crate) async fn leads(&self) -> Option<(u64, u64)> {
        let ask =
            |id: u64| async move { self.standing(id).await.filter(|it| it.leads).map(|it| (it.term, id)) };
        let leaders = join_all(self.ids().into_iter().map(ask)).await;
        leaders.into_iter().flatten().max().map(|(term, id)| (id, term))
    }

    /// Waits until a later one leads, and what it runs for the leader has begun.
    pub(crate) async fn next_leader(&self, term: u64) -> u64 {
        let next = eventually_within(PATIENCE, "another one leads", async || {
            self.seen().latest().filter(|(_, latest)| *latest > term)
        });
        next.await.0
    }

    /// Has the leader of this term hand over.
    pub(crate) async fn hand_over(&self, leader: u64, term: u64) {
        let handed_over = eventually_within(PATIENCE, "leadership is handed over", async || {
            let said = self.ask(leader, Ask::Transfer { to: None }, Duration::from_secs(5)).await;
            self.seen().latest().filter(|(_, latest)| *latest > term).ok_or(said)
        });
        handed_over.await;
    }

    fn log(&self, id: u64) -> PathBuf {
        self.folder.path().join(format!("{id}.log"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (id, orders) in &self.orders {
                let standing = last_words(&orders.control);
                let log = fs::read_to_string(self.log(*id)).unwrap_or_default();
                eprintln!("--- node {id}: {standing:?}, and the end of its log:\n{}", end(&log));
            }
            let runs = fs::read_to_string(self.folder.path().join("runs")).unwrap_or_default();
            eprintln!("--- the end of what the nodes ran:\n{}", end(&runs));
        }
        self.kill_all();
    }
}

/// How a node sees itself when a test failed.
fn last_words(control: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let question = Question { ask: Ask::Standing, within_ms: 0 };
    writeln!(stream, "{}", serde_json::to_string(&question)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

fn end(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
}

//! Three processes of this program, one of which leads the others.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use convoke_testing::servers::free_port;
use tempfile::TempDir;

use super::{events::Event, member::HAND_OVER};
use crate::BoxError;

/// Longer than anything takes on a machine that is not broken.
const PATIENCE: Duration = Duration::from_secs(30);
const NODES: usize = 3;

/// The three, and what they say.
#[derive(Debug)]
pub(crate) struct Trio {
    preset: String,
    addresses: Vec<String>,
    // Before the folder, so that the processes are gone when their files go.
    nodes: [Process; NODES],
    folder: TempDir,
    says: Sender<Said>,
    said: Receiver<Said>,
}

/// A process. It is killed when dropped.
#[derive(Debug)]
struct Process(Child);

/// What a node said.
#[derive(Debug)]
struct Said {
    at: Instant,
    node: usize,
    event: Event,
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leads {
    node: usize,
    term: u64,
}

impl Trio {
    pub(crate) fn start(preset: &str) -> Result<Self, BoxError> {
        let folder = tempfile::tempdir()?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let addresses: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let (says, said) = channel();
        let launch = |node| launch(node, preset, &addresses, &folder, &says);
        let nodes = [launch(0)?, launch(1)?, launch(2)?];
        Ok(Self { preset: preset.to_owned(), addresses, nodes, folder, says, said })
    }

    /// From `kill -9` of the leader to the first write that the next one acknowledged. Then the killed one is back.
    pub(crate) fn kill_the_leader(&mut self) -> Result<Duration, BoxError> {
        let leads = self.settled()?;
        let began = Instant::now();
        self.nodes[leads.node].end()?;
        let took = self.written_after(began, leads)?;
        self.nodes[leads.node] = launch(leads.node, &self.preset, &self.addresses, &self.folder, &self.says)?;
        Ok(took)
    }

    /// From the request to hand over to the first write that the next leader acknowledged.
    pub(crate) fn hand_over(&mut self) -> Result<Duration, BoxError> {
        let leads = self.settled()?;
        let began = Instant::now();
        self.nodes[leads.node].tell(HAND_OVER)?;
        self.written_after(began, leads)
    }

    /// Waits until one leads, and both others could take over at once. Forgets what was said before.
    fn settled(&mut self) -> Result<Leads, BoxError> {
        while self.said.try_recv().is_ok() {}
        let until = Instant::now() + PATIENCE;
        loop {
            let Said { node, event, .. } = self.next(until, "the nodes have not settled")?;
            if let Event::Stands { leads: true, term, near } = event
                && near == NODES - 1
            {
                return Ok(Leads { node, term });
            }
        }
    }

    /// When the first write was acknowledged that a later leader took, from then on.
    fn written_after(&mut self, began: Instant, before: Leads) -> Result<Duration, BoxError> {
        let until = began + PATIENCE;
        loop {
            let Said { at, event, .. } = self.next(until, "nobody could write")?;
            match event {
                Event::Wrote { term } if term > before.term => return Ok(at.duration_since(began)),
                Event::Failed { why } => eprintln!("not done: {why}"),
                _ => {}
            }
        }
    }

    fn next(&self, until: Instant, what: &str) -> Result<Said, BoxError> {
        match self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(said) => Ok(said),
            Err(RecvTimeoutError::Timeout) => Err(format!("{what} for {PATIENCE:?}").into()),
            Err(RecvTimeoutError::Disconnected) => unreachable!("one of the senders is ours"),
        }
    }
}

/// Starts a node of this program, and listens to it.
fn launch(
    node: usize,
    preset: &str,
    addresses: &[String],
    folder: &TempDir,
    says: &Sender<Said>,
) -> Result<Process, BoxError> {
    let mut program = Command::new(env::current_exe()?);
    program.args(["member", "--preset", preset, "--addresses", &addresses.join(",")]);
    program.args(["--id", &(node + 1).to_string(), "--folder"]).arg(folder.path().join(node.to_string()));
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let says = says.clone();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let at = Instant::now();
            let Some(event) = Event::read(&line) else {
                eprintln!("node {node} said {line:?}");
                continue;
            };
            if says.send(Said { at, node, event }).is_err() {
                return;
            }
        }
    });
    Ok(Process(child))
}

impl Process {
    /// `kill -9`, and gone.
    fn end(&mut self) -> Result<(), BoxError> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    fn tell(&mut self, line: &str) -> Result<(), BoxError> {
        let to = self.0.stdin.as_mut().expect("it is piped, and nobody took it");
        Ok(to.write_all(format!("{line}\n").as_bytes())?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end(); // it may have ended
    }
}

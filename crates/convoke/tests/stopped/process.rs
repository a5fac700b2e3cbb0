//! A node in a process of its own: this test program once more, told to run one node.
use std::{
    env,
    io::{BufRead, BufReader, Read},
    process::{self, Command, Stdio},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::Servers;

const NATS: &str = "CONVOKE_STOPPED_NATS";
const REDIS: &str = "CONVOKE_STOPPED_REDIS";
const READY: &str = "node1 is ready";

/// It is killed when dropped.
pub(crate) struct Child {
    process: process::Child,
}

impl Child {
    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(servers: &Servers) -> Self {
        let mut program = Command::new(env::current_exe().expect("this program has a path"));
        program.args(["--ignored", "--exact", "node_process", "--nocapture"]);
        program.env(NATS, &servers.nats).envs(servers.redis.iter().map(|url| (REDIS, url)));
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Self { process: program.spawn().expect("it runs") };
        let said = BufReader::new(child.process.stdout.take().expect("it is piped"));
        let mut lines = said.lines().map_while(Result::ok);
        let ready = tokio::task::spawn_blocking(move || {
            let ready = lines.any(|line| line.contains(READY));
            std::thread::spawn(move || lines.for_each(drop)); // so that it never waits for a reader
            ready
        });
        assert!(ready.await.expect("no panic"), "the node ended before it was ready");
        child
    }

    /// Stops it, and returns when it stands still.
    pub(crate) fn stop(&mut self) {
        let pid = self.pid();
        kill_process(pid, Signal::STOP).expect("it runs");
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).expect("it is ours").expect("it changed");
        assert!(status.stopped(), "{status:?}");
    }

    pub(crate) fn go_on(&mut self) {
        kill_process(self.pid(), Signal::CONT).expect("it is there");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

/// Where the servers are, in the child.
pub(crate) fn told() -> Option<Servers> {
    Some(Servers { nats: env::var(NATS).ok()?, redis: env::var(REDIS).ok() })
}

pub(crate) fn say_ready() {
    println!("\n{READY}");
}

/// Waits until whoever started this process closes its end, or is gone.
pub(crate) async fn hung_up() {
    let read = || std::io::stdin().read_to_end(&mut Vec::new());
    let _ = tokio::task::spawn_blocking(read).await; // an error is the end as well
}

//! One child process that does not outlive its owner.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::error::Error;

const LOG_LINES_SHOWN: usize = 12;

/// A running server. Killed when dropped, and also when this process dies without dropping it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    watchdog: Watchdog,
    log: PathBuf,
}

impl Process {
    /// Starts `program`, with its output in a file of `directory`.
    pub(super) fn spawn(program: &Path, arguments: &[String], directory: &Path) -> Result<Self, Error> {
        let log = directory.join("log");
        let failed = |what: &str, error| Error::failed(format!("{}: {what}: {error}", program.display()));
        let out = File::options().create(true).append(true).open(&log).map_err(|e| failed("its log", e))?;
        let err = out.try_clone().map_err(|e| failed("its log", e))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| failed("it cannot be run", e))?;
        match Watchdog::over(&child, directory) {
            Ok(watchdog) => Ok(Self { child, watchdog, log }),
            Err(error) => {
                // Nothing would end it after us, so it does not start at all.
                let _ = child.kill();
                let _ = child.wait();
                Err(failed("its watchdog", error))
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself or by `kill`.
    pub(super) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends `signal` unless the process has ended: its id may belong to someone else by then.
    pub(super) fn signal(&mut self, signal: Signal) {
        if !self.ended() {
            // It can only fail when the process ended a moment ago, and then it is not there to be signalled.
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// SIGSTOP, and waits until it stands still: the signal alone leaves it a few more instructions.
    pub(super) fn stop(&mut self) {
        self.signal(Signal::STOP);
        if !self.ended() {
            let stood = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let _ = waitid(WaitId::Pid(Pid::from_child(&self.child)), stood);
        }
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        // The watchdog goes first: the id it knows stays ours until the child is waited for.
        self.watchdog.dismiss();
        let _ = self.child.wait();
    }

    /// The last lines it wrote.
    pub(super) fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A shell that kills the child and removes its files once our end of its pipe closes, which the system does for us
/// in every kind of death. A line through the pipe sends it home.
#[derive(Debug)]
struct Watchdog {
    shell: Child,
    leash: Option<ChildStdin>,
}

impl Watchdog {
    fn over(child: &Child, directory: &Path) -> std::io::Result<Self> {
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "read -r _ || { kill -9 \"$1\"; rm -rf \"$2\"; }",
                "watchdog",
                &child.id().to_string(),
            ])
            .arg(directory)
            // Its own group: Ctrl-C and a test runner's timeout go to the group of the test.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let leash = shell.stdin.take();
        Ok(Self { shell, leash })
    }

    fn dismiss(&mut self) {
        if let Some(mut leash) = self.leash.take() {
            let _ = leash.write_all(b"\n");
        }
        let _ = self.shell.wait();
    }
}

/// The resident memory of a process, in bytes.
///
/// # Panics
///
/// Panics when the process is gone, and on systems without `/proc`.
#[must_use]
#[track_caller]
pub fn resident_bytes(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let kibibytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    let kibibytes: u64 = kibibytes.unwrap_or_else(|| panic!("process {pid} has ended"));
    kibibytes * 1024
}

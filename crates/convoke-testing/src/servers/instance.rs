//! What all server fixtures have in common: a directory, a process in it, and the wait until it answers.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::error::Error;
use super::process::{Process, resident_bytes};

/// How long a server may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long one question to it may take.
const PROBE_WITHIN: Duration = Duration::from_secs(2);
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// How often a start is tried on another port when somebody else was faster on the one we found free.
pub(super) const STARTS_MAX: u32 = 5;

#[derive(Debug)]
pub(super) struct Instance {
    program: PathBuf,
    arguments: Vec<String>,
    // Before the directory, so that the process is gone when its files go.
    process: Mutex<Process>,
    directory: TempDir,
}

/// Why a start did not work out.
#[derive(Debug)]
pub(super) enum Start {
    /// Somebody else has the port.
    PortTaken(Error),
    /// Everything else.
    Failed(Error),
}

impl Instance {
    pub(super) fn launch(
        program: PathBuf,
        arguments: Vec<String>,
        directory: TempDir,
    ) -> Result<Self, Error> {
        let process = Process::spawn(&program, &arguments, directory.path())?;
        Ok(Self { program, arguments, process: Mutex::new(process), directory })
    }

    /// Kills what runs and starts it again with the same arguments in the same directory.
    pub(super) fn relaunch(&self) -> Result<(), Error> {
        let mut process = self.process();
        process.kill();
        *process = Process::spawn(&self.program, &self.arguments, self.directory.path())?;
        Ok(())
    }

    /// Asks `probe` until it says yes.
    pub(super) async fn until_ready<F, Fut>(&self, probe: F) -> Result<(), Start>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = bool>,
    {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if timeout(PROBE_WITHIN, probe()).await.unwrap_or(false) {
                return Ok(());
            }
            self.still_running()?;
            sleep(PROBE_EVERY).await;
        }
        let name = self.program.display();
        Err(Start::Failed(Error::failed(format!(
            "{name} was not ready in {READY_WITHIN:?}:\n{}",
            self.process().log_tail()
        ))))
    }

    fn still_running(&self) -> Result<(), Start> {
        let mut process = self.process();
        if !process.ended() {
            return Ok(());
        }
        let log = process.log_tail();
        let error = Error::failed(format!("{} ended at its start:\n{log}", self.program.display()));
        let taken = log.to_ascii_lowercase().contains("address already in use");
        Err(if taken { Start::PortTaken(error) } else { Start::Failed(error) })
    }

    pub(super) fn log_tail(&self) -> String {
        self.process().log_tail()
    }

    pub(super) fn pid(&self) -> u32 {
        self.process().id()
    }

    pub(super) fn kill(&self) {
        self.process().kill();
    }

    pub(super) fn pause(&self) {
        self.process().stop();
    }

    pub(super) fn resume(&self) {
        self.process().signal(Signal::CONT);
    }

    #[track_caller]
    pub(super) fn rss_bytes(&self) -> u64 {
        resident_bytes(self.pid())
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Start {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::PortTaken(error) | Self::Failed(error) => error,
        }
    }
}

impl From<Error> for Start {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Tries again on another port when the one found free was taken in between.
pub(super) async fn on_a_free_port<T, F, Fut>(start: F) -> Result<T, Error>
where
    F: Fn(u16) -> Fut,
    Fut: Future<Output = Result<T, Start>>,
{
    let mut tries = 1;
    loop {
        match start(super::port::free()?).await {
            Err(Start::PortTaken(_)) if tries < STARTS_MAX => tries += 1,
            Err(start) => return Err(start.into_error()),
            Ok(server) => return Ok(server),
        }
    }
}

pub(super) fn new_directory() -> Result<TempDir, Error> {
    tempfile::Builder::new()
        .prefix("convoke-")
        .tempdir()
        .map_err(|error| Error::failed(format!("no temporary directory: {error}")))
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|error| Error::failed(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_replaced_a_limited_number_of_times() {
        let tries = AtomicU32::new(0);
        let result: Result<(), _> = on_a_free_port(async |_| {
            tries.fetch_add(1, Ordering::Relaxed);
            Err(Start::PortTaken(Error::failed("taken")))
        })
        .await;
        assert_eq!(result.expect_err("no port was good").to_string(), "taken");
        assert_eq!(tries.into_inner(), STARTS_MAX);
    }
}

//! Where a node runs: each has a runtime of its own, as each process would.

use std::{sync::mpsc, thread};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};

use crate::BoxError;

/// What runs the tasks of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Flavor {
    /// As `#[tokio::main]` makes it: one worker per core.
    MultiThread,
    /// One thread.
    CurrentThread,
}

impl Flavor {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::MultiThread => "multi-thread runtimes",
            Self::CurrentThread => "current-thread runtimes",
        }
    }
}

/// A runtime that is driven for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Place {
    handle: Handle,
    _driver: Driver,
}

#[derive(Debug)]
enum Driver {
    Workers { _runtime: Runtime },
    Thread { _stop: oneshot::Sender<()> }, // dropping it ends the thread
}

impl Place {
    pub(crate) fn new(flavor: Flavor) -> Result<Self, BoxError> {
        match flavor {
            Flavor::MultiThread => {
                let runtime = Builder::new_multi_thread().enable_all().build()?;
                Ok(Self { handle: runtime.handle().clone(), _driver: Driver::Workers { _runtime: runtime } })
            }
            Flavor::CurrentThread => {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                let handle = runtime.handle().clone();
                let (stop, stopped) = oneshot::channel();
                thread::spawn(move || drop(runtime.block_on(stopped)));
                Ok(Self { handle, _driver: Driver::Thread { _stop: stop } })
            }
        }
    }

    /// Runs a future as a task here and waits for it. Never call it from a task.
    pub(crate) fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (output, outputs) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            let _ = output.send(future.await); // the receiver waits below
        });
        outputs.recv().expect("the task did not panic")
    }
}

//! The program, and what it said.
use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How soon it must have told that a server is away.
const AWAY_WITHIN: Duration = Duration::from_secs(5);

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// It ended so.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
    #[track_caller]
    pub(crate) fn said(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.stdout.contains(part) || self.stderr.contains(part),
                "{part:?} is missing: {self:#?}"
            );
        }
        self
    }
    #[track_caller]
    pub(crate) fn soon(self) -> Self {
        assert!(self.took < AWAY_WITHIN, "{self:#?}");
        self
    }
}

/// Runs it without anything of our own environment.
pub(crate) fn convoke(arguments: &[&str]) -> Ran {
    with_input(arguments, "")
}

pub(crate) fn with_input(arguments: &[&str], input: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_convoke"));
    command.args(arguments).env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().expect("it runs");
    // a program that does not read its input closes it
    drop(child.stdin.take().expect("it is piped").write_all(input.as_bytes()));
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr), took: began.elapsed() }
}

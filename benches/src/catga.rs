//! catga-core runs in a program of its own (`benches/catga`): it asks for a newer Rust than this workspace.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{BoxError, rounds::Sample};

/// The built program.
pub(crate) struct Peer(PathBuf);

impl Peer {
    /// Builds it, which takes minutes the first time.
    pub(crate) fn build() -> Result<Self, BoxError> {
        let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = benches.join("../target/peers");
        println!("building catga-core into target/peers ..");
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--locked", "--quiet", "--ignore-rust-version", "--manifest-path"])
            .arg(benches.join("catga/Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .status()?;
        if !built.success() {
            return Err("it could not be built".into());
        }
        Ok(Self(target.join("release/convoke-bench-catga")))
    }

    pub(crate) fn measure(&self, threads: usize, time: Duration) -> Result<Sample, BoxError> {
        let output =
            Command::new(&self.0).args([threads.to_string(), time.as_millis().to_string()]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let figure = text.trim().parse().map_err(|_| format!("catga-core measured {text:?}"))?;
        Ok(Sample { figure, cpu_us: None })
    }
}

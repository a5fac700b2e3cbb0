use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{EVENTUALLY_WITHIN, servers::servers_required};

const SIZE: &str = "512M";

/// Nothing is written back by itself within so many seconds, which is longer than a run between two failures.
const COMMIT: &str = "loop,commit=300";

/// A disk of a test's own, whose power can fail: what was written and not synced is gone then.
///
/// It is a file system in a file. What the file holds is what a disk would hold: the system writes there when somebody
/// syncs, and otherwise much later. Mounting one needs root, or sudo without a password.
#[derive(Debug)]
pub struct Disk {
    directory: TempDir,
}

impl Disk {
    /// `None`, after a printed line, where nobody may mount.
    ///
    /// # Panics
    /// When nobody may and servers are required; see [`servers`](crate::servers).
    #[must_use]
    pub fn new_or_skip(test: &str) -> Option<Self> {
        Self::of_size_or_skip(test, SIZE)
    }

    /// One that is soon full, when the size is small: `"32M"`.
    ///
    /// # Panics
    /// As [`new_or_skip`](Self::new_or_skip) does, and when there is no temporary directory.
    #[must_use]
    pub fn of_size_or_skip(test: &str, size: &str) -> Option<Self> {
        let disk = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        std::fs::create_dir(disk.path()).expect("it is new");
        let image = disk.image();
        let made = privileged("truncate", &["-s", size, &image])
            .and_then(|()| privileged("mkfs.ext4", &["-q", "-m", "0", &image]))
            .and_then(|()| disk.mount());
        if let Err(why) = made {
            let why = format!("no disk of its own: {why} (mounting needs root, or sudo without a password)");
            assert!(!servers_required(), "{test}: {why}");
            println!("skipped: {test}: {why}");
            return None;
        }
        Some(disk)
    }

    /// Where files go.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// The power fails and comes back. Whoever wrote here must have ended.
    ///
    /// # Panics
    /// When somebody still uses the disk.
    pub fn fail(&self) {
        self.cut();
        self.come_back();
    }

    /// The power fails: nothing that is synced from now on is there after [`come_back`](Self::come_back). For writers
    /// in the process of the test, which end between the two.
    ///
    /// # Panics
    /// When the disk cannot be read.
    pub fn cut(&self) {
        privileged("cp", &["--sparse=always", &self.image(), &self.after()]).expect("the disk can be read");
    }

    /// The power comes back, with what was synced when it failed.
    ///
    /// # Panics
    /// When somebody still uses the disk, 10 s later.
    pub fn come_back(&self) {
        // Ends the old one together with what it did not write. Who wrote there may be about to end.
        let until = Instant::now() + EVENTUALLY_WITHIN;
        while let Err(why) = privileged("umount", &[&shown(&self.path())]) {
            assert!(Instant::now() < until, "somebody still uses the disk: {why}");
            std::thread::sleep(Duration::from_millis(20));
        }
        privileged("mv", &[&self.after(), &self.image()]).expect("the files are ours");
        self.mount().expect("it was mounted before");
    }

    fn mount(&self) -> Result<(), String> {
        let path = shown(&self.path());
        privileged("mount", &["-o", COMMIT, &self.image(), &path])?;
        privileged("chmod", &["777", &path])
    }

    fn image(&self) -> String {
        shown(&self.directory.path().join("image"))
    }

    fn after(&self) -> String {
        shown(&self.directory.path().join("image.after"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = privileged("umount", &["-l", &shown(&self.path())]); // it may not be mounted
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn privileged(program: &str, arguments: &[&str]) -> Result<(), String> {
    let root = rustix::process::geteuid().is_root();
    let mut command = if root { Command::new(program) } else { Command::new("sudo") };
    if !root {
        command.args(["-n", program]);
    }
    let output = command.args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

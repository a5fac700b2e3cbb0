//! A disk of a server's own, whose power can fail: what was written and not synced is gone then.
use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

const SIZE: &str = "512M";
/// Nothing is written back by itself within so many seconds, which is longer than a run between two failures.
const COMMIT: &str = "loop,commit=300";

/// A file system in a file. What the file holds is what a disk would hold: the system writes there when somebody
/// syncs, and otherwise much later.
pub(crate) struct Disk {
    directory: TempDir,
}

impl Disk {
    /// `None`, after a printed line, where nobody may mount.
    pub(crate) fn new_or_skip(test: &str) -> Option<Self> {
        let disk = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        std::fs::create_dir(disk.path()).expect("it is new");
        let image = disk.image();
        let made = privileged("truncate", &["-s", SIZE, &image])
            .and_then(|()| privileged("mkfs.ext4", &["-q", &image]))
            .and_then(|()| disk.mount());
        if let Err(why) = made {
            println!(
                "skipped: {test}: no disk of its own: {why} (mounting needs root, or sudo without a password)"
            );
            return None;
        }
        Some(disk)
    }

    /// Where files go.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// The power fails and comes back. Whoever wrote here must have ended.
    pub(crate) fn fail(&self) {
        let (image, after) = (self.image(), format!("{}.after", self.image()));
        privileged("cp", &["--sparse=always", &image, &after]).expect("the disk can be read");
        // Ends the old one together with what it did not write.
        privileged("umount", &[&shown(&self.path())]).expect("nobody uses it");
        privileged("mv", &[&after, &image]).expect("the files are ours");
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

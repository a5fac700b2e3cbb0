//! Where the server programs are, and whether they are new enough.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::error::Error;

/// A program the fixtures can start.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: &'static str,
    /// The environment variable that names it.
    pub(super) variable: &'static str,
    pub(super) at_least: Version,
    /// How it is asked for its version.
    asked: &'static str,
}

pub(super) type Version = [u32; 3];

/// 2.12.3 fixed what the JetStream stores rely on.
pub(super) const NATS: Wanted = wanted("nats-server", "NATS_SERVER", [2, 12, 3]);
pub(super) const REDIS: Wanted = wanted("redis-server", "REDIS_SERVER", [7, 0, 0]);
/// 2.2 brought `http-check send`.
pub(super) const HAPROXY: Wanted = wanted("haproxy", "HAPROXY", [2, 2, 0]);
/// 1.20 brought `-e`.
pub(super) const NGINX: Wanted = Wanted { asked: "-v", ..wanted("nginx", "NGINX", [1, 20, 0]) };

const fn wanted(name: &'static str, variable: &'static str, at_least: Version) -> Wanted {
    Wanted { name, variable, at_least, asked: "--version" }
}

/// The program's path, looked up once per process: asking for the version costs a process each.
pub(super) fn locate(wanted: &Wanted) -> Result<PathBuf, Error> {
    static FOUND: Mutex<Option<HashMap<&'static str, PathBuf>>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let found = found.get_or_insert_default();
    if let Some(path) = found.get(wanted.name) {
        return Ok(path.clone());
    }
    let path = find(wanted, std::env::var_os(wanted.variable), &directories())?;
    found.insert(wanted.name, path.clone());
    Ok(path)
}

/// A program the user named is taken or refused; otherwise the first one that is new enough.
fn find(wanted: &Wanted, named: Option<OsString>, directories: &[PathBuf]) -> Result<PathBuf, Error> {
    let candidates = match named.filter(|path| !path.is_empty()) {
        Some(path) => vec![PathBuf::from(path)],
        None => directories.iter().map(|d| d.join(wanted.name)).filter(|p| p.is_file()).collect(),
    };
    let mut refused = Vec::new();
    for candidate in candidates {
        match accept(wanted, &candidate) {
            Ok(()) => return Ok(candidate),
            Err(reason) => refused.push(reason),
        }
    }
    Err(missing(wanted, &refused))
}

fn missing(wanted: &Wanted, refused: &[String]) -> Error {
    let [major, minor, patch] = wanted.at_least;
    let found = if refused.is_empty() { "none found".to_owned() } else { refused.join("; ") };
    let Wanted { name, variable, .. } = wanted;
    Error::missing(format!(
        "no {name} {major}.{minor}.{patch} or newer ({found}); run scripts/get-servers.sh or set {variable}"
    ))
}

fn accept(wanted: &Wanted, program: &Path) -> Result<(), String> {
    let shown = program.display();
    let output = Command::new(program).arg(wanted.asked).output().map_err(|e| format!("{shown}: {e}"))?;
    // nginx writes it to the standard error.
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let version = version_in(&text).ok_or_else(|| format!("{shown} does not tell its version"))?;
    if version < wanted.at_least {
        let [major, minor, patch] = version;
        return Err(format!("{shown} is {major}.{minor}.{patch}, too old"));
    }
    Ok(())
}

/// `nats-server: v2.15.1` and `Redis server v=7.0.15 sha=..` write it after a `v`, `nginx/1.22.1` after its name, haproxy
/// as a word of its own.
fn version_in(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(|word| {
        let after_name = || word.strip_prefix("nginx/");
        let word =
            word.strip_prefix("v=").or_else(|| word.strip_prefix('v')).or_else(after_name).unwrap_or(word);
        let mut numbers = word.split(['.', '-']).map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some([next()?, next()?, next()?])
    })
}

/// `target/tools` of the workspace a test runs in, then `PATH`, then where haproxy is and not everybody's `PATH` goes.
fn directories() -> Vec<PathBuf> {
    let start =
        std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).or_else(|| std::env::current_dir().ok());
    let tools = start.iter().flat_map(|dir| dir.ancestors()).map(|dir| dir.join("target/tools"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    tools.chain(std::env::split_paths(&path)).chain([PathBuf::from("/usr/sbin")]).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory with a `nats-server` that only prints `version`.
    fn directory(version: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let program = directory.path().join("nats-server");
        std::fs::write(&program, format!("#!/bin/sh\necho nats-server: v{version}\n"))
            .expect("it can be written");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))
            .expect("it can be made executable");
        directory
    }

    #[test]
    fn an_old_server_is_passed_over_for_a_newer_one() {
        let (old, new) = (directory("2.9.10"), directory("2.12.3"));
        let found = find(&NATS, None, &[old.path().into(), new.path().into()]).expect("one is new enough");
        assert_eq!(found, new.path().join("nats-server"));
    }

    #[test]
    fn an_old_server_alone_counts_as_missing_and_is_named() {
        let old = directory("2.12.2");
        let error = find(&NATS, None, &[old.path().into()]).expect_err("2.12.2 is too old");
        assert_eq!(error.kind(), super::super::ErrorKind::Missing);
        let text = error.to_string();
        assert!(text.contains("nats-server is 2.12.2, too old") && text.contains("NATS_SERVER"), "{text}");
    }

    #[test]
    fn a_server_named_in_the_environment_is_not_replaced_by_another() {
        let (old, new) = (directory("2.9.10"), directory("2.15.1"));
        let named = old.path().join("nats-server").into_os_string();
        assert!(find(&NATS, Some(named), &[new.path().into()]).is_err());
        assert!(
            find(&NATS, Some(OsString::new()), &[new.path().into()]).is_ok(),
            "an empty variable names nothing"
        );
    }

    #[test]
    fn versions_are_read_from_what_the_servers_print() {
        assert_eq!(version_in("nats-server: v2.15.1\n"), Some([2, 15, 1]));
        assert_eq!(version_in("nats-server: v2.12.3-RC.1"), Some([2, 12, 3]));
        assert_eq!(
            version_in("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"),
            Some([7, 0, 15])
        );
        assert_eq!(version_in("nginx version: nginx/1.22.1\n"), Some([1, 22, 1]));
        assert_eq!(version_in("HAProxy version 2.6.12-1+deb12u4 2026/10/17"), Some([2, 6, 12]));
        assert_eq!(version_in("nonsense"), None);
    }
}

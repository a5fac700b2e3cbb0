mod damage;
mod durability;
#[cfg(unix)]
mod failure;
#[cfg(unix)]
mod power;
mod restart;
mod torn;

use std::{
    fs,
    path::{Path, PathBuf},
};

use openraft::{RaftLogReader, storage::RaftLogStorage};

use super::{
    Entry, Log, LogId, Vote,
    open::Sizes,
    record::{self, At, Framed},
};
use crate::Durability;

const SMALL: Sizes = Sizes { segment_bytes_max: 10_000, cache_bytes_max: 20_000 };

fn open(folder: &Path) -> Log {
    Log::open(folder, Durability::Sync).expect("it can be opened")
}

/// With segments of ten entries of a thousand bytes, of which twenty are in memory.
fn open_small(folder: &Path) -> Log {
    Log::open_with(folder, Durability::Sync, SMALL).expect("it can be opened")
}

#[derive(Debug, PartialEq)]
struct Content {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    entries: Vec<Entry>,
}

async fn content(log: &mut Log) -> Content {
    let state = log.get_log_state().await.unwrap();
    Content {
        vote: log.read_vote().await.unwrap(),
        committed: log.read_committed().await.unwrap(),
        purged: state.last_purged_log_id,
        last: state.last_log_id,
        entries: log.try_get_log_entries(..).await.unwrap(),
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    segments.sort();
    segments
}

/// Where each record of a segment begins, and where the last one ends.
fn boundaries(bytes: &[u8], segment: u64) -> Vec<usize> {
    let mut found = vec![0];
    let mut at = 0;
    while let Ok(Framed { bytes: length, .. }) = record::read(&bytes[at..], At { segment, offset: at as u64 })
    {
        at += length;
        found.push(at);
    }
    found
}

/// The only segment, without the zeros ahead.
fn written(folder: &Path) -> (PathBuf, Vec<u8>, Vec<usize>) {
    let [path] = &segments(folder)[..] else { panic!("it has one segment") };
    let mut bytes = fs::read(path).unwrap();
    let boundaries = boundaries(&bytes, 1);
    bytes.truncate(*boundaries.last().unwrap());
    (path.clone(), bytes, boundaries)
}

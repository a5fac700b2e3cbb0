use std::io;

use serde::{Deserialize, Serialize};

use super::{Entry, LogId, Vote};

/// The version of what is in a record. Stands in each of them.
const VERSION: u8 = 1;

/// Before each record: its length, its checksum, how much was settled when it was written, and its version.
pub(super) const FRAME_BYTES: usize = 13;

/// No record is longer: what claims to be is damaged.
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What stands in a segment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Record {
    Head(Head),
    Entry(Entry),
    Vote(Vote),
    TruncateAfter(Option<LogId>),
    Purge(LogId),
    Committed(Option<LogId>),
}

/// The first record of a segment. Says again what segments before it said, so that they can go.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) number: u64,
    /// Where the segment before this one ends.
    pub(super) previous_bytes: u64,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
}

/// Where a record stands. Part of its checksum: a record in the wrong place is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// A record as it was found.
#[derive(Debug)]
pub(super) struct Framed {
    pub(super) record: Record,
    /// With its frame.
    pub(super) bytes: usize,
    /// So much of the segment was on the disk when this was written.
    pub(super) settled: u64,
}

/// Why there is no record.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// Nothing was written here.
    Nothing,
    /// Not whole, or changed.
    Broken,
    /// Whole, and not of this version.
    Unknown(String),
}

/// Appends a record and its frame. The answer is how long they are.
pub(super) fn put(to: &mut Vec<u8>, at: At, settled: u64, record: &Record) -> io::Result<usize> {
    let from = to.len();
    to.extend_from_slice(&[0; FRAME_BYTES]);
    *to = postcard::to_extend(record, std::mem::take(to)).map_err(io::Error::other)?;
    let (frame, body) = to[from..].split_at_mut(FRAME_BYTES);
    if body.len() > RECORD_BYTES_MAX {
        let text =
            format!("{} bytes are more than the {RECORD_BYTES_MAX} of an entry of the log", body.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let bytes = u32::try_from(body.len()).expect("it was compared with the limit");
    let settled = u32::try_from(settled).map_err(|_| io::Error::other("the segment is too long"))?;
    frame[0..4].copy_from_slice(&bytes.to_le_bytes());
    frame[8..12].copy_from_slice(&settled.to_le_bytes());
    frame[12] = VERSION;
    let sum = checksum(at, frame, body);
    frame[4..8].copy_from_slice(&sum.to_le_bytes());
    Ok(FRAME_BYTES + body.len())
}

/// The record that `bytes` begin with.
pub(super) fn read(bytes: &[u8], at: At) -> Result<Framed, Unreadable> {
    let (settled, body) = intact(bytes, at)?;
    let version = bytes[12];
    if version != VERSION {
        return Err(Unreadable::Unknown(format!("a record is of version {version}, known is {VERSION}")));
    }
    let record = postcard::from_bytes(body).map_err(|error| Unreadable::Unknown(error.to_string()))?;
    Ok(Framed { record, bytes: FRAME_BYTES + body.len(), settled })
}

/// What was settled when the record that `bytes` begin with was written, and its body.
pub(super) fn intact(bytes: &[u8], at: At) -> Result<(u64, &[u8]), Unreadable> {
    let Some((frame, rest)) = bytes.split_at_checked(FRAME_BYTES) else {
        return Err(nothing_or_broken(bytes));
    };
    let word =
        |from: usize| u32::from_le_bytes([frame[from], frame[from + 1], frame[from + 2], frame[from + 3]]);
    let body_bytes = word(0) as usize;
    if body_bytes == 0 {
        return Err(nothing_or_broken(frame));
    }
    let settled = u64::from(word(8));
    // Cheap questions first: damage is searched byte by byte.
    if body_bytes > RECORD_BYTES_MAX || body_bytes > rest.len() || settled > at.offset {
        return Err(Unreadable::Broken);
    }
    let body = &rest[..body_bytes];
    if checksum(at, frame, body) != word(4) {
        return Err(Unreadable::Broken);
    }
    Ok((settled, body))
}

fn nothing_or_broken(bytes: &[u8]) -> Unreadable {
    if bytes.iter().all(|byte| *byte == 0) { Unreadable::Nothing } else { Unreadable::Broken }
}

fn checksum(at: At, frame: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&at.segment.to_le_bytes());
    hasher.update(&at.offset.to_le_bytes());
    hasher.update(&frame[0..4]);
    hasher.update(&frame[8..]);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_in_another_place_is_none() {
        let here = At { segment: 3, offset: 700 };
        let mut bytes = Vec::new();
        put(&mut bytes, here, 600, &Record::Committed(None)).unwrap();
        let read_at = |at| read(&bytes, at);
        assert!(read_at(here).is_ok_and(|framed| framed.settled == 600 && framed.bytes == bytes.len()));
        assert!(matches!(read_at(At { offset: 701, ..here }), Err(Unreadable::Broken)));
        assert!(matches!(read_at(At { segment: 4, ..here }), Err(Unreadable::Broken)));
    }

    #[test]
    fn a_record_of_a_newer_version_is_named_and_not_taken_for_a_torn_one() {
        let here = At { segment: 1, offset: 0 };
        let mut bytes = Vec::new();
        put(&mut bytes, here, 0, &Record::Committed(None)).unwrap();
        bytes[12] = 2;
        let sum = checksum(here, &bytes[..FRAME_BYTES], &bytes[FRAME_BYTES..]);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        let Err(Unreadable::Unknown(said)) = read(&bytes, here) else { panic!("it is not known") };
        assert_eq!(said, "a record is of version 2, known is 1");
    }
}

use std::{io, ops::Range};

use bytes::Bytes;
use openraft::{
    LogId, alias,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};

use crate::engine::{
    log::Log,
    types::{Op, Proposal, Types},
};

pub(crate) type Entry = alias::DefaultEntryOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;

pub(crate) fn id(term: u64, index: u64) -> alias::LogIdOf<Types> {
    LogId::new_term_index(term, index)
}

pub(crate) fn vote(term: u64, node: u64) -> Vote {
    Vote::new(term, node)
}

pub(crate) fn entry(term: u64, index: u64, command: &[u8]) -> Entry {
    let op = Op::Machine(Bytes::copy_from_slice(command));
    Entry::new_normal(id(term, index), Proposal { time_ms: index, origin: None, op })
}

/// Entries of a length, and no zeros in them: what is filled with zeros is changed.
pub(crate) fn entries(term: u64, range: Range<u64>, bytes: usize) -> Vec<Entry> {
    let fill = |index: u64| u8::try_from(1 + index % 255).expect("it is below 256");
    range.map(|index| entry(term, index, &vec![fill(index); bytes])).collect()
}

/// Appends, and waits until the log says that they are kept.
pub(crate) async fn append(log: &mut Log, entries: Vec<Entry>) -> io::Result<()> {
    let (sender, answer) = Types::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await?;
    answer.await.map_err(io::Error::other)?
}

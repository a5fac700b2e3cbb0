use std::collections::BTreeMap;

use super::{Entry, LogId, Vote};

/// What a log holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) entries: BTreeMap<u64, Entry>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
}

/// One change of it. They are synced in their order.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Append(Vec<Entry>),
    Vote(Vote),
    Committed(Option<LogId>),
    TruncateAfter(Option<LogId>),
    Purge(LogId),
}

impl Kept {
    pub(super) fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, entry)| entry.log_id).or(self.purged)
    }

    pub(super) fn write(&mut self, write: Write) {
        match write {
            Write::Append(entries) => {
                self.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
            }
            Write::Vote(vote) => self.vote = Some(vote),
            Write::Committed(committed) => self.committed = committed,
            Write::TruncateAfter(last) => {
                self.entries.split_off(&last.map_or(0, |last| last.index + 1));
            }
            Write::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = self.purged.max(Some(upto));
            }
        }
    }
}

use std::io::{self, Read, Write};

use super::{ANSWER_BYTES_MAX, CLIENTS_MAX, Sessions};
use crate::coding::{self, damaged};

/// The longest record: one client with all the answers there can be, and their numbers.
const RECORD_BYTES_MAX: usize = ANSWER_BYTES_MAX + 1024;

impl Sessions {
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        coding::write_record(to, &self.horizon)?;
        coding::write_count(to, self.clients.len())?;
        self.clients.iter().try_for_each(|(client, session)| coding::write_record(to, &(client, &**session)))
    }

    pub(crate) fn read(from: &mut dyn Read) -> io::Result<Self> {
        let mut sessions = Self { horizon: coding::read_record(from, 16)?, ..Self::default() };
        for _ in 0..coding::read_count(from, CLIENTS_MAX as u64)? {
            sessions.put_back(from)?;
        }
        Ok(sessions)
    }

    fn put_back(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let (client, session): (uuid::Uuid, super::Session) = coding::read_record(from, RECORD_BYTES_MAX)?;
        self.answer_bytes += session.bytes();
        let twice = self.heard.insert(session.heard, client).is_some();
        if self.clients.insert(client, session.into()).is_some() || twice {
            return Err(damaged("a client that is there twice"));
        }
        Ok(())
    }

    /// Equal in what is replicated.
    #[cfg(test)]
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        (self.horizon, self.answer_bytes, &self.clients, &self.heard)
            == (other.horizon, other.answer_bytes, &other.clients, &other.heard)
    }
}

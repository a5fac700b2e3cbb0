use std::io::{self, Read, Write};

use super::{
    LOCKS_MAX, NAME_BYTES_MAX, Table, WAITERS_MAX,
    state::{Holder, Lease, State},
};
use crate::coding::{self, damaged};

/// The longest record: a lock with all who may wait for it, and their numbers.
const RECORD_BYTES_MAX: usize = NAME_BYTES_MAX + (WAITERS_MAX + 1) * 48 + 32;

impl Table {
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        coding::write_count(to, self.locks.len())?;
        self.locks.iter().try_for_each(|(name, state)| {
            let queue: Vec<Lease> = state.queue.iter().copied().collect();
            coding::write_record(to, &(name, state.holder, queue))
        })
    }

    pub(crate) fn read(from: &mut dyn Read) -> io::Result<Self> {
        let mut table = Self::default();
        for _ in 0..coding::read_count(from, LOCKS_MAX as u64)? {
            let (name, holder, queue): (String, Option<Holder>, Vec<Lease>) =
                coding::read_record(from, RECORD_BYTES_MAX)?;
            let state = State { holder, queue: queue.into() };
            let Some(due) = state.due() else { return Err(damaged("a lock that nobody holds")) };
            table.due.insert((due, name.clone()));
            if table.locks.insert(name, state).is_some() {
                return Err(damaged("a lock that is there twice"));
            }
        }
        Ok(table)
    }
}

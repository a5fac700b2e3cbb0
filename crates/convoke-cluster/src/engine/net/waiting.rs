use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::frame::Frame;

/// Who waits for which answer on one connection.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    closed: Option<Arc<str>>,
    next_ticket: u64,
    /// Its order is no secret, as the tickets are our own, and the same in each run.
    answers: HashMap<u64, mpsc::Sender<Frame>, BuildHasherDefault<DefaultHasher>>,
    /// Since when something is asked and nothing is heard.
    silent_since: Option<Instant>,
}

impl Waiting {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that is done under this lock leaves the table half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new ticket, under which at most so many answers may lie unread.
    pub(super) fn open(self: &Arc<Self>, answers_max: usize) -> Result<Ticket, Arc<str>> {
        let (answer, answers) = mpsc::channel(answers_max);
        let mut table = self.table();
        if let Some(why) = &table.closed {
            return Err(Arc::clone(why));
        }
        table.next_ticket += 1;
        let number = table.next_ticket;
        table.answers.insert(number, answer);
        table.silent_since.get_or_insert_with(Instant::now);
        Ok(Ticket { number, answers, waiting: Arc::clone(self) })
    }

    /// Hands over an answer. An answer nobody waits for any more is dropped; one that nobody may give is an error.
    pub(super) fn arrived(&self, number: u64, frame: Frame) -> Result<(), &'static str> {
        let mut table = self.table();
        if number > table.next_ticket {
            return Err("an answer to what was never asked");
        }
        let taken = match table.answers.get(&number) {
            Some(answers) => answers.try_send(frame),
            None => Ok(()),
        };
        table.silent_since = (!table.answers.is_empty()).then(Instant::now);
        match taken {
            Err(mpsc::error::TrySendError::Full(_)) => Err("more answers than questions"),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Since something was asked, nothing was heard for this long.
    pub(super) fn silence(&self) -> Duration {
        self.table().silent_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Nobody waits any more, and nobody will. The first reason stays.
    pub(super) fn close(&self, why: &str) {
        let mut table = self.table();
        table.closed.get_or_insert_with(|| why.into());
        table.answers.clear();
    }

    pub(super) fn closed(&self) -> Option<Arc<str>> {
        self.table().closed.clone()
    }
}

/// A place in the table. Dropped, it is free, and a late answer goes nowhere.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// Ends when the connection does.
    pub(super) answers: mpsc::Receiver<Frame>,
    waiting: Arc<Waiting>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.table().answers.remove(&self.number);
    }
}

use std::sync::{Mutex, PoisonError};

use super::Operation;

/// Writes down what clients ask and are told, in the order it happens in this process.
///
/// Write a call down before it is sent, and its answer after it has arrived.
#[derive(Debug)]
pub struct Recorder<C, A> {
    log: Mutex<Log<C, A>>,
}

#[derive(Debug)]
struct Log<C, A> {
    events: u64,
    /// Empty where one was refused: the others keep their places.
    operations: Vec<Option<Operation<C, A>>>,
}

/// A call that is under way. Dropped without an answer, its outcome stays unknown.
#[derive(Debug)]
#[must_use = "a call without an answer is one that may have been done"]
pub struct Pending<'a, C, A> {
    recorder: &'a Recorder<C, A>,
    place: usize,
}

impl<C, A> Default for Recorder<C, A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C, A> Recorder<C, A> {
    /// Nothing was asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self { log: Mutex::new(Log { events: 0, operations: Vec::new() }) }
    }

    /// A client asks now.
    pub fn call(&self, client: u64, key: impl Into<String>, call: C) -> Pending<'_, C, A> {
        let place = self.with(|log| {
            log.events += 1;
            let called = log.events;
            log.operations.push(Some(Operation { client, key: key.into(), call, called, returned: None }));
            log.operations.len() - 1
        });
        Pending { recorder: self, place }
    }

    /// From now on this may happen, or never.
    pub fn may(&self, client: u64, key: impl Into<String>, call: C) {
        drop(self.call(client, key, call));
    }

    /// This moment, to place an operation by hand.
    pub fn moment(&self) -> u64 {
        self.with(|log| {
            log.events += 1;
            log.events
        })
    }

    /// How many calls there were, without those that were refused.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|log| log.operations.iter().flatten().count())
    }

    /// Whether there was no call yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written down so far.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation<C, A>>
    where
        C: Clone,
        A: Clone,
    {
        self.with(|log| log.operations.iter().flatten().cloned().collect())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Log<C, A>) -> T) -> T {
        look(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner)) // each change is one push
    }
}

impl<C, A> Pending<'_, C, A> {
    /// It is answered now.
    pub fn returned(self, answer: A) {
        self.recorder.with(|log| {
            log.events += 1;
            let operation =
                log.operations[self.place].as_mut().expect("only an answer or a refusal takes the place");
            operation.returned = Some((log.events, answer));
        });
    }

    /// It was refused: certainly not done, now or later. As if it had never been asked.
    pub fn refused(self) {
        self.recorder.with(|log| log.operations[self.place] = None);
    }
}

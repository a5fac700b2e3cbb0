use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use async_nats::Message;
use convoke_core::{TransportError, TransportErrorKind};
use tokio::sync::{Notify, oneshot};

use super::writer::Letter;

/// So many letters that nobody wants sent any more are kept, and one for each call that waits.
const UNWANTED_MAX: usize = 64;

/// The calls that wait for an answer, and those of them that are not sent yet.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next: AtomicU32,
    state: Mutex<State>,
    unsent: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<u32, Call, BuildHasherDefault<ByNumber>>,
    unsent: Vec<(u32, Letter)>,
}

impl State {
    /// While no letter can be sent, those whose calls gave up must not heap up.
    fn forget_unwanted(&mut self) {
        let Self { waiting, unsent } = self;
        if unsent.len() > 2 * waiting.len() + UNWANTED_MAX {
            unsent.retain(|(number, _)| waiting.contains_key(number));
        }
    }
}

#[derive(Debug)]
struct Call {
    answer: oneshot::Sender<Answer>,
    /// The writer has its letter: it may be on the wire.
    taken: bool,
}

/// What becomes of a call; or why it was not sent.
pub(super) type Answer = Result<Message, TransportError>;

/// A call that waits. It is forgotten when this is dropped, and not sent any more.
pub(super) struct Waiting<'a> {
    calls: &'a Calls,
    number: u32,
    /// Who answered it forgot it.
    answered: bool,
}

impl Waiting<'_> {
    /// Its answer came: nothing is left to forget.
    pub(super) fn answered(mut self) {
        self.answered = true;
    }

    /// Gives up; whether it may have been sent.
    pub(super) fn give_up(mut self) -> bool {
        self.answered = true;
        self.calls.state().waiting.remove(&self.number).is_none_or(|call| call.taken)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.calls.state().waiting.remove(&self.number);
        }
    }
}

impl Calls {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no call has which waits now.
    pub(super) fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Knows the call from here on, and has its letter sent; `None` without a connection.
    ///
    /// The connection is looked at under the lock that [`fail`](Self::fail) takes: one that breaks later fails the call.
    pub(super) fn begin(
        &self,
        number: u32,
        letter: Letter,
        connected: impl FnOnce() -> bool,
    ) -> Option<(Waiting<'_>, oneshot::Receiver<Answer>)> {
        let (answer, answered) = oneshot::channel();
        let first = {
            let mut state = self.state();
            if !connected() {
                return None;
            }
            state.waiting.insert(number, Call { answer, taken: false });
            state.forget_unwanted();
            state.unsent.push((number, letter));
            state.unsent.len() == 1
        };
        if first {
            self.unsent.notify_one();
        }
        Some((Waiting { calls: self, number, answered: false }, answered))
    }

    pub(super) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Returns when a letter is there; whether other calls wait too.
    pub(super) async fn unsent(&self) -> bool {
        self.unsent.notified().await;
        self.waiting() > 1
    }

    /// Exchanges `letters` for those that are there, without those whose calls gave up.
    pub(super) fn take(&self, letters: &mut Vec<(u32, Letter)>) {
        letters.clear();
        let mut state = self.state();
        let State { waiting, unsent } = &mut *state;
        mem::swap(unsent, letters);
        letters.retain(|(number, _)| waiting.get_mut(number).map(|call| call.taken = true).is_some());
    }

    /// Takes letters back that were taken and are not sent.
    pub(super) fn put_back(&self, letters: impl Iterator<Item = (u32, Letter)>) {
        let mut state = self.state();
        let State { waiting, unsent } = &mut *state;
        let back = letters.inspect(|(number, _)| {
            if let Some(call) = waiting.get_mut(number) {
                call.taken = false;
            }
        });
        unsent.splice(0..0, back);
        if !unsent.is_empty() {
            self.unsent.notify_one();
        }
    }

    /// Tells the call what became of it, unless it gave up.
    pub(super) fn answer(&self, number: u32, answer: Answer) {
        let call = self.state().waiting.remove(&number);
        if let Some(call) = call {
            drop(call.answer.send(answer)); // nobody waits any more: it gave up meanwhile
        }
    }

    /// What is in flight is lost: each of these calls sees its sender go. What was not sent yet is told so.
    pub(super) fn fail(&self) {
        let State { mut waiting, unsent } = mem::take(&mut *self.state());
        for call in unsent.into_iter().filter_map(|(number, _)| waiting.remove(&number)) {
            drop(call.answer.send(Err(TransportErrorKind::Unavailable.into())));
        }
    }
}

/// Hashes the numbers of calls: nobody else chooses them.
#[derive(Default)]
struct ByNumber(u64);

impl Hasher for ByNumber {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn letter() -> Letter {
        Letter { subject: "x".into(), reply: None, headers: None, payload: Bytes::new() }
    }

    fn begin(calls: &Calls) -> (Waiting<'_>, oneshot::Receiver<Answer>) {
        calls.begin(calls.number(), letter(), || true).expect("there is a connection")
    }

    fn taken(calls: &Calls) -> Vec<(u32, Letter)> {
        let mut letters = Vec::new();
        calls.take(&mut letters);
        letters
    }

    fn numbers(letters: &[(u32, Letter)]) -> Vec<u32> {
        letters.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn what_gives_up_before_it_is_sent_is_never_sent_and_knows_it() {
        let calls = Calls::default();
        let [first, second, third, fourth] = std::array::from_fn(|_| begin(&calls).0);
        assert!(!first.give_up(), "nobody took its letter");
        drop(second);
        let letters = taken(&calls);
        assert_eq!(numbers(&letters), [2, 3]);
        assert!(third.give_up(), "it may be on the wire");
        calls.put_back(letters.into_iter().skip(1));
        assert!(!fourth.give_up(), "it was put back");
        assert_eq!((taken(&calls).len(), calls.waiting()), (0, 0));
    }

    #[test]
    fn what_was_put_back_goes_before_what_came_later() {
        let calls = Calls::default();
        let _early: Vec<_> = (0..3).map(|_| begin(&calls)).collect();
        let letters = taken(&calls);
        let _late = begin(&calls);
        calls.put_back(letters.into_iter().skip(1));
        assert_eq!(numbers(&taken(&calls)), [1, 2, 3]);
    }

    #[test]
    fn letters_of_those_who_gave_up_do_not_heap_up_while_none_can_be_sent() {
        let calls = Calls::default();
        let _patient = begin(&calls);
        for _ in 0..100 * UNWANTED_MAX {
            drop(begin(&calls));
            assert!(calls.state().unsent.len() <= UNWANTED_MAX + 6, "twice those that wait, and some");
        }
        assert_eq!(numbers(&taken(&calls)), [0]);
    }

    #[test]
    fn a_break_tells_who_was_not_sent_from_who_may_have_been() {
        let calls = Calls::default();
        let (_sent, mut unknown) = begin(&calls);
        drop(taken(&calls));
        let (_unsent, mut refused) = begin(&calls);
        calls.fail();
        assert!(unknown.try_recv().is_err(), "its sender is gone");
        let error = refused.try_recv().expect("it is told").expect_err("it was not sent");
        assert_eq!(error.kind(), TransportErrorKind::Unavailable);
        assert_eq!(calls.waiting(), 0);
    }

    #[test]
    fn without_a_connection_nothing_is_sent_when_there_is_one_again() {
        let calls = Calls::default();
        assert!(calls.begin(calls.number(), letter(), || false).is_none());
        assert_eq!((taken(&calls).len(), calls.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn the_writer_learns_whether_others_wait() {
        let calls = Calls::default();
        let alone = begin(&calls);
        assert!(!calls.unsent().await);
        let _another = begin(&calls);
        assert_eq!(taken(&calls).len(), 2, "whoever takes them needs no second call");
        drop(alone);
        let _third = begin(&calls);
        assert!(calls.unsent().await);
    }
}

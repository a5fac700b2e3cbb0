use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

type Place = (Arc<str>, usize, String);

/// Equal keys one after the other, in the order they entered; everything else at once.
///
/// Bounded by the events in flight: a place is gone when its last ticket is.
#[derive(Default)]
pub(super) struct Order(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    next: u64,
    /// The last ticket of each place, and what its end will wake.
    tails: HashMap<Place, (u64, oneshot::Receiver<()>)>,
}

/// A place in the order of one handler and key. Its drop lets the next one go.
pub(super) struct Ticket {
    before: Option<oneshot::Receiver<()>>,
    leave: Option<Leave>,
}

/// What is left to do at the end: take the place away, wake the next one.
struct Leave {
    line: Arc<Mutex<Line>>,
    place: Place,
    number: u64,
    ended: oneshot::Sender<()>,
}

impl Order {
    /// Takes the next place. Without a key there is nothing to wait for.
    pub(super) fn enter(&self, name: Arc<str>, handler: usize, key: Option<String>) -> Ticket {
        let Some(key) = key else { return Ticket { before: None, leave: None } };
        let place = (name, handler, key);
        let (ended, wakes) = oneshot::channel();
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = line.next;
        line.next += 1;
        let before = line.tails.insert(place.clone(), (number, wakes)).map(|(_, before)| before);
        Ticket { before, leave: Some(Leave { line: self.0.clone(), place, number, ended }) }
    }
}

impl Ticket {
    /// The key it is for.
    pub(super) fn key(&self) -> Option<&str> {
        self.leave.as_ref().map(|leave| leave.place.2.as_str())
    }

    /// Waits for the one before.
    pub(super) async fn turn(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = before.await; // dropped is done, too
        }
    }

    /// Lets the next one go.
    pub(super) fn leave(&mut self) {
        let Some(Leave { line, place, number, ended }) = self.leave.take() else { return };
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.tails.get(&place).is_some_and(|(tail, _)| *tail == number) {
            line.tails.remove(&place);
        }
        drop(line);
        let _ = ended.send(()); // nobody may be waiting
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, poll};
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn equal_keys_wait_and_others_do_not() {
        let order = Order::default();
        let enter = |key: &str| order.enter("e".into(), 0, Some(key.to_owned()));
        let (first, mut second, mut other) = (enter("a"), enter("a"), enter("b"));
        assert!(other.turn().now_or_never().is_some());
        let mut waiting = pin!(second.turn());
        assert!(poll!(&mut waiting).is_pending());
        drop(first);
        assert!(poll!(&mut waiting).is_ready());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_what_has_left() {
        let order = Order::default();
        let tickets: Vec<_> =
            (0..10).map(|n| order.enter("e".into(), 0, Some(format!("k{}", n % 3)))).collect();
        drop(tickets);
        assert!(order.0.lock().expect("no panic above").tails.is_empty());
    }
}

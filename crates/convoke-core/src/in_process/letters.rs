//! The dead letters of a bus, and those on their way back.
use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    consumer::{begin, durable},
    hub::{Hub, lock},
    log::LOG_MAX,
    seat::{Seat, Underway},
};
use crate::{
    BoxFuture, Consume, ConsumeSpec, DeadLetter, DeadLetters, LETTER_PAGE_MAX, Letter, LetterFilter,
    LetterPage, PARKED_MAX, Parked, Parking, Place, Replay, Settled, TransportError,
};

/// Dead letters a bus keeps; the oldest make room.
const DEAD_MAX: usize = 10_000;
/// How long it is remembered that a replay was handled.
const KEEP: Duration = Duration::from_hours(30 * 24);
/// Pause before a replay that was handed back is handed over again: its node is leaving.
const BACK_PAUSE: Duration = Duration::from_millis(10);

/// What lies on a bus, and what waits for its handler again.
#[derive(Default)]
pub(super) struct Letters(Mutex<State>);

#[derive(Default)]
struct State {
    last: u64,
    kept: VecDeque<Letter>,
    /// Replays by the consumer they are for.
    waiting: HashMap<String, VecDeque<Returning>>,
    /// What waits behind a letter of its key, by service and place.
    parked: HashMap<(String, Place), Lot>,
    /// Consumers that are there.
    readers: HashMap<String, usize>,
}

/// A letter on its way back.
#[derive(Clone)]
struct Returning {
    letter: Letter,
    skip: bool,
}

/// One key that is held, or was.
#[derive(Default)]
struct Lot {
    head: Option<Uuid>,
    waiting: VecDeque<(u64, DeadLetter)>,
}

impl Letters {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Keeps a letter, unless it tells of a failure that is known.
    pub(super) fn bury(&self, service: &str, letter: DeadLetter) {
        let mut state = self.lock();
        let identity = letter.identity();
        if state.kept.iter().any(|kept| kept.service == service && kept.letter.identity() == identity) {
            return;
        }
        state.last += 1;
        let number = state.last;
        let service = service.to_owned();
        state.kept.push_back(Letter { number, buried_at: SystemTime::now(), service, letter });
        if state.kept.len() > DEAD_MAX {
            state.kept.pop_front();
        }
    }

    pub(super) fn all(&self) -> Vec<DeadLetter> {
        self.lock().kept.iter().map(|kept| kept.letter.clone()).collect()
    }

    /// Whether a replay waits for a consumer that is there.
    pub(super) fn is_behind(&self) -> bool {
        let state = self.lock();
        let there = |name: &String| state.readers.get(name).is_some_and(|readers| *readers > 0);
        state.waiting.iter().any(|(name, letters)| !letters.is_empty() && there(name))
    }

    fn page(&self, filter: &LetterFilter, after: u64, limit: usize) -> LetterPage {
        let state = self.lock();
        let mut found = state.kept.iter().filter(|kept| kept.number > after && filter.matches(kept));
        let letters: Vec<_> = found.by_ref().take(limit.clamp(1, LETTER_PAGE_MAX)).cloned().collect();
        let next = found.next().and_then(|_| letters.last().map(|last| last.number));
        LetterPage { letters, next }
    }

    fn take(&self, number: u64) -> Option<Letter> {
        let mut state = self.lock();
        let at = state.kept.iter().position(|kept| kept.number == number)?;
        state.kept.remove(at)
    }

    /// Whether there was such a letter.
    fn send_back(&self, number: u64) -> bool {
        let Some(letter) = self.take(number) else { return false };
        self.give_back(Returning { letter, skip: false });
        true
    }

    /// One that held its key goes to its handler all the same, which lets go what is parked.
    fn discard(&self, number: u64) -> bool {
        let Some(letter) = self.take(number) else { return false };
        if letter.letter.holds {
            self.give_back(Returning { letter, skip: true });
        }
        true
    }

    fn give_back(&self, back: Returning) {
        let name = place(&back.letter.service, &back.letter.letter.target());
        self.lock().waiting.entry(name).or_default().push_back(back);
    }

    fn lot<T>(&self, service: &str, place: &Place, change: impl FnOnce(&mut Lot, &mut u64) -> T) -> T {
        let mut state = self.lock();
        let State { parked, last, .. } = &mut *state;
        let key = (service.to_owned(), place.clone());
        let lot = parked.entry(key.clone()).or_default();
        let changed = change(lot, last);
        if lot.head.is_none() && lot.waiting.is_empty() {
            parked.remove(&key);
        }
        changed
    }
}

fn place(service: &str, target: &str) -> String {
    format!("{service} {target}")
}

/// Hands the replays of one consumer over.
struct Replayer {
    hub: Arc<Hub>,
    seat: Arc<Seat>,
    place: String,
    consume: Arc<dyn Consume>,
    slots: Arc<Semaphore>,
}

/// Starts handing over what comes back for a consumer. A view buries nothing.
pub(super) fn start(hub: &Arc<Hub>, seat: &Arc<Seat>, spec: &ConsumeSpec, consume: &Arc<dyn Consume>) {
    if durable(&seat.identity, &spec.audience).is_none() {
        return;
    }
    let target = spec.audience.target(&seat.identity.node);
    let place = place(&seat.identity.service, &target);
    *hub.letters.lock().readers.entry(place.clone()).or_default() += 1;
    let slots = Arc::new(Semaphore::new(spec.in_flight_max.clamp(1, LOG_MAX)));
    let (hub, seat, consume) = (hub.clone(), seat.clone(), consume.clone());
    tokio::spawn(Replayer { hub, seat, place, consume, slots }.run());
}

impl Replayer {
    async fn run(self) {
        let seat = self.seat.clone();
        let mut left = pin!(seat.left());
        loop {
            let slot = tokio::select! {
                biased;
                () = &mut left => return,
                slot = self.slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
            };
            let mut stored = pin!(self.hub.stored.notified());
            stored.as_mut().enable(); // before the look, so that none is missed
            if let Some((back, underway)) = self.take() {
                self.hand_over(back, (slot, underway));
                continue;
            }
            drop(slot);
            tokio::select! {
                biased;
                () = &mut left => return,
                () = stored => {}
            }
        }
    }

    /// Counted as under way before it is out of the queue: whoever waits for rest sees one or the other.
    fn take(&self) -> Option<(Returning, [Underway; 2])> {
        let mut state = self.hub.letters.lock();
        let back = state.waiting.get_mut(&self.place)?.pop_front()?;
        Some((back, [self.hub.pending.enter(), self.seat.in_hand.enter()]))
    }

    fn hand_over(&self, back: Returning, held: impl Send + 'static) {
        let mut incoming = back.letter.letter.message.clone();
        incoming.received = Instant::now();
        let DeadLetter { handler, replays, holds, .. } = &back.letter.letter;
        let (handler, holds, skip) = (handler.clone(), *holds, back.skip);
        let replay = Replay { handler, number: replays + 1, keep: KEEP, holds, skip };
        let again = {
            let (consume, incoming, replay) = (self.consume.clone(), incoming.clone(), replay.clone());
            move || begin(&|| consume.replay(incoming.clone(), replay.clone()))
        };
        let mut settling = vec![again()];
        if self.hub.faults.delivers_twice() {
            settling.push(again());
        }
        let (hub, seat, place) = (self.hub.clone(), self.seat.clone(), self.place.clone());
        tokio::spawn(async move {
            let work = async {
                let mut settled = join_all(settling).await;
                if hub.faults.redelivers() {
                    settled.push(again().await);
                }
                if settled.contains(&Settled::HandBack) { Settled::HandBack } else { Settled::Done }
            };
            let settled = seat.unless_cut(work).await;
            if let Some(settled) = settled {
                seat.count(settled);
            }
            if settled != Some(Settled::Done) {
                if seat.is_here() {
                    sleep(BACK_PAUSE).await;
                }
                hub.letters.lock().waiting.entry(place).or_default().push_front(back);
                hub.stored.notify_waiters();
            }
            drop(held);
        });
    }
}

impl Drop for Replayer {
    fn drop(&mut self) {
        if let Some(readers) = self.hub.letters.lock().readers.get_mut(&self.place) {
            *readers -= 1;
        }
        self.hub.stored.notify_waiters();
    }
}

/// The dead letters of a bus.
pub(super) struct Admin(pub(super) Arc<Hub>);

impl DeadLetters for Admin {
    fn list<'a>(
        &'a self,
        filter: &'a LetterFilter,
        after: u64,
        limit: usize,
        _: Instant,
    ) -> BoxFuture<'a, Result<LetterPage, TransportError>> {
        Box::pin(async move { Ok(self.0.letters.page(filter, after, limit)) })
    }
    fn show(&self, number: u64, _: Instant) -> BoxFuture<'_, Result<Option<Letter>, TransportError>> {
        let letters = &self.0.letters;
        Box::pin(async move { Ok(letters.lock().kept.iter().find(|kept| kept.number == number).cloned()) })
    }
    fn replay(&self, number: u64, _: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        Box::pin(async move {
            let was_there = self.0.letters.send_back(number);
            self.0.stored.notify_waiters();
            Ok(was_there)
        })
    }
    fn discard(&self, number: u64, _: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        Box::pin(async move {
            let was_there = self.0.letters.discard(number);
            self.0.stored.notify_waiters();
            Ok(was_there)
        })
    }
}

/// What the nodes of a service have parked on a bus.
pub(super) struct Lots {
    pub(super) hub: Arc<Hub>,
    pub(super) service: String,
}

impl Lots {
    fn lot<T>(&self, place: &Place, change: impl FnOnce(&mut Lot, &mut u64) -> T) -> T {
        self.hub.letters.lot(&self.service, place, change)
    }
}

impl Parking for Lots {
    fn look<'a>(&'a self, place: &'a Place, _: Instant) -> BoxFuture<'a, Result<Parked, TransportError>> {
        Box::pin(async move {
            Ok(self.lot(place, |lot, _| Parked { head: lot.head, first: lot.waiting.front().cloned() }))
        })
    }
    fn hold<'a>(
        &'a self,
        place: &'a Place,
        head: Option<Uuid>,
        _: Instant,
    ) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            self.lot(place, |lot, _| lot.head = head);
            Ok(())
        })
    }
    fn park<'a>(
        &'a self,
        place: &'a Place,
        letter: DeadLetter,
        _: Instant,
    ) -> BoxFuture<'a, Result<bool, TransportError>> {
        Box::pin(async move {
            Ok(self.lot(place, |lot, last| {
                let identity = letter.identity();
                if lot.waiting.iter().any(|(_, waiting)| waiting.identity() == identity) {
                    return true;
                }
                if lot.waiting.len() >= PARKED_MAX {
                    return false;
                }
                *last += 1;
                lot.waiting.push_back((*last, letter));
                true
            }))
        })
    }
    fn unpark<'a>(
        &'a self,
        place: &'a Place,
        number: u64,
        _: Instant,
    ) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            self.lot(place, |lot, _| lot.waiting.retain(|(waiting, _)| *waiting != number));
            Ok(())
        })
    }
}

//! Order by key over the nodes of a group.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use convoke_core::{Consume, Outgoing, Settled, Transport, lane_of};
use tokio::time::Instant;

use super::{Fixture, Gate, Listener, consume, end, event, group, node, numbers, soon, text};
use crate::{eventually, eventually_within};

/// How long the lanes of a node that died may be without a reader.
const TAKEOVER_MAX: Duration = Duration::from_secs(5);
const KEYS: usize = 24;

/// An event of a key, whose content says which.
fn keyed(key: usize, n: usize) -> Outgoing {
    Outgoing { lane: lane_of(&format!("key-{key}")), ..event(&format!("{key}:{n}")) }
}

async fn publish_to_all_keys(node: &dyn Transport, range: std::ops::Range<usize>) {
    for n in range {
        for key in 0..KEYS {
            node.publish(keyed(key, n), soon()).await.expect("it is stored");
        }
    }
}

/// What several listeners settled, in order. An event counts the first time it is settled.
#[derive(Default)]
struct Book(Mutex<Vec<(String, usize, usize)>>);

impl Book {
    fn note(&self, who: &str, content: &str) {
        let (key, n) = content.split_once(':').expect("a key and a number");
        let entry = (who.to_owned(), key.parse().expect("a key"), n.parse().expect("a number"));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
    /// By key, in the order of their first settlement.
    fn firsts(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut firsts = BTreeMap::<usize, Vec<usize>>::new();
        for (_, key, n) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let seen = firsts.entry(*key).or_default();
            if !seen.contains(n) {
                seen.push(*n);
            }
        }
        firsts
    }
    fn members(&self) -> BTreeMap<String, usize> {
        let mut members = BTreeMap::new();
        for (who, ..) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *members.entry(who.clone()).or_default() += 1;
        }
        members
    }
    async fn has_all(&self, each: usize) {
        eventually("every key has all its events", || async {
            let firsts = self.firsts();
            let done = firsts.len() == KEYS && firsts.values().all(|seen| seen.len() >= each);
            if done { Ok(()) } else { Err(firsts) }
        })
        .await;
        for (key, seen) in self.firsts() {
            assert_eq!(seen, (0..each).collect::<Vec<_>>(), "key {key} was handled in order");
        }
    }
}

/// Settles in a while, so that several events are in hand. Equal keys wait for each other, as the framework sees to.
fn noting(book: &Arc<Book>, who: &str) -> Arc<Listener> {
    let (book, who) = (Arc::clone(book), who.to_owned());
    let lines = Arc::new(Mutex::new(BTreeMap::<String, Arc<tokio::sync::Mutex<()>>>::new()));
    Listener::settling(move |incoming| {
        let (book, who, content) = (Arc::clone(&book), who.clone(), text(&incoming.payload));
        let key = content.split(':').next().unwrap_or_default().to_owned();
        let line = Arc::clone(lines.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        // the place in the line is taken now, in the order of the calls
        let mut turn = Box::pin(line.lock_owned());
        let first = futures_util::FutureExt::now_or_never(&mut turn);
        Box::pin(async move {
            let _turn = match first {
                Some(turn) => turn,
                None => turn.await,
            };
            tokio::time::sleep(Duration::from_millis(2)).await; // work
            book.note(&who, &content);
            Settled::Done
        })
    })
}

async fn member<F: Fixture>(fixture: &F, name: &str, book: &Arc<Book>) -> Arc<dyn Transport> {
    let transport = node(fixture, name).await;
    consume(&*transport, group("billing"), noting(book, name)).await;
    transport
}

/// Publishes one event per key, until each member has had one.
async fn shared_by(book: &Book, members: &[&str], publisher: &dyn Transport) -> usize {
    let until = Instant::now() + crate::EVENTUALLY_WITHIN;
    for n in 0.. {
        let busy = book.members();
        if members.iter().all(|member| busy.contains_key(*member)) {
            return n;
        }
        assert!(Instant::now() < until, "{members:?} share the lanes: {busy:?}");
        publish_to_all_keys(publisher, n..n + 1).await;
        tokio::time::sleep(Duration::from_millis(20)).await; // a pace, not a wait
    }
    unreachable!("the loop returns")
}

pub async fn equal_keys_are_handled_in_order_over_the_members_of_a_group<F: Fixture>(fixture: &F) {
    let (publisher, book) = (node(fixture, "publisher").await, Arc::new(Book::default()));
    let _members = [
        member(fixture, "n1", &book).await,
        member(fixture, "n2", &book).await,
        member(fixture, "n3", &book).await,
    ];
    let before = shared_by(&book, &["n1", "n2", "n3"], &*publisher).await;
    publish_to_all_keys(&*publisher, before..before + 20).await;
    book.has_all(before + 20).await;
}

pub async fn members_come_and_go_and_equal_keys_stay_in_order<F: Fixture>(fixture: &F) {
    let (publisher, book) = (node(fixture, "publisher").await, Arc::new(Book::default()));
    let first = member(fixture, "n1", &book).await;
    publish_to_all_keys(&*publisher, 0..5).await;
    let second = member(fixture, "n2", &book).await;
    publish_to_all_keys(&*publisher, 5..15).await;
    let _third = member(fixture, "n3", &book).await;
    publish_to_all_keys(&*publisher, 15..25).await;
    end(&*first).await;
    publish_to_all_keys(&*publisher, 25..35).await;
    end(&*second).await;
    publish_to_all_keys(&*publisher, 35..40).await;
    book.has_all(40).await;
}

pub async fn the_lanes_of_a_member_that_died_go_to_others_within_five_seconds_in_order<F: Fixture>(
    fixture: &F,
) {
    let (publisher, book) = (node(fixture, "publisher").await, Arc::new(Book::default()));
    let dying = node(fixture, "n1").await;
    let stuck = Listener::stuck();
    consume(&*dying, group("billing"), stuck.clone()).await;
    publish_to_all_keys(&*publisher, 0..2).await;
    stuck.has_seen(KEYS).await; // it has work of many keys in hand, and settles none
    let _others = [member(fixture, "n2", &book).await, member(fixture, "n3", &book).await];
    publish_to_all_keys(&*publisher, 2..4).await;
    dying.abandon();
    drop(dying);
    let died = Instant::now();
    publish_to_all_keys(&*publisher, 4..6).await;
    eventually_within(TAKEOVER_MAX, "the lanes are read again", || async {
        let firsts = book.firsts();
        if firsts.len() == KEYS { Ok(()) } else { Err(firsts) }
    })
    .await;
    println!("the lanes of a dead member were read again after {:?}", died.elapsed());
    book.has_all(6).await;
}

pub async fn a_key_that_stands_still_holds_up_no_other<F: Fixture>(fixture: &F) {
    let (only, gate) = (node(fixture, "n1").await, Gate::closed());
    let behind = gate.clone();
    let listener = Listener::settling(move |incoming| {
        let gate = behind.clone();
        Box::pin(async move {
            if text(&incoming.payload).starts_with("0:") {
                gate.pass().await;
            }
            Settled::Done
        })
    });
    consume(&*only, group("billing"), Arc::clone(&listener) as Arc<dyn Consume>).await;
    publish_to_all_keys(&*only, 0..4).await;
    listener.has_seen(4 * KEYS).await;
    gate.let_through(4);
    end(&*only).await;
}

pub async fn events_without_a_key_go_to_any_member<F: Fixture>(fixture: &F) {
    let (first, second) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let (stuck, listener) = (Listener::stuck(), Listener::done());
    let unkeyed = |n: &String| Outgoing { lane: convoke_core::LANE_UNKEYED, ..event(n) };
    let one =
        convoke_core::ConsumeSpec { audience: group("billing"), names: vec![super::EVENT], in_flight_max: 1 };
    first.consume(one, stuck.clone()).await.expect("it is attached");
    consume(&*second, group("billing"), listener.clone()).await;
    for n in numbers(0..10) {
        first.publish(unkeyed(&n), soon()).await.expect("it is stored");
    }
    listener.has_seen(9).await; // one of them may be with the other member, which does not settle it
}

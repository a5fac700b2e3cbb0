//! What happens to an event after it was handed over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convoke_core::{Audience, BoxFuture, ConsumeSpec, DeadLetter, Incoming, Settled};
use tokio::time::Instant;

use super::{EVENT, Fixture, Gate, Listener, consume, group, node, numbers, publish, soon, text};
use crate::eventually;

/// How long a node that leaves waits for what will never settle.
const IMPATIENCE: Duration = Duration::from_millis(800);

pub async fn no_more_events_than_the_bound_are_in_flight<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let gate = Gate::closed();
    let (bounded, free) = (Listener::behind(&gate), Listener::done());
    let spec = ConsumeSpec { audience: Audience::Node, names: vec![EVENT], in_flight_max: 3 };
    only.consume(spec, bounded.clone()).await.expect("it is attached");
    consume(&*only, group("free"), free.clone()).await;
    publish(&*only, numbers(0..12)).await;
    bounded.has_seen(3).await;
    free.has_seen(12).await; // so there was time for more than three
    for settled in 0..12 {
        assert!(bounded.seen().len() <= settled + 3, "{} in flight", bounded.seen().len() - settled);
        gate.let_through(1);
        bounded.has_seen((settled + 4).min(12)).await;
    }
    assert_eq!(bounded.texts(), numbers(0..12));
    assert_eq!(bounded.in_flight_peak(), 3, "the bound is used, and not exceeded");
}

/// Hands the first event back once, and is done with everything else.
fn once_back() -> Arc<Listener> {
    let handed_back = AtomicBool::new(false);
    Listener::settling(move |_| {
        let back = !handed_back.swap(true, Ordering::SeqCst);
        Box::pin(async move { if back { Settled::HandBack } else { Settled::Done } })
    })
}

pub async fn an_event_that_is_handed_back_comes_again<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let listeners = [(Audience::Node, once_back()), (group("billing"), once_back())];
    for (audience, listener) in &listeners {
        consume(&*only, audience.clone(), listener.clone()).await;
    }
    publish(&*only, ["again"]).await;
    for (audience, listener) in &listeners {
        listener.has_seen(2).await;
        let seen = listener.seen();
        assert_eq!(listener.texts(), ["again", "again"], "{audience:?}");
        assert_eq!(seen[0].envelope.id(), seen[1].envelope.id());
        assert_eq!(seen[0].position, seen[1].position);
    }
    publish(&*only, ["last"]).await;
    for (audience, listener) in &listeners {
        listener.has_seen_text("last").await;
        assert_eq!(listener.texts(), ["again", "again", "last"], "{audience:?}: and then it is done");
    }
}

pub async fn an_event_that_one_member_hands_back_is_handled_by_another<F: Fixture>(fixture: &F) {
    let (unable, able) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let (hands_back, handles) =
        (Listener::settling(|_| Box::pin(async { Settled::HandBack })), Listener::done());
    consume(&*unable, group("billing"), hands_back.clone()).await;
    publish(&*unable, numbers(0..5)).await;
    hands_back.has_seen(1).await;
    consume(&*able, group("billing"), handles.clone()).await;
    eventually("another member handled each", || async {
        let mut texts = handles.texts();
        texts.sort();
        if texts == numbers(0..5) { Ok(()) } else { Err(texts) }
    })
    .await;
}

pub async fn an_event_whose_handling_panics_comes_again<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let panicked = AtomicBool::new(false);
    let listener = Listener::settling(move |_| {
        let first = !panicked.swap(true, Ordering::SeqCst);
        Box::pin(async move {
            assert!(!first, "the consumer has a bug");
            Settled::Done
        })
    });
    consume(&*only, Audience::Node, listener.clone()).await;
    publish(&*only, ["again"]).await;
    listener.has_seen(2).await;
    assert_eq!(listener.texts(), ["again", "again"]);
}

pub async fn what_a_node_leaves_unsettled_goes_to_its_successor<F: Fixture>(fixture: &F) {
    let (publisher, first) = (node(fixture, "publisher").await, node(fixture, "n1").await);
    let stuck = stuck_at("1");
    consume(&*first, Audience::Node, stuck.clone()).await;
    publish(&*publisher, numbers(0..3)).await;
    stuck.has_seen(3).await;
    let report = first.leave(Instant::now() + IMPATIENCE).await;
    assert_eq!(report.lost, 1, "{report:?}");
    first.close(soon()).await;
    publish(&*publisher, ["3"]).await;
    let (back, listener) = (node(fixture, "n1").await, Listener::done());
    consume(&*back, Audience::Node, listener.clone()).await;
    listener.has_seen(2).await;
    publish(&*publisher, ["last"]).await;
    listener.has_seen_text("last").await;
    let mut texts = listener.texts();
    texts.sort();
    assert_eq!(texts, ["1", "3", "last"], "what was settled does not come again");
}

pub async fn what_a_member_leaves_unsettled_goes_to_another_member<F: Fixture>(fixture: &F) {
    let (first, second) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let (stuck, listener) = (Listener::stuck(), Listener::done());
    consume(&*first, group("billing"), stuck.clone()).await;
    publish(&*second, numbers(0..3)).await;
    stuck.has_seen(3).await;
    consume(&*second, group("billing"), listener.clone()).await;
    first.leave(Instant::now() + IMPATIENCE).await;
    listener.has_seen(3).await;
    let mut texts = listener.texts();
    texts.sort();
    assert_eq!(texts, numbers(0..3));
}

pub async fn what_an_abandoned_node_had_in_hand_goes_to_its_successor<F: Fixture>(fixture: &F) {
    let (publisher, first) = (node(fixture, "publisher").await, node(fixture, "n1").await);
    let stuck = Listener::stuck();
    consume(&*first, Audience::Node, stuck.clone()).await;
    publish(&*publisher, numbers(0..3)).await;
    stuck.has_seen(3).await;
    first.abandon();
    drop(first);
    let (back, listener) = (node(fixture, "n1").await, Listener::done());
    consume(&*back, Audience::Node, listener.clone()).await;
    listener.has_seen(3).await;
    let mut texts = listener.texts();
    texts.sort();
    assert_eq!(texts, numbers(0..3));
}

pub async fn a_buried_event_counts_as_settled<F: Fixture>(fixture: &F) {
    let (publisher, first) = (node(fixture, "publisher").await, node(fixture, "n1").await);
    let transport = Arc::clone(&first);
    let listener = Listener::settling(move |incoming| -> BoxFuture<'static, Settled> {
        let transport = Arc::clone(&transport);
        Box::pin(async move {
            transport.bury(letter(incoming), soon()).await.expect("the dead letter is kept");
            Settled::Done
        })
    });
    consume(&*first, Audience::Node, listener.clone()).await;
    publish(&*publisher, ["poison"]).await;
    listener.has_seen(1).await;
    let report = first.leave(soon()).await; // waits for the burial
    assert_eq!(report.lost, 0, "{report:?}");
    first.close(soon()).await;
    let (back, after) = (node(fixture, "n1").await, Listener::done());
    consume(&*back, Audience::Node, after.clone()).await;
    publish(&*publisher, ["next"]).await;
    after.has_seen_text("next").await;
    assert_eq!(after.texts(), ["next"]);
}

fn letter(message: Incoming) -> DeadLetter {
    DeadLetter {
        message,
        handler: "Orders::on_placed".into(),
        node: "n1".into(),
        errors: vec!["disk full".into(), "no space left on device\r\nat all — 🍏".into()],
        audience: Audience::Node,
        attempts: 5,
        replays: 0,
        holds: false,
    }
}

/// Never settles the event with this content, and is done with each other.
fn stuck_at(content: &'static str) -> Arc<Listener> {
    Listener::settling(move |incoming| {
        Box::pin(async move {
            if text(&incoming.payload) == content {
                std::future::pending::<()>().await;
            }
            Settled::Done
        })
    })
}

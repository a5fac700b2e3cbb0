//! Consumers that replay the stream at each start.

use convoke_core::{Audience, Settled};

use super::{Fixture, Gate, Listener, consume, end, node, numbers, publish, text};
use crate::eventually;

async fn caught_up(listener: &Listener) {
    eventually("the view is caught up", || async { listener.caught_up_count() > 0 }).await;
}

pub async fn a_view_replays_from_the_beginning_at_each_start<F: Fixture>(fixture: &F) {
    let publisher = node(fixture, "publisher").await;
    publish(&*publisher, numbers(0..10)).await;
    for start in 1..=3 {
        let (transport, listener) = (node(fixture, "n1").await, Listener::done());
        consume(&*transport, Audience::View, listener.clone()).await;
        caught_up(&listener).await;
        assert_eq!(listener.texts(), numbers(0..9 + start), "start {start}");
        publish(&*publisher, [(9 + start).to_string()]).await;
        listener.has_seen(10 + start).await;
        assert_eq!(listener.texts(), numbers(0..10 + start), "start {start}");
        assert_eq!(listener.caught_up_count(), 1, "it is told once");
        end(&*transport).await;
    }
}

pub async fn every_node_has_its_own_view<F: Fixture>(fixture: &F) {
    let (first, second) = (node(fixture, "n1").await, node(fixture, "n2").await);
    publish(&*first, numbers(0..10)).await;
    for transport in [&first, &second] {
        let listener = Listener::done();
        consume(&**transport, Audience::View, listener.clone()).await;
        caught_up(&listener).await;
        assert_eq!(listener.texts(), numbers(0..10));
    }
}

pub async fn an_empty_view_is_caught_up<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let listener = Listener::done();
    consume(&*only, Audience::View, listener.clone()).await;
    caught_up(&listener).await;
    assert!(listener.texts().is_empty());
}

pub async fn a_view_is_caught_up_when_what_was_stored_is_handled<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    publish(&*only, numbers(0..5)).await;
    let gate = Gate::closed();
    let held = gate.clone();
    let listener = Listener::settling(move |incoming| {
        let held = held.clone();
        Box::pin(async move {
            if text(&incoming.payload) == "2" {
                held.pass().await;
            }
            Settled::Done
        })
    });
    consume(&*only, Audience::View, listener.clone()).await;
    listener.has_seen(5).await;
    publish(&*only, ["5"]).await;
    listener.has_seen(6).await; // newer events do not wait for it
    // time for a report that comes too early: another view goes all the way
    let other = Listener::done();
    let second = node(fixture, "n2").await;
    consume(&*second, Audience::View, other.clone()).await;
    caught_up(&other).await;
    assert_eq!(listener.caught_up_count(), 0, "one that was stored is not handled yet");
    gate.open();
    caught_up(&listener).await;
}

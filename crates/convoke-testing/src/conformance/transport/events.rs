//! Who gets each event, and in which order.

use std::sync::Arc;

use convoke_core::{Audience, Consume, ConsumeSpec, NodeIdentity, Outgoing, Transport};

use super::{
    EVENT, Fixture, Listener, OTHER_EVENT, consume, end, event, group, node, node_as, numbers, publish, soon,
};

/// What the consumer got once everything published so far went through it.
async fn texts_before_last(publisher: &dyn Transport, listener: &Listener) -> Vec<String> {
    publish(publisher, ["last"]).await;
    listener.has_seen_text("last").await;
    let mut texts = listener.texts();
    assert_eq!(texts.pop().as_deref(), Some("last"), "the last one comes last");
    texts
}

pub async fn publish_returns_a_growing_sequence<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let mut before = 0;
    for n in 0..20 {
        let receipt = only.publish(event(&n.to_string()), soon()).await.expect("it is stored");
        assert!(!receipt.duplicate, "event {n} is new");
        assert!(receipt.sequence > before, "event {n} has the number {} after {before}", receipt.sequence);
        before = receipt.sequence;
    }
}

pub async fn a_repeated_id_is_a_duplicate_and_is_delivered_once<F: Fixture>(fixture: &F) {
    let (first, second) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let listener = Listener::done();
    consume(&*first, Audience::Node, listener.clone()).await;
    publish(&*first, ["before"]).await;
    let message = event("once");
    let stored = first.publish(message.clone(), soon()).await.expect("it is stored");
    publish(&*first, ["after"]).await;
    for transport in [&first, &second] {
        let again = transport.publish(message.clone(), soon()).await.expect("it is answered");
        assert!(again.duplicate, "a second {stored:?}: {again:?}");
        assert_eq!(again.sequence, stored.sequence);
    }
    assert_eq!(texts_before_last(&*first, &listener).await, ["before", "once", "after"]);
}

pub async fn every_node_gets_every_event_once<F: Fixture>(fixture: &F) {
    let mut nodes = Vec::new();
    for name in ["n1", "n2", "n3"] {
        let (transport, listener) = (node(fixture, name).await, Listener::done());
        consume(&*transport, Audience::Node, listener.clone()).await;
        nodes.push((transport, listener));
    }
    for (n, text) in numbers(0..30).iter().enumerate() {
        publish(&*nodes[n % 3].0, [text]).await; // from different nodes
    }
    publish(&*nodes[0].0, ["last"]).await;
    for (_, listener) in &nodes {
        listener.has_seen_text("last").await;
        let mut texts = listener.texts();
        texts.pop();
        assert_eq!(texts, numbers(0..30));
    }
}

pub async fn a_consumer_gets_the_names_it_wants_and_no_other<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let (some, all) = (Listener::done(), Listener::done());
    consume(&*only, Audience::Node, some.clone()).await;
    let spec = ConsumeSpec {
        audience: Audience::Group("all".into()),
        names: vec![EVENT, OTHER_EVENT],
        in_flight_max: 64,
    };
    only.consume(spec, all.clone()).await.expect("it is attached");
    for n in 0..10 {
        let name = if n % 2 == 0 { EVENT } else { OTHER_EVENT };
        only.publish(Outgoing { name, ..event(&n.to_string()) }, soon()).await.expect("it is stored");
    }
    assert_eq!(texts_before_last(&*only, &some).await, ["0", "2", "4", "6", "8"]);
    all.has_seen(11).await;
    let odd: Vec<_> = all.seen().into_iter().filter(|seen| &*seen.name == OTHER_EVENT).collect();
    assert_eq!(odd.len(), 5, "each came under its name");
}

pub async fn events_are_handed_over_in_stream_order<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let listener = Listener::settling(|_| {
        Box::pin(async {
            tokio::task::yield_now().await; // the next one is not waited for
            convoke_core::Settled::Done
        })
    });
    consume(&*only, Audience::Node, listener.clone()).await;
    let mut sequences = Vec::new();
    for n in 0..150 {
        let lane = u8::try_from(n * 7 % 64).expect("below 64"); // lanes do not change the order
        let message = Outgoing { lane, ..event(&n.to_string()) };
        sequences.push(only.publish(message, soon()).await.expect("it is stored").sequence);
    }
    listener.has_seen(150).await;
    let positions: Vec<_> = listener.seen().iter().filter_map(|seen| seen.position).collect();
    assert_eq!(positions.iter().map(|position| position.sequence).collect::<Vec<_>>(), sequences);
    assert!(positions.iter().all(|position| position.epoch == positions[0].epoch), "one stream, one epoch");
    assert_eq!(listener.texts(), numbers(0..150));
}

pub async fn a_node_that_was_away_gets_what_it_missed_in_order<F: Fixture>(fixture: &F) {
    let (publisher, first) = (node(fixture, "publisher").await, node(fixture, "n1").await);
    let before = Listener::done();
    consume(&*first, Audience::Node, before.clone()).await;
    publish(&*publisher, numbers(0..5)).await;
    before.has_seen(5).await;
    end(&*first).await;
    publish(&*publisher, numbers(5..40)).await;
    let back = node(fixture, "n1").await;
    let after = Listener::done();
    consume(&*back, Audience::Node, after.clone()).await;
    assert_eq!(texts_before_last(&*publisher, &after).await, numbers(5..40));
    assert_eq!(before.texts(), numbers(0..5), "a node that left gets nothing more");
}

pub async fn a_new_node_starts_with_what_comes<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    publish(&*only, numbers(0..5)).await;
    let listener = Listener::done();
    consume(&*only, Audience::Node, listener.clone()).await;
    publish(&*only, numbers(5..8)).await;
    assert_eq!(texts_before_last(&*only, &listener).await, numbers(5..8));
}

pub async fn each_event_of_a_group_goes_to_one_member<F: Fixture>(fixture: &F) {
    let mut members = Vec::new();
    for name in ["n1", "n2", "n3"] {
        let (transport, listener) = (node(fixture, name).await, Listener::done());
        consume(&*transport, group("billing"), listener.clone()).await;
        members.push((transport, listener));
    }
    publish(&*members[0].0, numbers(0..60)).await;
    let all = || {
        let mut all: Vec<_> = members.iter().flat_map(|(_, listener)| listener.texts()).collect();
        all.sort_by_key(|text| text.parse::<u32>().unwrap_or(u32::MAX));
        all
    };
    crate::eventually("everything arrived somewhere", || async { all().len() >= 60 }).await;
    publish(&*members[0].0, ["last"]).await;
    crate::eventually("the last one arrived", || async { all().last().is_some_and(|last| last == "last") })
        .await;
    assert_eq!(all()[..60], numbers(0..60), "each went to one member");
}

pub async fn what_a_group_missed_while_nobody_was_there_waits_for_it<F: Fixture>(fixture: &F) {
    let (publisher, first) = (node(fixture, "publisher").await, node(fixture, "n1").await);
    consume(&*first, group("billing"), Listener::done()).await;
    end(&*first).await;
    publish(&*publisher, numbers(0..10)).await;
    let (second, listener) = (node(fixture, "n2").await, Listener::done());
    consume(&*second, group("billing"), listener.clone()).await;
    assert_eq!(texts_before_last(&*publisher, &listener).await, numbers(0..10));
}

pub async fn groups_nodes_and_services_of_one_name_are_apart<F: Fixture>(fixture: &F) {
    // a node, two groups and a view, one of the groups called like the node
    let billing = node(fixture, "billing").await;
    let mut listeners = Vec::new();
    for audience in [Audience::Node, group("billing"), group("mail"), Audience::View] {
        listeners.push((format!("{audience:?}"), Listener::done()));
        let (_, listener) = listeners.last().expect("pushed above");
        consume(&*billing, audience, Arc::clone(listener) as Arc<dyn Consume>).await;
    }
    let identity = NodeIdentity { service: "another".into(), ..fixture.identity("n9") };
    let other = node_as(fixture, &identity).await;
    let listener = Listener::done();
    consume(&*other, group("billing"), listener.clone()).await;
    listeners.push(("another service".into(), listener));
    publish(&*billing, numbers(0..10)).await;
    publish(&*other, ["last"]).await;
    for (who, listener) in listeners {
        listener.has_seen_text("last").await;
        assert_eq!(listener.texts()[..10], numbers(0..10), "{who}");
        assert_eq!(listener.texts().len(), 11, "{who}");
    }
}

//! Nodes and their ids.

use convoke_core::{NodeIdentity, TransportErrorKind, TransportHealth};

use super::{Fixture, Listener, Responder, command, consume, end, node, replied, request, serve};
use crate::eventually;

pub async fn a_node_that_is_open_is_up<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    serve(&*only, Responder::echo()).await;
    consume(&*only, convoke_core::Audience::Node, Listener::done()).await;
    eventually("it is up", || async {
        match only.health() {
            TransportHealth::Up => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

pub async fn a_second_live_node_of_one_id_is_refused_with_a_sentence<F: Fixture>(fixture: &F) {
    let first = node(fixture, "n1").await;
    serve(&*first, Responder::echo()).await;
    let second = fixture.transport().await;
    let error = second.open(&fixture.identity("n1")).await.expect_err("the id is taken");
    assert_eq!(error.kind(), TransportErrorKind::Refused, "{error}");
    let sentence = error.to_string();
    assert!(sentence.contains("n1") && sentence.split(' ').count() > 5, "what is wrong: {sentence:?}");
    drop(second); // and the first one does not notice
    assert_eq!(replied(request(&*first, command("still there?")).await), "still there?");
    node(fixture, "n2").await;
}

pub async fn an_id_is_free_again_when_its_node_left_or_was_abandoned<F: Fixture>(fixture: &F) {
    let first = node(fixture, "n1").await;
    end(&*first).await;
    let second = node(fixture, "n1").await;
    second.abandon();
    let third = node(fixture, "n1").await;
    serve(&*third, Responder::echo()).await;
    assert_eq!(replied(request(&*third, command("hello")).await), "hello");
}

pub async fn a_node_of_another_service_has_the_same_bus<F: Fixture>(fixture: &F) {
    let member = node(fixture, "n1").await;
    serve(&*member, Responder::echo()).await;
    let identity = NodeIdentity { service: "another".into(), ..fixture.identity("n2") };
    let caller = super::node_as(fixture, &identity).await;
    assert_eq!(replied(request(&*caller, command("hello")).await), "hello");
}

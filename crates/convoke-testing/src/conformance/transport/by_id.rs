//! Requests to a node by its id.

use std::time::Duration;

use convoke_core::{Failed, MessageKind, TransportErrorKind};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    COMMAND, Fixture, Gate, OTHER_COMMAND, Responder, command, end, failed, node, outgoing, replied, soon,
};
use crate::eventually;

/// How long a request waits that may come too early to be refused.
const LATE_WAIT: Duration = Duration::from_millis(100);

pub async fn a_request_by_id_reaches_that_node_and_no_other_with_its_name_and_envelope<F: Fixture>(
    fixture: &F,
) {
    let (n1, n2) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let (first, second) = (Responder::echo(), Responder::echo());
    n1.serve_node(first.clone()).await.expect("it answers for its id");
    n2.serve_node(second.clone()).await.expect("it answers for its id");
    for name in [COMMAND, OTHER_COMMAND] {
        let mut message = outgoing(name, MessageKind::Command, "7 apples");
        message.envelope.idempotency_key = Some("order-17".into());
        message.envelope.correlation = Some(Uuid::now_v7());
        message.envelope.headers.insert("tenant", "acme").expect("a header");
        let sent = message.envelope.clone();
        assert_eq!(replied(n1.request_node("n2", message, soon()).await), "7 apples");
        let seen = second.seen().pop().expect("it arrived");
        assert_eq!(&*seen.name, name);
        assert_eq!(seen.envelope.to_text(), sent.to_text());
        assert_eq!(seen.envelope.headers, sent.headers);
    }
    assert_eq!(replied(n2.request_node("n2", command("alone"), soon()).await), "alone");
    assert_eq!((first.seen().len(), second.seen().len()), (0, 3));
}

pub async fn a_request_to_a_node_that_is_not_there_reached_nobody<F: Fixture>(fixture: &F) {
    let (n1, n2) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let responder = Responder::echo();
    n2.serve_node(responder.clone()).await.expect("it answers for its id");
    let absent = n1.request_node("n3", command("anybody?"), soon()).await.expect_err("there is no n3");
    assert_eq!(absent.kind(), TransportErrorKind::NoHandler);
    end(&*n2).await;
    let gone = n1.request_node("n2", command("still there?"), soon()).await.expect_err("it left");
    assert_eq!(gone.kind(), TransportErrorKind::NoHandler);
    assert_eq!(responder.seen().len(), 0);
}

pub async fn a_node_that_leaves_answers_what_it_was_asked_by_id<F: Fixture>(fixture: &F) {
    let (n1, n2) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let gate = Gate::closed();
    let responder = Responder::behind(&gate);
    n2.serve_node(responder.clone()).await.expect("it answers for its id");
    let caller = n1.clone();
    let asked = tokio::spawn(async move { caller.request_node("n2", command("slow"), soon()).await });
    responder.has_seen(1).await;
    let leaving = n2.clone();
    let leaving = tokio::spawn(async move { leaving.leave(soon()).await });
    eventually("nothing more is taken", || async {
        let late = n1.request_node("n2", command("late"), Instant::now() + LATE_WAIT).await;
        late.is_err_and(|error| error.kind() == TransportErrorKind::NoHandler)
    })
    .await;
    gate.open();
    assert_eq!(replied(asked.await.expect("no panic")), "slow");
    assert_eq!(leaving.await.expect("no panic").lost, 0);
}

pub async fn a_failure_comes_back_from_a_node_by_its_id<F: Fixture>(fixture: &F) {
    let (n1, n2) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let refuses = |_| -> convoke_core::BoxFuture<'static, _> {
        Box::pin(async { convoke_core::Answered::Failed(Failed::NotLeader { leader: Some("n1".into()) }) })
    };
    n2.serve_node(Responder::answering(refuses)).await.expect("it answers for its id");
    match failed(n1.request_node("n2", command("lead"), soon()).await) {
        Failed::NotLeader { leader } => assert_eq!(leader.as_deref(), Some("n1")),
        other => panic!("not about the leader: {other:?}"),
    }
}

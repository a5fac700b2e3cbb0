//! Messages near and above the limit.

use convoke_core::{Audience, Failed, Outgoing, TransportErrorKind};
use tokio::time::Instant;

use super::envelopes::full;
use super::{
    Fixture, Gate, LATE, Listener, Responder, command, consume, event, failed, node, payload, replied, reply,
    request, serve, soon,
};

/// Room for the envelope below the largest message.
const ENVELOPE_BYTES_MAX: usize = 16 * 1024;
/// What MessagePack puts before a long text.
const TEXT_BYTES: usize = 5;

pub async fn a_message_above_the_limit_is_refused_and_reaches_nobody<F: Fixture>(fixture: &F) {
    let Some(bytes_max) = fixture.message_bytes_max() else { return };
    let only = node(fixture, "n1").await;
    let (responder, listener) = (Responder::echo(), Listener::done());
    serve(&*only, responder.clone()).await;
    consume(&*only, Audience::Node, listener.clone()).await;
    let large = "x".repeat(bytes_max + 1);
    let error = request(&*only, command(&large)).await.expect_err("too large");
    assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
    let error = only.publish(event(&large), soon()).await.expect_err("too large");
    assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
    replied(request(&*only, command("small")).await);
    only.publish(event("small"), soon()).await.expect("it is stored");
    listener.has_seen(1).await;
    assert_eq!((responder.texts(), listener.texts()), (vec!["small".into()], vec!["small".into()]));
}

pub async fn a_message_below_the_limit_arrives<F: Fixture>(fixture: &F) {
    let Some(bytes_max) = fixture.message_bytes_max() else { return };
    let only = node(fixture, "n1").await;
    let listener = Listener::done();
    serve(&*only, Responder::echo()).await;
    consume(&*only, Audience::Node, listener.clone()).await;
    let large = "x".repeat(bytes_max - ENVELOPE_BYTES_MAX);
    assert!(replied(request(&*only, command(&large)).await) == large, "another reply than what was sent");
    only.publish(event(&large), soon()).await.expect("it is stored");
    listener.has_seen(1).await;
    assert!(listener.texts() == [large], "another event than what was published");
}

pub async fn a_message_that_only_its_headers_make_too_large_harms_nobody<F: Fixture>(fixture: &F) {
    let Some(bytes_max) = fixture.message_bytes_max() else { return };
    let only = node(fixture, "n1").await;
    let gate = Gate::closed();
    let responder = Responder::behind(&gate);
    serve(&*only, responder.clone()).await;
    let at_the_limit = "x".repeat(bytes_max - TEXT_BYTES);
    let waiting = request(&*only, command("waiting"));
    let others = async {
        responder.has_seen(1).await;
        let message = Outgoing { envelope: full(), ..event(&at_the_limit) };
        if let Err(error) = only.publish(message, soon()).await {
            assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
        }
        let message = Outgoing { envelope: full(), ..command(&at_the_limit) };
        gate.open();
        if let Err(error) = request(&*only, message).await {
            assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
        }
    };
    let (waiting, ()) = futures_util::future::join(waiting, others).await;
    assert_eq!(replied(waiting), "waiting", "another call lost its connection");
}

pub async fn a_reply_above_the_limit_fails_its_caller_at_once<F: Fixture>(fixture: &F) {
    let Some(bytes_max) = fixture.message_bytes_max() else { return };
    let only = node(fixture, "n1").await;
    let large = payload(&"x".repeat(bytes_max + 1));
    let responder = Responder::answering(move |_| {
        let large = large.clone();
        Box::pin(async { reply(large) })
    });
    serve(&*only, responder).await;
    let started = Instant::now();
    let failed = failed(request(&*only, command("all of it")).await);
    assert!(matches!(failed, Failed::Faulted(_)), "{failed:?}");
    assert!(started.elapsed() < LATE, "the caller waited for {:?}", started.elapsed());
}

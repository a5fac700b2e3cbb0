//! What travels with a message.

use std::time::Duration;

use convoke_core::{Answered, Audience, Codec, Envelope, Expiry, Headers, Outgoing, Payload};
use uuid::Uuid;

use super::{Fixture, Listener, Responder, command, consume, event, node, replied, request, serve, soon};

/// What a transport may take off the time that is left.
const EXPIRY_TOLERANCE: Duration = Duration::from_secs(1);

#[track_caller]
pub(super) fn assert_same(sent: &Envelope, came: &Envelope) {
    assert_eq!(came.id(), sent.id());
    assert_eq!(came.correlation, sent.correlation, "correlation");
    assert_eq!(came.causation, sent.causation, "causation");
    assert_eq!(came.idempotency_key, sent.idempotency_key, "key");
    assert_eq!(came.source, sent.source, "source");
    assert_eq!(came.traceparent, sent.traceparent, "traceparent");
    let headers = |headers: &Headers| {
        let mut all: Vec<_> = headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        all.sort();
        all
    };
    assert_eq!(headers(&came.headers), headers(&sent.headers));
    assert_eq!(came.expiry.is_some(), sent.expiry.is_some(), "expiry");
    if let (Some(sent), Some(came)) = (sent.expiry, came.expiry) {
        let lost = sent.remaining.checked_sub(came.remaining).expect("time that is left never grows");
        assert!(lost < EXPIRY_TOLERANCE, "{sent:?} became {came:?}");
        let shift = sent.at_unix_ms.abs_diff(came.at_unix_ms);
        assert!(shift < 1000, "{sent:?} became {came:?}");
    }
}

/// An envelope with something in every field.
pub(super) fn full() -> Envelope {
    let mut envelope = Envelope::with_id(Uuid::now_v7());
    envelope.correlation = Some(Uuid::now_v7());
    envelope.causation = Some(Uuid::now_v7());
    envelope.expiry = Some(Expiry::after(Duration::from_millis(8_765)));
    envelope.idempotency_key = Some("order-17/a=b;c".into());
    envelope.source = Some("node-1".into());
    envelope.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    envelope.headers.insert("tenant", "acme").expect("a header");
    envelope.headers.insert("x-request.id_2", "7").expect("a header");
    envelope
}

/// One request with this envelope, as it arrived.
async fn arrives<F: Fixture>(fixture: &F, envelope: Envelope) -> Envelope {
    let (caller, member) = (node(fixture, "caller").await, node(fixture, "member").await);
    let responder = Responder::echo();
    serve(&*member, responder.clone()).await;
    replied(request(&*caller, Outgoing { envelope, ..command("hello") }).await);
    responder.seen().remove(0).envelope
}

pub async fn a_plain_request_keeps_its_id_and_expiry<F: Fixture>(fixture: &F) {
    let mut sent = Envelope::with_id(Uuid::now_v7());
    sent.expiry = Some(Expiry::after(Duration::from_millis(4_321)));
    assert_same(&sent, &arrives(fixture, sent.clone()).await);
}

pub async fn a_request_without_an_expiry_comes_without_one<F: Fixture>(fixture: &F) {
    let sent = Envelope::with_id(Uuid::now_v7());
    assert_same(&sent, &arrives(fixture, sent.clone()).await);
}

pub async fn a_request_keeps_every_field_of_its_envelope<F: Fixture>(fixture: &F) {
    let sent = full();
    assert_same(&sent, &arrives(fixture, sent.clone()).await);
}

pub async fn an_event_keeps_every_field_of_its_envelope<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let listener = Listener::done();
    consume(&*only, Audience::Node, listener.clone()).await;
    let sent = full();
    let message = Outgoing { envelope: sent.clone(), ..event("happened") };
    let receipt = only.publish(message.clone(), soon()).await.expect("it is stored");
    listener.has_seen(1).await;
    let came = listener.seen().remove(0);
    assert_same(&sent, &came.envelope);
    assert_eq!(&*came.name, message.name);
    assert_eq!(came.position.expect("events have a place").sequence, receipt.sequence);
}

pub async fn a_header_keeps_its_value_to_the_letter<F: Fixture>(fixture: &F) {
    let mut sent = full();
    let values = ["", " leading", "trailing ", "a: b, c", "grün 苹果 🍏", "\"quoted\"", "-", "%0d%0a"];
    for (n, value) in values.iter().enumerate() {
        sent.headers.insert(&format!("value-{n}"), value).expect("a header");
    }
    assert_same(&sent, &arrives(fixture, sent.clone()).await);
}

pub async fn a_header_of_any_name_is_the_senders_own<F: Fixture>(fixture: &F) {
    let mut sent = full();
    for name in
        ["content-type", "traceparent", "x-x-tenant", "nats-msg-id", "convoke", "convoke-status", "id"]
    {
        sent.headers.insert(name, "mine").expect("a header");
    }
    assert_same(&sent, &arrives(fixture, sent.clone()).await);
}

pub async fn headers_up_to_their_limits_travel<F: Fixture>(fixture: &F) {
    let mut sent = Envelope::with_id(Uuid::now_v7());
    for n in 0..Headers::COUNT_MAX {
        sent.headers.insert(&format!("h{n:02}"), &"v".repeat(250)).expect("a header");
    }
    assert_same(&sent, &arrives(fixture, sent.clone()).await);
}

pub async fn each_codec_travels_there_and_back<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let (responder, listener) = (Responder::echo(), Listener::done());
    serve(&*only, responder.clone()).await;
    consume(&*only, Audience::Node, listener.clone()).await;
    for (n, sent) in [Codec::MessagePack, Codec::Json].into_iter().enumerate() {
        let bytes = sent.encode("seven").expect("a text can be encoded");
        let payload = || Payload::Bytes { codec: sent, bytes: bytes.clone() };
        let answer = request(&*only, Outgoing { payload: payload(), ..command("") }).await;
        let Ok(Answered::Replied { payload: back, .. }) = answer else { panic!("no reply: {answer:?}") };
        only.publish(Outgoing { payload: payload(), ..event("") }, soon()).await.expect("it is stored");
        listener.has_seen(n + 1).await;
        for came in [&responder.seen()[n].payload, &listener.seen()[n].payload, &back] {
            let Payload::Bytes { codec, bytes: came } = came else { panic!("not encoded: {came:?}") };
            assert_eq!((*codec, came), (sent, &bytes));
        }
    }
}

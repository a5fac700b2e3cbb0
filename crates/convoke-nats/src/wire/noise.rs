//! What strangers may send in place of our headers, reply subjects and answers.
use std::{str::FromStr, sync::Arc, time::Duration};

use async_nats::{HeaderMap, HeaderName, HeaderValue, Message};
use bytes::Bytes;
use convoke_core::{Answered, Codec, Envelope, Expiry, Headers, Payload};
use proptest::prelude::*;
use uuid::Uuid;

use super::{TRACEPARENT_BYTES_MAX, answer, event_headers, headers, read, request_headers, token::Token};

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: convoke_testing::proptest_cases(1000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn message(reply: Option<String>, headers: Option<HeaderMap>, payload: Vec<u8>) -> Message {
    let (reply, payload) = (reply.map(Into::into), Bytes::from(payload));
    Message { subject: "s".into(), reply, payload, headers, status: None, description: None, length: 0 }
}

/// Headers that are mostly ours, in any case, with values that mostly are not.
fn noise() -> impl Strategy<Value = HeaderMap> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "Convoke",
            "convoke",
            "traceparent",
            "TraceParent",
            "content-type",
            "Convoke-Status",
            "Nats-Msg-Id",
            "x-",
            "X-a",
            "x-b",
        ])
        .prop_map(str::to_owned),
        "[!-~]{1,8}",
        "x-[a-z.-]{0,6}",
    ];
    let value = prop_oneof![
        "1 [A-Za-z0-9_-]{22} [0-9]{1,5} [0-9]{1,20} - - [!-~]{1,8} [!-~]{1,20}",
        "1 [ -~]{0,20}",
        "c1[A-Za-z0-9_-]{20,24}.?[!-~]{0,70}",
        prop::sample::select(vec![
            "application/json",
            "application/msgpack",
            "failed",
            "rejected",
            "replayed"
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
        ".{0,8}",
        (0..9000_usize).prop_map(|len| "v".repeat(len)),
    ];
    let many = prop_oneof![3 => Just(0), 1 => 0..40_u8];
    (many, prop::collection::vec((name, value), 0..6)).prop_map(|(many, pairs)| {
        let mut headers = HeaderMap::new();
        for n in 0..many {
            headers.insert(format!("x-h{n}"), "v");
        }
        for (name, value) in pairs {
            if let (Ok(name), Ok(value)) = (HeaderName::from_str(&name), HeaderValue::from_str(&value)) {
                headers.append(name, value);
            }
        }
        headers
    })
}

prop_compose! {
    fn sent()(
        ids in (any::<u128>(), prop::option::of(any::<u128>()), prop::option::of(any::<u128>())),
        expiry in prop::option::of((0..=u32::MAX, 1..1_u64 << 48)),
        key in prop::option::of("[!-~]{2,255}"),
        source in prop::option::of("[A-Za-z0-9_-]{2,64}"),
        trace in prop::option::of("00-[0-9a-f]{32}-[0-9a-f]{16}-01"),
        pairs in prop::collection::vec(("[a-z0-9_.-]{1,10}", "[ -~é]{0,30}"), 0..6),
    ) -> Envelope {
        let (id, correlation, causation) = ids;
        let mut envelope = Envelope::with_id(Uuid::from_u128(id));
        envelope.correlation = correlation.map(Uuid::from_u128);
        envelope.causation = causation.map(Uuid::from_u128);
        envelope.expiry = expiry.map(|(remaining, at_unix_ms)| {
            Expiry { remaining: Duration::from_millis(remaining.into()), at_unix_ms }
        });
        envelope.idempotency_key = key.map(String::into_boxed_str);
        envelope.source = source.map(Arc::from);
        envelope.traceparent = trace.map(String::into_boxed_str);
        for (name, value) in pairs {
            envelope.headers.insert(&name, &value).expect("few and small");
        }
        envelope
    }
}

fn sorted(headers: &Headers) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    pairs.sort();
    pairs
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_request_comes_back_whole(sent in sent(), json in any::<bool>(), call in any::<u32>()) {
        let codec = if json { Codec::Json } else { Codec::MessagePack };
        let reply = Token::of(&sent, call).subject("_INBOX.node.");
        let back = read(&message(Some(reply), request_headers(&sent, codec), Vec::new())).expect("well formed");
        prop_assert_eq!(back.envelope.to_text(), sent.to_text());
        prop_assert_eq!(&back.envelope.traceparent, &sent.traceparent);
        prop_assert_eq!(sorted(&back.envelope.headers), sorted(&sent.headers));
        prop_assert_eq!((back.codec, back.stranger), (codec, false));
    }

    #[test]
    fn an_event_comes_back_whole(mut sent in sent(), caused in any::<bool>(), json in any::<bool>()) {
        let codec = if json { Codec::Json } else { Codec::MessagePack };
        sent.causation = caused.then(|| sent.causation.unwrap_or_default());
        if !caused {
            (sent.correlation, sent.expiry, sent.idempotency_key) = (None, None, None);
        }
        let headers = event_headers(&sent, codec);
        let count = headers.len();
        let back = read(&message(None, Some(headers), Vec::new())).expect("well formed");
        prop_assert_eq!(back.envelope.to_text(), sent.to_text());
        prop_assert_eq!(&back.envelope.traceparent, &sent.traceparent);
        prop_assert_eq!(sorted(&back.envelope.headers), sorted(&sent.headers));
        prop_assert_eq!((back.codec, back.stranger), (codec, false));
        let added = sent.headers.iter().count() + usize::from(sent.traceparent.is_some()) + usize::from(json);
        prop_assert_eq!(count - added, if caused || sent.source.is_none() { 2 } else { 1 });
    }

    #[test]
    fn noise_is_told_or_read_within_bounds(
        noise in prop::option::of(noise()),
        reply in prop::option::of("_INBOX.[a-z]{1,4}.(c1[A-Za-z0-9_-]{40}|[!-~]{0,50}|.{0,10})"),
        payload in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let message = message(reply, noise, payload);
        match read(&message) {
            Err(sentence) => prop_assert!(!sentence.is_empty() && sentence.len() < 1000, "{}", sentence),
            Ok(read) => {
                let envelope = read.envelope;
                let bytes: usize = envelope.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
                prop_assert!(envelope.headers.iter().count() <= Headers::COUNT_MAX && bytes <= Headers::BYTES_MAX);
                prop_assert!(envelope.to_text().len() <= Envelope::TEXT_BYTES_MAX);
                let trace = envelope.traceparent.as_deref().map_or(0, str::len);
                prop_assert!(trace <= TRACEPARENT_BYTES_MAX, "{} bytes of trace context", trace);
                headers(&envelope, read.codec); // what was read can be written
            }
        }
        answer::read(message);
    }

    #[test]
    fn a_token_comes_back_and_noise_is_none(
        id in any::<u128>(),
        expiry in prop::option::of((any::<u32>(), 1..1_u64 << 48)),
        call in any::<u32>(),
        noise in "c1[A-Za-z0-9_-]{38,42}|c1[!-~]{40}|.{0,50}",
    ) {
        let mut envelope = Envelope::with_id(Uuid::from_u128(id));
        envelope.expiry = expiry.map(|(left, at_unix_ms)| {
            Expiry { remaining: Duration::from_millis(left.into()), at_unix_ms }
        });
        let token = Token::of(&envelope, call);
        prop_assert_eq!(Token::read(&token.to_string()), Some(token));
        if let Some(token) = Token::read(&noise) {
            let again = Token::read(&token.to_string());
            prop_assert_eq!(again.map(Token::envelope).map(|e| (e.id(), e.expiry)), Some((token.envelope().id(), token.envelope().expiry)));
        }
    }

    #[test]
    fn an_answer_comes_back(
        kind in 0..4_u8,
        json in any::<bool>(),
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let codec = if json { Codec::Json } else { Codec::MessagePack };
        let (replayed, rejected) = (kind & 1 == 1, kind & 2 == 2);
        let content = Payload::Bytes { codec, bytes: payload.clone().into() };
        let sent = if rejected {
            Answered::Rejected { payload: content, replayed }
        } else {
            Answered::Replied { payload: content, replayed }
        };
        let written = answer::write(sent);
        let back = answer::read(message(None, written.headers, written.payload.to_vec()));
        let (was_rejected, content, was_replayed) = match back {
            Answered::Rejected { payload, replayed } => (true, payload, replayed),
            Answered::Replied { payload, replayed } => (false, payload, replayed),
            Answered::Failed(failed) => panic!("{failed}"),
        };
        prop_assert_eq!((was_rejected, was_replayed), (rejected, replayed));
        let Payload::Bytes { codec: read_codec, bytes } = content else { panic!("it came as bytes") };
        prop_assert_eq!((read_codec, &*bytes), (codec, &*payload));
    }
}

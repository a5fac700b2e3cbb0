//! Envelopes and headers against what strangers may send, and on their way there and back.

use std::{sync::Arc, time::Duration};

use convoke_core::{Envelope, Expiry, Headers};
use proptest::prelude::*;
use uuid::Uuid;

fn cases() -> ProptestConfig {
    let cases = std::env::var("CONVOKE_PROPTEST_CASES").ok();
    let cases = cases.map_or(2000, |cases| cases.parse().expect("CONVOKE_PROPTEST_CASES is a number"));
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn key() -> impl Strategy<Value = String> {
    "[!-~]{1,255}".prop_filter("a key is more than a dash", |key| key != "-")
}

prop_compose! {
    fn envelope()(
        id in id(),
        correlation in prop::option::of(id()),
        causation in prop::option::of(id()),
        expiry in prop::option::of((any::<u64>(), 1..=u64::MAX)),
        key in prop::option::of(key()),
        source in prop::option::of("[A-Za-z0-9_-]{2,64}"),
    ) -> Envelope {
        let mut envelope = Envelope::with_id(id);
        (envelope.correlation, envelope.causation) = (correlation, causation);
        envelope.expiry = expiry.map(|(remaining, at_unix_ms)| {
            Expiry { remaining: Duration::from_millis(remaining), at_unix_ms }
        });
        envelope.idempotency_key = key.map(String::into_boxed_str);
        envelope.source = source.map(Arc::from);
        envelope
    }
}

/// Text that is mostly made of what envelopes are made of.
fn noise() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("1".to_owned()),
        Just("-".to_owned()),
        Just(String::new()),
        any::<u64>().prop_map(|number| number.to_string()),
        "[A-Za-z0-9_-]{22}",
        "[!-~]{0,40}",
        (200..300_usize).prop_map(|len| "k".repeat(len)),
        ".{0,8}",
    ];
    prop_oneof![
        prop::collection::vec(part.clone(), 0..12).prop_map(|parts| parts.join(" ")),
        prop::collection::vec(part, 6..8)
            .prop_map(|parts| format!("1 AAAAAAAAAAAAAAAAAAAAAA {}", parts.join(" "))),
        ".{0,80}",
        (1000..1100_usize).prop_map(|len| format!("1 {}", "x".repeat(len))),
    ]
}

/// A header's name, or something like it: also one that is there already.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9_.-]{1,12}", ".{0,4}", (0..40_u8).prop_map(|n| format!("H{n}"))]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", ".{0,6}", (0..9000_usize).prop_map(|len| "x".repeat(len))]
}

/// All that travels in the compact form.
fn parts(envelope: &Envelope) -> impl PartialEq + std::fmt::Debug {
    (
        (envelope.id(), envelope.correlation, envelope.causation),
        envelope.expiry,
        envelope.idempotency_key.clone(),
        envelope.source.clone(),
    )
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn an_envelope_comes_back(envelope in envelope()) {
        let text = envelope.to_text();
        prop_assert!(text.len() <= Envelope::TEXT_BYTES_MAX && !text.contains(char::is_control), "{}", text);
        let back = Envelope::from_text(&text).expect("its own text");
        prop_assert_eq!(parts(&back), parts(&envelope));
    }

    #[test]
    fn an_envelope_cut_short_is_never_taken_for_the_whole(envelope in envelope(), cut in any::<prop::sample::Index>()) {
        let text = envelope.to_text();
        if let Ok(back) = Envelope::from_text(&text[..cut.index(text.len())]) {
            prop_assert_ne!(parts(&back), parts(&envelope)); // the end of a key can be missing, and nothing else
            prop_assert_eq!((back.id(), back.expiry), (envelope.id(), envelope.expiry));
        }
    }

    #[test]
    fn noise_is_no_envelope_or_a_sound_one(text in noise()) {
        match Envelope::from_text(&text) {
            Err(error) => prop_assert!(error.to_string().starts_with("malformed envelope: "), "{}", error),
            Ok(envelope) => {
                prop_assert!(text.len() <= Envelope::TEXT_BYTES_MAX);
                let key = envelope.idempotency_key.as_deref();
                prop_assert!(key.is_none_or(|key| Envelope::check_key(key).is_ok()), "{:?}", key);
                let again = Envelope::from_text(&envelope.to_text()).expect("what was read can be written");
                prop_assert_eq!(parts(&again), parts(&envelope));
                let shown = format!("{envelope:?}");
                prop_assert!(!shown.is_empty());
                envelope.expiry.map(|expiry| expiry.is_stale());
            }
        }
    }

    #[test]
    fn a_key_that_may_travel_comes_back_and_no_other_is_accepted(key in "[ -~é\\t\\n]{0,260}|-|.{0,20}") {
        let mut envelope = Envelope::with_id(Uuid::from_u128(1));
        envelope.idempotency_key = Some(key.clone().into());
        let sent = Envelope::from_text(&envelope.to_text()).ok().and_then(|back| back.idempotency_key);
        prop_assert_eq!(sent.as_deref() == Some(&*key), Envelope::check_key(&key).is_ok(), "{:?}", key);
    }

    #[test]
    fn headers_stay_within_their_bounds_and_a_refused_one_changes_nothing(
        there in 0..=Headers::COUNT_MAX,
        bytes_each in prop_oneof![Just(1), 0..300_usize],
        inserts in prop::collection::vec((name(), value()), 1..5),
    ) {
        let mut headers = Headers::default();
        for n in 0..there {
            let _ = headers.insert(&format!("h{n}"), &"v".repeat(bytes_each)); // until they are full
        }
        for (name, value) in inserts {
            let before = headers.clone();
            if headers.insert(&name, &value).is_ok() {
                prop_assert_eq!(headers.get(&name.to_uppercase()), Some(value.trim()));
            } else {
                prop_assert_eq!(&headers, &before);
            }
            let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
            prop_assert!(headers.iter().count() <= Headers::COUNT_MAX && bytes <= Headers::BYTES_MAX);
        }
    }
}

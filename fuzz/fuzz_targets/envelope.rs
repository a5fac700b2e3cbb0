//! The compact text of an envelope, and headers of a sender.
#![no_main]

use convoke_core::{Envelope, Headers};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(envelope) = Envelope::from_text(text) {
        let again = Envelope::from_text(&envelope.to_text()).expect("what was read can be written");
        assert_eq!(again.to_text(), envelope.to_text());
        assert!(envelope.idempotency_key.is_none_or(|key| Envelope::check_key(&key).is_ok()));
    }
    let mut headers = Headers::default();
    for line in text.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if headers.insert(name, value).is_ok() {
            assert_eq!(headers.get(name), Some(value.trim()));
        }
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(headers.iter().count() <= Headers::COUNT_MAX && bytes <= Headers::BYTES_MAX);
    convoke_core::trace::parse(text);
});

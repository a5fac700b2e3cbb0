//! What arrives from NATS: the reply subject in the first line, headers up to an empty line, then the payload.
#![no_main]

use std::str::FromStr;

use async_nats::{HeaderMap, HeaderName, HeaderValue, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|parts: (&str, Vec<u8>)| {
    let (head, payload) = parts;
    let mut lines = head.lines();
    let reply = lines.next().map(Into::into);
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(name), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    let headers = (!headers.is_empty()).then_some(headers);
    let payload = payload.into();
    let message =
        Message { subject: "s".into(), reply, payload, headers, status: None, description: None, length: 0 };
    convoke_nats::__private::read(message);
});

//! Where an event comes from that nothing caused, in the id under which its stream stores it once.
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use convoke_core::Envelope;
use uuid::Uuid;

use crate::names::is_word;

/// Tells our ids from those of other clients, and this form from later ones.
const MARK: &str = "c1";
/// Of an id.
const TEXT_BYTES: usize = 22;

/// `c1<id, 22 characters of base64url>.<node>`. `None` when the envelope has more to say.
///
/// The node is part of what must be different for two events to be stored: nobody else publishes this event, for its
/// id was made where it is published. One that a handler publishes may be published by two nodes, and has a cause.
pub(super) fn write(envelope: &Envelope) -> Option<String> {
    let Envelope { correlation: None, causation: None, expiry: None, idempotency_key: None, .. } = envelope
    else {
        return None;
    };
    let source = envelope.source.as_deref().filter(|source| is_word(source))?;
    let mut text = String::with_capacity(MARK.len() + TEXT_BYTES + 1 + source.len());
    text.push_str(MARK);
    URL_SAFE_NO_PAD.encode_string(envelope.id().as_bytes(), &mut text);
    text.push('.');
    text.push_str(source);
    Some(text)
}

/// `None` for an id that is not one of ours.
pub(super) fn read(text: &str) -> Option<Envelope> {
    let (id, source) = text.strip_prefix(MARK)?.split_at_checked(TEXT_BYTES)?;
    let source = source.strip_prefix('.').filter(|source| is_word(source))?;
    let mut bytes = [0; 16];
    if URL_SAFE_NO_PAD.decode_slice(id, &mut bytes) != Ok(bytes.len()) {
        return None;
    }
    let mut envelope = Envelope::with_id(Uuid::from_bytes(bytes));
    envelope.source = Some(source.into());
    Some(envelope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_comes_back() {
        let mut sent = Envelope::with_id(Uuid::now_v7());
        sent.source = Some("node-1".into());
        let text = write(&sent).expect("there is no more to it");
        assert_eq!(read(&text).expect("it is ours").to_text(), sent.to_text());
    }

    #[test]
    fn an_event_that_has_a_cause_or_no_node_has_more_to_say() {
        let of = |change: fn(&mut Envelope)| {
            let mut envelope = Envelope::with_id(Uuid::now_v7());
            envelope.source = Some("node-1".into());
            change(&mut envelope);
            write(&envelope)
        };
        assert!(of(|_| {}).is_some());
        assert!(of(|envelope| envelope.causation = Some(Uuid::now_v7())).is_none());
        assert!(of(|envelope| envelope.correlation = Some(Uuid::now_v7())).is_none());
        assert!(of(|envelope| envelope.idempotency_key = Some("order-17".into())).is_none());
        assert!(of(|envelope| envelope.source = None).is_none());
        assert!(of(|envelope| envelope.source = Some("two words".into())).is_none());
    }

    #[test]
    fn other_clients_ids_are_not_ours() {
        let id = "AZqWc3-_fGqhN2x1LQvKbw";
        assert!(read(&format!("c1{id}.node-1")).is_some());
        let others = [
            String::new(),
            "c1".to_owned(),
            Uuid::now_v7().to_string(),
            format!("c1{id}"),
            format!("c1{id}."),
            format!("c1{id}.two words"),
            format!("c1{}.node-1", "!".repeat(22)),
            format!("c2{id}.node-1"),
            format!("c1{}é.node-1", &id[1..]),
        ];
        for text in others {
            assert!(read(&text).is_none(), "{text:?}");
        }
    }
}

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use convoke_core::{Envelope, Expiry};
use uuid::Uuid;

/// Tells our tokens from those of other clients, and this form from later ones.
const MARK: &str = "c1";
/// Id (16), wall clock of the deadline (6), time left (4), number of the call (4).
const BYTES: usize = 30;
const TEXT_BYTES: usize = MARK.len() + BYTES / 3 * 4;

/// The last token of a reply subject: finds the waiting call, and carries the envelope of a plain request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    id: Uuid,
    expiry: Option<Expiry>,
    /// The call that waits. An id can be sent more than once, this number is not used twice at a time.
    pub(crate) call: u32,
}

impl Token {
    pub(crate) fn of(envelope: &Envelope, call: u32) -> Self {
        Self { id: envelope.id(), expiry: envelope.expiry, call }
    }
    /// The token of a call that is no request: to JetStream.
    pub(crate) fn bare(call: u32) -> Self {
        Self { id: Uuid::nil(), expiry: None, call }
    }

    pub(crate) fn envelope(self) -> Envelope {
        let mut envelope = Envelope::with_id(self.id);
        envelope.expiry = self.expiry;
        envelope
    }

    /// `None` for a token that is not ours.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(MARK)?;
        let mut bytes = [0; BYTES];
        if encoded.len() != TEXT_BYTES - MARK.len()
            || URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes) != Ok(BYTES)
        {
            return None;
        }
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (at, rest) = rest.split_first_chunk::<6>()?;
        let (left, call) = rest.split_first_chunk::<4>()?;
        let mut at_bytes = [0; 8];
        at_bytes[2..].copy_from_slice(at);
        let at_unix_ms = u64::from_be_bytes(at_bytes);
        let remaining = Duration::from_millis(u32::from_be_bytes(*left).into());
        let expiry = (at_unix_ms != 0).then_some(Expiry { remaining, at_unix_ms });
        Some(Self { id: Uuid::from_bytes(*id), expiry, call: u32::from_be_bytes(call.try_into().ok()?) })
    }

    fn bytes(&self) -> [u8; BYTES] {
        let (remaining, at) = self.expiry.map_or((0, 0), |expiry| {
            (u32::try_from(expiry.remaining.as_millis()).unwrap_or(u32::MAX), expiry.at_unix_ms)
        });
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(self.id.as_bytes());
        bytes[16..22].copy_from_slice(&at.to_be_bytes()[2..]);
        bytes[22..26].copy_from_slice(&remaining.to_be_bytes());
        bytes[26..].copy_from_slice(&self.call.to_be_bytes());
        bytes
    }

    /// A reply subject: the prefix with its dot, then the token.
    pub(crate) fn subject(&self, prefix: &str) -> String {
        let mut subject = String::with_capacity(prefix.len() + TEXT_BYTES);
        subject.push_str(prefix);
        subject.push_str(MARK);
        URL_SAFE_NO_PAD.encode_string(self.bytes(), &mut subject);
        subject
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back() {
        let mut envelope = Envelope::with_id(Uuid::now_v7());
        for expiry in [None, Some(Expiry::after(Duration::from_millis(1500)))] {
            envelope.expiry = expiry;
            let token = Token::of(&envelope, u32::MAX);
            assert_eq!(Token::read(&token.to_string()), Some(token));
            assert_eq!(token.envelope().expiry, expiry);
        }
    }

    #[test]
    fn other_clients_tokens_are_not_ours() {
        for text in ["", "c1", "NpqVoRZxqjdcwlgLbuHPL8", &"c1".repeat(21), &format!("c1{}", "!".repeat(40))] {
            // 42 characters of base64 behind our mark would be one of ours: nobody else writes those
            let ours = text.len() == TEXT_BYTES && text.bytes().all(|b| b.is_ascii_alphanumeric());
            assert_eq!(Token::read(text).is_some(), ours, "{text:?}");
        }
    }
}

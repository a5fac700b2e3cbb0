//! What a signature covers, and its form in a header: `1 <node> <unix ms> <nonce> <body digest> <mac>`.

use std::time::{SystemTime, UNIX_EPOCH};

use convoke_core::Expiry;
use http::HeaderValue;
use ring::{
    digest::{SHA256, digest},
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use super::ForwardKey;

/// The header of a request and of its answer.
pub(super) const HEADER: &str = "convoke-forward";
const VERSION: &str = "1";
const NONCE_BYTES: usize = 16;
/// The longest header that is read: a node's id has at most 64 characters.
const TEXT_BYTES_MAX: usize = 320;

/// Used once.
pub(super) type Nonce = [u8; NONCE_BYTES];

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is none, or not in this form.
    Malformed,
    /// It was made with another secret, or for another request.
    Forged,
    /// It was made too long ago, or a clock is wrong.
    Stale,
    /// It is good, and for another node.
    Misdirected(Nonce),
}

/// A request as it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) nonce: Nonce,
    digest: [u8; 32],
}

impl Signed {
    /// Whether this is the body that was signed.
    pub(super) fn covers(&self, body: &[u8]) -> bool {
        self.digest == digest_of(body) // not a secret
    }
}

impl ForwardKey {
    /// Signs a request of this name and body for a node.
    pub(super) fn sign(&self, node: &str, name: &str, body: &[u8]) -> Option<(HeaderValue, Nonce)> {
        let mut nonce = Nonce::default();
        SystemRandom::new().fill(&mut nonce).ok()?;
        let signed = format!("{VERSION} {node} {} {} {}", unix_ms(), hex(&nonce), hex(&digest_of(body)));
        let mac = hmac::sign(&self.0, covered(name, &signed).as_bytes());
        HeaderValue::try_from(format!("{signed} {}", hex(mac.as_ref()))).ok().map(|header| (header, nonce))
    }

    /// Checks a request that arrived at a node, before its body is read.
    pub(super) fn check(
        &self,
        header: Option<&HeaderValue>,
        node: &str,
        name: &str,
    ) -> Result<Signed, Refused> {
        let text = header.and_then(|header| header.to_str().ok()).ok_or(Refused::Malformed)?;
        let (signed, mac) = text.rsplit_once(' ').ok_or(Refused::Malformed)?;
        let [VERSION, meant, at, nonce, digest] = signed.split(' ').collect::<Vec<_>>()[..] else {
            return Err(Refused::Malformed);
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(Refused::Malformed);
        }
        let mac: [u8; 32] = unhex(mac).ok_or(Refused::Malformed)?;
        hmac::verify(&self.0, covered(name, signed).as_bytes(), &mac).map_err(|_| Refused::Forged)?; // constant time
        let at: u64 = at.parse().map_err(|_| Refused::Malformed)?;
        if u128::from(unix_ms().abs_diff(at)) > Expiry::CLOCK_SKEW_MAX.as_millis() {
            return Err(Refused::Stale);
        }
        let (nonce, digest) =
            (unhex(nonce).ok_or(Refused::Malformed)?, unhex(digest).ok_or(Refused::Malformed)?);
        if meant != node {
            return Err(Refused::Misdirected(nonce));
        }
        Ok(Signed { nonce, digest })
    }

    /// Signs the answer to the request of this nonce.
    pub(super) fn sign_answer(&self, nonce: &Nonce, body: &[u8]) -> HeaderValue {
        let mac = hmac::sign(&self.0, answer_covered(nonce, body).as_bytes());
        HeaderValue::try_from(hex(mac.as_ref())).expect("hexadecimal digits are visible ASCII")
    }

    pub(super) fn checks_answer(&self, header: Option<&HeaderValue>, nonce: &Nonce, body: &[u8]) -> bool {
        let mac: Option<[u8; 32]> = header.and_then(|header| unhex(header.to_str().ok()?));
        mac.is_some_and(|mac| hmac::verify(&self.0, answer_covered(nonce, body).as_bytes(), &mac).is_ok())
    }
}

/// The two begin differently, so that neither is taken for the other.
fn covered(name: &str, signed: &str) -> String {
    format!("convoke request {name} {signed}")
}

fn answer_covered(nonce: &Nonce, body: &[u8]) -> String {
    format!("convoke answer {} {}", hex(nonce), hex(&digest_of(body)))
}

fn digest_of(body: &[u8]) -> [u8; 32] {
    digest(&SHA256, body).as_ref().try_into().expect("a SHA-256 digest has this length")
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> ForwardKey {
        ForwardKey::new(secret).expect("long enough")
    }

    fn signed() -> (ForwardKey, HeaderValue, Nonce) {
        let key = key("0123456789abcdef");
        let (header, nonce) = key.sign("n2", "orders.ship.v1", b"body").expect("there are random numbers");
        (key, header, nonce)
    }

    #[test]
    fn a_signature_covers_the_node_the_name_the_time_and_the_body() {
        let (key, header, nonce) = signed();
        let good = key.check(Some(&header), "n2", "orders.ship.v1").expect("its own signature");
        assert!(good.nonce == nonce && good.covers(b"body") && !good.covers(b"another"));
        assert_eq!(key.check(Some(&header), "n3", "orders.ship.v1"), Err(Refused::Misdirected(nonce)));
        assert_eq!(key.check(Some(&header), "n2", "orders.pay.v1"), Err(Refused::Forged));
        let text = header.to_str().expect("ASCII");
        let mut parts: Vec<_> = text.split(' ').map(str::to_owned).collect();
        for (part, other) in [(1, "n3"), (2, "1"), (3, &*"0".repeat(32)), (4, &*"0".repeat(64))] {
            let kept = std::mem::replace(&mut parts[part], other.to_owned());
            let changed = HeaderValue::try_from(parts.join(" ")).expect("ASCII");
            assert_eq!(key.check(Some(&changed), "n2", "orders.ship.v1"), Err(Refused::Forged), "{part}");
            parts[part] = kept;
        }
    }

    #[test]
    fn another_secret_and_what_is_no_signature_are_refused() {
        let (_, header, _) = signed();
        let other = key("0123456789abcdeX");
        assert_eq!(other.check(Some(&header), "n2", "orders.ship.v1"), Err(Refused::Forged));
        for text in ["", "1", "1 n2 1 1 1 1", "2 n2 1 00 00 00", &"x ".repeat(6), &"1 ".repeat(400)] {
            let header = HeaderValue::try_from(text.trim_end()).expect("ASCII");
            assert_eq!(other.check(Some(&header), "n2", "a"), Err(Refused::Malformed), "{text:?}");
        }
        assert_eq!(other.check(None, "n2", "a"), Err(Refused::Malformed));
        assert!(ForwardKey::new("too short").is_err());
        assert_eq!(format!("{other:?}"), "ForwardKey");
    }

    #[test]
    fn what_was_signed_long_ago_is_stale() {
        let (key, _, nonce) = signed();
        let signed = format!("{VERSION} n2 1000 {} {}", hex(&nonce), hex(&digest_of(b"")));
        let mac = hmac::sign(&key.0, covered("a", &signed).as_bytes());
        let header = HeaderValue::try_from(format!("{signed} {}", hex(mac.as_ref()))).expect("ASCII");
        assert_eq!(key.check(Some(&header), "n2", "a"), Err(Refused::Stale));
    }

    #[test]
    fn an_answer_belongs_to_its_request() {
        let (key, _, nonce) = signed();
        let header = key.sign_answer(&nonce, b"yes");
        assert!(key.checks_answer(Some(&header), &nonce, b"yes"));
        assert!(!key.checks_answer(Some(&header), &nonce, b"no"));
        assert!(!key.checks_answer(Some(&header), &Nonce::default(), b"yes"));
        assert!(!key.checks_answer(None, &nonce, b"yes"));
    }
}

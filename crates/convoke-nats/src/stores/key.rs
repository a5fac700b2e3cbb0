//! Names in a bucket: letters, digits, `-`, `_`, `/`, `=`, and single dots inside.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use convoke_core::{ClaimKey, StoreError};

/// Longest name. The server reads a subject and what comes with it into 4096 bytes.
const NAME_BYTES_MAX: usize = 2048;
/// Longest idempotency key.
const KEY_BYTES_MAX: usize = 255;

/// Where a claim is. No two claims share a name: the key has no dot once it is encoded, so the last dot ends the scope.
pub(super) fn claim(key: &ClaimKey) -> Result<String, StoreError> {
    if !(1..=KEY_BYTES_MAX).contains(&key.key.len()) || !key.key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(StoreError::refused("an idempotency key has 1 to 255 visible ASCII characters"));
    }
    let mut name = mark(&key.scope)?;
    name.push('.');
    URL_SAFE_NO_PAD.encode_string(&key.key, &mut name);
    checked(name)
}

/// Where a mark is. What a name cannot have is written as `=` and two hexadecimal digits.
pub(super) fn mark(scope: &str) -> Result<String, StoreError> {
    let mut name = String::with_capacity(scope.len() + 8);
    let bytes = scope.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b':' => name.push('/'),
            b'-' | b'_' => name.push(byte.into()),
            // a dot that would leave an empty word is escaped
            b'.' if at > 0 && at + 1 < bytes.len() && bytes[at - 1] != b'.' => name.push('.'),
            _ if byte.is_ascii_alphanumeric() => name.push(byte.into()),
            _ => name.push_str(&format!("={byte:02X}")),
        }
    }
    checked(name)
}

fn checked(name: String) -> Result<String, StoreError> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(name);
    }
    Err(StoreError::refused(format!("a scope and key have 1 to {NAME_BYTES_MAX} characters in NATS")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn name(scope: &str, key: &str) -> String {
        claim(&ClaimKey { scope: scope.into(), key: key.into() }).expect("a name")
    }

    #[test]
    fn names_stay_as_they_are() {
        // what is stored today must be found by every later version
        assert_eq!(name("convoke:orders.place.v1", "k-1"), "convoke/orders.place.v1.ay0x");
        assert_eq!(mark("convoke:orders:n1").expect("a name"), "convoke/orders/n1");
    }

    #[test]
    fn names_are_apart_and_the_server_takes_them() {
        let parts = [
            "a", "A", ".", "..", "a.b", ".a", "a.", "a..b", "a:b", "a/b", "=2E", "a=", "*", ">", "a-b", "a_b",
        ];
        let mut seen = HashSet::new();
        for scope in parts {
            assert!(seen.insert(mark(scope).expect("a name")), "{scope}");
        }
        for scope in parts {
            for key in parts {
                let name = name(scope, key);
                let fits = |c: char| c.is_ascii_alphanumeric() || "-/_=.".contains(c);
                assert!(name.chars().all(fits) && !name.split('.').any(str::is_empty), "{name}");
                assert!(seen.insert(name), "{scope} {key}");
            }
        }
    }

    #[test]
    fn names_and_keys_have_a_limit() {
        assert!(claim(&ClaimKey { scope: "s".into(), key: "k".repeat(KEY_BYTES_MAX) }).is_ok());
        for key in [String::new(), "k".repeat(KEY_BYTES_MAX + 1), "a b".into(), "ä".into()] {
            assert!(claim(&ClaimKey { scope: "s".into(), key }).is_err());
        }
        for scope in [String::new(), "s".repeat(NAME_BYTES_MAX + 1)] {
            assert!(mark(&scope).is_err());
        }
    }
}

//! Durations in configuration files: `"250ms"`, `"30s"`, `"2m"`, `"1h"`, `"7d"`, or a number of seconds.
//!
//! ```
//! # use std::time::Duration;
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     #[serde(with = "convoke_core::duration")]
//!     timeout: Duration,
//! }
//! let config: Config = serde_json::from_str(r#"{ "timeout": "250ms" }"#)?;
//! assert_eq!(config.timeout, Duration::from_millis(250));
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::{fmt, time::Duration};

use serde::{Deserializer, de};

/// Reads one. For `#[serde(with = "convoke_core::duration")]` on types that are only read.
///
/// # Errors
/// What was found instead, and what a duration looks like.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Visitor)
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"250ms\", \"30s\", \"2m\", \"1h\" or \"7d\", or a number of seconds")
    }
    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
        Ok(Duration::from_secs(seconds))
    }
    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
        let invalid = || E::invalid_value(de::Unexpected::Signed(seconds), &self);
        u64::try_from(seconds).map(Duration::from_secs).map_err(|_| invalid())
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// Reads one from a command line, say. `None`: it is none.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let millis_each = match text[digits..].trim() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis_each).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        for (text, millis) in
            [("250ms", 250), ("30s", 30_000), ("5", 5000), ("2 m", 120_000), ("7d", 604_800_000)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text:?}");
        }
        for text in ["", "s", "-1s", "1.5s", "5 years", "99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}

//! Durations in configuration files: `"250ms"`, `"1s"`, `"5m"`, `"24h"`, `"7d"`, or a number of seconds.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Seconds(u64),
    Text(String),
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let wrong = |what: &str| {
        de::Error::custom(format!(
            "{what} is not a duration such as \"250ms\", \"1s\", \"5m\", \"24h\" or \"7d\", or a number of seconds"
        ))
    };
    match Written::deserialize(deserializer).map_err(|_| wrong("this"))? {
        Written::Seconds(seconds) => Ok(Duration::from_secs(seconds)),
        Written::Text(text) => parse(&text).ok_or_else(|| wrong(&format!("{text:?}"))),
    }
}

fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let unit_ms = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(unit_ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_counts_seconds() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, I64Deserializer};

        let read = |number: i64| {
            deserialize(IntoDeserializer::<Error>::into_deserializer(number) as I64Deserializer<_>)
        };
        assert_eq!(read(2), Ok(Duration::from_secs(2)));
        assert!(read(-2).is_err());
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, ms) in [
            ("250ms", 250),
            ("1s", 1_000),
            ("2", 2_000),
            ("5 m", 300_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "1.5s", "-1s", "1w", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

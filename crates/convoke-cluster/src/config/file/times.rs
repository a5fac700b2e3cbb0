use std::{fmt, time::Duration};

use convoke_core::duration;
use serde::{Deserialize, Deserializer, de};

/// Between which times a node stands for election. One time alone is the shorter one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Election {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

/// A duration as everywhere, or as `hours:minutes:seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time(Duration);

pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Some(Time::deserialize(deserializer)?.0))
}

impl<'de> Deserialize<'de> for Election {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Between {
            min: Time,
            max: Time,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a duration such as \"250ms\", or `{ min = \"250ms\", max = \"400ms\" }`"
        )]
        enum Either {
            Between(Between),
            From(Time),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Between(Between { min, max }) => Self { from: min.0, to: max.0 },
            // As far apart as by default: members that wait equally long stand against each other.
            Either::From(Time(from)) => Self { from, to: from * 8 / 5 },
        })
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"250ms\", \"5s\" or \"00:00:00.250\"")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Time, E> {
        Ok(Time(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Time, E> {
        let invalid = || E::invalid_value(de::Unexpected::Signed(seconds), &self);
        u64::try_from(seconds).map(|seconds| Time(Duration::from_secs(seconds))).map_err(|_| invalid())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
        let time = duration::parse(text).or_else(|| of_clock(text));
        time.map(Time).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// `hours:minutes:seconds`, with a fraction of the seconds or none.
fn of_clock(text: &str) -> Option<Duration> {
    let mut parts = text.trim().splitn(3, ':');
    let mut number = || parts.next()?.parse::<u32>().ok();
    let (hours, minutes) = (number()?, number()?);
    let seconds: f64 = parts.next()?.parse().ok()?;
    let whole = Duration::from_secs(u64::from(hours) * 3600 + u64::from(minutes) * 60);
    // To the millisecond: a fraction has no exact place among floating-point numbers.
    let millis = Duration::try_from_secs_f64(seconds).ok()?.as_secs_f64() * 1000.0;
    let rounded = Duration::try_from_secs_f64((millis.round()) / 1000.0).ok()?;
    Some(
        whole
            + Duration::from_millis(
                u64::try_from((rounded + Duration::from_nanos(500_000)).as_millis()).ok()?,
            ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_clock_are_durations_too() {
        let clock =
            [("00:00:00.150", 150), ("00:00:00.050", 50), ("00:00:30", 30_000), ("1:02:03", 3_723_000)];
        for (text, millis) in clock {
            assert_eq!(of_clock(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "1:2", "a:b:c", "0:0:-1", "0:0:inf", "0:0:NaN", "1:2:3:4"] {
            assert_eq!(of_clock(text), None, "{text}");
        }
    }
}

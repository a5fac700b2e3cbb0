//! Amounts of money: exact decimals, from the caller's text to the answer's.
use std::{fmt, iter::Sum, str::FromStr};

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::RawValue;

/// An amount of money.
///
/// In JSON it is a number with its decimals as they are written, such as `999.99`; a string is read as well. It
/// never becomes a binary float. In MessagePack, which has no decimals, it is a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Money(Decimal);

/// The decimals of the smallest coin.
const DECIMALS: u32 = 2;
/// Longest text that is read as an amount; no sensible one is longer.
const TEXT_BYTES_MAX: usize = 40;

impl Money {
    /// `quantity` times this. `None` when the product is too large to be written down.
    pub fn times(self, quantity: i64) -> Option<Self> {
        self.0.checked_mul(Decimal::from(quantity)).map(Self)
    }

    /// The amount.
    pub fn amount(self) -> Decimal {
        self.0
    }

    /// Whether it can be paid in coins.
    pub fn is_payable(self) -> bool {
        self.0.normalize().scale() <= DECIMALS
    }
}

impl From<i64> for Money {
    fn from(whole: i64) -> Self {
        Self(Decimal::from(whole))
    }
}

/// Some text is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount such as 999.99")]
pub struct NotMoney;

impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(NotMoney);
        }
        let scientific = text.contains(['e', 'E']);
        let read = if scientific { Decimal::from_scientific(text) } else { Decimal::from_str_exact(text) };
        read.map(Self).map_err(|_| NotMoney)
    }
}

/// With the decimals of the smallest coin, or more when the amount has more.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.normalize();
        if shown.scale() < DECIMALS {
            shown.rescale(DECIMALS);
        }
        shown.fmt(f)
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        Self(amounts.map(|amount| amount.0).sum())
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        RawValue::from_string(self.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(D::Error::custom);
        }
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Option<&str>) {
        let read = serde_json::from_str::<Money>(json).ok().map(|money| money.to_string());
        assert_eq!(read.as_deref(), expected, "{json}");
    }

    #[test]
    fn numbers_and_strings_are_read_to_the_last_digit() {
        check("999.99", Some("999.99"));
        check("\"999.99\"", Some("999.99"));
        check("0.1", Some("0.10"));
        check("10", Some("10.00"));
        check("1e3", Some("1000.00"));
        check("-0.05", Some("-0.05"));
        check("0.1000000000000000000001", Some("0.1000000000000000000001"));
        check("9007199254740993.01", Some("9007199254740993.01"));
    }

    #[test]
    fn what_is_no_amount_is_refused_and_not_rounded() {
        let digits = format!("0.{}", "1".repeat(39));
        for json in ["null", "true", "\"\"", "\"ten\"", "[1]", "{}", "1e400", "\"NaN\"", &digits] {
            check(json, None);
        }
    }

    #[test]
    fn json_has_a_number_and_messagepack_a_string() {
        let price: Money = "999.9".parse().expect("an amount");
        assert_eq!(serde_json::to_string(&price).expect("json"), "999.90");
        let bytes = rmp_serde::to_vec_named(&price).expect("messagepack");
        assert_eq!(rmp_serde::from_slice::<String>(&bytes).expect("a string"), "999.90");
        assert_eq!(rmp_serde::from_slice::<Money>(&bytes).expect("money"), price);
    }

    #[test]
    fn coins_have_two_decimals() {
        let payable = |text: &str| text.parse::<Money>().expect("an amount").is_payable();
        assert!(payable("0.05") && payable("3") && payable("1.500"));
        assert!(!payable("0.005"));
    }

    #[test]
    fn a_sum_has_no_rounding() {
        let cent: Money = "0.01".parse().expect("an amount");
        let sum: Money = (0..1000).map(|_| cent).sum();
        assert_eq!(sum.to_string(), "10.00");
    }
}

//! What travels: 128 bytes of MessagePack with field names, there and back, equal on all sides.

use bytes::Bytes;
use convoke::{Command, Event, Rejection};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::BoxError;

/// So that each message has 128 bytes.
const TEXT_BYTES: usize = 108;
/// Numbers from here on have five bytes in MessagePack.
const FIRST: u32 = 1 << 20;

/// Asks for the same again.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "bench.echo.v1", reply = Echoed, error = Rejection)]
pub(crate) struct Echo {
    pub(crate) number: u32,
    text: String,
}

/// The same again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Echoed {
    pub(crate) number: u32,
    text: String,
}

/// Something happened.
#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "bench.happened.v1")]
pub(crate) struct Happened {
    pub(crate) number: u32,
    text: String,
}

fn text() -> String {
    "x".repeat(TEXT_BYTES)
}

impl Echo {
    pub(crate) fn new(number: u32) -> Self {
        Self { number: FIRST | number, text: text() }
    }

    /// What every responder does.
    pub(crate) fn answer(self) -> Echoed {
        Echoed { number: self.number, text: self.text }
    }
}

impl Happened {
    pub(crate) fn new(number: u32) -> Self {
        Self { number: FIRST | number, text: text() }
    }
}

/// As Convoke writes it: with field names.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, BoxError> {
    Ok(rmp_serde::to_vec_named(value)?.into())
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BoxError> {
    Ok(rmp_serde::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_128_bytes_on_the_wire() {
        for number in [0, 1, 70_000, u32::MAX] {
            assert_eq!(encode(&Echo::new(number)).expect("encodes").len(), 128);
            assert_eq!(encode(&Echo::new(number).answer()).expect("encodes").len(), 128);
            assert_eq!(encode(&Happened::new(number)).expect("encodes").len(), 128);
        }
    }
}

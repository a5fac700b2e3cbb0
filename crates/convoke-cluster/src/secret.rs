use std::{fmt, sync::Arc};

use serde::Deserialize;

/// What all members of a cluster know and nobody else does.
///
/// Never sent: each side of a new connection signs what the other one made up. It says who may connect; what then
/// travels is not encrypted, and whoever can change the packets of others can change it. Where that matters, use
/// [`PeerTls`](crate::PeerTls), with or without a secret.
///
/// ```
/// let secret = convoke_cluster::Secret::new("0123456789abcdef").expect("it is long enough");
/// assert!(!format!("{secret:?}").contains("0123"));
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(Arc<[u8]>);

/// A secret that could be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cluster's secret has {bytes} bytes, at least {} are needed", Secret::BYTES_MIN)]
pub struct ShortSecret {
    bytes: usize,
}

impl Secret {
    /// The fewest bytes of a secret.
    pub const BYTES_MIN: usize = 16;

    /// A secret of these bytes.
    ///
    /// # Errors
    /// When there are fewer than [`BYTES_MIN`](Self::BYTES_MIN).
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, ShortSecret> {
        let bytes = bytes.as_ref();
        if bytes.len() < Self::BYTES_MIN {
            Err(ShortSecret { bytes: bytes.len() })
        } else {
            Ok(Self(bytes.into()))
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for Secret {
    type Error = ShortSecret;

    fn try_from(text: String) -> Result<Self, ShortSecret> {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_secret_is_refused_and_a_secret_is_never_printed() {
        let error = Secret::new("fifteen bytes..").expect_err("one byte is missing");
        assert_eq!(error.to_string(), "a cluster's secret has 15 bytes, at least 16 are needed");
        let secret: Secret = serde_json_free("a secret of some length");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
    }

    fn serde_json_free(text: &str) -> Secret {
        use serde::de::{IntoDeserializer, value::Error};
        let text: serde::de::value::StringDeserializer<Error> = text.to_owned().into_deserializer();
        Secret::deserialize(text).expect("it is long enough")
    }
}

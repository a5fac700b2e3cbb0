//! Requests to JetStream's own API, through our inbox.

use std::{fmt, time::Duration};

use bytes::Bytes;
use convoke_core::{TransportError, TransportErrorKind};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;

use crate::inbox::Inbox;

/// Longest answer of the API.
const API_TIMEOUT: Duration = Duration::from_secs(5);

/// JetStream refused, or was not reached.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// It answered with an error.
    Answer(Answer),
    /// It did not answer.
    Transport(TransportError),
}

/// An error as JetStream writes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

pub(crate) const NOT_ENABLED: u32 = 10076;
pub(crate) const NOT_ENABLED_FOR_ACCOUNT: u32 = 10039;
pub(crate) const CONSUMER_NOT_FOUND: u32 = 10014;
pub(crate) const STREAM_NOT_FOUND: u32 = 10059;
pub(crate) const FILTERS_OVERLAP: u32 = 10100;
/// Storage, memory, the account's limits, or other resources are used up.
pub(crate) const NO_ROOM: [u32; 4] = [10047, 10028, 10002, 10023];
pub(crate) const NOT_STORED: u32 = 10077;
/// There is none of this number, or it was deleted.
pub(crate) const NO_SUCH_MESSAGE: [u32; 3] = [10037, 10043, 10057];
/// Several copies at a server that stands alone.
pub(crate) const NOT_CLUSTERED: u32 = 10074;
pub(crate) const MESSAGE_TOO_LARGE: u32 = 10054;

impl ApiError {
    pub(crate) fn err_code(&self) -> u32 {
        if let Self::Answer(answer) = self { answer.err_code } else { 0 }
    }
    /// Nobody listens: there is no JetStream, or it is not ready.
    pub(crate) fn is_no_api(&self) -> bool {
        matches!(self, Self::Transport(error) if error.kind() == TransportErrorKind::NoHandler)
    }
    /// Whether asking again later may help.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Answer(answer) => answer.code >= 500 && answer.err_code != NOT_ENABLED,
            Self::Transport(_) => true,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => write!(f, "{} ({})", answer.description, answer.err_code),
            Self::Transport(error) => error.fmt(f),
        }
    }
}

impl Inbox {
    /// Asks the API, for example `STREAM.INFO.ORDERS`.
    pub(crate) async fn api<T: DeserializeOwned>(&self, verb: &str, body: &Value) -> Result<T, ApiError> {
        let payload = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let deadline = Instant::now() + API_TIMEOUT;
        let message = self
            .request(format!("$JS.API.{verb}"), None, payload, None, deadline)
            .await
            .map_err(ApiError::Transport)?;
        read(&message.payload)
    }
}

/// The answer, or the error in it.
pub(crate) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ApiError> {
    #[derive(Deserialize)]
    struct MaybeError {
        error: Option<Answer>,
    }
    let unreadable = |err: serde_json::Error| {
        ApiError::Transport(TransportError::new(TransportErrorKind::Unavailable, err))
    };
    if let Some(error) = serde_json::from_slice::<MaybeError>(payload).map_err(unreadable)?.error {
        return Err(ApiError::Answer(error));
    }
    serde_json::from_slice(payload).map_err(unreadable)
}

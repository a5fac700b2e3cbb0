//! Small records that several nodes write, each only over what it has read.

use std::{sync::Arc, time::Duration};

use async_nats::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use convoke_core::TransportErrorKind;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Error,
    api::{self, ApiError},
    inbox::Inbox,
    wire,
};

/// How long a record may take to be stored.
const STORED_MAX: Duration = Duration::from_secs(2);
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const WRONG_LAST_SEQUENCE: [u32; 2] = [10071, 10164];
const MESSAGE_NOT_FOUND: u32 = 10037;

/// The records of a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    inbox: Arc<Inbox>,
    bucket: String,
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) revision: u64,
    pub(crate) content: Vec<u8>,
}

impl Records {
    pub(crate) fn new(inbox: Arc<Inbox>, bucket: String) -> Self {
        Self { inbox, bucket }
    }

    /// The latest record of a subject, as the stream's leader has it.
    pub(crate) async fn latest(&self, subject: &str) -> Result<Option<Record>, Error> {
        #[derive(Deserialize)]
        struct Got {
            message: Message,
        }
        #[derive(Deserialize)]
        struct Message {
            seq: u64,
            #[serde(default)]
            data: String,
        }
        let verb = format!("STREAM.MSG.GET.KV_{}", self.bucket);
        match self.inbox.api::<Got>(&verb, &json!({ "last_by_subj": subject })).await {
            Ok(Got { message }) => {
                let content = STANDARD.decode(&message.data).map_err(Error::unavailable)?;
                Ok(Some(Record { revision: message.seq, content }))
            }
            Err(error) if error.err_code() == MESSAGE_NOT_FOUND => Ok(None),
            Err(error) => Err(Error::unavailable(error.to_string())),
        }
    }

    /// Writes over the record of this revision, 0 for none. `false`: there is another one by now, perhaps ours, whose
    /// confirmation was lost.
    pub(crate) async fn write(&self, subject: String, over: u64, content: Bytes) -> Result<bool, Error> {
        let mut headers = HeaderMap::new();
        wire::insert(&mut headers, EXPECTED, &over.to_string());
        let deadline = Instant::now() + STORED_MAX;
        let answer = match self.inbox.request(subject, Some(headers), content, None, deadline).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == TransportErrorKind::TimedOut => return Ok(false),
            Err(error) => return Err(Error::unavailable(error)),
        };
        match api::read::<serde_json::Value>(&answer.payload) {
            Ok(_) => Ok(true),
            Err(ApiError::Answer(answer)) if WRONG_LAST_SEQUENCE.contains(&answer.err_code) => Ok(false),
            Err(error) => Err(Error::unavailable(error.to_string())),
        }
    }
}

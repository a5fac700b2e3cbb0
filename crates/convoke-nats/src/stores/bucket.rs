//! One key-value bucket, through publishes and requests of our own.
//!
//! Not through the client's `kv`: its `create_with_ttl` loses the time to live over a delete marker, its `update` has
//! none, and its reads may be answered by a server that is behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{HeaderMap, datetime::parse_rfc3339};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use convoke_core::{StoreError, StoreErrorKind, TransportErrorKind};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    ErrorKind,
    api::{self, ApiError},
    declare,
    inbox::Inbox,
    jitter,
    link::Link,
    vitals, wire,
};

/// How long the server may take to answer before the same is sent again.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);
/// Pause after an answer that it cannot be done now; shortened at random.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest time to live that is asked for: a hundred years.
const TTL_SECONDS_MAX: u64 = 100 * 365 * 24 * 60 * 60;

const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const TTL: &str = "Nats-TTL";

const WRONG_LAST_SEQUENCE: [u32; 2] = [10071, 10164];
const MESSAGE_NOT_FOUND: u32 = 10037;
const TOO_MANY_REQUESTS: u16 = 429;

/// What all buckets of a node share.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) link: Arc<Link>,
    pub(super) inbox: Arc<Inbox>,
    /// Bounds the writes that are not confirmed.
    pub(super) window: Semaphore,
}

/// A bucket that is declared when it is first used.
#[derive(Debug)]
pub(super) struct Bucket {
    access: Arc<Access>,
    wanted: Value,
    stream: String,
    prefix: String,
    /// It was there, as far as we know.
    ready: AtomicBool,
    /// Who declares it; whether that worked once.
    declaring: tokio::sync::Mutex<bool>,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It is stored, with this revision.
    Stored(u64),
    /// The latest revision is not the expected one.
    Changed,
}

/// The latest revision of a name.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) revision: u64,
    /// In nanoseconds of the server's clock.
    pub(super) at: i64,
    /// Empty when it expired or was deleted: what we write never is.
    pub(super) data: Bytes,
}

/// Why an answer is none.
enum Refusal {
    Answer(api::Answer),
    Failed(StoreError),
}

impl Bucket {
    pub(super) fn new(access: &Arc<Access>, wanted: Value) -> Self {
        let stream = wanted["name"].as_str().unwrap_or_default().to_owned();
        let prefix = format!("$KV.{}.", stream.trim_start_matches("KV_"));
        let declaring = tokio::sync::Mutex::default();
        Self { access: Arc::clone(access), wanted, stream, prefix, ready: AtomicBool::new(false), declaring }
    }

    /// The stream below it.
    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    /// Where changes of a name are heard.
    pub(super) fn subject(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Stores `data` if the latest revision is `expected`; 0: if there is none.
    ///
    /// It may be sent several times: who finds that it changed looks whether that was its own write.
    pub(super) async fn put(
        &self,
        name: &str,
        data: Bytes,
        expected: u64,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Result<Put, StoreError> {
        #[derive(Deserialize)]
        struct Ack {
            seq: u64,
        }
        let full = || StoreError::unavailable("too many writes are not confirmed yet");
        let _permit = match timeout_at(deadline, self.access.window.acquire()).await {
            Ok(permit) => permit.map_err(|_| full())?,
            Err(_) => return Err(full()),
        };
        let mut headers = HeaderMap::new();
        wire::insert(&mut headers, EXPECTED, &expected.to_string());
        if let Some(ttl) = ttl {
            wire::insert(&mut headers, TTL, &seconds(ttl).to_string());
        }
        match self.ask::<Ack>(self.subject(name), Some(headers), data, deadline).await {
            Ok(Ack { seq }) => Ok(Put::Stored(seq)),
            Err(Refusal::Answer(answer)) if WRONG_LAST_SEQUENCE.contains(&answer.err_code) => {
                Ok(Put::Changed)
            }
            Err(refusal) => Err(self.failed(refusal)),
        }
    }

    /// The latest revision, as the stream's leader has it.
    pub(super) async fn last(&self, name: &str, deadline: Instant) -> Result<Option<Entry>, StoreError> {
        #[derive(Deserialize)]
        struct Got {
            message: Message,
        }
        #[derive(Deserialize)]
        struct Message {
            seq: u64,
            time: String,
            #[serde(default)]
            data: String,
        }
        let body = json!({ "last_by_subj": self.subject(name) }).to_string().into();
        let message = match self.ask::<Got>(self.verb("MSG.GET"), None, body, deadline).await {
            Ok(got) => got.message,
            Err(Refusal::Answer(answer)) if answer.err_code == MESSAGE_NOT_FOUND => return Ok(None),
            Err(refusal) => return Err(self.failed(refusal)),
        };
        let data = STANDARD.decode(&message.data).map_err(StoreError::refused)?;
        Ok(Some(Entry { revision: message.seq, at: time(&message.time)?, data: data.into() }))
    }

    /// The server's time in nanoseconds: one round trip.
    pub(super) async fn time(&self, deadline: Instant) -> Result<i64, StoreError> {
        #[derive(Deserialize)]
        struct Info {
            ts: String,
        }
        match self.ask::<Info>(self.verb("INFO"), None, Bytes::new(), deadline).await {
            Ok(info) => time(&info.ts),
            Err(refusal) => Err(self.failed(refusal)),
        }
    }

    fn verb(&self, verb: &str) -> String {
        format!("$JS.API.STREAM.{verb}.{}", self.stream)
    }

    /// Asks until there is an answer that stays, or the deadline comes.
    async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<T, Refusal> {
        let mut told = None;
        loop {
            let why = match self.attempt(&subject, headers.clone(), payload.clone(), deadline).await {
                Err(Refusal::Failed(error)) if error.kind() == StoreErrorKind::Unavailable => error,
                settled => return settled,
            };
            let next = Instant::now() + jitter::shortened(PAUSE);
            if next >= deadline {
                // the last attempt may only have been cut short: what was said before tells more
                return Err(Refusal::Failed(told.unwrap_or(why)));
            }
            told = Some(why);
            sleep(next.saturating_duration_since(Instant::now())).await;
        }
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<T, Refusal> {
        let Access { link, inbox, .. } = &*self.access;
        if !link.connected_by(deadline).await {
            return Err(Refusal::Failed(StoreError::unavailable(vitals::unreachable(link))));
        }
        if !self.ready.load(Ordering::Acquire) {
            timeout_at(deadline, self.declare())
                .await
                .unwrap_or_else(|_| Err(StoreError::unavailable("JetStream did not answer in time")))
                .map_err(Refusal::Failed)?;
        }
        let until = deadline.min(Instant::now() + ATTEMPT_MAX);
        let message = inbox.request(subject.to_owned(), headers, payload, None, until).await;
        let message = message.map_err(|error| {
            Refusal::Failed(match error.kind() {
                TransportErrorKind::TooLarge | TransportErrorKind::Refused => StoreError::refused(error),
                TransportErrorKind::NoHandler => {
                    self.ready.store(false, Ordering::Release);
                    StoreError::unavailable(format!("nobody answers for the bucket {}", self.stream))
                }
                _ => StoreError::unavailable(error),
            })
        })?;
        api::read(&message.payload).map_err(|error| match error {
            ApiError::Answer(answer) if answer.err_code == api::STREAM_NOT_FOUND => {
                self.ready.store(false, Ordering::Release);
                Refusal::Failed(self.unavailable(&answer))
            }
            ApiError::Answer(answer) if answer.code >= 500 || answer.code == TOO_MANY_REQUESTS => {
                Refusal::Failed(self.unavailable(&answer))
            }
            ApiError::Answer(answer) => Refusal::Answer(answer),
            ApiError::Transport(error) => Refusal::Failed(StoreError::refused(error)),
        })
    }

    async fn declare(&self) -> Result<(), StoreError> {
        let mut declared = self.declaring.lock().await;
        if self.ready.load(Ordering::Acquire) {
            return Ok(()); // by whom we waited for
        }
        let found = declare::declare(&self.access.inbox, &self.wanted).await.map_err(|error| {
            let permanent = error.kind() != ErrorKind::Unavailable;
            if permanent { StoreError::refused(error) } else { StoreError::unavailable(error) }
        })?;
        match (found.made, *declared) {
            (true, true) => {
                tracing::error!(
                    stream = self.stream,
                    "the bucket was gone and is declared anew: what it held is lost"
                );
            }
            (true, false) => tracing::info!(stream = self.stream, "the bucket was declared"),
            (false, _) => {}
        }
        *declared = true;
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    fn unavailable(&self, answer: &api::Answer) -> StoreError {
        StoreError::unavailable(format!("{}: {} ({})", self.stream, answer.description, answer.err_code))
    }

    fn failed(&self, refusal: Refusal) -> StoreError {
        match refusal {
            Refusal::Failed(error) => error,
            Refusal::Answer(answer) => {
                StoreError::refused(format!("{}: {} ({})", self.stream, answer.description, answer.err_code))
            }
        }
    }
}

/// Whole seconds, rounded up: the server has no shorter ones.
fn seconds(ttl: Duration) -> u64 {
    let up = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    up.clamp(1, TTL_SECONDS_MAX)
}

fn time(text: &str) -> Result<i64, StoreError> {
    let time = parse_rfc3339(text).map_err(StoreError::refused)?;
    i64::try_from(time.unix_timestamp_nanos()).map_err(StoreError::refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{StoresConfig, declaration};

    #[test]
    fn a_time_to_live_is_whole_seconds_and_never_shorter() {
        for (ttl, expected) in [
            (Duration::ZERO, 1),
            (Duration::from_millis(1), 1),
            (Duration::from_secs(5), 5),
            (Duration::from_millis(5001), 6),
            (Duration::MAX, TTL_SECONDS_MAX),
        ] {
            assert_eq!(seconds(ttl), expected, "{ttl:?}");
        }
    }

    #[tokio::test]
    async fn writes_that_are_not_confirmed_have_a_limit() {
        let link = Link::connect(&crate::Config::new("nats://127.0.0.1:1")).await.expect("a link");
        let inbox = Arc::new(Inbox::open(Arc::clone(&link)).await.expect("an inbox"));
        let access = Arc::new(Access { link, inbox, window: Semaphore::new(1) });
        let bucket = Bucket::new(&access, declaration::claims(&StoresConfig::default(), 1));
        let put = async || {
            let deadline = Instant::now() + Duration::from_millis(20);
            let put = bucket.put("k", Bytes::from_static(b"x"), 0, None, deadline).await;
            put.expect_err("nobody is there").to_string()
        };
        let on_its_way = access.window.acquire().await.expect("a place");
        assert!(put().await.contains("not confirmed yet"));
        drop(on_its_way);
        assert!(put().await.contains("cannot be reached"));
        assert_eq!(access.window.available_permits(), 1, "a failed write keeps no place");
    }
}

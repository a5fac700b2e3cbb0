use std::time::Duration;

use convoke_core::StoreError;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::bucket::Bucket;

/// How old a reading may be. A server whose clock is set right meanwhile is noticed after that.
const READING_AGE_MAX: Duration = Duration::from_secs(1);

/// The server's clock, read over the connection.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Locked while it is read: many who ask at once share one answer.
    reading: Mutex<Option<Reading>>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    nanos: i64,
    /// When the answer came. The server's time was read before that, so what we add is too little, never too much.
    at: Instant,
}

impl Clock {
    /// The server's time in nanoseconds, or a little earlier.
    pub(super) async fn now(&self, bucket: &Bucket, deadline: Instant) -> Result<i64, StoreError> {
        let mut reading = timeout_at(deadline, self.reading.lock())
            .await
            .map_err(|_| StoreError::unavailable("the server's time was not told in time"))?;
        let known = match *reading {
            Some(known) if known.at.elapsed() <= READING_AGE_MAX => known,
            _ => {
                let nanos = bucket.time(deadline).await?;
                *reading.insert(Reading { nanos, at: Instant::now() })
            }
        };
        let since = i64::try_from(known.at.elapsed().as_nanos()).unwrap_or(0);
        Ok(known.nanos.saturating_add(since))
    }
}

//! Commands that are stored until a node has handled them.

use std::time::{SystemTime, UNIX_EPOCH};

use async_nats::datetime;
use convoke_core::{ConsumeSpec, Outgoing, Receipt, TransportError, TransportErrorKind};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{Transport, encode, no_name};
use crate::{
    api::{self, ApiError},
    declare::Stream,
    names::Source,
    wire,
};

const SCHEDULE: &str = "Nats-Schedule";
const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";

impl Transport {
    pub(super) async fn store_job(
        &self,
        message: Outgoing,
        due: Option<SystemTime>,
        deadline: Instant,
    ) -> Result<Receipt, TransportError> {
        let (codec, payload) = encode(&message)?;
        let names = self.names()?;
        let at =
            |source| names.stored(source, message.lane, message.name).ok_or_else(|| no_name(message.name));
        let mut headers = wire::headers(&message.envelope, codec);
        let id = message.envelope.id();
        let subject = match due.filter(|due| *due > SystemTime::now()) {
            None => at(Source::Jobs)?,
            Some(due) => {
                wire::insert(&mut headers, SCHEDULE, &format!("@at {}", rfc3339(due)?));
                wire::insert(&mut headers, SCHEDULE_TARGET, &at(Source::Due)?);
                self.has_room_for_another(deadline).await?;
                names.schedule(id)
            }
        };
        self.publisher.publish(&subject, &id.to_string(), headers, payload, deadline).await
    }

    pub(super) async fn cancel_job(&self, id: Uuid, deadline: Instant) -> Result<bool, TransportError> {
        #[derive(Deserialize)]
        struct Purged {
            purged: u64,
        }
        let names = self.names()?;
        let verb = format!("STREAM.PURGE.{}", names.stream(Source::Due));
        let body = json!({ "filter": names.schedule(id) });
        let asked = timeout_at(deadline, self.inbox.api::<Purged>(&verb, &body)).await;
        match asked.map_err(|_| TransportErrorKind::TimedOut)? {
            Ok(Purged { purged }) => Ok(purged > 0),
            Err(error) => Err(self.unanswered(error)),
        }
    }

    /// The server has no limit that would refuse a schedule, so we count first.
    async fn has_room_for_another(&self, deadline: Instant) -> Result<(), TransportError> {
        let (jobs, name) = (&self.config.jobs, self.names()?.stream(Source::Due));
        let verb = format!("STREAM.INFO.{name}");
        let asked = timeout_at(deadline, self.inbox.api::<Stream>(&verb, &Value::Null)).await;
        let unavailable = |text: String| TransportError::new(TransportErrorKind::Unavailable, text);
        // nothing was sent that could be stored
        let asked = asked.map_err(|_| unavailable(format!("{name} did not answer in time")))?;
        let state = asked
            .map_err(|error| match self.unanswered(error) {
                error if error.kind() == TransportErrorKind::Refused => error,
                error => unavailable(error.to_string()),
            })?
            .state;
        if state.messages >= jobs.scheduled_max || state.bytes >= jobs.stream_bytes_max {
            return Err(unavailable(format!(
                "{} commands wait for their time or for a node, with {} bytes: {name} is full",
                state.messages, state.bytes
            )));
        }
        Ok(())
    }

    fn unanswered(&self, error: ApiError) -> TransportError {
        if error.err_code() == api::STREAM_NOT_FOUND {
            self.vitals.recheck();
            return TransportError::new(TransportErrorKind::Unavailable, "the stream of schedules is gone");
        }
        match error {
            ApiError::Transport(error) if error.kind() == TransportErrorKind::NoHandler => {
                TransportError::new(TransportErrorKind::Unavailable, "JetStream does not answer")
            }
            ApiError::Transport(error) => error,
            answer if answer.is_temporary() => {
                TransportError::new(TransportErrorKind::Unavailable, answer.to_string())
            }
            answer => TransportError::new(TransportErrorKind::Refused, answer.to_string()),
        }
    }
}

/// Two consumers read for one audience, and share its bound; each needs one at least.
pub(super) fn halves(spec: ConsumeSpec) -> [ConsumeSpec; 2] {
    let due = (spec.in_flight_max / 2).max(1);
    let waiting = spec.in_flight_max.saturating_sub(due).max(1);
    [ConsumeSpec { in_flight_max: waiting, ..spec.clone() }, ConsumeSpec { in_flight_max: due, ..spec }]
}

/// The server counts nanoseconds in 64 bits: what is later would be due at once.
fn rfc3339(due: SystemTime) -> Result<String, TransportError> {
    let since = due.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = i64::try_from(since.as_nanos()).map_err(|_| {
        TransportError::new(TransportErrorKind::Refused, "a command can be due until the year 2262")
    })?;
    let at = datetime::from_nanos(nanos.into())
        .map_err(|error| TransportError::new(TransportErrorKind::Refused, error))?;
    Ok(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.nanosecond()
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_written_to_the_nanosecond() {
        let time = UNIX_EPOCH + Duration::new(1_793_367_005, 70_000_001);
        let text = rfc3339(time).expect("a time");
        assert_eq!(text, "2026-10-30T13:30:05.070000001Z");
        let read = datetime::parse_rfc3339(&text).expect("it can be read");
        assert_eq!(read.unix_timestamp_nanos(), 1_793_367_005_070_000_001);
    }

    #[test]
    fn a_time_the_server_cannot_count_is_refused() {
        let late = UNIX_EPOCH + Duration::from_secs(300 * 366 * 24 * 60 * 60);
        assert_eq!(rfc3339(late).expect_err("too late").kind(), TransportErrorKind::Refused);
    }

    #[test]
    fn two_consumers_share_the_bound_and_each_has_a_place() {
        let of = |in_flight_max| {
            let spec = ConsumeSpec { audience: convoke_core::Audience::Jobs, names: vec![], in_flight_max };
            halves(spec).map(|half| half.in_flight_max)
        };
        assert_eq!([of(64), of(7), of(2)], [[32, 32], [4, 3], [1, 1]]);
        assert_eq!([of(1), of(0)], [[1, 1], [1, 1]]);
    }
}

//! Outboxes in Redis: messages that wait for the broker, and those it will never take as they are.

use std::{fmt, pin::pin};

use convoke_core::{StoreError, StoreErrorKind};
use convoke_redis::{OutboxAdmin, OutboxRow, Stores};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    Failure,
    bulk::{Bulk, Done, Trouble},
    cli::{OutboxList, OutboxRetry},
    print::wrapped,
    settings::Settings,
};

/// Most messages that one run lets wait again.
pub const RETRIES_MAX: usize = 100_000;
/// Most of one page.
const PAGE_MAX: usize = 1000;
const WIDTH: usize = 80;

/// The outbox of one service.
#[derive(Debug)]
pub struct Outbox {
    admin: OutboxAdmin,
}

/// Some of the messages, slot by slot.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Page {
    /// How many wait for the broker, in all.
    pub waiting: u64,
    /// How many were put aside, in all.
    pub parked: u64,
    /// Those of this page.
    pub rows: Vec<Shown>,
    /// What `--after` is on the next page. None: there is no next page.
    pub next: Option<String>,
}

/// A message in an outbox.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Shown {
    /// Names it in commands.
    pub place: String,
    /// The id under which it is published.
    pub id: String,
    /// Since when it waits, or was put aside.
    pub since: Timestamp,
    /// The message's wire name. None when the row cannot be read.
    pub name: Option<String>,
    /// The node that staged it.
    pub source: Option<String>,
    /// Bytes of the message.
    pub payload_bytes: Option<usize>,
    /// Why it was put aside. None: it waits.
    pub problem: Option<String>,
}

impl Outbox {
    /// Connects, to the outbox of this service.
    ///
    /// # Errors
    /// When no Redis was named, when it is away, or when it is one we cannot work with.
    pub async fn open(settings: &Settings, service: &str) -> Result<Self, Failure> {
        let config = settings.redis.as_ref().ok_or_else(|| {
            Failure::usage("outboxes are in Redis: give --redis, or REDIS_URL in the environment")
        })?;
        // whether it is good enough is the doctor's matter
        let config = config.clone().profile(convoke_core::Profile::Fast);
        convoke_redis::check(&config).await?; // says whether it is there, where connecting would wait
        let stores = Stores::connect_with(config).await?;
        Ok(Self { admin: stores.outbox(&settings.namespace, service) })
    }

    /// One page of messages that were put aside, or of those that wait.
    ///
    /// # Errors
    /// When Redis does not say, or `--after` is no place.
    pub async fn list(&self, flags: &OutboxList) -> Result<Page, Failure> {
        let (after, limit) = (flags.after.as_deref(), flags.limit);
        let page = if flags.waiting {
            self.admin.waiting(after, limit).await
        } else {
            self.admin.parked(after, limit).await
        };
        let page = page.map_err(failed)?;
        let (waiting, parked) = self.admin.count().await.map_err(failed)?;
        Ok(Page { waiting, parked, rows: page.rows.iter().map(Shown::of).collect(), next: page.next })
    }

    /// Lets messages that were put aside wait for the broker again.
    ///
    /// # Errors
    /// When Redis does not answer. What was done until then is done.
    pub async fn retry(&self, flags: &OutboxRetry) -> Result<Done, Failure> {
        let mut stopped = pin!(tokio::signal::ctrl_c());
        let mut bulk = Bulk::new("put back", flags.dry_run, flags.rate);
        let places = tokio::select! {
            places = self.places(flags) => places?,
            _ = &mut stopped => return Ok(bulk.interrupted()),
        };
        bulk.wants(u64::try_from(places.len()).unwrap_or(u64::MAX));
        if flags.dry_run {
            return Ok(bulk.end());
        }
        for place in places {
            if !bulk.turn(stopped.as_mut()).await {
                return Ok(bulk.interrupted());
            }
            let did = self.admin.retry(&place).await.map_err(|error| match error.kind() {
                StoreErrorKind::Unavailable => Trouble::All(failed(error)),
                _ => Trouble::This(error.to_string()),
            });
            bulk.count(&place, did)?;
        }
        Ok(bulk.end())
    }

    /// Those that were named, or all as they lie there now: what is put aside again meanwhile is not retried again.
    async fn places(&self, flags: &OutboxRetry) -> Result<Vec<String>, Failure> {
        if !flags.places.is_empty() {
            return Ok(flags.places.clone());
        }
        let (mut places, mut after) = (Vec::new(), None);
        while places.len() < RETRIES_MAX {
            let limit = PAGE_MAX.min(RETRIES_MAX - places.len());
            let page = self.admin.parked(after.as_deref(), limit).await.map_err(failed)?;
            places.extend(page.rows.into_iter().map(|row| row.place));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(places)
    }
}

fn failed(error: StoreError) -> Failure {
    match error.kind() {
        StoreErrorKind::Refused => Failure::failed(error.to_string()),
        _ => Failure::failed(format!("Redis does not answer ({error}): look at `convoke doctor`")),
    }
}

impl Shown {
    fn of(row: &OutboxRow) -> Self {
        let info = row.info.as_ref();
        Self {
            place: row.place.clone(),
            id: row.id.to_string(),
            since: Timestamp::try_from(row.since).unwrap_or_default(),
            name: info.map(|info| info.name.clone()),
            source: info.and_then(|info| info.source.clone()),
            payload_bytes: info.map(|info| info.payload_bytes),
            problem: row.problem.clone(),
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.rows {
            let name = one.name.as_deref().unwrap_or("unreadable");
            let since = one.since.strftime("%Y-%m-%dT%H:%M:%SZ");
            writeln!(f, "{}", wrapped(&format!("{}  {since}  {name}", one.place), 4, WIDTH))?;
            let why = one.problem.as_ref().map_or_else(String::new, |problem| format!(": {problem}"));
            let source = one.source.as_ref().map_or_else(String::new, |node| format!(", staged by {node}"));
            writeln!(f, "    {}", wrapped(&format!("{}{source}{why}", one.id), 4, WIDTH))?;
        }
        write!(f, "{} waiting, {} put aside", self.waiting, self.parked)?;
        self.next.as_ref().map_or(Ok(()), |next| write!(f, "; more: add --after {next}"))
    }
}

//! Looking into a service's outbox, for people and their tools.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convoke_core::{Row, RowInfo, StoreError};
use redis::streams::{StreamId, StreamRangeReply};
use redis::{FromRedisValue, Value};
use uuid::Uuid;

use crate::reply::unexpected;
use crate::script::Script;
use crate::slot::Slot;
use crate::stores::Stores;

static RETRY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/outbox_retry.lua")));

/// Most rows of one page.
const PAGE_MAX: usize = 1000;

/// The outbox of one service, to be looked at and mended.
///
/// ```no_run
/// # async fn look(stores: convoke_redis::Stores) -> Result<(), convoke_core::StoreError> {
/// let outbox = stores.outbox("convoke", "orders");
/// let mut after = None;
/// loop {
///     let page = outbox.parked(after.as_deref(), 100).await?;
///     for row in &page.rows {
///         println!("{} {:?}: {:?}", row.place, row.info, row.problem);
///         outbox.retry(&row.place).await?;
///     }
///     let Some(next) = page.next else { break };
///     after = Some(next);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct OutboxAdmin {
    stores: Stores,
    scope: String,
}

/// Some rows, and where to go on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutboxPage {
    /// The rows: slot by slot, oldest first in each.
    pub rows: Vec<OutboxRow>,
    /// The next page's `after`. `None`: this was the last one.
    pub next: Option<String>,
}

/// A message in an outbox.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutboxRow {
    /// Names the row: what [`OutboxAdmin::retry`] takes.
    pub place: String,
    /// The id under which it is published.
    pub id: Uuid,
    /// Since when it waits, or was put aside.
    pub since: SystemTime,
    /// What it holds. `None`: another version wrote it, or it is damaged.
    pub info: Option<RowInfo>,
    /// Why it was put aside. `None`: it waits.
    pub problem: Option<String>,
}

impl Stores {
    /// The outbox of a service in a namespace, to be looked at.
    #[must_use]
    pub fn outbox(&self, namespace: &str, service: &str) -> OutboxAdmin {
        OutboxAdmin { stores: self.clone(), scope: format!("{namespace}:{service}") }
    }
}

/// Which rows.
#[derive(Clone, Copy)]
enum List {
    Waiting,
    Parked,
}

impl OutboxAdmin {
    /// Messages that wait for the broker. `after` is an earlier page's `next`; `limit` is at most 1000.
    ///
    /// # Errors
    ///
    /// When Redis does not answer, or `after` is none of ours.
    pub async fn waiting(&self, after: Option<&str>, limit: usize) -> Result<OutboxPage, StoreError> {
        self.page(List::Waiting, after, limit).await
    }

    /// Messages that were put aside, because the broker will never take them as they are.
    ///
    /// # Errors
    ///
    /// As [`waiting`](Self::waiting).
    pub async fn parked(&self, after: Option<&str>, limit: usize) -> Result<OutboxPage, StoreError> {
        self.page(List::Parked, after, limit).await
    }

    /// How many messages wait, and how many were put aside.
    ///
    /// # Errors
    ///
    /// When Redis does not answer.
    pub async fn count(&self) -> Result<(u64, u64), StoreError> {
        let (mut waiting, mut parked) = (0, 0);
        for slot in 0..self.stores.inner.keys.slots() {
            waiting += self.length(List::Waiting, Slot::new(slot)).await?;
            parked += self.length(List::Parked, Slot::new(slot)).await?;
        }
        Ok((waiting, parked))
    }

    /// Lets a message that was put aside wait again, behind those that wait already. `false`: it is not there.
    ///
    /// # Errors
    ///
    /// When Redis does not answer, or `place` is none of ours.
    pub async fn retry(&self, place: &str) -> Result<bool, StoreError> {
        let (slot, id) = read_place(place)?;
        let keys = self.stores.inner.keys.outbox(&self.scope, slot);
        self.stores.run(&RETRY, &[&keys.rows, &keys.parked], &[id.as_bytes()]).await?.next()
    }

    async fn page(&self, list: List, after: Option<&str>, limit: usize) -> Result<OutboxPage, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let (first, mut behind) = match after {
            None => (Slot::new(0), None),
            Some(after) => read_place(after).map(|(slot, id)| (slot, Some(id)))?,
        };
        let mut rows = Vec::new();
        for slot in first.number()..self.stores.inner.keys.slots() {
            let slot = Slot::new(slot);
            rows.extend(self.range(list, slot, behind.take(), limit - rows.len()).await?);
            if rows.len() == limit {
                let next = rows.last().map(|row| row.place.clone());
                return Ok(OutboxPage { rows, next });
            }
        }
        Ok(OutboxPage { rows, next: None })
    }

    async fn range(
        &self,
        list: List,
        slot: Slot,
        behind: Option<&str>,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let start = behind.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(self.key(list, slot)).arg(start).arg("+").arg("COUNT").arg(limit);
        let found = self.stores.command(&cmd).await?;
        let found =
            StreamRangeReply::from_redis_value(found).map_err(|error| unexpected(error.to_string()))?;
        found.ids.into_iter().map(|entry| row(slot, entry)).collect()
    }

    async fn length(&self, list: List, slot: Slot) -> Result<u64, StoreError> {
        let mut cmd = redis::cmd("XLEN");
        cmd.arg(self.key(list, slot));
        let found = self.stores.command(&cmd).await?;
        u64::from_redis_value(found).map_err(|error| unexpected(error.to_string()))
    }

    fn key(&self, list: List, slot: Slot) -> String {
        let keys = self.stores.inner.keys.outbox(&self.scope, slot);
        match list {
            List::Waiting => keys.rows,
            List::Parked => keys.parked,
        }
    }
}

fn row(slot: Slot, entry: StreamId) -> Result<OutboxRow, StoreError> {
    let StreamId { id: at, map, .. } = entry;
    let id: String = field(&map, "id")?;
    let id = Uuid::try_parse(&id).map_err(|error| unexpected(error.to_string()))?;
    let bytes: Vec<u8> = field(&map, "row")?;
    let problem: Option<Vec<u8>> = map.contains_key("problem").then(|| field(&map, "problem")).transpose()?;
    let millis = at.split('-').next().and_then(|millis| millis.parse().ok()).unwrap_or(0);
    Ok(OutboxRow {
        place: format!("{slot}:{at}"),
        id,
        since: UNIX_EPOCH + Duration::from_millis(millis),
        info: Row { id, bytes: bytes.into() }.describe(),
        problem: problem.map(|text| String::from_utf8_lossy(&text).into_owned()),
    })
}

fn field<T: FromRedisValue>(map: &HashMap<String, Value>, name: &str) -> Result<T, StoreError> {
    let value = map.get(name).cloned().unwrap_or(Value::Nil);
    T::from_redis_value(value).map_err(|error| unexpected(error.to_string()))
}

fn read_place(place: &str) -> Result<(Slot, &str), StoreError> {
    let wrong =
        || StoreError::refused(format!("{place:?} is no place in an outbox: take one that a list told"));
    let (slot, id) = place.split_once(':').ok_or_else(wrong)?;
    let fits = id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') && !id.is_empty();
    let slot = slot.parse().ok().filter(|_| fits).ok_or_else(wrong)?;
    Ok((Slot::new(slot), id))
}

impl fmt::Display for OutboxRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.info.as_ref().map_or("unreadable", |info| &info.name);
        write!(f, "{} {name} {}", self.place, self.id)?;
        self.problem.as_ref().map_or(Ok(()), |problem| write!(f, ": {problem}"))
    }
}

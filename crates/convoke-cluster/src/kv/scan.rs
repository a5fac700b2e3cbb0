use std::{future::IntoFuture, time::Duration};

use bytes::Bytes;
use convoke_core::BoxFuture;

use super::{Kv, Page, limits::PAGE_MAX};
use crate::{Consistency, Error};

/// A read of one page of the keys with a prefix, made when it is awaited.
///
/// A page is of one moment, and the next page of a later one. A page may hold fewer keys than asked for and still
/// not be the last: the last one has no [`next`](Page::next).
///
/// # Errors
/// As for [`Get`](super::Get), and [`ErrorKind::Refused`](crate::ErrorKind::Refused) for a limit that is none.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited"]
pub struct Scan {
    kv: Kv,
    prefix: Bytes,
    after: Option<Bytes>,
    limit: usize,
    consistency: Consistency,
    timeout: Duration,
}

impl Scan {
    pub(super) fn new(kv: &Kv, prefix: &[u8]) -> Self {
        Self {
            kv: kv.clone(),
            prefix: Bytes::copy_from_slice(prefix),
            after: None,
            limit: PAGE_MAX,
            consistency: kv.default_consistency(),
            timeout: kv.default_timeout(),
        }
    }

    /// Goes on where another page ended: with its [`Page::next`].
    pub fn after(mut self, next: impl Into<Bytes>) -> Self {
        self.after = Some(next.into());
        self
    }

    /// Keys in the page, from 1 to [`PAGE_MAX`], which is the default.
    pub fn limit(mut self, keys: usize) -> Self {
        self.limit = keys;
        self
    }

    /// Sees everything that was acknowledged before. The default, unless the configuration says otherwise.
    pub fn linearizable(self) -> Self {
        self.consistency(Consistency::Linearizable)
    }

    /// The same, without asking a majority while the leader's lease holds.
    pub fn lease(self) -> Self {
        self.consistency(Consistency::Lease)
    }

    /// What this node has, which may be old. Waits for nobody.
    pub fn eventual(self) -> Self {
        self.consistency(Consistency::Eventual)
    }

    /// How fresh it is.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// How long it takes at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl IntoFuture for Scan {
    type Output = Result<Page, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { kv, prefix, after, limit, consistency, timeout } = self;
            if limit == 0 || limit > PAGE_MAX {
                return Err(Error::refused(format!("a page has from 1 to {PAGE_MAX} keys, not {limit}")));
            }
            let read = |system: &crate::replicated::System<super::Machine>| {
                system.machine().page(&prefix, after.as_deref(), limit, system.steady_ms())
            };
            kv.read(consistency, timeout, read).await
        })
    }
}

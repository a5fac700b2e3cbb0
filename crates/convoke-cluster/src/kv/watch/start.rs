use std::{collections::VecDeque, future::IntoFuture, time::Duration};

use bytes::Bytes;
use convoke_core::BoxFuture;

use super::{Lagged, Watch};
use crate::{
    Consistency, Error,
    kv::{Kv, Machine, machine::Lag},
    replicated::System,
};

/// A watch that begins when this is awaited: with the changes that come from then on, unless told otherwise.
///
/// # Errors
/// As for [`Get`](crate::kv::Get).
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited"]
pub struct StartWatch {
    kv: Kv,
    prefix: Bytes,
    from: From,
    consistency: Consistency,
    timeout: Duration,
}

#[derive(Debug, Clone, Copy)]
enum From {
    Now,
    State,
    After(u64),
}

impl StartWatch {
    pub(in crate::kv) fn new(kv: &Kv, prefix: &[u8]) -> Self {
        Self {
            kv: kv.clone(),
            prefix: Bytes::copy_from_slice(prefix),
            from: From::Now,
            consistency: Consistency::default(),
            timeout: kv.default_timeout(),
        }
    }

    /// Tells what is there first, in the order of the keys, as if it was written now. Nothing is missing between that
    /// and the first change.
    pub fn with_state(mut self) -> Self {
        self.from = From::State;
        self
    }

    /// Goes on behind a place in the log: the [`Change::index`](crate::kv::Change::index) of the last change that was
    /// seen. When the node no longer has what followed, the first thing told is [`Lagged`].
    pub fn after(mut self, index: u64) -> Self {
        self.from = From::After(index);
        self
    }

    /// How fresh this node's copy is when the watch begins. Default: what was acknowledged before is there.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// How long the start takes at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn watch(&self, system: &System<Machine>) -> Watch {
        let machine = system.machine();
        let mut watch = Watch {
            state: self.kv.state().clone(),
            applied: self.kv.applied(),
            prefix: self.prefix.clone(),
            remaining: None,
            buffer: VecDeque::new(),
            place: machine.changes().end(),
            seen: machine.index(),
            lagged: None,
        };
        match self.from {
            From::Now => {}
            From::State => watch.remaining = Some(machine.remaining(self.prefix.clone(), system.steady_ms())),
            From::After(index) => match machine.changes().place_after(index) {
                Ok(place) => (watch.place, watch.seen) = (place, index),
                Err(Lag { until, place }) => {
                    (watch.place, watch.seen) = (place, until);
                    watch.lagged = Some(Lagged { after: index, until });
                }
            },
        }
        watch
    }
}

impl IntoFuture for StartWatch {
    type Output = Result<Watch, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(
            async move { self.kv.read(self.consistency, self.timeout, |system| self.watch(system)).await },
        )
    }
}

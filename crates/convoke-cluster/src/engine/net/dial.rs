use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::alias::WatchSenderOf;
use openraft::async_runtime::watch::{WatchReceiver, WatchSender};
use openraft::type_config::TypeConfigExt;
use tokio::time::{Instant, sleep_until, timeout};

use super::frame::Frames;
use super::handshake::{self, HandshakeError};
use super::identity::Identity;
use super::lane::Lane;
use super::link::Link;
use super::timing::Timing;
use super::wire::Connect;
use crate::NodeId;
use crate::engine::types::Types;

/// A connection that lasted so long was a good one. A shorter one counts as a failure to connect: a peer that welcomes
/// and hangs up must not be called in a loop.
const STEADY_AFTER: Duration = Duration::from_secs(1);

/// Whom to call, and for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Callee {
    pub(crate) id: Option<NodeId>,
    pub(crate) at: Arc<str>,
    pub(crate) lane: Lane,
}

/// What all calls share.
pub(crate) struct Caller {
    pub(crate) us: Identity,
    pub(crate) timing: Timing,
    pub(crate) connect: Arc<dyn Connect>,
}

/// One connection to one peer, made when it is needed and again when it broke, with pauses between failures.
///
/// Dialling goes on when whoever wanted the connection has given up: a heartbeat's time may be shorter than a
/// handshake, and it must not have to begin anew with each of them.
#[derive(Clone)]
pub(crate) struct Dial {
    inner: Arc<Inner>,
}

struct Inner {
    caller: Arc<Caller>,
    callee: Callee,
    state: WatchSenderOf<Types, State>,
    attempts: AtomicU64,
}

struct State {
    failures: u32,
    phase: Phase,
}

#[derive(Clone)]
enum Phase {
    Idle,
    Dialing,
    Up(Link),
    Down { until: Instant, why: Arc<str> },
}

/// There is no connection now.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Away {
    why: Arc<str>,
    /// Nothing is tried before.
    until: Instant,
}

impl Away {
    /// Returns when it is worth asking again.
    pub(crate) async fn over(&self) {
        sleep_until(self.until).await;
    }
}

impl Dial {
    pub(crate) fn new(caller: Arc<Caller>, callee: Callee) -> Self {
        let (state, _) = Types::watch_channel(State { failures: 0, phase: Phase::Idle });
        Self { inner: Arc::new(Inner { caller, callee, state, attempts: AtomicU64::new(0) }) }
    }

    /// The connection, or why there is none now. Waits for one that is being made: bound it.
    pub(crate) async fn link(&self) -> Result<Link, Away> {
        let mut states = self.inner.state.subscribe();
        loop {
            self.dial_when_due();
            let phase = states.borrow_and_update().phase.clone();
            match phase {
                Phase::Up(link) => return Ok(link),
                Phase::Down { why, until } => return Err(Away { why, until }),
                Phase::Idle => {}
                Phase::Dialing => states.changed().await.expect("the sender is ours"),
            }
        }
    }

    /// The peer is there: it called us. Whatever pause there is ends.
    pub(crate) fn peer_was_heard(&self) {
        self.inner.state.send_if_modified(|state| {
            let paused = matches!(state.phase, Phase::Down { .. });
            if paused {
                *state = State { failures: 0, phase: Phase::Idle };
            }
            paused
        });
    }

    /// How often a connection was tried.
    pub(crate) fn attempts(&self) -> u64 {
        self.inner.attempts.load(Ordering::Relaxed)
    }

    /// Whether somebody else holds it, or it is up.
    pub(crate) fn is_used(&self) -> bool {
        let up = match &self.inner.state.borrow_watched().phase {
            Phase::Up(link) => link.closed().is_none(),
            Phase::Idle | Phase::Dialing | Phase::Down { .. } => false,
        };
        up || Arc::strong_count(&self.inner) > 1
    }

    pub(crate) fn callee(&self) -> &Callee {
        &self.inner.callee
    }

    fn dial_when_due(&self) {
        let now = Instant::now();
        self.inner.state.send_if_modified(|state| {
            let due = match &state.phase {
                Phase::Dialing => false,
                Phase::Up(link) if link.is_open() => false,
                Phase::Up(link) if now < link.opened() + STEADY_AFTER => {
                    let why = link.closed().unwrap_or_else(|| Arc::from("the connection is closed"));
                    self.inner.failed(state, why, false);
                    return true;
                }
                Phase::Up(_) => {
                    state.failures = 0;
                    true
                }
                Phase::Down { until, .. } => *until <= now,
                Phase::Idle => true,
            };
            if due {
                state.phase = Phase::Dialing;
                tokio::spawn(Arc::clone(&self.inner).dial());
            }
            due
        });
    }
}

impl Inner {
    async fn dial(self: Arc<Self>) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let made = self.call().await;
        self.state.send_if_modified(|state| {
            match made {
                Ok(link) => state.phase = Phase::Up(link),
                Err((why, refused)) => self.failed(state, why.into(), refused),
            }
            true
        });
    }

    async fn call(&self) -> Result<Link, (String, bool)> {
        let Caller { us, timing, connect } = &*self.caller;
        let Callee { id, at, lane } = &self.callee;
        let wire = timeout(timing.connect, connect.connect(*id, at)).await;
        let wire =
            wire.map_err(|_| (format!("{at} took no connection within {:?}", timing.connect), false))?;
        let wire = wire.map_err(|error| (format!("no connection to {at}: {error}"), false))?;
        let (read, mut write) = tokio::io::split(wire);
        let mut frames = Frames::new(read);
        let greeted =
            timeout(timing.handshake, handshake::call(&mut frames, &mut write, us, *id, *lane)).await;
        let greeted =
            greeted.map_err(|_| (format!("{at} did not answer within {:?}", timing.handshake), false))?;
        greeted.map_err(|error| {
            let refused = matches!(error, HandshakeError::Refused(_) | HandshakeError::Unproven);
            (format!("no conversation with {at}: {error}"), refused)
        })?;
        Ok(Link::start(*lane, *timing, frames, write))
    }

    fn failed(&self, state: &mut State, why: Arc<str>, refused: bool) {
        let timing = &self.caller.timing;
        state.failures = state.failures.saturating_add(1);
        let pause = if refused { timing.refused } else { timing.pause(state.failures, self.salt()) };
        let Callee { id, lane, .. } = &self.callee;
        if state.failures.is_power_of_two() {
            tracing::warn!(peer = ?id, ?lane, reason = %why, ?pause, "a member cannot be reached, will try again");
        } else {
            tracing::debug!(peer = ?id, ?lane, reason = %why, ?pause, "a member still cannot be reached");
        }
        state.phase = Phase::Down { until: Instant::now() + pause, why };
    }

    /// The same in each run, and another one for each pair of nodes.
    fn salt(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.caller.us.id(), &self.callee).hash(&mut hasher);
        hasher.finish()
    }
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").field("callee", self.callee()).field("attempts", &self.attempts()).finish()
    }
}

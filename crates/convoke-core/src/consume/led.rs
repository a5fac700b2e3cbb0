//! Enqueued commands of a leader's handlers. Whichever node takes one from the store hands it to the leader, which
//! claims it, runs it with its retries, buries it when it gives up, and says when it is settled; only then does this
//! node settle it with the store. While there is no leader it waits here: handed back, it would go round in circles.
use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{AWAY_PAUSE, Arrived, Consumer, Done, Work};
use crate::{
    Answered, Audience, Codec, CodecError, Failed, Incoming, LANE_UNKEYED, LeaderInfo, Leadership, Limits,
    MessageKind, NotLeader, Outgoing, Payload, Position, Replay, TransportErrorKind,
    endpoint::{Server, reached_nobody},
    forward::frame,
    leading::Leading,
    node::NodeInner,
};

/// The wire name under which a job is handed to the leader.
pub(crate) const SETTLE: &str = "convoke.settle.v1";

/// A job as it is handed over, beside its envelope.
#[derive(Serialize, Deserialize)]
struct Job {
    name: String,
    content_type: String,
    content: Bytes,
    /// Epoch and sequence.
    position: Option<(u64, u64)>,
    holds: bool,
    replay: Option<Again>,
}

/// What is known of a job that is a dead letter which came back.
#[derive(Serialize, Deserialize)]
struct Again {
    handler: String,
    number: u32,
    keep_seconds: u64,
}

/// How the leader settled it.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum SettledBy {
    Handled,
    Buried,
}

impl Job {
    fn of(arrived: &Arrived) -> Result<Self, CodecError> {
        let (codec, content) = arrived.incoming.payload.encoded(Codec::default())?;
        let replay = arrived.replay.as_ref().map(|replay| Again {
            handler: replay.handler.clone(),
            number: replay.number,
            keep_seconds: replay.keep.as_secs(),
        });
        Ok(Self {
            name: arrived.incoming.name.to_string(),
            content_type: codec.content_type().to_owned(),
            content,
            position: arrived.incoming.position.map(|at| (at.epoch, at.sequence)),
            holds: arrived.holds,
            replay,
        })
    }

    /// `None` when its content type is unknown here.
    fn arrived(self, incoming: Incoming) -> Option<Arrived> {
        let codec = Codec::from_content_type(&self.content_type)?;
        let holds = self.holds;
        let replay = self.replay.map(|again| {
            let keep = Duration::from_secs(again.keep_seconds);
            Arc::new(Replay { handler: again.handler, number: again.number, keep, holds, skip: false })
        });
        let incoming = Incoming {
            name: self.name.into(),
            payload: Payload::Bytes { codec, bytes: self.content },
            position: self.position.map(|(epoch, sequence)| Position { epoch, sequence }),
            ..incoming
        };
        Some(Arrived { incoming: Arc::new(incoming), replay, holds })
    }
}

impl Consumer {
    /// What settles jobs that other nodes took.
    pub(crate) fn of_forwarded_jobs(node: &Arc<NodeInner>) -> Self {
        Self::new(node.clone(), Audience::Jobs, HashMap::new())
    }

    /// Settles a job of a leader's handler: here, when this node leads, else through the leader. Neither waits for
    /// a caller, so `leader = "reject"` makes no difference.
    pub(super) async fn handle_led_job(&self, work: &Work) -> Done {
        let node = &self.node;
        let leading = node.leading.as_ref().expect("the build refuses a leader's handler without a cluster");
        let mut watch = leading.watch();
        while !node.is_stopping() {
            let seen = watch.borrow_and_update().clone();
            let done = match seen {
                Leadership::Leader { .. } => {
                    match self.handle_own_job(work).await {
                        Done::Stopping => None, // the node stops, or leads no more
                        done => Some(done),
                    }
                }
                Leadership::Follower { leader } if leader.node != node.identity.node => {
                    self.settle_elsewhere(leading, &leader, work).await
                }
                Leadership::Follower { .. } | Leadership::NoLeader => None,
            };
            if let Some(done) = done {
                return done;
            }
            tokio::select! {
                () = node.pause(AWAY_PAUSE) => {}
                Ok(()) = watch.changed() => {}
            }
        }
        Done::Stopping
    }

    /// Hands it to the leader. `None`: it is not settled yet.
    async fn settle_elsewhere(&self, leading: &Leading, leader: &LeaderInfo, work: &Work) -> Option<Done> {
        let (handler, arrived) = (work.title(), &work.arrived);
        let payload = match Job::of(arrived).and_then(|job| Codec::default().encode(&job)) {
            Ok(bytes) => Payload::Bytes { codec: Codec::default(), bytes },
            Err(error) => return Some(self.bury(arrived, handler, vec![error.to_string()], 0).await),
        };
        let envelope = arrived.incoming.envelope.clone();
        let (kind, lane) = (MessageKind::Command, LANE_UNKEYED);
        let request = Outgoing { name: SETTLE, kind, lane, payload, envelope };
        let within = Instant::now() + self.node.config.forward_timeout;
        let asked = tokio::select! {
            biased;
            asked = leading.forward(leader, request, within) => asked,
            () = self.node.stopping() => return None,
        };
        match asked {
            Ok(Answered::Replied { payload, .. }) => match read(&payload) {
                Ok(SettledBy::Handled) => return Some(Done::Handled),
                Ok(SettledBy::Buried) => return Some(Done::Buried),
                Err(error) => {
                    warn!(handler, %leader, %error, "the leader settled a job in a way that is not known")
                }
            },
            Err(error) if error.kind() == TransportErrorKind::TooLarge => {
                let errors = vec![format!("it cannot be handed to the leader: {error}")];
                return Some(self.bury(arrived, handler, errors, 0).await);
            }
            Err(error) if reached_nobody(&error) => {
                debug!(%leader, %error, "the leader could not be reached")
            }
            // It may go on there: handed over again it waits for the run under way, under the same claim.
            other => debug!(handler, %leader, ?other, "the leader has not settled a job yet"),
        }
        None
    }

    /// A job that another node handed to this one as to the leader.
    pub(crate) async fn settle_forwarded(&self, incoming: Incoming) -> Answered {
        self.settle_here(incoming).await.unwrap_or_else(Answered::Failed)
    }

    async fn settle_here(&self, incoming: Incoming) -> Result<Answered, Failed> {
        let node = &self.node;
        let undecodable = |error: CodecError| Failed::Undecodable(error.to_string());
        let limits = job_limits(&node.config.limits);
        let (codec, bytes) = incoming.payload.encoded(Codec::default()).map_err(undecodable)?;
        let job: Job = codec.decode(&bytes, &limits).map_err(undecodable)?;
        let unknown = || Failed::Undecodable("a job of an unknown content type".to_owned());
        let arrived = job.arrived(incoming).ok_or_else(unknown)?;
        let endpoint = node.endpoints.get(&*arrived.incoming.name).cloned().ok_or(Failed::NoHandler)?;
        let _admitted = endpoint.gate.admit()?;
        let not_leader = || {
            let leader = node.leading.as_ref().and_then(|leading| leading.watch().borrow().leader().cloned());
            Failed::from(NotLeader { leader })
        };
        if !node.leading.as_ref().is_some_and(|leading| leading.watch().borrow().is_leader()) {
            return Err(not_leader());
        }
        let done = match endpoint.read(&arrived.incoming.payload, &node.config.limits) {
            Ok(body) => {
                let server = Server::new(node.clone(), endpoint.clone());
                self.handle_own_job(&Work { server, body, arrived, shared: false }).await
            }
            Err(error) => self.bury(&arrived, "", vec![error.to_string()], 0).await,
        };
        let settled = match done {
            Done::Handled => SettledBy::Handled,
            Done::Buried => SettledBy::Buried,
            Done::Stopping => return Err(not_leader()),
        };
        Ok(Answered::Replied { payload: written(settled), replayed: false })
    }
}

fn written(settled: SettledBy) -> Payload {
    let codec = Codec::default();
    let bytes = codec.encode(&settled).expect("a word can always be written");
    Payload::Bytes { codec, bytes }
}

fn read(payload: &Payload) -> Result<SettledBy, CodecError> {
    let (codec, bytes) = payload.encoded(Codec::default())?;
    codec.decode(&bytes, &Limits::default())
}

/// A job is a frame around a message, which is checked by itself.
fn job_limits(limits: &Limits) -> Limits {
    limits.payload_bytes_max(frame::bytes_max(limits))
}

use std::io;

use serde::{Deserialize, Serialize};

use super::PROTOCOL;
use crate::NodeId;
use crate::engine::net::frame::FrameError;

/// Why a listener does not talk to a caller. Sent to it, so that both logs say the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the listener speaks version {ours} of the protocol, the caller another one")]
    Protocol { ours: u16 },
    #[error("the listener belongs to a cluster of another name")]
    Cluster,
    #[error("the caller looks for another node than the listener, which is {}", name(*.ours))]
    Target { ours: Option<NodeId> },
    #[error("the caller has the listener's own number: two nodes share it, or a node called itself")]
    Itself,
    #[error("a member needs a number for this, and to say whom it calls")]
    Nameless,
    #[error("the caller did not prove that it has the cluster's secret")]
    Secret,
    #[error("too many connections are open")]
    Full,
}

fn name(id: Option<NodeId>) -> String {
    id.map_or_else(|| "still without a number".to_owned(), |id| format!("node {id}"))
}

/// How a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("not a member of a cluster: its first bytes are {0:?}")]
    Stranger(String),
    #[error("the caller speaks version {0} of the protocol, ours is {PROTOCOL}")]
    Protocol(u16),
    #[error("the listener did not prove that it has the cluster's secret")]
    Unproven,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

//! The first words on a connection: both sides say who they are and prove it, or hear why not.
//!
//! ```text
//! caller    "cvk-raft" version   Hello { cluster, from, to, lane, nonce }
//! listener                       Challenge { nonce }
//! caller                         Proof { HMAC(secret, "caller" + all of the above) }
//! listener                       Welcome { HMAC(secret, "listener" + all of the above) }
//! ```
//!
//! The caller proves first: whoever scans ports learns nothing that a secret could be tried against.

mod accept;
mod call;
mod refusal;

use std::io;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::frame;
use super::kind::Kind;
use super::lane::Lane;
use crate::NodeId;

pub(crate) use accept::accept;
pub(crate) use call::call;
pub(crate) use refusal::{HandshakeError, Refusal};

/// The first bytes of every connection.
pub(crate) const MAGIC: &[u8; 8] = b"cvk-raft";
/// The version of everything that is said. Stands outside all frames, where every version finds it.
pub(crate) const PROTOCOL: u16 = 1;
/// The magic and the version.
const PREAMBLE_BYTES: usize = MAGIC.len() + 2;

/// Who calls whom, about what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) cluster: String,
    /// Unknown while the caller waits for its place in the cluster.
    pub(crate) from: Option<NodeId>,
    /// Unknown while the caller looks for somebody who knows the cluster.
    pub(crate) to: Option<NodeId>,
    pub(crate) lane: Lane,
    nonce: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Challenge {
    nonce: [u8; 32],
}

/// A signature of what was said, when there is a secret to sign with.
#[derive(Serialize, Deserialize)]
struct Signed {
    signature: Option<[u8; 32]>,
}

/// Whose signature it is: one side's is worth nothing as the other's.
#[derive(Clone, Copy)]
enum Side {
    Caller,
    Listener,
}

/// What a side signs. Both nonces are in it, so that it is worth nothing on another connection.
fn words(side: Side, hello: &[u8], challenge: &[u8]) -> Vec<u8> {
    let side: &[u8] = match side {
        Side::Caller => b"convoke cluster caller 1",
        Side::Listener => b"convoke cluster listener 1",
    };
    let mut words = Vec::with_capacity(side.len() + hello.len() + challenge.len() + 24);
    for part in [side, hello, challenge] {
        words.extend_from_slice(&(part.len() as u64).to_le_bytes());
        words.extend_from_slice(part);
    }
    words
}

fn nonce() -> io::Result<[u8; 32]> {
    let mut nonce = [0; 32];
    let filled = SystemRandom::new().fill(&mut nonce);
    filled.map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(nonce)
}

/// Sends one frame, and answers what its body was.
async fn send<W, T>(to: &mut W, kind: Kind, message: &T) -> io::Result<bytes::Bytes>
where
    W: AsyncWrite + Unpin,
    T: Serialize,
{
    let mut bytes = frame::encode(kind, message)?;
    to.write_all(&bytes).await?;
    to.flush().await?;
    Ok(bytes.split_off(frame::HEAD_BYTES))
}

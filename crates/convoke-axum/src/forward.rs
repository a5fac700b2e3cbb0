//! Requests for the leader over HTTP, from node to node: signed with a secret that all nodes share.
//!
//! A bearer token would travel with each request, and whoever reads the wire between two nodes once could send
//! commands for ever. So the secret stays at home: each request carries an HMAC over whom it is for, when it was made, a
//! number used once, and a digest of its body; the answer one over that number and its own digest. What was
//! recorded cannot be sent again, to this node or to another, and a forged answer is not taken for the leader's.
//! That keeps strangers out; who shares a wire with somebody that reads along or interferes puts TLS under it.

use std::fmt;
use std::sync::Arc;

use ring::hmac;

use crate::GuardError;

mod client;
mod connect;
mod nonces;
mod server;
mod sign;

pub use client::HttpForwarder;
pub use server::forward_routes;

/// What nodes prove to each other that they belong together with. Clones are cheap.
#[derive(Clone)]
pub struct ForwardKey(Arc<hmac::Key>);

impl ForwardKey {
    /// The fewest bytes a secret may have: 128 bits, when they are random.
    pub const SECRET_BYTES_MIN: usize = 16;

    /// From a secret that all nodes of the cluster share, such as the output of `openssl rand -hex 32`.
    ///
    /// # Errors
    /// When it has less than [`SECRET_BYTES_MIN`](Self::SECRET_BYTES_MIN) bytes.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, GuardError> {
        let secret = secret.as_ref();
        if secret.len() < Self::SECRET_BYTES_MIN {
            return Err(GuardError(
                "the nodes' shared secret has at least 16 bytes: make one with `openssl rand -hex 32`",
            ));
        }
        Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret))))
    }
}

impl fmt::Debug for ForwardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardKey")
    }
}

/// Where requests for the leader are posted, with their wire name behind it.
const PATH: &str = "/convoke/forward/";

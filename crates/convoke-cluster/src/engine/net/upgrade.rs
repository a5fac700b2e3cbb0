//! The same conversation on a port that speaks HTTP: the caller asks for an upgrade, and after `101` it is a wire like
//! any other. The listener's half is whatever HTTP server there is.

use std::io;
use std::sync::Arc;

use convoke_core::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::wire::{BoxWire, Connect};
use crate::NodeId;

/// What a member asks an HTTP server to upgrade to.
pub const PROTOCOL: &str = "convoke-raft";
/// Where a member asks an HTTP server for an upgrade.
pub const PATH: &str = "/convoke/raft";
/// The head of the answer.
const HEAD_BYTES_MAX: usize = 4 * 1024;

/// Wires through an HTTP server that listens where `inner` connects to.
#[derive(Clone)]
pub(crate) struct Upgrade {
    inner: Arc<dyn Connect>,
}

impl Upgrade {
    pub(crate) fn new(inner: Arc<dyn Connect>) -> Self {
        Self { inner }
    }
}

impl Connect for Upgrade {
    fn connect<'a>(&'a self, to: Option<NodeId>, at: &'a str) -> BoxFuture<'a, io::Result<BoxWire>> {
        Box::pin(async move {
            let mut wire = self.inner.connect(to, at).await?;
            let request = format!(
                "GET {PATH} HTTP/1.1\r\nHost: {at}\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n"
            );
            wire.write_all(request.as_bytes()).await?;
            wire.flush().await?;
            let head = head(&mut wire).await?;
            let status = head.split(' ').nth(1).unwrap_or_default();
            if status == "101" {
                Ok(wire)
            } else {
                let line = head.lines().next().unwrap_or_default();
                Err(io::Error::other(format!("the HTTP server does not upgrade to {PROTOCOL}: {line:?}")))
            }
        })
    }
}

/// The head of the answer, and not one byte more: what follows is not HTTP.
async fn head(wire: &mut BoxWire) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            return Err(io::Error::other("the HTTP server's answer has no end"));
        }
        head.push(wire.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upgrade")
    }
}

use std::io;

use convoke_core::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::NodeId;

/// A connection of bytes: TCP, TLS over it, an upgraded HTTP connection, or a pipe within a simulation.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

/// A wire of any make.
pub(crate) type BoxWire = Box<dyn Wire>;

/// Makes the wires to other members. The caller bounds the time.
pub(crate) trait Connect: Send + Sync + 'static {
    /// A wire to whoever listens at `at`, which is `host:port`. `to` is who is expected there, when that is known: a
    /// simulation cuts by it.
    fn connect<'a>(&'a self, to: Option<NodeId>, at: &'a str) -> BoxFuture<'a, io::Result<BoxWire>>;
}

/// Plain TCP.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tcp;

impl Connect for Tcp {
    fn connect<'a>(&'a self, _to: Option<NodeId>, at: &'a str) -> BoxFuture<'a, io::Result<BoxWire>> {
        Box::pin(async move {
            let stream = TcpStream::connect(at).await?;
            // Answers are small, and a leader waits for them.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxWire)
        })
    }
}

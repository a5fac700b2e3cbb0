//! One connection through the proxy.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

const CHUNK_BYTES: usize = 16 * 1024;

/// What is wrong with the link at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    Blackhole,
    DropReplies,
    Refuse,
}

/// The state all links watch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Switch {
    pub(super) fault: Fault,
    /// Grows with every cut; a link ends when it is older than the last one.
    pub(super) cuts: u64,
    /// Grows with every stranding; a link that is older than the last one carries nothing any more.
    pub(super) strandings: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// Returns when a connection accepted after `born` cuts has to go, or when the proxy is gone.
pub(super) async fn until_cut(mut switch: watch::Receiver<Switch>, born: u64) {
    let _ = switch.wait_for(|switch| switch.cuts != born).await;
}

/// Carries bytes both ways until both sides have finished or one of them fails.
pub(super) async fn carry(
    client: TcpStream,
    server: SocketAddr,
    mut switch: watch::Receiver<Switch>,
) -> io::Result<()> {
    // In a black hole not even the connection is made: a server's greeting would lie in our buffers.
    let born = passable(&mut switch, |switch| switch.fault != Fault::Blackhole).await?.strandings;
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = pump(from_client, to_server, Direction::ToServer, switch.clone(), born);
    let back = pump(from_server, to_client, Direction::ToClient, switch, born);
    tokio::try_join!(there, back).map(|_| ())
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    mut switch: watch::Receiver<Switch>,
    born: u64,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut holed = false;
    loop {
        // Not read, so that even an end of stream stays on its side of the hole.
        let carries = |switch: &Switch| switch.fault != Fault::Blackhole && switch.strandings == born;
        let fault = passable(&mut switch, carries).await?.fault;
        let swallows = fault == Fault::DropReplies && direction == Direction::ToClient;
        if holed && !swallows {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        tokio::select! {
            // The switch first: what arrives after it was thrown must not slip through.
            biased;
            changed = switch.changed() => changed.map_err(|_| io::ErrorKind::ConnectionAborted)?,
            read = from.read(&mut chunk) => match read? {
                0 if swallows => { passable(&mut switch, |switch| switch.fault != Fault::DropReplies).await?; }
                0 => return to.shutdown().await,
                _ if swallows => holed = true,
                bytes => to.write_all(&chunk[..bytes]).await?,
            },
        }
    }
}

/// Waits until the state lets something happen.
async fn passable(switch: &mut watch::Receiver<Switch>, may: impl Fn(&Switch) -> bool) -> io::Result<Switch> {
    let switch = switch.wait_for(|switch| may(switch)).await;
    switch.map(|switch| *switch).map_err(|_| io::ErrorKind::ConnectionAborted.into())
}

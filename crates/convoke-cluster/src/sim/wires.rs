//! Connections between nodes that live in one process.

use std::{io, sync::Arc};

use convoke_core::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    time::{sleep, sleep_until},
};

use super::world::{Life, World};
use crate::{
    NodeId,
    engine::net::{BoxWire, Connect},
};

/// Bytes in a socket's buffer.
const BUFFER_BYTES: usize = 256 * 1024;
/// Bytes that arrive at once, at most.
const PIECE_BYTES: usize = 64 * 1024;

/// How one life of a node calls others.
pub(super) struct Wires {
    pub(super) world: Arc<World>,
    pub(super) me: Life,
}

impl Connect for Wires {
    fn connect<'a>(&'a self, _to: Option<NodeId>, at: &'a str) -> BoxFuture<'a, io::Result<BoxWire>> {
        Box::pin(async move {
            sleep(self.world.ring(self.me.node)).await;
            let door = self.world.door(at).filter(|_| self.world.lives(self.me));
            let Some((there, door)) = door else { return Err(io::ErrorKind::ConnectionRefused.into()) };
            let here = self.me;
            // Whoever calls bounds the time.
            let open =
                |world: &World| world.passes(here.node, there.node) && world.passes(there.node, here.node);
            self.world.until(open).await;
            let (ours, near) = duplex(BUFFER_BYTES);
            let (far, theirs) = duplex(BUFFER_BYTES);
            let cuts = self.world.cuts(here.node, there.node);
            let (near, far) = (split(near), split(far));
            for (from, to, read, write) in [(here, there, near.0, far.1), (there, here, far.0, near.1)] {
                let way = Way { world: Arc::clone(&self.world), from, to, cuts };
                tokio::spawn(way.carry(read, write));
            }
            door.send(Box::new(theirs) as BoxWire)
                .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(Box::new(ours) as BoxWire)
        })
    }
}

/// One direction of a connection.
struct Way {
    world: Arc<World>,
    from: Life,
    to: Life,
    cuts: u64,
}

impl Way {
    /// Carries bytes to the end of the connection; a broken one ends at once.
    async fn carry(self, mut read: ReadHalf<DuplexStream>, mut write: WriteHalf<DuplexStream>) {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let filled = tokio::select! {
                biased;
                () = self.broken() => return,
                filled = read.read(&mut piece) => filled,
            };
            let Ok(filled) = filled else { return };
            sleep_until(self.world.arrival(self.from.node, self.to.node)).await;
            // Sent again and again until it gets through, as TCP does.
            if !self.passable().await {
                return;
            }
            if filled == 0 {
                let _ = write.shutdown().await; // the other side may be gone already
                return;
            }
            let (from, to) = (self.from.node, self.to.node);
            self.world.note("bytes", [from, to, filled as u64]);
            let written = tokio::select! {
                biased;
                () = self.broken() => return,
                written = write.write_all(&piece[..filled]) => written,
            };
            if written.is_err() {
                return;
            }
        }
    }

    fn is_broken(&self) -> bool {
        let lives = self.world.lives(self.from) && self.world.lives(self.to);
        !lives || self.world.cuts(self.from.node, self.to.node) != self.cuts
    }

    async fn broken(&self) {
        self.world.until(|_| self.is_broken()).await;
    }

    /// Whether it gets through before the connection breaks.
    async fn passable(&self) -> bool {
        let passes = || self.world.passes(self.from.node, self.to.node);
        self.world.until(|_| self.is_broken() || passes()).await;
        !self.is_broken()
    }
}

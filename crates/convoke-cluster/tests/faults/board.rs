//! A switchboard of loopback proxies: it knows who calls whom, so that it can cut one direction between two nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::fleet::PATIENCE;

const CHUNK_BYTES: usize = 16 * 1024;

/// Everything that passes between nodes.
pub(crate) struct Board {
    wiring: watch::Sender<Wiring>,
    /// Where each node is reached by the others.
    pub(crate) addresses: BTreeMap<u64, SocketAddr>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Clone, Default)]
struct Wiring {
    /// Which process is which node.
    pids: BTreeMap<u64, u32>,
    /// What the first sends to the second stays in the wire.
    blocked: BTreeSet<(u64, u64)>,
}

impl Board {
    /// A proxy in front of each of these nodes.
    pub(crate) async fn start(nodes: &BTreeMap<u64, SocketAddr>) -> Self {
        let wiring = watch::Sender::new(Wiring::default());
        let (mut addresses, mut accepting) = (BTreeMap::new(), JoinSet::new());
        for (&node, &behind) in nodes {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            addresses.insert(node, listener.local_addr().expect("it is bound"));
            accepting.spawn(accept(listener, node, behind, wiring.subscribe()));
        }
        Self { wiring, addresses, _accepting: accepting }
    }

    /// This process is that node from now on.
    pub(crate) fn is(&self, node: u64, pid: u32) {
        self.wiring.send_modify(|wiring| {
            wiring.pids.insert(node, pid);
        });
    }

    /// What one node sends to another does not arrive.
    pub(crate) fn block(&self, from: u64, to: u64) {
        self.wiring.send_modify(|wiring| {
            wiring.blocked.insert((from, to));
        });
    }

    /// One node and all the others do not hear each other.
    pub(crate) fn isolate(&self, node: u64) {
        for other in self.addresses.keys().copied().filter(|other| *other != node) {
            self.block(node, other);
            self.block(other, node);
        }
    }

    pub(crate) fn heal(&self) {
        self.wiring.send_modify(|wiring| wiring.blocked.clear());
    }
}

async fn accept(listener: TcpListener, to: u64, behind: SocketAddr, wiring: watch::Receiver<Wiring>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((caller, from)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let wiring = wiring.clone();
        connections.spawn(async move {
            // Broken on either side: the other one is closed with it.
            let _ = connect(caller, from, to, behind, wiring).await;
        });
    }
}

async fn connect(
    caller: TcpStream,
    port: SocketAddr,
    to: u64,
    behind: SocketAddr,
    mut wiring: watch::Receiver<Wiring>,
) -> io::Result<()> {
    let pids = wiring.borrow().pids.clone();
    let Some(from) = who(port, &pids) else { return Err(io::ErrorKind::ConnectionRefused.into()) };
    passable(&mut wiring, from, to).await?;
    passable(&mut wiring, to, from).await?;
    let callee = TcpStream::connect(behind).await?;
    caller.set_nodelay(true)?;
    callee.set_nodelay(true)?;
    let ((read, write), (back, forth)) = (caller.into_split(), callee.into_split());
    let there = pump(read, forth, from, to, wiring.clone());
    let here = pump(back, write, to, from, wiring);
    tokio::try_join!(there, here).map(|_| ())
}

async fn pump(
    mut read: impl tokio::io::AsyncRead + Unpin,
    mut write: impl tokio::io::AsyncWrite + Unpin,
    from: u64,
    to: u64,
    mut wiring: watch::Receiver<Wiring>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let filled = read.read(&mut chunk).await?;
        passable(&mut wiring, from, to).await?;
        if filled == 0 {
            return write.shutdown().await;
        }
        write.write_all(&chunk[..filled]).await?;
    }
}

/// Waits until what one sends to the other gets through.
async fn passable(wiring: &mut watch::Receiver<Wiring>, from: u64, to: u64) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
    wiring.wait_for(|wiring| !wiring.blocked.contains(&(from, to))).await.map(|_| ()).map_err(gone)
}

/// Which node's process has the socket with this local address.
fn who(port: SocketAddr, pids: &BTreeMap<u64, u32>) -> Option<u64> {
    let socket = format!("socket:[{}]", inode(port)?);
    let has = |pid: u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|link| link.to_str() == Some(&socket))
    };
    pids.iter().find(|(_, pid)| has(**pid)).map(|(node, _)| *node)
}

/// The inode of the socket that is bound to it and connected.
fn inode(port: SocketAddr) -> Option<u64> {
    let local = format!("0100007F:{:04X}", port.port());
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.get(1) == Some(&&*local)).then(|| words.get(9)?.parse::<u64>().ok()).flatten()
    };
    table.lines().find_map(inode).filter(|inode| *inode != 0)
}

#[tokio::test]
async fn the_board_cuts_one_direction_of_one_pair() {
    let behind = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let board = Board::start(&BTreeMap::from([(2, behind.local_addr().expect("it is bound"))])).await;
    board.is(1, std::process::id());
    let mut ours = TcpStream::connect(board.addresses[&2]).await.expect("the proxy is there");
    let (mut theirs, _) = behind.accept().await.expect("the proxy calls on");
    board.block(1, 2);
    ours.write_all(b"there").await.expect("into the wire");
    theirs.write_all(b"back").await.expect("into the wire");
    let mut word = [0; 4];
    ours.read_exact(&mut word).await.expect("the other direction is open");
    assert_eq!(&word, b"back");
    let mut early = [0; 5];
    let read = timeout(Duration::from_millis(100), theirs.read(&mut early)).await;
    assert!(read.is_err(), "it got through");
    board.heal();
    let arrived = timeout(PATIENCE, theirs.read_exact(&mut early)).await.expect("what was held back arrives");
    arrived.expect("the wire is whole");
    assert_eq!(&early, b"there");
}

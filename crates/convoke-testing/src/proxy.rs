//! A TCP proxy that can break the link.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

mod link;
use link::{Fault, Switch};

const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A loopback proxy in front of a server, with faults to switch on and off.
///
/// A killed or stopped server is seen at once; what hurts in production is the link that stays open and carries
/// nothing. Dropping the proxy closes every connection.
///
/// ```no_run
/// # async fn test(server: std::net::SocketAddr) -> std::io::Result<()> {
/// let proxy = convoke_testing::proxy::TcpProxy::start(server).await?;
/// let url = format!("redis://{}", proxy.address());
/// proxy.blackhole(); // connections stay open, nothing gets through
/// proxy.heal();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    switch: watch::Sender<Switch>,
    accepted: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl TcpProxy {
    /// Listens on a free loopback port and forwards to `server`.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let switch = watch::Sender::new(Switch::default());
        let accepted = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, server, switch.clone(), Arc::clone(&accepted)));
        Ok(Self { address, switch, accepted, accepting })
    }

    /// The same for a server on a loopback port.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn to_port(port: u16) -> io::Result<Self> {
        Self::start((Ipv4Addr::LOCALHOST, port).into()).await
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections were accepted so far, closed ones included.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Keeps all connections open, accepts new ones, and forwards nothing either way. What was held back arrives
    /// after [`heal`](Self::heal), as it would on a real link.
    pub fn blackhole(&self) {
        self.switch.send_modify(|switch| switch.fault = Fault::Blackhole);
    }

    /// Forwards what clients say and swallows what the server answers. [`heal`](Self::heal) closes the connections
    /// that lost something: a stream with a hole in it is not a link anyone can have.
    pub fn drop_replies(&self) {
        self.switch.send_modify(|switch| switch.fault = Fault::DropReplies);
    }

    /// Keeps all connections that are open now and carries nothing on them ever again, also after
    /// [`heal`](Self::heal). New ones are served: who never makes one is lost.
    pub fn strand(&self) {
        self.switch.send_modify(|switch| switch.strandings += 1);
    }

    /// Closes all connections that are open now. New ones are served.
    pub fn cut(&self) {
        self.switch.send_modify(|switch| switch.cuts += 1);
    }

    /// Closes all connections and every new one, until [`heal`](Self::heal).
    pub fn refuse(&self) {
        self.switch.send_modify(|switch| {
            switch.cuts += 1;
            switch.fault = Fault::Refuse;
        });
    }

    /// Forwards everything again.
    pub fn heal(&self) {
        self.switch.send_modify(|switch| switch.fault = Fault::None);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Owns the links, so that they end with it.
async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    switch: watch::Sender<Switch>,
    accepted: Arc<AtomicU64>,
) {
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            connection = listener.accept() => match connection {
                Ok((client, _)) => {
                    accepted.fetch_add(1, Ordering::Relaxed);
                    links.spawn(serve(client, server, switch.subscribe()));
                }
                // Out of file descriptors, most likely: ones will come free.
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = links.join_next() => {}
        }
    }
}

async fn serve(client: TcpStream, server: SocketAddr, switch: watch::Receiver<Switch>) {
    if switch.borrow().fault == Fault::Refuse {
        return;
    }
    let born = switch.borrow().cuts;
    tokio::select! {
        () = link::until_cut(switch.clone(), born) => {}
        _ = link::carry(client, server, switch) => {}
    }
}

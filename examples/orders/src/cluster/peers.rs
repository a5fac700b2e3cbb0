use std::net::IpAddr;

use crate::settings::Settings;

/// A node of the cluster, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub name: String,
    /// Its host or address.
    pub host: String,
    /// Where other nodes talk about who leads.
    pub raft_port: u16,
    /// Where it serves HTTP.
    pub http_port: u16,
}

/// Who the nodes of the cluster are at its beginning, and which one this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    peers: Vec<Peer>,
    own: usize,
}

/// Nodes of a cluster whose peers are not named: `node0`, `node1` and `node2` on this machine.
const NODES: u16 = 3;
/// How far the Raft port is from the HTTP port, unless it is given.
const RAFT_AFTER_HTTP: u16 = 1000;

impl Peer {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("the peer `{text}` is none: write each as NAME=HOST:RAFT_PORT:HTTP_PORT");
        let (name, place) = text.trim().split_once('=').ok_or_else(wrong)?;
        let (place, http_port) = place.rsplit_once(':').ok_or_else(wrong)?;
        let (host, raft_port) = place.rsplit_once(':').ok_or_else(wrong)?;
        let port = |text: &str| text.parse::<u16>().map_err(|_| wrong());
        if name.is_empty() || host.is_empty() {
            return Err(wrong());
        }
        let (raft_port, http_port) = (port(raft_port)?, port(http_port)?);
        Ok(Self { name: name.to_owned(), host: host.to_owned(), raft_port, http_port })
    }

    /// `host:port` for the other nodes.
    #[must_use]
    pub fn raft(&self) -> String {
        format!("{}:{}", self.host, self.raft_port)
    }

    /// Where its HTTP server is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.http_port)
    }

    fn is_on_loopback(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl Layout {
    /// As the settings say: the peers that are named, or else three nodes on this machine whose ports and names count
    /// up together.
    ///
    /// # Errors
    /// A sentence that says what to give.
    pub fn of(settings: &Settings) -> Result<Self, String> {
        let name =
            settings.node.clone().ok_or("a node of a cluster needs its id: give it --node, or --node-id")?;
        let given = settings.cluster.peers.as_deref().unwrap_or_default();
        let given: Vec<&str> = given.split(',').filter(|peer| !peer.trim().is_empty()).collect();
        let peers = match &given[..] {
            [] => counted(&name, settings)?,
            given => given.iter().map(|peer| Peer::read(peer)).collect::<Result<_, _>>()?,
        };
        let own = peers.iter().position(|peer| peer.name == name);
        let own = own.ok_or_else(|| {
            format!("`{name}` is not among its peers: --peers names every node, itself too")
        })?;
        let mut layout = Self { peers, own };
        if let Some(port) = settings.cluster.raft_port {
            layout.peers[own].raft_port = port;
        }
        Ok(layout)
    }

    /// This node.
    #[must_use]
    pub fn own(&self) -> &Peer {
        &self.peers[self.own]
    }

    /// Its number.
    #[must_use]
    pub fn own_id(&self) -> u64 {
        self.own as u64 + 1
    }

    /// All of them, with their numbers.
    pub fn peers(&self) -> impl Iterator<Item = (u64, &Peer)> {
        (1..).zip(&self.peers)
    }

    /// Where it listens for the others: nowhere but on this machine when they are all here.
    #[must_use]
    pub fn listen_host(&self) -> &'static str {
        if self.is_on_loopback() { "127.0.0.1" } else { "0.0.0.0" }
    }

    /// Whether all nodes are on this machine.
    #[must_use]
    pub fn is_on_loopback(&self) -> bool {
        self.peers.iter().all(Peer::is_on_loopback)
    }
}

/// `node2` on port 5002 has `node0` on port 5000 before it and `node1` on port 5001.
fn counted(name: &str, settings: &Settings) -> Result<Vec<Peer>, String> {
    let wrong = || {
        format!(
            "`{name}` cannot be found among its peers: call the nodes node0, node1 and node2, on ports that count up, or give --peers"
        )
    };
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number: u16 = digits.parse().ok().filter(|number| *number < NODES).ok_or_else(wrong)?;
    let prefix = &name[..name.len() - digits.len()];
    let port = settings.listen.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let first = port.and_then(|port| port.checked_sub(number)).filter(|port| *port > 0).ok_or_else(wrong)?;
    let peer = |n| {
        let http_port = first.checked_add(n)?;
        let raft_port = http_port.checked_add(RAFT_AFTER_HTTP)?;
        Some(Peer { name: format!("{prefix}{n}"), host: "127.0.0.1".to_owned(), raft_port, http_port })
    };
    (0..NODES).map(peer).collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(node: &str, listen: &str, peers: Option<&str>) -> Settings {
        let mut settings =
            Settings { node: Some(node.to_owned()), listen: listen.to_owned(), ..Settings::default() };
        settings.cluster.peers = peers.map(str::to_owned);
        settings
    }

    #[test]
    fn nodes_that_count_up_find_each_other() {
        let layout = Layout::of(&settings("node1", "127.0.0.1:5001", None)).expect("a good layout");
        let places: Vec<_> = layout
            .peers()
            .map(|(id, peer)| format!("{id} {} {} {}", peer.name, peer.raft(), peer.url()))
            .collect();
        assert_eq!(
            places,
            [
                "1 node0 127.0.0.1:6000 http://127.0.0.1:5000",
                "2 node1 127.0.0.1:6001 http://127.0.0.1:5001",
                "3 node2 127.0.0.1:6002 http://127.0.0.1:5002"
            ]
        );
        assert_eq!((layout.own_id(), layout.is_on_loopback()), (2, true));
        for (node, listen) in [
            ("other", "127.0.0.1:5000"),
            ("node3", "127.0.0.1:5003"),
            ("node2", "127.0.0.1:1"),
            ("node0", "127.0.0.1:65535"),
        ] {
            assert!(Layout::of(&settings(node, listen, None)).is_err(), "{node} {listen}");
        }
    }

    #[test]
    fn named_peers_are_where_they_say() {
        let peers = "a=10.0.0.1:6001:80, b=db.example:6001:8080";
        let mut given = settings("b", "0.0.0.0:8080", Some(peers));
        given.cluster.raft_port = Some(7000);
        let layout = Layout::of(&given).expect("a good layout");
        assert_eq!(
            (layout.own_id(), layout.own().raft(), layout.is_on_loopback()),
            (2, "db.example:7000".to_owned(), false)
        );
        for (node, peers) in [("c", peers), ("a", "a=10.0.0.1:6001"), ("a", "=h:1:2"), ("a", "a=h:x:2")] {
            assert!(Layout::of(&settings(node, "0.0.0.0:80", Some(peers))).is_err(), "{peers}");
        }
    }
}

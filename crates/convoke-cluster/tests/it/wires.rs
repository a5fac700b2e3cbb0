use std::path::Path;

use convoke_cluster::{
    Cluster, Config, Consistency, NodeId, PeerTls, Secret, UPGRADE_PATH, UPGRADE_PROTOCOL,
};
use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{Journal, Nodes, PATIENCE, lines, write};

/// Starts each node as `configure` says, and looks that what one writes the others read.
async fn agree(nodes: &Nodes, configure: impl Fn(NodeId, Config) -> Config) {
    let starting = nodes.founders.keys().map(|id| async {
        Cluster::start_with(configure(*id, nodes.config(*id)), Journal::default())
            .await
            .expect("the node starts")
    });
    let started = join_all(starting).await;
    for (before, node) in started.iter().enumerate() {
        node.wait_for_leader(PATIENCE).await.expect("a node leads");
        assert_eq!(write(node, format!("line {before}")).await.expect("it is written"), before as u64 + 1);
    }
    for node in &started {
        assert_eq!(lines(node, Consistency::Linearizable).await.len(), started.len());
    }
}

/// Certificates for members on this machine, all of one authority.
fn certificates(count: u64, folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    std::fs::write(folder.join("ca.pem"), authority.pem()).expect("written");
    for id in 1..=count {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &authority).expect("signed");
        std::fs::write(folder.join(format!("{id}.pem")), certificate.pem()).expect("written");
        std::fs::write(folder.join(format!("{id}.key")), key.serialize_pem()).expect("written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_with_a_secret_and_tls_agree() {
    let nodes = Nodes::in_memory(3);
    let files = tempfile::tempdir().expect("a directory");
    certificates(3, files.path());
    agree(&nodes, |id, config| {
        let file = |name: String| files.path().join(name);
        let tls =
            PeerTls::new(file(format!("{id}.pem")), file(format!("{id}.key")), file("ca.pem".to_owned()));
        config.secret(Secret::new("known to all members").expect("it is long enough")).tls(tls)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_agree_over_their_http_servers() {
    let nodes = Nodes::in_memory(3);
    let mut servers = Vec::new();
    let starting = nodes.founders.iter().map(|(id, member)| async {
        let socket = TcpListener::bind(&member.raft).await.expect("the port is free");
        let config = nodes.config(*id).upgraded(true);
        let node = Cluster::start_with(config, Journal::default()).await.expect("the node starts");
        (socket, node)
    });
    for (socket, node) in join_all(starting).await {
        servers.push((tokio::spawn(http(socket, node.clone())), node));
    }
    for (server, node) in &servers {
        node.wait_for_leader(PATIENCE).await.expect("a node leads");
        write(node, "a line").await.expect("it is written");
        assert!(!server.is_finished());
    }
    assert_eq!(lines(&servers[0].1, Consistency::Linearizable).await.len(), 3);
    servers.iter().for_each(|(server, _)| server.abort());
}

/// As much of an HTTP server as an upgrade needs.
async fn http(socket: TcpListener, node: Cluster<Journal>) {
    loop {
        let (mut stream, from) = socket.accept().await.expect("accepted");
        let node = node.clone();
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let head = String::from_utf8(head).expect("text");
            assert!(head.starts_with(&format!("GET {UPGRADE_PATH} ")), "{head}");
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {UPGRADE_PROTOCOL}\r\n\r\n"
            );
            if stream.write_all(answer.as_bytes()).await.is_ok() {
                node.serve_upgraded(stream, &from.to_string()).await;
            }
        });
    }
}

use std::sync::Arc;

use convoke_testing::servers::{Certificates, NatsServer};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::process::Node;

const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn with_a_certificate_a_node_speaks_https_and_nothing_else() {
    let test = "with_a_certificate_a_node_speaks_https_and_nothing_else";
    let Some(nats) = NatsServer::start_or_skip(test).await else { return };
    let certificates = Certificates::generate().expect("there is a directory");
    let path = |path: std::path::PathBuf| path.display().to_string();
    let (cert, key) = (path(certificates.server()), path(certificates.server_key()));
    let node =
        Node::start(&["--node", "n1", "--nats", &nats.url(), "--tls-cert", &cert, "--tls-key", &key]).await;
    let address = node.url.trim_start_matches("http://");

    let mut plain = TcpStream::connect(address).await.expect("it listens");
    plain.write_all(REQUEST).await.expect("it takes bytes");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await; // a reset is an answer as well
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));

    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates.authority()).expect("a certificate");
    roots.add(authority).expect("it can be trusted");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut secured =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("it is trusted");
    secured.write_all(REQUEST).await.expect("it takes bytes");
    let mut answer = String::new();
    secured.read_to_string(&mut answer).await.expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

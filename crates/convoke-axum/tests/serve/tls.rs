use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use convoke_axum::{ServeConfig, ServeErrorKind, TlsConfig, serve};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::client::Client;
use crate::server::Server;

/// A self-signed certificate and its key, in memory and as files.
struct Identity {
    made: CertifiedKey<rcgen::KeyPair>,
    folder: TempDir,
}

impl Identity {
    fn new() -> Identity {
        let made = generate_simple_self_signed(["localhost".to_owned()]).expect("the name is a name");
        let folder = TempDir::new().expect("a temporary folder can be made");
        fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("the folder is writable");
        fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("and stays so");
        Identity { made, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> TlsConfig {
        TlsConfig::new(self.path("cert.pem"), self.path("key.pem"))
    }
}

/// Connects with trust in `server`, and as `client` if one is given.
async fn connect(
    address: std::net::SocketAddr,
    server: &Identity,
    client: Option<&Identity>,
) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(server.made.cert.der().clone()).expect("the certificate is well-formed");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks them")
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(client.made.signing_key.serialize_der()));
            builder
                .with_client_auth_cert(vec![client.made.cert.der().clone()], key)
                .expect("certificate and key belong together")
        }
    };
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("it is a name");
    Ok(Client::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}

#[tokio::test]
async fn requests_are_answered_over_tls() {
    let identity = Identity::new();
    let server = Server::start(ServeConfig::default().tls(identity.config())).await;
    let mut client = connect(server.address, &identity, None).await.expect("the handshake succeeds");
    for _ in 0..2 {
        client.send("POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello").await;
        client.answer().await.expect_ok("hello");
    }
    let drained = server.shut_down().await;
    assert_eq!(drained.aborted, 0);
    client.closed().await;
}

#[tokio::test]
async fn a_long_body_is_refused_over_tls_too() {
    let identity = Identity::new();
    let server = Server::start(ServeConfig::default().tls(identity.config())).await;
    let mut client = connect(server.address, &identity, None).await.expect("the handshake succeeds");
    client.send("POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4000000\r\n\r\n").await;
    client.send(vec![b'x'; 4_000_000]).await;
    client.answer().await.expect_problem(413);
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_is_closed_in_time() {
    let identity = Identity::new();
    let timeout = Duration::from_millis(300);
    let server = Server::start(ServeConfig::default().header_timeout(timeout).tls(identity.config())).await;
    let started = Instant::now();
    let mut client = Client::connect(server.address).await;
    client.closed().await;
    let taken = started.elapsed();
    assert!(taken >= timeout && taken < timeout + Duration::from_secs(1), "closed after {taken:?}");
}

#[tokio::test]
async fn with_client_authorities_only_their_clients_are_served() {
    let (identity, known, stranger) = (Identity::new(), Identity::new(), Identity::new());
    let config = ServeConfig::default().tls(identity.config().client_ca(known.path("cert.pem")));
    let server = Server::start(config).await;

    let mut client = connect(server.address, &identity, Some(&known)).await.expect("the client is known");
    client.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    client.answer().await.expect_ok("hello");

    for refused in [None, Some(&stranger)] {
        // In TLS 1.3 the client's part of the handshake ends before the server has judged it.
        if let Ok(mut client) = connect(server.address, &identity, refused).await {
            let _ = client.try_send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            assert!(client.try_answer().await.is_none(), "a stranger was answered");
        }
    }
}

async fn start_error(tls: TlsConfig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let error = serve(listener, Router::new(), ServeConfig::default().tls(tls))
        .await
        .expect_err("such files start no server");
    assert_eq!(error.kind(), ServeErrorKind::Tls);
    error.to_string()
}

#[tokio::test]
async fn a_wrong_file_ends_the_start_with_its_name_and_what_is_wrong_with_it() {
    let (identity, other) = (Identity::new(), Identity::new());
    let (cert, key) = (identity.path("cert.pem"), identity.path("key.pem"));

    let missing = identity.path("missing.pem");
    let error = start_error(TlsConfig::new(&missing, &key)).await;
    assert_eq!(
        error,
        format!(
            "cannot use the TLS certificate chain {}: No such file or directory (os error 2)",
            missing.display()
        )
    );

    let error = start_error(TlsConfig::new(&cert, &cert)).await;
    assert_eq!(
        error,
        format!("cannot use the TLS private key {}: it holds no private key in PEM form", cert.display())
    );

    let error = start_error(TlsConfig::new(&key, &key)).await;
    assert_eq!(
        error,
        format!(
            "cannot use the TLS certificate chain {}: it holds no certificate in PEM form",
            key.display()
        )
    );

    let foreign = other.path("key.pem");
    let error = start_error(TlsConfig::new(&cert, &foreign)).await;
    assert!(error.contains(&cert.display().to_string()), "{error}");
    assert!(error.contains(&foreign.display().to_string()), "{error}");

    let error = start_error(identity.config().client_ca(&missing)).await;
    assert!(error.contains("client authorities") && error.contains("missing.pem"), "{error}");
}

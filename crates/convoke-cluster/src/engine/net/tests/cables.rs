//! Over real sockets: TCP, TLS, and HTTP that is upgraded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use convoke_testing::eventually;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::VoteRequest;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::kit::{FakeService, Made, identity, member, vote};
use crate::PeerTls;
use crate::engine::net::{
    BoxWire, Connect, Listener, Net, Plain, Secure, Server, Tcp, Timing, Tls, UPGRADE_PATH, UPGRADE_PROTOCOL,
    Upgrade,
};

const FEW: usize = 4;

struct Two {
    at: String,
    listening: tokio::task::JoinHandle<()>,
}

impl Drop for Two {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn server() -> Server {
    let two = Net::new(identity(2), Timing::default(), Arc::new(Tcp));
    two.server(Arc::new(FakeService::default()))
}

async fn two(secure: Arc<dyn Secure>) -> Two {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = socket.local_addr().expect("bound").to_string();
    let listener = Listener {
        socket,
        secure,
        server: server(),
        connections_max: FEW,
        secure_within: Duration::from_secs(5),
    };
    Two { at, listening: tokio::spawn(listener.run()) }
}

/// Slow machines need longer for TLS than members have by default.
fn patient() -> Timing {
    Timing { connect: Duration::from_secs(5), ..Timing::default() }
}

async fn vote_over(connect: Arc<dyn Connect>, at: &str) -> Result<(), String> {
    let one = Net::new(identity(1), patient(), connect);
    let mut client = one.factory::<Made>().new_client(2, &member(at)).await;
    let asked =
        client.vote(VoteRequest::new(vote(3, 1), None), RPCOption::new(Duration::from_secs(10))).await;
    asked.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn members_talk_over_tcp() {
    let two = two(Arc::new(Plain)).await;
    vote_over(Arc::new(Tcp), &two.at).await.expect("answered");
}

#[tokio::test]
async fn beyond_the_limit_connections_are_closed_and_whoever_leaves_makes_room() {
    let two = two(Arc::new(Plain)).await;
    let mut silent = Vec::new();
    for _ in 0..FEW {
        silent.push(TcpStream::connect(&two.at).await.expect("connected"));
    }
    let mut one_more = TcpStream::connect(&two.at).await.expect("accepted by the system");
    assert_eq!(one_more.read(&mut [0]).await.unwrap_or(0), 0, "closed");
    silent.clear();
    eventually("there is room", || vote_over(Arc::new(Tcp), &two.at)).await;
}

/// An authority and the members it vouches for.
struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { directory, issuer }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A member that others call by this host.
    fn member(&self, name: &str, host: &str) -> PeerTls {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let (cert_path, key_path) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        std::fs::write(&cert_path, certificate.pem()).expect("written");
        std::fs::write(&key_path, key.serialize_pem()).expect("written");
        PeerTls::new(cert_path, key_path, self.file("ca.pem"))
    }
}

fn over_tls(files: &PeerTls) -> Arc<dyn Connect> {
    Tls::open(files).expect("files that fit").over(Arc::new(Tcp))
}

#[tokio::test]
async fn members_of_one_authority_talk_over_tls() {
    let authority = Authority::new();
    let two = two(Arc::new(Tls::open(&authority.member("two", "127.0.0.1")).expect("files"))).await;
    vote_over(over_tls(&authority.member("one", "127.0.0.1")), &two.at).await.expect("answered");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_on_both_sides() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let two = two(Arc::new(Tls::open(&ours.member("two", "127.0.0.1")).expect("files"))).await;
    let stranger = theirs.member("stranger", "127.0.0.1");
    vote_over(over_tls(&stranger), &two.at).await.expect_err("neither trusts the other");
    // It trusts our listener, but the listener does not trust it.
    let naive = PeerTls::new(stranger.cert_path, stranger.key_path, ours.file("ca.pem"));
    vote_over(over_tls(&naive), &two.at).await.expect_err("its certificate is not ours");
    // The listener would trust it, but it does not trust the listener.
    let wary = ours.member("wary", "127.0.0.1");
    let wary = PeerTls::new(wary.cert_path, wary.key_path, theirs.file("ca.pem"));
    vote_over(over_tls(&wary), &two.at).await.expect_err("the listener's certificate is not theirs");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let two = two(Arc::new(Tls::open(&authority.member("two", "elsewhere.example")).expect("files"))).await;
    let error = vote_over(over_tls(&authority.member("one", "127.0.0.1")), &two.at).await;
    assert!(error.expect_err("not its host").contains("not valid for name"));
}

#[tokio::test]
async fn without_tls_nobody_talks_to_a_listener_with_it_and_the_other_way_round() {
    let authority = Authority::new();
    let files = authority.member("two", "127.0.0.1");
    let with = two(Arc::new(Tls::open(&files).expect("files"))).await;
    vote_over(Arc::new(Tcp), &with.at).await.expect_err("it expects TLS");
    let without = two(Arc::new(Plain)).await;
    vote_over(over_tls(&files), &without.at).await.expect_err("it has no TLS");
}

#[test]
fn a_wrong_file_is_named_and_not_quoted() {
    let authority = Authority::new();
    let good = authority.member("one", "127.0.0.1");
    let check = |files: PeerTls, named: &Path| {
        let error = Tls::open(&files).map(drop).expect_err("it does not fit").to_string();
        assert!(error.contains(&*named.to_string_lossy()), "{error}");
        assert!(!error.contains("BEGIN"), "{error}");
    };
    let missing = authority.file("missing.pem");
    check(PeerTls::new(&missing, &good.key_path, &good.ca_path), &missing);
    check(PeerTls::new(&good.cert_path, &good.cert_path, &good.ca_path), &good.cert_path);
    check(PeerTls::new(&good.cert_path, &good.key_path, &good.key_path), &good.key_path);
    let other = authority.member("other", "127.0.0.1");
    check(PeerTls::new(&good.cert_path, &other.key_path, &good.ca_path), &good.cert_path);
}

/// An HTTP server that upgrades one path, and only for our protocol. With files, behind TLS.
async fn http(tls: Option<&PeerTls>) -> (String, tokio::task::JoinHandle<()>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = socket.local_addr().expect("bound").to_string();
    let (server, tls) = (server(), tls.map(web));
    let listening = tokio::spawn(async move {
        loop {
            let (stream, from) = socket.accept().await.expect("accepted");
            let mut stream: BoxWire = match &tls {
                None => Box::new(stream),
                Some(tls) => Box::new(tls.accept(stream).await.expect("TLS")),
            };
            let server = server.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a request"));
                }
                let head = String::from_utf8(head).expect("text");
                let wanted = head.starts_with(&format!("GET {UPGRADE_PATH} HTTP/1.1\r\n"))
                    && head.contains(&format!("\r\nUpgrade: {UPGRADE_PROTOCOL}\r\n"));
                assert!(wanted, "{head}");
                let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: convoke-raft\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.expect("sent");
                stream.flush().await.expect("sent");
                server.serve(stream, &from.to_string()).await;
            });
        }
    });
    (at, listening)
}

/// TLS as a web server has it.
fn web(files: &PeerTls) -> tokio_rustls::TlsAcceptor {
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("TLS");
    let chain = CertificateDer::pem_file_iter(&files.cert_path).expect("a file").map(|pem| pem.expect("PEM"));
    let key = PrivateKeyDer::from_pem_file(&files.key_path).expect("a key");
    let mut server =
        builder.with_no_client_auth().with_single_cert(chain.collect(), key).expect("a certificate");
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(server).into()
}

#[tokio::test]
async fn members_talk_over_https_that_is_upgraded() {
    let authority = Authority::new();
    let (at, listening) = http(Some(&authority.member("two", "127.0.0.1"))).await;
    let tls = Tls::open(&authority.member("one", "127.0.0.1")).expect("files");
    vote_over(Arc::new(Upgrade::new(tls.over_to_http(Arc::new(Tcp)))), &at).await.expect("answered");
    vote_over(Arc::new(Upgrade::new(tls.over(Arc::new(Tcp)))), &at)
        .await
        .expect_err("it is no listener of ours");
    listening.abort();
}

#[tokio::test]
async fn members_talk_over_http_that_is_upgraded() {
    let (at, listening) = http(None).await;
    vote_over(Arc::new(Upgrade::new(Arc::new(Tcp))), &at).await.expect("answered");
    listening.abort();
}

#[tokio::test]
async fn an_http_server_that_does_not_upgrade_is_named() {
    for (answer, expected) in [
        (&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..], "404 Not Found"),
        (&[b'x'; 8192], "has no end"),
        (b"", "end of file"),
    ] {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = socket.local_addr().expect("bound").to_string();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = socket.accept().await.expect("accepted");
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer).await;
        });
        let error = vote_over(Arc::new(Upgrade::new(Arc::new(Tcp))), &at).await.expect_err("no upgrade");
        assert!(error.contains(expected), "{error}");
        serving.await.expect("no panic");
    }
}

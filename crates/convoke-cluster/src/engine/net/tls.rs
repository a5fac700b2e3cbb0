use std::io;
use std::path::Path;
use std::sync::Arc;

use convoke_core::BoxFuture;
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::listener::Secure;
use super::wire::{BoxWire, Connect};
use crate::{Error, NodeId, PeerTls};

/// What members say they speak within TLS, so that no other service behind the same certificates is mistaken for one.
const ALPN: &[u8] = b"convoke-raft/1";
/// What an HTTP server speaks that can upgrade.
const HTTP: &[u8] = b"http/1.1";

/// Both ends of TLS between members.
#[derive(Clone)]
pub(crate) struct Tls {
    client: Arc<ClientConfig>,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Reads all files and looks that they fit together, so that a wrong one ends the start.
    pub(crate) fn open(files: &PeerTls) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.ca_path)? {
            roots.add(certificate).map_err(|error| wrong(&files.ca_path, &error))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&files.cert_path)?;
        let key = || {
            PrivateKeyDer::from_pem_file(&files.key_path).map_err(|error| wrong_pem(&files.key_path, &error))
        };
        let no_tls = |error| Error::config(format!("cannot set up TLS between members: {error}"));
        let untrusted = |error: &dyn std::fmt::Display| wrong(&files.ca_path, error);
        let servers = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(no_tls)?
            .with_webpki_verifier(servers.build().map_err(|error| untrusted(&error))?)
            .with_client_auth_cert(chain.clone(), key()?)
            .map_err(|error| wrong(&files.cert_path, &error))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(no_tls)?
            .with_client_cert_verifier(clients.build().map_err(|error| untrusted(&error))?)
            .with_single_cert(chain, key()?)
            .map_err(|error| wrong(&files.cert_path, &error))?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        server.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { client: Arc::new(client), acceptor: Arc::new(server).into() })
    }

    /// TLS over the wires that `inner` makes, to members' own listeners.
    pub(crate) fn over(&self, inner: Arc<dyn Connect>) -> Arc<dyn Connect> {
        let connector = TlsConnector::from(Arc::clone(&self.client));
        Arc::new(Over { connector, speaks: Some(ALPN), inner })
    }

    /// TLS over the wires that `inner` makes, to members' HTTP servers.
    pub(crate) fn over_to_http(&self, inner: Arc<dyn Connect>) -> Arc<dyn Connect> {
        let mut client = ClientConfig::clone(&self.client);
        client.alpn_protocols = vec![HTTP.to_vec()];
        // Whether it upgrades is seen soon enough.
        Arc::new(Over { connector: TlsConnector::from(Arc::new(client)), speaks: None, inner })
    }
}

struct Over {
    connector: TlsConnector,
    /// What must be spoken on the other side.
    speaks: Option<&'static [u8]>,
    inner: Arc<dyn Connect>,
}

impl Connect for Over {
    fn connect<'a>(&'a self, to: Option<NodeId>, at: &'a str) -> BoxFuture<'a, io::Result<BoxWire>> {
        Box::pin(async move {
            let name = host(at)?;
            let wire = self.inner.connect(to, at).await?;
            let stream = self.connector.connect(name, wire).await?;
            if self.speaks.is_some() && stream.get_ref().1.alpn_protocol() != self.speaks {
                return Err(io::Error::other("no member of a cluster listens behind this TLS"));
            }
            Ok(Box::new(stream) as BoxWire)
        })
    }
}

impl Secure for Tls {
    fn secure(&self, stream: TcpStream) -> BoxFuture<'_, io::Result<BoxWire>> {
        Box::pin(async move { Ok(Box::new(self.acceptor.accept(stream).await?) as BoxWire) })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// The name that the certificate must be for: the host of `host:port`.
fn host(at: &str) -> io::Result<ServerName<'static>> {
    let host = at.rsplit_once(':').map_or(at, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{host:?}: {error}")))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    match read {
        Ok(certificates) if certificates.is_empty() => Err(wrong(path, &"it holds no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong_pem(path, &error)),
    }
}

/// Says what is wrong with a file without quoting it: a key may stand where a certificate should.
fn wrong_pem(path: &Path, error: &PemError) -> Error {
    match error {
        PemError::Io(error) => wrong(path, error),
        _ => wrong(path, &"it does not hold what it should in PEM form"),
    }
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::config(format!("cannot use {} for TLS between members: {why}", path.display()))
}

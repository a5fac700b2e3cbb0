use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::config::TlsConfig;
use super::error::{ServeError, ServeErrorKind};

/// Reads all files and checks that they fit together, so that a wrong one ends the start.
pub(super) fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, ServeError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&config.cert_path, "certificate chain")?;
    let key = PrivateKeyDer::from_pem_file(&config.key_path)
        .map_err(|error| wrong_file("private key", &config.key_path, &reason(error, "private key")))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ServeError::new(ServeErrorKind::Tls, format!("cannot set up TLS: {error}")))?;
    let builder = match &config.client_ca_path {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(client_verifier(path, provider)?),
    };
    let mut server = builder.with_single_cert(chain, key).map_err(|error| {
        let cert = config.cert_path.display();
        let key = config.key_path.display();
        ServeError::new(
            ServeErrorKind::Tls,
            format!("cannot use the TLS certificate chain {cert} with the private key {key}: {error}"),
        )
    })?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn client_verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ServeError> {
    const WHAT: &str = "client authorities";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, WHAT)? {
        roots.add(certificate).map_err(|error| wrong_file(WHAT, path, &error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| wrong_file(WHAT, path, &error.to_string()))
}

pub(crate) fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let wrong = |error| wrong_file(what, path, &reason(error, "certificate"));
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    if certificates.is_empty() {
        return Err(wrong(PemError::NoItemsFound));
    }
    Ok(certificates)
}

/// Says what is wrong with a file without quoting it: a key may stand where a certificate should.
fn reason(error: PemError, wanted: &str) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        PemError::NoItemsFound => format!("it holds no {wanted} in PEM form"),
        PemError::MissingSectionEnd { .. } => "a PEM section has no end line".to_owned(),
        PemError::IllegalSectionStart { .. } => "a PEM section's first line is malformed".to_owned(),
        PemError::Base64Decode(_) => "a PEM section is not base64".to_owned(),
        _ => "it is not in PEM form".to_owned(),
    }
}

fn wrong_file(what: &str, path: &Path, reason: &str) -> ServeError {
    ServeError::file(what, path, reason)
}

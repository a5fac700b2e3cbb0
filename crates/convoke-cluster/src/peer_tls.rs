use std::path::PathBuf;

use serde::Deserialize;

/// The PEM files of TLS between members. Each member shows its certificate and wants the other one's, whoever calls:
/// a member's is for servers and clients, for the host that others call it by, and from the one authority that all of
/// them trust.
///
/// ```
/// let tls = convoke_cluster::PeerTls::new("n1.crt", "n1.key", "members.crt");
/// assert!(tls.ca_path.ends_with("members.crt"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PeerTls {
    /// The certificate chain, this member's own certificate first.
    pub cert_path: PathBuf,
    /// The private key of the first certificate.
    pub key_path: PathBuf,
    /// The authorities whose certificates members have. Not the system's: they vouch for others too.
    pub ca_path: PathBuf,
}

impl PeerTls {
    /// A member with this certificate chain and private key, which trusts members that these authorities vouch for.
    pub fn new(
        cert_path: impl Into<PathBuf>,
        key_path: impl Into<PathBuf>,
        ca_path: impl Into<PathBuf>,
    ) -> Self {
        Self { cert_path: cert_path.into(), key_path: key_path.into(), ca_path: ca_path.into() }
    }
}

use std::{fmt, path::PathBuf};

use serde::Deserialize;

/// Who we are to the server.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Auth {
    /// Nobody, or as the address says.
    #[default]
    None,
    /// A user with a password.
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of an nkey, starting with `SU`.
    NkeySeed(String),
    /// A file with a JWT and the seed it belongs to.
    CredentialsFile(PathBuf),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::UserPassword { user, .. } => write!(f, "UserPassword({user:?}, ***)"),
            Self::Token(_) => f.write_str("Token(***)"),
            Self::NkeySeed(_) => f.write_str("NkeySeed(***)"),
            Self::CredentialsFile(path) => write!(f, "CredentialsFile({path:?})"),
        }
    }
}

/// How the connection is protected. The files are PEM.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Tls {
    /// Whose certificates are trusted. Default: the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate, when the server wants one. With [`key`](Self::key).
    pub cert: Option<PathBuf>,
    /// The key of our certificate.
    pub key: Option<PathBuf>,
    /// Refuse a server without TLS. Default: false.
    pub require: bool,
}

impl Tls {
    /// Trusts certificates signed by this file's, and refuses a server without TLS.
    pub fn ca(path: impl Into<PathBuf>) -> Self {
        Self { ca: Some(path.into()), require: true, ..Self::default() }
    }
    /// Shows a certificate of our own.
    pub fn client_certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.cert = Some(cert.into());
        self.key = Some(key.into());
        self
    }
}

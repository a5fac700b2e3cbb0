use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tempfile::TempDir;

use super::error::Error;
use super::instance::{new_directory, write};

/// A certificate authority of this test's own, with one server and one client certificate.
///
/// The server's is good for `localhost` and `127.0.0.1`. The files are removed with the value.
#[derive(Debug)]
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// Makes new keys and writes the PEM files.
    ///
    /// # Errors
    ///
    /// [`Failed`](super::ErrorKind::Failed) when the keys or the files cannot be made.
    pub fn generate() -> Result<Self, Error> {
        let directory = new_directory()?;
        let refused = |error: rcgen::Error| Error::failed(format!("no certificates: {error}"));
        let mut params = named("Convoke tests").map_err(refused)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(refused)?;
        let authority = CertifiedIssuer::self_signed(params, key).map_err(refused)?;
        write(&directory.path().join("ca.pem"), &authority.pem())?;
        let usages = [
            ("server", ExtendedKeyUsagePurpose::ServerAuth),
            ("client", ExtendedKeyUsagePurpose::ClientAuth),
        ];
        for (name, usage) in usages {
            let mut params = named(name).map_err(refused)?;
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().map_err(refused)?;
            let certificate = params.signed_by(&key, &authority).map_err(refused)?;
            write(&directory.path().join(format!("{name}.pem")), &certificate.pem())?;
            write(&directory.path().join(format!("{name}.key")), &key.serialize_pem())?;
        }
        Ok(Self { directory })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// The server's certificate.
    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.file("server.pem")
    }

    /// The server's private key.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.file("server.key")
    }

    /// The client's certificate.
    #[must_use]
    pub fn client(&self) -> PathBuf {
        self.file("client.pem")
    }

    /// The client's private key.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.file("client.key")
    }

    /// The directory all files lie in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn named(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

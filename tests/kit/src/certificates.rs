//! Certificates for servers and clients of a test, and an authority that signs them.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

/// An authority of its own, with a certificate for a server on 127.0.0.1 and one for a client. All
/// are PEM files in a temporary directory, which goes when this is dropped.
#[derive(Debug)]
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// Makes them.
    ///
    /// # Panics
    ///
    /// If they cannot be made or written.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory for certificates");
        let mut authority = params("a test's authority", None);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority");
        let put = |name: &str, pem: String| {
            fs::write(directory.path().join(name), pem).expect("a file in the directory");
        };
        put("ca.pem", authority.pem());
        for (name, address) in [("server", Some("127.0.0.1")), ("client", None)] {
            let key = key();
            let signed = params(name, address).signed_by(&key, &authority).expect("a certificate");
            put(&format!("{name}.pem"), signed.pem());
            put(&format!("{name}.key"), key.serialize_pem());
        }
        Self { directory }
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// The server's certificate and its key.
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (self.file("server.pem"), self.file("server.key"))
    }

    /// The client's certificate and its key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.file("client.pem"), self.file("client.key"))
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::join(self.directory.path(), name)
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn params(name: &str, address: Option<&str>) -> CertificateParams {
    let names: Vec<_> = address.into_iter().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names).expect("an address is one");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

//! TLS: whom this process trusts, and what it shows of itself.
//!
//! The files are read anew for each connection, so that certificates can be renewed while processes
//! run. Without the feature `tls`, whatever asks for TLS is refused with what to do.

use redis::{Client, ConnectionAddr, ConnectionInfo};
use shiftwork_adapter::Variable;

use crate::fault::Fault;

/// The variables, by which a connection's are found.
pub(crate) const CA: Variable = file(
    "JOBS_REDIS_TLS_CA",
    "a PEM file with the certificates of the authorities that sign the server's, for `rediss://`. \
     Not set: those that the system trusts",
);
pub(crate) const CERT: Variable = file(
    "JOBS_REDIS_TLS_CERT",
    "a PEM file with the certificate that this process shows a server that asks for one",
);
pub(crate) const KEY: Variable =
    file("JOBS_REDIS_TLS_KEY", "a PEM file with the private key of `JOBS_REDIS_TLS_CERT`");

const fn file(name: &'static str, doc: &'static str) -> Variable {
    Variable {
        name,
        fallbacks: &[],
        required: false,
        default: None,
        secret: false,
        doc,
        check: Variable::any,
    }
}

/// How connections are secured.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "no URL asks for it there"))]
pub(crate) struct Tls {
    /// Whom it trusts; `None`: whom the system does.
    ca: Option<String>,
    /// Its certificate and its key.
    identity: Option<(String, String)>,
}

impl Tls {
    /// What the variables say; `None` where the URL names no TLS.
    ///
    /// # Errors
    /// Variables that do not fit the URL or each other, and files that cannot be read: for people,
    /// with what to do.
    pub(crate) fn of<'a>(
        info: &ConnectionInfo,
        variable: impl Fn(&str) -> Option<&'a String>,
    ) -> Result<Option<Self>, String> {
        let [ca, cert, key] = [CA, CERT, KEY].map(|file| variable(file.name).cloned());
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            let set = [(CA, &ca), (CERT, &cert), (KEY, &key)];
            return match set.iter().find(|(_, value)| value.is_some()) {
                None => Ok(None),
                Some((variable, _)) => Err(format!(
                    "{} is set, and JOBS_REDIS_URL does not begin with rediss://: the connection \
                     would not be encrypted; use rediss://, or leave {0} out",
                    variable.name
                )),
            };
        }
        let identity = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert, key)),
            (cert, _) => {
                let (set, missing) = if cert.is_some() { (CERT, KEY) } else { (KEY, CERT) };
                let (set, missing) = (set.name, missing.name);
                return Err(format!("{set} is set and {missing} is not; set both or neither"));
            }
        };
        let tls = Self { ca, identity };
        // What is wrong with a file is best said at the start.
        tls.client(info.clone()).map_err(|fault| fault.message)?;
        Ok(Some(tls))
    }

    /// A client that connects to a server so secured.
    pub(crate) fn client(&self, info: ConnectionInfo) -> Result<Client, Fault> {
        with_files::client(self, info)
    }
}

/// Why `rediss://` is no use in this program; `None`: it is.
pub(crate) fn is_missing() -> Option<&'static str> {
    (!cfg!(feature = "tls")).then_some(
        "this program was built without TLS; build it with the feature tls of shiftwork, or use \
         redis://",
    )
}

#[cfg(feature = "tls")]
mod with_files {
    use std::fs;

    use redis::{Client, ClientTlsConfig, ConnectionInfo, TlsCertificates};
    use rustls::crypto::{CryptoProvider, ring};
    use shiftwork_adapter::Variable;

    use super::{CA, CERT, KEY, Tls};
    use crate::fault::{Fault, What};

    pub(super) fn client(tls: &Tls, info: ConnectionInfo) -> Result<Client, Fault> {
        if CryptoProvider::get_default().is_none() {
            // Somebody else may have been quicker, and theirs will do.
            let _ = ring::default_provider().install_default();
        }
        let root_cert = tls.ca.as_ref().map(|path| read(&CA, path)).transpose()?;
        let client_tls = match &tls.identity {
            None => None,
            Some((cert, key)) => Some(ClientTlsConfig {
                client_cert: read(&CERT, cert)?,
                client_key: read(&KEY, key)?,
            }),
        };
        let certificates = TlsCertificates { client_tls, root_cert };
        Client::build_with_tls(info, certificates).map_err(|error| {
            let message = format!(
                "the files that {}, {} and {} name cannot be used: {error}; each must be PEM",
                CA.name, CERT.name, KEY.name
            );
            Fault::new(What::Invalid, message)
        })
    }

    /// What a file has of PEM: a file without any would make a client that trusts nobody.
    fn read(variable: &Variable, path: &str) -> Result<Vec<u8>, Fault> {
        let name = variable.name;
        let content = fs::read(path).map_err(|error| {
            let message = format!("{name} is {path}, which cannot be read: {error}");
            Fault::new(What::Invalid, message)
        })?;
        if !content.windows(11).any(|bytes| bytes == b"-----BEGIN ") {
            let message = format!("{name} is {path}, which is no PEM file: it has no -----BEGIN");
            return Err(Fault::new(What::Invalid, message));
        }
        Ok(content)
    }
}

#[cfg(not(feature = "tls"))]
mod with_files {
    use redis::{Client, ConnectionInfo};

    use super::{Tls, is_missing};
    use crate::fault::{Fault, What};

    pub(super) fn client(_: &Tls, _: ConnectionInfo) -> Result<Client, Fault> {
        Err(Fault::new(What::Invalid, is_missing().unwrap_or_default()))
    }
}

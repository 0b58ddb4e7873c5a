//! What `JOBS_REDIS_URL` names: a server, or sentinels that say which it is.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::sentinel::{self, Sentinels};
use crate::tls;

const ALLOWED: &str = "use redis://user:password@host:port/database, rediss:// for TLS, or \
                       unix:///path/to/redis.sock?db=0";

/// What a URL names.
#[derive(Debug)]
pub(crate) enum Named {
    Server(ConnectionInfo),
    Sentinels(Sentinels),
}

/// Checks a URL; for one that will not do, says what to use instead.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    Named::read(url).map(drop)
}

impl Named {
    /// # Errors
    /// What to use instead, without anything secret of the URL.
    pub(crate) fn read(url: &str) -> Result<Self, String> {
        let url = url.trim();
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if ["rediss", "valkeys", "rediss-sentinel"].contains(&scheme) {
            if let Some(why) = tls::is_missing() {
                return Err(why.into());
            }
            if url.contains('#') {
                let why = "what follows # is not supported, #insecure neither: it would let \
                           anybody answer for the server; set JOBS_REDIS_TLS_CA to whom to trust";
                return Err(why.into());
            }
        }
        let named = match sentinel::read(scheme, url)? {
            Some(sentinels) => Self::Sentinels(sentinels),
            // What the library says of a URL may repeat its password.
            None => Self::Server(url.into_connection_info().map_err(|_| ALLOWED.to_owned())?),
        };
        if named.info().redis_settings().db() < 0 {
            return Err(format!("databases are numbered from 0; {ALLOWED}"));
        }
        Ok(named)
    }

    /// How to connect; of sentinels, to whom they name, but for its address.
    pub(crate) fn info(&self) -> &ConnectionInfo {
        match self {
            Self::Server(info) => info,
            Self::Sentinels(sentinels) => sentinels.primary(),
        }
    }

    /// Without user and password.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Server(info) => show(info),
            Self::Sentinels(sentinels) => sentinels.shown(),
        }
    }
}

fn show(info: &ConnectionInfo) -> String {
    let database = info.redis_settings().db();
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{database}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}/{database}"),
        ConnectionAddr::Unix(path) => format!("unix://{}?db={database}", path.display()),
        _ => "a redis server".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        Named::read(url).unwrap().shown()
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in ["redis://me:hunter2@host:6380/3", "redis://:hunter2@host:6380/3"] {
            assert_eq!(shown(url), "redis://host:6380/3");
        }
        for url in ["redis//me:hunter2@host", "http://me:hunter2@host", "redis://me:hunter2@host:x"]
        {
            assert!(!check_url(url).unwrap_err().contains("hunter2"));
        }
    }

    #[test]
    fn sockets_are_urls_too() {
        assert_eq!(shown("unix:///run/redis.sock?db=2"), "unix:///run/redis.sock?db=2");
    }
}

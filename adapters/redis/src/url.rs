//! What `JOBS_REDIS_URL` names: a server, sentinels that say which it is, or nodes of a cluster.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::cluster::Cluster;
use crate::sentinel::Sentinels;
use crate::tls;

const ALLOWED: &str = "use redis://user:password@host:port/database, rediss:// for TLS, or \
                       unix:///path/to/redis.sock?db=0";

/// What a URL names.
#[derive(Debug)]
pub(crate) enum Named {
    Server(ConnectionInfo),
    Sentinels(Sentinels),
    Cluster(Cluster),
}

/// A URL with several hosts, in its parts.
pub(crate) struct Several<'a> {
    /// `redis`, or `rediss`.
    pub(crate) scheme: &'a str,
    /// User and password, up to and with the `@`.
    pub(crate) user: String,
    /// Each with its port.
    pub(crate) hosts: Vec<String>,
    /// Behind the first slash.
    pub(crate) path: &'a str,
    /// Behind the question mark.
    pub(crate) query: &'a str,
}

impl<'a> Several<'a> {
    /// `port` is that of hosts which name none.
    fn read(scheme: &'a str, url: &'a str, port: u16) -> Self {
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let with_port = |host: &str| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            if has_port { host.to_owned() } else { format!("{host}:{port}") }
        };
        Self { scheme, user, hosts: hosts.split(',').map(with_port).collect(), path, query }
    }

    /// How to connect to one of the hosts. What the library says of a URL may repeat its password.
    pub(crate) fn info(&self, user: &str, host: &str, path: &str) -> Option<ConnectionInfo> {
        format!("{}://{user}{host}/{path}", self.scheme).into_connection_info().ok()
    }
}

/// The same way to connect, to another address.
pub(crate) fn at(info: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let address = match info.addr() {
        ConnectionAddr::TcpTls { .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(address)
}

/// Where sentinels listen, and servers.
const PORTS: (u16, u16) = (26379, 6379);

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
        if ["rediss", "valkeys", "rediss-sentinel", "rediss-cluster"].contains(&scheme) {
            if let Some(why) = tls::is_missing() {
                return Err(why.into());
            }
            if url.contains('#') {
                let why = "what follows # is not supported, #insecure neither: it would let \
                           anybody answer for the server; set JOBS_REDIS_TLS_CA to whom to trust";
                return Err(why.into());
            }
        }
        let named = match scheme.split_once('-') {
            Some((scheme @ ("redis" | "rediss"), "sentinel")) => {
                Self::Sentinels(Sentinels::read(&Several::read(scheme, url, PORTS.0))?)
            }
            Some((scheme @ ("redis" | "rediss"), "cluster")) => {
                Self::Cluster(Cluster::read(&Several::read(scheme, url, PORTS.1))?)
            }
            // What the library says of a URL may repeat its password.
            _ => Self::Server(url.into_connection_info().map_err(|_| ALLOWED.to_owned())?),
        };
        if named.info().redis_settings().db() < 0 {
            return Err(format!("databases are numbered from 0; {ALLOWED}"));
        }
        Ok(named)
    }

    /// How to connect; of sentinels and clusters, to whom they name, but for its address.
    pub(crate) fn info(&self) -> &ConnectionInfo {
        match self {
            Self::Server(info) => info,
            Self::Sentinels(sentinels) => sentinels.primary(),
            Self::Cluster(cluster) => cluster.node(),
        }
    }

    /// Without user and password.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Server(info) => show(info),
            Self::Sentinels(sentinels) => sentinels.shown(),
            Self::Cluster(cluster) => cluster.shown(),
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

//! Sentinel: which server is the primary now, as the sentinels say.
//!
//! They are asked anew for each connection, which is how processes follow a failover: the sentinels
//! close the connections to a primary that is one no more, and where they cannot, it falls silent.
//!
//! All of them are asked at once. Of what they say within a moment, the answer of the latest
//! configuration counts: a sentinel that is cut off from the others, or comes back, still names the
//! primary of before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, FromRedisValue,
    IntoConnectionInfo, Value,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use crate::fault::{Fault, What};
use crate::sent::good;
use crate::tls::Tls;

/// How long the others have to answer once one has.
const OTHERS: Duration = Duration::from_millis(200);

/// Where sentinels listen.
const PORT: u16 = 26379;

const FORM: &str = "redis-sentinel://user:password@sentinel:26379,sentinel:26379/name/database";

/// Those who know.
#[derive(Debug)]
pub(crate) struct Sentinels {
    all: Vec<ConnectionInfo>,
    /// What they call the primary.
    name: String,
    /// How to connect to it, but for its address.
    primary: ConnectionInfo,
    /// The URL, without users and passwords.
    shown: String,
    /// Where it was when they were asked last.
    last: Mutex<Option<(String, u16)>>,
}

/// What one of them says.
struct Said {
    address: (String, u16),
    epoch: u64,
    /// They have agreed that it is down.
    is_down: bool,
}

/// Reads a URL of this scheme; `None`: it is none of sentinels.
///
/// # Errors
/// What a URL of sentinels looks like, or what brings them.
pub(crate) fn read(scheme: &str, url: &str) -> Result<Option<Sentinels>, String> {
    let Some(scheme @ ("redis" | "rediss")) = scheme.strip_suffix("-sentinel") else {
        return Ok(None);
    };
    if !cfg!(feature = "sentinel") {
        let why = "this program was built without Sentinel; build it with the feature sentinel of \
                   shiftwork, or use the URL of a server";
        return Err(why.into());
    }
    Sentinels::read(scheme, url).map(Some)
}

impl Sentinels {
    fn read(scheme: &str, url: &str) -> Result<Self, String> {
        let (_, rest) = url.split_once("://").unwrap_or_default();
        let wrong = || format!("use {FORM}");
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let (name, database) = path.split_once('/').unwrap_or((path, "0"));
        if name.is_empty() {
            return Err(wrong());
        }
        let of_sentinels = of_sentinels(query).ok_or_else(wrong)?;
        // What the library says of a URL may repeat its password.
        let info = |url: String| url.into_connection_info().map_err(|_| wrong());
        let with_port = |host: &str| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            if has_port { host.to_owned() } else { format!("{host}:{PORT}") }
        };
        let hosts: Vec<_> = hosts.split(',').map(with_port).collect();
        let all = hosts.iter().map(|host| info(format!("{scheme}://{of_sentinels}{host}")));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        // Any host would do: it is replaced.
        let primary = info(format!("{scheme}://{user}primary/{database}"))?;
        let database = primary.redis_settings().db();
        let shown = format!("{scheme}-sentinel://{}/{name}/{database}", hosts.join(","));
        Ok(Self { all, name: name.to_owned(), primary, shown, last: Mutex::default() })
    }

    /// How to connect to the primary, but for its address.
    pub(crate) fn primary(&self) -> &ConnectionInfo {
        &self.primary
    }

    /// Without users and passwords.
    pub(crate) fn shown(&self) -> String {
        self.shown.clone()
    }

    /// Where the primary is, and how to connect to it.
    pub(crate) async fn find(
        &self,
        tls: Option<&Tls>,
        patience: Duration,
    ) -> Result<ConnectionInfo, Fault> {
        let (host, port) = self.ask_all(tls, patience).await?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&(host.clone(), port)) {
            info!(
                sentinels = self.shown,
                primary = format!("{host}:{port}"),
                "the sentinels name the primary"
            );
            *last = Some((host.clone(), port));
        }
        let address = match self.primary.addr() {
            ConnectionAddr::TcpTls { .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        Ok(self.primary.clone().set_addr(address))
    }

    async fn ask_all(&self, tls: Option<&Tls>, patience: Duration) -> Result<(String, u16), Fault> {
        let mut asked = JoinSet::new();
        for info in &self.all {
            let client = match tls {
                Some(tls) => tls.client(info.clone()),
                None => Client::open(info.clone()).map_err(Fault::from),
            };
            let (client, name) = (client?, self.name.clone());
            asked.spawn(async move { ask(&client, &name, patience).await });
        }
        let mut until = Instant::now() + patience;
        let (mut best, mut fault): (Option<Said>, Option<Fault>) = (None, None);
        while let Ok(Some(answer)) = timeout_at(until, asked.join_next()).await {
            match answer {
                Ok(Ok(said)) => {
                    if best.is_none() {
                        until = until.min(Instant::now() + OTHERS);
                    }
                    if best.as_ref().is_none_or(|best| best.epoch < said.epoch) {
                        best = Some(said);
                    }
                }
                // Of several faults, what will not do counts more than that one is away.
                Ok(Err(next)) => {
                    if fault.as_ref().is_none_or(Fault::is_away) {
                        fault = Some(next);
                    }
                }
                Err(_) => {}
            }
        }
        match (best, fault) {
            (Some(Said { is_down: true, .. }), _) => Err(Fault::new(
                What::Unready,
                format!("the sentinels hold {} to be down, and look for another", self.name),
            )),
            (Some(said), _) => Ok(said.address),
            (None, Some(fault)) => Err(fault),
            (None, None) => Err(Fault::new(What::Silent, "no sentinel answered in time")),
        }
    }
}

/// User and password of the sentinels, from what follows the question mark; as they stand before a
/// host.
fn of_sentinels(query: &str) -> Option<String> {
    let (mut user, mut password) = ("", None);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=')? {
            ("sentinel_username", value) => user = value,
            ("sentinel_password", value) => password = Some(value),
            _ => return None,
        }
    }
    Some(password.map_or(String::new(), |password| format!("{user}:{password}@")))
}

async fn ask(client: &Client, name: &str, patience: Duration) -> Result<Said, Fault> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(patience));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("MASTER").arg(name);
    let no_sentinel = || {
        let message = "what answers is no sentinel; sentinels listen on another port than servers, \
                       mostly on 26379";
        Fault::new(What::Invalid, message)
    };
    match good(connection.send_packed_command(&question).await?) {
        Ok(answer) => said(answer).ok_or_else(no_sentinel),
        Err(fault) if fault.message.contains("unknown command") => Err(no_sentinel()),
        Err(fault) if fault.message.contains("No such master") => {
            let message = format!(
                "the sentinels know no primary that is called {name:?}; JOBS_REDIS_URL has its name \
                 behind their addresses"
            );
            Err(Fault::new(What::Invalid, message))
        }
        Err(fault) => Err(fault),
    }
}

fn said(answer: Value) -> Option<Said> {
    let fields = HashMap::<String, String>::from_redis_value(answer).ok()?;
    let flags = fields.get("flags")?;
    Some(Said {
        address: (fields.get("ip")?.clone(), fields.get("port")?.parse().ok()?),
        epoch: fields.get("config-epoch")?.parse().ok()?,
        is_down: flags.split(',').any(|flag| flag == "o_down"),
    })
}

#[cfg(all(test, feature = "sentinel"))]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_sentinels_is_read_and_shown_without_what_is_secret() {
        let url = "redis-sentinel://me:hunter2@a:1,b,[::1]:3/shop/2?sentinel_password=hunter3";
        let read = read("redis-sentinel", url).unwrap().unwrap();
        assert_eq!(read.shown(), "redis-sentinel://a:1,b:26379,[::1]:3/shop/2");
        assert_eq!(read.primary().redis_settings().db(), 2);
        assert_eq!(read.primary().redis_settings().username(), Some("me"));
        assert_eq!(read.all[0].redis_settings().password(), Some("hunter3"));
        assert!(super::read("redis", "redis://a:1/0").unwrap().is_none());
    }

    #[test]
    fn one_that_will_not_do_is_refused_with_what_to_use() {
        for url in ["redis-sentinel://a", "redis-sentinel://a/", "redis-sentinel://a/shop?x=1"] {
            let told = read("redis-sentinel", url).unwrap_err();
            assert!(told.contains(FORM), "{told}");
        }
    }
}

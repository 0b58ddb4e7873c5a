//! Sentinel: which server is the primary now, as the sentinels say.
//!
//! They are asked anew for each connection, which is how processes follow a failover: the sentinels
//! close the connections to a primary that is one no more, and where they cannot, it falls silent.
//!

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, FromRedisValue, Value};
use tracing::info;

use crate::asking::ask_all;
use crate::fault::{Fault, What};
use crate::sent::good;
use crate::tls::Tls;
use crate::url::{Several, at};

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

impl Sentinels {
    /// # Errors
    /// What a URL of sentinels looks like, or what brings them.
    pub(crate) fn read(url: &Several<'_>) -> Result<Self, String> {
        if !cfg!(feature = "sentinel") {
            let why = "this program was built without Sentinel; build it with the feature sentinel \
                       of shiftwork, or use the URL of a server";
            return Err(why.into());
        }
        let wrong = || format!("use {FORM}");
        let (name, database) = url.path.split_once('/').unwrap_or((url.path, "0"));
        if name.is_empty() {
            return Err(wrong());
        }
        let of_sentinels = of_sentinels(url.query).ok_or_else(wrong)?;
        let all = url.hosts.iter().map(|host| url.info(&of_sentinels, host, ""));
        let all = all.collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
        // Any host would do: it is replaced.
        let primary = url.info(&url.user, "primary", database).ok_or_else(wrong)?;
        let (scheme, hosts) = (url.scheme, url.hosts.join(","));
        let database = primary.redis_settings().db();
        let shown = format!("{scheme}-sentinel://{hosts}/{name}/{database}");
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
        let ask = |_, connection| ask(connection, &self.name);
        let said = ask_all(self.all.clone(), tls, patience, ask, |said| said.epoch).await?;
        if said.is_down {
            return Err(Fault::new(
                What::Unready,
                format!("the sentinels hold {} to be down, and look for another", self.name),
            ));
        }
        let (host, port) = said.address;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&(host.clone(), port)) {
            info!(
                sentinels = self.shown,
                primary = format!("{host}:{port}"),
                "the sentinels name the primary"
            );
            *last = Some((host.clone(), port));
        }
        Ok(at(&self.primary, host, port))
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

async fn ask(mut connection: MultiplexedConnection, name: &str) -> Result<Said, Fault> {
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
    use crate::url::Named;

    fn read(url: &str) -> Result<Sentinels, String> {
        match Named::read(url)? {
            Named::Sentinels(sentinels) => Ok(sentinels),
            other => panic!("{url} is {other:?}"),
        }
    }

    #[test]
    fn a_url_of_sentinels_is_read_and_shown_without_what_is_secret() {
        let url = "redis-sentinel://me:hunter2@a:1,b,[::1]:3/shop/2?sentinel_password=hunter3";
        let read = read(url).unwrap();
        assert_eq!(read.shown(), "redis-sentinel://a:1,b:26379,[::1]:3/shop/2");
        assert_eq!(read.primary().redis_settings().db(), 2);
        assert_eq!(read.primary().redis_settings().username(), Some("me"));
        assert_eq!(read.all[0].redis_settings().password(), Some("hunter3"));
    }

    #[test]
    fn one_that_will_not_do_is_refused_with_what_to_use() {
        for url in ["redis-sentinel://a", "redis-sentinel://a/", "redis-sentinel://a/shop?x=1"] {
            let told = read(url).unwrap_err();
            assert!(told.contains(FORM), "{told}");
        }
    }
}

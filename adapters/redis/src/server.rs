//! Which server: read from the environment, opened, and looked at before it is used.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, FromRedisValue, ProtocolVersion, PushInfo, Value,
};
use shiftwork_adapter::StoreSettings;
use tracing::{info, warn};

use crate::cluster::{Cluster, View};
use crate::envelope::VERSION;
use crate::fault::{Fault, What};
use crate::keys::NamespaceKeys;
use crate::link::Manner;
use crate::replicas::{self, WAIT};
use crate::script;
use crate::sent::good;
use crate::slot::Slot;
use crate::tls::Tls;
use crate::url::Named;

/// Tries every command that the scripts use.
const CHECK: &str = include_str!("scripts/check.lua");

/// The oldest server whose commands the scripts use.
const OLDEST: (u32, u32) = (6, 2);

/// How often idle workers look where nothing wakes them, and nobody has said how often.
const POLL: Duration = Duration::from_secs(1);

/// How many keys are tried to find one that a server has: enough where that is a hundredth of the
/// store.
const MOST_CHECKS: usize = 1000;

/// A server, and how to open a connection to it.
pub(crate) struct Server {
    named: Named,
    tls: Option<Tls>,
    /// Without user and password.
    shown: String,
    names: std::sync::Arc<NamespaceKeys>,
    /// Channels that nobody uses: one as those of the namespace are, one as those of its queues.
    silent: [String; 2],
    /// It does not speak the protocol in which servers push.
    is_old: AtomicBool,
    /// How often idle workers look where nothing wakes them.
    poll: Duration,
    /// How many replicas must confirm an enqueue.
    wait_replicas: usize,
    /// How long an answer may take, and opening a connection.
    response: Duration,
    /// What was said of it the last time, so that it is said once.
    said: Mutex<Option<Looked>>,
}

/// Which of the servers of a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// The only one, wherever its name leads.
    Only,
    /// The node of a cluster that has this address.
    At(String, u16),
}

/// What a look at a server has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Looked {
    /// The user may not use INFO, and all of this is only assumed.
    hidden: bool,
    version: String,
    policy: String,
    append_only: bool,
    /// Why it wakes nobody, where it does not.
    mute: Option<String>,
}

/// What a connection leads to.
pub(crate) struct Prepared {
    looked: Looked,
    round_trip: Duration,
    is_quiet: bool,
}

impl Prepared {
    /// It wakes nobody, for this reason.
    pub(crate) fn mute(&mut self, why: String) {
        self.looked.mute.get_or_insert(why);
    }

    /// Whether it can wake somebody.
    pub(crate) fn can_wake(&self) -> bool {
        self.looked.mute.is_none()
    }

    /// Who may not publish does not expect that others do.
    pub(crate) fn manner(&self) -> Manner {
        Manner { is_quiet: self.is_quiet, is_deaf: !self.can_wake() }
    }
}

impl Server {
    pub(crate) fn new(
        url: &str,
        variables: &BTreeMap<&'static str, String>,
        names: std::sync::Arc<NamespaceKeys>,
        settings: &StoreSettings,
    ) -> Result<Self, String> {
        let named = Named::read(url)
            .map_err(|fault| format!("JOBS_REDIS_URL is no URL of a server: {fault}"))?;
        let tls = Tls::of(named.info(), |name| variables.get(name))?;
        let variable = variables.get(WAIT.name).map(String::as_str);
        let wait_replicas =
            replicas::read(variable).map_err(|fault| format!("{}: {fault}", WAIT.name))?;
        let shown = named.shown();
        // Two tries fit into the time that a call may take.
        let response = settings.connect_timeout * 2 / 5;
        let poll = settings.idle_poll.unwrap_or(POLL);
        let is_old = AtomicBool::new(false);
        let silent = [names.check.clone(), queue_check(&names, 0)];
        Ok(Self {
            named,
            tls,
            shown,
            names,
            silent,
            is_old,
            poll,
            wait_replicas,
            response,
            said: Mutex::new(None),
        })
    }

    /// Where one of the servers is, without user and password.
    pub(crate) fn shown(&self, node: &Node) -> String {
        match node {
            Node::Only => self.shown.clone(),
            Node::At(host, port) => format!("{host}:{port} of {}", self.shown),
        }
    }

    /// How many replicas must confirm an enqueue.
    pub(crate) fn wait_replicas(&self) -> usize {
        self.wait_replicas
    }

    /// Which servers there are, where there can be several.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        match &self.named {
            Named::Cluster(cluster) => Some(cluster),
            _ => None,
        }
    }

    /// What the nodes of a cluster say of it.
    pub(crate) async fn view(&self, cluster: &Cluster) -> Result<View, Fault> {
        cluster.view(self.tls.as_ref(), self.response / 2).await
    }

    /// Opens a connection whose pushed messages go to `push`; answers whether there are any.
    pub(crate) async fn open(
        &self,
        node: &Node,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<(MultiplexedConnection, bool), Fault> {
        if !self.is_old.load(Ordering::Relaxed) {
            match self.open_by(node, Some(push)).await {
                Err(fault) if fault.what == What::Old => self.is_old.store(true, Ordering::Relaxed),
                opened => return Ok((opened?, true)),
            }
        }
        let opened = self.open_by(node, None::<fn(PushInfo)>).await?;
        Ok((opened, false))
    }

    /// By the protocol that pushes, where somebody listens, else by the older one.
    async fn open_by(
        &self,
        node: &Node,
        push: Option<impl Fn(PushInfo) + Send + Sync + 'static>,
    ) -> Result<MultiplexedConnection, Fault> {
        let protocol = match push {
            Some(_) => ProtocolVersion::RESP3,
            None => ProtocolVersion::RESP2,
        };
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.response))
            .set_response_timeout(Some(self.response));
        if let Some(push) = push {
            config = config.set_push_sender(move |message| {
                push(message);
                Ok::<(), std::convert::Infallible>(())
            });
        }
        let info = self.locate(node, protocol).await?;
        let client = match &self.tls {
            Some(tls) => tls.client(info)?,
            None => Client::open(info)?,
        };
        let opened = client.get_multiplexed_async_connection_with_config(&config).await;
        opened.map_err(|error| {
            let mut fault = Fault::from(error);
            // A server without TLS takes the beginning of it for that of a long command.
            if self.tls.is_some() && fault.what == What::Silent {
                fault.message += "; does it speak TLS on that port?";
            }
            fault
        })
    }

    /// Where it is now, and how to connect to it.
    async fn locate(
        &self,
        node: &Node,
        protocol: ProtocolVersion,
    ) -> Result<ConnectionInfo, Fault> {
        let info = match (&self.named, node) {
            (Named::Cluster(cluster), Node::At(host, port)) => cluster.node_at(host, *port),
            (Named::Sentinels(sentinels), _) => {
                sentinels.find(self.tls.as_ref(), self.response / 2).await?
            }
            (Named::Server(info), _) => info.clone(),
            (Named::Cluster(cluster), Node::Only) => cluster.node().clone(),
        };
        let redis = info.redis_settings().clone().set_protocol(protocol);
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(info.set_redis_settings(redis).set_tcp_settings(tcp))
    }

    /// Looks whether a fresh connection leads to a server that can do what is needed, gives it the
    /// scripts, and says once what people should know of it. In few round trips: a process that
    /// comes back over a slow network has callers who wait.
    ///
    /// `has` tells which parts of the store it has.
    pub(crate) async fn prepare(
        &self,
        connection: &mut MultiplexedConnection,
        has: impl Fn(Slot) -> bool,
    ) -> Result<Prepared, Fault> {
        let began = Instant::now();
        let _: Value = redis::cmd("PING").query_async(connection).await?;
        let round_trip = began.elapsed();

        let sha = redis::Script::new(CHECK).get_hash().to_owned();
        let mut questions = redis::pipe();
        questions.cmd("INFO");
        let is_home = has(Slot::of(&self.names.check));
        let of_queue = check_of_queue(&self.names, has);
        let of_namespace = is_home.then(|| self.names.check.clone()).or_else(|| of_queue.clone());
        // By both ways in which scripts are called.
        let ways = [("EVAL", CHECK, of_namespace), ("EVALSHA", &sha, of_queue)];
        let mut checks = Vec::new();
        for (way, script, check) in ways {
            if let Some(check) = check {
                questions.cmd(way).arg(script).arg(1).arg(&check).arg(&check);
                checks.push(check);
            }
        }
        if is_home {
            questions.cmd("GET").arg(&self.names.format);
        }
        if self.wait_replicas > 0 {
            // Waits for none: whether one may.
            questions.cmd("WAIT").arg(0).arg(0);
        }
        for script in script::all() {
            questions.cmd("SCRIPT").arg("LOAD").arg(&script.source);
        }
        let count = questions.len();
        let answers = connection.send_packed_commands(&questions, 0, count).await?;
        let mut answers = answers.into_iter().map(good);
        let mut next = || answers.next().unwrap_or(Ok(Value::Nil));

        let looked = self.look(next())?;
        let mut quiet = None;
        for check in &checks {
            quiet = self.check_permissions(check, next())?.or(quiet);
        }
        let format = if is_home { Some(read(next()?)?) } else { None };
        answers.try_for_each(|loaded| loaded.map(drop))?;
        if let Some(format) = format {
            self.check_format(connection, format).await?;
        }
        if quiet.is_some() {
            let mut load = redis::pipe();
            for script in script::all() {
                load.cmd("SCRIPT").arg("LOAD").arg(&script.quiet.source);
            }
            let count = load.len();
            let loaded = connection.send_packed_commands(&load, 0, count).await?;
            loaded.into_iter().map(good).try_for_each(|loaded| loaded.map(drop))?;
        }
        let is_quiet = quiet.is_some();
        Ok(Prepared { looked: Looked { mute: quiet, ..looked }, round_trip, is_quiet })
    }

    /// Says what a connection has shown, unless it is as it was.
    pub(crate) fn tell(&self, shown: &str, prepared: Prepared) {
        let Prepared { looked, round_trip, .. } = prepared;
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.as_ref() != Some(&looked) {
            say(shown, &looked, round_trip, self.poll);
            *said = Some(looked);
        }
    }

    /// How often idle workers look where nothing wakes them.
    pub(crate) fn poll(&self) -> Duration {
        self.poll.mul_f64(0.9 + fastrand::f64() / 10.0)
    }

    fn look(&self, info: Result<Value, Fault>) -> Result<Looked, Fault> {
        let (info, hidden): (String, _) = match info {
            Ok(info) => (read(info)?, false),
            Err(fault) if fault.what == What::Denied => (String::new(), true),
            Err(fault) => return Err(fault),
        };
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        if field("loading") == Some("1") {
            return Err(Fault::new(What::Unready, "LOADING: the server is reading its data"));
        }
        if field("role") == Some("slave") {
            return Err(Fault::new(
                What::Unready,
                "READONLY: the server is a replica; waiting for it to become the primary, or for \
                 its name to lead to that",
            ));
        }
        let version = field("valkey_version").or(field("redis_version")).unwrap_or("").to_owned();
        // Valkey states the Redis version that it is compatible with.
        check_version(field("redis_version").unwrap_or_default())?;
        Ok(Looked {
            hidden,
            version,
            policy: field("maxmemory_policy").unwrap_or("noeviction").to_owned(),
            append_only: field("aof_enabled") != Some("0"),
            mute: None,
        })
    }

    /// What the script that tries every command has found on a key, and a channel, of this name:
    /// why nothing can be published, where that is all that is missing.
    fn check_permissions(
        &self,
        check: &str,
        answer: Result<Value, Fault>,
    ) -> Result<Option<String>, Fault> {
        let refused: Vec<String> = match answer {
            Ok(answer) => read(answer)?,
            Err(mut fault) => {
                if fault.what == What::Denied && fault.message.contains("key") {
                    fault.message += &format!(" (the key was {check})");
                }
                return Err(fault);
            }
        };
        if refused.is_empty() {
            return Ok(None);
        }
        if refused == ["PUBLISH"] {
            return Ok(Some(format!("the user may not PUBLISH on channels such as {check}")));
        }
        let refused = refused.join(", ");
        Err(Fault::new(
            What::Denied,
            format!(
                "the user may not use {refused} on keys and channels such as {check}; its rules \
                 need what docs/production.md names"
            ),
        ))
    }

    /// Channels on which nothing is ever said but by such tries: who may not subscribe to them is
    /// told so at once, and not when it first has to wait for something.
    pub(crate) fn silent_channels(&self) -> &[String] {
        &self.silent
    }

    async fn check_format(
        &self,
        connection: &mut MultiplexedConnection,
        stored: Option<String>,
    ) -> Result<(), Fault> {
        let key = &self.names.format;
        let found = match stored {
            Some(found) => found,
            // Only where there is none: a server that is full takes no new key, and can be used.
            None => {
                let mut first = redis::cmd("SET");
                first.arg(key).arg(VERSION).arg("NX");
                let _: Value = first.query_async(connection).await?;
                redis::cmd("GET").arg(key).query_async(connection).await?
            }
        };
        match found.parse::<u32>() {
            Ok(format) if format <= VERSION.into() => Ok(()),
            _ => Err(Fault::new(
                What::Invalid,
                format!(
                    "what is stored is of format {found:?} ({key}), and this program knows up to \
                     {VERSION}: a newer shiftwork uses this store; upgrade this program too, or \
                     give it another JOBS_NAMESPACE"
                ),
            )),
        }
    }
}

/// Where the server is, without user and password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// A key as those of queues are, that no queue has.
fn queue_check(names: &NamespaceKeys, number: usize) -> String {
    let number = if number == 0 { String::new() } else { number.to_string() };
    names.check.replacen('}', &format!(":check{number}}}"), 1)
}

/// Such a key, in a part of the store that a server has.
fn check_of_queue(names: &NamespaceKeys, has: impl Fn(Slot) -> bool) -> Option<String> {
    let checks = (0..MOST_CHECKS).map(|number| queue_check(names, number));
    checks.into_iter().find(|check| has(Slot::of(check)))
}

fn say(server: &str, looked: &Looked, round_trip: Duration, poll: Duration) {
    let Looked { hidden, version, policy, append_only, mute } = looked;
    if let Some(why) = mute {
        warn!(
            server,
            "the server wakes nobody ({why}): idle workers look for jobs every {poll:?} \
            (JOBS_IDLE_POLL) instead, each time at the cost of a command"
        );
    }
    if *hidden {
        warn!(
            server,
            ?round_trip,
            "connected to redis; the user may not use INFO: \
            version and settings of the server are not checked"
        );
        return;
    }
    info!(
        server,
        version,
        maxmemory_policy = policy,
        append_only,
        ?round_trip,
        "connected to redis"
    );
    if policy != "noeviction" {
        warn!(
            server,
            "the server's maxmemory-policy is {policy}: when it is full it will DELETE JOBS \
             without a word; set maxmemory-policy noeviction"
        );
    }
    if !append_only {
        warn!(
            server,
            "the server's appendonly is no: when it dies, jobs since its last snapshot are \
             lost; set appendonly yes, unless they may be"
        );
    }
}

fn read<T: FromRedisValue>(answer: Value) -> Result<T, Fault> {
    redis::from_redis_value(answer).map_err(|error| Fault::from(redis::RedisError::from(error)))
}

fn check_version(version: &str) -> Result<(), Fault> {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    // A server that hides its version is taken at its word when it knows the commands.
    if version.is_empty() || number >= OLDEST {
        return Ok(());
    }
    Err(Fault::new(
        What::Invalid,
        format!(
            "the server is Redis {version}, and {}.{} is the oldest that will do: it lacks LPOP with \
             a count and SMISMEMBER; upgrade it, or use Valkey",
            OLDEST.0, OLDEST.1
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_named_with_what_is_missing() {
        assert!(check_version("6.2.0").is_ok() && check_version("7.0.15").is_ok());
        let fault = check_version("6.0.16").unwrap_err();
        assert_eq!(fault.what, What::Invalid);
        assert!(fault.message.contains("6.0.16") && fault.message.contains("SMISMEMBER"));
    }
}

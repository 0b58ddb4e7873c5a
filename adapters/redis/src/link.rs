//! The connection that all but the heart share, and the supervisor that keeps it up.
//!
//! ```text
//!            opened, looked at, subscribed             broken, silent, or a replica by now
//!  connecting ───────────────────────────▶ ready ─────────────────────────────┐
//!      ▲ ▲                                                                    │
//!      │ └──────────── after a pause that grows, with jitter ◀────────────────┤
//!      └─ the server refuses us: callers are told at once, and it is tried on ◀┘
//! ```
//!
//! A command waits for a connection, is sent, and, where its answer does not come, is sent again on
//! the next one; all within the connect timeout. That is safe, since every script knows a resend
//! for what it is. What a caller is told at the end says whether the command can have had its
//! effect: it can where it was written to a connection that then broke.
//!
//! **Never** a blocking command: what the server pops for a connection that is gone is gone too.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, PushInfo, PushKind, Value};
use shiftwork_adapter::{AdapterError, Effect, ErrorKind, Result};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{debug, error, info, warn};

use crate::fault::{Fault, What};
use crate::script;
use crate::server::Server;

/// The shortest and the longest pause before another try to connect. However long, a call that
/// waits lives to see several tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How often at most a server that stays away is spoken of: each time twice as rarely.
const SAY_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// A connection that breaks sooner than this has not shown that it is any good.
const PROVED_AFTER: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// Until when the commands of one call may take.
    static DEADLINE: Instant;
}

/// The shared connection. Dropped, it ends.
pub(crate) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    server: Arc<Server>,
    /// How long one call may take in all.
    patience: Duration,
    state: watch::Sender<State>,
    broken: mpsc::UnboundedSender<(u64, Fault)>,
    listener: Arc<dyn Listener>,
    closed: AtomicBool,
}

/// Who hears what the server pushes, and of the connection's beginnings.
pub(crate) trait Listener: Send + Sync + 'static {
    /// The channels to subscribe to on every new connection.
    fn channels(&self) -> Vec<String>;

    /// A message came.
    fn message(&self, channel: &[u8], payload: &[u8]);

    /// A connection is there again: whatever was pushed meanwhile is lost.
    fn connected(&self);
}

#[derive(Clone)]
enum State {
    /// There is none, or none any more; why, if that is known.
    Connecting(Option<Fault>),
    Ready(Ready),
    /// The server refuses us, for a reason that time does not cure.
    Refused(Fault),
    Closed,
}

#[derive(Clone)]
struct Ready {
    connection: MultiplexedConnection,
    epoch: u64,
}

impl Link {
    /// Starts connecting. Needs a tokio runtime, on which the supervisor lives.
    pub(crate) fn new(
        server: Arc<Server>,
        patience: Duration,
        listener: Arc<dyn Listener>,
    ) -> Self {
        let (broken, breaks) = mpsc::unbounded_channel();
        let (state, _) = watch::channel(State::Connecting(None));
        let closed = AtomicBool::new(false);
        let shared = Arc::new(Shared { server, patience, state, broken, listener, closed });
        tokio::spawn(supervise(shared.clone(), breaks));
        Self { shared }
    }

    /// Lets all commands that `call` sends take no longer together than one may.
    pub(crate) async fn as_one<T>(&self, call: impl Future<Output = T>) -> T {
        DEADLINE.scope(self.deadline(), call).await
    }

    /// Until when a call that is made now may take.
    pub(crate) fn deadline(&self) -> Instant {
        let until = DEADLINE.try_with(|deadline| *deadline);
        until.unwrap_or_else(|_| Instant::now() + self.shared.patience)
    }

    /// Sends a command until it is answered, for at most the connect timeout.
    pub(crate) async fn call(&self, operation: &'static str, cmd: &Cmd) -> Result<Value> {
        self.call_until(operation, cmd, self.deadline()).await
    }

    /// The same, for at most until then.
    pub(crate) async fn call_until(
        &self,
        operation: &'static str,
        cmd: &Cmd,
        deadline: Instant,
    ) -> Result<Value> {
        let sent = Sent::One(Cow::Borrowed(cmd));
        let mut values = self.shared.send(operation, sent, deadline).await?;
        values.pop().ok_or_else(|| missing(operation))
    }

    /// Sends commands together, in this order, until all are answered. They are not one step.
    pub(crate) async fn call_all(
        &self,
        operation: &'static str,
        commands: Vec<Cmd>,
    ) -> Result<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let count = commands.len();
        let mut pipeline = redis::Pipeline::with_capacity(count);
        for cmd in commands {
            pipeline.add_command(cmd);
        }
        let sent = Sent::Many(Cow::Owned(pipeline), count);
        let values = self.shared.send(operation, sent, self.deadline()).await?;
        if values.len() == count { Ok(values) } else { Err(missing(operation)) }
    }

    /// Waits until there is a connection, but not longer than until then.
    pub(crate) async fn ready(&self, operation: &'static str, deadline: Instant) -> Result<()> {
        self.shared.ready(operation, deadline, Effect::None).await.map(drop)
    }

    /// What to tell of a call whose time is over, as far as that is known.
    pub(crate) fn out_of_time(&self, operation: &'static str, effect: Effect) -> AdapterError {
        let fault = match &*self.shared.state.borrow() {
            State::Connecting(Some(fault)) | State::Refused(fault) => fault.clone(),
            State::Connecting(None) => no_connection(),
            State::Ready(_) | State::Closed => Fault::new(What::Silent, "no answer in time"),
        };
        self.shared.error(fault, operation, effect)
    }

    /// Subscribes to one channel more, which the listener already names.
    pub(crate) async fn subscribe(&self, operation: &'static str, channel: &str) -> Result<()> {
        let mut cmd = redis::cmd("SUBSCRIBE");
        cmd.arg(channel);
        self.call(operation, &cmd).await.map(drop)
    }

    /// Which connection this is, counted from 1; 0: there is none now.
    pub(crate) fn epoch(&self) -> u64 {
        match &*self.shared.state.borrow() {
            State::Ready(ready) => ready.epoch,
            _ => 0,
        }
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }

    /// Ends the connection; whoever waits for it is told.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.state.send_replace(State::Closed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

/// What is sent: a command, or several at once.
enum Sent<'a> {
    One(Cow<'a, Cmd>),
    Many(Cow<'a, redis::Pipeline>, usize),
}

impl Sent<'_> {
    /// Whether some of it can have been executed though an error came back.
    fn is_several(&self) -> bool {
        matches!(self, Self::Many(_, count) if *count > 1)
    }

    async fn on(&self, connection: &mut MultiplexedConnection) -> Result<Vec<Value>, Fault> {
        match self {
            Self::One(cmd) => Ok(vec![good(connection.send_packed_command(cmd).await?)?]),
            Self::Many(pipeline, count) => {
                let values = connection.send_packed_commands(pipeline, 0, *count).await?;
                values.into_iter().map(good).collect()
            }
        }
    }

    /// The same, for a server that has lost its scripts.
    fn with_sources(&self) -> Self {
        match self {
            Self::One(cmd) => Self::One(Cow::Owned(with_source(cmd))),
            Self::Many(pipeline, count) => {
                Self::Many(Cow::Owned(all_with_sources(pipeline)), *count)
            }
        }
    }
}

/// A value, unless it is an error.
pub(crate) fn good(value: Value) -> Result<Value, Fault> {
    match value {
        Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
        value => Ok(value),
    }
}

/// The call of a script with the script itself instead of its name: it is executed even where the
/// server forgets its scripts all the time.
fn with_source(cmd: &Cmd) -> Cmd {
    let arguments: Vec<&[u8]> = cmd
        .args_iter()
        .map(|argument| match argument {
            redis::Arg::Simple(argument) => argument,
            _ => b"",
        })
        .collect();
    let [b"EVALSHA", sha, rest @ ..] = &arguments[..] else { return cmd.clone() };
    let Some(script) = script::all().find(|script| script.sha.as_bytes() == *sha) else {
        return cmd.clone();
    };
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(&script.source).arg(rest);
    cmd
}

/// As [`with_source`], for each.
pub(crate) fn all_with_sources(pipeline: &redis::Pipeline) -> redis::Pipeline {
    let mut all = redis::Pipeline::with_capacity(pipeline.len());
    for cmd in pipeline.cmd_iter() {
        all.add_command(with_source(cmd));
    }
    all
}

impl Shared {
    async fn send(
        &self,
        operation: &'static str,
        mut sent: Sent<'_>,
        deadline: Instant,
    ) -> Result<Vec<Value>> {
        // Whether it can have been executed by now.
        let mut effect = Effect::None;
        let mut pause = PAUSES.0;
        loop {
            let Ready { mut connection, epoch } = self.ready(operation, deadline, effect).await?;
            let fault = match timeout_at(deadline, sent.on(&mut connection)).await {
                Ok(Ok(values)) => return Ok(values),
                Ok(Err(fault)) => fault,
                // Which says nothing of the connection: it may have come about just now.
                Err(_) => {
                    let fault = Fault::new(What::Silent, "no answer in the time that was left");
                    return Err(self.error(fault, operation, Effect::Unknown));
                }
            };
            // Of several, some may have been executed before the one that was refused. A script
            // that is full or on a replica is stopped at its first write, by other faults anywhere.
            let in_part = fault.midway && !fault.is_away() && fault.what != What::Full;
            if sent.is_several() || in_part {
                effect = Effect::Unknown;
            }
            match fault.what {
                What::Broken | What::Silent => {
                    effect = Effect::Unknown;
                    self.give_up(epoch, &fault);
                }
                What::Unready => self.give_up(epoch, &fault),
                What::NoScript => {
                    debug!(server = %self.server, "the server has lost its scripts");
                    sent = sent.with_sources();
                }
                What::Busy => {
                    sleep_until(deadline.min(Instant::now() + pause)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                What::Corrupt => return Err(self.error(fault, operation, Effect::Unknown)),
                What::Full | What::Denied | What::Invalid => {
                    return Err(self.error(fault, operation, effect));
                }
            }
            if Instant::now() >= deadline {
                return Err(self.error(fault, operation, effect));
            }
        }
    }

    /// The connection, as soon as there is one.
    async fn ready(
        &self,
        operation: &'static str,
        deadline: Instant,
        effect: Effect,
    ) -> Result<Ready> {
        if let State::Ready(ready) = &*self.state.borrow() {
            return Ok(ready.clone());
        }
        let mut state = self.state.subscribe();
        loop {
            let seen = state.borrow_and_update().clone();
            match seen {
                State::Ready(ready) => return Ok(ready),
                State::Closed => {
                    let message = "the connection to the store was shut down";
                    let error = AdapterError::new(ErrorKind::Closed, operation, message);
                    return Err(error.with_effect(effect));
                }
                State::Refused(fault) => return Err(self.error(fault, operation, effect)),
                State::Connecting(why) => {
                    if timeout_at(deadline, state.changed()).await.is_err() {
                        let fault = why.unwrap_or_else(no_connection);
                        return Err(self.error(fault, operation, effect));
                    }
                }
            }
        }
    }

    fn error(&self, mut fault: Fault, operation: &'static str, effect: Effect) -> AdapterError {
        if fault.is_away() {
            let patience = self.patience;
            fault.message = format!(
                "redis could not do it within {patience:?} (JOBS_CONNECT_TIMEOUT): {}",
                fault.message
            );
        }
        fault.into_error(operation, effect).with_context("server", &self.server)
    }

    /// Tells the supervisor that a connection is of no more use.
    fn give_up(&self, epoch: u64, fault: &Fault) {
        self.state.send_if_modified(|state| {
            let is_this = matches!(state, State::Ready(ready) if ready.epoch == epoch);
            if is_this {
                *state = State::Connecting(Some(fault.clone()));
            }
            is_this
        });
        // Where nobody listens, the link is closed.
        let _ = self.broken.send((epoch, fault.clone()));
    }
}

fn no_connection() -> Fault {
    Fault::new(What::Silent, "no connection came about")
}

fn missing(operation: &'static str) -> AdapterError {
    AdapterError::new(ErrorKind::Internal, operation, "an answer of the store is missing")
}

/// Connects, again and again, until the link is closed.
async fn supervise(shared: Arc<Shared>, mut breaks: mpsc::UnboundedReceiver<(u64, Fault)>) {
    let mut closed = shared.state.subscribe();
    let supervised = async {
        let mut epoch = 0;
        let mut troubles = Troubles::default();
        loop {
            epoch += 1;
            let began = Instant::now();
            match connect(&shared, epoch).await {
                Ok(connection) => {
                    troubles.over(&shared.server);
                    if !shared.set(State::Ready(Ready { connection, epoch })) {
                        return;
                    }
                    shared.listener.connected();
                    let fault = loop {
                        match breaks.recv().await {
                            Some((broken, fault)) if broken == epoch => break fault,
                            Some(_) => {}
                            None => return,
                        }
                    };
                    if began.elapsed() >= PROVED_AFTER {
                        troubles = Troubles::default();
                    }
                    troubles.meet(&shared.server, &fault);
                    shared.set(State::Connecting(Some(fault)));
                }
                Err(fault) => {
                    troubles.meet(&shared.server, &fault);
                    let refused = matches!(fault.what, What::Denied | What::Invalid);
                    shared.set(if refused {
                        State::Refused(fault)
                    } else {
                        State::Connecting(Some(fault))
                    });
                }
            }
            sleep(troubles.pause().min(shared.patience / 4)).await;
        }
    };
    tokio::select! {
        () = supervised => {}
        _ = closed.wait_for(|state| matches!(state, State::Closed)) => {}
    }
}

impl Shared {
    /// Changes the state, unless it is the last one; answers whether it did.
    fn set(&self, next: State) -> bool {
        self.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed);
            if open {
                *state = next;
            }
            open
        })
    }
}

async fn connect(shared: &Arc<Shared>, epoch: u64) -> Result<MultiplexedConnection, Fault> {
    let listener = shared.listener.clone();
    let broken = shared.broken.clone();
    let push = move |message: PushInfo| match message.kind {
        PushKind::Disconnection => {
            let fault = Fault::new(What::Broken, "the server closed the connection");
            let _ = broken.send((epoch, fault));
        }
        PushKind::Message => {
            if let [Value::BulkString(channel), Value::BulkString(payload)] = &message.data[..] {
                listener.message(channel, payload);
            }
        }
        _ => {}
    };
    let connecting = async {
        let mut connection = shared.server.open(push).await?;
        shared.server.prepare(&mut connection).await?;
        let mut channels = shared.listener.channels();
        channels.extend_from_slice(shared.server.silent_channels());
        let subscribed = connection.subscribe(&channels).await;
        subscribed.map_err(|error| match Fault::from(error) {
            mut fault if fault.what == What::Denied => {
                let channels = channels.join(", ");
                fault.message += &format!(" (it was to SUBSCRIBE to {channels})");
                fault
            }
            fault => fault,
        })?;
        Ok(connection)
    };
    match timeout(shared.patience, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(Fault::new(What::Silent, "connecting took too long")),
    }
}

/// How long the server has been away, and when that was said last.
#[derive(Default)]
struct Troubles {
    count: u32,
    since: Option<Instant>,
    said: Option<(Instant, Duration)>,
}

impl Troubles {
    fn meet(&mut self, server: &Server, fault: &Fault) {
        self.count += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        let now = Instant::now();
        let (due, silence) = match self.said {
            None => (true, SAY_AGAIN.0),
            Some((at, silence)) => (now >= at + silence, (silence * 2).min(SAY_AGAIN.1)),
        };
        if !due {
            return;
        }
        self.said = Some((now, silence));
        let (tries, away_for) = (self.count, since.elapsed());
        if fault.is_away() || fault.what == What::Full {
            warn!(%server, tries, ?away_for, "redis is away: {}", fault.message);
        } else {
            error!(%server, tries, ?away_for, "redis cannot be used: {}", fault.message);
        }
    }

    fn over(&mut self, server: &Server) {
        if let Some(since) = self.since.take() {
            info!(%server, away_for = ?since.elapsed(), "redis is back");
        }
        self.said = None;
    }

    /// Twice as long each time, and somewhere between half of that and all of it.
    fn pause(&self) -> Duration {
        let longest = PAUSES.0 * 2u32.saturating_pow(self.count.saturating_sub(1).min(16));
        longest.min(PAUSES.1).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

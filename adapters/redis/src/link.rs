//! One connection that many share, and the supervisor that keeps it up.
//!
//! ```text
//!            opened, looked at                         broken, silent, or a replica by now
//!  connecting ───────────────────────────▶ ready ─────────────────────────────┐
//!      ▲ ▲                                                                    │
//!      │ └──────────── after a pause that grows, with jitter ◀────────────────┤
//!      └─ the server refuses us: callers are told at once, and it is tried on ◀┘
//! ```
//!
//! What is sent, where, and again where no answer comes, is up to [`links`](crate::links).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use shiftwork_adapter::{ServerHealth, ServerState};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{error, info, warn};

use crate::fault::{Fault, What};
use crate::sent::Sent;
use crate::server::{Node, Server};
use crate::slot::Slot;

/// The shortest and the longest pause before another try, to connect or of a command. However
/// long, a call that waits lives to see several tries.
pub(crate) const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How often at most a server that stays away is spoken of: each time twice as rarely.
const SAY_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// A connection that breaks sooner than this has not shown that it is any good.
const PROVED_AFTER: Duration = Duration::from_secs(5);

/// A connection that is kept up. Dropped, it ends.
pub(crate) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    server: Arc<Server>,
    node: Node,
    /// Where it leads, without user and password.
    shown: String,
    /// How long connecting may take in all.
    patience: Duration,
    state: watch::Sender<State>,
    /// Since when it is no longer, or once more, connected.
    since: Mutex<Instant>,
    broken: mpsc::UnboundedSender<(u64, Fault)>,
    owner: Arc<dyn Owner>,
}

/// Who has links, and hears of them.
pub(crate) trait Owner: Send + Sync + 'static {
    /// The number of the next connection, of all that there ever were.
    fn next_epoch(&self) -> u64;

    /// Whether a server has this part of the store.
    fn has(&self, node: &Node, slot: Slot) -> bool;

    /// The server pushed a message.
    fn message(&self, channel: &[u8], payload: &[u8]);

    /// A connection is there again: whatever was pushed meanwhile is lost.
    fn connected(&self, node: &Node);

    /// One is gone, or none came about.
    fn troubled(&self);
}

#[derive(Clone)]
pub(crate) enum State {
    /// There is none, or none any more; why, if that is known.
    Connecting(Option<Fault>),
    Ready(Ready),
    /// The server refuses us, for a reason that time does not cure.
    Refused(Fault),
    Closed,
}

/// A connection that can be used.
#[derive(Clone)]
pub(crate) struct Ready {
    connection: MultiplexedConnection,
    /// What can be told on it.
    manner: Manner,
    /// Which it is of all that there ever were; the first is 1.
    pub(crate) epoch: u64,
}

/// What can be told on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// This process may publish nothing.
    pub(crate) is_quiet: bool,
    /// It hears nothing.
    pub(crate) is_deaf: bool,
}

/// A channel, and on which connection this process hears it.
pub(crate) struct Subscription {
    pub(crate) channel: String,
    wanted: AtomicBool,
    heard_on: AtomicU64,
}

impl Subscription {
    pub(crate) fn new(channel: String) -> Self {
        Self { channel, wanted: AtomicBool::new(false), heard_on: AtomicU64::new(0) }
    }

    /// From now on, nothing is sent by whoever has this but where it is heard.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::SeqCst);
    }

    /// The last connection on which it was heard; 0: there was none.
    pub(crate) fn heard_on(&self) -> u64 {
        self.heard_on.load(Ordering::SeqCst)
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }
}

impl Link {
    /// Starts connecting. Needs a tokio runtime, on which the supervisor lives.
    pub(crate) fn new(
        server: Arc<Server>,
        node: Node,
        purpose: &str,
        patience: Duration,
        owner: Arc<dyn Owner>,
    ) -> Self {
        let (broken, breaks) = mpsc::unbounded_channel();
        let (state, _) = watch::channel(State::Connecting(None));
        let shown = server.shown(&node) + purpose;
        let since = Mutex::new(Instant::now());
        let shared = Shared { server, node, shown, patience, state, since, broken, owner };
        let shared = Arc::new(shared);
        tokio::spawn(supervise(shared.clone(), breaks));
        Self { shared }
    }

    /// Where it leads.
    pub(crate) fn node(&self) -> &Node {
        &self.shared.node
    }

    /// Where it leads, without user and password.
    pub(crate) fn shown(&self) -> &str {
        &self.shared.shown
    }

    /// How it is now.
    pub(crate) fn state(&self) -> State {
        self.shared.state.borrow().clone()
    }

    /// The same, for people; `None`: it was closed.
    pub(crate) fn health(&self) -> Option<ServerHealth> {
        let state = match self.state() {
            State::Ready(ready) => ServerState::Connected { wakes: !ready.manner.is_deaf },
            State::Connecting(why) => {
                ServerState::Connecting { why: why.map(|fault| fault.message) }
            }
            State::Refused(fault) => ServerState::Refused { why: fault.message },
            State::Closed => return None,
        };
        let since = *self.shared.since.lock().unwrap_or_else(PoisonError::into_inner);
        Some(ServerHealth::new(self.shown(), state, since.elapsed()))
    }

    /// The connection, where there is one now.
    pub(crate) fn connection(&self) -> Option<Ready> {
        match &*self.shared.state.borrow() {
            State::Ready(ready) => Some(ready.clone()),
            _ => None,
        }
    }

    /// How it is once it no longer waits, or when the deadline has passed.
    pub(crate) async fn settled(&self, deadline: Instant) -> State {
        let mut state = self.shared.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting(_)));
        let settled = timeout_at(deadline, settled).await;
        settled.ok().and_then(Result::ok).map_or_else(|| self.state(), |state| state.clone())
    }

    /// Whether nothing is heard on the connection that there is now.
    pub(crate) fn is_deaf(&self) -> bool {
        self.connection().is_some_and(|ready| ready.manner.is_deaf)
    }

    /// Sends once; `with_sources`: to a server that has lost its scripts.
    pub(crate) async fn send(
        &self,
        ready: &mut Ready,
        sent: &Sent<'_>,
        with_sources: bool,
    ) -> Result<Vec<Value>, Fault> {
        let connection = &mut ready.connection;
        let answer = match (ready.manner.is_quiet, with_sources) {
            (false, false) => sent.on(connection).await,
            (false, true) => sent.with_sources().on(connection).await,
            (true, false) => sent.quiet().on(connection).await,
            (true, true) => sent.quiet().with_sources().on(connection).await,
        };
        answer.map_err(|fault| self.shared.of_node(fault))
    }

    /// Sees to it that what is said on a channel from now on is heard, where somebody wants that.
    /// Several who come at the same time all do it, which does no harm: none may depend on how soon
    /// another's future is polled.
    pub(crate) async fn hear(
        &self,
        ready: &mut Ready,
        hears: Option<&Subscription>,
    ) -> Result<(), Fault> {
        let Some(hears) = hears.filter(|hears| hears.is_wanted()) else { return Ok(()) };
        if !ready.manner.is_deaf && hears.heard_on() != ready.epoch {
            subscribe(&mut ready.connection, std::slice::from_ref(&hears.channel)).await?;
            hears.heard_on.store(ready.epoch, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Hears no more of a channel, if this is the connection on which it was heard: from another one,
    /// each message would come twice.
    pub(crate) fn forget(&self, epoch: u64, channel: &str) {
        let Some(mut ready) = self.connection().filter(|ready| ready.epoch == epoch) else {
            return;
        };
        let channel = channel.to_owned();
        // Nobody needs to wait for it.
        tokio::spawn(async move { ready.connection.unsubscribe(channel).await });
    }

    /// Tells the supervisor that a connection is of no more use.
    pub(crate) fn give_up(&self, epoch: u64, fault: &Fault) {
        self.shared.state.send_if_modified(|state| {
            let is_this = matches!(state, State::Ready(ready) if ready.epoch == epoch);
            if is_this {
                self.shared.turned();
                *state = State::Connecting(Some(fault.clone()));
            }
            is_this
        });
        // Where nobody listens, the link is closed.
        let _ = self.shared.broken.send((epoch, fault.clone()));
    }

    /// Ends the connection; whoever waits for it is told.
    pub(crate) fn close(&self) {
        self.shared.state.send_replace(State::Closed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

async fn subscribe(
    connection: &mut MultiplexedConnection,
    channels: &[String],
) -> Result<(), Fault> {
    connection.subscribe(channels).await.map_err(|error| match Fault::from(error) {
        mut fault if fault.what == What::Denied => {
            let channels = channels.join(", ");
            fault.message += &format!(" (it was to SUBSCRIBE to {channels})");
            fault
        }
        fault => fault,
    })
}

/// Connects, again and again, until the link is closed.
#[expect(clippy::disallowed_methods, reason = "it pauses before it connects again")]
async fn supervise(shared: Arc<Shared>, mut breaks: mpsc::UnboundedReceiver<(u64, Fault)>) {
    let mut closed = shared.state.subscribe();
    let supervised = async {
        let mut troubles = Troubles::default();
        loop {
            let epoch = shared.owner.next_epoch();
            let began = Instant::now();
            match connect(&shared, epoch).await {
                Ok((connection, manner)) => {
                    troubles.over(&shared.shown);
                    if !shared.set(State::Ready(Ready { connection, manner, epoch })) {
                        return;
                    }
                    shared.owner.connected(&shared.node);
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
                    troubles.meet(&shared.shown, &fault);
                    shared.set(State::Connecting(Some(fault)));
                }
                Err(fault) => {
                    troubles.meet(&shared.shown, &fault);
                    let refused = matches!(fault.what, What::Denied | What::Invalid);
                    shared.set(if refused {
                        State::Refused(fault)
                    } else {
                        State::Connecting(Some(fault))
                    });
                }
            }
            shared.owner.troubled();
            sleep(troubles.pause().min(shared.patience / 4)).await;
        }
    };
    tokio::select! {
        () = supervised => {}
        _ = closed.wait_for(|state| matches!(state, State::Closed)) => {}
    }
}

impl Shared {
    /// What a fault is that this server answered.
    fn of_node(&self, fault: Fault) -> Fault {
        match fault.what {
            // A server that is taken for the only one is a node of a cluster, and always will be.
            What::Moved if self.node == Node::Only => Fault { what: What::Invalid, ..fault },
            _ => fault,
        }
    }

    /// It is in another state from now on.
    fn turned(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Changes the state, unless it is the last one; answers whether it did.
    fn set(&self, next: State) -> bool {
        self.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed);
            if open {
                if std::mem::discriminant(&*state) != std::mem::discriminant(&next) {
                    self.turned();
                }
                *state = next;
            }
            open
        })
    }
}

async fn connect(
    shared: &Arc<Shared>,
    epoch: u64,
) -> Result<(MultiplexedConnection, Manner), Fault> {
    let owner = shared.owner.clone();
    let broken = shared.broken.clone();
    let push = move |message: PushInfo| match message.kind {
        PushKind::Disconnection => {
            let fault = Fault::new(What::Broken, "the server closed the connection");
            let _ = broken.send((epoch, fault));
        }
        PushKind::Message => {
            if let [Value::BulkString(channel), Value::BulkString(payload)] = &message.data[..] {
                owner.message(channel, payload);
            }
        }
        _ => {}
    };
    let connecting = async {
        let Shared { server, node, owner, .. } = &**shared;
        let (mut connection, pushes) = server.open(node, push).await?;
        let has = |slot| owner.has(node, slot);
        let prepared = server.prepare(&mut connection, has).await;
        let mut prepared = prepared.map_err(|fault| shared.of_node(fault))?;
        if !pushes {
            prepared.mute("it does not speak RESP3 (HELLO 3)".into());
        } else if prepared.can_wake() {
            // Who may not hear what never comes may not hear what matters.
            match subscribe(&mut connection, server.silent_channels()).await {
                Err(fault) if fault.what == What::Denied => prepared.mute(fault.message),
                subscribed => subscribed?,
            }
        }
        let manner = prepared.manner();
        server.tell(&shared.shown, prepared);
        Ok((connection, manner))
    };
    match timeout(shared.patience, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(Fault::new(What::Silent, "connecting took too long")),
    }
}

/// How long the server has been away, and when that was said last.
#[derive(Default)]
pub(crate) struct Troubles {
    count: u32,
    since: Option<Instant>,
    said: Option<(Instant, Duration)>,
}

impl Troubles {
    pub(crate) fn meet(&mut self, server: &str, fault: &Fault) {
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
            warn!(server, tries, ?away_for, "redis is away: {}", fault.message);
        } else {
            error!(server, tries, ?away_for, "redis cannot be used: {}", fault.message);
        }
    }

    pub(crate) fn over(&mut self, server: &str) {
        if let Some(since) = self.since.take() {
            info!(server, away_for = ?since.elapsed(), "redis is back");
        }
        self.said = None;
    }

    /// Twice as long each time, and somewhere between half of that and all of it.
    pub(crate) fn pause(&self) -> Duration {
        let longest = PAUSES.0 * 2u32.saturating_pow(self.count.saturating_sub(1).min(16));
        longest.min(PAUSES.1).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

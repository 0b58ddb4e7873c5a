//! The scripts: each a file, embedded here, with the libraries that it uses and the keys that it
//! declares.
//!
//! A script gets its keys under their names, as locals made of `KEYS` in the order of the table
//! below; it has no other way to name one. Keys of incarnations that are not known before are passed
//! behind them (see `lib/holders.lua`).
//!
//! A line `-- @include NAME` is replaced by `lib/NAME.lua`. Where it stands is where it costs: the
//! functions of a library are made anew in every call that comes by.

use std::sync::LazyLock;

use redis::Cmd;

use crate::keys::{Key, Named, QueueKeys};

/// A script, ready to be called.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) source: String,
    pub(crate) sha: String,
    /// The same for a server that lets this process publish nothing, and its hash.
    pub(crate) quiet: Quiet,
    keys: Vec<Key>,
    /// Whether keys of incarnations follow.
    holders: bool,
}

/// A script that tells nobody what it did.
pub(crate) struct Quiet {
    pub(crate) source: String,
    pub(crate) sha: String,
}

impl Quiet {
    /// Whom a message would go to is taken to have heard it, and looks by itself.
    fn of(source: &str) -> Self {
        let source = source.replace("redis.call('PUBLISH',", "quiet(");
        let source = format!("local function quiet() return 1 end\n{source}");
        let sha = redis::Script::new(&source).get_hash().to_owned();
        Self { source, sha }
    }
}

macro_rules! scripts {
    ($($ident:ident = $name:literal ($($key:ident)*) $($holders:ident)?;)+) => {
        $(pub(crate) static $ident: LazyLock<Script> = LazyLock::new(|| {
            Script::new(
                $name,
                include_str!(concat!("scripts/", $name, ".lua")),
                &[$(stringify!($key)),*],
                &[$(stringify!($holders),)?],
            )
        });)+

        /// All of them.
        pub(crate) fn all() -> impl Iterator<Item = &'static Script> {
            let all: [&'static Script; [$(stringify!($ident)),+].len()] = [$(&$ident),+];
            all.into_iter()
        }
    };
}

scripts! {
    EXCHANGE = "exchange" (jobs wait0 wait1 wait2 wait3 wait4 solo delayed workers meta idle awaited
        held turn sweepers completed dead results schedules runs due_schedules);
    ENQUEUE = "enqueue" (jobs wait0 wait1 wait2 wait3 wait4 solo delayed meta idle sweepers completed
        dead results lane);
    PUSH = "push" (jobs list delayed meta idle lane);
    BEAT = "beat" (workers turn);
    HELD = "held" (held turn);
    SWEEP = "sweep" (jobs wait0 wait1 wait2 wait3 wait4 solo delayed workers suspects meta idle
        sweepers completed dead results);
    RECOVER = "recover" (jobs wait0 wait1 wait2 wait3 wait4 solo delayed workers suspects meta idle
        completed dead results awaited held turn schedules runs due_schedules);
    LOOK = "look" (jobs wait0 wait1 wait2 wait3 wait4 delayed workers) holders;
    AWAIT = "await" (jobs awaited);
    CANCEL = "cancel" (jobs wait0 wait1 wait2 wait3 wait4 solo delayed workers meta idle completed
        dead results awaited schedules runs due_schedules) holders;
    REPLAY = "replay" (jobs wait0 wait1 wait2 wait3 wait4 solo delayed meta idle completed dead
        results runs);
    DISCARD = "discard" (jobs meta completed dead results);
    PAUSE = "pause" (wait0 wait1 wait2 wait3 wait4 solo meta idle);
    COUNT = "count" (jobs wait0 wait1 wait2 wait3 wait4 solo delayed meta completed dead results);
    SCHEDULE = "schedule" (jobs meta schedules definitions due_schedules);
    UNSCHEDULE = "unschedule" (meta schedules definitions due_schedules runs);
    UNINDEX = "unindex" (index);
    HALT = "halt" (jobs schedules due_schedules);
    REWIND = "rewind" (jobs schedules due_schedules);
    DUE = "due" (schedules due_schedules);
    FIRE = "fire" (jobs wait0 wait1 wait2 wait3 wait4 solo delayed meta idle completed dead results
        schedules definitions due_schedules runs);
    FIRE_PLAIN = "fire_plain" (jobs wait0 wait1 wait2 wait3 wait4 solo delayed meta idle schedules
        runs);
    TRIGGER = "trigger" (jobs wait0 wait1 wait2 wait3 wait4 solo delayed meta idle completed dead
        results schedules runs);
    DECLARE = "declare" (releases);
    WITHDRAW = "withdraw" (releases);
}

/// The libraries, by the names by which scripts include them.
const LIBRARIES: [(&str, &str); 14] = [
    ("announce", include_str!("scripts/lib/announce.lua")),
    ("chunks", include_str!("scripts/lib/chunks.lua")),
    ("clock", include_str!("scripts/lib/clock.lua")),
    ("ends", include_str!("scripts/lib/ends.lua")),
    ("envelope", include_str!("scripts/lib/envelope.lua")),
    ("finish", include_str!("scripts/lib/finish.lua")),
    ("holders", include_str!("scripts/lib/holders.lua")),
    ("places", include_str!("scripts/lib/places.lua")),
    ("requeue", include_str!("scripts/lib/requeue.lua")),
    ("schedule", include_str!("scripts/lib/schedule.lua")),
    ("sweeper", include_str!("scripts/lib/sweeper.lua")),
    ("trim", include_str!("scripts/lib/trim.lua")),
    ("turn", include_str!("scripts/lib/turn.lua")),
    ("wake", include_str!("scripts/lib/wake.lua")),
];

impl Script {
    fn new(
        name: &'static str,
        text: &str,
        keys: &[&'static str],
        holders: &[&'static str],
    ) -> Self {
        let named: Vec<_> = keys.iter().filter_map(|key| Key::named(key)).collect();
        assert_eq!(named.len(), keys.len(), "the script {name} names a key that there is not");
        let values: Vec<_> = (1..=keys.len()).map(|place| format!("KEYS[{place}]")).collect();
        let mut source = format!("local {} = {}\n", keys.join(", "), values.join(", "));
        if let Some(place) = keys.iter().position(|key| *key == "wait0") {
            source += &format!("local FIRST_LIST = {}\n", place + 1);
        }
        if !holders.is_empty() {
            source += &format!("local HOLDERS = {}\n", keys.len() + 1);
        }
        include(text, &mut source);
        let sha = redis::Script::new(&source).get_hash().to_owned();
        let quiet = Quiet::of(&source);
        Self { name, source, sha, quiet, keys: named, holders: !holders.is_empty() }
    }

    /// The begin of a call: everything but the arguments.
    pub(crate) fn call(&self, keys: &QueueKeys, named: &Named) -> Cmd {
        self.call_with(&self.keys, keys, named, &[])
    }

    /// The begin of a call of a script about one key, of a namespace.
    pub(crate) fn call_on(&self, key: &str) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.sha).arg(1).arg(key);
        cmd
    }

    /// The same, without the last keys, which this call has no use for. Each costs the server as
    /// much as a fifth of a command.
    pub(crate) fn call_without(&self, last: usize, keys: &QueueKeys, named: &Named) -> Cmd {
        self.call_with(&self.keys[..self.keys.len() - last], keys, named, &[])
    }

    /// The same, with the keys of these incarnations behind the others.
    pub(crate) fn call_with_holders(
        &self,
        keys: &QueueKeys,
        named: &Named,
        incarnations: &[String],
    ) -> Cmd {
        debug_assert!(self.holders || incarnations.is_empty(), "{} takes no holders", self.name);
        self.call_with(&self.keys, keys, named, incarnations)
    }

    fn call_with(
        &self,
        declared: &[Key],
        keys: &QueueKeys,
        named: &Named,
        incarnations: &[String],
    ) -> Cmd {
        let mut cmd = Cmd::with_capacity(declared.len() + 32, 2048);
        cmd.arg("EVALSHA").arg(&self.sha).arg(declared.len() + 2 * incarnations.len());
        for key in declared {
            cmd.arg(keys.get(*key, named));
        }
        for incarnation in incarnations {
            cmd.arg(keys.held(incarnation)).arg(keys.turn(incarnation));
        }
        cmd
    }
}

/// Adds a text to a script, with libraries where it includes them, and without its comments: the
/// server need not read them.
fn include(text: &str, source: &mut String) {
    for line in text.lines() {
        let code = line.trim_start();
        if let Some(name) = code.strip_prefix("-- @include ") {
            let library = LIBRARIES.iter().find(|(library, _)| *library == name.trim());
            let (_, library) = library.unwrap_or_else(|| panic!("there is no library {name}"));
            include(library, source);
        } else if !code.is_empty() && !code.starts_with("--") {
            source.push_str(code);
            source.push('\n');
        }
    }
}

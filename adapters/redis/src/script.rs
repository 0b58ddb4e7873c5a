//! The scripts: each a file, embedded here, with the libraries that it uses and the keys that it
//! declares.
//!
//! A script gets its keys under their names, as locals made of `KEYS` in the order of the table
//! below; it has no other way to name one. Keys of incarnations that are not known before are passed
//! behind them (see `lib/holders.lua`).

use std::sync::LazyLock;

use redis::Cmd;

use crate::keys::{Key, Named, QueueKeys};

/// A script, ready to be called.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) source: String,
    pub(crate) sha: String,
    keys: Vec<Key>,
    /// Whether keys of incarnations follow.
    holders: bool,
}

macro_rules! scripts {
    ($($ident:ident = $name:literal [$($library:literal)*] ($($key:ident)*) $($holders:ident)?;)+) => {
        $(pub(crate) static $ident: LazyLock<Script> = LazyLock::new(|| {
            Script::new(
                $name,
                &[$(include_str!(concat!("scripts/lib/", $library, ".lua")),)*
                    include_str!(concat!("scripts/", $name, ".lua"))],
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
    EXCHANGE = "exchange" ["envelope" "turn" "wake" "places" "finish" "requeue"]
        (jobs wait0 wait1 wait2 wait3 wait4 solo delayed workers meta idle sweepers completed dead
            results awaited held turn);
    ENQUEUE = "enqueue" ["envelope" "wake" "places" "finish"]
        (jobs wait0 wait1 wait2 wait3 wait4 solo delayed meta idle sweepers completed dead results
            lane);
    BEAT = "beat" ["envelope" "turn"] (workers turn);
    HELD = "held" ["turn"] (held turn);
    SWEEP = "sweep" ["envelope" "wake" "places" "finish"]
        (jobs wait0 wait1 wait2 wait3 wait4 solo delayed workers suspects meta idle sweepers
            completed dead results);
    RECOVER = "recover" ["envelope" "turn" "wake" "places" "finish" "requeue"]
        (jobs wait0 wait1 wait2 wait3 wait4 solo delayed workers suspects meta idle completed dead
            results awaited held turn);
    LOOK = "look" ["envelope" "places" "finish" "holders"]
        (jobs wait0 wait1 wait2 wait3 wait4 solo delayed workers meta completed dead results)
        holders;
    AWAIT = "await" ["envelope" "finish"] (jobs completed dead results awaited);
    CANCEL = "cancel" ["envelope" "turn" "wake" "places" "finish" "requeue" "holders"]
        (jobs wait0 wait1 wait2 wait3 wait4 solo delayed workers meta idle completed dead results
            awaited) holders;
    REPLAY = "replay" ["envelope" "wake" "places" "finish" "requeue"]
        (jobs wait0 wait1 wait2 wait3 wait4 solo delayed meta idle completed dead results awaited);
    DISCARD = "discard" ["envelope" "finish"] (jobs meta completed dead results);
    PAUSE = "pause" ["wake" "places"] (wait0 wait1 wait2 wait3 wait4 solo delayed meta idle);
    COUNT = "count" ["envelope" "places" "finish"]
        (jobs wait0 wait1 wait2 wait3 wait4 solo delayed meta completed dead results);
    SCHEDULE = "schedule" ["envelope"] (schedules meta);
    UNSCHEDULE = "unschedule" ["envelope"] (schedules meta);
    UNINDEX = "unindex" [] (index);
    FIRE = "fire" ["envelope" "wake" "places" "finish"]
        (jobs wait0 wait1 wait2 wait3 wait4 solo delayed meta idle completed dead results schedules);
}

impl Script {
    fn new(
        name: &'static str,
        parts: &[&str],
        keys: &[&'static str],
        holders: &[&'static str],
    ) -> Self {
        let named: Vec<_> = keys.iter().filter_map(|key| Key::named(key)).collect();
        assert_eq!(named.len(), keys.len(), "the script {name} names a key that there is not");
        let values: Vec<_> = (1..=keys.len()).map(|place| format!("KEYS[{place}]")).collect();
        let mut source = format!("local {} = {}\n", keys.join(", "), values.join(", "));
        if !holders.is_empty() {
            source += &format!("local HOLDERS = {}\n", keys.len() + 1);
        }
        source += &parts.concat();
        let sha = redis::Script::new(&source).get_hash().to_owned();
        Self { name, source, sha, keys: named, holders: !holders.is_empty() }
    }

    /// The begin of a call: everything but the arguments.
    pub(crate) fn call(&self, keys: &QueueKeys, named: &Named) -> Cmd {
        self.call_with_holders(keys, named, &[])
    }

    /// The same, with the keys of these incarnations behind the others.
    pub(crate) fn call_with_holders(
        &self,
        keys: &QueueKeys,
        named: &Named,
        incarnations: &[String],
    ) -> Cmd {
        debug_assert!(self.holders || incarnations.is_empty(), "{} takes no holders", self.name);
        let mut cmd = Cmd::with_capacity(self.keys.len() + 32, 2048);
        cmd.arg("EVALSHA").arg(&self.sha).arg(self.keys.len() + 2 * incarnations.len());
        for key in &self.keys {
            cmd.arg(keys.get(*key, named));
        }
        for incarnation in incarnations {
            cmd.arg(keys.held(incarnation)).arg(keys.turn(incarnation));
        }
        cmd
    }
}

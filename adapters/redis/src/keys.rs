//! Every key there is.
//!
//! All keys of a queue share the hash tag `{namespace:queue}`, so that one script may touch them on
//! a cluster. `NS` stands for the namespace, `Q` for the queue.
//!
//! | key | type | holds | written by | goes away |
//! |---|---|---|---|---|
//! | `{NS:Q}:jobs` | hash | id → envelope, of every job | whatever makes, moves or ends a job | field by field, with the jobs |
//! | `{NS:Q}:wait:0` … `:4` | list | entries of waiting jobs, a list for each priority | enqueue, promotion, settling, recovery | when empty |
//! | `{NS:Q}:solo` | sorted set | entries of waiting jobs that must run alone, by priority and order | the same | when empty |
//! | `{NS:Q}:delayed` | sorted set | place and entry of delayed jobs, by due time | enqueue, settling | when empty |
//! | `{NS:Q}:held:I` | set | entries of the jobs that incarnation I holds | exchange, recovery | when empty |
//! | `{NS:Q}:turn:I` | string | the last exchange of I and what it was answered | exchange, cancel, recovery | an hour after the last sign of life |
//! | `{NS:Q}:workers` | sorted set | incarnations that hold jobs, by the end of their lease | exchange, heartbeat, recovery | when empty |
//! | `{NS:Q}:suspects` | hash | incarnation → lease that passed, and until when that may be forgiven | sweep | with the last suspicion |
//! | `{NS:Q}:meta` | hash | `paused`; counts `tombs`, `completed`, `dead`, `cancelled`; `solo_front`, `solo_back`; `horizon`; `retired` | most | never |
//! | `{NS:Q}:idle` | set | processes that have a worker with nothing to do | exchange, wake-ups | when empty |
//! | `{NS:Q}:sweepers` | set | processes that sweep the queue | sweep, wake-ups | when empty |
//! | `{NS:Q}:completed`, `:dead` | sorted set | state and id of finished jobs, by when they ended | what ends a job | when empty |
//! | `{NS:Q}:results` | sorted set | state and id of jobs kept for their result, by when they are forgotten | what ends a job | when empty |
//! | `{NS:Q}:awaited` | hash | id → processes that wait for its end | awaiting, what ends a job | with the longest wait |
//! | `{NS:Q}:lane:L` | string | the last batch that lane L enqueued, and what it was answered | enqueue | ten minutes after it |
//! | `{NS:Q}:schedules` | hash | schedule → state and definition | schedule, fire | field by field |
//! | `{NS}:schedules` | hash | schedule → the queue it is in | schedule | field by field |
//! | `{NS}:queues` | set | the queues that were ever used | the first write to a queue | never |
//! | `{NS}:format` | string | the version of all this: `1` | the first connection | never |
//!
//! Channels: `{NS:Q}:idle:P` tells process P of work (`w`), of a sweep that is needed earlier (`s`),
//! or of a job that ended (`f` and its id); `{NS}:schedules` tells every clock that schedules changed.

use std::sync::Arc;

use shiftwork_adapter::{Incarnation, Namespace, QueueName};

/// A key that a script declares, by the name that it has in the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A key of the queue, by its place in [`NAMES`].
    Queue(usize),
    /// `held` of the incarnation that a call is about.
    Held,
    /// `turn` of the incarnation that a call is about.
    Turn,
    /// The lane that a call is about.
    Lane,
    /// The namespace's index of schedules.
    Index,
}

/// The keys of a queue that have no name in them: what they are called in scripts, and how they end.
const NAMES: [(&str, &str); 18] = [
    ("jobs", "jobs"),
    ("wait0", "wait:0"),
    ("wait1", "wait:1"),
    ("wait2", "wait:2"),
    ("wait3", "wait:3"),
    ("wait4", "wait:4"),
    ("solo", "solo"),
    ("delayed", "delayed"),
    ("workers", "workers"),
    ("suspects", "suspects"),
    ("meta", "meta"),
    ("idle", "idle"),
    ("sweepers", "sweepers"),
    ("completed", "completed"),
    ("dead", "dead"),
    ("results", "results"),
    ("awaited", "awaited"),
    ("schedules", "schedules"),
];

impl Key {
    /// The key that a script calls so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "held" => Some(Self::Held),
            "turn" => Some(Self::Turn),
            "lane" => Some(Self::Lane),
            "index" => Some(Self::Index),
            _ => NAMES.iter().position(|(script, _)| *script == name).map(Self::Queue),
        }
    }
}

/// The keys of a namespace.
#[derive(Debug)]
pub(crate) struct NamespaceKeys {
    /// `{NS}:queues`
    pub(crate) queues: String,
    /// `{NS}:schedules`, the key and the channel.
    pub(crate) schedules: String,
    /// `{NS}:format`
    pub(crate) format: String,
    /// `{NS}:check`: written and removed again when the permissions are checked.
    pub(crate) check: String,
}

impl NamespaceKeys {
    pub(crate) fn new(namespace: &Namespace) -> Self {
        Self {
            queues: format!("{{{namespace}}}:queues"),
            schedules: format!("{{{namespace}}}:schedules"),
            format: format!("{{{namespace}}}:format"),
            check: format!("{{{namespace}}}:check"),
        }
    }
}

/// The keys of a queue.
#[derive(Debug)]
pub(crate) struct QueueKeys {
    prefix: String,
    fixed: [String; NAMES.len()],
    index: Arc<NamespaceKeys>,
}

impl QueueKeys {
    pub(crate) fn new(namespace: &Namespace, queue: &QueueName, index: Arc<NamespaceKeys>) -> Self {
        let prefix = format!("{{{namespace}:{queue}}}:");
        let fixed = NAMES.map(|(_, ending)| format!("{prefix}{ending}"));
        Self { prefix, fixed, index }
    }

    /// The key; for one with a name in it, of `named`.
    pub(crate) fn get<'a>(&'a self, key: Key, named: &'a Named) -> &'a str {
        match key {
            Key::Queue(place) => &self.fixed[place],
            Key::Held => &named.held,
            Key::Turn => &named.turn,
            Key::Lane => &named.lane,
            Key::Index => &self.index.schedules,
        }
    }

    /// `{NS:Q}:jobs`
    pub(crate) fn jobs(&self) -> &str {
        &self.fixed[0]
    }

    /// `{NS:Q}:schedules`
    pub(crate) fn schedules(&self) -> &str {
        &self.fixed[NAMES.len() - 1]
    }

    /// `{NS:Q}:idle`
    pub(crate) fn idle(&self) -> &str {
        &self.fixed[11]
    }

    /// `{NS:Q}:sweepers`
    pub(crate) fn sweepers(&self) -> &str {
        &self.fixed[12]
    }

    /// The channel on which a process is told of what happens in this queue.
    pub(crate) fn channel(&self, process: &str) -> String {
        format!("{}:{process}", self.idle())
    }

    /// The keys of an incarnation.
    pub(crate) fn of(&self, incarnation: Incarnation) -> Named {
        let name = incarnation.to_string();
        Named { held: self.held(&name), turn: self.turn(&name), lane: String::new() }
    }

    /// The key of a lane.
    pub(crate) fn lane(&self, lane: &str) -> Named {
        Named { lane: format!("{}lane:{lane}", self.prefix), ..Named::default() }
    }

    /// `{NS:Q}:held:I`
    pub(crate) fn held(&self, incarnation: &str) -> String {
        format!("{}held:{incarnation}", self.prefix)
    }

    /// `{NS:Q}:turn:I`
    pub(crate) fn turn(&self, incarnation: &str) -> String {
        format!("{}turn:{incarnation}", self.prefix)
    }
}

/// The keys with a name in them that one call is about.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) held: String,
    pub(crate) turn: String,
    pub(crate) lane: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_named_in_code_are_those_of_the_table() {
        let namespace = Namespace::new("shop").unwrap();
        let names = Arc::new(NamespaceKeys::new(&namespace));
        let keys = QueueKeys::new(&namespace, &QueueName::new("mail").unwrap(), names);
        assert_eq!(keys.jobs(), "{shop:mail}:jobs");
        assert_eq!(keys.schedules(), "{shop:mail}:schedules");
        assert_eq!(keys.channel("p"), "{shop:mail}:idle:p");
        assert_eq!(keys.sweepers(), "{shop:mail}:sweepers");
    }
}

//! Every key there is.
//!
//! All keys of a queue share the hash tag `{namespace:queue}`, so that one script may touch them on
//! a cluster. What each holds, who writes it and when it goes away is in the table of
//! `docs/wire-format.md`, which a test below holds to what is here.

use std::sync::Arc;

use shiftwork_adapter::{Incarnation, Namespace, Priority, QueueName};

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
    /// The list of waiting jobs of the priority that a call is about.
    List,
    /// The namespace's index of schedules.
    Index,
    /// The namespace's processes that declare schedules.
    Releases,
}

/// The keys of a queue that have no name in them: what they are called in scripts, and how they end.
const NAMES: [(&str, &str); 21] = [
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
    ("definitions", "definitions"),
    ("due_schedules", "due"),
    ("runs", "runs"),
];

/// The place of the first list of waiting jobs.
const WAIT0: usize = 1;

impl Key {
    /// The key that a script calls so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "held" => Some(Self::Held),
            "turn" => Some(Self::Turn),
            "lane" => Some(Self::Lane),
            "list" => Some(Self::List),
            "index" => Some(Self::Index),
            "releases" => Some(Self::Releases),
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
    /// `{NS}:scheduling`
    pub(crate) scheduling: String,
    /// `{NS}:releases`
    pub(crate) releases: String,
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
            scheduling: format!("{{{namespace}}}:scheduling"),
            releases: format!("{{{namespace}}}:releases"),
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
            Key::List => &self.fixed[WAIT0 + named.priority as usize],
            Key::Index => &self.index.schedules,
            Key::Releases => &self.index.releases,
        }
    }

    /// `{NS:Q}:jobs`
    pub(crate) fn jobs(&self) -> &str {
        &self.fixed[0]
    }

    /// `{NS:Q}:schedules`
    pub(crate) fn schedules(&self) -> &str {
        &self.fixed[17]
    }

    /// `{NS:Q}:definitions`
    pub(crate) fn definitions(&self) -> &str {
        &self.fixed[18]
    }

    /// `{NS:Q}:due`
    pub(crate) fn due_schedules(&self) -> &str {
        &self.fixed[19]
    }

    /// `{NS:Q}:runs`
    pub(crate) fn runs(&self) -> &str {
        &self.fixed[20]
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
        Named { held: self.held(&name), turn: self.turn(&name), ..Named::default() }
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
    pub(crate) priority: Priority,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_key_and_no_other() {
        let page = include_str!("../../../docs/wire-format.md");
        let (_, keys) = page.split_once("## Keys").unwrap();
        let (keys, _) = keys.split_once("Channels:").unwrap();
        let mut told: Vec<String> = Vec::new();
        for row in keys.lines().filter(|line| line.starts_with("| `")) {
            let first = row.split(" | ").next().unwrap();
            // `{NS:Q}:completed`, `:dead`; and `{NS:Q}:wait:0` … `:4`.
            let names: Vec<_> = first.split('`').skip(1).step_by(2).collect();
            told.push(names[0].into());
            match names[1..] {
                [] => {}
                [":4"] => told.extend((1..=4).map(|place| format!("{{NS:Q}}:wait:{place}"))),
                ref others => told.extend(others.iter().map(|name| format!("{{NS:Q}}{name}"))),
            }
        }
        let namespace = Namespace::new("NS").unwrap();
        let names = Arc::new(NamespaceKeys::new(&namespace));
        let keys = QueueKeys::new(&namespace, &QueueName::new("Q").unwrap(), names.clone());
        let mut there: Vec<String> = keys.fixed.to_vec();
        there.extend([keys.held("I"), keys.turn("I"), keys.lane("L").lane]);
        there.extend([&names.schedules, &names.queues, &names.format].map(Clone::clone));
        there.extend([&names.scheduling, &names.releases].map(Clone::clone));
        told.sort();
        there.sort();
        assert_eq!(told, there);
    }

    #[test]
    fn the_places_named_in_code_are_those_of_the_table() {
        let namespace = Namespace::new("shop").unwrap();
        let names = Arc::new(NamespaceKeys::new(&namespace));
        let keys = QueueKeys::new(&namespace, &QueueName::new("mail").unwrap(), names);
        assert_eq!(keys.jobs(), "{shop:mail}:jobs");
        let low = Named { priority: Priority::Low, ..Named::default() };
        assert_eq!(keys.get(Key::List, &low), "{shop:mail}:wait:3");
        assert_eq!(keys.schedules(), "{shop:mail}:schedules");
        assert_eq!(keys.runs(), "{shop:mail}:runs");
        assert_eq!(keys.channel("p"), "{shop:mail}:idle:p");
        assert_eq!(keys.sweepers(), "{shop:mail}:sweepers");
    }
}

//! Settings for one run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings that differ from the contender's own, by name. For trying what is best, and for the
/// variants of a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tuning(BTreeMap<String, u64>);

impl Tuning {
    /// A setting: what was told, or the contender's own.
    pub fn of(&self, name: &str, own: u64) -> u64 {
        self.0.get(name).copied().unwrap_or(own)
    }

    /// These too, or instead.
    pub fn extend(&mut self, settings: &[(&str, u64)]) {
        self.0.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    }
}

//! A row of the goal table, also one that another program contributes.

use serde::{Deserialize, Serialize};

/// One goal: what was asked, and what was measured. A program beside `contest` prints such rows
/// as lines of JSON when it is run with `rows`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What is measured.
    pub what: String,
    /// What is asked of it.
    pub goal: String,
    /// What Shiftwork does.
    pub ours: String,
    /// The best reliable peer, its name first.
    pub best: String,
    /// What Redis itself allows.
    pub limit: String,
    /// Ours to the best, or to whatever the goal names.
    pub ratio: String,
    /// Whether the goal is met; `None` where it could not be told.
    pub met: Option<bool>,
}

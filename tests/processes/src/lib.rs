//! The application under test: its jobs, and the journal in which they leave what they did.
//!
//! The program of this package runs the jobs, in as many processes as a test wants; the tests
//! enqueue them, as a web process of the same application does.

#![allow(clippy::disallowed_methods, reason = "jobs under test take the time that they are told")]

pub mod jobs;
pub mod journal;

//! An adapter as somebody else would write it, `JOBS_PROVIDER=example`: jobs in this process's
//! memory, and a journal of what happened to them in a file.
//!
//! It is a crate of its own that depends on the contract, and on the memory adapter as its store;
//! the engine has never heard of it. What makes it an adapter:
//!
//! 1. [`ExampleAdapter`] implements [`JobAdapter`](shiftwork_adapter::JobAdapter).
//! 2. [`PROVIDER`] is submitted to `inventory`, with a variable of its own.
//! 3. It passes the conformance suite: `tests/conformance.rs`.
//!
//! A program chooses it by naming the crate once, `use shiftwork_example_adapter as _;`, or by
//! giving [`PROVIDER`] to its `Jobs` builder, and by two variables:
//!
//! ```sh
//! JOBS_PROVIDER=example JOBS_EXAMPLE_PATH=./journal.log ./program
//! ```

mod adapter;
mod journal;

pub use adapter::{ExampleAdapter, PROVIDER};

//! Real servers for tests, and what can happen to them.

//! x
use super::Factory;
/// x
pub fn run_model(_factory: impl Factory) {}

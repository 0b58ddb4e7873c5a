//! Jobs, enqueued and run in this process.

mod apalis;
mod channel;
mod shiftwork;

pub(crate) use apalis::Apalis;
pub(crate) use channel::Channel;
pub(crate) use shiftwork::Shiftwork;

//! Tasks and workers: who gets which task, and what happens to those whose worker is silent. What a task is for, copies or
//! compactions, does not matter here.

mod revoke;
mod schedule;
mod turns;

pub(crate) use revoke::{Revocations, Settled};
pub(crate) use schedule::{Schedule, expire, schedule};

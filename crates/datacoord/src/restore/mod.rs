//! Restore jobs: the checker moves jobs, the scheduler gives their tasks to workers.
//!
//! One job that cannot go on never keeps another from going on (O-1): each is looked at by itself, its errors are counted
//! and logged, and the round goes on with the next.

mod check;
mod revoke;
mod schedule;
mod turns;

pub(crate) use check::{check, remove_finished};
pub(crate) use revoke::Revocations;
pub(crate) use schedule::{Schedule, expire, schedule};

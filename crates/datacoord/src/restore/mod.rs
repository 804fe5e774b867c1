//! Restore jobs: the checker moves jobs; their tasks are given to workers by [`tasks`](crate::tasks).
//!
//! One job that cannot go on never keeps another from going on (O-1): each is looked at by itself, its errors are counted
//! and logged, and the round goes on with the next.

mod check;

pub(crate) use check::{check, remove_finished};

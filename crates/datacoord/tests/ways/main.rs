//! The ways back, over the calls of a coordinator: rollback in place and the trash; the ends of restore jobs by time; and writes
//! whose end is not known.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod jobs;
mod rollback;
mod scans;
mod trash;
mod writes;

#[allow(dead_code, reason = "shared with other tests, which use other parts of it")]
#[path = "../world/mod.rs"]
mod world;

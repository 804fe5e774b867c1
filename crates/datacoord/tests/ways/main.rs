//! The ways back, over the calls of a coordinator: rollback in place and the trash; and the ends of restore jobs by time.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod jobs;
mod rollback;
mod scans;
mod trash;

#[allow(dead_code, reason = "shared with other tests, which use other parts of it")]
#[path = "../world/mod.rs"]
mod world;

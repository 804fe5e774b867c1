//! The ways back, over the calls of a coordinator: rollback in place and the trash; and the ends of restore jobs by time.

mod jobs;
mod rollback;
mod trash;

#[allow(dead_code, reason = "shared with other tests, which use other parts of it")]
#[path = "../world/mod.rs"]
mod world;

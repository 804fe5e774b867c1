//! Coordinators and workers that are processes of their own: several of each over one metadata store and one object
//! store, with TCP between them.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod cluster;
mod deaths;
mod fencing;
mod moves;

#[allow(dead_code, reason = "shared with the suite of the metadata, which uses other parts of it")]
#[path = "../../../meta/tests/suite/server.rs"]
mod server;

#[allow(dead_code, reason = "shared with other tests, which use other parts of it")]
#[path = "../world/mod.rs"]
mod world;

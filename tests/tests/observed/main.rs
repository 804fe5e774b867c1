//! What operators see of the program: traces of requests, through all services, and metrics whose names stay.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod metrics;
mod requests;
mod services;
mod standalone;
mod tree;
#[path = "../services/world.rs"]
#[allow(dead_code, reason = "the tests of the services need more of it")]
mod world;

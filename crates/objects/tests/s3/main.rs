//! The S3 store against a real S3 server: the same promises as every store, and what is special about it.

#![expect(clippy::disallowed_methods, reason = "tests of stores have no metadata")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod faults;
mod flaky;
mod objects;
mod promises;
mod world;

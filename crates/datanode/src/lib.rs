//! The worker: commits writes, copies and compacts segments.
//!
//! * [`write`]: group commit. Acknowledged means that the files are durable in the store and the facts in the metadata
//!   (D-1): register the keys, write the files, commit the facts, then answer.
//! * [`tasks`]: copies the files of restore tasks and verifies them, compacts files, reports; stops when it is fenced. How
//!   many calls at a time the store bears is found out by trying.
//!
//! Keeps no state that matters: what a dead worker had begun is found by its intents and by the leases of its tasks.

mod service;
mod tasks;
mod write;

pub use service::{DataNode, DataNodeConfig};

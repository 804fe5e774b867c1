//! Black-box scenarios against the elanus binary: what they share.
//!
//! * [`milvus`]: a client of the Milvus API that hides nothing: one call, one request, no repetition.
//! * [`rows`]: the collection that the scenarios write, and its rows.

pub mod milvus;
pub mod rows;

use std::path::PathBuf;

/// A file of this package, as `tests/…` of the repository.
#[must_use]
pub fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

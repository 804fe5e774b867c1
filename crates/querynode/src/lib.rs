//! The query node: answers query and search as of a timestamp, from files, with a local cache. Never writes anything.
//!
//! * `view`: which rows of which files are visible at one timestamp: pure, immutable, made from the view before it.
//! * `keys`, `deletes`: primary keys of a file, and what hides them.
//! * `views`: the newest view of each collection that is read, and views of the past.
//! * `cache`, `rows`: decoded files within a byte budget.
//! * `scan`: work over the rows of many files, several at a time, off the async threads.
//! * `query`, `search`, `grouping`, `topk`, `output`: what is done with the rows.
//! * `graphs`: searches of files that have an index.
//! * `queries`: how near vectors are, for each of their types.
//! * `scope`, `service`: requests and answers.

mod cache;
mod cpu;
mod deletes;
mod graphs;
mod grouping;
mod keys;
mod leases;
mod output;
mod queries;
mod query;
mod rows;
mod scan;
mod scope;
mod search;
mod service;
mod topk;
mod view;
mod views;

pub use leases::READER_LEASE_MS;
pub use service::{QueryConfig, QueryNode};

#[cfg(test)]
mod tests;

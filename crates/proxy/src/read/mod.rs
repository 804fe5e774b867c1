//! Query and search: which partitions, which columns, and what a client gets.
//!
//! Every read sees every write that was acknowledged before it began. That keeps the promise of each consistency level, so
//! levels and guarantee timestamps are not looked at; in particular, nothing ever waits for a timestamp. Iterators alone
//! read as of the timestamp of their first page. A read with the
//! metadata `elanus-snapshot: NAME` sees the collection as it was at that snapshot, loaded or not.

mod by_ids;
mod grouping;
mod hybrid;
mod iteration;
mod options;
mod output;
mod placeholders;
mod query;
mod rerank;
mod results;
mod search;
mod source;

pub(crate) use hybrid::hybrid_search;
pub(crate) use query::query;
pub(crate) use search::search;

use crate::backend::Collection;
use elanus_types::{Code, Failure};

/// The partitions to read: those that are named, all of which must be loaded, or else all loaded ones. Empty: every
/// partition, also one that is added while the read runs.
fn loaded_partitions(collection: &Collection, names: &[String]) -> Result<Vec<i64>, Failure> {
    collection.requires_no_partition_names(!names.is_empty())?;
    let named = collection.partitions(names)?;
    let all = &collection.info.partitions;
    let loaded: Vec<i64> = all.iter().filter(|partition| partition.loaded).map(|partition| partition.id).collect();
    if loaded.is_empty() {
        return Err(collection.not_loaded());
    }
    if let Some(partition) = named.iter().find(|partition| !partition.loaded) {
        let text = format!("partition not loaded[partition={}]", partition.name);
        return Err(Failure::new(Code::PartitionNotLoaded, text));
    }
    Ok(match named.as_slice() {
        [] if loaded.len() == all.len() => Vec::new(),
        [] => loaded,
        named => named.iter().map(|partition| partition.id).collect(),
    })
}

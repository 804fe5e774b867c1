//! Leases of what this node reads: files that ended after the oldest timestamp that it may still use are not deleted.
//!
//! One row a collection, renewed by a heartbeat with the oldest timestamp of this heartbeat and of the one before: a read
//! that began on a view keeps its lease for a whole period after the view was replaced. Longer reads, and reads of the
//! first moments of a view, are the deletion queue's tolerance's to keep.

use crate::QueryNode;
use crate::views::Views;
use elanus_types::{CollectionId, Failure, NodeId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A lease ends so long after its last renewal, in milliseconds: the longest time that a dead node holds back deletions.
pub const READER_LEASE_MS: i64 = 60_000;

/// What the last heartbeat found.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    before: Mutex<BTreeMap<CollectionId, Timestamp>>,
    /// Whether there are rows of this node.
    held: Mutex<bool>,
}

impl QueryNode {
    /// One heartbeat: renews the leases of what is read now and gives back the others; how many are held. A node that
    /// reads nothing writes nothing.
    ///
    /// # Errors
    /// When the metadata is away: the leases end by themselves, and the tolerance of the queue remains.
    pub async fn renew_leases(&self, node: &NodeId) -> Result<usize, Failure> {
        let now = self.views.oldest_reads();
        let reads = oldest(&now, &self.leases.before.lock().unwrap_or_else(PoisonError::into_inner));
        let held = *self.leases.held.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.is_empty() && !held {
            return Ok(0);
        }
        let meta = self.views.meta();
        meta.renew_readers(node, &reads, meta.clock().now_ms() + READER_LEASE_MS).await?;
        *self.leases.before.lock().unwrap_or_else(PoisonError::into_inner) = now;
        *self.leases.held.lock().unwrap_or_else(PoisonError::into_inner) = !reads.is_empty();
        Ok(reads.len())
    }
}

/// The older of two timestamps of each collection.
fn oldest(
    now: &BTreeMap<CollectionId, Timestamp>,
    before: &BTreeMap<CollectionId, Timestamp>,
) -> Vec<(CollectionId, Timestamp)> {
    let mut all = now.clone();
    for (collection, ts) in before {
        all.entry(*collection).and_modify(|known| *known = (*known).min(*ts)).or_insert(*ts);
    }
    all.into_iter().collect()
}

impl Views {
    /// The oldest timestamp at which a view of each collection is kept.
    pub(crate) fn oldest_reads(&self) -> BTreeMap<CollectionId, Timestamp> {
        let mut reads = BTreeMap::new();
        for (collection, ts) in self.kept() {
            reads.entry(collection).and_modify(|known: &mut Timestamp| *known = (*known).min(ts)).or_insert(ts);
        }
        reads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_was_replaced_keeps_its_lease_for_a_heartbeat() {
        let reads = |pairs: &[(i64, i64)]| pairs.iter().map(|(id, ts)| (CollectionId(*id), Timestamp(*ts))).collect();
        let found = oldest(&reads(&[(1, 20), (2, 5)]), &reads(&[(1, 10), (3, 7)]));
        let found: Vec<(i64, i64)> = found.into_iter().map(|(id, ts)| (id.0, ts.0)).collect();
        assert_eq!(found, [(1, 10), (2, 5), (3, 7)]);
    }
}

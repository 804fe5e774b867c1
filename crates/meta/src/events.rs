//! Events about segments and about the collector, as they are put in the outbox with their facts. What else is told goes
//! through [`crate::history`] (machines) and [`crate::clock`] (collections).
//!
//! A segment is told when it begins to grow, when it is closed, and when a compaction makes or ends it: not with every write,
//! and not where a whole collection moves (restore, rollback, drop), which its collection's event tells.

use crate::db::{NewEvent, Tx};
use crate::error::Result;
use elanus_lifecycle::segment::MACHINE;
use elanus_types::{CollectionId, Epoch, SegmentId};
use serde_json::json;

/// What became of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentMove {
    /// A writer appends to it.
    Opened,
    /// No rows come any more.
    Closed,
    /// A compaction made it, closed.
    Made,
    /// Others took its rows over.
    Dropped,
}

impl SegmentMove {
    /// Event and state after, as the machine calls them.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Opened => ("create", "growing"),
            Self::Closed => ("flush", "flushed"),
            Self::Made => ("create", "flushed"),
            Self::Dropped => ("drop", "dropped"),
        }
    }
}

/// Tells that these segments of a collection moved.
pub(crate) async fn segments(
    tx: &mut Tx,
    collection: CollectionId,
    segments: impl IntoIterator<Item = SegmentId>,
    moved: SegmentMove,
) -> Result<()> {
    let (event, to) = moved.names();
    let events = segments.into_iter().map(|id| {
        let subject = format!("segment.{id}");
        let payload = json!({ "machine": MACHINE, "id": id.0, "event": event, "to": to, "collection": collection.0 });
        NewEvent { dedup_key: format!("{subject}.{to}"), subject, payload_json: payload.to_string() }
    });
    tx.announce_many(events.collect()).await
}

/// What the collector did, or was told, as its audit trail has it.
pub(crate) struct Collected<'c> {
    /// The line of the audit trail, or the first of many.
    pub(crate) line: i64,
    pub(crate) epoch: Epoch,
    pub(crate) actor: &'c str,
    pub(crate) action: &'c str,
    pub(crate) collection: Option<CollectionId>,
    /// Objects that it is about; `None`: about none in particular.
    pub(crate) objects: Option<u64>,
}

/// Tells what the collector did, once for all objects of a claim.
pub(crate) async fn collected(tx: &mut Tx, what: Collected<'_>) -> Result<()> {
    let Collected { line, epoch, actor, action, collection, objects } = what;
    let subject = format!("gc.{line}");
    let payload = json!({
        "action": action, "actor": actor, "epoch": epoch.0, "collection": collection.map(|id| id.0), "objects": objects,
    });
    tx.announce(subject.clone(), subject, payload.to_string()).await
}

//! Typed identifiers. All are positive 64-bit integers on the wire and in the metadata store.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// A database: a namespace of collection names.
    DatabaseId,
    /// A collection. Never reused, also not when its name is.
    CollectionId,
    /// A partition of one collection.
    PartitionId,
    /// A segment: a group of files of one (collection, partition, shard).
    SegmentId,
    /// A field of a schema; kept by restore. 0 and 1 are the row id and the timestamp, users' fields start at 100.
    FieldId,
    /// An index definition.
    IndexId,
    /// An immutable list of objects that come and go together.
    FileSetId,
    /// A snapshot of one collection.
    SnapshotId,
    /// A leased wish to keep a snapshot.
    PinId,
    /// A restore job.
    JobId,
    /// A copy task of a restore job.
    TaskId,
    /// A line of the collector's audit trail, or the first line of many of one claim.
    AuditId,
}

impl PartitionId {
    /// What a delete without partition names: rows of every partition of its shard.
    pub const ALL: PartitionId = PartitionId(-1);
}

impl FieldId {
    /// Of a field that has no id yet; no user's field has this one.
    pub const NONE: FieldId = FieldId(0);
    /// The hidden timestamp column of every row, as in Milvus.
    pub const TIMESTAMP: FieldId = FieldId(1);
    /// The first id that a user's field gets, as in Milvus.
    pub const FIRST_USER: FieldId = FieldId(100);
}

/// Position of a shard in its collection, `0..shards_num`. Never a sorted name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shard(pub i32);

/// Ownership number of one claim on a work item: rises when a claim is given and when it is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub i64);

impl Generation {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Ownership number of the active coordinator: rises at every take-over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

/// One incarnation of one process: a restart is another node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub String);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

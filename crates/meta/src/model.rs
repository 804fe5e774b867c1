//! What the store gives and takes: records, plain data. Those of restore jobs, compactions and services are in files of
//! their own.

mod compaction;
mod index;
mod restore;
mod services;

pub use compaction::*;
pub use index::*;
pub use restore::*;
pub use services::*;

use elanus_trace::TraceParent;
use elanus_types::schema::{CollectionDefinition, CollectionSchema};
use elanus_types::{
    Aging, Checksum, CollectionId, DatabaseId, FileSetId, JobId, NodeId, ObjectKey, PartitionId, PinId, SegmentId,
    Shard, SnapshotId, Timestamp,
};

/// How a caller names a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionKey {
    /// By id.
    Id(CollectionId),
    /// By database and name.
    Name {
        /// Name of the database.
        database: String,
        /// Name of the collection.
        name: String,
    },
}

/// A live collection with its present definition.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectionRecord {
    /// Its id.
    pub id: CollectionId,
    /// Its database.
    pub database_id: DatabaseId,
    /// Name of its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Schema, properties, partitions, indexes.
    pub definition: CollectionDefinition,
    /// In the order of `definition.partitions`.
    pub partitions: Vec<PartitionRecord>,
    /// Its other names, in order. No part of any snapshot.
    pub aliases: Vec<String>,
    /// When it was created.
    pub created_ts: Timestamp,
    /// When its name or schema changed last: clients that know an older schema describe it again.
    pub updated_ts: Timestamp,
    /// Its clock: timestamp of the last commit.
    pub last_ts: Timestamp,
    /// May be read by clients.
    pub loaded: bool,
}

/// A live partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecord {
    /// Its id.
    pub id: PartitionId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_ts: Timestamp,
    /// May be read by clients.
    pub loaded: bool,
}

/// What to create.
#[derive(Clone, Debug)]
pub struct NewCollection {
    /// Name of the database.
    pub database: String,
    /// Name of the collection, checked by the caller.
    pub name: String,
    /// Of `partitions` the names count, those of a partition key; without any, the collection has `_default`. `indexes`
    /// is ignored: a new collection has none.
    pub definition: CollectionDefinition,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Rows.
    Insert,
    /// Deletes.
    Delete,
    /// A vector or scalar index.
    Index,
    /// Metadata or a manifest of a snapshot.
    Manifest,
}

/// An object as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its key.
    pub key: ObjectKey,
    /// Bytes.
    pub size: u64,
    /// Of its bytes.
    pub checksum: Checksum,
}

/// A file set as a member of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Its segment.
    pub segment: SegmentId,
    /// Its file set.
    pub file_set: FileSetId,
    /// Partition of the segment; [`PartitionId::ALL`] for deletes of every partition.
    pub partition: PartitionId,
    /// Shard of the segment.
    pub shard: Shard,
    /// What it holds.
    pub kind: FileKind,
    /// What the offsets in the file count from.
    pub base_ts: Timestamp,
    /// Rows, or deleted keys.
    pub rows: u64,
    /// Since when it is a member.
    pub added_ts: Timestamp,
    /// In order.
    pub objects: Vec<StoredObject>,
}

/// A collection as of one time.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectionView {
    /// The time.
    pub ts: Timestamp,
    /// Schema at that time.
    pub schema: CollectionSchema,
    /// From when rows age.
    pub aging: Aging,
    /// After how many seconds they expire; `None`: never.
    pub ttl_s: Option<i64>,
    /// Ids of the partitions at that time.
    pub partitions: Vec<PartitionId>,
    /// Files at that time, by segment and file set.
    pub files: Vec<FileRecord>,
}

/// What changed in a collection after a time.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewChanges {
    /// The time up to which changes are told.
    pub ts: Timestamp,
    /// The schema may be another one since.
    pub redefined: bool,
    /// Files that are members now and were not then.
    pub added: Vec<FileRecord>,
    /// Memberships that ended.
    pub removed: Vec<(SegmentId, FileSetId)>,
}

/// A file that a write is going to make: registered before the first byte is sent.
#[derive(Clone, Debug)]
pub struct PlannedFile {
    /// Its file set, an intent of the owner.
    pub file_set: FileSetId,
    /// Segment that it will belong to.
    pub segment: SegmentId,
    /// Where its bytes go.
    pub key: ObjectKey,
}

/// Place and kind of a file that a write is going to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePlace {
    /// Partition, or [`PartitionId::ALL`] for deletes of every partition.
    pub partition: PartitionId,
    /// Shard.
    pub shard: Shard,
    /// [`FileKind::Insert`] or [`FileKind::Delete`].
    pub kind: FileKind,
}

/// A file that a write has made.
#[derive(Clone, Debug)]
pub struct WrittenFile {
    /// As planned.
    pub planned: PlannedFile,
    /// As planned.
    pub place: FilePlace,
    /// Rows, or deleted keys.
    pub rows: u64,
    /// Bytes.
    pub size: u64,
    /// Of the bytes.
    pub checksum: Checksum,
}

/// Sums over the files of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Rows in insert files.
    pub rows: u64,
    /// Keys in delete logs.
    pub delete_records: u64,
    /// File sets.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// Its id.
    pub id: SnapshotId,
    /// The collection that it is of.
    pub collection: CollectionId,
    /// Unique in its collection.
    pub name: String,
    /// Free text.
    pub description: String,
    /// The pinned timestamp.
    pub create_ts: Timestamp,
    /// `pending`, `committed`, `deleting`.
    pub state: SnapshotStatus,
    /// Its self-describing root object, once committed.
    pub metadata_key: Option<ObjectKey>,
    /// What it keeps, once committed.
    pub totals: Totals,
    /// Pins that live now.
    pub live_pins: u32,
    /// The request that made it, where its manifests are written after the answer.
    pub traceparent: Option<TraceParent>,
}

/// State of a snapshot as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotStatus {
    /// Protected, its manifests are being written; nobody was told of it.
    Pending,
    /// As good as complete; its manifests are still being written.
    Accepted,
    /// Complete.
    Committed,
    /// Dropped.
    Deleting,
}

impl SnapshotStatus {
    /// True for what is listed, read, restored and pinned.
    #[must_use]
    pub fn is_shown(self) -> bool {
        matches!(self, Self::Accepted | Self::Committed)
    }
}

/// Sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows of insert files.
    pub rows: u64,
    /// Objects.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
}

/// A manifest of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRecord {
    /// Its file set, which several snapshots may share.
    pub file_set: FileSetId,
    /// Its object.
    pub object: StoredObject,
    /// Memberships that it adds.
    pub entries_added: u64,
    /// Memberships that it ends.
    pub entries_removed: u64,
    /// Objects of those that it adds.
    pub files: u64,
    /// Rows to insert of those that it adds.
    pub rows: u64,
    /// Bytes of those that it adds.
    pub bytes: u64,
}

/// A committed snapshot whose manifests a later one may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBase {
    /// Its id.
    pub id: SnapshotId,
    /// Its time.
    pub create_ts: Timestamp,
    /// What it has.
    pub totals: Totals,
    /// In the order in which they are folded.
    pub manifests: Vec<ManifestRecord>,
}

/// What the writer of a snapshot made.
#[derive(Clone, Debug)]
pub struct SnapshotFiles {
    /// Its first manifests are all of this one.
    pub base: Option<SnapshotBase>,
    /// Its own manifests, behind those, as planned.
    pub manifests: Vec<ManifestRecord>,
    /// The self-describing root, as planned.
    pub metadata: (FileSetId, StoredObject),
}

/// How the memberships of a collection differ between two times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipChanges {
    /// Members at the later time only.
    pub added: Vec<FileRecord>,
    /// Members at the earlier time only.
    pub removed: Vec<FileRecord>,
    /// Segments that have members at the later time, less those at the earlier time.
    pub segments: i64,
}

/// How much a collection has at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members {
    /// File sets of all kinds.
    pub file_sets: u64,
    /// Segments that have one.
    pub segments: u64,
}

/// What to create.
#[derive(Clone, Debug)]
pub struct NewSnapshot {
    /// Of which collection.
    pub collection: CollectionId,
    /// Checked by the caller.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Who writes the manifests.
    pub owner: NodeId,
    /// Until when, without a heartbeat.
    pub lease_until_ms: i64,
    /// 0: not.
    pub compaction_protected_until_ms: i64,
    /// Names the request of a client that may repeat it.
    pub idempotency_key: Option<String>,
}

/// Whether a create is the first of its kind.
#[derive(Clone, Debug)]
pub enum Created<T> {
    /// This call made it.
    New(T),
    /// The same request is under way; wait for its end.
    Joined(T),
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRecord {
    /// Its id.
    pub id: PinId,
    /// What it keeps.
    pub snapshot: SnapshotId,
    /// Who asked.
    pub owner: String,
    /// When.
    pub created_ms: i64,
    /// Until when; `None` until released.
    pub expires_ms: Option<i64>,
    /// The job that it belongs to.
    pub job: Option<JobId>,
}

/// What became of a worker's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Written, now or before.
    Accepted,
    /// The sender lost the task and must stop.
    Fenced,
}

/// An event in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Order of writing.
    pub id: i64,
    /// `kind.id`, for example `restore.42`.
    pub subject: String,
    /// Names the event for ever.
    pub dedup_key: String,
    /// JSON.
    pub payload_json: String,
    /// W3C trace context of what wrote it.
    pub traceparent: Option<String>,
}

/// An object that the metadata knows, for scrub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownObject {
    /// Its key.
    pub key: ObjectKey,
    /// The file set that it belongs to.
    pub file_set: FileSetId,
    /// Unknown until it is written.
    pub size: Option<u64>,
    /// Unknown until it is written.
    pub checksum: Option<Checksum>,
    /// State of its file set: `intent`, `live`, `queued`, `deleting`, `gone`.
    pub file_set_state: String,
    /// Its file set never was live and never will be.
    pub abandoned: bool,
}

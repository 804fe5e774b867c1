//! What the store gives and takes: records, plain data.

use elanus_types::schema::{CollectionDefinition, CollectionSchema};
use elanus_types::{
    Checksum, CollectionId, DatabaseId, FileSetId, Generation, JobId, NodeId, ObjectKey, PartitionId, PinId, SegmentId,
    Shard, SnapshotId, TaskId, Timestamp,
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
    /// When it was created.
    pub created_ts: Timestamp,
    /// When its name or definition changed last.
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
    /// `partitions` and `indexes` are ignored: a new collection has `_default` and no index.
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
    /// Rows, file sets and bytes that it keeps, once committed.
    pub totals: Totals,
    /// Pins that live now.
    pub live_pins: u32,
}

/// State of a snapshot as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotStatus {
    /// Protected, its manifests are being written.
    Pending,
    /// Complete.
    Committed,
    /// Dropped.
    Deleting,
}

/// Sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows of insert files.
    pub rows: u64,
    /// File sets.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
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

/// What to restore where.
#[derive(Clone, Debug)]
pub struct NewRestore {
    /// Collection of the snapshot.
    pub source: CollectionId,
    /// Name of the snapshot.
    pub snapshot_name: String,
    /// Name of the target's database.
    pub target_database: String,
    /// Name of the target, checked by the caller.
    pub target_name: String,
    /// When the job gives up.
    pub deadline_ms: i64,
}

/// A restore job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// What is restored.
    pub snapshot: SnapshotId,
    /// Its name at submission.
    pub snapshot_name: String,
    /// Collection of the snapshot.
    pub source: CollectionId,
    /// Its name at submission.
    pub source_name: String,
    /// Its database at submission.
    pub source_database: String,
    /// Where it goes.
    pub target: CollectionId,
    /// Its name.
    pub target_name: String,
    /// Its database.
    pub target_database: String,
    /// Label of the state, see `elanus_lifecycle::restore_job`.
    pub state: &'static str,
    /// Why it is failing or failed.
    pub reason: Option<String>,
    /// Files to copy.
    pub files_total: u64,
    /// Copied and verified; never falls.
    pub files_done: u64,
    /// Bytes to copy.
    pub bytes_total: u64,
    /// Copied and verified; never falls.
    pub bytes_done: u64,
    /// 0 to 100; 100 only when completed.
    pub percent: u8,
    /// When it was submitted.
    pub started_ms: i64,
    /// When it gives up.
    pub deadline_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
}

/// How much a copy task may hold.
#[derive(Clone, Copy, Debug)]
pub struct TaskBounds {
    /// Bytes; one larger file set is a task of its own.
    pub bytes_max: u64,
    /// File sets.
    pub files_max: usize,
}

/// A copy task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// Label of the state, see `elanus_lifecycle::copy_task`.
    pub state: &'static str,
    /// Claims so far.
    pub attempt: u32,
    /// Ownership number.
    pub generation: Generation,
    /// Who works on it.
    pub worker: Option<NodeId>,
    /// Until when, without a heartbeat.
    pub lease_until_ms: Option<i64>,
}

/// One object to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFile {
    /// From where, and what must arrive.
    pub source: StoredObject,
    /// To where: a key of this claim alone.
    pub target: ObjectKey,
}

/// A task that was given to a worker.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Its id.
    pub task: TaskId,
    /// Its job.
    pub job: JobId,
    /// The worker's ownership number.
    pub generation: Generation,
    /// What to copy.
    pub files: Vec<CopyFile>,
}

/// A task that was taken from a worker, which must stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its id.
    pub task: TaskId,
    /// The worker's ownership number, no longer valid.
    pub generation: Generation,
    /// Who had it.
    pub worker: NodeId,
}

/// What a worker says about its task.
#[derive(Clone, Debug)]
pub enum TaskMessage {
    /// Still at it.
    Heartbeat {
        /// Objects copied and verified.
        files_done: u64,
        /// Bytes copied and verified.
        bytes_done: u64,
        /// The lease that it asks for.
        lease_until_ms: i64,
    },
    /// Every object is at its target, size and checksum compared.
    Finished,
    /// May succeed elsewhere or later.
    FailedTransient {
        /// Why.
        reason: String,
    },
    /// Will not succeed: source missing or damaged, access denied.
    FailedPermanent {
        /// Which file and why.
        reason: String,
    },
}

/// What became of a worker's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Written, now or before.
    Accepted,
    /// The sender lost the task and must stop.
    Fenced,
}

/// Tasks of a job by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Waiting for a worker.
    pub pending: u64,
    /// With a worker.
    pub in_progress: u64,
    /// Done.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
}

/// How far the clean-up of a failing job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanUp {
    /// So many file sets are still to be deleted.
    Waiting(u64),
    /// The job is failed: nothing is left of it.
    Done,
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
}

/// An object that the metadata knows, for scrub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownObject {
    /// Its key.
    pub key: ObjectKey,
    /// Unknown until it is written.
    pub size: Option<u64>,
    /// Unknown until it is written.
    pub checksum: Option<Checksum>,
    /// State of its file set: `intent`, `live`, `queued`, `deleting`, `gone`.
    pub file_set_state: String,
    /// Its file set never was live and never will be.
    pub abandoned: bool,
}

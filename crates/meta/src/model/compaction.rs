//! Records of compactions.

use super::{FileKind, FileRecord};
use elanus_types::schema::CollectionSchema;
use elanus_types::{
    Checksum, CollectionId, FileSetId, JobId, NodeId, ObjectKey, PartitionId, SegmentId, Shard, TaskId, Timestamp,
};

/// A membership that holds now, as far as plans need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveMember {
    /// Its segment.
    pub segment: SegmentId,
    /// Its file set.
    pub file_set: FileSetId,
    /// Partition of the segment; [`PartitionId::ALL`] for deletes of every partition.
    pub partition: PartitionId,
    /// Shard of the segment.
    pub shard: Shard,
    /// Rows or deletes.
    pub kind: FileKind,
    /// What the offsets in the file count from.
    pub base_ts: Timestamp,
    /// Of rows: every delete before this has been applied to the file. Of deletes: all of them are before this.
    pub deletes_before_ts: Option<Timestamp>,
    /// Rows, or deleted keys.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Since when it is a member.
    pub added_ts: Timestamp,
    /// It is an input of a compaction that has not ended.
    pub busy: bool,
    /// It is an input of one that failed not long ago.
    pub failed: bool,
}

/// What a collection holds, for plans.
#[derive(Clone, Debug)]
pub struct CompactionView {
    /// Its clock.
    pub ts: Timestamp,
    /// Rows and deletes that it has now.
    pub members: Vec<LiveMember>,
    /// Rows that were written before have expired; [`Timestamp::ZERO`]: none have.
    pub expired_before: Timestamp,
    /// Rows expire, so what is to be done changes also while nothing is committed.
    pub expires: bool,
    /// What was added until then is in a snapshot that asked compaction to wait.
    pub protected_ts: Option<Timestamp>,
    /// False where the collection's properties turn the policy off.
    pub automatic: bool,
    /// Why nothing can be planned at present.
    pub waits_for: Option<&'static str>,
}

/// A compaction that a plan makes: files of one partition and shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCompaction {
    /// Partition of all inputs.
    pub partition: PartitionId,
    /// Shard of all inputs.
    pub shard: Shard,
    /// At least one.
    pub inputs: Vec<(SegmentId, FileSetId)>,
    /// Rows of the inputs.
    pub rows: u64,
    /// Bytes of the inputs.
    pub bytes: u64,
}

/// What the worker of one claim reads and writes.
#[derive(Clone, Debug)]
pub struct CompactionWork {
    /// Whose files.
    pub collection: CollectionId,
    /// The time as of which it reads.
    pub view_ts: Timestamp,
    /// The collection's schema at that time.
    pub schema: CollectionSchema,
    /// Files of rows, by their first timestamp.
    pub inputs: Vec<FileRecord>,
    /// Every delete log that may hide a row of the inputs.
    pub logs: Vec<FileRecord>,
    /// Rows that were written before have expired.
    pub expired_before: Timestamp,
    /// What the offsets in the new file count from: not after any row that is left.
    pub base_ts: Timestamp,
    /// Where the new file goes: a key of this claim alone.
    pub target: ObjectKey,
}

/// The file that a compaction wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactedFile {
    /// Rows that are left.
    pub rows: u64,
    /// Bytes.
    pub size: u64,
    /// Of the bytes.
    pub checksum: Checksum,
}

/// A compaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionRecord {
    /// Its id.
    pub id: TaskId,
    /// Whose files.
    pub collection: CollectionId,
    /// Their partition.
    pub partition: PartitionId,
    /// Their shard.
    pub shard: Shard,
    /// What asked for it; `None`: the policy.
    pub job: Option<JobId>,
    /// Label of the state, see `elanus_lifecycle::task`.
    pub state: &'static str,
    /// Claims so far.
    pub attempt: u32,
    /// Who works on it.
    pub worker: Option<NodeId>,
    /// Why it failed; `aborted` when its files left the collection, or were protected, before it was done.
    pub reason: Option<String>,
    /// When it was planned.
    pub created_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Input files.
    pub files: u64,
    /// Rows of the inputs.
    pub rows: u64,
    /// Bytes of the inputs.
    pub bytes: u64,
    /// Rows of the file that took their place, once completed.
    pub rows_left: Option<u64>,
    /// Its bytes, once completed.
    pub bytes_left: Option<u64>,
    /// Segments of the inputs.
    pub sources: Vec<SegmentId>,
    /// Segment of the file that took their place; `None` when no row was left, and before it is completed.
    pub target: Option<SegmentId>,
}

/// What a user asked to be compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionJobRecord {
    /// Its id.
    pub id: JobId,
    /// Which collection.
    pub collection: CollectionId,
    /// When.
    pub created_ms: i64,
    /// The compactions that were planned for it.
    pub tasks: Vec<CompactionRecord>,
}

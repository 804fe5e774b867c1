//! Records of restore jobs and their copy tasks.

use super::{CompactedFile, IndexedFile, StoredObject};
pub use elanus_lifecycle::restore_job::State as JobState;
use elanus_trace::TraceParent;
use elanus_types::{CollectionId, Generation, JobId, NodeId, ObjectKey, RestoreMode, SnapshotId, TaskId};

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
    /// What of it, and how.
    pub options: RestoreOptions,
    /// When the job gives up.
    pub deadline_ms: i64,
}

/// What of a snapshot is restored, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Whether files are shared or copied.
    pub mode: RestoreMode,
    /// Names of the partitions whose rows are restored; empty: all. The default partition is always there, without rows
    /// when it is not named.
    pub partitions: Vec<String>,
    /// The target has the indexes of the source.
    pub with_indexes: bool,
    /// With a time to live, rows age from when they were written; else from the restore.
    pub keeps_ages: bool,
}

impl RestoreOptions {
    /// The whole snapshot.
    #[must_use]
    pub fn whole(mode: RestoreMode) -> Self {
        Self { mode, partitions: Vec::new(), with_indexes: true, keeps_ages: false }
    }

    /// True when the rows of this partition are restored.
    #[must_use]
    pub fn wants(&self, partition: &str) -> bool {
        self.partitions.is_empty() || self.partitions.iter().any(|name| name == partition)
    }
}

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// A snapshot becomes a new collection.
    Restore,
    /// A collection gets copies of the files that others have as well. Source and target are this collection.
    Detach,
}

impl JobKind {
    /// As it stands in the metadata, and as people read it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Detach => "detach",
        }
    }
}

/// A restore job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// What it is for.
    pub kind: JobKind,
    /// What is restored; of a detach 0.
    pub snapshot: SnapshotId,
    /// Its name at submission; of a detach empty.
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
    /// What of the snapshot, and how. The partitions are in the order of the source.
    pub options: RestoreOptions,
    /// Where it is in its life.
    pub state: JobState,
    /// Why it is failing or failed.
    pub reason: Option<String>,
    /// Files to copy or to share.
    pub files_total: u64,
    /// Copied and verified, or shared; never falls.
    pub files_done: u64,
    /// Bytes to copy or to share.
    pub bytes_total: u64,
    /// Copied and verified, or shared; never falls.
    pub bytes_done: u64,
    /// 0 to 100; 100 only when completed.
    pub percent: u8,
    /// When it was submitted.
    pub started_ms: i64,
    /// When it gives up.
    pub deadline_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// The request that made it, where that is traced.
    pub traceparent: Option<TraceParent>,
}

/// How much a copy task may hold.
#[derive(Clone, Copy, Debug)]
pub struct TaskBounds {
    /// Bytes; one larger file set is a task of its own.
    pub bytes_max: u64,
    /// File sets.
    pub files_max: usize,
}

/// A data node that takes work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Which process.
    pub node: NodeId,
    /// Where its calls are answered, `host:port`; empty: only inside its own process.
    pub address: String,
    /// Tasks that it takes at a time.
    pub slots: usize,
    /// Until when, without a heartbeat.
    pub lease_until_ms: i64,
}

/// Whose a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskOwner {
    /// It copies for this job.
    Job(JobId),
    /// It compacts this collection.
    Collection(CollectionId),
    /// It builds an index of this collection.
    Index(CollectionId),
}

/// A task that workers claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub owner: TaskOwner,
    /// Label of the state, see `elanus_lifecycle::task`.
    pub state: &'static str,
    /// Claims so far.
    pub attempt: u32,
    /// Ownership number.
    pub generation: Generation,
    /// Who works on it.
    pub worker: Option<NodeId>,
    /// Until when, without a heartbeat.
    pub lease_until_ms: Option<i64>,
    /// The request that it is part of, where that is traced.
    pub traceparent: Option<TraceParent>,
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
    /// Whose it is.
    pub owner: TaskOwner,
    /// The worker's ownership number.
    pub generation: Generation,
    /// What to copy. Of other tasks nothing: their workers read in the metadata what it is.
    pub files: Vec<CopyFile>,
    /// The request that it is part of, where that is traced.
    pub traceparent: Option<TraceParent>,
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

impl TaskMessage {
    /// What it is, as traces name it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Heartbeat { .. } => "heartbeat",
            Self::Finished => "finished",
            Self::Compacted(_) => "compacted",
            Self::Indexed(_) => "indexed",
            Self::GivenBack => "given_back",
            Self::FailedTransient { .. } => "failed_transient",
            Self::FailedPermanent { .. } => "failed_permanent",
        }
    }
}

/// What a worker says about its task.
#[derive(Clone, Debug)]
pub enum TaskMessage {
    /// The worker is about to end: nothing of the claim runs any more, and another may have the task at once.
    GivenBack,
    /// Still at it.
    Heartbeat {
        /// Objects copied and verified.
        files_done: u64,
        /// Bytes copied and verified.
        bytes_done: u64,
        /// The lease that it asks for.
        lease_until_ms: i64,
    },
    /// Of a copy: every object is at its target, size and checksum compared.
    Finished,
    /// Of a compaction: what is left of the rows is in this file; none is left where there is none.
    Compacted(Option<CompactedFile>),
    /// Of an index build: the index is at its key.
    Indexed(IndexedFile),
    /// May succeed elsewhere or later.
    FailedTransient {
        /// Why.
        reason: String,
        /// Which files, as far as it was a matter of files.
        files: Vec<FileError>,
    },
    /// Will not succeed: source missing or damaged, access denied.
    FailedPermanent {
        /// Why.
        reason: String,
        /// Which files, as far as it was a matter of files.
        files: Vec<FileError>,
    },
}

/// Why a file was not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The key that the worker named.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// One thing that went wrong in a claim of a copy task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// When it was reported.
    pub at_ms: i64,
    /// The task.
    pub task: TaskId,
    /// Which claim of it.
    pub generation: Generation,
    /// Label of the task's state now, see `elanus_lifecycle::task`.
    pub task_state: String,
    /// The file; `None` when no file in particular was the matter.
    pub key: Option<String>,
    /// Why.
    pub reason: String,
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

//! Records of index builds.

use super::FileRecord;
use elanus_types::schema::{CollectionSchema, IndexInfo};
use elanus_types::{Checksum, CollectionId, FieldId, FileSetId, IndexId, ObjectKey, SegmentId, Timestamp};
use std::collections::HashSet;

/// A file of rows that holds now, as far as plans of index builds need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexableFile {
    /// Its segment.
    pub segment: SegmentId,
    /// Its file set.
    pub file_set: FileSetId,
    /// With its segment, what an index of it names it by.
    pub base_ts: Timestamp,
    /// Rows.
    pub rows: u64,
    /// Its segment gets no more files.
    pub sealed: bool,
    /// It is an input of a compaction that has not ended, and about to go.
    pub busy: bool,
}

/// What a collection holds, for plans and progress of index builds.
#[derive(Clone, Debug)]
pub struct IndexView {
    /// Its clock.
    pub ts: Timestamp,
    /// Its schema.
    pub schema: CollectionSchema,
    /// Its present index definitions.
    pub indexes: Vec<IndexInfo>,
    /// Files of at least so many rows as were asked for.
    pub files: Vec<IndexableFile>,
    /// Indexes that are there, each named by its file's segment and first timestamp.
    pub built: HashSet<(SegmentId, Timestamp, FieldId)>,
    /// Builds that have not ended.
    pub building: HashSet<(SegmentId, FileSetId, IndexId)>,
    /// Builds that failed not long ago: they are let be for a time.
    pub failed: HashSet<(SegmentId, FileSetId, IndexId)>,
    /// A rollback or a detach holds the collection: nothing can be planned at present.
    pub held: bool,
}

/// An index build that a plan makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewIndexBuild {
    /// The definition.
    pub index: IndexId,
    /// Its field.
    pub field: FieldId,
    /// Segment of the file.
    pub segment: SegmentId,
    /// The file of rows.
    pub file_set: FileSetId,
    /// Its rows.
    pub rows: u64,
}

/// What the worker of one claim reads and writes.
#[derive(Clone, Debug)]
pub struct IndexWork {
    /// Whose file.
    pub collection: CollectionId,
    /// The collection's schema.
    pub schema: CollectionSchema,
    /// The definition that is to be served.
    pub index: IndexInfo,
    /// The file of rows.
    pub input: FileRecord,
    /// Where the index goes: a key of this claim alone.
    pub target: ObjectKey,
}

/// The index that a build wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedFile {
    /// Bytes.
    pub size: u64,
    /// Of the bytes.
    pub checksum: Checksum,
}

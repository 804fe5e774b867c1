//! A view: which rows of which files are visible at one timestamp. Pure and immutable; the next view shares with the one
//! before it whatever did not change.
//!
//! V-1  A row is hidden iff a delete of its key is strictly newer, is of the same shard, and names the row's partition or
//!      all partitions. An upsert is a delete and an insert of one timestamp: its own row stays.
//! V-2  A view that was carried on through changes equals the view that is made from all files at once.
//! V-3  A view of the past shows no row and applies no delete that is newer than its timestamp.
//! V-4  A row that has expired is not there, and no delete of it is asked for: time goes on between commits, so a read takes
//!      such rows out of the view that it was given, and the view that is carried on keeps them.

use crate::deletes::{DeleteLog, DeleteLogs};
use crate::keys::{KeyRef, Keys};
use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;
use elanus_meta::model::FileRecord;
use elanus_segment::Deletes;
use elanus_types::key::indexed_field;
use elanus_types::schema::CollectionSchema;
use elanus_types::{Aging, CollectionId, FieldId, FileSetId, PartitionId, SegmentId, Shard, Timestamp};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What names a membership in a collection.
pub(crate) type Member = (SegmentId, FileSetId);
/// Where a delete applies: all rows of a shard, or those of one partition.
type Place = (Shard, PartitionId);

/// A collection at one timestamp.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) collection: CollectionId,
    pub(crate) ts: Timestamp,
    pub(crate) schema: Arc<CollectionSchema>,
    /// Files of rows, by segment and file set.
    pub(crate) files: Vec<Arc<FileView>>,
    logs: HashMap<Member, Arc<FileRecord>>,
    /// Indexes of files of rows; none is needed for an answer.
    indexes: HashMap<Member, Arc<FileRecord>>,
    deletes: HashMap<Place, DeleteLogs>,
    cut: Option<Timestamp>,
    pub(crate) expiry: Expiry,
}

/// When rows of a collection expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) aging: Aging,
    pub(crate) ttl_s: Option<i64>,
}

impl Expiry {
    /// Rows that were written before this have expired at `at`.
    pub(crate) fn before(&self, at: Timestamp) -> Timestamp {
        self.aging.expired_before(self.ttl_s, at)
    }
}

/// A file of rows in a view.
#[derive(Clone, Debug)]
pub(crate) struct FileView {
    pub(crate) record: Arc<FileRecord>,
    pub(crate) keys: Arc<Keys>,
    /// `None`: all rows.
    visible: Option<BooleanBuffer>,
    visible_rows: usize,
}

/// A row of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowAt {
    /// Position in [`View::files`].
    pub(crate) file: u32,
    /// Position in the file.
    pub(crate) row: u32,
}

/// A file that a view is going to have, decoded as far as views need it.
#[derive(Debug)]
pub(crate) enum Added {
    /// Rows.
    Rows(FileRecord, Arc<Keys>),
    /// Deletes.
    Deletes(FileRecord, Arc<Deletes>),
    /// An index, which is read when a search needs it.
    Index(FileRecord),
}

impl View {
    /// A collection without files. With `cut`, nothing newer than it is ever shown.
    pub(crate) fn empty(
        collection: CollectionId,
        schema: Arc<CollectionSchema>,
        expiry: Expiry,
        cut: Option<Timestamp>,
    ) -> Self {
        Self {
            collection,
            ts: Timestamp::ZERO,
            schema,
            files: Vec::new(),
            logs: HashMap::new(),
            indexes: HashMap::new(),
            deletes: HashMap::new(),
            cut,
            expiry,
        }
    }

    /// True when rows that were written before this may be in the view.
    pub(crate) fn has_rows_before(&self, ts: Timestamp) -> bool {
        self.files.iter().any(|file| file.record.base_ts < ts)
    }

    /// The view for a read at `read_ts`, without rows that were written before `ts` (V-4). It shares with this one what did not
    /// change. Whoever reads on as of its timestamp sees the same rows.
    pub(crate) fn without_rows_before(&self, ts: Timestamp, read_ts: Timestamp) -> Self {
        let left = |file: &Arc<FileView>| match file.record.base_ts < ts {
            true => Some(Arc::new(FileView::clone(file).without(|file, hide| {
                let old = (0..).take(file.keys.len()).filter(|row| file.ts(*row) < ts);
                old.for_each(hide);
            })))
            .filter(|file| file.visible_rows > 0),
            false => Some(Arc::clone(file)),
        };
        Self {
            collection: self.collection,
            ts: read_ts,
            schema: Arc::clone(&self.schema),
            files: self.files.iter().filter_map(left).collect(),
            logs: HashMap::new(),
            indexes: self.indexes.clone(),
            deletes: HashMap::new(),
            cut: self.cut,
            expiry: self.expiry,
        }
    }

    /// The delete logs that [`View::next`] needs again when these members end: those that apply where a removed one did.
    pub(crate) fn logs_to_read_again(&self, removed: &[Member]) -> Vec<FileRecord> {
        let reset = self.places_without(removed);
        let stays = |record: &&Arc<FileRecord>| !removed.contains(&member(record)) && reset.contains(&place(record));
        let again = self.logs.values().filter(|_| !reset.is_empty()).filter(stays);
        again.map(|record| FileRecord::clone(record)).collect()
    }

    /// The view at `ts`, after members ended and files were added. `added` has [`View::logs_to_read_again`], too.
    pub(crate) fn next(&self, ts: Timestamp, added: Vec<Added>, removed: &[Member]) -> Self {
        let reset = self.places_without(removed);
        let removed: HashSet<Member> = removed.iter().copied().collect();
        let mut deletes = self.deletes.clone();
        deletes.retain(|place, _| !reset.contains(place));
        let mut logs = self.logs.clone();
        logs.retain(|member, _| !removed.contains(member));
        let mut indexes = self.indexes.clone();
        indexes.retain(|member, _| !removed.contains(member));

        let mut new_rows = HashMap::new();
        let mut new_logs: HashMap<Place, Vec<DeleteLog>> = HashMap::new();
        for file in added {
            match file {
                Added::Rows(record, keys) => {
                    new_rows.insert(member(&record), (record, keys));
                }
                Added::Deletes(record, entries) => {
                    let log = DeleteLog::new(&entries, record.base_ts, self.cut);
                    new_logs.entry(place(&record)).or_default().push(log);
                    logs.insert(member(&record), Arc::new(record));
                }
                Added::Index(record) => {
                    indexes.insert(member(&record), Arc::new(record));
                }
            }
        }
        let new_deletes: HashMap<Place, DeleteLog> =
            new_logs.iter().map(|(place, logs)| (*place, DeleteLog::merged(logs))).collect();
        for (place, log) in &new_deletes {
            deletes.entry(*place).or_default().push(log.clone());
        }

        let kept = self.files.iter().filter(|file| {
            let member = member(&file.record);
            !removed.contains(&member) && !new_rows.contains_key(&member)
        });
        let mut files: Vec<Arc<FileView>> = kept
            .map(|file| {
                if file.places().iter().any(|place| reset.contains(place)) {
                    let fresh = FileView::new(Arc::clone(&file.record), Arc::clone(&file.keys), self.cut);
                    return Arc::new(fresh.without(|file, hide| file.hidden_by(&deletes, hide)));
                }
                let hidden = file.newly_hidden(&new_deletes);
                if hidden.is_empty() { Arc::clone(file) } else { Arc::new(FileView::clone(file).hide(hidden)) }
            })
            .collect();
        files.extend(new_rows.into_values().map(|(record, keys)| {
            let fresh = FileView::new(Arc::new(record), keys, self.cut);
            Arc::new(fresh.without(|file, hide| file.hidden_by(&deletes, hide)))
        }));
        files.sort_by_key(|file| member(&file.record));
        let (schema, cut, expiry) = (Arc::clone(&self.schema), self.cut, self.expiry);
        Self { collection: self.collection, ts, schema, files, logs, indexes, deletes, cut, expiry }
    }

    fn places_without(&self, removed: &[Member]) -> HashSet<Place> {
        removed.iter().filter_map(|member| self.logs.get(member)).map(|record| place(record)).collect()
    }

    /// The file of this membership.
    pub(crate) fn file(&self, member_of: Member) -> Option<&Arc<FileView>> {
        let at = self.files.binary_search_by_key(&member_of, |file| member(&file.record)).ok()?;
        self.files.get(at)
    }

    /// The indexes of a field, by segment and first timestamp of the file of rows that each is of.
    pub(crate) fn indexes_of(&self, field: FieldId) -> HashMap<(SegmentId, Timestamp), &FileRecord> {
        let of_field = self
            .indexes
            .values()
            .filter(|index| index.objects.first().and_then(|object| indexed_field(&object.key)) == Some(field));
        of_field.map(|index| ((index.segment, index.base_ts), &**index)).collect()
    }

    /// The key of a row.
    pub(crate) fn key(&self, at: RowAt) -> KeyRef<'_> {
        self.files[at.file as usize].keys.key(at.row)
    }

    /// Rows of one key: the one that was written last first. A total order.
    pub(crate) fn newest_first(&self, a: RowAt, b: RowAt) -> Ordering {
        let place = |at: RowAt| (self.files[at.file as usize].ts(at.row), at.file, at.row);
        place(b).cmp(&place(a))
    }
}

impl FileView {
    fn new(record: Arc<FileRecord>, keys: Arc<Keys>, cut: Option<Timestamp>) -> Self {
        let file = Self { record, visible: None, visible_rows: keys.len(), keys };
        match cut {
            Some(cut) => file.without(|file, hide| {
                let late = (0..).take(file.keys.len()).filter(|row| file.ts(*row) > cut);
                late.for_each(hide);
            }),
            None => file,
        }
    }

    /// Timestamp of a row.
    fn ts(&self, row: u32) -> Timestamp {
        Timestamp(self.record.base_ts.0.saturating_add(self.keys.offset(row)))
    }

    /// Number of visible rows.
    pub(crate) fn visible_rows(&self) -> usize {
        self.visible_rows
    }

    /// A bit per row; `None` when all are visible.
    pub(crate) fn visible(&self) -> Option<&BooleanBuffer> {
        self.visible.as_ref()
    }

    pub(crate) fn is_visible(&self, row: u32) -> bool {
        self.visible.as_ref().is_none_or(|visible| visible.value(row as usize))
    }

    fn places(&self) -> [Place; 2] {
        [(self.record.shard, PartitionId::ALL), (self.record.shard, self.record.partition)]
    }

    fn hidden_by(&self, deletes: &HashMap<Place, DeleteLogs>, hide: &mut dyn FnMut(u32)) {
        for logs in self.places().iter().filter_map(|place| deletes.get(place)) {
            logs.hidden(&self.keys, self.record.base_ts, &mut *hide);
        }
    }

    fn newly_hidden(&self, deletes: &HashMap<Place, DeleteLog>) -> Vec<u32> {
        let mut rows = Vec::new();
        for log in self.places().iter().filter_map(|place| deletes.get(place)) {
            log.hidden(&self.keys, self.record.base_ts, |row| {
                if self.is_visible(row) {
                    rows.push(row);
                }
            });
        }
        rows
    }

    fn without(self, hidden: impl FnOnce(&Self, &mut dyn FnMut(u32))) -> Self {
        let mut rows = Vec::new();
        hidden(&self, &mut |row| rows.push(row));
        self.hide(rows)
    }

    fn hide(self, rows: Vec<u32>) -> Self {
        if rows.is_empty() {
            return self;
        }
        let len = self.keys.len();
        let mut bits = BooleanBufferBuilder::new(len);
        match &self.visible {
            Some(visible) => bits.append_buffer(visible),
            None => bits.append_n(len, true),
        }
        for row in rows {
            bits.set_bit(row as usize, false);
        }
        let visible = bits.finish();
        Self { visible_rows: visible.count_set_bits(), visible: Some(visible), ..self }
    }
}

/// What names the membership of a file.
pub(crate) fn member(record: &FileRecord) -> Member {
    (record.segment, record.file_set)
}

fn place(record: &FileRecord) -> Place {
    (record.shard, record.partition)
}

//! What the metadata says against itself, for scrub: a page at a time, in the order of ids. And the one repair that can
//! lose nothing: references that are counted too low are counted again.

use crate::db::args;
use crate::error::{MetaError, Result};
use crate::file_sets::{file_set_columns, from_row};
use crate::machines::concerns_one;
use crate::model::SnapshotRecord;
use crate::snapshots::SnapshotRow;
use crate::{Coordinator, Meta};
use elanus_lifecycle::file_set::State;
use elanus_types::{FileSetId, SegmentId, SnapshotId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A rule that the metadata break. The numbers are those of `docs/operations.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// I2: a row of a file set that no step could have written.
    Corrupt {
        /// Which.
        file_set: FileSetId,
        /// What is wrong.
        why: String,
    },
    /// I7: more references are counted than there are, or fewer.
    Refs {
        /// Of which.
        file_set: FileSetId,
        /// Counted in its row.
        counted: i64,
        /// Rows that name it.
        found: i64,
    },
    /// I1: it is about to be deleted, and something needs it.
    Needed {
        /// Which.
        file_set: FileSetId,
        /// Its state.
        state: &'static str,
        /// Rows that name it.
        found: i64,
    },
    /// I1: it is live, and what its objects are is not known.
    Unmeasured {
        /// Which.
        file_set: FileSetId,
        /// Objects without size or checksum.
        objects: i64,
    },
    /// A membership whose time or place cannot be.
    Membership {
        /// Of which file set.
        file_set: FileSetId,
        /// In which segment.
        segment: SegmentId,
        /// What is wrong.
        why: &'static str,
    },
}

/// What one page of rows showed.
#[derive(Clone, Debug)]
pub struct Facts<K> {
    /// Rows looked at.
    pub rows: u64,
    /// What is wrong with them.
    pub findings: Vec<Finding>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<K>,
}

/// Rows that are references of a file set.
macro_rules! references {
    () => {
        "(SELECT COUNT(*) FROM memberships m WHERE m.file_set_id = f.file_set_id AND m.release_id IS NULL)"
    };
}

/// Manifests are named by the snapshots that have them.
macro_rules! named_by_snapshots {
    () => {
        "(SELECT COUNT(*) FROM snapshot_file_sets n WHERE n.file_set_id = f.file_set_id)"
    };
}

const FILE_SETS: &str = concat!(
    "SELECT ",
    file_set_columns!(),
    ", ",
    references!(),
    " AS members_num, ",
    named_by_snapshots!(),
    " AS named_num, \
     (SELECT COUNT(*) FROM objects o WHERE o.file_set_id = f.file_set_id \
      AND (o.size_bytes IS NULL OR o.checksum IS NULL)) AS unmeasured_num \
     FROM file_sets f WHERE f.file_set_id > $1 AND f.state <> 'gone' ORDER BY f.file_set_id LIMIT $2"
);

const MEMBERSHIPS: &str = "
SELECT m.segment_id, m.file_set_id, m.added_ts, m.removed_ts, c.last_ts,
       CASE WHEN s.collection_id = m.collection_id AND s.partition_id = m.partition_id AND s.shard = m.shard
            THEN 1 ELSE 0 END AS is_at_home
FROM memberships m JOIN collections c ON c.collection_id = m.collection_id JOIN segments s ON s.segment_id = m.segment_id
WHERE (m.segment_id, m.file_set_id) > ($1, $2) ORDER BY m.segment_id, m.file_set_id LIMIT $3";

const RECOUNT: &str = concat!(
    "UPDATE file_sets SET refs = (SELECT ",
    references!(),
    " + ",
    named_by_snapshots!(),
    " FROM file_sets f WHERE f.file_set_id = $1) \
     WHERE file_set_id = $1 AND state = 'live' AND refs < (SELECT ",
    references!(),
    " + ",
    named_by_snapshots!(),
    " FROM file_sets f WHERE f.file_set_id = $1)"
);

impl Meta {
    /// The next file sets that are not gone: their rows, their references, their objects.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn file_set_facts(&self, after: FileSetId, limit: u32) -> Result<Facts<FileSetId>> {
        let mut tx = self.db.read().await?;
        let rows = tx.all(FILE_SETS, args![after.0, i64::from(limit)]).await?;
        drop(tx);
        let mut facts = Facts { rows: rows.len() as u64, findings: Vec::new(), next: None };
        for row in &rows {
            let file_set = FileSetId(row.try_get("file_set_id")?);
            match file_set_finding(file_set, row) {
                Ok(finding) => facts.findings.extend(finding),
                Err(error) if concerns_one(&error) => {
                    facts.findings.push(Finding::Corrupt { file_set, why: error.to_string() });
                }
                Err(error) => return Err(error),
            }
            facts.next = Some(file_set);
        }
        facts.next = facts.next.filter(|_| rows.len() == limit as usize);
        Ok(facts)
    }

    /// The next memberships: whether their times and places can be.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn membership_facts(
        &self,
        after: (SegmentId, FileSetId),
        limit: u32,
    ) -> Result<Facts<(SegmentId, FileSetId)>> {
        let mut tx = self.db.read().await?;
        let rows = tx.all(MEMBERSHIPS, args![after.0.0, after.1.0, i64::from(limit)]).await?;
        drop(tx);
        let mut facts = Facts { rows: rows.len() as u64, findings: Vec::new(), next: None };
        for row in &rows {
            let (segment, file_set) = (SegmentId(row.try_get("segment_id")?), FileSetId(row.try_get("file_set_id")?));
            if let Some(why) = membership_problem(row)? {
                facts.findings.push(Finding::Membership { file_set, segment, why });
            }
            facts.next = Some((segment, file_set));
        }
        facts.next = facts.next.filter(|_| rows.len() == limit as usize);
        Ok(facts)
    }

    /// Committed snapshots of every collection, in the order of their ids, those after `after`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn committed_snapshots(&self, after: SnapshotId, limit: u32) -> Result<Vec<SnapshotRecord>> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let rows = tx.all(crate::snapshots::COMMITTED_AFTER, args![now_ms, after.0, i64::from(limit)]).await?;
        rows.iter().map(|row| Ok(SnapshotRow::read(row)?.record)).collect()
    }
}

impl Coordinator {
    /// Counts the references of a live file set again, where too few are counted: a count that is too low deletes what is
    /// needed, one that is too high only keeps. True when that changed something.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn recount_upward(&self, file_set: FileSetId) -> Result<bool> {
        let mut tx = self.write().await?;
        tx.optional("SELECT refs FROM file_sets WHERE file_set_id = $1 /*FOR UPDATE*/", args![file_set.0]).await?;
        let changed = tx.execute(RECOUNT, args![file_set.0]).await?;
        tx.commit().await?;
        Ok(changed > 0)
    }
}

fn file_set_finding(file_set: FileSetId, row: &AnyRow) -> Result<Option<Finding>> {
    let (members, named): (i64, i64) = (row.try_get("members_num")?, row.try_get("named_num")?);
    let unmeasured: i64 = row.try_get("unmeasured_num")?;
    let set = from_row(row)?;
    Ok(match set.state() {
        State::Live { refs } if *refs != members + named => {
            Some(Finding::Refs { file_set, counted: *refs, found: members + named })
        }
        State::Live { .. } if unmeasured > 0 => Some(Finding::Unmeasured { file_set, objects: unmeasured }),
        // What a snapshot that failed had planned is named by it and never was a reference.
        State::Queued { .. } | State::Deleting if members > 0 => {
            Some(Finding::Needed { file_set, state: set.label(), found: members })
        }
        State::Intent { .. } | State::Live { .. } | State::Queued { .. } | State::Deleting | State::Gone => None,
    })
}

fn membership_problem(row: &AnyRow) -> Result<Option<&'static str>> {
    let ts = |column: &str| row.try_get::<i64, _>(column).map(Timestamp).map_err(MetaError::from);
    let (added, removed, last) = (ts("added_ts")?, ts("removed_ts")?, ts("last_ts")?);
    Ok(if row.try_get::<i64, _>("is_at_home")? == 0 {
        Some("its segment is of another collection, partition or shard")
    } else if added > last {
        Some("it begins after the last commit of its collection")
    } else if removed != Timestamp::NEVER && removed > last {
        Some("it ends after the last commit of its collection")
    } else {
        None
    })
}

impl Finding {
    /// Number of the rule.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } => "I2",
            Self::Refs { .. } => "I7",
            Self::Needed { .. } | Self::Unmeasured { .. } => "I1",
            Self::Membership { .. } => "I8",
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Corrupt { file_set, why } => format!("file set {file_set}: {why}"),
            Self::Refs { file_set, counted, found } => {
                format!("file set {file_set} counts {counted} references and has {found}")
            }
            Self::Needed { file_set, state, found } => {
                format!("file set {file_set} is {state} and {found} memberships name it")
            }
            Self::Unmeasured { file_set, objects } => {
                format!("file set {file_set} is live, and size or checksum of {objects} of its objects is not known")
            }
            Self::Membership { file_set, segment, why } => {
                format!("membership of file set {file_set} in segment {segment}: {why}")
            }
        }
    }

    /// The file set whose references can be counted again without loss.
    #[must_use]
    pub fn counted_too_low(&self) -> Option<FileSetId> {
        match self {
            Self::Refs { file_set, counted, found } if counted < found => Some(*file_set),
            _ => None,
        }
    }
}

//! The end of memberships and of the references that they are. Every change that ends a membership goes through [`end`],
//! but a dropped partition, whose memberships end in chunks (`partition_drops`): what no snapshot protects is released in
//! the same transaction (`elanus_lifecycle::interval`).
//!
//! Whoever calls holds the row of the collection: a new snapshot is before or after, never in between.
//!
//! RL-1  A membership is a reference of its file set until it is marked with a release, and a release takes back exactly
//!       what it marked, in the transaction that marks.
//! RL-2  A file set that loses its last reference is queued in that transaction, for everybody to see.
//! RL-3  What does not add up fails the whole release: nothing is released from metadata that contradict themselves.

use crate::db::{Tx, add, args};
use crate::error::{MetaError, Result};
use crate::file_sets::{bind, live_with, stepped, update_file_sets_columns};
use crate::rows::count;
use elanus_lifecycle::file_set::{Columns, Event};
use elanus_types::{CollectionId, FileSetId, SegmentId, TaskId, Timestamp};
use sqlx::Row;

/// Which memberships end.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "tests end whole segments")]
pub(crate) enum Ending<'m> {
    /// Those that began after a time.
    BegunAfter(Timestamp),
    /// All of these segments.
    Segments(&'m [SegmentId]),
    /// The inputs of a compaction, and the indexes of them, which are not counted.
    Compaction(TaskId),
    /// Indexes whose files are no members any more (IX-2).
    IndexesWithoutFile,
    /// Exactly these.
    Members(&'m [(SegmentId, FileSetId)]),
}

/// Ends the indexes of the inputs of the compaction `$2`, which are named by segment and first timestamp (IX-2).
const INDEXES_OF_INPUTS: &str = "
UPDATE memberships SET removed_ts = $3
WHERE collection_id = $1 AND removed_ts = 9223372036854775807 AND kind = 'index' AND (segment_id, base_ts) IN
(SELECT m.segment_id, m.base_ts FROM compaction_inputs i
 JOIN memberships m ON m.segment_id = i.segment_id AND m.file_set_id = i.file_set_id WHERE i.task_id = $2)";

const INDEXES_WITHOUT_FILE: &str = "
UPDATE memberships SET removed_ts = $2
WHERE collection_id = $1 AND removed_ts = 9223372036854775807 AND kind = 'index' AND NOT EXISTS
(SELECT 1 FROM memberships f WHERE f.segment_id = memberships.segment_id AND f.base_ts = memberships.base_ts
 AND f.kind = 'insert' AND f.removed_ts = 9223372036854775807)";

/// On whose behalf references end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// A user asked for it: the circuit breaker does not count it.
    User,
    /// The system's own work.
    System,
    /// A file that has the same rows comes in the same transaction: nothing is lost that the circuit breaker could save.
    Successor,
}

impl For {
    pub(crate) fn covered(self) -> i64 {
        i64::from(self != Self::System)
    }
}

/// What a release did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Released {
    /// Memberships that are no references any more.
    pub(crate) memberships: u64,
    /// File sets that were queued for deletion.
    pub(crate) queued: u64,
}

/// Ends memberships of a locked collection at `at`, the timestamp of this transaction, and releases those that no
/// snapshot protects; how many ended.
pub(crate) async fn end(
    tx: &mut Tx,
    collection: CollectionId,
    which: Ending<'_>,
    at: Timestamp,
    on_behalf: For,
    not_before_ms: i64,
) -> Result<u64> {
    let mut ended = 0;
    match which {
        Ending::BegunAfter(ts) => {
            ended += tx
                .execute(
                    "UPDATE memberships SET removed_ts = $3 \
                     WHERE collection_id = $1 AND $2 < added_ts AND removed_ts = 9223372036854775807",
                    args![collection.0, ts.0, at.0],
                )
                .await?;
        }
        Ending::Segments(segments) => {
            for segment in segments {
                ended += tx
                    .execute(
                        "UPDATE memberships SET removed_ts = $3 \
                         WHERE segment_id = $2 AND collection_id = $1 AND removed_ts = 9223372036854775807",
                        args![collection.0, segment.0, at.0],
                    )
                    .await?;
            }
        }
        Ending::Compaction(task) => {
            ended += tx
                .execute(
                    "UPDATE memberships SET removed_ts = $3 \
                     WHERE collection_id = $1 AND removed_ts = 9223372036854775807 AND (segment_id, file_set_id) IN \
                     (SELECT i.segment_id, i.file_set_id FROM compaction_inputs i WHERE i.task_id = $2)",
                    args![collection.0, task.0, at.0],
                )
                .await?;
            tx.execute(INDEXES_OF_INPUTS, args![collection.0, task.0, at.0]).await?;
        }
        Ending::IndexesWithoutFile => {
            ended += tx.execute(INDEXES_WITHOUT_FILE, args![collection.0, at.0]).await?;
        }
        Ending::Members(members) => {
            for (segment, file_set) in members {
                tx.execute_exactly(
                    1,
                    "a membership",
                    "UPDATE memberships SET removed_ts = $4 WHERE segment_id = $2 AND file_set_id = $3 \
                     AND collection_id = $1 AND removed_ts = 9223372036854775807",
                    args![collection.0, segment.0, file_set.0, at.0],
                )
                .await?;
                ended += 1;
            }
        }
    }
    if ended > 0 {
        release_ended(tx, collection, at, on_behalf, not_before_ms).await?;
    }
    Ok(ended)
}

/// Releases what a transaction ended at its timestamp `at` and no snapshot protects. For those whose way of ending is none
/// of [`Ending`].
pub(crate) async fn release_ended(
    tx: &mut Tx,
    collection: CollectionId,
    at: Timestamp,
    on_behalf: For,
    not_before_ms: i64,
) -> Result<Released> {
    // All snapshots are earlier than `at`: the last one that protects decides (IV-1).
    let row = tx
        .one(
            "SELECT COALESCE(MAX(create_ts), -1) AS last_ts FROM snapshots \
             WHERE collection_id = $1 AND state <> 'deleting'",
            args![collection.0],
        )
        .await?;
    let last_snapshot: i64 = row.try_get("last_ts")?;
    let release = tx.allocate_ids(1).await?;
    let marked = tx
        .execute(
            "UPDATE memberships SET release_id = $4 \
             WHERE collection_id = $1 AND removed_ts = $2 AND release_id IS NULL AND added_ts > $3",
            args![collection.0, at.0, last_snapshot, release],
        )
        .await?;
    take_back(tx, release, marked, collection, on_behalf, not_before_ms).await
}

/// Takes back the references of the `marked` memberships of a release (RL-1).
pub(crate) async fn take_back(
    tx: &mut Tx,
    release: i64,
    marked: u64,
    collection: CollectionId,
    on_behalf: For,
    not_before_ms: i64,
) -> Result<Released> {
    if marked == 0 {
        return Ok(Released::default());
    }
    let row = tx
        .one("SELECT COUNT(DISTINCT file_set_id) AS sets_num FROM memberships WHERE release_id = $1", args![release])
        .await?;
    let sets = count(&row, "sets_num")?;
    // Locked in the order that clones keep, too.
    let row = tx
        .one(
            "SELECT COUNT(*) AS live_num FROM (SELECT f.file_set_id FROM file_sets f WHERE f.state = 'live' \
             AND f.file_set_id IN (SELECT m.file_set_id FROM memberships m WHERE m.release_id = $1) \
             ORDER BY f.file_set_id /*FOR UPDATE*/) l",
            args![release],
        )
        .await?;
    require("live", count(&row, "live_num")?, sets, collection)?;

    let (before, queued) = release_step(1, not_before_ms)?;
    let mut arguments = bind(&before.state, &queued);
    add(&mut arguments, release);
    add(&mut arguments, collection.0);
    add(&mut arguments, on_behalf.covered());
    // First those that lose their last reference: after that, more than that means that one is left.
    let queued = tx
        .execute(
            concat!(
                "UPDATE file_sets SET ",
                update_file_sets_columns!(),
                ", collection_id = $11, covered = $12 FROM \
                 (SELECT m.file_set_id, COUNT(*) AS given FROM memberships m WHERE m.release_id = $10 \
                  GROUP BY m.file_set_id) r \
                 WHERE r.file_set_id = file_sets.file_set_id AND file_sets.state = $9 AND file_sets.refs = r.given"
            ),
            arguments,
        )
        .await?;
    let mut kept = 0;
    if queued < sets {
        let (before, _) = release_step(2, not_before_ms)?;
        kept = tx
            .execute(
                "UPDATE file_sets SET refs = refs - r.given FROM \
                 (SELECT m.file_set_id, COUNT(*) AS given FROM memberships m WHERE m.release_id = $1 \
                  GROUP BY m.file_set_id) r \
                 WHERE r.file_set_id = file_sets.file_set_id AND file_sets.state = $2 AND file_sets.refs > r.given",
                args![release, before.state],
            )
            .await?;
    }
    require("referenced as often as they say", queued + kept, sets, collection)?;
    Ok(Released { memberships: marked, queued })
}

/// What the machine makes of the release of one of `refs` references: the row before and after. Of several it takes one,
/// and nothing else.
pub(crate) fn release_step(refs: i64, not_before_ms: i64) -> Result<(Columns, Columns)> {
    let before = live_with(refs)?;
    let after = stepped(&before, &Event::Release { not_before_ms })?.columns();
    let before = before.columns();
    if refs > 1 && (Columns { refs: before.refs - 1, ..before.clone() }) != after {
        return Err(MetaError::Corrupt("a release changes more than the number of references".into()));
    }
    Ok((before, after))
}

fn require(what: &str, found: u64, expected: u64, collection: CollectionId) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let text = format!("{found} of {expected} file sets that collection {collection} releases are {what}");
    Err(MetaError::Corrupt(text)) // RL-3
}

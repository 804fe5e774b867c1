//! Rows of file sets. Every change of one is a step of `elanus_lifecycle::file_set`; nothing else writes these columns.
//!
//! One at a time: [`register`], [`move_file_set`], [`commit_file_set`]. Thousands that move in the same way: the
//! set-based functions at the end, which step one representative and write its columns to all, each statement guarded by
//! the state that the representative came from. No move leaves history: a file set that is written and kept is told by its
//! membership, and one that is deleted by the audit trail of [`crate::gc`].

use crate::db::{Tx, add, args};
use crate::error::{MetaError, Result};
use crate::machines::refused;
use crate::model::{FileKind, StoredObject};
use crate::rows::{bigint, kind_label};
use elanus_lifecycle::file_set::{Columns, Effect, Event, FileSet, MACHINE};
use elanus_lifecycle::{CorruptRow, Step};
use elanus_types::{CollectionId, FileSetId, JobId, NodeId, ObjectKey, SnapshotId, TaskId, Timestamp};
use sqlx::Row;
use sqlx::any::{AnyArguments, AnyRow};

/// The columns of the machine, for a SELECT.
macro_rules! file_set_columns {
    () => {
        "file_set_id, state, refs, claimed_ever, ever_live, owner, lease_until_ms, not_before_ms, reason"
    };
}
pub(crate) use file_set_columns;

/// All columns of the machine, for the SET of an UPDATE; arguments from [`bind`], whose `$9` is the state before.
macro_rules! update_file_sets_columns {
    () => {
        "state = $1, refs = $2, claimed_ever = $3, ever_live = $4, owner = $5, lease_until_ms = $6, \
         not_before_ms = $7, reason = $8"
    };
}
pub(crate) use update_file_sets_columns;

/// An UPDATE of all columns of the machine from the state `$9`; arguments from [`bind`]; the caller's begin at `$10`.
macro_rules! update_file_sets {
    ($rest:literal) => {
        concat!("UPDATE file_sets SET ", update_file_sets_columns!(), " WHERE state = $9 AND ", $rest)
    };
}

/// A file set that is about to be written.
pub(crate) struct NewIntent {
    pub(crate) id: FileSetId,
    pub(crate) kind: FileKind,
    /// Whose it will be.
    pub(crate) collection: CollectionId,
    pub(crate) owner: NodeId,
    pub(crate) lease_until_ms: i64,
    pub(crate) job: Option<JobId>,
    pub(crate) task: Option<TaskId>,
    /// By ordinal.
    pub(crate) keys: Vec<ObjectKey>,
}

/// Registers file sets with the keys of their objects, before the first byte of any is sent.
pub(crate) async fn register(tx: &mut Tx, intents: &[NewIntent]) -> Result<()> {
    let now_ms = tx.now_ms;
    tx.insert_many(
        "INSERT INTO file_sets (file_set_id, kind, state, refs, claimed_ever, ever_live, owner, lease_until_ms, \
         not_before_ms, reason, job_id, task_id, created_ms, collection_id)",
        14,
        intents,
        |arguments, intent| {
            let columns = FileSet::intent(intent.owner.clone(), intent.lease_until_ms).columns();
            add(arguments, intent.id.0);
            add(arguments, kind_label(intent.kind).to_owned());
            add_columns(arguments, &columns);
            add(arguments, intent.job.map(|job| job.0));
            add(arguments, intent.task.map(|task| task.0));
            add(arguments, now_ms);
            add(arguments, intent.collection.0);
        },
    )
    .await?;
    let objects = intents
        .iter()
        .flat_map(|intent| (0i64..).zip(&intent.keys).map(move |(ordinal, key)| (intent.id, ordinal, key)));
    tx.insert_many("INSERT INTO objects (object_key, file_set_id, ordinal)", 3, objects, |arguments, row| {
        let (id, ordinal, key) = row;
        add(arguments, key.as_str().to_owned());
        add(arguments, id.0);
        add(arguments, ordinal);
    })
    .await
}

/// Reads a file set under a row lock, steps it, writes what the step returned. The step is returned as it was: what is a
/// `Move` is written.
pub(crate) async fn move_file_set(tx: &mut Tx, id: FileSetId, event: &Event) -> Result<Step<FileSet, Effect>> {
    let row = tx
        .optional(
            concat!("SELECT ", file_set_columns!(), " FROM file_sets WHERE file_set_id = $1 /*FOR UPDATE*/"),
            args![id.0],
        )
        .await?
        .ok_or_else(|| MetaError::Corrupt(format!("file set {id} is unknown")))?;
    let before = from_row(&row)?;
    write_step(tx, id, &before, event).await
}

/// The second half of [`move_file_set`], for a row that was read in this transaction.
pub(crate) async fn write_step(
    tx: &mut Tx,
    id: FileSetId,
    before: &FileSet,
    event: &Event,
) -> Result<Step<FileSet, Effect>> {
    let step = before.step(event);
    let Step::Move(after, _) = &step else { return Ok(step) };
    let mut arguments = bind(before.label(), &after.columns());
    add(&mut arguments, id.0);
    add(&mut arguments, before.refs());
    tx.execute_exactly(1, "a file set", update_file_sets!("file_set_id = $10 AND refs = $11"), arguments).await?;
    tx.moved(MACHINE, before.label(), after.label(), event.name(), 1);
    Ok(step)
}

/// Makes an intent of `by` live with its first reference, and records what its objects are. False when it was live
/// already.
///
/// # Errors
/// [`MetaError::Fenced`] when it was taken away.
pub(crate) async fn commit_file_set(tx: &mut Tx, id: FileSetId, by: &NodeId, objects: &[StoredObject]) -> Result<bool> {
    match move_file_set(tx, id, &Event::Commit { by: by.clone() }).await? {
        Step::Move(..) => {}
        Step::Repeat => return Ok(false),
        Step::Fenced => return Err(MetaError::Fenced { what: "a file set" }),
        Step::Refuse(refusal) => return Err(refused(&refusal)),
    }
    for object in objects {
        tx.execute_exactly(
            1,
            "an object",
            "UPDATE objects SET size_bytes = $1, checksum = $2 WHERE object_key = $3 AND file_set_id = $4",
            args![bigint(object.size), object.checksum.to_string(), object.key.as_str().to_owned(), id.0],
        )
        .await?;
    }
    let row = tx
        .one("SELECT COUNT(*) AS unknown_num FROM objects WHERE file_set_id = $1 AND checksum IS NULL", args![id.0])
        .await?;
    match row.try_get::<i64, _>("unknown_num")? {
        0 => Ok(true),
        n => Err(MetaError::Corrupt(format!("file set {id} is committed without {n} of its objects"))),
    }
}

/// The machine of a row that was read with [`file_set_columns`].
pub(crate) fn from_row(row: &AnyRow) -> Result<FileSet> {
    let id: i64 = row.try_get("file_set_id")?;
    FileSet::from_columns(&columns(row)?)
        .map_err(|CorruptRow { machine, why }| MetaError::Corrupt(format!("{machine} {id}: {why}")))
}

/// The columns of a row that was read with [`file_set_columns`].
pub(crate) fn columns(row: &AnyRow) -> Result<Columns> {
    Ok(Columns {
        state: row.try_get("state")?,
        refs: row.try_get("refs")?,
        claimed_ever: row.try_get::<i64, _>("claimed_ever")? != 0,
        ever_live: row.try_get::<i64, _>("ever_live")? != 0,
        owner: row.try_get("owner")?,
        lease_until_ms: row.try_get("lease_until_ms")?,
        not_before_ms: row.try_get("not_before_ms")?,
        reason: row.try_get("reason")?,
    })
}

/// A representative with these columns.
pub(crate) fn columns_of(columns: &Columns) -> Result<FileSet> {
    Ok(FileSet::from_columns(columns)?)
}

/// Which intents [`abandon`] takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Abandon<'t> {
    /// Those of the present claim of a copy task.
    Task(TaskId),
    /// The one of the present claim of a compaction.
    Compaction(TaskId),
    /// The one of the present claim of an index build.
    IndexBuild(TaskId),
    /// Those of a restore job.
    Job(JobId),
    /// Those that are registered for a snapshot.
    Snapshot(i64),
    /// Those of a process that is dead for sure, but a job's.
    Owner(&'t NodeId),
    /// At most so many whose lease is over, but a job's: a job looks after its own.
    LeaseOver(i64),
}

/// Intents → queued for deletion, set-based; how many. What is no intent is left alone, so a repeat is harmless.
///
/// `not_before_ms`: until when a byte may still arrive.
pub(crate) async fn abandon(tx: &mut Tx, which: Abandon<'_>, not_before_ms: i64) -> Result<u64> {
    let mut arguments = of_any_intent(&NodeId(String::new()), &Event::Abandon { not_before_ms })?;
    let sql = match which {
        Abandon::Task(task) => {
            add(&mut arguments, task.0);
            update_file_sets!("file_set_id IN (SELECT i.target_file_set_id FROM copy_items i WHERE i.task_id = $10)")
        }
        Abandon::Compaction(task) => {
            add(&mut arguments, task.0);
            update_file_sets!("file_set_id = (SELECT c.target_file_set_id FROM compactions c WHERE c.task_id = $10)")
        }
        Abandon::IndexBuild(task) => {
            add(&mut arguments, task.0);
            update_file_sets!("file_set_id = (SELECT b.target_file_set_id FROM index_builds b WHERE b.task_id = $10)")
        }
        Abandon::Job(job) => {
            add(&mut arguments, job.0);
            update_file_sets!("job_id = $10")
        }
        Abandon::Snapshot(snapshot) => {
            add(&mut arguments, snapshot);
            update_file_sets!(
                "file_set_id IN (SELECT s.file_set_id FROM snapshot_file_sets s WHERE s.snapshot_id = $10)"
            )
        }
        Abandon::Owner(owner) => {
            add(&mut arguments, owner.0.clone());
            update_file_sets!("owner = $10 AND job_id IS NULL")
        }
        Abandon::LeaseOver(limit) => {
            let now_ms = tx.now_ms;
            add(&mut arguments, now_ms);
            add(&mut arguments, limit);
            update_file_sets!(
                // The inner state is a literal, so that the partial index file_sets_lease serves it.
                "lease_until_ms <= $10 AND file_set_id IN (SELECT f.file_set_id FROM file_sets f \
                 WHERE f.state = 'intent' AND f.lease_until_ms <= $10 AND f.job_id IS NULL \
                 ORDER BY f.lease_until_ms LIMIT $11)"
            )
        }
    };
    let abandoned = tx.execute(sql, arguments).await?;
    tx.moved(MACHINE, "intent", "queued", Event::Abandon { not_before_ms }.name(), abandoned);
    Ok(abandoned)
}

/// The planned file sets of a job's tasks → live with one reference each, set-based; exactly `expected`.
///
/// # Errors
/// [`MetaError::Fenced`] when one of them is no intent any more.
pub(crate) async fn commit_job(tx: &mut Tx, job: JobId, expected: u64) -> Result<()> {
    let by = NodeId(String::new());
    let mut arguments = of_any_intent(&by, &Event::Commit { by: by.clone() })?;
    add(&mut arguments, job.0);
    tx.execute_exactly(
        expected,
        "a file set of the job",
        update_file_sets!(
            "job_id = $10 AND file_set_id IN (SELECT i.target_file_set_id FROM copy_items i WHERE i.job_id = $10)"
        ),
        arguments,
    )
    .await?;
    tx.moved(MACHINE, "intent", "live", Event::Commit { by }.name(), expected);
    Ok(())
}

/// One more reference for each of the `expected` manifests of a snapshot, set-based. False, and nothing changed, when one
/// of them is no longer live.
pub(crate) async fn reference_manifests(tx: &mut Tx, snapshot: SnapshotId, expected: usize) -> Result<bool> {
    let rows = tx
        .all(
            concat!(
                "SELECT ",
                file_set_columns!(),
                " FROM file_sets WHERE file_set_id IN (SELECT s.file_set_id FROM snapshot_file_sets s \
                 WHERE s.snapshot_id = $1 AND s.ordinal IS NOT NULL) ORDER BY file_set_id /*FOR UPDATE*/"
            ),
            args![snapshot.0],
        )
        .await?;
    if rows.len() != expected {
        return Ok(false);
    }
    for row in &rows {
        let before = from_row(row)?;
        match before.step(&Event::Reference) {
            Step::Move(after, _) if after.label() == before.label() && after.refs() == before.refs() + 1 => {}
            Step::Refuse(refusal) if !refusal.is_bug() => return Ok(false),
            other => return Err(MetaError::Corrupt(format!("a manifest answers {other:?} to a reference"))),
        }
    }
    let Some(state) = rows.first().map(from_row).transpose()?.map(|set| set.label()) else { return Ok(true) };
    // What all of the steps above are, in one statement.
    tx.execute_exactly(
        rows.len() as u64,
        "a manifest",
        "UPDATE file_sets SET refs = refs + 1 WHERE state = $2 AND file_set_id IN (SELECT s.file_set_id \
         FROM snapshot_file_sets s WHERE s.snapshot_id = $1 AND s.ordinal IS NOT NULL)",
        args![snapshot.0, state.to_owned()],
    )
    .await?;
    Ok(true)
}

/// One reference more for each membership that begins at `ts` in a collection, set-based, for file sets that are live
/// already.
///
/// # Errors
/// [`MetaError::Corrupt`] when one of them is not: a membership that is kept keeps its files live (FS-4).
pub(crate) async fn reference_added(tx: &mut Tx, collection: CollectionId, ts: Timestamp) -> Result<()> {
    let of_new = || args![collection.0, ts.0];
    let row = tx
        .one(
            "SELECT COUNT(DISTINCT file_set_id) AS sets FROM memberships WHERE collection_id = $1 AND added_ts = $2",
            of_new(),
        )
        .await?;
    let sets = crate::rows::count(&row, "sets")?;
    // `Event::Reference` of a live file set is one more, and nothing else.
    let changed = tx
        .execute(
            "UPDATE file_sets SET refs = refs + (SELECT COUNT(*) FROM memberships m \
               WHERE m.file_set_id = file_sets.file_set_id AND m.collection_id = $1 AND m.added_ts = $2) \
             WHERE state = 'live' AND file_set_id IN \
               (SELECT file_set_id FROM memberships WHERE collection_id = $1 AND added_ts = $2)",
            of_new(),
        )
        .await?;
    if changed == sets {
        return Ok(());
    }
    Err(MetaError::Corrupt(format!("{changed} of {sets} file sets that collection {collection} names again are live")))
}

/// One reference more for every membership of a new collection, set-based; how many file sets were raised. What is not
/// live is left alone: the caller compares the number.
pub(crate) async fn reference_members(tx: &mut Tx, collection: CollectionId) -> Result<u64> {
    let raised = reference_step()?;
    tx.execute(
        "UPDATE file_sets SET refs = refs + $2 * c.members_num \
         FROM (SELECT m.file_set_id, COUNT(*) AS members_num FROM memberships m WHERE m.collection_id = $1 \
         GROUP BY m.file_set_id) c WHERE c.file_set_id = file_sets.file_set_id AND file_sets.state = $3",
        args![collection.0, raised.by, raised.state],
    )
    .await
}

/// What a reference more does to a live file set, whatever their number.
struct Raised {
    state: String,
    by: i64,
}

/// Any file set that is live with so many references.
pub(crate) fn live_with(refs: i64) -> Result<FileSet> {
    let by = NodeId(String::new());
    let mut set = stepped(&FileSet::intent(by.clone(), 0), &Event::Commit { by })?;
    for _ in 1..refs {
        set = stepped(&set, &Event::Reference)?;
    }
    Ok(set)
}

/// What a representative becomes.
pub(crate) fn stepped(set: &FileSet, event: &Event) -> Result<FileSet> {
    match set.step(event) {
        Step::Move(after, _) => Ok(after),
        other => Err(MetaError::Corrupt(format!("a file set answers {other:?} to {}", event.name()))),
    }
}

fn reference_step() -> Result<Raised> {
    let live = live_with(1)?;
    let (before, after) = (live.columns(), stepped(&live, &Event::Reference)?.columns());
    let by = after.refs - before.refs;
    if (Columns { refs: before.refs, ..after }) != before {
        return Err(MetaError::Corrupt("a reference changes more than the number of references".into()));
    }
    Ok(Raised { state: before.state, by })
}

/// The leases of the intents that are registered for a snapshot.
pub(crate) async fn renew_of_snapshot(tx: &mut Tx, snapshot: i64, by: &NodeId, lease_until_ms: i64) -> Result<u64> {
    let event = Event::Renew { by: by.clone(), lease_until_ms };
    let mut arguments = of_any_intent(by, &event)?;
    add(&mut arguments, snapshot);
    tx.execute(
        update_file_sets!(
            "owner = $5 AND lease_until_ms < $6 AND file_set_id IN (SELECT s.file_set_id FROM snapshot_file_sets s WHERE s.snapshot_id = $10)"
        ),
        arguments,
    )
    .await
}

/// Arguments of [`update_file_sets`] for what `event` makes of any intent of `owner`.
fn of_any_intent(owner: &NodeId, event: &Event) -> Result<AnyArguments> {
    let before = FileSet::intent(owner.clone(), 0);
    match before.step(event) {
        Step::Move(after, _) => Ok(bind(before.label(), &after.columns())),
        other => Err(MetaError::Corrupt(format!("an intent answers {other:?} to {}", event.name()))),
    }
}

pub(crate) fn bind(from: &str, to: &Columns) -> AnyArguments {
    let mut arguments = AnyArguments::default();
    add_columns(&mut arguments, to);
    add(&mut arguments, from.to_owned());
    arguments
}

fn add_columns(arguments: &mut AnyArguments, columns: &Columns) {
    add(arguments, columns.state.clone());
    add(arguments, columns.refs);
    add(arguments, i64::from(columns.claimed_ever));
    add(arguments, i64::from(columns.ever_live));
    add(arguments, columns.owner.clone());
    add(arguments, columns.lease_until_ms);
    add(arguments, columns.not_before_ms);
    add(arguments, columns.reason.clone());
}

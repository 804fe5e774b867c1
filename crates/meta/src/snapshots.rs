//! Snapshots: pinned timestamps of a collection. Every change of a row's state is a step of
//! `elanus_lifecycle::snapshot`, written by [`move_snapshot`].
//!
//! A create takes the collection's clock, so that its timestamp cuts between commits (S-1), and costs the same for every
//! size of collection. A drop ends the protection and nothing else: it never touches what the snapshot protected.

use crate::clock::{LockedClock, lock_live};
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::file_sets::{self, Abandon, NewIntent};
use crate::gc::undrop;
use crate::history::{Told, tell};
use crate::machines::{concerns_one, readable, refused};
use crate::memberships::For;
use crate::model::{Answer, Created, FileKind, NewSnapshot, SnapshotFiles, SnapshotRecord, SnapshotStatus, Totals};
use crate::rows::{bigint, collection_not_found, object_key, traceparent};
use crate::{Coordinator, Meta, manifests, pins};
use elanus_lifecycle::snapshot::{Columns, Effect, Event, MACHINE, Snapshot, State};
use elanus_lifecycle::{Refusal, Step};
use elanus_types::key::FileName;
use elanus_types::{
    Code, CollectionId, Failure, FileSetId, NodeId, ObjectKey, SnapshotId, Timestamp, current_traceparent,
};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Where the files of a snapshot go: registered before the first byte is sent.
#[derive(Clone, Debug)]
pub struct SnapshotFilesPlan {
    /// One file set with one object each.
    pub manifests: Vec<(FileSetId, ObjectKey)>,
    /// The self-describing root.
    pub metadata: (FileSetId, ObjectKey),
}

/// Snapshots with what [`SnapshotRow`] holds; `$1` is the time now.
macro_rules! select_snapshots {
    ($rest:literal) => {
        concat!(
            "SELECT s.snapshot_id, s.collection_id, s.name, s.description, s.create_ts, s.state, s.accepted, s.owner, \
             s.lease_until_ms, s.metadata_key, s.checksum, s.idempotency_key, s.traceparent, \
             COALESCE(s.rows_num, 0) AS rows_num, COALESCE(s.files_num, 0) AS files_num, \
             COALESCE(s.bytes, 0) AS bytes, COALESCE(s.segments_num, 0) AS segments_num, \
             (SELECT COUNT(*) FROM pins p WHERE p.snapshot_id = s.snapshot_id \
              AND (p.expires_ms IS NULL OR p.expires_ms > $1)) AS live_pins \
             FROM snapshots s WHERE ",
            $rest
        )
    };
}

/// Of every collection, in the order of their ids.
pub(crate) const COMMITTED_AFTER: &str =
    select_snapshots!("s.state = 'committed' AND s.snapshot_id > $2 ORDER BY s.snapshot_id LIMIT $3");

/// Of every live collection: accepted, and nobody is at it.
pub(crate) const ACCEPTED: &str = select_snapshots!(
    "s.accepted = 1 AND s.lease_until_ms <= $1 AND EXISTS (SELECT 1 FROM collections c \
     WHERE c.collection_id = s.collection_id AND c.state = 'live') ORDER BY s.create_ts LIMIT $2"
);

/// A snapshot as its row says.
pub(crate) struct SnapshotRow {
    pub(crate) record: SnapshotRecord,
    pub(crate) machine: Snapshot,
    idempotency_key: Option<String>,
}

impl Coordinator {
    /// Takes the next timestamp of the collection and protects what it holds then. A request with the idempotency key of
    /// an earlier one joins it, whether that one is still under way or committed.
    ///
    /// # Errors
    /// 100 when the collection is not live; 1100 when the name is taken.
    pub async fn create_snapshot(&self, new: NewSnapshot) -> Result<Created<SnapshotRecord>> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, new.collection).await?;
        if let Some(found) = find_by_name(&mut tx, new.collection, &new.name).await? {
            if new.idempotency_key.is_some() && found.idempotency_key == new.idempotency_key {
                return Ok(Created::Joined(found.record)); // S-2
            }
            let text = format!("snapshot name {} already exists in collection {}", new.name, new.collection);
            return Err(Failure::invalid(text).into()); // S-3
        }
        let created = Self::protect(&mut tx, &mut clock, &new).await?;
        tx.commit().await?;
        Ok(Created::New(created))
    }

    /// Takes the next timestamp of a locked collection and protects what it holds then.
    pub(crate) async fn protect(tx: &mut Tx, clock: &mut LockedClock, new: &NewSnapshot) -> Result<SnapshotRecord> {
        let create_ts = clock.tick(tx).await?;
        let id = SnapshotId(tx.allocate_ids(1).await?);
        let machine = Snapshot::create(new.owner.clone(), new.lease_until_ms);
        let columns = machine.columns();
        tx.execute(
            "INSERT INTO snapshots (snapshot_id, collection_id, name, description, create_ts, state, owner, \
             lease_until_ms, compaction_protected_until_ms, idempotency_key) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            args![
                id.0,
                new.collection.0,
                new.name.clone(),
                new.description.clone(),
                create_ts.0,
                columns.state,
                columns.owner,
                columns.lease_until_ms,
                new.compaction_protected_until_ms,
                new.idempotency_key.clone()
            ],
        )
        .await?;
        let detail = format!("name {}, owner {}, create_ts {create_ts}", new.name, new.owner);
        let told = Told { machine: MACHINE, id: id.0, event: "create", from: "", to: machine.label(), detail };
        tell(tx, MACHINE, &told).await?;
        Ok(locked(tx, id).await?.ok_or_else(|| unknown(id))?.record)
    }

    /// The create is answered before the manifests are written: from now on somebody writes them until it is done, and
    /// nobody gives the snapshot up. Whoever claims it may begin at once.
    ///
    /// # Errors
    /// [`MetaError::Fenced`] when the snapshot is not in the hands of `by`.
    pub async fn accept_snapshot(&self, id: SnapshotId, by: &NodeId) -> Result<SnapshotRecord> {
        let mut tx = self.write().await?;
        let row = locked(&mut tx, id).await?.ok_or(FENCED)?;
        let event = Event::Accept { by: by.clone(), now_ms: tx.now_ms };
        match move_snapshot(&mut tx, &row, &event).await? {
            Step::Move(..) => {}
            Step::Repeat => return Ok(row.record),
            Step::Fenced => return Err(FENCED),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        tx.execute("UPDATE snapshots SET traceparent = $2 WHERE snapshot_id = $1", args![id.0, current_traceparent()])
            .await?;
        let accepted = locked(&mut tx, id).await?.ok_or_else(|| unknown(id))?;
        tx.commit().await?;
        Ok(accepted.record)
    }

    /// Takes an accepted snapshot that nobody is at, in order to write its manifests; `None` when somebody is, or when it
    /// is written or dropped.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn claim_snapshot(
        &self,
        id: SnapshotId,
        by: &NodeId,
        lease_until_ms: i64,
    ) -> Result<Option<SnapshotRecord>> {
        let mut tx = self.write().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(None) };
        let event = Event::Claim { by: by.clone(), now_ms: tx.now_ms, lease_until_ms };
        match move_snapshot(&mut tx, &row, &event).await? {
            Step::Move(..) => {
                tx.commit().await?;
                Ok(Some(row.record))
            }
            Step::Repeat | Step::Fenced => Ok(None),
            Step::Refuse(refusal) => Err(refused(&refusal)),
        }
    }

    /// Keeps a snapshot and its planned files in the hands of its writer.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn heartbeat_snapshot(&self, id: SnapshotId, by: &NodeId, lease_until_ms: i64) -> Result<Answer> {
        let mut tx = self.write().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(Answer::Fenced) };
        match move_snapshot(&mut tx, &row, &Event::Heartbeat { by: by.clone(), lease_until_ms }).await? {
            Step::Move(..) => {
                file_sets::renew_of_snapshot(&mut tx, id.0, by, lease_until_ms).await?;
                tx.commit().await?;
                Ok(Answer::Accepted)
            }
            Step::Repeat => Ok(Answer::Accepted),
            Step::Fenced => Ok(Answer::Fenced),
            Step::Refuse(refusal) => Err(refused(&refusal)),
        }
    }

    /// Registers `manifests` manifests and the metadata object. What an earlier call registered stays planned until the
    /// snapshot is committed or fails, then it is abandoned.
    ///
    /// # Errors
    /// [`MetaError::Fenced`] when the snapshot is not pending in the hands of `by`.
    pub async fn begin_snapshot_files(
        &self,
        id: SnapshotId,
        by: &NodeId,
        lease_until_ms: i64,
        manifests: usize,
    ) -> Result<SnapshotFilesPlan> {
        let mut tx = self.write().await?;
        let row = locked(&mut tx, id).await?.ok_or(FENCED)?;
        let Step::Move(..) = move_snapshot(&mut tx, &row, &Event::Heartbeat { by: by.clone(), lease_until_ms }).await?
        else {
            return Err(FENCED);
        };
        let count = u32::try_from(manifests).unwrap_or(u32::MAX).saturating_add(1);
        let first = tx.allocate_ids(count).await?;
        let keys = self.meta().keys();
        let collection = row.record.collection;
        let mut planned: Vec<(FileSetId, ObjectKey)> = (first..first + i64::from(count))
            .map(|file_set| {
                let file = FileName { file_set: FileSetId(file_set), ordinal: 0, random: self.meta().db.random() };
                let is_metadata = file_set == first + i64::from(count) - 1;
                let key = if is_metadata {
                    keys.snapshot_metadata(collection, id, file)
                } else {
                    keys.manifest(collection, file)
                };
                (FileSetId(file_set), key)
            })
            .collect();
        let intents: Vec<NewIntent> = planned
            .iter()
            .map(|(file_set, key)| NewIntent {
                id: *file_set,
                kind: FileKind::Manifest,
                collection,
                owner: by.clone(),
                lease_until_ms,
                job: None,
                task: None,
                keys: vec![key.clone()],
            })
            .collect();
        file_sets::register(&mut tx, &intents).await?;
        tx.insert_many(
            "INSERT INTO snapshot_file_sets (snapshot_id, file_set_id)",
            2,
            &planned,
            |arguments, (file_set, _)| {
                crate::db::add(arguments, id.0);
                crate::db::add(arguments, file_set.0);
            },
        )
        .await?;
        tx.commit().await?;
        let metadata = planned.pop().expect("one more than the manifests was planned");
        Ok(SnapshotFilesPlan { manifests: planned, metadata })
    }

    /// The snapshot is complete: its files are durable. What it shares with its base gets one more reference.
    ///
    /// # Errors
    /// [`MetaError::Fenced`] when the snapshot, or the intent of one of the files, was taken away;
    /// [`MetaError::Released`] when a manifest of the base is no longer kept.
    pub async fn commit_snapshot(
        &self,
        id: SnapshotId,
        by: &NodeId,
        files: &SnapshotFiles,
        totals: Totals,
    ) -> Result<SnapshotRecord> {
        let (metadata_file_set, metadata) = &files.metadata;
        let written =
            Event::ManifestsWritten { by: by.clone(), metadata_key: metadata.key.clone(), checksum: metadata.checksum };
        let mut tx = self.write().await?;
        let row = locked(&mut tx, id).await?.ok_or(FENCED)?;
        match move_snapshot(&mut tx, &row, &written).await? {
            Step::Move(..) => {}
            Step::Repeat => return Ok(row.record),
            Step::Fenced => return Err(FENCED),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        tx.execute(
            "UPDATE snapshots SET rows_num = $2, files_num = $3, bytes = $4, segments_num = $5 WHERE snapshot_id = $1",
            args![id.0, bigint(totals.rows), bigint(totals.files), bigint(totals.bytes), bigint(totals.segments)],
        )
        .await?;
        let manifests_num = manifests::commit(&mut tx, id, by, files.base.as_ref(), &files.manifests).await?;
        file_sets::commit_file_set(&mut tx, *metadata_file_set, by, std::slice::from_ref(metadata)).await?;
        keep_only_live(&mut tx, id, manifests_num + 1).await?;
        let committed = locked(&mut tx, id).await?.ok_or_else(|| unknown(id))?;
        tx.commit().await?;
        Ok(committed.record)
    }

    /// The writer of a pending snapshot gives up. A snapshot that was committed meanwhile stays.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn fail_snapshot(&self, id: SnapshotId) -> Result<()> {
        let mut tx = self.write().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(()) };
        let by = match row.machine.state() {
            State::Pending { owner, .. } => owner.clone(),
            State::Accepted { .. } | State::Committed { .. } | State::Deleting | State::Gone => return Ok(()),
        };
        self.end(tx, &row, &Event::WriteFailed { by }).await.map(|_| ())
    }

    /// Ends the protection of a snapshot; false when there was none of that name.
    ///
    /// # Errors
    /// 100 when the collection is not live; 2601 when a pin keeps it.
    pub async fn drop_snapshot(&self, collection: CollectionId, name: &str) -> Result<bool> {
        let mut tx = self.write().await?;
        require_live(&mut tx, collection).await?;
        let Some(row) = find_by_name(&mut tx, collection, name).await? else { return Ok(false) };
        let live_pin = pins::longest_live(&mut tx, row.record.id).await?;
        self.end(tx, &row, &Event::Drop { live_pin }).await
    }

    /// Ends pending snapshots whose writer is lost; which ones.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expire_snapshots(&self) -> Result<Vec<SnapshotId>> {
        let now_ms = self.meta().clock().now_ms();
        self.end_pending(|_, lease_until_ms| (lease_until_ms <= now_ms).then_some(Event::LeaseExpired { now_ms })).await
    }

    /// Ends pending snapshots that are with none of these writers; how many.
    pub(crate) async fn end_snapshots_of_others(&self, alive: &[NodeId]) -> Result<u64> {
        let ended = self
            .end_pending(|owner, _| (!alive.contains(owner)).then(|| Event::WriteFailed { by: owner.clone() }))
            .await?;
        Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX))
    }

    /// Sends each pending snapshot the event that its owner and lease call for.
    async fn end_pending(&self, event: impl Fn(&NodeId, i64) -> Option<Event>) -> Result<Vec<SnapshotId>> {
        let mut read = self.meta().db.read().await?;
        let now_ms = read.now_ms;
        let rows = read
            .all(select_snapshots!("s.state = 'pending' AND s.accepted = 0 ORDER BY s.lease_until_ms"), args![now_ms])
            .await?;
        drop(read);
        let mut ended = vec![];
        for row in readable(&rows, SnapshotRow::read)? {
            let State::Pending { owner, lease_until_ms } = row.machine.state() else { continue };
            let Some(event) = event(owner, *lease_until_ms) else { continue };
            let id = row.record.id;
            match self.end_one(id, &event).await {
                Ok(true) => ended.push(id),
                Ok(false) => {}
                Err(error) if concerns_one(&error) => tracing::error!(snapshot = id.0, %error, "cannot be ended"),
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }

    async fn end_one(&self, id: SnapshotId, event: &Event) -> Result<bool> {
        let mut tx = self.write().await?;
        let Some(row) = locked(&mut tx, id).await? else { return Ok(false) };
        self.end(tx, &row, event).await
    }

    /// Moves a snapshot to its end with its planned files, and commits; false when it had ended already.
    pub(crate) async fn end(&self, mut tx: Tx, row: &SnapshotRow, event: &Event) -> Result<bool> {
        let moved = self.end_in(&mut tx, row, event).await?;
        if moved {
            tx.commit().await?;
        }
        Ok(moved)
    }

    /// As [`Coordinator::end`], for the caller to commit. What the snapshot protected is released later.
    pub(crate) async fn end_in(&self, tx: &mut Tx, row: &SnapshotRow, event: &Event) -> Result<bool> {
        if matches!(event, Event::Drop { live_pin: None }) {
            undrop::note(tx, row.record.id).await?;
        }
        match move_snapshot(tx, row, event).await? {
            Step::Move(..) => {}
            Step::Repeat => return Ok(false),
            Step::Fenced => return Err(FENCED),
            Step::Refuse(Refusal::Pinned { owner, until_ms }) => {
                tracing::info!(snapshot = row.record.id.0, owner, until_ms, "a pin refuses the drop");
                let failure =
                    Failure::new(Code::SnapshotPinned, format!("snapshot is pinned[snapshot={}]", row.record.name));
                return Err(failure.context("active pins exist, unpin before dropping").into());
            }
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        let dropped = matches!(event, Event::Drop { .. });
        if dropped {
            let sql = "UPDATE snapshots SET covered = $2 WHERE snapshot_id = $1";
            tx.execute(sql, args![row.record.id.0, For::User.covered()]).await?;
        }
        // Only a drop meets a writer that may still be sending bytes: it stops when its lease is over.
        let not_before_ms = match row.machine.state() {
            State::Pending { lease_until_ms, .. } | State::Accepted { lease_until_ms, .. } if dropped => {
                tx.now_ms.max(*lease_until_ms)
            }
            _ => tx.now_ms,
        };
        file_sets::abandon(tx, Abandon::Snapshot(row.record.id.0), not_before_ms).await?;
        Ok(true)
    }
}

impl Meta {
    /// The snapshot of this name that is not dropped, shown or not.
    ///
    /// # Errors
    /// 100 when the collection is not live; when the store is away.
    pub async fn snapshot(&self, collection: CollectionId, name: &str) -> Result<Option<SnapshotRecord>> {
        let mut tx = self.db.read().await?;
        require_live(&mut tx, collection).await?;
        Ok(find_by_name(&mut tx, collection, name).await?.map(|row| row.record))
    }

    /// A snapshot in whatever state, also of a dropped collection.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn snapshot_by_id(&self, id: SnapshotId) -> Result<Option<SnapshotRecord>> {
        let mut tx = self.db.read().await?;
        Ok(locked(&mut tx, id).await?.map(|row| row.record))
    }

    /// The snapshots of a collection that are shown, oldest first.
    ///
    /// # Errors
    /// 100 when the collection is not live; when the store is away.
    pub async fn snapshots(&self, collection: CollectionId) -> Result<Vec<SnapshotRecord>> {
        let mut tx = self.db.read().await?;
        require_live(&mut tx, collection).await?;
        let now_ms = tx.now_ms;
        let rows = tx
            .all(
                select_snapshots!(
                    "s.collection_id = $2 AND (s.state = 'committed' OR s.accepted = 1) ORDER BY s.create_ts"
                ),
                args![now_ms, collection.0],
            )
            .await?;
        rows.iter().map(|row| Ok(SnapshotRow::read(row)?.record)).collect()
    }

    /// At most `limit` accepted snapshots of all live collections that nobody is writing, oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn accepted_snapshots(&self, limit: u32) -> Result<Vec<SnapshotRecord>> {
        let mut tx = self.db.read().await?;
        let now_ms = tx.now_ms;
        let rows = tx.all(ACCEPTED, args![now_ms, i64::from(limit)]).await?;
        drop(tx);
        Ok(readable(&rows, SnapshotRow::read)?.into_iter().map(|row| row.record).collect())
    }
}

const FENCED: MetaError = MetaError::Fenced { what: "the snapshot" };

/// Steps a snapshot that is locked, and writes what the step returned.
pub(crate) async fn move_snapshot(tx: &mut Tx, row: &SnapshotRow, event: &Event) -> Result<Step<Snapshot, Effect>> {
    let step = row.machine.step(event);
    let Step::Move(after, effects) = &step else { return Ok(step) };
    let (before, columns) = (row.machine.columns(), after.columns());
    tx.execute_exactly(
        1,
        "the snapshot",
        "UPDATE snapshots SET state = $1, accepted = $2, owner = $3, lease_until_ms = $4, metadata_key = $5, \
         checksum = $6 WHERE snapshot_id = $7 AND state = $8 AND accepted = $9",
        args![
            columns.state,
            i64::from(columns.accepted),
            columns.owner,
            columns.lease_until_ms,
            columns.metadata_key,
            columns.metadata_checksum,
            row.record.id.0,
            before.state,
            i64::from(before.accepted)
        ],
    )
    .await?;
    if effects.contains(&Effect::Announce) {
        let told = Told {
            machine: MACHINE,
            id: row.record.id.0,
            event: event.name(),
            from: row.machine.label(),
            to: after.label(),
            detail: String::new(),
        };
        tell(tx, MACHINE, &told).await?;
    }
    Ok(step)
}

/// What was planned for a committed snapshot and not used is abandoned; `used` file sets are left.
async fn keep_only_live(tx: &mut Tx, id: SnapshotId, used: usize) -> Result<()> {
    let now_ms = tx.now_ms;
    file_sets::abandon(tx, Abandon::Snapshot(id.0), now_ms).await?;
    tx.execute(
        "DELETE FROM snapshot_file_sets WHERE snapshot_id = $1 AND NOT EXISTS (SELECT 1 FROM file_sets f \
         WHERE f.file_set_id = snapshot_file_sets.file_set_id AND f.state = 'live')",
        args![id.0],
    )
    .await?;
    let row = tx.one("SELECT COUNT(*) AS kept FROM snapshot_file_sets WHERE snapshot_id = $1", args![id.0]).await?;
    let kept: i64 = row.try_get("kept")?;
    if usize::try_from(kept) == Ok(used) {
        return Ok(());
    }
    Err(MetaError::Corrupt(format!("snapshot {id} is committed with {used} files, {kept} were planned for it")))
}

pub(crate) async fn require_live(tx: &mut Tx, collection: CollectionId) -> Result<()> {
    tx.optional("SELECT 1 AS live FROM collections WHERE collection_id = $1 AND state = 'live'", args![collection.0])
        .await?
        .map(|_| ())
        .ok_or_else(|| collection_not_found(collection))
}

/// The snapshot of this name that is not dropped, locked when the transaction writes.
pub(crate) async fn find_by_name(tx: &mut Tx, collection: CollectionId, name: &str) -> Result<Option<SnapshotRow>> {
    let now_ms = tx.now_ms;
    tx.optional(
        select_snapshots!("s.collection_id = $2 AND s.name = $3 AND s.state <> 'deleting' /*FOR UPDATE*/"),
        args![now_ms, collection.0, name.to_owned()],
    )
    .await?
    .map(|row| SnapshotRow::read(&row))
    .transpose()
}

/// At most `limit` snapshots of a collection that protect, locked.
pub(crate) async fn protecting(tx: &mut Tx, collection: CollectionId, limit: i64) -> Result<Vec<SnapshotRow>> {
    let now_ms = tx.now_ms;
    let rows = tx
        .all(
            select_snapshots!(
                "s.collection_id = $2 AND s.state <> 'deleting' ORDER BY s.create_ts LIMIT $3 /*FOR UPDATE*/"
            ),
            args![now_ms, collection.0, limit],
        )
        .await?;
    rows.iter().map(SnapshotRow::read).collect()
}

/// The snapshot, locked when the transaction writes.
pub(crate) async fn locked(tx: &mut Tx, id: SnapshotId) -> Result<Option<SnapshotRow>> {
    let now_ms = tx.now_ms;
    tx.optional(select_snapshots!("s.snapshot_id = $2 /*FOR UPDATE*/"), args![now_ms, id.0])
        .await?
        .map(|row| SnapshotRow::read(&row))
        .transpose()
}

fn unknown(id: SnapshotId) -> MetaError {
    MetaError::Corrupt(format!("snapshot {id} is gone from under its lock"))
}

impl SnapshotRow {
    pub(crate) fn read(row: &AnyRow) -> Result<Self> {
        let columns = Columns {
            state: row.try_get("state")?,
            accepted: row.try_get::<i64, _>("accepted")? != 0,
            owner: row.try_get("owner")?,
            lease_until_ms: row.try_get("lease_until_ms")?,
            metadata_key: row.try_get("metadata_key")?,
            metadata_checksum: row.try_get("checksum")?,
        };
        let machine = Snapshot::from_columns(&columns)?;
        let state = match machine.state() {
            State::Pending { .. } => SnapshotStatus::Pending,
            State::Accepted { .. } => SnapshotStatus::Accepted,
            State::Committed { .. } => SnapshotStatus::Committed,
            State::Deleting | State::Gone => SnapshotStatus::Deleting,
        };
        let record = SnapshotRecord {
            id: SnapshotId(row.try_get("snapshot_id")?),
            collection: CollectionId(row.try_get("collection_id")?),
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            create_ts: Timestamp(row.try_get("create_ts")?),
            state,
            metadata_key: columns.metadata_key.as_deref().map(object_key).transpose()?,
            totals: Totals {
                rows: crate::rows::count(row, "rows_num")?,
                files: crate::rows::count(row, "files_num")?,
                bytes: crate::rows::count(row, "bytes")?,
                segments: crate::rows::count(row, "segments_num")?,
            },
            live_pins: u32::try_from(row.try_get::<i64, _>("live_pins")?).unwrap_or(u32::MAX),
            traceparent: traceparent(row)?,
        };
        Ok(Self { record, machine, idempotency_key: row.try_get("idempotency_key")? })
    }
}

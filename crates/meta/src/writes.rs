//! The two transactions of a write. The first registers the files that are going to be made; the second makes them
//! visible, all of them at one timestamp, or none.
//!
//! Between the two anything may happen: the collection or the partition is dropped, the segment is sealed, the intent is
//! taken away because its lease ended. Only the second decides, under the lock of the collection's clock. A file is never
//! made visible that was not registered before its first byte was sent.

use crate::Meta;
use crate::clock::{lock_live, require_not_held};
use crate::db::{Tx, add, args};
use crate::error::{MetaError, Result};
use crate::events::{self, SegmentMove};
use crate::file_sets::{self, NewIntent, file_set_columns};
use crate::machines::refused;
use crate::model::{FileKind, FilePlace, PlannedFile, StoredObject, WrittenFile};
use crate::rows::{bigint, collection_not_found, partition_not_found, shard};
use elanus_lifecycle::Step;
use elanus_lifecycle::deletes::GROUP_TIMESTAMPS_MAX;
use elanus_lifecycle::file_set::Event;
use elanus_types::key::{FileName, SegmentPlace};
use elanus_types::{CollectionId, Failure, FileSetId, NodeId, PartitionId, SegmentId, Shard, Timestamp};
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};

/// A growing segment with so many rows is sealed.
const SEGMENT_ROWS_MAX: i64 = 1_000_000;
/// A growing segment with so many bytes is sealed.
const SEGMENT_BYTES_MAX: i64 = 512 << 20;

const GROWING: &str = "
SELECT segment_id, partition_id, shard, level FROM segments
WHERE collection_id = $1 AND state = 'growing'
  -- Another node's segment is another node's, also when that node is gone: it is sealed, not taken over.
  AND writer = $2
ORDER BY segment_id";

const GROW: &str = "
UPDATE segments SET
  rows_num = rows_num + $2,
  bytes = bytes + $3,
  -- Full: sealed by the write that filled it.
  state = CASE WHEN rows_num + $2 >= $9 OR bytes + $3 >= $10 THEN 'flushed' ELSE state END,
  writer = CASE WHEN rows_num + $2 >= $9 OR bytes + $3 >= $10 THEN NULL ELSE writer END
WHERE segment_id = $1
  -- Sealed or dropped since the write began: the file goes to a fresh segment.
  AND state = 'growing' AND writer = $8
  -- The file belongs where its segment is.
  AND collection_id = $4 AND partition_id = $5 AND shard = $6 AND level = $7
RETURNING state";

impl Meta {
    /// The first transaction of a write: registers one file for each place, in their order. The files may be written
    /// once this returned.
    ///
    /// # Errors
    /// 100, 200: the collection or a partition is not there. 8: it is being rolled back.
    pub async fn begin_write(
        &self,
        collection: CollectionId,
        owner: &NodeId,
        lease_until_ms: i64,
        places: &[FilePlace],
    ) -> Result<Vec<PlannedFile>> {
        let mut tx = self.db.write().await?;
        // Not shared: begins that overlap without end would keep every commit out.
        let row = tx
            .optional(
                "SELECT held_until_ms FROM collections WHERE collection_id = $1 AND state = 'live' /*FOR UPDATE*/",
                args![collection.0],
            )
            .await?
            .ok_or_else(|| collection_not_found(collection))?;
        require_not_held(collection, row.try_get("held_until_ms")?, tx.now_ms)?;
        require_partitions(&mut tx, collection, partitions(places)).await?;
        let created_ts = Timestamp::from_ms(tx.now_ms);
        let segments = open_segments(&mut tx, collection, owner, created_ts, places).await?;
        let first_id = tx.allocate_ids(u32::try_from(places.len()).unwrap_or(u32::MAX)).await?;
        let planned: Vec<PlannedFile> = (first_id..)
            .zip(places)
            .map(|(id, place)| {
                let segment = segments[place];
                PlannedFile { file_set: FileSetId(id), segment, key: self.key(collection, segment, *place, id) }
            })
            .collect();
        let intents: Vec<NewIntent> = planned
            .iter()
            .zip(places)
            .map(|(file, place)| NewIntent {
                id: file.file_set,
                kind: place.kind,
                collection,
                owner: owner.clone(),
                lease_until_ms,
                job: None,
                task: None,
                keys: vec![file.key.clone()],
            })
            .collect();
        file_sets::register(&mut tx, &intents).await?;
        tx.commit().await?;
        Ok(planned)
    }

    /// The second transaction of a write of `requests` requests: makes all files visible and returns the timestamp of the
    /// first request; those of the others follow it. Called again for the same files it returns the same timestamp, so
    /// that a caller who did not hear the answer may ask again.
    ///
    /// # Errors
    /// 100, 200: the collection or a partition was dropped meanwhile; 8: it is being rolled back; [`MetaError::Fenced`]:
    /// an intent was taken away.
    /// Then nothing is visible, and what is still an intent is to be abandoned.
    pub async fn commit_write(
        &self,
        collection: CollectionId,
        owner: &NodeId,
        requests: u32,
        files: &[WrittenFile],
    ) -> Result<Timestamp> {
        if i64::from(requests) > GROUP_TIMESTAMPS_MAX {
            let text = format!("a commit of {requests} requests is more than {GROUP_TIMESTAMPS_MAX}: make several");
            return Err(Failure::invalid(text).into());
        }
        let mut tx = self.db.write().await?;
        let mut clock = lock_live(&mut tx, collection).await?;
        require_partitions(&mut tx, collection, partitions(files.iter().map(|file| &file.place))).await?;
        if !make_live(&mut tx, owner, files).await? {
            return committed_ts(&mut tx, collection, files).await;
        }
        clock.require_not_held(tx.now_ms)?;
        let base_ts = clock.tick_for(&mut tx, requests).await?;
        let segments = grow_segments(&mut tx, collection, owner, base_ts, files).await?;
        add_members(&mut tx, collection, base_ts, requests, files, &segments).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await?;
        Ok(base_ts)
    }

    /// Gives up files of `owner` that are still intents: they are deleted later. Everything else stays as it is.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn abandon(&self, owner: &NodeId, file_sets: &[FileSetId], reason: &str) -> Result<()> {
        let mut tx = self.db.write().await?;
        // The owner says that it sends nothing more.
        let event = Event::Abandon { not_before_ms: tx.now_ms };
        for id in file_sets {
            let row = tx
                .optional(
                    concat!(
                        "SELECT ",
                        file_set_columns!(),
                        " FROM file_sets WHERE file_set_id = $1 AND owner = $2 AND state = 'intent' /*FOR UPDATE*/"
                    ),
                    args![id.0, owner.0.clone()],
                )
                .await?;
            let Some(row) = row else { continue };
            let _moved = file_sets::write_step(&mut tx, *id, &file_sets::from_row(&row)?, &event).await?;
            tracing::info!(file_set = id.0, %owner, reason, "write abandoned");
        }
        tx.commit().await
    }

    /// Extends the leases of files that `owner` is writing. What is visible already needs none.
    ///
    /// # Errors
    /// [`MetaError::Fenced`] when one was taken away; then no lease is extended.
    pub async fn renew(&self, owner: &NodeId, file_sets: &[FileSetId], lease_until_ms: i64) -> Result<()> {
        let mut tx = self.db.write().await?;
        for id in file_sets {
            let event = Event::Renew { by: owner.clone(), lease_until_ms };
            match file_sets::move_file_set(&mut tx, *id, &event).await? {
                Step::Move(..) | Step::Repeat => {}
                Step::Fenced => return Err(MetaError::Fenced { what: "a file set" }),
                Step::Refuse(refusal) => return Err(refused(&refusal)),
            }
        }
        tx.commit().await
    }

    fn key(&self, collection: CollectionId, segment: SegmentId, place: FilePlace, id: i64) -> elanus_types::ObjectKey {
        let name = FileName { file_set: FileSetId(id), ordinal: 0, random: self.db.random() };
        let at = SegmentPlace { collection, partition: place.partition, segment };
        match place.kind {
            FileKind::Delete => self.keys.delta_log(at, name),
            FileKind::Insert | FileKind::Index | FileKind::Manifest => self.keys.insert_log(at, 0, name),
        }
    }
}

/// The partitions that are named one by one.
fn partitions<'p>(places: impl IntoIterator<Item = &'p FilePlace>) -> BTreeSet<PartitionId> {
    places.into_iter().map(|place| place.partition).filter(|partition| *partition != PartitionId::ALL).collect()
}

/// 200 unless every partition is live; it stays so until the transaction ends.
async fn require_partitions(tx: &mut Tx, collection: CollectionId, wanted: BTreeSet<PartitionId>) -> Result<()> {
    for partition in wanted {
        tx.optional(
            "SELECT partition_id FROM partitions WHERE partition_id = $1 AND collection_id = $2 \
             AND removed_ts = 9223372036854775807 /*FOR SHARE*/",
            args![partition.0, collection.0],
        )
        .await?
        .ok_or_else(|| partition_not_found(partition))?;
    }
    Ok(())
}

/// The growing segment of `owner` at each place, a fresh one where there is none.
async fn open_segments(
    tx: &mut Tx,
    collection: CollectionId,
    owner: &NodeId,
    created_ts: Timestamp,
    places: &[FilePlace],
) -> Result<BTreeMap<FilePlace, SegmentId>> {
    let mut growing = BTreeMap::new();
    for row in tx.all(GROWING, args![collection.0, owner.0.clone()]).await? {
        let level: String = row.try_get("level")?;
        let at = (PartitionId(row.try_get("partition_id")?), shard(&row)?, level);
        growing.entry(at).or_insert(SegmentId(row.try_get("segment_id")?));
    }
    let mut open = BTreeMap::new();
    let mut absent = BTreeSet::new();
    for place in places {
        match growing.get(&(place.partition, place.shard, level(place.kind)?.to_owned())) {
            Some(segment) => {
                open.insert(*place, *segment);
            }
            None => {
                absent.insert(*place);
            }
        }
    }
    if absent.is_empty() {
        return Ok(open);
    }
    let first_id = tx.allocate_ids(u32::try_from(absent.len()).unwrap_or(u32::MAX)).await?;
    let fresh: Vec<(i64, FilePlace)> = (first_id..).zip(absent).collect();
    let new: Vec<SegmentId> = fresh.iter().map(|(id, _)| SegmentId(*id)).collect();
    open.extend(fresh.iter().map(|(id, place)| (*place, SegmentId(*id))));
    tx.insert_many(
        "INSERT INTO segments (segment_id, collection_id, partition_id, shard, level, state, writer, rows_num, bytes, \
         created_ts)",
        10,
        fresh,
        |arguments, (id, place)| {
            add(arguments, id);
            add(arguments, collection.0);
            add(arguments, place.partition.0);
            add(arguments, i64::from(place.shard.0));
            add(arguments, level(place.kind).unwrap_or_default().to_owned());
            add(arguments, "growing".to_owned());
            add(arguments, owner.0.clone());
            add(arguments, 0);
            add(arguments, 0);
            add(arguments, created_ts.0);
        },
    )
    .await?;
    events::segments(tx, collection, new, SegmentMove::Opened).await?;
    Ok(open)
}

/// Deletes live apart from rows: they are read in another way.
fn level(kind: FileKind) -> Result<&'static str> {
    match kind {
        FileKind::Insert => Ok("l1"),
        FileKind::Delete => Ok("l0"),
        FileKind::Index | FileKind::Manifest => {
            Err(Failure::internal("only rows and deletes are written into a growing segment").into())
        }
    }
}

/// Intents → live. False when all were live before: this commit is a repeat.
async fn make_live(tx: &mut Tx, owner: &NodeId, files: &[WrittenFile]) -> Result<bool> {
    let mut repeats = 0;
    for file in files {
        let object = StoredObject { key: file.planned.key.clone(), size: file.size, checksum: file.checksum };
        if !file_sets::commit_file_set(tx, file.planned.file_set, owner, &[object]).await? {
            repeats += 1;
        }
    }
    match repeats {
        0 => Ok(true),
        n if n == files.len() => Ok(false),
        // One transaction made them live together or not at all.
        _ => Err(Failure::internal("a commit names files of several commits").into()),
    }
}

/// When files that are live already were committed.
async fn committed_ts(tx: &mut Tx, collection: CollectionId, files: &[WrittenFile]) -> Result<Timestamp> {
    let file_set = files.first().map(|file| file.planned.file_set.0);
    let row = tx
        .one(
            // The sign keeps SQLite from looking through the whole collection, in the order that is asked for.
            "SELECT base_ts FROM memberships WHERE file_set_id = $1 AND +collection_id = $2 ORDER BY added_ts LIMIT 1",
            args![file_set, collection.0],
        )
        .await?;
    Ok(Timestamp(row.try_get("base_ts")?))
}

/// Counts each file in its segment, or in a fresh one where that was sealed; the segments, in the order of the files.
async fn grow_segments(
    tx: &mut Tx,
    collection: CollectionId,
    owner: &NodeId,
    base_ts: Timestamp,
    files: &[WrittenFile],
) -> Result<Vec<SegmentId>> {
    let mut segments = Vec::with_capacity(files.len());
    for file in files {
        let mut segment = file.planned.segment;
        if !grow(tx, collection, owner, segment, file).await? {
            segment = open_segments(tx, collection, owner, base_ts, &[file.place]).await?[&file.place];
            if !grow(tx, collection, owner, segment, file).await? {
                return Err(MetaError::Fenced { what: "a segment" });
            }
        }
        segments.push(segment);
    }
    Ok(segments)
}

async fn grow(
    tx: &mut Tx,
    collection: CollectionId,
    owner: &NodeId,
    segment: SegmentId,
    file: &WrittenFile,
) -> Result<bool> {
    let FilePlace { partition, shard: Shard(shard), kind } = file.place;
    let grown = tx
        .optional(
            GROW,
            args![
                segment.0,
                bigint(file.rows),
                bigint(file.size),
                collection.0,
                partition.0,
                i64::from(shard),
                level(kind)?.to_owned(),
                owner.0.clone(),
                SEGMENT_ROWS_MAX,
                SEGMENT_BYTES_MAX
            ],
        )
        .await?;
    let Some(row) = grown else { return Ok(false) };
    if row.try_get::<&str, _>("state")? == "flushed" {
        events::segments(tx, collection, [segment], SegmentMove::Closed).await?;
    }
    Ok(true)
}

async fn add_members(
    tx: &mut Tx,
    collection: CollectionId,
    base_ts: Timestamp,
    requests: u32,
    files: &[WrittenFile],
    segments: &[SegmentId],
) -> Result<()> {
    let end = base_ts.0 + i64::from(requests.max(1));
    tx.insert_many(
        "INSERT INTO memberships (segment_id, file_set_id, collection_id, partition_id, shard, kind, base_ts, rows_num, \
         bytes, added_ts, removed_ts, deletes_before_ts)",
        12,
        files.iter().zip(segments),
        |arguments, (file, segment)| {
            add(arguments, segment.0);
            add(arguments, file.planned.file_set.0);
            add(arguments, collection.0);
            add(arguments, file.place.partition.0);
            add(arguments, i64::from(file.place.shard.0));
            add(arguments, crate::rows::kind_label(file.place.kind).to_owned());
            add(arguments, base_ts.0);
            add(arguments, bigint(file.rows));
            add(arguments, bigint(file.size));
            add(arguments, base_ts.0);
            add(arguments, Timestamp::NEVER.0);
            add(arguments, (file.place.kind == FileKind::Delete).then_some(end));
        },
    )
    .await
}

//! Metadata made from the snapshots in the bucket, when the metadata store is lost. Only into an empty store; a collection
//! is one transaction, and no coordinator starts before the last one ([`require_whole`]).
//!
//! RB-1  Into a store that has anything nothing is written.
//! RB-2  A rebuild that was interrupted is continued by repeating it: what is there is left as it is.
//! RB-3  No id is given again that any key of the bucket has.

use crate::Meta;
use crate::db::{Tx, add, args};
use crate::error::{MetaError, Result};
use crate::model::{FileKind, ManifestRecord, StoredObject, Totals};
use crate::rows::{bigint, kind_label, to_json};
use elanus_lifecycle::file_set::Event;
use elanus_lifecycle::{FileSet, Step};
use elanus_types::schema::{CollectionDefinition, IndexInfo};
use elanus_types::{CollectionId, Failure, FileSetId, NodeId, PartitionId, SegmentId, Shard, SnapshotId, Timestamp};
use sqlx::Row;
use std::collections::BTreeMap;

/// A fact and how long it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Lasting<T> {
    /// Since when.
    pub added: Timestamp,
    /// Until when; [`Timestamp::NEVER`]: it still holds.
    pub removed: Timestamp,
    /// What holds.
    pub fact: T,
}

/// A collection as its snapshots tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct RebuiltCollection {
    /// Its id.
    pub id: CollectionId,
    /// Name of its database, which is made where it is not there.
    pub database: String,
    /// Settings of that database, the same for all of its collections.
    pub database_properties: BTreeMap<String, String>,
    /// Other names, which nobody else has.
    pub aliases: Vec<String>,
    /// A name that nobody else has.
    pub name: String,
    /// When it was created.
    pub created_ts: Timestamp,
    /// Nothing that is known happened later.
    pub last_ts: Timestamp,
    /// Schema, shards, level and properties; partitions and indexes are apart.
    pub versions: Vec<Lasting<CollectionDefinition>>,
    /// By id.
    pub partitions: Vec<Lasting<(PartitionId, String)>>,
    /// By id.
    pub indexes: Vec<Lasting<IndexInfo>>,
    /// By id.
    pub segments: BTreeMap<SegmentId, RebuiltSegment>,
    /// File sets of its segments.
    pub members: Vec<Lasting<RebuiltMember>>,
    /// Oldest first.
    pub snapshots: Vec<RebuiltSnapshot>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuiltSegment {
    /// Its partition.
    pub partition: PartitionId,
    /// Its shard.
    pub shard: Shard,
    /// Deletes.
    pub is_l0: bool,
    /// Of present members.
    pub rows: u64,
    /// Of present members.
    pub bytes: u64,
    /// When its first member came.
    pub created_ts: Timestamp,
}

/// A file set in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuiltMember {
    /// Its segment.
    pub segment: SegmentId,
    /// Its id.
    pub file_set: FileSetId,
    /// What it holds.
    pub kind: FileKind,
    /// What the offsets in the file count from.
    pub base_ts: Timestamp,
    /// Rows, or deleted keys.
    pub rows: u64,
    /// In order.
    pub objects: Vec<StoredObject>,
}

/// A committed snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuiltSnapshot {
    /// Its id.
    pub id: SnapshotId,
    /// A name that no other snapshot of the collection has.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Its time.
    pub create_ts: Timestamp,
    /// The self-describing root.
    pub metadata: (FileSetId, StoredObject),
    /// In the order in which they are folded.
    pub manifests: Vec<ManifestRecord>,
    /// What it has.
    pub totals: Totals,
}

impl Meta {
    /// Begins a rebuild, or goes on with one that was interrupted (RB-2).
    ///
    /// # Errors
    /// When the store has anything (RB-1); when it is away.
    pub async fn begin_rebuild(&self) -> Result<()> {
        let mut tx = self.db.write().await?;
        let (now_ms, has_begun) = (tx.now_ms, begun(&mut tx).await?);
        if has_begun {
            return Ok(());
        }
        let row = tx
            .one(
                "SELECT (SELECT COUNT(*) FROM collections) + (SELECT COUNT(*) FROM file_sets) \
                 + (SELECT COUNT(*) FROM snapshots) + (SELECT COUNT(*) FROM restore_jobs) AS things",
                args![],
            )
            .await?;
        if row.try_get::<i64, _>("things")? > 0 {
            let text = "the metadata store is not empty: a rebuild is only for one that is; give the URL of a new one";
            return Err(Failure::invalid(text).into());
        }
        tx.execute("INSERT INTO rebuild (only_row, started_ms) VALUES (1, $1)", args![now_ms]).await?;
        tx.commit().await
    }

    /// Writes a collection with everything that its snapshots have; false when it is there already (RB-2).
    ///
    /// # Errors
    /// When no rebuild has begun; when the plan contradicts itself or what is there: then nothing of it is written.
    pub async fn rebuild_collection(&self, plan: &RebuiltCollection) -> Result<bool> {
        let mut tx = self.db.write().await?;
        if !begun(&mut tx).await? {
            return Err(MetaError::Fenced { what: "the rebuild" });
        }
        let there = "SELECT 1 AS there FROM collections WHERE collection_id = $1";
        if tx.optional(there, args![plan.id.0]).await?.is_some() {
            return Ok(false);
        }
        write_definition(&mut tx, plan).await?;
        write_members(&mut tx, plan).await?;
        write_snapshots(&mut tx, plan).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Ends a rebuild: references are counted, ids begin above `greatest_id` (RB-3), coordinators may start.
    ///
    /// # Errors
    /// When no rebuild has begun; when the store is away.
    pub async fn end_rebuild(&self, greatest_id: i64) -> Result<()> {
        let mut tx = self.db.write().await?;
        let now_ms = tx.now_ms;
        tx.execute(
            "UPDATE file_sets SET refs = \
             (SELECT COUNT(*) FROM memberships m WHERE m.file_set_id = file_sets.file_set_id) + \
             (SELECT COUNT(*) FROM snapshot_file_sets n WHERE n.file_set_id = file_sets.file_set_id)",
            args![],
        )
        .await?;
        tx.execute(
            "UPDATE id_counter SET next_id = CASE WHEN next_id > $1 THEN next_id ELSE $1 END WHERE only_row = 1",
            args![greatest_id.saturating_add(1)],
        )
        .await?;
        tx.execute_exactly(
            1,
            "the rebuild",
            "UPDATE rebuild SET ended_ms = $1 WHERE only_row = 1 AND ended_ms IS NULL",
            args![now_ms],
        )
        .await?;
        tx.commit().await
    }
}

async fn begun(tx: &mut Tx) -> Result<bool> {
    Ok(tx.optional("SELECT 1 AS begun FROM rebuild WHERE ended_ms IS NULL", args![]).await?.is_some())
}

/// For who wants to coordinate: half of the metadata is worse than none.
pub(crate) async fn require_whole(tx: &mut Tx) -> Result<()> {
    if begun(tx).await? {
        let text = "the metadata are being rebuilt and not whole: repeat elanus ctl rebuild until it ends";
        return Err(Failure::invalid(text).into());
    }
    Ok(())
}

async fn write_definition(tx: &mut Tx, plan: &RebuiltCollection) -> Result<()> {
    let database = database(tx, &plan.database, &plan.database_properties).await?;
    let changed = plan.versions.last().map_or(plan.created_ts, |version| version.added);
    tx.execute(
        "INSERT INTO collections (collection_id, database_id, name, state, last_ts, created_ts, updated_ts, forgotten_ts) \
         VALUES ($1, $2, $3, 'live', $4, $5, $6, $4)",
        args![plan.id.0, database, plan.name.clone(), plan.last_ts.0, plan.created_ts.0, changed.0],
    )
    .await?;
    let now_ms = tx.now_ms;
    tx.insert_many(
        "INSERT INTO aliases (database_id, name, collection_id, created_ms)",
        4,
        &plan.aliases,
        |arguments, alias| {
            add(arguments, database);
            add(arguments, alias.clone());
            add(arguments, plan.id.0);
            add(arguments, now_ms);
        },
    )
    .await?;
    tx.insert_many(
        "INSERT INTO collection_versions (collection_id, added_ts, removed_ts, schema_json, shards_num, \
         consistency_level, properties_json, ages_from_ts, expired_before_ts)",
        9,
        &plan.versions,
        |arguments, version| {
            add(arguments, plan.id.0);
            add_life(arguments, version);
            add(arguments, to_json(&version.fact.schema));
            add(arguments, i64::from(version.fact.shards_num));
            add(arguments, i64::from(version.fact.consistency_level.number()));
            add(arguments, to_json(&version.fact.properties));
            add(arguments, version.fact.aging.from_ts.0);
            add(arguments, version.fact.aging.expired_before_ts.0);
        },
    )
    .await?;
    tx.insert_many(
        "INSERT INTO partitions (partition_id, collection_id, name, added_ts, removed_ts)",
        5,
        &plan.partitions,
        |arguments, partition| {
            add(arguments, partition.fact.0.0);
            add(arguments, plan.id.0);
            add(arguments, partition.fact.1.clone());
            add_life(arguments, partition);
        },
    )
    .await?;
    tx.insert_many(
        "INSERT INTO indexes (index_id, collection_id, field_id, name, params_json, added_ts, removed_ts)",
        7,
        &plan.indexes,
        |arguments, index| {
            add(arguments, index.fact.id.0);
            add(arguments, plan.id.0);
            add(arguments, index.fact.field_id.0);
            add(arguments, index.fact.name.clone());
            add(arguments, to_json(&index.fact.params));
            add_life(arguments, index);
        },
    )
    .await
}

fn add_life<T>(arguments: &mut sqlx::any::AnyArguments, lasting: &Lasting<T>) {
    add(arguments, lasting.added.0);
    add(arguments, lasting.removed.0);
}

/// The id of a database, which is made where it is not there, with its settings.
async fn database(tx: &mut Tx, name: &str, properties: &BTreeMap<String, String>) -> Result<i64> {
    let find = "SELECT database_id FROM databases WHERE name = $1";
    let id = match tx.optional(find, args![name.to_owned()]).await? {
        Some(row) => row.try_get("database_id")?,
        None => {
            let (id, now_ms) = (tx.allocate_ids(1).await?, tx.now_ms);
            tx.execute(
                "INSERT INTO databases (database_id, name, created_ms) VALUES ($1, $2, $3)",
                args![id, name.to_owned(), now_ms],
            )
            .await?;
            id
        }
    };
    let sql = "UPDATE databases SET properties_json = $2 WHERE database_id = $1";
    tx.execute(sql, args![id, to_json(properties)]).await?;
    Ok(id)
}

async fn write_members(tx: &mut Tx, plan: &RebuiltCollection) -> Result<()> {
    tx.insert_many(
        "INSERT INTO segments (segment_id, collection_id, partition_id, shard, level, state, rows_num, bytes, created_ts)",
        9,
        &plan.segments,
        |arguments, (id, segment)| {
            add(arguments, id.0);
            add(arguments, plan.id.0);
            add(arguments, segment.partition.0);
            add(arguments, i64::from(segment.shard.0));
            add(arguments, if segment.is_l0 { "l0" } else { "l1" }.to_owned());
            add(arguments, "flushed".to_owned());
            add(arguments, bigint(segment.rows));
            add(arguments, bigint(segment.bytes));
            add(arguments, segment.created_ts.0);
        },
    )
    .await?;
    // A rollback may have brought a file set into two segments.
    let sets: BTreeMap<FileSetId, (FileKind, &[StoredObject])> = plan
        .members
        .iter()
        .map(|member| (member.fact.file_set, (member.fact.kind, member.fact.objects.as_slice())))
        .collect();
    write_file_sets(tx, plan.id, &sets).await?;
    let places = plan.members.iter().map(|member| (member, &plan.segments[&member.fact.segment]));
    tx.insert_many(
        "INSERT INTO memberships (segment_id, file_set_id, collection_id, partition_id, shard, kind, base_ts, rows_num, \
         bytes, added_ts, removed_ts)",
        11,
        places,
        |arguments, (member, segment)| {
            add(arguments, member.fact.segment.0);
            add(arguments, member.fact.file_set.0);
            add(arguments, plan.id.0);
            add(arguments, segment.partition.0);
            add(arguments, i64::from(segment.shard.0));
            add(arguments, kind_label(member.fact.kind).to_owned());
            add(arguments, member.fact.base_ts.0);
            add(arguments, bigint(member.fact.rows));
            add(arguments, bigint(member.fact.objects.iter().map(|object| object.size).sum()));
            add_life(arguments, member);
        },
    )
    .await
}

/// File sets with their objects, live with a reference, which [`Meta::end_rebuild`] counts. What a clone shares is there
/// already, and must be the same.
async fn write_file_sets(
    tx: &mut Tx,
    collection: CollectionId,
    sets: &BTreeMap<FileSetId, (FileKind, &[StoredObject])>,
) -> Result<()> {
    let live = live()?;
    let now_ms = tx.now_ms;
    tx.upsert_many(
        "INSERT INTO file_sets (file_set_id, kind, state, refs, claimed_ever, ever_live, created_ms, \
         collection_id)",
        " ON CONFLICT (file_set_id) DO NOTHING",
        8,
        sets,
        |arguments, (id, (kind, _))| {
            add(arguments, id.0);
            add(arguments, kind_label(*kind).to_owned());
            add(arguments, live.state.clone());
            add(arguments, live.refs);
            add(arguments, i64::from(live.claimed_ever));
            add(arguments, i64::from(live.ever_live));
            add(arguments, now_ms);
            add(arguments, collection.0);
        },
    )
    .await?;
    let objects = sets
        .iter()
        .flat_map(|(id, (_, objects))| (0i64..).zip(*objects).map(move |(ordinal, object)| (*id, ordinal, object)));
    // A key names its file set (see the plan), so what is there is of the same one.
    tx.upsert_many(
        "INSERT INTO objects (object_key, file_set_id, ordinal, size_bytes, checksum)",
        " ON CONFLICT (object_key) DO NOTHING",
        5,
        objects,
        |arguments, (id, ordinal, object)| {
            add(arguments, object.key.to_string());
            add(arguments, id.0);
            add(arguments, ordinal);
            add(arguments, bigint(object.size));
            add(arguments, object.checksum.to_string());
        },
    )
    .await
}

/// What a file set is after the commit of its writer.
fn live() -> Result<elanus_lifecycle::file_set::Columns> {
    let by = NodeId(String::new());
    match FileSet::intent(by.clone(), 0).step(&Event::Commit { by }) {
        Step::Move(live, _) => Ok(live.columns()),
        other => Err(MetaError::Corrupt(format!("an intent answers {other:?} to a commit"))),
    }
}

async fn write_snapshots(tx: &mut Tx, plan: &RebuiltCollection) -> Result<()> {
    tx.insert_many(
        "INSERT INTO snapshots (snapshot_id, collection_id, name, description, create_ts, state, metadata_key, checksum, \
         compaction_protected_until_ms, rows_num, files_num, bytes, segments_num)",
        13,
        &plan.snapshots,
        |arguments, snapshot| {
            add(arguments, snapshot.id.0);
            add(arguments, plan.id.0);
            add(arguments, snapshot.name.clone());
            add(arguments, snapshot.description.clone());
            add(arguments, snapshot.create_ts.0);
            add(arguments, "committed".to_owned());
            add(arguments, snapshot.metadata.1.key.to_string());
            add(arguments, snapshot.metadata.1.checksum.to_string());
            add(arguments, 0i64);
            add(arguments, bigint(snapshot.totals.rows));
            add(arguments, bigint(snapshot.totals.files));
            add(arguments, bigint(snapshot.totals.bytes));
            add(arguments, bigint(snapshot.totals.segments));
        },
    )
    .await?;
    let mut sets: BTreeMap<FileSetId, (FileKind, &[StoredObject])> = BTreeMap::new();
    for snapshot in &plan.snapshots {
        let manifests = snapshot.manifests.iter().map(|manifest| (manifest.file_set, &manifest.object));
        for (id, object) in manifests.chain([(snapshot.metadata.0, &snapshot.metadata.1)]) {
            sets.insert(id, (FileKind::Manifest, std::slice::from_ref(object)));
        }
    }
    write_file_sets(tx, plan.id, &sets).await?;
    let named = plan.snapshots.iter().flat_map(|snapshot| {
        let manifests = (0i64..).zip(&snapshot.manifests);
        let manifests = manifests.map(|(ordinal, manifest)| (manifest.file_set, Some((ordinal, manifest))));
        manifests.chain([(snapshot.metadata.0, None)]).map(|(id, manifest)| (snapshot.id, id, manifest))
    });
    tx.insert_many(
        "INSERT INTO snapshot_file_sets (snapshot_id, file_set_id, ordinal, entries_added, entries_removed, files_num, \
         rows_num, bytes)",
        8,
        named,
        |arguments, (snapshot, id, manifest)| {
            add(arguments, snapshot.0);
            add(arguments, id.0);
            add(arguments, manifest.map(|(ordinal, _)| ordinal));
            let counts: [fn(&ManifestRecord) -> u64; 5] =
                [|m| m.entries_added, |m| m.entries_removed, |m| m.files, |m| m.rows, |m| m.bytes];
            for count in counts {
                add(arguments, manifest.map(|(_, manifest)| bigint(count(manifest))));
            }
        },
    )
    .await
}

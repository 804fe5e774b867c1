//! Creating, changing and dropping collections, partitions and index definitions.
//!
//! Every change of a collection moves its clock, so that a snapshot is before or after it and never in between. Names are
//! checked by the callers; that a name is free is checked here, under the unique indexes of the schema.

use crate::clock::{lock_if_live, lock_live};
use crate::db::{Tx, add, args, name_was_taken};
use crate::definitions::{
    INDEXES_NOW, NameHolder, database_id, index_info, name_conflict, name_holder, partition_record, record,
};
use crate::error::Result;
use crate::events::{self, SegmentMove};
use crate::model::{CollectionRecord, NewCollection, PartitionRecord};
use crate::partition_drops::left_behind;
use crate::rows::{collection_not_found, partition_not_found, to_json};
use crate::{Coordinator, aliases, databases, index_builds, partition_drops};
use elanus_types::schema::{CollectionDefinition, DEFAULT_PARTITION, IndexInfo, PartitionInfo};
use elanus_types::{CollectionId, Failure, FieldId, IndexId, PartitionId, SegmentId, Timestamp};
use sqlx::Row;
use std::collections::BTreeMap;

const PARTITION_BY_NAME: &str = "
SELECT partition_id, name, added_ts, loaded FROM partitions
WHERE collection_id = $1 AND name = $2 AND removed_ts = 9223372036854775807";

/// A partition that is created in a collection that is loaded as a whole is loaded too, as in Milvus.
const INSERT_PARTITION: &str = "
INSERT INTO partitions (partition_id, collection_id, name, added_ts, removed_ts, loaded)
SELECT $1, $2, $3, $4, 9223372036854775807, COALESCE(MIN(loaded), 0)
FROM partitions WHERE collection_id = $2 AND removed_ts = 9223372036854775807";

/// A collection is loaded while one of its partitions is.
pub(crate) const COUNT_LOADED: &str = "
UPDATE collections SET loaded = (
  SELECT COALESCE(MAX(p.loaded), 0) FROM partitions p
  WHERE p.collection_id = $1 AND p.removed_ts = 9223372036854775807)
WHERE collection_id = $1";

impl Coordinator {
    /// Creates a collection with the partition `_default`. One with the same name and definition is given back.
    ///
    /// # Errors
    /// 800 for an unknown database; 1100 when the name is taken by another definition or by a restore, 1601 by an alias;
    /// 102 when the database has as many as it may have; fenced.
    pub async fn create_collection(&self, new: NewCollection) -> Result<CollectionRecord> {
        loop {
            match self.create_collection_once(new.clone()).await {
                Err(error) if name_was_taken(&error) => {}
                result => return result,
            }
        }
    }

    async fn create_collection_once(&self, new: NewCollection) -> Result<CollectionRecord> {
        let mut tx = self.write().await?;
        let database = database_id(&mut tx, &new.database).await?;
        if let Some(holder) = name_holder(&mut tx, database, &new.name).await? {
            let existing = match holder {
                NameHolder::Collection(id) => record(&mut tx, id).await?,
                NameHolder::Restore => None,
                NameHolder::Alias(_) => {
                    let taken = format!(
                        "collection name [{}] conflicts with an existing alias, please choose a unique name",
                        new.name
                    );
                    return Err(name_conflict(&new.database, &new.name).context(taken).into());
                }
            };
            return existing.filter(|existing| same_definition(&existing.definition, &new.definition)).ok_or_else(
                || {
                    Failure::invalid(format!(
                        "create duplicate collection with different parameters, collection: {}",
                        new.name
                    ))
                    .into()
                },
            );
        }
        databases::require_room(&mut tx, database).await?;
        let default = PartitionInfo { id: PartitionId(0), name: DEFAULT_PARTITION.to_owned() };
        let partitions = match new.definition.partitions.as_slice() {
            [] => std::slice::from_ref(&default),
            named => named,
        };
        let id = CollectionId(tx.allocate_ids(1 + u32::try_from(partitions.len()).unwrap_or(u32::MAX)).await?);
        let ts = Timestamp::ZERO.tick(tx.now_ms);
        tx.execute(
            "INSERT INTO collections (collection_id, database_id, name, state, last_ts, created_ts, updated_ts) \
             VALUES ($1, $2, $3, 'live', $4, $4, $4)",
            args![id.0, database.0, new.name.clone(), ts.0],
        )
        .await?;
        insert_version(&mut tx, id, ts, &new.definition).await?;
        insert_partitions(&mut tx, id, ts, partitions).await?;
        lock_live(&mut tx, id).await?.announce(&mut tx).await?;
        let created = record(&mut tx, id).await?.ok_or_else(|| collection_not_found(id))?;
        tx.commit().await?;
        Ok(created)
    }

    /// Drops a collection: one row, however large it is. One that is unknown or dropped already is passed over.
    ///
    /// # Errors
    /// 65535 while it has aliases; fenced; when the store is away.
    pub async fn drop_collection(&self, id: CollectionId) -> Result<()> {
        self.end_collection(id, None).await
    }

    /// As [`Coordinator::drop_collection`], but until a time the collection can be brought back from the trash.
    ///
    /// # Errors
    /// Fenced; when the store is away.
    pub async fn trash_collection(&self, id: CollectionId, until_ms: i64) -> Result<()> {
        self.end_collection(id, Some(until_ms)).await
    }

    async fn end_collection(&self, id: CollectionId, trash_until_ms: Option<i64>) -> Result<()> {
        let mut tx = self.write().await?;
        let Some(mut clock) = lock_if_live(&mut tx, id).await? else {
            return Ok(());
        };
        aliases::require_none(&mut tx, id, ("drop", "dropping")).await?;
        let ts = clock.tick(&mut tx).await?;
        tx.execute_exactly(
            1,
            "the collection",
            "UPDATE collections SET state = 'dropped', dropped_ts = $2, trash_until_ms = $3, loaded = 0 \
             WHERE collection_id = $1 AND state = 'live'",
            args![id.0, ts.0, trash_until_ms],
        )
        .await?;
        clock.announce(&mut tx).await?;
        tx.commit().await
    }

    /// Creates a partition; one with the same name is given back.
    ///
    /// # Errors
    /// 100; fenced.
    pub async fn create_partition(&self, collection: CollectionId, name: &str) -> Result<PartitionRecord> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, collection).await?;
        if let Some(row) = tx.optional(PARTITION_BY_NAME, args![collection.0, name.to_owned()]).await? {
            return partition_record(&row);
        }
        let id = tx.allocate_ids(1).await?;
        let ts = clock.tick(&mut tx).await?;
        tx.execute(INSERT_PARTITION, args![id, collection.0, name.to_owned(), ts.0]).await?;
        let row = tx.one(PARTITION_BY_NAME, args![collection.0, name.to_owned()]).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await?;
        partition_record(&row)
    }

    /// Drops a partition, however large it is: its rows are gone with this transaction, and a partition of its name may be
    /// created after it. The memberships of its files are ended and released by [`Coordinator::release_partition`].
    ///
    /// # Errors
    /// 100; 200 for an unknown partition; 1100 for `_default`; fenced.
    pub async fn drop_partition(&self, collection: CollectionId, name: &str) -> Result<()> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, collection).await?;
        if name == DEFAULT_PARTITION {
            return Err(Failure::invalid("default partition cannot be deleted").into());
        }
        let row = tx
            .optional(PARTITION_BY_NAME, args![collection.0, name.to_owned()])
            .await?
            .ok_or_else(|| partition_not_found(name))?;
        let id: i64 = row.try_get("partition_id")?;
        let ts = clock.tick(&mut tx).await?;
        tx.execute(
            "UPDATE partitions SET removed_ts = $3, loaded = 0 \
             WHERE collection_id = $1 AND partition_id = $2 AND removed_ts = 9223372036854775807",
            args![collection.0, id, ts.0],
        )
        .await?;
        partition_drops::note(&mut tx, collection, PartitionId(id), ts).await?;
        tx.execute(COUNT_LOADED, args![collection.0]).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await
    }

    /// Defines an index. The same definition again is given back.
    ///
    /// # Errors
    /// 100; 1100 when the field has another index or the name is another field's; fenced.
    pub async fn create_index(
        &self,
        collection: CollectionId,
        field: FieldId,
        name: &str,
        params: BTreeMap<String, String>,
    ) -> Result<IndexInfo> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, collection).await?;
        for row in tx.all(INDEXES_NOW, args![collection.0]).await? {
            let existing = index_info(&row)?;
            if existing.field_id == field && existing.name == name && existing.params == params {
                return Ok(existing);
            }
            // A JSON field may have an index a path.
            let same_place = existing.field_id == field && existing.params.get("json_path") == params.get("json_path");
            if same_place || existing.name == name {
                return Err(Failure::invalid("at most one distinct index is allowed per field").into());
            }
        }
        let index =
            IndexInfo { id: IndexId(tx.allocate_ids(1).await?), name: name.to_owned(), field_id: field, params };
        let ts = clock.tick(&mut tx).await?;
        insert_indexes(&mut tx, collection, ts, std::slice::from_ref(&index)).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await?;
        Ok(index)
    }

    /// Ends an index definition; an unknown one is passed over.
    ///
    /// # Errors
    /// 100; fenced.
    pub async fn drop_index(&self, collection: CollectionId, name: &str) -> Result<()> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, collection).await?;
        let ts = clock.tick(&mut tx).await?;
        let ended = tx
            .all(
                "UPDATE indexes SET removed_ts = $3 \
                 WHERE collection_id = $1 AND name = $2 AND removed_ts = 9223372036854775807 RETURNING field_id",
                args![collection.0, name.to_owned(), ts.0],
            )
            .await?;
        if ended.is_empty() {
            return Ok(());
        }
        let not_before_ms = self.not_before_ms(&tx);
        for row in &ended {
            index_builds::end_of_field(&mut tx, collection, FieldId(row.try_get("field_id")?), ts, not_before_ms)
                .await?;
        }
        clock.announce(&mut tx).await?;
        tx.commit().await
    }

    /// Lets clients read a collection, or ends that; of some partitions, or with an empty list of all. A collection is
    /// loaded while one of its partitions is.
    ///
    /// # Errors
    /// 100; 200 for an unknown partition; fenced.
    pub async fn set_loaded(&self, collection: CollectionId, partitions: &[PartitionId], loaded: bool) -> Result<()> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, collection).await?;
        if partitions.is_empty() {
            tx.execute(
                "UPDATE partitions SET loaded = $2 WHERE collection_id = $1 AND removed_ts = 9223372036854775807",
                args![collection.0, i64::from(loaded)],
            )
            .await?;
        }
        for partition in partitions {
            let changed = tx
                .execute(
                    "UPDATE partitions SET loaded = $3 \
                     WHERE collection_id = $1 AND partition_id = $2 AND removed_ts = 9223372036854775807",
                    args![collection.0, partition.0, i64::from(loaded)],
                )
                .await?;
            if changed != 1 {
                return Err(partition_not_found(partition));
            }
        }
        tx.execute(COUNT_LOADED, args![collection.0]).await?;
        clock.tick(&mut tx).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await
    }

    /// Seals the growing segments that hold something: later writes go to fresh ones. Returns them with the timestamp of
    /// the seal; every write that was acknowledged before is older.
    ///
    /// # Errors
    /// 100; fenced.
    pub async fn seal_segments(&self, collection: CollectionId) -> Result<(Vec<SegmentId>, Timestamp)> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, collection).await?;
        let ts = clock.tick(&mut tx).await?;
        let sealed = tx
            .all(
                concat!(
                    "UPDATE segments SET state = 'flushed', writer = NULL \
                     WHERE collection_id = $1 AND state = 'growing' AND rows_num > 0 AND partition_id NOT IN ",
                    left_behind!("$1"),
                    " RETURNING segment_id"
                ),
                args![collection.0],
            )
            .await?;
        let mut segments =
            sealed.iter().map(|row| Ok(SegmentId(row.try_get("segment_id")?))).collect::<Result<Vec<_>>>()?;
        segments.sort_unstable();
        events::segments(&mut tx, collection, segments.iter().copied(), SegmentMove::Closed).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await?;
        Ok((segments, ts))
    }

    /// Seals the growing segments of every collection that were opened before a time: also those of writers that are
    /// gone. A writer that still appends to one opens a fresh one. Returns how many.
    ///
    /// # Errors
    /// Fenced.
    pub async fn seal_idle_segments(&self, opened_before: Timestamp) -> Result<u64> {
        let mut tx = self.write().await?;
        let sealed = tx
            .all(
                "UPDATE segments SET state = 'flushed', writer = NULL WHERE state = 'growing' AND created_ts < $1 \
                 RETURNING segment_id, collection_id",
                args![opened_before.0],
            )
            .await?;
        let mut of: BTreeMap<CollectionId, Vec<SegmentId>> = BTreeMap::new();
        for row in &sealed {
            let collection = CollectionId(row.try_get("collection_id")?);
            of.entry(collection).or_default().push(SegmentId(row.try_get("segment_id")?));
        }
        for (collection, segments) in of {
            events::segments(&mut tx, collection, segments, SegmentMove::Closed).await?;
        }
        tx.commit().await?;
        Ok(sealed.len() as u64)
    }
}

/// Starts a version that holds until it is ended.
pub(crate) async fn insert_version(
    tx: &mut Tx,
    collection: CollectionId,
    ts: Timestamp,
    definition: &CollectionDefinition,
) -> Result<()> {
    tx.execute(
        "INSERT INTO collection_versions (collection_id, added_ts, removed_ts, schema_json, shards_num, \
         consistency_level, properties_json, ages_from_ts, expired_before_ts) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        args![
            collection.0,
            ts.0,
            Timestamp::NEVER.0,
            to_json(&definition.schema),
            i64::from(definition.shards_num),
            i64::from(definition.consistency_level.number()),
            to_json(&definition.properties),
            definition.aging.from_ts.0,
            definition.aging.expired_before_ts.0
        ],
    )
    .await?;
    Ok(())
}

/// The partitions that a collection has from its beginning; their ids follow the collection's.
async fn insert_partitions(tx: &mut Tx, id: CollectionId, ts: Timestamp, partitions: &[PartitionInfo]) -> Result<()> {
    tx.insert_many(
        "INSERT INTO partitions (partition_id, collection_id, name, added_ts, removed_ts)",
        5,
        (id.0 + 1..).zip(partitions),
        |arguments, (partition, info)| {
            add(arguments, partition);
            add(arguments, id.0);
            add(arguments, info.name.clone());
            add(arguments, ts.0);
            add(arguments, Timestamp::NEVER.0);
        },
    )
    .await
}

/// Starts index definitions that hold until they are ended.
pub(crate) async fn insert_indexes(
    tx: &mut Tx,
    collection: CollectionId,
    ts: Timestamp,
    indexes: &[IndexInfo],
) -> Result<()> {
    tx.insert_many(
        "INSERT INTO indexes (index_id, collection_id, field_id, name, params_json, added_ts, removed_ts)",
        7,
        indexes,
        |arguments, index| {
            add(arguments, index.id.0);
            add(arguments, collection.0);
            add(arguments, index.field_id.0);
            add(arguments, index.name.clone());
            add(arguments, to_json(&index.params));
            add(arguments, ts.0);
            add(arguments, Timestamp::NEVER.0);
        },
    )
    .await
}

/// Whether a create asks for what there is. Indexes come later and are no part of it, and so are partitions, but those of
/// a partition key.
fn same_definition(existing: &CollectionDefinition, new: &CollectionDefinition) -> bool {
    existing.schema == new.schema
        && existing.shards_num == new.shards_num
        && existing.consistency_level == new.consistency_level
        && existing.properties == new.properties
        && (new.partitions.is_empty() || existing.partitions.len() == new.partitions.len())
}

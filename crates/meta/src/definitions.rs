//! What collections there are and how they are defined, now or at a time. Never writes.

use crate::Meta;
use crate::db::{Tx, args};
use crate::error::{MetaError, Result};
use crate::model::{CollectionKey, CollectionRecord, PartitionRecord, Statistics};
use crate::partition_drops::left_behind;
use crate::reads::{PARTITIONS_AT, version_at};
use crate::rows::{aging, count, from_json};
use elanus_types::schema::{CollectionDefinition, CollectionSchema, ConsistencyLevel, IndexInfo, PartitionInfo};
use elanus_types::{Code, CollectionId, DatabaseId, Failure, FieldId, IndexId, PartitionId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::HashMap;

/// Live collections with their present versions; the tail starts with a condition on `c` or `d`.
macro_rules! select_collections {
    ($tail:literal) => {
        concat!(
            "SELECT c.collection_id, c.database_id, d.name AS database_name, c.name, c.created_ts, c.updated_ts, \
                    c.last_ts, c.loaded, v.schema_json, v.shards_num, v.consistency_level, v.properties_json, v.ages_from_ts, v.expired_before_ts, \
                    (SELECT STRING_AGG(a.name, ',') FROM aliases a WHERE a.collection_id = c.collection_id) AS aliases \
             FROM collections c JOIN databases d ON d.database_id = c.database_id \
             JOIN collection_versions v ON v.collection_id = c.collection_id AND v.removed_ts = 9223372036854775807 \
             WHERE c.state = 'live' AND ",
            $tail
        )
    };
}

/// Ids rise with time, and a restore gives them in the order of its source: order of id is order of creation.
macro_rules! select_partitions {
    ($tail:literal) => {
        concat!(
            "SELECT p.collection_id, p.partition_id, p.name, p.added_ts, p.loaded FROM partitions p \
             JOIN collections c ON c.collection_id = p.collection_id \
             WHERE p.removed_ts = 9223372036854775807 AND ",
            $tail,
            " ORDER BY p.partition_id"
        )
    };
}

macro_rules! select_indexes {
    ($tail:literal) => {
        concat!(
            "SELECT i.collection_id, i.index_id, i.field_id, i.name, i.params_json FROM indexes i \
             JOIN collections c ON c.collection_id = i.collection_id \
             WHERE i.removed_ts = 9223372036854775807 AND ",
            $tail,
            " ORDER BY i.index_id"
        )
    };
}

/// Present index definitions of a collection.
pub(crate) const INDEXES_NOW: &str = select_indexes!("i.collection_id = $1");

/// What a name stands for: no row where there is no such database, NULL where there is no such collection or alias.
const RESOLVE: &str = "
SELECT COALESCE(
  (SELECT c.collection_id FROM collections c
   WHERE c.database_id = d.database_id AND c.name = $2 AND c.state <> 'dropped' AND c.state = 'live'),
  (SELECT a.collection_id FROM aliases a WHERE a.database_id = d.database_id AND a.name = $2)) AS collection_id
FROM databases d WHERE d.name = $1 AND d.dropped_ms IS NULL";

const NAME_HOLDER: &str = "
SELECT collection_id, state FROM collections WHERE database_id = $1 AND name = $2 AND state <> 'dropped'
UNION ALL SELECT collection_id, 'alias' FROM aliases WHERE database_id = $1 AND name = $2";

const INDEXES_AT: &str = "
SELECT index_id, field_id, name, params_json FROM indexes
WHERE collection_id = $1 AND added_ts <= $2 AND $2 < removed_ts
ORDER BY index_id";

/// Present members by partition: a segment is of one partition, so that its segments are counted once.
const STATISTICS: &str = concat!(
    "
SELECT partition_id,
  CAST(SUM(CASE WHEN kind = 'insert' THEN rows_num ELSE 0 END) AS BIGINT) AS inserted_num,
  CAST(SUM(CASE WHEN kind = 'delete' THEN rows_num ELSE 0 END) AS BIGINT) AS deletes_num,
  COUNT(*) AS files_num,
  CAST(SUM(bytes) AS BIGINT) AS bytes_num,
  COUNT(DISTINCT segment_id) AS segments_num
FROM memberships
WHERE collection_id = $1 AND removed_ts = 9223372036854775807 AND partition_id NOT IN ",
    left_behind!("$1"),
    " GROUP BY partition_id"
);

impl Meta {
    /// A live collection, by id, name or alias.
    ///
    /// # Errors
    /// 800 for an unknown database; when the store is away.
    pub async fn collection(&self, key: &CollectionKey) -> Result<Option<CollectionRecord>> {
        let mut tx = self.db.read().await?;
        let id = match key {
            CollectionKey::Id(id) => *id,
            CollectionKey::Name { database, name } => {
                let row = tx
                    .optional(RESOLVE, args![database.clone(), name.clone()])
                    .await?
                    .ok_or_else(|| database_not_found(database))?;
                match row.try_get::<Option<i64>, _>("collection_id")? {
                    Some(id) => CollectionId(id),
                    None => return Ok(None),
                }
            }
        };
        record(&mut tx, id).await
    }

    /// The live collections of a database, by name.
    ///
    /// # Errors
    /// 800 for an unknown database; when the store is away.
    pub async fn collections(&self, database: &str) -> Result<Vec<CollectionRecord>> {
        let mut tx = self.db.read().await?;
        let database = database_id(&mut tx, database).await?.0;
        let collections = tx.all(select_collections!("c.database_id = $1 ORDER BY c.name"), args![database]).await?;
        let partitions = tx.all(select_partitions!("c.database_id = $1 AND c.state = 'live'"), args![database]).await?;
        let indexes = tx.all(select_indexes!("c.database_id = $1 AND c.state = 'live'"), args![database]).await?;
        drop(tx);
        records(&collections, &partitions, &indexes)
    }

    /// Everything that defined a collection at a time, also when it was dropped later.
    ///
    /// # Errors
    /// 100 when the collection was not there then; when the store is away.
    pub async fn definition_at(&self, collection: CollectionId, at: Timestamp) -> Result<CollectionDefinition> {
        let mut tx = self.db.read().await?;
        let version = version_at(&mut tx, collection, Some(at)).await?;
        let partitions = tx.all(PARTITIONS_AT, args![collection.0, version.ts.0]).await?;
        let indexes = tx.all(INDEXES_AT, args![collection.0, version.ts.0]).await?;
        drop(tx);
        definition(
            &version.row,
            partitions.iter().map(partition_info).collect::<Result<_>>()?,
            indexes.iter().map(index_info).collect::<Result<_>>()?,
        )
    }

    /// Sums over the present files of a live collection; of some partitions, or with an empty list of all. Deletes of
    /// every partition count in any case.
    ///
    /// # Errors
    /// 100 when the collection is not live; when the store is away.
    pub async fn statistics(&self, collection: CollectionId, partitions: &[PartitionId]) -> Result<Statistics> {
        let mut tx = self.db.read().await?;
        version_at(&mut tx, collection, None).await?;
        let rows = tx.all(STATISTICS, args![collection.0]).await?;
        drop(tx);
        let mut sums = Statistics::default();
        for row in &rows {
            let partition = PartitionId(row.try_get("partition_id")?);
            if !partitions.is_empty() && partition != PartitionId::ALL && !partitions.contains(&partition) {
                continue;
            }
            sums.rows += count(row, "inserted_num")?;
            sums.delete_records += count(row, "deletes_num")?;
            sums.files += count(row, "files_num")?;
            sums.bytes += count(row, "bytes_num")?;
            sums.segments += count(row, "segments_num")?;
        }
        Ok(sums)
    }
}

/// Id of a database; 800 when it is unknown.
pub(crate) async fn database_id(tx: &mut Tx, name: &str) -> Result<DatabaseId> {
    let row = tx
        .optional(
            "SELECT database_id FROM databases WHERE name = $1 AND dropped_ms IS NULL /*FOR SHARE*/",
            args![name.to_owned()],
        )
        .await?
        .ok_or_else(|| database_not_found(name))?;
    Ok(DatabaseId(row.try_get("database_id")?))
}

/// 800.
pub(crate) fn database_not_found(name: &str) -> MetaError {
    Failure::new(Code::DatabaseNotFound, format!("database not found[database={name}]")).into()
}

/// What holds a name in a database. A name is that of one collection or alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameHolder {
    /// A collection that users see.
    Collection(CollectionId),
    /// A restore that is not published.
    Restore,
    /// Another name of this collection.
    Alias(CollectionId),
}

/// Who writes a name has read the database's row with a lock before (`database_id`, `lock_database`): collections share
/// it, aliases have it alone, so that neither takes the other's name between look and insert.
pub(crate) async fn name_holder(tx: &mut Tx, database: DatabaseId, name: &str) -> Result<Option<NameHolder>> {
    let row = tx.optional(NAME_HOLDER, args![database.0, name.to_owned()]).await?;
    row.map(|row| {
        let id = CollectionId(row.try_get("collection_id")?);
        Ok(match row.try_get::<&str, _>("state")? {
            "live" => NameHolder::Collection(id),
            "restoring" => NameHolder::Restore,
            "alias" => NameHolder::Alias(id),
            other => return Err(MetaError::Corrupt(format!("{other:?} holds the name {name}"))),
        })
    })
    .transpose()
}

/// 1601: an alias or a collection has the name already.
pub(crate) fn name_conflict(database: &str, name: &str) -> Failure {
    let text = format!("alias and collection name conflict[database={database}][alias={name}]");
    Failure::new(Code::NameConflict, text)
}

/// A live collection.
pub(crate) async fn record(tx: &mut Tx, id: CollectionId) -> Result<Option<CollectionRecord>> {
    let collections = tx.all(select_collections!("c.collection_id = $1"), args![id.0]).await?;
    if collections.is_empty() {
        return Ok(None);
    }
    let partitions = tx.all(select_partitions!("p.collection_id = $1"), args![id.0]).await?;
    let indexes = tx.all(INDEXES_NOW, args![id.0]).await?;
    Ok(records(&collections, &partitions, &indexes)?.pop())
}

/// The rows of collections with those of their partitions and indexes.
fn records(collections: &[AnyRow], partitions: &[AnyRow], indexes: &[AnyRow]) -> Result<Vec<CollectionRecord>> {
    let mut partitions_of: HashMap<i64, Vec<PartitionRecord>> = HashMap::new();
    for row in partitions {
        partitions_of.entry(row.try_get("collection_id")?).or_default().push(partition_record(row)?);
    }
    let mut indexes_of: HashMap<i64, Vec<IndexInfo>> = HashMap::new();
    for row in indexes {
        indexes_of.entry(row.try_get("collection_id")?).or_default().push(index_info(row)?);
    }
    collections
        .iter()
        .map(|row| {
            let id: i64 = row.try_get("collection_id")?;
            let partitions = partitions_of.remove(&id).unwrap_or_default();
            let infos = partitions.iter().map(|p| PartitionInfo { id: p.id, name: p.name.clone() }).collect();
            Ok(CollectionRecord {
                id: CollectionId(id),
                database_id: DatabaseId(row.try_get("database_id")?),
                database: row.try_get("database_name")?,
                name: row.try_get("name")?,
                definition: definition(row, infos, indexes_of.remove(&id).unwrap_or_default())?,
                partitions,
                aliases: aliases(row)?,
                created_ts: Timestamp(row.try_get("created_ts")?),
                updated_ts: Timestamp(row.try_get("updated_ts")?),
                last_ts: Timestamp(row.try_get("last_ts")?),
                loaded: row.try_get::<i64, _>("loaded")? != 0,
            })
        })
        .collect()
}

/// In the order of their names, which have no commas.
fn aliases(row: &AnyRow) -> Result<Vec<String>> {
    let joined: Option<String> = row.try_get("aliases")?;
    let mut names: Vec<String> = joined.iter().flat_map(|names| names.split(',')).map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}

/// The definition of a row with the columns of `collection_versions`.
fn definition(row: &AnyRow, partitions: Vec<PartitionInfo>, indexes: Vec<IndexInfo>) -> Result<CollectionDefinition> {
    let shards_num: i64 = row.try_get("shards_num")?;
    let level: i64 = row.try_get("consistency_level")?;
    Ok(CollectionDefinition {
        schema: from_json::<CollectionSchema>(row, "schema_json")?,
        shards_num: i32::try_from(shards_num)
            .map_err(|_| MetaError::Corrupt(format!("{shards_num} is not a number of shards")))?,
        consistency_level: i32::try_from(level)
            .ok()
            .and_then(ConsistencyLevel::from_number)
            .ok_or_else(|| MetaError::Corrupt(format!("{level} is not a consistency level")))?,
        properties: from_json(row, "properties_json")?,
        partitions,
        indexes,
        aging: aging(row)?,
    })
}

pub(crate) fn partition_record(row: &AnyRow) -> Result<PartitionRecord> {
    Ok(PartitionRecord {
        id: PartitionId(row.try_get("partition_id")?),
        name: row.try_get("name")?,
        created_ts: Timestamp(row.try_get("added_ts")?),
        loaded: row.try_get::<i64, _>("loaded")? != 0,
    })
}

fn partition_info(row: &AnyRow) -> Result<PartitionInfo> {
    Ok(PartitionInfo { id: PartitionId(row.try_get("partition_id")?), name: row.try_get("name")? })
}

pub(crate) fn index_info(row: &AnyRow) -> Result<IndexInfo> {
    Ok(IndexInfo {
        id: IndexId(row.try_get("index_id")?),
        name: row.try_get("name")?,
        field_id: FieldId(row.try_get("field_id")?),
        params: from_json(row, "params_json")?,
    })
}

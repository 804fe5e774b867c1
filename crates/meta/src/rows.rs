//! Values as they stand in columns: what the modules that read rows have in common. No statements with an effect.

use crate::error::{MetaError, Result};
use crate::model::{FileKind, FileRecord, StoredObject};
use elanus_trace::TraceParent;
use elanus_types::{
    Aging, Checksum, Code, CollectionId, Failure, FileSetId, ObjectKey, PartitionId, SegmentId, Shard, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::any::AnyRow;

/// What [`files`] reads of a membership `m` with an object `o` of its file set. What statements order by has a name of its
/// own, so that they can be joined by UNION.
macro_rules! file_columns {
    () => {
        "m.segment_id AS segment_id, m.file_set_id AS file_set_id, m.partition_id, m.shard, m.kind, m.base_ts, m.rows_num, m.added_ts, \
         o.object_key, o.size_bytes, o.checksum, o.ordinal AS ordinal"
    };
}
pub(crate) use file_columns;

/// Memberships with the objects of their file sets; the tail starts with further conditions on `m`.
///
/// Ordered so that the objects of one membership follow each other, in their order: [`files`] relies on it.
macro_rules! select_files {
    ($($conditions:expr),+) => {
        concat!(
            "SELECT ",
            $crate::rows::file_columns!(),
            " FROM memberships m JOIN objects o ON o.file_set_id = m.file_set_id WHERE m.collection_id = $1 AND ",
            $($conditions,)+
            " ORDER BY segment_id, file_set_id, ordinal"
        )
    };
}
pub(crate) use select_files;

/// The request that made a row, where that was traced. Text that is no trace parent is none: it decides nothing.
pub(crate) fn traceparent(row: &AnyRow) -> Result<Option<TraceParent>> {
    let text: Option<String> = row.try_get("traceparent")?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// The file records of what [`select_files!`] gave.
pub(crate) fn files(rows: &[AnyRow]) -> Result<Vec<FileRecord>> {
    let mut files: Vec<FileRecord> = Vec::new();
    for row in rows {
        let segment = SegmentId(row.try_get("segment_id")?);
        let file_set = FileSetId(row.try_get("file_set_id")?);
        let object = stored_object(row)?;
        match files.last_mut() {
            Some(last) if last.segment == segment && last.file_set == file_set => last.objects.push(object),
            _ => files.push(FileRecord {
                segment,
                file_set,
                partition: PartitionId(row.try_get("partition_id")?),
                shard: shard(row)?,
                kind: kind(row.try_get("kind")?)?,
                base_ts: Timestamp(row.try_get("base_ts")?),
                rows: count(row, "rows_num")?,
                added_ts: Timestamp(row.try_get("added_ts")?),
                objects: vec![object],
            }),
        }
    }
    Ok(files)
}

/// The object of a row with `object_key`, `size_bytes` and `checksum`; damaged when it is not complete.
pub(crate) fn stored_object(row: &AnyRow) -> Result<StoredObject> {
    Ok(StoredObject {
        key: object_key(row.try_get("object_key")?)?,
        size: count(row, "size_bytes")?,
        checksum: checksum(row.try_get("checksum")?)?,
    })
}

pub(crate) fn object_key(text: &str) -> Result<ObjectKey> {
    ObjectKey::parse(text).map_err(|error| MetaError::Corrupt(error.to_string()))
}

pub(crate) fn checksum(text: &str) -> Result<Checksum> {
    text.parse().map_err(|_| MetaError::Corrupt(format!("{text:?} is not a checksum")))
}

pub(crate) fn shard(row: &AnyRow) -> Result<Shard> {
    let shard: i64 = row.try_get("shard")?;
    i32::try_from(shard).map(Shard).map_err(|_| MetaError::Corrupt(format!("{shard} is not a shard")))
}

pub(crate) fn kind_label(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Insert => "insert",
        FileKind::Delete => "delete",
        FileKind::Index => "index",
        FileKind::Manifest => "manifest",
    }
}

pub(crate) fn kind(label: &str) -> Result<FileKind> {
    [FileKind::Insert, FileKind::Delete, FileKind::Index, FileKind::Manifest]
        .into_iter()
        .find(|kind| kind_label(*kind) == label)
        .ok_or_else(|| MetaError::Corrupt(format!("{label:?} is not a kind of file")))
}

/// A number that is never negative.
pub(crate) fn count(row: &AnyRow, column: &str) -> Result<u64> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| MetaError::Corrupt(format!("{column} is {number}")))
}

/// A number for a BIGINT column.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data always becomes JSON")
}

pub(crate) fn from_json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T> {
    serde_json::from_str(row.try_get(column)?).map_err(|error| MetaError::Corrupt(format!("{column}: {error}")))
}

/// 100, by id: the caller was too late, or never knew better.
pub(crate) fn collection_not_found(id: CollectionId) -> MetaError {
    Failure::new(Code::CollectionNotFound, format!("collection not found[collection={id}]")).into()
}

/// 200.
pub(crate) fn partition_not_found(name: impl std::fmt::Display) -> MetaError {
    Failure::new(Code::PartitionNotFound, format!("partition not found[partition={name}]")).into()
}

/// From when rows age, of a row with the columns of `collection_versions`.
pub(crate) fn aging(row: &AnyRow) -> Result<Aging> {
    Ok(Aging {
        from_ts: Timestamp(row.try_get("ages_from_ts")?),
        expired_before_ts: Timestamp(row.try_get("expired_before_ts")?),
    })
}

/// Rows that were written before this have expired now, of such a row.
pub(crate) fn expired_before(row: &AnyRow, now_ms: i64) -> Result<Timestamp> {
    Ok(aging(row)?.expired_before(ttl_s(row)?, Timestamp::from_ms(now_ms)))
}

/// After how many seconds rows expire, of such a row.
pub(crate) fn ttl_s(row: &AnyRow) -> Result<Option<i64>> {
    Ok(elanus_types::aging::ttl_s(&from_json(row, "properties_json")?))
}

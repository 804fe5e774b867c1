//! Records of the metadata as messages.

use elanus_meta::HistoryRecord;
use elanus_meta::model::{
    CollectionRecord, JobError, JobRecord, PartitionRecord, PinRecord, SnapshotRecord, SnapshotStatus,
};
use elanus_proto::convert::schema_to_proto;
use elanus_proto::datacoord as pb;
use elanus_types::schema::IndexInfo;
use elanus_types::{TaskId, Timestamp};

pub(super) fn ts(ts: Timestamp) -> u64 {
    ts.0.cast_unsigned()
}

pub(super) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn collection(record: CollectionRecord) -> pb::Collection {
    let CollectionRecord { id, database_id, database, name, definition, partitions, aliases, .. } = record;
    pb::Collection {
        id: id.0,
        db_id: database_id.0,
        db_name: database,
        schema: Some(schema_to_proto(&name, &definition.schema)),
        name,
        shards_num: definition.shards_num,
        consistency_level: definition.consistency_level.number(),
        properties: definition.properties,
        partitions: partitions.into_iter().map(partition).collect(),
        indexes: definition.indexes.into_iter().map(index).collect(),
        created_ts: ts(record.created_ts),
        updated_ts: ts(record.updated_ts),
        loaded: record.loaded,
        aliases,
    }
}

pub(super) fn partition(record: PartitionRecord) -> pb::Partition {
    pb::Partition { id: record.id.0, name: record.name, created_ts: ts(record.created_ts), loaded: record.loaded }
}

pub(super) fn index(info: IndexInfo) -> pb::Index {
    pb::Index { id: info.id.0, name: info.name, field_id: info.field_id.0, params: info.params }
}

/// `partition_names`: of the snapshot's own time, in order.
pub(super) fn snapshot(record: SnapshotRecord, of: &CollectionRecord, partition_names: Vec<String>) -> pb::Snapshot {
    pb::Snapshot {
        id: record.id.0,
        name: record.name,
        description: record.description,
        collection_id: record.collection.0,
        collection_name: of.name.clone(),
        db_name: of.database.clone(),
        create_ts: ts(record.create_ts),
        state: match record.state {
            SnapshotStatus::Pending => "pending",
            SnapshotStatus::Accepted => "accepted",
            SnapshotStatus::Committed => "committed",
            SnapshotStatus::Deleting => "deleting",
        }
        .to_owned(),
        location: record.metadata_key.map(|key| key.to_string()).unwrap_or_default(),
        partition_names,
        rows: int(record.totals.rows),
        files: int(record.totals.files),
        bytes: int(record.totals.bytes),
        live_pins: i32::try_from(record.live_pins).unwrap_or(i32::MAX),
    }
}

pub(super) fn pin(record: PinRecord) -> pb::Pin {
    pb::Pin {
        id: record.id.0,
        owner: record.owner,
        created_ms: record.created_ms,
        expires_ms: record.expires_ms.unwrap_or_default(),
        job_id: record.job.map(|job| job.0).unwrap_or_default(),
    }
}

pub(super) fn job(record: JobRecord, now_ms: i64) -> pb::RestoreJob {
    pb::RestoreJob {
        job_id: record.id.0,
        snapshot_name: record.snapshot_name,
        source_db_name: record.source_database,
        source_collection_name: record.source_name,
        target_db_name: record.target_database,
        target_collection_name: record.target_name,
        target_collection_id: record.target.0,
        state: record.state.label().to_owned(),
        progress: i32::from(record.percent),
        reason: record.reason.unwrap_or_default(),
        files_total: int(record.files_total),
        files_done: int(record.files_done),
        bytes_total: int(record.bytes_total),
        bytes_done: int(record.bytes_done),
        started_ms: record.started_ms,
        ended_ms: record.ended_ms.unwrap_or_default(),
        mode: record.options.mode.label().to_owned(),
        partition_names: record.options.partitions,
        without_indexes: !record.options.with_indexes,
        kind: record.kind.label().to_owned(),
        elapsed_ms: (record.ended_ms.unwrap_or(now_ms) - record.started_ms).max(0),
    }
}

pub(super) fn job_error(error: JobError) -> pb::JobError {
    pb::JobError {
        at_ms: error.at_ms,
        task_id: error.task.0,
        generation: error.generation.0,
        task_state: error.task_state,
        key: error.key.unwrap_or_default(),
        reason: error.reason,
    }
}

pub(super) fn history_line((task, line): (Option<TaskId>, HistoryRecord)) -> pb::JobHistoryLine {
    pb::JobHistoryLine {
        at_ms: line.at_ms,
        task_id: task.map(|task| task.0).unwrap_or_default(),
        event: line.event,
        from_state: line.from_state,
        to_state: line.to_state,
        detail: line.detail,
    }
}

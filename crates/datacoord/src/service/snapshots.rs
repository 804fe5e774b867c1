//! Snapshots and pins. Codes and texts: the Milvus contract of the snapshot calls.

use super::catalog::resolve;
use super::convert;
use crate::{Parts, rollback, snapshot};
use elanus_meta::model::{CollectionRecord, PartitionRecord, SnapshotRecord};
use elanus_proto::datacoord as pb;
use elanus_types::{Code, Failure, PinId};

pub(super) async fn create(parts: &Parts, request: pb::CreateSnapshotRequest) -> Result<pb::Snapshot, Failure> {
    let collection = resolve(parts, request.collection.clone()).await?;
    let created = snapshot::create(parts, collection.clone(), request).await?;
    told(parts, created, &collection).await
}

pub(super) async fn drop(parts: &Parts, of: pb::SnapshotRef) -> Result<(), Failure> {
    let collection = resolve(parts, of.collection).await?;
    // A snapshot that is not there is a success: a client repeats what was not answered.
    parts.coordinator.drop_snapshot(collection.id, &of.snapshot_name).await?;
    parts.background.activate(crate::background::GC_RELEASE);
    Ok(())
}

pub(super) async fn list(parts: &Parts, of: pb::CollectionRef) -> Result<pb::ListSnapshotsResponse, Failure> {
    let collection = resolve(parts, Some(of)).await?;
    let records = parts.meta().snapshots(collection.id).await?;
    let snapshots = records.into_iter().map(|record| convert::snapshot(record, &collection, Vec::new())).collect();
    Ok(pb::ListSnapshotsResponse { snapshots })
}

pub(super) async fn describe(parts: &Parts, of: pb::SnapshotRef) -> Result<pb::Snapshot, Failure> {
    let (collection, record) = find(parts, of).await?;
    told(parts, record, &collection).await
}

pub(super) async fn pin(parts: &Parts, request: pb::PinSnapshotRequest) -> Result<pb::Pin, Failure> {
    let of = request.snapshot.ok_or_else(|| Failure::missing("no snapshot is named"))?;
    let collection = resolve(parts, of.collection).await?;
    let record =
        parts.coordinator.pin_snapshot(collection.id, &of.snapshot_name, &request.owner, request.ttl_seconds).await?;
    Ok(convert::pin(record))
}

pub(super) async fn unpin(parts: &Parts, request: pb::UnpinSnapshotRequest) -> Result<(), Failure> {
    Ok(parts.coordinator.unpin(PinId(request.pin_id)).await?)
}

pub(super) async fn list_pins(parts: &Parts, of: pb::SnapshotRef) -> Result<pb::ListPinsResponse, Failure> {
    let (_, record) = find(parts, of).await?;
    let pins = parts.meta().pins(record.id).await?.into_iter().map(convert::pin).collect();
    Ok(pb::ListPinsResponse { pins })
}

pub(super) async fn open(parts: &Parts, of: pb::SnapshotRef) -> Result<pb::OpenSnapshotResponse, Failure> {
    let (collection, record) = find(parts, of).await?;
    let definition = parts.meta().definition_at(collection.id, record.create_ts).await?;
    let names = definition.partitions.iter().map(|partition| partition.name.clone()).collect();
    let snapshot = convert::snapshot(record.clone(), &collection, names);
    let partitions = definition.partitions.iter().map(|partition| PartitionRecord {
        id: partition.id,
        name: partition.name.clone(),
        created_ts: record.create_ts,
        loaded: true,
    });
    let then = CollectionRecord {
        partitions: partitions.collect(),
        definition,
        updated_ts: record.create_ts,
        last_ts: record.create_ts,
        loaded: true,
        ..collection
    };
    Ok(pb::OpenSnapshotResponse { snapshot: Some(snapshot), collection: Some(convert::collection(then)) })
}

pub(super) async fn roll_back(parts: &Parts, to: pb::SnapshotRef) -> Result<pb::Rollback, Failure> {
    let collection = resolve(parts, to.collection).await?;
    let done = rollback::roll_back(parts, collection, to.snapshot_name.clone()).await?;
    Ok(pb::Rollback {
        collection_id: done.collection.0,
        snapshot_name: to.snapshot_name,
        safety_snapshot_name: done.safety_name,
        rollback_ts: convert::ts(done.ts),
    })
}

/// The snapshot that a caller means, when it is shown.
async fn find(parts: &Parts, of: pb::SnapshotRef) -> Result<(CollectionRecord, SnapshotRecord), Failure> {
    let collection = resolve(parts, of.collection).await?;
    match parts.meta().snapshot(collection.id, &of.snapshot_name).await? {
        Some(record) if record.state.is_shown() => Ok((collection, record)),
        _ => Err(Failure::new(
            Code::SnapshotNotFound,
            format!("collection {}: snapshot not found[snapshot={}]", collection.id, of.snapshot_name),
        )),
    }
}

async fn told(parts: &Parts, record: SnapshotRecord, of: &CollectionRecord) -> Result<pb::Snapshot, Failure> {
    let definition = parts.meta().definition_at(of.id, record.create_ts).await?;
    let names = definition.partitions.into_iter().map(|partition| partition.name).collect();
    Ok(convert::snapshot(record, of, names))
}

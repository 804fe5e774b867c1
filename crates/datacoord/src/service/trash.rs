//! Dropped collections that can be brought back.

use super::catalog::database;
use super::convert;
use crate::Parts;
use elanus_meta::TrashRecord;
use elanus_proto::datacoord as pb;
use elanus_types::{Code, CollectionId, Failure};

pub(super) async fn list(parts: &Parts, request: pb::ListCollectionsRequest) -> Result<pb::ListTrashResponse, Failure> {
    let records = parts.meta().trash(&database(request.db_name)).await?;
    Ok(pb::ListTrashResponse { collections: records.into_iter().map(trashed).collect() })
}

pub(super) async fn restore(parts: &Parts, request: pb::RestoreTrashRequest) -> Result<pb::Collection, Failure> {
    let of = request.collection.ok_or_else(|| Failure::missing("no collection is named"))?;
    // An id is looked up where it counts, so that a repeat finds what is back already.
    let id = match of.collection_id {
        0 => find(parts, &of).await?.id,
        id => CollectionId(id),
    };
    let new_name = Some(request.new_name.as_str()).filter(|name| !name.is_empty());
    Ok(convert::collection(parts.coordinator.restore_from_trash(id, new_name).await?))
}

pub(super) async fn purge(parts: &Parts, of: pb::CollectionRef) -> Result<pb::TrashedCollection, Failure> {
    let found = find(parts, &of).await?;
    parts.coordinator.purge_from_trash(found.id).await?;
    parts.background.activate(crate::background::GC_RELEASE);
    tracing::info!(collection = %found.id, name = found.name, "purged from the trash");
    Ok(trashed(found))
}

/// The one that a caller means: by id, or by a name that only one has.
async fn find(parts: &Parts, of: &pb::CollectionRef) -> Result<TrashRecord, Failure> {
    let wanted = |one: &TrashRecord| match of.collection_id {
        0 => one.name == of.collection_name,
        id => one.id.0 == id,
    };
    let mut found: Vec<TrashRecord> = parts.meta().trash(&database(of.db_name.clone())).await?;
    found.retain(wanted);
    if found.len() > 1 {
        let ids: Vec<String> = found.iter().map(|one| one.id.to_string()).collect();
        let text =
            format!("the trash has several collections named {}, give an id: {}", of.collection_name, ids.join(", "));
        return Err(Failure::invalid(text));
    }
    found.pop().ok_or_else(|| {
        let what = if of.collection_id == 0 { of.collection_name.clone() } else { of.collection_id.to_string() };
        Failure::new(Code::CollectionNotFound, format!("collection not found in the trash[collection={what}]"))
    })
}

fn trashed(record: TrashRecord) -> pb::TrashedCollection {
    pb::TrashedCollection {
        id: record.id.0,
        db_name: record.database,
        name: record.name,
        dropped_ts: convert::ts(record.dropped_ts),
        until_ms: record.until_ms,
        snapshots: convert::int(record.snapshots),
        rows: convert::int(record.rows),
        bytes: convert::int(record.bytes),
    }
}

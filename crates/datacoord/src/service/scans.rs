//! Scans for orphans, as operators see them.

use super::convert::int;
use crate::Parts;
use elanus_meta::scans::{DeleteFreeze, OrphanRecord, ScanRecord};
use elanus_proto::admin as pb;
use elanus_proto::admin::allow_orphans_request::What;
use elanus_types::{Failure, ObjectKey};

const PAGE_MAX: u32 = 1_000;
const SCANS_MAX: u32 = 100;

pub(super) async fn start(parts: &Parts) -> Result<pb::Scan, Failure> {
    let requested = parts.coordinator.request_scan().await?;
    parts.background.activate(crate::background::GC_SCAN);
    Ok(scan(requested))
}

pub(super) async fn list(parts: &Parts, request: pb::ListScansRequest) -> Result<pb::ListScansResponse, Failure> {
    let scans = parts.meta().scans(request.limit.clamp(1, SCANS_MAX)).await?;
    let freezes = parts.meta().delete_freezes().await?;
    Ok(pb::ListScansResponse {
        scans: scans.into_iter().map(scan).collect(),
        freezes: freezes.into_iter().map(freeze).collect(),
    })
}

pub(super) async fn orphans(
    parts: &Parts,
    request: pb::ListOrphansRequest,
) -> Result<pb::ListOrphansResponse, Failure> {
    let after = Some(request.after_key.as_str()).filter(|key| !key.is_empty()).map(parse).transpose()?;
    let limit = if request.limit == 0 { PAGE_MAX } else { request.limit.min(PAGE_MAX) };
    let found = parts.meta().orphans(after.as_ref(), limit).await?;
    Ok(pb::ListOrphansResponse { orphans: found.into_iter().map(|one| orphan(parts, one)).collect() })
}

pub(super) async fn allow(
    parts: &Parts,
    request: pb::AllowOrphansRequest,
) -> Result<pb::AllowOrphansResponse, Failure> {
    let objects = match request.what.ok_or_else(|| Failure::missing("nothing is named that is to be allowed"))? {
        What::UnknownKey(key) => {
            let key = parse(&key)?;
            match parts.coordinator.allow_unknown(Some(&key)).await? {
                0 => return Err(Failure::invalid(format!("{key} is not an unknown object that a complete scan saw"))),
                objects => objects,
            }
        }
        What::AllUnknown(true) => parts.coordinator.allow_unknown(None).await?,
        What::AllUnknown(false) => return Err(Failure::missing("nothing is named that is to be allowed")),
        What::AcceptScan(id) => {
            let accepted = parts.coordinator.accept_scan(id).await?;
            tracing::warn!(scan = id, "somebody accepted a scan with many orphans");
            accepted.counts.orphans + accepted.counts.unknown
        }
    };
    parts.background.activate(crate::background::GC_SCAN);
    Ok(pb::AllowOrphansResponse { objects: int(objects) })
}

fn parse(key: &str) -> Result<ObjectKey, Failure> {
    ObjectKey::parse(key).map_err(|error| Failure::invalid(error.to_string()))
}

fn scan(record: ScanRecord) -> pb::Scan {
    let ScanRecord { id, state, started_ms, ended_ms, counts, held, accepted_ms, message } = record;
    pb::Scan {
        id,
        state: state.label().to_owned(),
        started_ms: started_ms.unwrap_or_default(),
        ended_ms: ended_ms.unwrap_or_default(),
        pages: int(counts.pages),
        listed: int(counts.listed),
        listed_bytes: int(counts.listed_bytes),
        orphans: int(counts.orphans),
        unknown: int(counts.unknown),
        orphans_bytes: int(counts.orphans_bytes),
        missing: int(counts.missing),
        held,
        accepted_ms: accepted_ms.unwrap_or_default(),
        message,
    }
}

pub(crate) fn freeze(record: DeleteFreeze) -> pb::DeleteFreeze {
    pb::DeleteFreeze { source: record.source, since_ms: record.since_ms, why: record.why }
}

fn orphan(parts: &Parts, record: OrphanRecord) -> pb::Orphan {
    let state = record.state(crate::gc::rule(parts), parts.now_ms()).to_owned();
    let OrphanRecord { orphan, deleted_ms, first_ms, last_ms, scans, allowed, queued_as } = record;
    pb::Orphan {
        key: orphan.key.to_string(),
        size: int(orphan.size),
        modified_ms: orphan.modified_ms,
        tombstone: orphan.tombstone.map(|set| set.0).unwrap_or_default(),
        first_ms: first_ms.unwrap_or_default(),
        last_ms: last_ms.unwrap_or_default(),
        scans: int(scans),
        allowed,
        queued_as: queued_as.map(|set| set.0).unwrap_or_default(),
        state,
        deleted_ms: deleted_ms.unwrap_or_default(),
    }
}

//! Empties the folder of a former owner of the root path, when an operator wants that: the only objects outside of the own
//! namespace that are ever deleted (G-3). They are listed page by page, become rows, and are deleted by the sweep like
//! everything else: gates, brakes, audit trail and all. Where it stands is in the metadata (`elanus_meta::purges`): it goes on
//! after a restart, also after kill -9.
//!
//! Before each page the owner's marker is written, and must still say that this cluster owns the root path, that the other one
//! is a former owner, and that somebody decided what becomes of its objects.

use super::gate::{gate, why_not};
use crate::Parts;
use elanus_meta::PurgeRecord;
use elanus_objects::ObjectInfo;
use elanus_proto::admin::{PurgeNamespaceReport, PurgeNamespaceRequest};
use elanus_runtime::background::Report;
use elanus_types::{Code, Failure, ObjectKey};

/// Keys that a report names.
const NAMED_MAX: usize = 10;

/// One page of the one that began first.
pub(crate) async fn purge(parts: &Parts) -> Result<Report, Failure> {
    let Some(running) = parts.meta().running_purge().await? else { return Ok(Report::default()) };
    let cluster = running.cluster_id.as_str();
    if running.waiting > 0 {
        parts.background.activate(crate::background::SWEEP);
        let text = format!("{} objects of {cluster} wait to be deleted", running.waiting);
        return Ok(Report { text, ..Report::default() });
    }
    gate(parts).await?;
    parts.guard.purgeable(cluster).await.map_err(|why| Failure::new(Code::NotReady, format!("{cluster}: {why}")))?;
    let page = parts.objects.list_page(&folder(cluster)?, running.after.as_ref(), parts.config.scan_page_keys).await?;
    let page: Vec<(ObjectKey, u64)> = page.into_iter().map(|ObjectInfo { key, size, .. }| (key, size)).collect();
    if page.is_empty() {
        if parts.coordinator.end_purge(cluster).await? {
            tracing::warn!(
                cluster,
                objects = running.objects,
                bytes = running.bytes,
                "the folder of a former owner is empty"
            );
        }
        return Ok(Report { again_now: true, ..Report::handled(1) });
    }
    parts.coordinator.queue_purge(cluster, &page).await?;
    parts.background.activate(crate::background::SWEEP);
    Ok(Report { text: format!("{} objects of {cluster} queued", page.len()), ..Report::handled(page.len() as u64) })
}

/// What an operator wants: to see what is there, to have it emptied, or to see how that stands.
pub(crate) async fn serve(parts: &Parts, request: PurgeNamespaceRequest) -> Result<PurgeNamespaceReport, Failure> {
    if request.progress {
        let found = parts.meta().purge(&request.cluster_id).await?;
        let report = found.map_or_else(PurgeNamespaceReport::default, progress);
        return Ok(PurgeNamespaceReport { frozen: why_not(parts).await?, ..report });
    }
    let former = parts.guard.purgeable(&request.cluster_id).await;
    let former = former.map_err(|why| Failure::invalid(format!("{}: {why}", request.cluster_id)))?;
    let cluster = former.cluster_id;
    if request.apply && request.confirm != cluster {
        return Err(Failure::invalid(format!(
            "to empty the folder {cluster}/ for good, its name must be given once more"
        )));
    }
    if request.apply {
        parts.coordinator.begin_purge(&cluster, &request.actor).await?;
        tracing::warn!(cluster, actor = request.actor, "the folder of a former owner is being emptied");
        parts.background.activate(crate::background::PURGE);
    }
    let mut report = match parts.meta().purge(&cluster).await? {
        Some(record) if request.apply => progress(record),
        found => PurgeNamespaceReport {
            state: found.map_or_else(String::new, |one| state(&one)),
            ..look(parts, &cluster).await?
        },
    };
    (report.taken_ms, report.reason, report.cluster_id) = (former.taken_ms, former.reason, cluster);
    Ok(report)
}

/// What is there. Changes nothing.
async fn look(parts: &Parts, cluster: &str) -> Result<PurgeNamespaceReport, Failure> {
    let mut report = PurgeNamespaceReport::default();
    let (folder, mut after) = (folder(cluster)?, None);
    loop {
        let page = parts.objects.list_page(&folder, after.as_ref(), parts.config.scan_page_keys).await?;
        let Some(last) = page.last() else { return Ok(report) };
        report.objects += page.len() as u64;
        report.bytes += page.iter().map(|info| info.size).sum::<u64>();
        let room = NAMED_MAX.saturating_sub(report.examples.len());
        report.examples.extend(page.iter().take(room).map(|info| info.key.to_string()));
        after = Some(last.key.clone());
    }
}

fn progress(record: PurgeRecord) -> PurgeNamespaceReport {
    PurgeNamespaceReport {
        state: state(&record),
        cluster_id: record.cluster_id,
        objects: record.objects,
        bytes: record.bytes,
        waiting: record.waiting,
        started_ms: record.started_ms,
        ended_ms: record.ended_ms.unwrap_or_default(),
        ..PurgeNamespaceReport::default()
    }
}

fn state(record: &PurgeRecord) -> String {
    if record.ended_ms.is_some() { "complete" } else { "running" }.to_owned()
}

fn folder(cluster: &str) -> Result<ObjectKey, Failure> {
    ObjectKey::parse(cluster).map_err(|error| Failure::internal(error.to_string()))
}

//! The metadata against themselves, and the snapshots in the bucket against the metadata.

use crate::Parts;
use crate::stored::{self, Unreadable};
use elanus_manifest::ManifestEntry;
use elanus_meta::MetaError;
use elanus_meta::facts::{Facts, Finding};
use elanus_meta::model::{FileRecord, SnapshotRecord, SnapshotStatus};
use elanus_proto::admin::{ScrubFinding, ScrubReport};
use elanus_types::{Failure, FileSetId, SegmentId, SnapshotId};

const PAGE: u32 = 1_000;
/// Findings that a report names.
const NAMED_MAX: usize = 1_000;

/// Level metadata: every file set and every membership.
pub(super) async fn metadata(parts: &Parts, repair: bool, report: &mut ScrubReport) -> Result<(), Failure> {
    let mut after = Some(FileSetId(0));
    while let Some(from) = after {
        let facts = parts.meta().file_set_facts(from, PAGE).await?;
        report.file_sets += i64::try_from(facts.rows).unwrap_or(i64::MAX);
        after = take(parts, facts, repair, report).await?;
    }
    let mut after = Some((SegmentId(0), FileSetId(0)));
    while let Some(from) = after {
        let facts = parts.meta().membership_facts(from, PAGE).await?;
        after = take(parts, facts, repair, report).await?;
    }
    Ok(())
}

async fn take<K>(parts: &Parts, facts: Facts<K>, repair: bool, report: &mut ScrubReport) -> Result<Option<K>, Failure> {
    for finding in facts.findings {
        let repaired = match finding.counted_too_low() {
            Some(file_set) if repair => {
                let repaired = parts.coordinator.recount_upward(file_set).await?;
                tracing::warn!(%file_set, repaired, "references were counted again");
                repaired
            }
            Some(_) | None => false,
        };
        add(report, &finding, repaired);
    }
    Ok(facts.next)
}

fn add(report: &mut ScrubReport, finding: &Finding, repaired: bool) {
    let repairable = finding.counted_too_low().is_some();
    push(report, finding.rule(), finding.text(), repairable, repaired);
}

fn push(report: &mut ScrubReport, rule: &str, text: String, repairable: bool, repaired: bool) {
    if report.findings.len() < NAMED_MAX {
        report.findings.push(ScrubFinding { rule: rule.to_owned(), text, repairable, repaired });
    }
}

/// I9: the manifests of every committed snapshot list exactly what its interval protects. One snapshot at a time.
pub(super) async fn snapshots(parts: &Parts, report: &mut ScrubReport) -> Result<(), Failure> {
    let mut after = SnapshotId(0);
    loop {
        let page = parts.meta().committed_snapshots(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        for snapshot in &page {
            report.snapshots += 1;
            let problem = snapshot_problem(parts, snapshot).await;
            // What was dropped since it was listed may be released and deleted, however far that has come.
            if !matches!(problem, Ok(None)) && !is_committed(parts, snapshot.id).await? {
                continue;
            }
            if let Some(why) = problem? {
                let text = format!(
                    "snapshot {} ({}) of collection {}: {why}",
                    snapshot.name, snapshot.id, snapshot.collection
                );
                push(report, "I9", text, false, false);
            }
        }
    }
}

async fn snapshot_problem(parts: &Parts, snapshot: &SnapshotRecord) -> Result<Option<String>, Failure> {
    let Some(key) = &snapshot.metadata_key else {
        return Ok(Some("it has no metadata object".to_owned()));
    };
    let read = async {
        let stored = stored::metadata(&*parts.objects, key).await?;
        let entries = stored::entries(&*parts.objects, &stored).await?;
        Ok((stored, entries))
    };
    let (stored, entries) = match read.await {
        Ok(read) => read,
        Err(Unreadable::Wrong(why)) => return Ok(Some(why)),
        Err(Unreadable::Away(failure)) => return Err(failure),
    };
    let info = &stored.metadata.snapshot;
    if (info.id, info.collection_id, info.create_ts) != (snapshot.id, snapshot.collection, snapshot.create_ts) {
        return Ok(Some(format!("its metadata object is that of snapshot {}", info.id)));
    }
    let view = match parts.meta().view(snapshot.collection, Some(snapshot.create_ts)).await {
        Ok(view) => view,
        Err(MetaError::Refused(failure)) => return Ok(Some(failure.message)),
        Err(error) => return Err(error.into()),
    };
    Ok(difference(&view.files, &entries))
}

async fn is_committed(parts: &Parts, id: SnapshotId) -> Result<bool, Failure> {
    Ok(parts.meta().snapshot_by_id(id).await?.is_some_and(|found| found.state == SnapshotStatus::Committed))
}

/// How the two differ; both are in the order of segment and file set.
fn difference(files: &[FileRecord], entries: &[ManifestEntry]) -> Option<String> {
    if files.len() != entries.len() {
        return Some(format!("its manifests list {} file sets, the metadata {}", entries.len(), files.len()));
    }
    files.iter().zip(entries).find_map(|(file, entry)| {
        if (file.segment, file.file_set) != (entry.segment_id, entry.file_set_id) {
            return Some(format!(
                "its manifests list file set {} of segment {}, the metadata file set {} of segment {}",
                entry.file_set_id, entry.segment_id, file.file_set, file.segment
            ));
        }
        let same_place = file.partition == entry.partition_id && file.shard == entry.shard;
        let same_rows = file.rows == entry.rows && file.base_ts == entry.base_ts && file.added_ts == entry.added_ts;
        let objects = file.objects.iter().map(|object| (&object.key, object.size, object.checksum));
        let listed = entry.files.iter().map(|listed| (&listed.key, listed.size, listed.checksum));
        let same = same_place && same_rows && objects.eq(listed);
        (!same).then(|| format!("its manifests describe file set {} otherwise than the metadata", file.file_set))
    })
}

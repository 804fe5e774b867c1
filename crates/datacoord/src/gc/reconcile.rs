//! After the metadata was restored from a backup: what it names and is not there, what is there and it does not know.
//!
//! What it does not know was written after the backup, by a cluster that was this one: it is put in quarantine, kept until
//! a newer backup can no longer turn up. What it names and is not there was deleted after the backup: nothing brings it
//! back, and reads and restores that need it will fail. When nothing is missing, or somebody accepts what is, deletes go on.

use super::scan::{self, Counted};
use super::walk::Walk;
use crate::Parts;
use crate::service::scans::freeze;
use elanus_proto::admin::{ReconcileReport, ReconcileRequest};
use elanus_types::{Failure, ObjectKey};

/// Keys that a report names of each kind.
const NAMED_MAX: usize = 1_000;

pub(crate) async fn reconcile(parts: &Parts, request: ReconcileRequest) -> Result<ReconcileReport, Failure> {
    if request.quarantine_ms < 0 {
        return Err(Failure::invalid("a quarantine is not shorter than nothing"));
    }
    let until_ms = parts.now_ms().saturating_add(request.quarantine_ms);
    let mut report = ReconcileReport::default();
    let mut walk = Walk::new(parts)?;
    while let Some(page) = walk.next().await? {
        let Counted { orphans, absent, .. } = scan::sort(&page.pairs);
        let live = page.pairs.iter().filter_map(|pair| pair.known.as_ref());
        report.referenced += count(live.filter(|known| known.file_set_state == "live").count());
        report.listed += count(page.pairs.iter().filter(|pair| pair.listed.is_some()).count());
        let missing = scan::still_missing(parts, page.after.as_ref(), absent, scan::is_live).await?;
        report.missing_num += count(missing.len());
        report.unknown_num += count(orphans.len());
        name(&mut report.missing, &missing);
        name(&mut report.unknown, orphans.iter().map(|orphan| &orphan.key));
        if request.apply {
            parts.coordinator.quarantine(&orphans, until_ms).await?;
        }
    }
    if !request.apply {
        return Ok(report);
    }
    if report.missing_num > 0 && !request.accept_missing {
        return Err(Failure::invalid(format!(
            "deletes stay frozen: {} live objects are missing; bring them back, or accept the loss; the first is {}",
            report.missing_num, report.missing[0]
        )));
    }
    for frozen in parts.meta().delete_freezes().await? {
        if parts.coordinator.thaw_deletes(&frozen.source).await? {
            tracing::warn!(source = frozen.source, why = frozen.why, "deletes go on after a reconcile");
            report.ended.push(freeze(frozen));
        }
    }
    report.applied = true;
    parts.background.activate(crate::background::SWEEP);
    Ok(report)
}

fn name<'k>(names: &mut Vec<String>, keys: impl IntoIterator<Item = &'k ObjectKey>) {
    let room = NAMED_MAX.saturating_sub(names.len());
    names.extend(keys.into_iter().take(room).map(ToString::to_string));
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

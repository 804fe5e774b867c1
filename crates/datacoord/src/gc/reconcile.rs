//! After the metadata was restored from a backup: what it names and is not there, what is there and it does not know.
//!
//! What it does not know was written after the backup, by a cluster that was this one: it is put in quarantine, kept until
//! a newer backup can no longer turn up. What it names and is not there was deleted after the backup: nothing brings it
//! back, and reads and restores that need it will fail. When nothing is missing, or somebody accepts what is, deletes go on
//! under a new epoch: whatever another copy of the metadata decided before does not count.
//!
//! Every live key is looked for: pages of the listing are compared with pages of the metadata, and what a listing does not
//! have is asked for by itself, many at a time. A listing alone never says that something is missing.
//!
//! Dying anywhere leaves deletes frozen, and what was put in quarantine there. Done again, it does the same again.

use super::gate::why_not;
use super::scan::{self, Counted};
use super::walk::{Pair, Walk};
use crate::Parts;
use crate::service::scans::freeze;
use elanus_proto::admin::{DeleteFreeze, ReconcileReport, ReconcileRequest};
use elanus_types::{Code, Failure, ObjectKey};

/// Keys that a report names of each kind.
const NAMED_MAX: usize = 1_000;
/// What the owner's marker or its mirror held, among the freezes that ended.
const ROOT_PATH: &str = "root path";

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
        report.referenced += count(live.filter(|known| scan::is_live(known)).count());
        report.listed += count(page.pairs.iter().filter(|pair| pair.listed.is_some()).count());
        let damaged: Vec<&ObjectKey> =
            page.pairs.iter().filter(|pair| is_damaged(pair)).map(|pair| &pair.key).collect();
        let missing = scan::still_missing(parts, page.after.as_ref(), absent, scan::is_live).await?;
        report.missing_num += count(missing.len());
        report.damaged_num += count(damaged.len());
        report.unknown_num += count(orphans.len());
        name(&mut report.missing, &missing);
        name(&mut report.damaged, damaged);
        name(&mut report.unknown, orphans.iter().map(|orphan| &orphan.key));
        if request.apply && !orphans.is_empty() {
            parts.coordinator.quarantine(&orphans, until_ms).await?;
        }
    }
    let is_whole = report.missing_num + report.damaged_num == 0;
    if request.apply && (is_whole || request.accept_missing) {
        go_on(parts, &mut report).await?;
    }
    report.epoch = parts.coordinator.epoch().0;
    report.frozen = why_not(parts).await?;
    Ok(report)
}

/// The hold of the root path first: should this process die here, the other reasons are still there to be seen.
async fn go_on(parts: &Parts, report: &mut ReconcileReport) -> Result<(), Failure> {
    let ended = parts.guard.reconciled().await.map_err(|why| Failure::new(Code::NotReady, why))?;
    if let Some(why) = ended {
        report.ended.push(DeleteFreeze { source: ROOT_PATH.to_owned(), since_ms: 0, why });
    }
    for frozen in parts.meta().delete_freezes().await? {
        if parts.coordinator.thaw_deletes(&frozen.source).await? {
            tracing::warn!(source = frozen.source, why = frozen.why, "deletes go on after a reconcile");
            report.ended.push(freeze(frozen));
        }
    }
    report.applied = true;
    parts.background.activate(crate::background::SWEEP);
    Ok(())
}

/// It is there, and not as it was written.
fn is_damaged(pair: &Pair) -> bool {
    let (Some(listed), Some(known)) = (&pair.listed, &pair.known) else { return false };
    scan::is_live(known) && known.size.is_some_and(|size| size != listed.size)
}

fn name<'k>(names: &mut Vec<String>, keys: impl IntoIterator<Item = &'k ObjectKey>) {
    let room = NAMED_MAX.saturating_sub(names.len());
    names.extend(keys.into_iter().take(room).map(ToString::to_string));
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

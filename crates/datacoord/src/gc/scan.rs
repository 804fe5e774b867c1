//! The scan for orphans: objects in the bucket that nothing knows. The safety net below the deletion queue, which should
//! find nothing.
//!
//! A round first queues what earlier scans found and what has waited long enough, then scans when that is due or was asked
//! for. What counts, and when, is in `elanus_meta::scans` (OR-1 to OR-5); what is deleted goes through the deletion queue.
//!
//! The reverse as well: a live object that is not there stops all deleting, for if one is gone that should not be, whatever
//! took it must not take more.
//!
//! Ranges of keys are walked several at a time; what they find comes to the same as one walk through everything, and a page
//! that fails is asked for again. A scan whose process dies is discarded all the same (OR-1).
//!
//! At its end a scan aborts unfinished writes ([`super::uploads`]).

use super::uploads::{self, Told};
use super::walk::{self, KeyRange, Pair, Walk};
use crate::Parts;
use elanus_meta::model::KnownObject;
use elanus_meta::scans::{Orphan, OrphanRule, ScanCounts, ScanRecord};
use elanus_runtime::background::Report;
use elanus_types::{Failure, ObjectKey};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::HashSet;
use tokio::sync::Mutex;

/// Who froze the deletes.
pub(crate) const FREEZE_SOURCE: &str = "scan";
/// Orphans that are queued in one transaction.
const QUEUE_MAX: u32 = 500;
/// Pages without orphans after which the progress is written all the same.
const TOLD_EVERY: u64 = 16;
const HEADS_AT_ONCE: usize = 16;
/// Missing keys that are named in the log.
const NAMED_MAX: usize = 10;

pub(crate) async fn scan(parts: &Parts) -> Result<Report, Failure> {
    let queued = queue(parts).await?;
    let Some(scan) = parts.coordinator.begin_scan(parts.config.scan_interval_ms).await? else {
        return Ok(Report { text: told_queued(queued), ..Report::handled(queued) });
    };
    tracing::info!(scan = scan.id, "a scan of the bucket begins");
    let (complete, uploads) = match look(parts, &scan).await {
        Ok(seen) => seen,
        Err(failure) => {
            // OR-1. Where even this cannot be written, the next round finds the scan and discards it.
            if let Err(error) = parts.coordinator.discard_scan(scan.id, &failure.message).await {
                tracing::warn!(scan = scan.id, %error, "a failed scan waits to be discarded");
            }
            return Err(failure.context("the scan counts for nothing"));
        }
    };
    let queued = queued + queue(parts).await?;
    let ScanCounts { listed, orphans, unknown, missing, .. } = complete.counts;
    tracing::info!(scan = scan.id, listed, orphans, unknown, missing, held = complete.held, "a scan is complete");
    if complete.held {
        tracing::error!(
            scan = scan.id,
            listed,
            orphans,
            unknown,
            "a scan found more orphans than a healthy store has: none is deleted until `elanus ctl gc orphans --accept-scan` says so"
        );
    }
    let mut text =
        format!("{listed} objects, {orphans} orphans, {unknown} unknown, {missing} missing{}", told_queued(queued));
    if !uploads.text.is_empty() {
        text = format!("{text}; {}", uploads.text);
    }
    let failed = u64::from(missing > 0 || complete.held) + u64::from(uploads.failed);
    Ok(Report { text, failed, ..Report::handled(queued + 1) })
}

fn told_queued(queued: u64) -> String {
    if queued == 0 { String::new() } else { format!(", {queued} orphans queued for deletion") }
}

/// What a person can see of the rule.
pub(crate) fn rule(parts: &Parts) -> OrphanRule {
    OrphanRule { gap_ms: parts.config.orphan_gap_ms, age_ms: parts.config.orphan_age_ms }
}

/// Queues all orphans that may be deleted.
async fn queue(parts: &Parts) -> Result<u64, Failure> {
    let mut queued = 0;
    loop {
        let batch = parts.coordinator.queue_orphans(rule(parts), QUEUE_MAX).await?;
        queued += batch;
        if batch < u64::from(QUEUE_MAX) {
            break;
        }
    }
    if queued > 0 {
        tracing::warn!(queued, "orphans are queued for deletion");
        parts.background.activate(crate::background::SWEEP);
    }
    Ok(queued)
}

/// What all ranges together have seen so far.
#[derive(Debug, Default)]
struct Seen {
    counts: ScanCounts,
    /// The first of those that are missing.
    missing: Vec<ObjectKey>,
}

/// Goes through the whole namespace.
async fn look(parts: &Parts, scan: &ScanRecord) -> Result<(ScanRecord, Told), Failure> {
    let seen = Mutex::new(Seen::default());
    let ranges = walk::shards(parts).await?;
    stream::iter(ranges.into_iter().map(Ok))
        .try_for_each_concurrent(parts.config.scan_shards_at_once.max(1), |range| look_at(parts, scan, range, &seen))
        .await?;
    let Seen { counts, mut missing } = seen.into_inner();
    missing.sort_unstable();
    let mut message = told_missing(&counts, &missing);
    // Before the scan counts: a coordinator that dies in between must not leave deletes going on.
    if counts.missing > 0 {
        tracing::error!(scan = scan.id, missing = counts.missing, keys = ?missing, "live objects are not in the bucket");
        parts.coordinator.freeze_deletes(FREEZE_SOURCE, &message).await?;
    }
    // If one is gone that should not be, nothing more is taken away.
    let uploads = if counts.missing == 0 { uploads::abort_stale(parts).await } else { Told::default() };
    message.push_str(&uploads.text);
    let complete = parts.coordinator.complete_scan(scan.id, &counts, &message).await?;
    if counts.missing == 0 && parts.coordinator.thaw_deletes(FREEZE_SOURCE).await? {
        tracing::warn!(scan = scan.id, "all live objects are in the bucket again: deletes go on");
    }
    Ok((complete, uploads))
}

/// Goes through a range of keys.
async fn look_at(parts: &Parts, scan: &ScanRecord, range: KeyRange, seen: &Mutex<Seen>) -> Result<(), Failure> {
    let mut walk = Walk::of(parts, range)?;
    while let Some(page) = walk.next().await? {
        let Counted { orphans, absent, listed, listed_bytes } = sort(&page.pairs);
        let absent = still_missing(parts, page.after.as_ref(), absent, is_live).await?;
        // Held while the progress is written, so that it only grows.
        let mut seen = seen.lock().await;
        add(&mut seen.counts, &orphans, listed, listed_bytes);
        seen.counts.missing += absent.len() as u64;
        let room = NAMED_MAX.saturating_sub(seen.missing.len());
        seen.missing.extend(absent.into_iter().take(room));
        if !orphans.is_empty() || seen.counts.pages.is_multiple_of(TOLD_EVERY) {
            parts.coordinator.record_scan(scan.id, &seen.counts, &orphans).await?;
        }
    }
    Ok(())
}

fn told_missing(counts: &ScanCounts, named: &[ObjectKey]) -> String {
    if counts.missing == 0 {
        return String::new();
    }
    let named: Vec<&str> = named.iter().map(ObjectKey::as_str).collect();
    format!(
        "{} live objects are not in the bucket, among them {}; bring them back from a backup and scan again, or run `elanus ctl gc reconcile`",
        counts.missing,
        named.join(", ")
    )
}

/// What is on a page.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) orphans: Vec<Orphan>,
    /// Keys of live objects that it does not have.
    pub(super) absent: Vec<ObjectKey>,
    listed: u64,
    listed_bytes: u64,
}

pub(super) fn sort(page: &[Pair]) -> Counted {
    let mut counted = Counted::default();
    for Pair { key, listed, known } in page {
        let Some(listed) = listed else {
            if known.as_ref().is_some_and(is_live) {
                counted.absent.push(key.clone());
            }
            continue;
        };
        counted.listed += 1;
        counted.listed_bytes += listed.size;
        let tombstone = match known {
            // Being written, needed, or about to be deleted.
            Some(known) if known.file_set_state != "gone" => continue,
            Some(known) => Some(known.file_set),
            None => None,
        };
        let (size, modified_ms) = (listed.size, listed.modified_ms);
        counted.orphans.push(Orphan { key: key.clone(), size, modified_ms, tombstone });
    }
    counted
}

fn add(counts: &mut ScanCounts, orphans: &[Orphan], listed: u64, listed_bytes: u64) {
    let unknown = orphans.iter().filter(|orphan| orphan.tombstone.is_none()).count() as u64;
    counts.pages += 1;
    counts.listed += listed;
    counts.listed_bytes += listed_bytes;
    counts.unknown += unknown;
    counts.orphans += orphans.len() as u64 - unknown;
    counts.orphans_bytes += orphans.iter().map(|orphan| orphan.size).sum::<u64>();
}

pub(super) fn is_live(known: &KnownObject) -> bool {
    known.file_set_state == "live"
}

/// Those that are not there and are needed all the same: not written since they were listed, and neither released nor
/// deleted.
pub(super) async fn still_missing(
    parts: &Parts,
    after: Option<&ObjectKey>,
    absent: Vec<ObjectKey>,
    is_needed: fn(&KnownObject) -> bool,
) -> Result<Vec<ObjectKey>, Failure> {
    let gone = absent_of(parts, absent).await?;
    let Some(last) = gone.last() else { return Ok(gone) };
    // Of a page's keys, and those that were registered among them since.
    let known = parts.meta().known_between(after, Some(last), u32::MAX).await?;
    let needed: HashSet<ObjectKey> = known.into_iter().filter(is_needed).map(|known| known.key).collect();
    Ok(gone.into_iter().filter(|key| needed.contains(key)).collect())
}

/// Those of these keys that have no object.
pub(super) async fn absent_of(parts: &Parts, keys: Vec<ObjectKey>) -> Result<Vec<ObjectKey>, Failure> {
    let found: Vec<Option<ObjectKey>> = stream::iter(keys)
        .map(|key| async move {
            match parts.objects.head(&key).await {
                Ok(_) => Ok(None),
                Err(elanus_objects::Error::NotFound { .. }) => Ok(Some(key)),
                Err(error) => Err(Failure::from(error)),
            }
        })
        .buffered(HEADS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

//! Deletes the objects of what was claimed. Dying between any two steps is repaired by the next round: what is claimed is
//! claimed again, deleting twice is harmless, for a key is never used twice.

use super::first::dry;
use super::gate::{gate, gate_claimed};
use crate::Parts;
use elanus_meta::Room;
use elanus_objects::Error;
use elanus_runtime::background::Report;
use elanus_types::Failure;
use metrics::counter;
use std::sync::atomic::Ordering;

/// File sets of one claim; a set of a batch has one or two objects.
pub(super) const SETS_MAX: u32 = 1_000;
/// One half is for what was claimed before, so that the other half goes on.
const SETS_MIN: u32 = 2;

pub(crate) async fn expire_intents(parts: &Parts) -> Result<Report, Failure> {
    let handled = parts.coordinator.expire_intents(SETS_MAX).await?;
    if handled > 0 {
        parts.background.activate(crate::background::SWEEP);
    }
    Ok(Report { again_now: handled >= u64::from(SETS_MAX), ..Report::handled(handled) })
}

/// One claim, its deletion, its end.
pub(crate) async fn sweep(parts: &Parts) -> Result<Report, Failure> {
    let _running = parts.gc.running.read().await;
    if !parts.meta().is_anything_due().await? {
        return Ok(Report::default());
    }
    gate(parts).await?;
    if let Some(why) = dry(parts).await? {
        return Ok(Report { text: why, ..Report::default() });
    }
    let room = parts.gc.sets.load(Ordering::Relaxed);
    let Deleted { gone, failed } = delete(parts, Room::Any(room)).await?;
    if gone > 0 {
        // A failing job waits until nothing is left of it.
        parts.background.activate(crate::background::RESTORE_CHECK);
        parts.background.activate(crate::background::PURGE);
    }
    let report = Report { again_now: gone + failed.objects >= u64::from(room), ..Report::handled(gone) };
    Ok(Report { failed: failed.objects, text: failed.text(), ..report })
}

/// What a claim came to.
#[derive(Debug, Default)]
struct Deleted {
    /// File sets that are gone.
    gone: u64,
    failed: Failed,
}

/// Objects that the store did not delete.
#[derive(Debug, Default)]
struct Failed {
    objects: u64,
    why: String,
}

impl Failed {
    fn text(&self) -> String {
        if self.objects == 0 {
            return String::new();
        }
        format!("{} objects could not be deleted, they are tried again: {}", self.objects, self.why)
    }
}

/// Deletes what is in a plan and may still go; how many file sets.
pub(crate) async fn apply(parts: &Parts, plan: i64, actor: &str) -> Result<u64, Failure> {
    parts.coordinator.begin_apply(plan, actor).await?;
    let mut total = 0;
    let mut not_deleted = Failed::default();
    loop {
        let _running = parts.gc.running.read().await;
        let Deleted { gone, failed } = delete(parts, Room::Plan(plan, SETS_MAX)).await?;
        if gone + failed.objects == 0 {
            break;
        }
        total += gone;
        not_deleted = Failed { objects: not_deleted.objects + failed.objects, why: failed.why };
    }
    parts.coordinator.end_apply(plan).await?;
    parts.background.activate(crate::background::SWEEP);
    if not_deleted.objects > 0 {
        return Err(Failure::internal(format!("{total} file sets are deleted; {}", not_deleted.text())));
    }
    Ok(total)
}

/// An object that the store does not delete keeps no other waiting: it is noted, the others are gone (O-1). Where nothing is
/// known of any, the next claim is smaller.
async fn delete(parts: &Parts, room: Room) -> Result<Deleted, Failure> {
    gate(parts).await?;
    let claimed = parts.coordinator.claim_unneeded(room).await?;
    if claimed.file_sets == 0 {
        return Ok(Deleted::default());
    }
    gate_claimed(parts).await?;
    let sets = &parts.gc.sets;
    let objects = claimed.permits.len() as u64;
    let deleted = match parts.objects.delete(claimed.permits).await {
        Ok(()) => Deleted { gone: parts.coordinator.mark_gone(claimed.claim).await?, failed: Failed::default() },
        Err(Error::Undeleted { keys, source }) => {
            let why = Failure::from(*source).message;
            tracing::error!(objects = keys.len(), first = %keys[0], why, "objects could not be deleted");
            counter!("elanus_datacoord_gc_delete_failures_total").increment(keys.len() as u64);
            let gone = parts.coordinator.mark_gone_but(claimed.claim, &keys, &why).await?;
            Deleted { gone, failed: Failed { objects: keys.len() as u64, why } }
        }
        Err(error) => {
            counter!("elanus_datacoord_gc_delete_failures_total").increment(objects);
            sets.store((sets.load(Ordering::Relaxed) / 4).max(SETS_MIN), Ordering::Relaxed);
            return Err(error.into());
        }
    };
    counter!("elanus_datacoord_gc_deleted_objects_total").increment(objects.saturating_sub(deleted.failed.objects));
    sets.store((sets.load(Ordering::Relaxed) * 2).min(SETS_MAX), Ordering::Relaxed);
    Ok(deleted)
}

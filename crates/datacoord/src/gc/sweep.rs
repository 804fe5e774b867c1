//! Deletes the objects of what was claimed. Dying between any two steps is repaired by the next round: what is claimed is
//! claimed again, deleting twice is harmless, for a key is never used twice.

use super::gate::gate;
use crate::Parts;
use elanus_meta::Room;
use elanus_runtime::background::Report;
use elanus_types::Failure;
use std::sync::atomic::Ordering;

/// File sets of one claim; a set of a batch has one or two objects.
pub(super) const SETS_MAX: u32 = 1_000;

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
    let room = parts.gc.sets.load(Ordering::Relaxed);
    let gone = delete(parts, Room::Any(room)).await?;
    if gone > 0 {
        // A failing job waits until nothing is left of it.
        parts.background.activate(crate::background::RESTORE_CHECK);
    }
    Ok(Report { again_now: gone >= u64::from(room), ..Report::handled(gone) })
}

/// Deletes what is in a plan and may still go; how many file sets.
pub(crate) async fn apply(parts: &Parts, plan: i64, actor: &str) -> Result<u64, Failure> {
    parts.coordinator.begin_apply(plan, actor).await?;
    let mut total = 0;
    loop {
        let _running = parts.gc.running.read().await;
        match delete(parts, Room::Plan(plan, SETS_MAX)).await? {
            0 => break,
            gone => total += gone,
        }
    }
    parts.coordinator.end_apply(plan).await?;
    parts.background.activate(crate::background::SWEEP);
    Ok(total)
}

/// How many file sets are gone. A deletion that failed makes the next claim smaller, so that objects that cannot be deleted
/// keep few others waiting (O-1).
async fn delete(parts: &Parts, room: Room) -> Result<u64, Failure> {
    gate(parts).await?;
    let claimed = parts.coordinator.claim_unneeded(room).await?;
    if claimed.file_sets == 0 {
        return Ok(0);
    }
    gate(parts).await?;
    let sets = &parts.gc.sets;
    if let Err(error) = parts.objects.delete(claimed.permits).await {
        sets.store((sets.load(Ordering::Relaxed) / 4).max(1), Ordering::Relaxed);
        return Err(error.into());
    }
    sets.store((sets.load(Ordering::Relaxed) * 2).min(SETS_MAX), Ordering::Relaxed);
    Ok(parts.coordinator.mark_gone(claimed.claim).await?)
}

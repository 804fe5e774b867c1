//! Deletes what abandoned writes and failed restores had registered as their own before they wrote it, and orphans that
//! scans found. Compares bucket and metadata.

mod facts;
mod measure;
mod reconcile;
mod scan;
mod scrub;
mod walk;

pub(crate) use measure::measure;
pub(crate) use reconcile::reconcile;
pub(crate) use scan::{rule, scan};
pub(crate) use scrub::scrub;

use crate::Parts;
use elanus_runtime::background::Report;
use elanus_types::Failure;

/// File sets of one round; a set of a batch has one or two objects.
const SETS_MAX: u32 = 1_000;

pub(crate) async fn expire_intents(parts: &Parts) -> Result<Report, Failure> {
    let handled = parts.coordinator.expire_intents(SETS_MAX).await?;
    if handled > 0 {
        parts.background.activate(crate::background::SWEEP);
    }
    Ok(Report { again_now: handled >= u64::from(SETS_MAX), ..Report::handled(handled) })
}

/// Claims, deletes, marks as gone. Dying between any two of these is repaired by the next round: what is claimed is
/// claimed again, deleting twice is harmless, for a key is never used twice.
pub(crate) async fn sweep(parts: &Parts) -> Result<Report, Failure> {
    let claimed = parts.coordinator.claim_abandoned(SETS_MAX).await?;
    if claimed.is_empty() {
        return Ok(Report::default());
    }
    let file_sets: Vec<_> = claimed.iter().map(|claim| claim.file_set).collect();
    let permits = claimed.into_iter().flat_map(|claim| claim.permits).collect();
    parts.objects.delete(permits).await?;
    parts.coordinator.mark_gone(&file_sets).await?;
    // A failing job waits until nothing is left of it.
    parts.background.activate(crate::background::RESTORE_CHECK);
    Ok(Report { again_now: file_sets.len() >= SETS_MAX as usize, ..Report::handled(file_sets.len() as u64) })
}

//! Before this process deletes for the first time: was the collector before it another program? Then nothing is deleted yet
//! (`elanus_meta`, `gc/first_run`).

use crate::Parts;
use elanus_types::Failure;
use std::sync::atomic::Ordering;

/// Why nothing is deleted now; `None` when things may be. Called where the guard of the root path has agreed, so that the time
/// of a dry run does not pass while a hold is on.
pub(super) async fn dry(parts: &Parts) -> Result<Option<String>, Failure> {
    if parts.gc.collecting.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let found = parts.coordinator.begin_collecting(parts.config.program, parts.config.gc_first_run_pause_ms).await?;
    parts.gc.collecting.store(true, Ordering::Relaxed);
    let Some(first) = found else { return Ok(None) };
    let (plan, ticket) = (first.plan.id, first.pause.id);
    tracing::warn!(
        plan,
        ticket,
        objects = first.plan.objects,
        bytes = first.plan.bytes,
        until_ms = first.pause.until_ms,
        "{} deletes nothing for now: look at gc apply {plan} --dry-run, answer with gc apply {plan} or gc resume {ticket}, or wait",
        first.why
    );
    Ok(Some(format!("{} deletes nothing: plan {plan} has {} objects", first.why, first.plan.objects)))
}

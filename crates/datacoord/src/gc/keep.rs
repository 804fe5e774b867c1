//! The books of the collector: are the references right, and which rows does nobody need any more?

use crate::Parts;
use elanus_meta::Retention;
use elanus_runtime::background::Report;
use elanus_types::{Failure, FileSetId};

/// File sets of a page of the recount.
const PAGE: u32 = 1_000;
/// Rows of each kind that end in a round.
const ROWS_MAX: u32 = 1_000;
/// Memberships of a transaction.
const CHUNK: u32 = 1_000;

/// Compares references with what refers. A difference freezes deletes: then the metadata cannot be trusted to say that
/// nobody needs a file.
pub(crate) async fn recount(parts: &Parts) -> Result<Report, Failure> {
    let mut missed = 0;
    loop {
        match parts.coordinator.release_missed(CHUNK).await? {
            0 => break,
            released => missed += released,
        }
    }
    let mut after = FileSetId(0);
    let mut wrong = 0;
    loop {
        let page = parts.meta().recount(after, PAGE).await?;
        for (file_set, refs, found) in &page.wrong {
            tracing::error!(%file_set, refs, found, "a file set has other references than it says; deletes are frozen");
            let reason = format!("file set {file_set} says {refs} references, {found} were found");
            parts.coordinator.freeze_gc(&reason, "gc.recount").await?;
            wrong += 1;
        }
        let Some(last) = page.last else { break };
        after = last;
    }
    let text = if wrong > 0 { "references do not add up, deletes are frozen".to_owned() } else { String::new() };
    Ok(Report { handled: missed, failed: wrong, text, again_now: false })
}

pub(crate) async fn forget(parts: &Parts) -> Result<Report, Failure> {
    let _running = parts.gc.running.read().await;
    let keep = Retention {
        tombstones_ms: parts.config.gc_tombstones_ms,
        history_ms: parts.config.history_retention_ms,
        audit_ms: parts.config.audit_retention_ms,
    };
    let forgotten = parts.coordinator.forget(keep, ROWS_MAX).await?;
    let again_now = forgotten.total() >= u64::from(ROWS_MAX);
    Ok(Report { again_now, ..Report::handled(forgotten.total()) })
}

//! Segments: they grow while writers append, and end by size (the writer), by a flush (the user) or by age (here).

use crate::Parts;
use elanus_runtime::background::Report;
use elanus_types::{Failure, Timestamp};

/// A segment that was opened longer ago ends, also when its writer is gone.
const AGE_MAX_MS: i64 = 10 * 60_000;

pub(crate) async fn seal(parts: &Parts) -> Result<Report, Failure> {
    let opened_before = Timestamp::from_ms(parts.now_ms() - AGE_MAX_MS);
    Ok(Report::handled(parts.coordinator.seal_idle_segments(opened_before).await?))
}

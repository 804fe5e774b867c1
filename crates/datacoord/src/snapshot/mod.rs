//! Snapshots: the pin is one transaction in the metadata, what follows makes it readable without Elanus.

mod create;
mod late;
mod manifests;

pub(crate) use create::{complete, create};
pub(crate) use late::write_accepted;

use crate::Parts;
use elanus_runtime::background::Report;
use elanus_types::Failure;

pub(crate) async fn expire(parts: &Parts) -> Result<Report, Failure> {
    let expired = parts.coordinator.expire_snapshots().await?;
    for snapshot in &expired {
        tracing::warn!(%snapshot, "a snapshot was given up: its writer is silent");
    }
    Ok(Report::handled(expired.len() as u64))
}

pub(crate) async fn expire_pins(parts: &Parts) -> Result<Report, Failure> {
    Ok(Report::handled(parts.coordinator.expire_pins().await?))
}

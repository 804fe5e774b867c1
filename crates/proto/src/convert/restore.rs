//! States of restore jobs as Milvus clients know them.

use crate::milvus::RestoreSnapshotState;
use elanus_types::Failure;

/// The Milvus state of a job in the state with this label. Failing counts as failed: nothing can save it any more.
///
/// # Errors
/// When no job state has this label.
pub fn restore_state(label: &str) -> Result<RestoreSnapshotState, Failure> {
    Ok(match label {
        "pending" => RestoreSnapshotState::RestoreSnapshotPending,
        "copying" | "publishing" => RestoreSnapshotState::RestoreSnapshotExecuting,
        "completed" => RestoreSnapshotState::RestoreSnapshotCompleted,
        "failing" | "failed" => RestoreSnapshotState::RestoreSnapshotFailed,
        other => {
            return Err(Failure::internal(format!("no restore job is in a state called {other:?}")));
        }
    })
}

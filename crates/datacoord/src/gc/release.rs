//! Drains dropped snapshots, collections and partitions: a chunk of references each, until none is left.

use crate::Parts;
use elanus_meta::{MetaError, Progress};
use elanus_runtime::background::Report;
use elanus_types::{CollectionId, Failure, PartitionId, SnapshotId};

/// Things of each kind that a round looks at.
const THINGS_MAX: u32 = 100;
/// References of one transaction.
const CHUNK: u32 = 1_000;
/// Transactions of one round.
const CHUNKS_MAX: u64 = 100;

pub(crate) async fn release(parts: &Parts) -> Result<Report, Failure> {
    let _running = parts.gc.running.read().await;
    let mut waiting = parts.meta().to_be_released(THINGS_MAX).await?;
    let mut round = Round::default();
    // Collections first: they end their snapshots and their partitions.
    let mut looked_at = false;
    for id in std::mem::take(&mut waiting.collections) {
        round.drain(parts, Thing::Collection(id)).await?;
        looked_at = true;
    }
    if looked_at {
        waiting = parts.meta().to_be_released(THINGS_MAX).await?;
    }
    for id in waiting.partitions {
        round.drain(parts, Thing::Partition(id)).await?;
    }
    for id in waiting.snapshots {
        round.drain(parts, Thing::Snapshot(id)).await?;
    }
    if round.done > 0 {
        parts.background.activate(crate::background::SWEEP);
    }
    let text = if round.kept > 0 { format!("{} are kept", round.kept) } else { String::new() };
    let again_now = round.chunks >= CHUNKS_MAX;
    Ok(Report { handled: round.done, failed: round.failed, text, again_now })
}

#[derive(Clone, Copy, Debug)]
enum Thing {
    Collection(CollectionId),
    Partition(PartitionId),
    Snapshot(SnapshotId),
}

impl Thing {
    async fn chunk(self, parts: &Parts) -> elanus_meta::Result<Progress> {
        match self {
            Self::Collection(id) => parts.coordinator.release_collection(id, CHUNK).await,
            Self::Partition(id) => parts.coordinator.release_partition(id, CHUNK).await,
            Self::Snapshot(id) => parts.coordinator.release_snapshot(id, CHUNK).await,
        }
    }
}

#[derive(Default)]
struct Round {
    chunks: u64,
    done: u64,
    kept: u64,
    failed: u64,
}

impl Round {
    /// Chunks of one thing until nothing is left of it. One whose references do not add up keeps no other waiting (O-1).
    async fn drain(&mut self, parts: &Parts, thing: Thing) -> Result<(), Failure> {
        while self.chunks < CHUNKS_MAX {
            match thing.chunk(parts).await {
                Ok(Progress::More(_)) => {}
                Ok(Progress::Done) => {
                    self.done += 1;
                    return Ok(());
                }
                Ok(Progress::Kept(brake)) => {
                    tracing::debug!(?thing, brake = brake.label(), "is not released now");
                    self.kept += 1;
                    return Ok(());
                }
                Err(error @ (MetaError::Corrupt(_) | MetaError::Refused(_))) => {
                    tracing::error!(?thing, %error, "what was dropped is not released: its references do not add up");
                    self.failed += 1;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            self.chunks += 1;
        }
        Ok(())
    }
}

//! Rollback in place: the safety snapshot is written while writes wait, then one transaction goes back.
//!
//! A rollback that does not happen leaves the collection as it was, and at most a complete snapshot more.

use crate::{Parts, snapshot};
use elanus_meta::model::{CollectionRecord, SnapshotRecord};
use elanus_meta::{Begun, MetaError, NewRollback, RollbackRecord, while_renewing};
use elanus_types::{Code, CollectionId, Failure};
use std::time::Duration;

/// How long writes wait at most when the coordinator dies meanwhile, in milliseconds.
const HOLD_MS: i64 = 10_000;
const HOLD_EVERY: Duration = Duration::from_secs(3);
/// Safety snapshots that are taken because something was committed after the one before.
const ATTEMPTS_MAX: u32 = 5;
/// Times that a commit is asked for when the answer is lost.
const COMMITS_MAX: u32 = 3;
/// How often a rollback looks whether another one of the collection has ended, and for how long.
const WAIT_EVERY: Duration = Duration::from_millis(20);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Rolls a collection back to one of its snapshots; returns when it is done.
pub(crate) async fn roll_back(
    parts: &Parts,
    collection: CollectionRecord,
    snapshot_name: String,
) -> Result<RollbackRecord, Failure> {
    // On its own: a client that goes away does not leave writes waiting.
    let parts = parts.clone();
    tokio::spawn(async move { attempts(&parts, &collection, &snapshot_name).await })
        .await
        .map_err(|e| Failure::internal(format!("the rollback was cut off: {e}")))?
}

async fn attempts(parts: &Parts, collection: &CollectionRecord, name: &str) -> Result<RollbackRecord, Failure> {
    for _ in 0..ATTEMPTS_MAX {
        let (snapshot, safety) = match begin(parts, collection.id, name).await? {
            Ok(begun) => begun,
            Err(done) => return Ok(done),
        };
        let work = attempt(parts, collection, &snapshot, &safety);
        let ended = holding_writes(parts, collection.id, work).await;
        let done = match &ended {
            Ok(Some(done)) => Some(done.clone()),
            Ok(None) | Err(_) => give_up(parts, collection.id, &safety).await,
        };
        if let Some(done) = done {
            tracing::info!(collection = %collection.id, snapshot = name, safety = done.safety_name, "rolled back");
            return Ok(done);
        }
        ended?;
    }
    let text = "the collection is changed all the time, so that nothing was rolled back; try again in a quieter moment";
    Err(Failure::new(Code::NotReady, text))
}

/// Snapshot and pending safety snapshot, or a rollback that is done already.
async fn begin(
    parts: &Parts,
    collection: CollectionId,
    name: &str,
) -> Result<Result<(SnapshotRecord, SnapshotRecord), RollbackRecord>, Failure> {
    let waiting = async {
        loop {
            let now_ms = parts.now_ms();
            let new = NewRollback {
                collection,
                snapshot_name: name.to_owned(),
                owner: parts.node.clone(),
                lease_until_ms: now_ms + parts.config.snapshot_lease_ms,
                held_until_ms: now_ms + HOLD_MS,
            };
            match parts.coordinator.begin_rollback(new).await? {
                Begun::New { snapshot, safety } => return Ok(Ok((snapshot, safety))),
                Begun::Done(done) => return Ok(Err(done)),
                Begun::Held => tokio::time::sleep(WAIT_EVERY).await,
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, waiting).await.unwrap_or_else(|_| {
        Err(Failure::new(Code::NotReady, "another rollback of the collection is under way; ask again later"))
    })
}

/// `None`: something was committed after the safety snapshot.
async fn attempt(
    parts: &Parts,
    collection: &CollectionRecord,
    snapshot: &SnapshotRecord,
    safety: &SnapshotRecord,
) -> Result<Option<RollbackRecord>, Failure> {
    snapshot::complete(parts, collection, safety).await?;
    let commit = || parts.coordinator.commit_rollback(collection.id, snapshot.id, safety.id);
    for _ in 1..COMMITS_MAX {
        match commit().await {
            Err(MetaError::CommitUnknown(error)) => tracing::warn!(%error, "a rollback is asked for again"),
            known => return Ok(known?),
        }
    }
    Ok(commit().await?)
}

/// Runs `work` while writes wait.
async fn holding_writes<T>(parts: &Parts, collection: CollectionId, work: impl Future<Output = T>) -> T {
    let renew = || parts.coordinator.hold_writes(collection, parts.now_ms() + HOLD_MS);
    // A lost hold is found out by the commit, which does nothing then.
    while_renewing(HOLD_EVERY, "the hold of writes", renew, work).await
}

/// Lets writes go on, and drops the safety snapshot of a rollback that did not happen; the rollback, when it did.
async fn give_up(parts: &Parts, collection: CollectionId, safety: &SnapshotRecord) -> Option<RollbackRecord> {
    match parts.coordinator.abandon_rollback(collection, safety.id).await {
        Ok(done) => done,
        Err(error) => {
            tracing::warn!(%collection, snapshot = safety.name, %error, "the snapshot before a failed rollback stays");
            None
        }
    }
}

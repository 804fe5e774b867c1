//! May this process delete now? Asked before a claim, and again before what it claimed is deleted: what is claimed and not
//! deleted cannot come back.

use crate::Parts;
use async_trait::async_trait;
use elanus_objects::ObjectStore;
use elanus_types::{Code, Failure};
use std::fmt;
use std::sync::Arc;

/// Says whether this process owns the root path that it would delete in.
#[async_trait]
pub trait DeleteGuard: fmt::Debug + Send + Sync {
    /// Returns when deletes may go on for the next seconds.
    ///
    /// # Errors
    /// Why not, for people. Nothing is claimed then.
    async fn confirm_for_delete(&self) -> Result<(), String>;

    /// Writes the owner's marker: any backup of the metadata that was made before this call is known as one afterwards.
    ///
    /// # Errors
    /// When it was not written, for people.
    async fn mark(&self) -> Result<(), String>;

    /// Ends what restored metadata holds, under a new epoch; what it ended, for people. Done again, it is another epoch.
    ///
    /// # Errors
    /// When the marker was not written, for people: the hold stays.
    async fn reconciled(&self) -> Result<Option<String>, String>;

    /// The former owner of the root path with this id, whose objects may be deleted: looked at a moment ago.
    ///
    /// # Errors
    /// Why they may not, for people.
    async fn purgeable(&self, cluster_id: &str) -> Result<Former, String>;
}

/// A cluster that the root path was taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// Its id, as its folder is called.
    pub cluster_id: String,
    /// When, in milliseconds since 1970.
    pub taken_ms: i64,
    /// Why, as an operator said.
    pub reason: String,
}

/// Whoever holds the lock of a local directory owns it as long as it lives.
#[derive(Clone, Copy, Debug)]
struct Locked;

#[async_trait]
impl DeleteGuard for Locked {
    async fn confirm_for_delete(&self) -> Result<(), String> {
        Ok(())
    }

    async fn mark(&self) -> Result<(), String> {
        Ok(())
    }

    async fn reconciled(&self) -> Result<Option<String>, String> {
        Ok(None)
    }

    async fn purgeable(&self, _cluster_id: &str) -> Result<Former, String> {
        Err("nobody wrote down whom the root path was taken from".to_owned())
    }
}

/// An object store, and who says whether this process may delete in it.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// The objects.
    pub objects: Arc<dyn ObjectStore>,
    /// Asked before every deletion.
    pub guard: Arc<dyn DeleteGuard>,
}

impl From<Arc<dyn ObjectStore>> for Bucket {
    /// For a store that a lock makes this process's own.
    fn from(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, guard: Arc::new(Locked) }
    }
}

/// The one place where a sweep asks, before it claims.
pub(super) async fn gate(parts: &Parts) -> Result<(), Failure> {
    parts.guard.confirm_for_delete().await.map_err(frozen)
}

/// And the one where it asks after it claimed: metadata from before the claim, should they come back as a backup, must not
/// be taken for the newest, for they need what is deleted now.
pub(super) async fn gate_claimed(parts: &Parts) -> Result<(), Failure> {
    parts.guard.mark().await.map_err(frozen)?;
    gate(parts).await
}

fn frozen(why: String) -> Failure {
    Failure::new(Code::NotReady, format!("deletes are frozen, what waits stays in the queue: {why}"))
}

/// Why nothing at all is deleted at present.
pub(super) async fn brake(parts: &Parts) -> Result<Option<String>, Failure> {
    if let Some(freeze) = parts.meta().delete_freezes().await?.into_iter().next() {
        return Ok(Some(format!("deletes are frozen by {}: {}", freeze.source, freeze.why)));
    }
    // Whose collection a write belongs to is not asked: a pause of one is a pause of all.
    let paused = !parts.meta().gc_pauses().await?.is_empty();
    Ok(paused.then(|| "deletes are paused".to_owned()))
}

/// As [`brake`], also what the owner of the root path says; empty when things are deleted.
pub(super) async fn why_not(parts: &Parts) -> Result<String, Failure> {
    match parts.guard.confirm_for_delete().await {
        Err(why) => Ok(why),
        Ok(()) => Ok(brake(parts).await?.unwrap_or_default()),
    }
}

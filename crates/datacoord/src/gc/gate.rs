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
}

/// Whoever holds the lock of a local directory owns it as long as it lives.
#[derive(Clone, Copy, Debug)]
struct Locked;

#[async_trait]
impl DeleteGuard for Locked {
    async fn confirm_for_delete(&self) -> Result<(), String> {
        Ok(())
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

/// The one place where a sweep asks.
pub(super) async fn gate(parts: &Parts) -> Result<(), Failure> {
    parts.guard.confirm_for_delete().await.map_err(|why| {
        let text = format!("deletes are frozen, what waits stays in the queue: {why}");
        Failure::new(Code::NotReady, text)
    })
}

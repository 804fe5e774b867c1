//! The garbage collector: gives back the references of what was dropped, deletes what nothing needs, and forgets the rows.
//! What may go is decided by the metadata alone (`elanus_meta::gc`). What is in the bucket is looked at by scan, scrub and
//! reconcile: they compare it with the metadata, and what they find goes the same way.
//!
//! An idle round asks the object store for nothing.

mod facts;
mod first;
mod gate;
mod keep;
mod measure;
mod purge;
mod reconcile;
mod release;
mod scan;
mod scrub;
mod sweep;
mod uploads;
mod walk;

pub use gate::{Bucket, DeleteGuard, Former};
pub(crate) use keep::{forget, recount};
pub(crate) use measure::measure;
pub(crate) use purge::{purge, serve as serve_purge};
pub(crate) use reconcile::reconcile;
pub(crate) use release::release;
pub(crate) use scan::{rule, scan};
pub(crate) use scrub::scrub;
pub(crate) use sweep::{apply, expire_intents, sweep};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use tokio::sync::RwLock;

/// What the rounds of the collector share.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    /// Read by every round that changes something, written by whoever must know that none runs: a pause is a barrier.
    pub(crate) running: Arc<RwLock<()>>,
    /// File sets of the next claim: fewer after a deletion that failed.
    pub(crate) sets: Arc<AtomicU32>,
    /// This process has asked whether its first run is dry.
    pub(crate) collecting: Arc<AtomicBool>,
}

impl Default for Collector {
    fn default() -> Self {
        let sets = Arc::new(AtomicU32::new(sweep::SETS_MAX));
        Self { running: Arc::default(), sets, collecting: Arc::default() }
    }
}

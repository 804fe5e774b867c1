//! Compactions.

use crate::{Client, Compaction, CompactionJob, ErrorKind, Result};
use elanus_proto::datacoord::{CollectionRef, JobRef, ListCompactionsRequest};
use std::time::{Duration, Instant};

/// Pause between two looks at a compaction that is waited for.
const POLL: Duration = Duration::from_millis(250);
/// A compaction goes on while its server restarts; so does the wait for it.
const AWAY_MAX: Duration = Duration::from_secs(120);

/// Calls about compactions.
#[derive(Clone, Copy, Debug)]
pub struct Compactions<'c>(pub(crate) &'c Client);

impl Compactions<'_> {
    /// Plans everything of a collection that gets better by being compacted. Returns when it is planned.
    ///
    /// # Errors
    /// When there is no such collection, or a rollback or a detach of it is under way.
    pub async fn start(&self, collection: &str) -> Result<CompactionJob> {
        let mut admin = self.0.admin.clone();
        self.0.write(admin.compact_collection(self.0.collection(collection))).await
    }

    /// What was asked for, as it is now.
    ///
    /// # Errors
    /// When nothing with this id was asked for, or it is forgotten.
    pub async fn describe(&self, job_id: i64) -> Result<CompactionJob> {
        let call = async || self.0.admin.clone().get_compaction(JobRef { job_id }).await;
        self.0.read(call).await
    }

    /// The newest compactions, of one collection or of all; oldest first.
    ///
    /// # Errors
    /// When there is no such collection.
    pub async fn list(&self, collection: Option<&str>) -> Result<Vec<Compaction>> {
        let collection: Option<CollectionRef> = collection.map(|name| self.0.collection(name));
        let request = ListCompactionsRequest { collection };
        let call = async || self.0.admin.clone().list_compactions(request.clone()).await;
        Ok(self.0.read(call).await?.compactions)
    }

    /// Waits until nothing of what was asked for goes on. A server that restarts meanwhile is waited for.
    ///
    /// # Errors
    /// As [`Compactions::describe`]. A compaction that failed is no error here: its state says so.
    pub async fn wait(&self, job_id: i64) -> Result<CompactionJob> {
        let mut seen = Instant::now();
        loop {
            match self.describe(job_id).await {
                Ok(job) if job.compactions.iter().all(|one| one.ended_ms != 0) => return Ok(job),
                Ok(_) => seen = Instant::now(),
                Err(error) if error.kind == ErrorKind::Unavailable && seen.elapsed() < AWAY_MAX => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

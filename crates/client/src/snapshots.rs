//! Snapshots of collections.

use crate::{Client, ClientError, ErrorKind, Pin, RestoreJob, Result, Snapshot, error::check};
use elanus_proto::{datacoord::SnapshotRef, milvus, restore_headers};
use elanus_types::RestoreMode;
use std::time::Duration;

/// Calls about snapshots.
#[derive(Clone, Copy, Debug)]
pub struct Snapshots<'c>(pub(crate) &'c Client);

impl<'c> Snapshots<'c> {
    /// Takes a snapshot of a collection under a name that is new in the collection.
    pub fn create(&self, collection: &str, name: &str) -> CreateSnapshot<'c> {
        let request = milvus::CreateSnapshotRequest {
            name: name.to_owned(),
            collection_name: collection.to_owned(),
            db_name: self.0.database.clone(),
            ..Default::default()
        };
        CreateSnapshot { client: self.0, request }
    }

    /// Committed snapshots of a collection, oldest first.
    ///
    /// # Errors
    /// When there is no such collection.
    pub async fn list(&self, collection: &str) -> Result<Vec<Snapshot>> {
        let request = self.0.collection(collection);
        let call = async || self.0.admin.clone().list_snapshots(request.clone()).await;
        Ok(self.0.read(call).await?.snapshots)
    }

    /// One snapshot.
    ///
    /// # Errors
    /// When there is no such snapshot.
    pub async fn describe(&self, collection: &str, name: &str) -> Result<Snapshot> {
        let request = self.0.snapshot(collection, name);
        let call = async || self.0.admin.clone().describe_snapshot(request.clone()).await;
        self.0.read(call).await
    }

    /// Drops a snapshot. That it is gone already is success.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when it is pinned.
    pub async fn drop(&self, collection: &str, name: &str) -> Result<()> {
        let request = milvus::DropSnapshotRequest {
            name: name.to_owned(),
            collection_name: collection.to_owned(),
            db_name: self.0.database.clone(),
            ..Default::default()
        };
        let mut milvus = self.0.milvus.clone();
        check(Some(self.0.write(milvus.drop_snapshot(request)).await?))
    }

    /// Keeps a snapshot from being dropped.
    pub fn pin(&self, collection: &str, name: &str) -> PinSnapshot<'c> {
        let request = milvus::PinSnapshotDataRequest {
            name: name.to_owned(),
            collection_name: collection.to_owned(),
            db_name: self.0.database.clone(),
            ..Default::default()
        };
        PinSnapshot { client: self.0, request }
    }

    /// Ends a pin. That it is gone already is success.
    ///
    /// # Errors
    /// When the pin belongs to a restore job.
    pub async fn unpin(&self, pin_id: i64) -> Result<()> {
        let request = milvus::UnpinSnapshotDataRequest { pin_id, ..Default::default() };
        let mut milvus = self.0.milvus.clone();
        check(Some(self.0.write(milvus.unpin_snapshot_data(request)).await?))
    }

    /// Live pins of a snapshot.
    ///
    /// # Errors
    /// When there is no such snapshot.
    pub async fn pins(&self, collection: &str, name: &str) -> Result<Vec<Pin>> {
        let request = self.0.snapshot(collection, name);
        let call = async || self.0.admin.clone().list_pins(request.clone()).await;
        Ok(self.0.read(call).await?.pins)
    }

    /// Restores a snapshot into a collection that does not exist yet.
    pub fn restore(&self, collection: &str, name: &str, target: &str) -> RestoreSnapshot<'c> {
        let request = milvus::RestoreSnapshotRequest {
            name: name.to_owned(),
            collection_name: collection.to_owned(),
            db_name: self.0.database.clone(),
            target_collection_name: target.to_owned(),
            target_db_name: self.0.database.clone(),
            ..Default::default()
        };
        RestoreSnapshot { client: self.0, request, headers: Vec::new() }
    }
}

impl Client {
    pub(crate) fn snapshot(&self, collection: &str, name: &str) -> SnapshotRef {
        SnapshotRef { collection: Some(self.collection(collection)), snapshot_name: name.to_owned() }
    }
}

/// A snapshot that is not taken yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct CreateSnapshot<'c> {
    client: &'c Client,
    request: milvus::CreateSnapshotRequest,
}

impl CreateSnapshot<'_> {
    /// Free text.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.request.description = text.into();
        self
    }

    /// Asks compaction to leave the snapshot's files alone for so long.
    pub fn compaction_protection(mut self, time: Duration) -> Self {
        self.request.compaction_protection_seconds = seconds(time);
        self
    }

    /// Takes it. It has every write that was acknowledged before, and none that is sent afterwards.
    ///
    /// # Errors
    /// When the name is taken, and when there is no such collection.
    pub async fn send(self) -> Result<Snapshot> {
        let (collection, name) = (self.request.collection_name.clone(), self.request.name.clone());
        let mut milvus = self.client.milvus.clone();
        check(Some(self.client.write(milvus.create_snapshot(self.request)).await?))?;
        self.client.snapshots().describe(&collection, &name).await
    }
}

/// A pin that is not set yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct PinSnapshot<'c> {
    client: &'c Client,
    request: milvus::PinSnapshotDataRequest,
}

impl PinSnapshot<'_> {
    /// The pin ends by itself after so long, in whole seconds; without this it stays until it is ended.
    pub fn ttl(mut self, time: Duration) -> Self {
        self.request.ttl_seconds = seconds(time);
        self
    }

    /// Sets it; the id ends it.
    ///
    /// # Errors
    /// When there is no such snapshot.
    pub async fn send(self) -> Result<i64> {
        let mut milvus = self.client.milvus.clone();
        let answer = self.client.write(milvus.pin_snapshot_data(self.request)).await?;
        check(answer.status)?;
        Ok(answer.pin_id)
    }
}

/// A restore that is not started yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct RestoreSnapshot<'c> {
    client: &'c Client,
    request: milvus::RestoreSnapshotRequest,
    headers: Vec<(&'static str, String)>,
}

impl RestoreSnapshot<'_> {
    /// The database of the new collection; that of the client where none is given.
    pub fn target_database(mut self, name: impl Into<String>) -> Self {
        self.request.target_db_name = name.into();
        self
    }

    /// Whether the files are shared or copied; what the server is set to where it is not said.
    pub fn mode(mut self, mode: RestoreMode) -> Self {
        self.headers.push((restore_headers::MODE, mode.label().to_owned()));
        self
    }

    /// Restores the rows of these partitions only; of all where none is named.
    pub fn partitions<N: AsRef<str>>(mut self, names: &[N]) -> Self {
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
            self.headers.push((restore_headers::PARTITIONS, names.join(",")));
        }
        self
    }

    /// The new collection has no indexes.
    pub fn without_indexes(mut self) -> Self {
        self.headers.push((restore_headers::INDEXES, "false".to_owned()));
        self
    }

    /// Rows of a collection with a time to live age from when they were written, and not from the restore.
    pub fn keep_ages(mut self) -> Self {
        self.headers.push((restore_headers::AGES, "write".to_owned()));
        self
    }

    /// Starts the job, or joins the one that does the same already.
    ///
    /// # Errors
    /// When there is no such snapshot or partition, and when the target's name is taken.
    pub async fn send(self) -> Result<RestoreJob> {
        let mut milvus = self.client.milvus.clone();
        let mut request = tonic::Request::new(self.request);
        for (key, value) in self.headers {
            let value = value.parse().map_err(|_| {
                ClientError::new(ErrorKind::Invalid, format!("{value:?} has characters that no partition name has"))
            })?;
            request.metadata_mut().insert(key, value);
        }
        let answer = self.client.write(milvus.restore_snapshot(request)).await?;
        check(answer.status)?;
        self.client.jobs().describe(answer.job_id).await
    }
}

/// Whole seconds, rounded up: a wish to keep is never shortened, and never becomes 0, which means for ever.
fn seconds(time: Duration) -> i64 {
    let whole = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    i64::try_from(whole).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_rounded_up() {
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(60)), 60);
        assert_eq!(seconds(Duration::MAX), i64::MAX);
    }
}

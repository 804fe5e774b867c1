//! Collections of a database.

use crate::{Client, Collection, CollectionDetail, RestoreJob, Result, Rollback};
use elanus_proto::datacoord::{CollectionRef, ListCollectionsRequest};

/// Calls about collections.
#[derive(Clone, Copy, Debug)]
pub struct Collections<'c>(pub(crate) &'c Client);

impl Collections<'_> {
    /// All collections of the database, by name.
    ///
    /// # Errors
    /// When there is no such database.
    pub async fn list(&self) -> Result<Vec<Collection>> {
        let request = ListCollectionsRequest { db_name: self.0.database.clone() };
        let call = async || self.0.admin.clone().list_collections(request.clone()).await;
        Ok(self.0.read(call).await?.collections)
    }

    /// A collection with its size.
    ///
    /// # Errors
    /// When there is no such collection.
    pub async fn describe(&self, name: &str) -> Result<CollectionDetail> {
        let request = self.0.collection(name);
        let call = async || self.0.admin.clone().describe_collection(request.clone()).await;
        self.0.read(call).await
    }

    /// Makes a collection hold again what it held at one of its snapshots. What it holds now is kept in a snapshot whose
    /// name the answer tells. A repeat is success, and changes nothing while nothing else changed the collection.
    ///
    /// # Errors
    /// When there is no such collection or snapshot.
    pub async fn roll_back(&self, name: &str, snapshot: &str) -> Result<Rollback> {
        let mut admin = self.0.admin.clone();
        self.0.write(admin.rollback_collection(self.0.snapshot(name, snapshot))).await
    }

    /// Submits a job that gives a collection copies of the files that it shares with others. A repeat joins the job that
    /// is under way.
    ///
    /// # Errors
    /// When there is no such collection.
    pub async fn detach(&self, name: &str) -> Result<RestoreJob> {
        let mut admin = self.0.admin.clone();
        self.0.write(admin.detach_collection(self.0.collection(name))).await
    }
}

impl Client {
    pub(crate) fn collection(&self, name: &str) -> CollectionRef {
        CollectionRef { db_name: self.database.clone(), collection_name: name.to_owned(), collection_id: 0 }
    }
}

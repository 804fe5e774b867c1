//! Dropped collections that can be brought back.

use crate::{Client, Collection, Result, TrashedCollection};
use elanus_proto::datacoord::{CollectionRef, ListCollectionsRequest, RestoreTrashRequest};

/// Calls about the trash.
#[derive(Clone, Copy, Debug)]
pub struct Trash<'c>(pub(crate) &'c Client);

/// Which dropped collection is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTrash<'n> {
    /// By id.
    Id(i64),
    /// By the name that it had, where only one in the trash has it.
    Name(&'n str),
}

impl Trash<'_> {
    /// What is in the trash of the database, in the order of the drops.
    ///
    /// # Errors
    /// When there is no such database.
    pub async fn list(&self) -> Result<Vec<TrashedCollection>> {
        let request = ListCollectionsRequest { db_name: self.0.database.clone() };
        let call = async || self.0.admin.clone().list_trash(request.clone()).await;
        Ok(self.0.read(call).await?.collections)
    }

    /// Brings a collection back with its snapshots and pins, under its old name or another one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when it is not in the trash, [`crate::ErrorKind::Conflict`] when the name is taken.
    pub async fn restore(&self, which: InTrash<'_>, new_name: Option<&str>) -> Result<Collection> {
        let request = RestoreTrashRequest {
            collection: Some(self.reference(which)),
            new_name: new_name.unwrap_or_default().to_owned(),
        };
        self.0.write(self.0.admin.clone().restore_trash(request)).await
    }

    /// Ends the way back for a dropped collection.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when it is not in the trash, [`crate::ErrorKind::Conflict`] when one of its
    /// snapshots is pinned.
    pub async fn purge(&self, which: InTrash<'_>) -> Result<TrashedCollection> {
        self.0.write(self.0.admin.clone().purge_trash(self.reference(which))).await
    }

    fn reference(&self, which: InTrash<'_>) -> CollectionRef {
        match which {
            InTrash::Id(collection_id) => CollectionRef { collection_id, ..self.0.collection("") },
            InTrash::Name(name) => self.0.collection(name),
        }
    }
}

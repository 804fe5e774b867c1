//! Databases.

use crate::{Client, Result, error::check};
use elanus_proto::milvus;

/// Calls about databases.
#[derive(Clone, Copy, Debug)]
pub struct Databases<'c>(pub(crate) &'c Client);

impl Databases<'_> {
    /// Names of all databases, the default one first.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn list(&self) -> Result<Vec<String>> {
        let call = async || self.0.milvus.clone().list_databases(milvus::ListDatabasesRequest::default()).await;
        let answer = self.0.read(call).await?;
        check(answer.status)?;
        Ok(answer.db_names)
    }

    /// Creates a database. One that was dropped under this name comes back with what is in its trash.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when it exists.
    pub async fn create(&self, name: &str) -> Result<()> {
        let request = milvus::CreateDatabaseRequest { db_name: name.to_owned(), ..Default::default() };
        check(Some(self.0.write(self.0.milvus.clone().create_database(request)).await?))
    }

    /// Drops a database that has no collections.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is none, [`crate::ErrorKind::Conflict`] while a collection is in it.
    pub async fn drop(&self, name: &str) -> Result<()> {
        let request = milvus::DropDatabaseRequest { db_name: name.to_owned(), ..Default::default() };
        check(Some(self.0.write(self.0.milvus.clone().drop_database(request)).await?))
    }
}

//! Databases: where the names of collections and aliases are told apart.
//!
//! A database is dropped only when no collection is in it, live or being restored. Its row stays, for the dropped
//! collections that belong to it; a database that is created under the name takes the row and the trash over.

use crate::db::{Tx, args};
use crate::definitions::database_not_found;
use crate::error::{MetaError, Result};
use crate::rows::{count, from_json, to_json};
use crate::{Coordinator, Meta};
use elanus_types::schema::DEFAULT_DATABASE;
use elanus_types::{Code, DatabaseId, Failure};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

/// Databases that there may be, as in Milvus.
const DATABASES_MAX: u64 = 64;
/// The property that limits the collections of a database.
const COLLECTIONS_MAX: &str = "database.max.collections";

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRecord {
    /// Its id.
    pub id: DatabaseId,
    /// Unique.
    pub name: String,
    /// When it was created; 0 for the default one.
    pub created_ms: i64,
    /// Settings by name, as users gave them.
    pub properties: BTreeMap<String, String>,
}

macro_rules! select_databases {
    ($rest:literal) => {
        concat!("SELECT database_id, name, created_ms, properties_json FROM databases WHERE dropped_ms IS NULL ", $rest)
    };
}

impl Meta {
    /// All databases, the default one first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn databases(&self) -> Result<Vec<DatabaseRecord>> {
        let mut tx = self.db.read().await?;
        tx.all(select_databases!("ORDER BY database_id"), args![]).await?.iter().map(read).collect()
    }

    /// The database with this name.
    ///
    /// # Errors
    /// 800; when the store is away.
    pub async fn database(&self, name: &str) -> Result<DatabaseRecord> {
        locked(&mut self.db.read().await?, name).await
    }
}

impl Coordinator {
    /// Creates a database.
    ///
    /// # Errors
    /// 65535 when it exists; 801 when there are as many as there may be; fenced.
    pub async fn create_database(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<DatabaseRecord> {
        let mut tx = self.write().await?;
        let there = tx.one("SELECT COUNT(*) AS databases FROM databases WHERE dropped_ms IS NULL", args![]).await?;
        let id = tx.allocate_ids(1).await?;
        let now_ms = tx.now_ms;
        let created = tx
            .execute(
                "INSERT INTO databases (database_id, name, created_ms, properties_json) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (name) DO UPDATE SET created_ms = excluded.created_ms, \
                 properties_json = excluded.properties_json, dropped_ms = NULL WHERE databases.dropped_ms IS NOT NULL",
                args![id, name.to_owned(), now_ms, to_json(properties)],
            )
            .await?;
        if created == 0 {
            return Err(Failure::new(Code::Unexpected, format!("database already exist: {name}")).into());
        }
        if count(&there, "databases")? >= DATABASES_MAX {
            let text = format!("exceeded the limit number of database[limit={DATABASES_MAX}]");
            return Err(Failure::new(Code::DatabaseLimit, text).into());
        }
        let record = locked(&mut tx, name).await?;
        tx.commit().await?;
        Ok(record)
    }

    /// Drops an empty database.
    ///
    /// # Errors
    /// 800; 65535 for the default one, and while a collection is in it; fenced.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let mut tx = self.write().await?;
        if name == DEFAULT_DATABASE {
            return Err(Failure::new(Code::Unexpected, "can not drop default database").into());
        }
        let database = locked(&mut tx, name).await?;
        let held = tx
            .optional(
                "SELECT name, state FROM collections WHERE database_id = $1 AND state <> 'dropped' ORDER BY name LIMIT 1",
                args![database.id.0],
            )
            .await?;
        if let Some(row) = held {
            let (collection, state): (String, String) = (row.try_get("name")?, row.try_get("state")?);
            let text = format!(
                "database:{name} not empty, must drop all collections before drop database: {collection} is {state}"
            );
            return Err(Failure::new(Code::Unexpected, text).into());
        }
        let now_ms = tx.now_ms;
        tx.execute_exactly(
            1,
            "the database",
            "UPDATE databases SET dropped_ms = $2 WHERE database_id = $1 AND dropped_ms IS NULL",
            args![database.id.0, now_ms],
        )
        .await?;
        tx.commit().await
    }

    /// Sets some properties of a database and removes others.
    ///
    /// # Errors
    /// 800; fenced.
    pub async fn alter_database(
        &self,
        name: &str,
        set: BTreeMap<String, String>,
        removed: &[String],
    ) -> Result<DatabaseRecord> {
        let mut tx = self.write().await?;
        let mut database = locked(&mut tx, name).await?;
        database.properties.extend(set);
        database.properties.retain(|key, _| !removed.contains(key));
        tx.execute_exactly(
            1,
            "the database",
            "UPDATE databases SET properties_json = $2 WHERE database_id = $1",
            args![database.id.0, to_json(&database.properties)],
        )
        .await?;
        tx.commit().await?;
        Ok(database)
    }
}

/// The database, which a transaction that writes has for itself; 800.
pub(crate) async fn locked(tx: &mut Tx, name: &str) -> Result<DatabaseRecord> {
    tx.optional(select_databases!("AND name = $1 /*FOR UPDATE*/"), args![name.to_owned()])
        .await?
        .map(|row| read(&row))
        .transpose()?
        .ok_or_else(|| database_not_found(name))
}

/// 102 when the database has as many collections as its settings allow. Two that come at once may both find room.
pub(crate) async fn require_room(tx: &mut Tx, database: DatabaseId) -> Result<()> {
    let row = tx.one("SELECT properties_json FROM databases WHERE database_id = $1", args![database.0]).await?;
    let properties: BTreeMap<String, String> = from_json(&row, "properties_json")?;
    let Some(max) = properties.get(COLLECTIONS_MAX).and_then(|max| max.parse::<u64>().ok()) else { return Ok(()) };
    let row = tx
        .one(
            "SELECT COUNT(*) AS collections FROM collections WHERE database_id = $1 AND state <> 'dropped'",
            args![database.0],
        )
        .await?;
    if count(&row, "collections")? < max {
        return Ok(());
    }
    let text = format!("exceeded the limit number of collections[limit={max}]");
    Err(MetaError::from(Failure::new(Code::CollectionLimit, text)))
}

fn read(row: &AnyRow) -> Result<DatabaseRecord> {
    Ok(DatabaseRecord {
        id: DatabaseId(row.try_get("database_id")?),
        name: row.try_get("name")?,
        created_ms: row.try_get("created_ms")?,
        properties: from_json(row, "properties_json")?,
    })
}

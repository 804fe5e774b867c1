//! Aliases: second names of live collections, in the same database.
//!
//! An alias is no fact with a lifetime: it says what a name stands for now, in no snapshot. Whoever writes one has the
//! database's row for itself, so that no collection takes the name meanwhile, and the collection's row, so that it is not
//! dropped meanwhile.

use crate::clock::lock_live;
use crate::db::{Tx, args};
use crate::definitions::{NameHolder, database_id, name_conflict, name_holder};
use crate::error::{MetaError, Result};
use crate::rows::from_json;
use crate::{Coordinator, Meta, databases};
use elanus_types::{Code, CollectionId, DatabaseId, Failure};
use sqlx::Row;
use std::collections::BTreeMap;

impl Coordinator {
    /// Gives a collection another name. The same again changes nothing.
    ///
    /// # Errors
    /// 800; 100 for an unknown collection; 1601 when a collection or a restore has the name, 1602 when the alias is one
    /// of another collection; fenced.
    pub async fn create_alias(&self, database: &str, alias: &str, collection: &str) -> Result<()> {
        let mut tx = self.write().await?;
        let id = databases::locked(&mut tx, database).await?.id;
        let target = by_real_name(&mut tx, id, database, collection).await?;
        match name_holder(&mut tx, id, alias).await? {
            None => {}
            Some(NameHolder::Alias(of)) if of == target => return Ok(()),
            Some(NameHolder::Alias(of)) => {
                let row = tx.one("SELECT name FROM collections WHERE collection_id = $1", args![of.0]).await?;
                let text = format!("alias already exist[database={database}][alias={alias}]");
                let of: String = row.try_get("name")?;
                let why = format!("{alias} is alias to another collection: {of}");
                return Err(Failure::new(Code::AliasDuplicate, text).context(why).into());
            }
            Some(NameHolder::Collection(_) | NameHolder::Restore) => {
                return Err(name_conflict(database, alias).into());
            }
        }
        lock_live(&mut tx, target).await?;
        let now_ms = tx.now_ms;
        tx.execute(
            "INSERT INTO aliases (database_id, name, collection_id, created_ms) VALUES ($1, $2, $3, $4)",
            args![id.0, alias.to_owned(), target.0, now_ms],
        )
        .await?;
        tx.commit().await
    }

    /// Makes an alias stand for another collection, from one call to the next.
    ///
    /// # Errors
    /// 800; 100 for an unknown collection; 1600 for an unknown alias, 1601 when it is a collection's name; fenced.
    pub async fn alter_alias(&self, database: &str, alias: &str, collection: &str) -> Result<()> {
        let mut tx = self.write().await?;
        let id = databases::locked(&mut tx, database).await?.id;
        let target = by_real_name(&mut tx, id, database, collection).await?;
        match name_holder(&mut tx, id, alias).await? {
            Some(NameHolder::Alias(of)) if of == target => return Ok(()),
            Some(NameHolder::Alias(_)) => {}
            None => return Err(alias_not_found(database, alias)),
            Some(NameHolder::Collection(_) | NameHolder::Restore) => {
                return Err(name_conflict(database, alias).into());
            }
        }
        lock_live(&mut tx, target).await?;
        tx.execute_exactly(
            1,
            "the alias",
            "UPDATE aliases SET collection_id = $3 WHERE database_id = $1 AND name = $2",
            args![id.0, alias.to_owned(), target.0],
        )
        .await?;
        tx.commit().await
    }

    /// Ends an alias; an unknown one is passed over.
    ///
    /// # Errors
    /// 800; fenced.
    pub async fn drop_alias(&self, database: &str, alias: &str) -> Result<()> {
        let mut tx = self.write().await?;
        let id = databases::locked(&mut tx, database).await?.id;
        let sql = "DELETE FROM aliases WHERE database_id = $1 AND name = $2";
        tx.execute(sql, args![id.0, alias.to_owned()]).await?;
        tx.commit().await
    }
}

/// What a collection is called besides its name, and the settings of the database that it is called so in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Sorted.
    pub aliases: Vec<String>,
    /// Settings by name, as users gave them.
    pub database_properties: BTreeMap<String, String>,
}

impl Meta {
    /// The collection that an alias stands for, by name.
    ///
    /// # Errors
    /// 800; 1600; when the store is away.
    pub async fn alias(&self, database: &str, alias: &str) -> Result<String> {
        let mut tx = self.db.read().await?;
        let id = database_id(&mut tx, database).await?;
        let row = tx
            .optional(
                "SELECT c.name FROM aliases a JOIN collections c ON c.collection_id = a.collection_id \
                 WHERE a.database_id = $1 AND a.name = $2",
                args![id.0, alias.to_owned()],
            )
            .await?;
        Ok(row.ok_or_else(|| alias_not_found(database, alias))?.try_get("name")?)
    }

    /// The aliases of a live collection, and the settings of its database. Nothing where it is not live any more.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn names_of(&self, collection: CollectionId) -> Result<Names> {
        let mut tx = self.db.read().await?;
        let rows = tx
            .all(
                "SELECT d.properties_json, a.name FROM collections c \
                 JOIN databases d ON d.database_id = c.database_id \
                 LEFT JOIN aliases a ON a.collection_id = c.collection_id \
                 WHERE c.collection_id = $1 AND c.state = 'live' ORDER BY a.name",
                args![collection.0],
            )
            .await?;
        let mut names = Names::default();
        for row in &rows {
            names.database_properties = from_json(row, "properties_json")?;
            names.aliases.extend(row.try_get::<Option<String>, _>("name")?);
        }
        Ok(names)
    }

    /// The aliases of a database, by name.
    ///
    /// # Errors
    /// 800; when the store is away.
    pub async fn aliases(&self, database: &str) -> Result<Vec<String>> {
        let mut tx = self.db.read().await?;
        let id = database_id(&mut tx, database).await?;
        let rows = tx.all("SELECT name FROM aliases WHERE database_id = $1 ORDER BY name", args![id.0]).await?;
        rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
    }
}

/// A collection that is not named by an alias; 100.
async fn by_real_name(tx: &mut Tx, id: DatabaseId, database: &str, name: &str) -> Result<CollectionId> {
    match name_holder(tx, id, name).await? {
        Some(NameHolder::Collection(id)) => Ok(id),
        Some(NameHolder::Restore | NameHolder::Alias(_)) | None => {
            let text = format!("collection not found[database={database}][collection={name}]");
            Err(Failure::new(Code::CollectionNotFound, text).into())
        }
    }
}

/// 65535 while a collection, which is locked, has aliases.
pub(crate) async fn require_none(tx: &mut Tx, collection: CollectionId, (to, doing): (&str, &str)) -> Result<()> {
    let rows = tx
        .all(
            "SELECT a.name, c.name AS collection_name FROM aliases a \
             JOIN collections c ON c.collection_id = a.collection_id WHERE a.collection_id = $1 ORDER BY a.name",
            args![collection.0],
        )
        .await?;
    let Some(first) = rows.first() else { return Ok(()) };
    let collection: String = first.try_get("collection_name")?;
    let names = rows.iter().map(|row| Ok(row.try_get("name")?)).collect::<Result<Vec<String>>>()?.join(" ");
    let text = format!(
        "unable to {to} the collection [{collection}] because it has associated aliases [{names}], \
         please remove all aliases before {doing} the collection"
    );
    Err(Failure::new(Code::Unexpected, text).into())
}

fn alias_not_found(database: &str, alias: &str) -> MetaError {
    Failure::new(Code::AliasNotFound, format!("alias not found[database={database}][alias={alias}]")).into()
}

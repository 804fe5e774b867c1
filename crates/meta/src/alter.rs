//! Changes of what a collection is called and how it is defined.
//!
//! A definition is a fact: the version of before ends and one that holds from now on begins, so that snapshots of before
//! keep what they saw. A name is none: it belongs to the collection as long as that lives, and snapshots follow it.

use crate::clock::lock_live;
use crate::db::{Tx, args, name_was_taken};
use crate::definitions::{INDEXES_NOW, NameHolder, database_id, index_info, name_conflict, name_holder, record};
use crate::error::Result;
use crate::model::CollectionRecord;
use crate::rows::{collection_not_found, from_json};
use crate::{Coordinator, aliases, catalog, databases};
use elanus_types::schema::{CollectionDefinition, CollectionSchema, IndexInfo};
use elanus_types::{Code, CollectionId, Failure, FieldId, IndexId, Timestamp};
use std::collections::BTreeMap;

/// Also after a rollback, which brings back a schema of before: files of then and of later may be read side by side.
async fn name_new_fields(tx: &mut Tx, id: CollectionId, definition: &mut CollectionDefinition) -> Result<()> {
    let fields = &mut definition.schema.fields;
    if fields.iter().all(|field| field.id != FieldId::NONE) {
        return Ok(());
    }
    let versions = tx.all("SELECT schema_json FROM collection_versions WHERE collection_id = $1", args![id.0]).await?;
    let mut last = fields.iter().map(|field| field.id).max().unwrap_or(FieldId::NONE);
    for version in &versions {
        let schema: CollectionSchema = from_json(version, "schema_json")?;
        last = schema.fields.iter().map(|field| field.id).fold(last, FieldId::max);
    }
    for field in fields.iter_mut().filter(|field| field.id == FieldId::NONE) {
        last = FieldId(last.0 + 1);
        field.id = last;
    }
    Ok(())
}

impl Coordinator {
    /// Changes the definition of a collection: schema, consistency level, properties. A field that `change` adds has
    /// [`FieldId::NONE`] and gets an id that no field of the collection has had at any time. What `change` makes of partitions,
    /// indexes and shards is not looked at. Nothing is written where nothing changes.
    ///
    /// # Errors
    /// 100; whatever `change` refuses; fenced.
    pub async fn alter_collection(
        &self,
        id: CollectionId,
        change: impl FnOnce(&mut CollectionDefinition) -> Result<(), Failure> + Send,
    ) -> Result<CollectionRecord> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, id).await?;
        let before = record(&mut tx, id).await?.ok_or_else(|| collection_not_found(id))?;
        let mut definition = before.definition.clone();
        change(&mut definition)?;
        name_new_fields(&mut tx, id, &mut definition).await?;
        definition.shards_num = before.definition.shards_num;
        let reschemed = definition.schema != before.definition.schema;
        if !reschemed
            && definition.properties == before.definition.properties
            && definition.consistency_level == before.definition.consistency_level
        {
            return Ok(before);
        }
        let ts = clock.tick(&mut tx).await?;
        tx.execute_exactly(
            1,
            "the definition of the collection",
            "UPDATE collection_versions SET removed_ts = $2 WHERE collection_id = $1 AND removed_ts = 9223372036854775807",
            args![id.0, ts.0],
        )
        .await?;
        catalog::insert_version(&mut tx, id, ts, &definition).await?;
        if reschemed {
            tx.execute("UPDATE collections SET updated_ts = $2 WHERE collection_id = $1", args![id.0, ts.0]).await?;
        }
        clock.announce(&mut tx).await?;
        let after = record(&mut tx, id).await?.ok_or_else(|| collection_not_found(id))?;
        tx.commit().await?;
        Ok(after)
    }

    /// Gives a collection another name, in its database or in another one.
    ///
    /// # Errors
    /// 100; 800; 1100 when it is called so already; 65535 when a collection or a restore has the name, and, for another
    /// database, while it has aliases; 1601 when an alias has the name; 102; fenced.
    pub async fn rename_collection(&self, id: CollectionId, database: &str, name: &str) -> Result<CollectionRecord> {
        loop {
            match self.rename_collection_once(id, database, name).await {
                Err(error) if name_was_taken(&error) => {}
                result => return result,
            }
        }
    }

    async fn rename_collection_once(&self, id: CollectionId, database: &str, name: &str) -> Result<CollectionRecord> {
        let mut tx = self.write().await?;
        let target = database_id(&mut tx, database).await?;
        let mut clock = lock_live(&mut tx, id).await?;
        let before = record(&mut tx, id).await?.ok_or_else(|| collection_not_found(id))?;
        let moves = before.database_id != target;
        if !moves && before.name == name {
            return Err(Failure::invalid("collection name or database name should be different").into());
        }
        let taken = || format!("duplicated new collection name {database}:{name} with other collection name or alias");
        match name_holder(&mut tx, target, name).await? {
            None => {}
            Some(NameHolder::Alias(_)) => return Err(name_conflict(database, name).context(taken()).into()),
            Some(NameHolder::Collection(_)) => return Err(Failure::new(Code::Unexpected, taken()).into()),
            Some(NameHolder::Restore) => {
                let text = format!("{}: it belongs to a restore job", taken());
                return Err(Failure::new(Code::Unexpected, text).into());
            }
        }
        if moves {
            aliases::require_none(&mut tx, id, ("move", "moving")).await?;
            databases::require_room(&mut tx, target).await?;
        }
        let ts = clock.tick(&mut tx).await?;
        tx.execute_exactly(
            1,
            "the collection",
            "UPDATE collections SET database_id = $2, name = $3, updated_ts = $4 WHERE collection_id = $1 AND state = 'live'",
            args![id.0, target.0, name.to_owned(), ts.0],
        )
        .await?;
        clock.announce(&mut tx).await?;
        let after = record(&mut tx, id).await?.ok_or_else(|| collection_not_found(id))?;
        tx.commit().await?;
        Ok(after)
    }

    /// Changes parameters of an index definition, which keeps its name and gets a new id: one id is one definition.
    ///
    /// # Errors
    /// 100; 700 for an unknown index; fenced.
    pub async fn alter_index(
        &self,
        collection: CollectionId,
        name: &str,
        set: BTreeMap<String, String>,
        removed: &[String],
    ) -> Result<IndexInfo> {
        let mut tx = self.write().await?;
        let mut clock = lock_live(&mut tx, collection).await?;
        let rows = tx.all(INDEXES_NOW, args![collection.0]).await?;
        let indexes = rows.iter().map(index_info).collect::<Result<Vec<_>>>()?;
        let before = indexes.into_iter().find(|index| index.name == name).ok_or_else(|| {
            Failure::new(Code::IndexNotFound, format!("index not found[indexName={name}][collection={collection}]"))
        })?;
        let mut params = before.params.clone();
        params.extend(set);
        params.retain(|key, _| !removed.contains(key));
        if params == before.params {
            return Ok(before);
        }
        let after = IndexInfo { id: IndexId(tx.allocate_ids(1).await?), params, ..before };
        let ts: Timestamp = clock.tick(&mut tx).await?;
        tx.execute_exactly(
            1,
            "the index",
            "UPDATE indexes SET removed_ts = $3 \
             WHERE collection_id = $1 AND name = $2 AND removed_ts = 9223372036854775807",
            args![collection.0, name.to_owned(), ts.0],
        )
        .await?;
        catalog::insert_indexes(&mut tx, collection, ts, std::slice::from_ref(&after)).await?;
        clock.announce(&mut tx).await?;
        tx.commit().await?;
        Ok(after)
    }
}

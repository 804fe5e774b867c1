//! Changes of collections and index definitions. What may be changed to what was checked by the proxy, against a
//! description; here it is applied to the definition as it is under the lock.

use super::catalog::{database, resolve};
use super::convert;
use crate::Parts;
use elanus_meta::model::CollectionRecord;
use elanus_proto::convert::field_from_proto;
use elanus_proto::datacoord as pb;
use elanus_proto::schema::FieldSchema as FieldMessage;
use elanus_types::schema::{CollectionDefinition, ConsistencyLevel, FieldSchema};
use elanus_types::{Code, CollectionId, Failure, FieldId};

pub(super) async fn alter_collection(
    parts: &Parts,
    mut request: pb::AlterCollectionRequest,
) -> Result<pb::Collection, Failure> {
    let collection = resolve(parts, request.collection.take()).await?;
    let altered = parts.coordinator.alter_collection(collection.id, |definition| apply(definition, request)).await?;
    Ok(convert::collection(altered))
}

fn apply(definition: &mut CollectionDefinition, request: pb::AlterCollectionRequest) -> Result<(), Failure> {
    definition.properties.extend(request.properties);
    definition.properties.retain(|key, _| !request.removed_properties.contains(key));
    if let Some(level) = request.consistency_level {
        definition.consistency_level = ConsistencyLevel::from_number(level)
            .ok_or_else(|| Failure::invalid(format!("{level} is no consistency level")))?;
    }
    if let Some(text) = request.description {
        definition.schema.description = text;
    }
    if let Some(added) = &request.added_field {
        add_field(definition, added, request.fields_max)?;
    }
    if !request.dropped_field.is_empty() {
        drop_field(definition, &request.dropped_field)?;
    }
    if request.field_name.is_empty() {
        return Ok(());
    }
    let mut fields = definition.schema.fields.iter_mut();
    let field = fields
        .find(|field| field.name == request.field_name)
        .ok_or_else(|| Failure::invalid(format!("field {} does not exist in collection", request.field_name)))?;
    field.type_params.extend(request.field_params);
    field.type_params.retain(|key, _| !request.removed_field_params.contains(key));
    if let Some(text) = request.field_description {
        field.description = text;
    }
    Ok(())
}

/// The metadata store gives the id.
fn add_field(definition: &mut CollectionDefinition, added: &FieldMessage, fields_max: i64) -> Result<(), Failure> {
    let field = FieldSchema { id: FieldId::NONE, ..field_from_proto(added)? };
    if field.is_dynamic {
        // Two who enable it want the same.
        if !definition.schema.enable_dynamic_field {
            definition.schema.enable_dynamic_field = true;
            definition.schema.fields.push(field);
        }
        return Ok(());
    }
    let fields = &mut definition.schema.fields;
    if fields.iter().any(|known| known.name == field.name) {
        return Err(Failure::invalid(format!("duplicate field name: {}", field.name)));
    }
    let named = fields.iter().filter(|field| !field.is_dynamic).count();
    if i64::try_from(named).is_ok_and(|named| named >= fields_max) {
        return Err(Failure::invalid(format!("The number of fields has reached the maximum value {fields_max}")));
    }
    // The dynamic field stays the last one.
    fields.insert(named, field);
    Ok(())
}

/// A field that has gone meanwhile has gone.
fn drop_field(definition: &mut CollectionDefinition, name: &str) -> Result<(), Failure> {
    let Some(field) = definition.schema.field(name) else { return Ok(()) };
    definition.schema.require_droppable(field)?;
    if definition.indexes.iter().any(|index| index.field_id == field.id) {
        return Err(Failure::invalid(format!(
            "field {name} cannot be dropped: it has an index by now, drop that first"
        )));
    }
    definition.schema.fields.retain(|field| field.name != name);
    Ok(())
}

pub(super) async fn rename_collection(
    parts: &Parts,
    request: pb::RenameCollectionRequest,
) -> Result<pb::Collection, Failure> {
    let old = request.collection.clone().unwrap_or_default();
    let collection = resolve(parts, request.collection).await?;
    if old.collection_id == 0 && old.collection_name != collection.name {
        let text = format!("unsupported use an alias to rename collection, alias:{}", old.collection_name);
        return Err(Failure::new(Code::Unexpected, text));
    }
    let CollectionRecord { id, .. } = collection;
    let renamed = parts.coordinator.rename_collection(id, &database(request.new_db_name), &request.new_name).await?;
    Ok(convert::collection(renamed))
}

pub(super) async fn alter_index(parts: &Parts, request: pb::AlterIndexRequest) -> Result<pb::Index, Failure> {
    let collection = CollectionId(request.collection_id);
    let pb::AlterIndexRequest { index_name, params, removed_params, .. } = request;
    Ok(convert::index(parts.coordinator.alter_index(collection, &index_name, params, &removed_params).await?))
}

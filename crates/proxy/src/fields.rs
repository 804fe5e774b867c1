//! Fields that come to a collection and go from it. Rows are not rewritten: those that are there read a new field's default value,
//! or null, and the values of a dropped one stay in files that snapshots may hold.

use crate::{
    Proxy,
    backend::{Call, Collection, answer},
    definition, indexes,
};
use elanus_proto::{convert, datacoord as dc, milvus as m};
use elanus_types::{Code, Failure, FieldId, schema::FieldSchema};
use m::alter_collection_schema_request::{AddRequest, DropRequest, action::Op, drop_request::Identifier};
use prost::Message as _;

/// Rows that are there read the new field's default value, or null.
pub(crate) async fn add_collection_field(
    proxy: &Proxy,
    call: &Call,
    request: m::AddCollectionFieldRequest,
) -> Result<(), Failure> {
    let reference = dc::CollectionRef {
        db_name: call.db(&request.db_name),
        collection_name: request.collection_name,
        collection_id: request.collection_id,
    };
    let collection = proxy.find(reference).await?;
    let field = definition::added_field(&collection.schema, request.schema, &proxy.config)?;
    add(proxy, &collection, &field).await
}

async fn add(proxy: &Proxy, collection: &Collection, field: &FieldSchema) -> Result<(), Failure> {
    let alter = dc::AlterCollectionRequest {
        collection: Some(collection.reference()),
        added_field: Some(convert::field_to_proto(field)),
        fields_max: i64::try_from(proxy.config.fields_max).unwrap_or(i64::MAX),
        ..dc::AlterCollectionRequest::default()
    };
    answer(proxy.datacoord().alter_collection(alter)).await.map(drop)
}

/// Adds a field or drops one.
pub(crate) async fn alter_collection_schema(
    proxy: &Proxy,
    call: &Call,
    request: m::AlterCollectionSchemaRequest,
) -> Result<m::AlterCollectionSchemaResponse, Failure> {
    let reference = dc::CollectionRef {
        db_name: call.db(&request.db_name),
        collection_name: request.collection_name,
        collection_id: request.collection_id,
    };
    let collection = proxy.find(reference).await?;
    match request.action.and_then(|action| action.op) {
        Some(Op::AddRequest(request)) => add_one(proxy, &collection, request).await?,
        Some(Op::DropRequest(request)) => drop_one(proxy, call, &collection, request).await?,
        None => return Err(Failure::invalid("the request neither adds nor drops a field")),
    }
    Ok(m::AlterCollectionSchemaResponse::default())
}

async fn add_one(proxy: &Proxy, collection: &Collection, request: AddRequest) -> Result<(), Failure> {
    if !request.func_schema.is_empty() {
        return Err(Failure::new(Code::Unimplemented, "functions are not served"));
    }
    let mut infos = request.field_infos.into_iter();
    let (Some(info), None) = (infos.next(), infos.next()) else {
        return Err(Failure::invalid("give one field to add"));
    };
    if !info.index_name.is_empty() || !info.extra_params.is_empty() {
        let text = "an index that comes with its field is not served: add the field, then create the index";
        return Err(Failure::new(Code::Unimplemented, text));
    }
    let message = info.field_schema.ok_or_else(|| Failure::missing("the field to add has no schema"))?;
    let field = definition::added_field(&collection.schema, message.encode_to_vec().into(), &proxy.config)?;
    add(proxy, collection, &field).await
}

/// Its indexes go first: an index on nothing would be worse than a field without index, and a repeat ends what was begun.
async fn drop_one(proxy: &Proxy, call: &Call, collection: &Collection, request: DropRequest) -> Result<(), Failure> {
    let found = match request.identifier {
        Some(Identifier::FieldName(name)) => collection.schema.field(&name).ok_or(name),
        Some(Identifier::FieldId(id)) => {
            let with_id = collection.schema.fields.iter().find(|field| field.id == FieldId(id));
            with_id.ok_or_else(|| id.to_string())
        }
        Some(Identifier::FunctionName(_)) => {
            return Err(Failure::new(Code::Unimplemented, "functions are not served"));
        }
        None => return Err(Failure::invalid("the request names no field to drop")),
    };
    let field = found.map_err(|name| Failure::invalid(format!("field not found[field={name}]")))?;
    collection.schema.require_droppable(field)?;
    for index in collection.info.indexes.iter().filter(|index| index.field_id == field.id.0) {
        let drop_index = m::DropIndexRequest {
            db_name: collection.info.db_name.clone(),
            collection_name: collection.info.name.clone(),
            index_name: index.name.clone(),
            ..m::DropIndexRequest::default()
        };
        indexes::drop_index(proxy, call, drop_index).await?;
    }
    let alter = dc::AlterCollectionRequest {
        collection: Some(collection.reference()),
        dropped_field: field.name.clone(),
        ..dc::AlterCollectionRequest::default()
    };
    answer(proxy.datacoord().alter_collection(alter)).await.map(drop)
}

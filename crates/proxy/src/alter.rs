//! Changes of collections: their name, their settings, the parameters of their fields.

use crate::{
    Proxy,
    backend::{Call, answer},
    definition, names,
    properties::{self, Change},
};
use elanus_proto::{convert, datacoord as dc, milvus as m};
use elanus_types::Failure;

pub(crate) async fn rename_collection(
    proxy: &Proxy,
    call: &Call,
    request: m::RenameCollectionRequest,
) -> Result<(), Failure> {
    names::collection(&request.old_name)?;
    names::collection(&request.new_name)?;
    let db_name = call.db(&request.db_name);
    let new_db_name = match request.new_db_name.as_str() {
        "" => db_name.clone(),
        named => {
            names::database(named)?;
            named.to_owned()
        }
    };
    let collection = Some(dc::CollectionRef { db_name, collection_name: request.old_name, collection_id: 0 });
    let rename = dc::RenameCollectionRequest { collection, new_db_name, new_name: request.new_name };
    answer(proxy.datacoord().rename_collection(rename)).await.map(drop)
}

pub(crate) async fn alter_collection(
    proxy: &Proxy,
    call: &Call,
    request: m::AlterCollectionRequest,
) -> Result<(), Failure> {
    properties::one_kind_of_change(&request.properties, &request.delete_keys)?;
    let reference = dc::CollectionRef {
        db_name: call.db(&request.db_name),
        collection_name: request.collection_name,
        collection_id: request.collection_id,
    };
    let collection = proxy.find(reference).await?;
    let Change { properties, consistency_level, description, dynamic } =
        properties::of_collection(&request.properties, &collection.schema)?;
    let added_field = match dynamic {
        None => None,
        Some(true) => Some(convert::field_to_proto(&definition::late_dynamic_field())),
        Some(false) => return Err(Failure::invalid("dynamic schema cannot supported to be disabled")),
    };
    let alter = dc::AlterCollectionRequest {
        collection: Some(collection.reference()),
        properties,
        removed_properties: request.delete_keys,
        consistency_level,
        description,
        added_field,
        ..dc::AlterCollectionRequest::default()
    };
    answer(proxy.datacoord().alter_collection(alter)).await.map(drop)
}

pub(crate) async fn alter_collection_field(
    proxy: &Proxy,
    call: &Call,
    request: m::AlterCollectionFieldRequest,
) -> Result<(), Failure> {
    properties::one_kind_of_change(&request.properties, &request.delete_keys)?;
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    let Change { properties, description, .. } =
        properties::of_field(&collection.schema, &request.field_name, &request.properties, &request.delete_keys)?;
    let alter = dc::AlterCollectionRequest {
        collection: Some(collection.reference()),
        field_name: request.field_name,
        field_params: properties,
        removed_field_params: request.delete_keys,
        field_description: description,
        ..dc::AlterCollectionRequest::default()
    };
    answer(proxy.datacoord().alter_collection(alter)).await.map(drop)
}

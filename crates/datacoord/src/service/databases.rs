//! Databases and the aliases in them.

use super::catalog::database;
use crate::Parts;
use elanus_meta::DatabaseRecord;
use elanus_proto::datacoord as pb;
use elanus_types::Failure;

fn told(record: DatabaseRecord) -> pb::Database {
    let DatabaseRecord { id, name, created_ms, properties } = record;
    pb::Database { id: id.0, name, created_ms, properties }
}

pub(super) async fn create(parts: &Parts, request: pb::AlterDatabaseRequest) -> Result<pb::Database, Failure> {
    Ok(told(parts.coordinator.create_database(&request.db_name, &request.properties).await?))
}

pub(super) async fn drop(parts: &Parts, of: pb::DatabaseRef) -> Result<(), Failure> {
    Ok(parts.coordinator.drop_database(&database(of.db_name)).await?)
}

pub(super) async fn alter(parts: &Parts, request: pb::AlterDatabaseRequest) -> Result<pb::Database, Failure> {
    let name = database(request.db_name);
    Ok(told(parts.coordinator.alter_database(&name, request.properties, &request.removed_properties).await?))
}

pub(super) async fn describe(parts: &Parts, of: pb::DatabaseRef) -> Result<pb::Database, Failure> {
    Ok(told(parts.meta().database(&database(of.db_name)).await?))
}

pub(super) async fn list(parts: &Parts) -> Result<pb::ListDatabasesResponse, Failure> {
    let databases = parts.meta().databases().await?.into_iter().map(told).collect();
    Ok(pb::ListDatabasesResponse { databases })
}

pub(super) async fn create_alias(parts: &Parts, request: pb::AliasRequest) -> Result<(), Failure> {
    let pb::AliasRequest { db_name, alias, collection_name } = request;
    Ok(parts.coordinator.create_alias(&database(db_name), &alias, &collection_name).await?)
}

pub(super) async fn alter_alias(parts: &Parts, request: pb::AliasRequest) -> Result<(), Failure> {
    let pb::AliasRequest { db_name, alias, collection_name } = request;
    Ok(parts.coordinator.alter_alias(&database(db_name), &alias, &collection_name).await?)
}

pub(super) async fn drop_alias(parts: &Parts, request: pb::AliasRequest) -> Result<(), Failure> {
    Ok(parts.coordinator.drop_alias(&database(request.db_name), &request.alias).await?)
}

pub(super) async fn describe_alias(parts: &Parts, request: pb::AliasRequest) -> Result<pb::AliasRequest, Failure> {
    let db_name = database(request.db_name);
    let collection_name = parts.meta().alias(&db_name, &request.alias).await?;
    Ok(pb::AliasRequest { db_name, alias: request.alias, collection_name })
}

pub(super) async fn list_aliases(parts: &Parts, of: pb::DatabaseRef) -> Result<pb::ListAliasesResponse, Failure> {
    Ok(pb::ListAliasesResponse { aliases: parts.meta().aliases(&database(of.db_name)).await? })
}

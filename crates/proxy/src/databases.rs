//! Databases. Names of collections and aliases belong to one; which one a call means, says [`Call::db`].

use crate::{
    Proxy,
    backend::{Call, answer},
    names, properties,
};
use elanus_proto::{convert, datacoord as dc, milvus as m};
use elanus_types::{Failure, Timestamp};

fn created_ts(database: &dc::Database) -> u64 {
    Timestamp::from_ms(database.created_ms).0.cast_unsigned()
}

pub(crate) async fn create_database(proxy: &Proxy, _: &Call, request: m::CreateDatabaseRequest) -> Result<(), Failure> {
    names::database(&request.db_name)?;
    let properties = properties::of_database(&request.properties)?;
    let create = dc::AlterDatabaseRequest { db_name: request.db_name, properties, removed_properties: Vec::new() };
    answer(proxy.datacoord().create_database(create)).await.map(drop)
}

/// The name must be given: a database is never dropped because a client is bound to it.
pub(crate) async fn drop_database(proxy: &Proxy, _: &Call, request: m::DropDatabaseRequest) -> Result<(), Failure> {
    names::database(&request.db_name)?;
    answer(proxy.datacoord().drop_database(dc::DatabaseRef { db_name: request.db_name })).await.map(drop)
}

pub(crate) async fn alter_database(
    proxy: &Proxy,
    call: &Call,
    request: m::AlterDatabaseRequest,
) -> Result<(), Failure> {
    properties::one_kind_of_change(&request.properties, &request.delete_keys)?;
    let alter = dc::AlterDatabaseRequest {
        db_name: call.db(&request.db_name),
        properties: properties::of_database(&request.properties)?,
        removed_properties: request.delete_keys,
    };
    answer(proxy.datacoord().alter_database(alter)).await.map(drop)
}

pub(crate) async fn list_databases(
    proxy: &Proxy,
    call: &Call,
    _: m::ListDatabasesRequest,
) -> Result<m::ListDatabasesResponse, Failure> {
    let mut listed = m::ListDatabasesResponse::default();
    for database in answer(proxy.datacoord().list_databases(dc::Empty {})).await?.databases {
        if !call.sees(|who| who.state.sees(&who.user, &database.name, None)) {
            continue;
        }
        listed.created_timestamp.push(created_ts(&database));
        listed.db_ids.push(database.id);
        listed.db_names.push(database.name);
    }
    Ok(listed)
}

pub(crate) async fn describe_database(
    proxy: &Proxy,
    call: &Call,
    request: m::DescribeDatabaseRequest,
) -> Result<m::DescribeDatabaseResponse, Failure> {
    let of = dc::DatabaseRef { db_name: call.db(&request.db_name) };
    let database = answer(proxy.datacoord().describe_database(of)).await?;
    Ok(m::DescribeDatabaseResponse {
        created_timestamp: created_ts(&database),
        db_name: database.name,
        db_id: database.id,
        properties: convert::map_to_pairs(&database.properties),
        ..m::DescribeDatabaseResponse::default()
    })
}

//! The one database that there is, and aliases, of which there are none.

use crate::{Proxy, backend::Call};
use elanus_proto::milvus as m;
use elanus_types::{Code, Failure, schema::DEFAULT_DATABASE};

/// Id of the default database, as in Milvus.
const DEFAULT_ID: i64 = 1;

pub(crate) async fn list_databases(
    _: &Proxy,
    _: &Call,
    _: m::ListDatabasesRequest,
) -> Result<m::ListDatabasesResponse, Failure> {
    Ok(m::ListDatabasesResponse {
        db_names: vec![DEFAULT_DATABASE.to_owned()],
        created_timestamp: vec![0],
        db_ids: vec![DEFAULT_ID],
        ..m::ListDatabasesResponse::default()
    })
}

pub(crate) async fn describe_database(
    _: &Proxy,
    call: &Call,
    request: m::DescribeDatabaseRequest,
) -> Result<m::DescribeDatabaseResponse, Failure> {
    let db_name = call.db(&request.db_name);
    if db_name != DEFAULT_DATABASE {
        return Err(Failure::new(Code::DatabaseNotFound, format!("database not found[database={db_name}]")));
    }
    Ok(m::DescribeDatabaseResponse { db_name, db_id: DEFAULT_ID, ..m::DescribeDatabaseResponse::default() })
}

pub(crate) async fn list_aliases(
    proxy: &Proxy,
    call: &Call,
    request: m::ListAliasesRequest,
) -> Result<m::ListAliasesResponse, Failure> {
    let db_name = call.db(&request.db_name);
    if !request.collection_name.is_empty() {
        proxy.collection(call, &db_name, &request.collection_name).await?;
    }
    Ok(m::ListAliasesResponse {
        db_name,
        collection_name: request.collection_name,
        ..m::ListAliasesResponse::default()
    })
}

pub(crate) async fn describe_alias(
    _: &Proxy,
    call: &Call,
    request: m::DescribeAliasRequest,
) -> Result<m::DescribeAliasResponse, Failure> {
    let (db, alias) = (call.db(&request.db_name), request.alias);
    Err(Failure::new(Code::AliasNotFound, format!("alias not found[database={db}][alias={alias}]")))
}

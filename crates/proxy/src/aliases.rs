//! Aliases: other names of collections, taken wherever a collection is named.

use crate::{
    Proxy,
    backend::{Call, answer},
    names,
};
use elanus_proto::{datacoord as dc, milvus as m};
use elanus_types::Failure;

pub(crate) async fn create_alias(proxy: &Proxy, call: &Call, request: m::CreateAliasRequest) -> Result<(), Failure> {
    names::alias(&request.alias)?;
    names::collection(&request.collection_name)?;
    let m::CreateAliasRequest { db_name, collection_name, alias, .. } = request;
    let create = dc::AliasRequest { db_name: call.db(&db_name), alias, collection_name };
    answer(proxy.datacoord().create_alias(create)).await.map(drop)
}

pub(crate) async fn alter_alias(proxy: &Proxy, call: &Call, request: m::AlterAliasRequest) -> Result<(), Failure> {
    names::alias(&request.alias)?;
    names::collection(&request.collection_name)?;
    let m::AlterAliasRequest { db_name, collection_name, alias, .. } = request;
    let alter = dc::AliasRequest { db_name: call.db(&db_name), alias, collection_name };
    answer(proxy.datacoord().alter_alias(alter)).await.map(drop)
}

/// Success also when there is none, as in Milvus.
pub(crate) async fn drop_alias(proxy: &Proxy, call: &Call, request: m::DropAliasRequest) -> Result<(), Failure> {
    names::alias(&request.alias)?;
    let drop_it =
        dc::AliasRequest { db_name: call.db(&request.db_name), alias: request.alias, collection_name: String::new() };
    answer(proxy.datacoord().drop_alias(drop_it)).await.map(drop)
}

pub(crate) async fn describe_alias(
    proxy: &Proxy,
    call: &Call,
    request: m::DescribeAliasRequest,
) -> Result<m::DescribeAliasResponse, Failure> {
    names::alias(&request.alias)?;
    let of =
        dc::AliasRequest { db_name: call.db(&request.db_name), alias: request.alias, collection_name: String::new() };
    let dc::AliasRequest { db_name, alias, collection_name } = answer(proxy.datacoord().describe_alias(of)).await?;
    Ok(m::DescribeAliasResponse { db_name, alias, collection: collection_name, status: None })
}

/// Those of a collection when one is named, else those of the database.
pub(crate) async fn list_aliases(
    proxy: &Proxy,
    call: &Call,
    request: m::ListAliasesRequest,
) -> Result<m::ListAliasesResponse, Failure> {
    let db_name = call.db(&request.db_name);
    let aliases = if request.collection_name.is_empty() {
        let of = dc::DatabaseRef { db_name: db_name.clone() };
        answer(proxy.datacoord().list_aliases(of)).await?.aliases
    } else {
        proxy.collection(call, &db_name, &request.collection_name).await?.info.aliases
    };
    Ok(m::ListAliasesResponse { db_name, collection_name: request.collection_name, aliases, status: None })
}

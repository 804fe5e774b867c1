//! Insert, upsert, delete. A request is checked whole before anything of it is written, and written in one commit.

mod arrays;
mod columns;
mod delete;
mod insert;
mod partial;
mod placing;
mod rows;
mod upsert;
mod vectors;

pub(crate) use delete::delete;
pub(crate) use insert::insert;
pub(crate) use upsert::upsert;

use crate::{Proxy, backend::Collection, backend::answer};
use elanus_proto::{
    datanode as dn,
    schema::{IDs, LongArray, StringArray, i_ds::IdField},
    transport::about,
};
use elanus_segment::PkColumn;
use elanus_types::{Code, Failure};

/// Keys as a client reads them.
pub(crate) fn ids(keys: PkColumn) -> IDs {
    IDs {
        id_field: Some(match keys {
            PkColumn::Int(data) => IdField::IntId(LongArray { data }),
            PkColumn::Str(data) => IdField::StrId(StringArray { data }),
        }),
    }
}

/// Keys as a data node takes them.
fn delete_keys(keys: PkColumn) -> dn::delete_batch::Keys {
    match keys {
        PkColumn::Int(values) => dn::delete_batch::Keys::Int64Keys(dn::Int64Keys { values }),
        PkColumn::Str(values) => dn::delete_batch::Keys::StringKeys(dn::StringKeys { values }),
    }
}

/// A client that described the collection before it was replaced or changed has to describe it again: its columns may be
/// those of another collection. 0: the client does not say what it described.
fn check_schema_age(collection: &Collection, schema_timestamp: u64) -> Result<(), Failure> {
    if schema_timestamp == 0 || schema_timestamp == collection.info.updated_ts {
        return Ok(());
    }
    let name = &collection.info.name;
    Err(Failure::new(Code::SchemaMismatch, format!("collection schema mismatch[collection={name}]")))
}

async fn write(proxy: &Proxy, request: dn::WriteRequest) -> Result<u64, Failure> {
    let request = about(request.collection_id, request);
    Ok(answer(proxy.datanode().write(request)).await?.timestamp)
}

//! Insert: new rows, whether their keys exist already or not.

use super::{
    check_schema_age, ids,
    placing::Placing,
    rows::{Columns, Keys, Rows},
    write,
};
use crate::{
    Proxy,
    backend::{Call, answer},
};
use elanus_proto::{datacoord as dc, datanode as dn, milvus as m};
use elanus_segment::PkColumn;
use elanus_types::{Code, Failure};

pub(crate) async fn insert(
    proxy: &Proxy,
    call: &Call,
    request: m::InsertRequest,
) -> Result<m::MutationResult, Failure> {
    call.requires_present()?;
    if request.namespace.is_some() {
        return Err(Failure::new(Code::Unimplemented, "namespaces are not served"));
    }
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    check_schema_age(&collection, request.schema_timestamp)?;
    let placing = Placing::of(&collection, &request.partition_name)?;
    let keys = if collection.schema.primary_key().auto_id { Keys::Generated } else { Keys::Given };
    let (schema, json_bytes_max) = (&collection.schema, proxy.config.json_bytes_max);
    let rows = Rows::check(schema, keys, Columns::All, request.fields_data, request.num_rows, json_bytes_max)?;
    let first = match keys {
        Keys::Given => None,
        Keys::Generated => Some(allocate(proxy, rows.count()).await?),
    };
    let batch = rows.into_batch(first)?;
    let keys = PkColumn::from_batch(&batch, &collection.schema.primary_key().name)
        .map_err(|error| Failure::internal(error.to_string()))?;
    let rows = placing.batches(&batch)?;
    let timestamp =
        write(proxy, dn::WriteRequest { collection_id: collection.id(), rows, deletes: Vec::new() }).await?;
    Ok(m::MutationResult {
        insert_cnt: i64::from(request.num_rows),
        succ_index: (0..request.num_rows).collect(),
        i_ds: Some(ids(keys)),
        acknowledged: true,
        timestamp,
        ..m::MutationResult::default()
    })
}

/// The first of so many ids that nobody else gets.
pub(super) async fn allocate(proxy: &Proxy, count: usize) -> Result<i64, Failure> {
    let count =
        u32::try_from(count).map_err(|_| Failure::invalid(format!("{count} rows in one request are too many")))?;
    Ok(answer(proxy.datacoord().allocate_ids(dc::AllocateIdsRequest { count })).await?.first)
}

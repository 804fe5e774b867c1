//! Upsert: the older rows of these keys go and the new rows come, in one commit; whole ones, or such as only change some columns
//! (`partial`).

use super::{
    check_schema_age, delete_keys, ids,
    insert::allocate,
    partial,
    placing::Placing,
    rows::{Columns, Keys, Rows},
    write,
};
use crate::{Proxy, backend::Call};
use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::take,
};
use elanus_proto::{datanode as dn, milvus as m};
use elanus_segment::{PkColumn, PkValue, take_rows};
use elanus_types::{
    Code, Failure,
    schema::{CollectionSchema, DataType},
};
use std::{collections::BTreeMap, sync::Arc};

/// Keys are always given. With auto id they say which rows go; the new rows get new keys, as in Milvus.
pub(crate) async fn upsert(
    proxy: &Proxy,
    call: &Call,
    request: m::UpsertRequest,
) -> Result<m::MutationResult, Failure> {
    call.requires_present()?;
    if !request.field_ops.is_empty() {
        return Err(Failure::new(Code::Unimplemented, "operations on fields are not served, give values"));
    }
    if request.namespace.is_some() {
        return Err(Failure::new(Code::Unimplemented, "namespaces are not served"));
    }
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    check_schema_age(&collection, request.schema_timestamp)?;
    let placing = Placing::of(&collection, &request.partition_name)?;
    let schema = &collection.schema;
    let columns = if request.partial_update { Columns::Some } else { Columns::All };
    let json_bytes_max = proxy.config.json_bytes_max;
    let rows = Rows::check(schema, Keys::Given, columns, request.fields_data, request.num_rows, json_bytes_max)?;
    let old = rows.given_keys()?;
    let kept = last_of_each(&old);
    let mut batch = match columns {
        Columns::Some => partial::complete(proxy, &collection, &placing, rows, &kept).await?,
        Columns::All => {
            take_rows(&rows.into_batch(None)?, &kept).map_err(|error| Failure::internal(error.to_string()))?
        }
    };
    let mut new = old.clone();
    if schema.primary_key().auto_id {
        new = rekey(schema, &old, allocate(proxy, old.len()).await?);
        let kept = UInt32Array::from(kept);
        let keys = take(&new.to_array(), &kept, None).map_err(|error| Failure::internal(error.to_string()))?;
        batch = with_keys(schema, batch, keys)?;
    }
    let rows = placing.batches(&batch)?;
    let deletes = vec![dn::DeleteBatch { partition_id: placing.deletes_in(), keys: Some(delete_keys(old)) }];
    let timestamp = write(proxy, dn::WriteRequest { collection_id: collection.id(), rows, deletes }).await?;
    let count = i64::from(request.num_rows);
    Ok(m::MutationResult {
        upsert_cnt: count,
        insert_cnt: count,
        delete_cnt: count,
        succ_index: (0..request.num_rows).collect(),
        i_ds: Some(ids(new)),
        acknowledged: true,
        timestamp,
        ..m::MutationResult::default()
    })
}

/// The rows to keep, in order: of rows with the same key, only the last is what the user wants in the end.
fn last_of_each(keys: &PkColumn) -> Vec<u32> {
    let last: BTreeMap<PkValue, u32> = keys.iter().zip(0..).collect();
    let mut rows: Vec<u32> = last.into_values().collect();
    rows.sort_unstable();
    rows
}

/// A new key for every distinct old one: rows that replace each other keep doing so.
fn rekey(schema: &CollectionSchema, old: &PkColumn, first: i64) -> PkColumn {
    let mut next = first..;
    let mut given: BTreeMap<PkValue, i64> = BTreeMap::new();
    let ids = old.iter().map(|key| *given.entry(key).or_insert_with(|| next.next().unwrap_or(i64::MAX)));
    match schema.primary_key().data_type {
        DataType::VarChar => PkColumn::Str(ids.map(|id| id.to_string()).collect()),
        _ => PkColumn::Int(ids.collect()),
    }
}

fn with_keys(schema: &CollectionSchema, batch: RecordBatch, keys: ArrayRef) -> Result<RecordBatch, Failure> {
    let pk = &schema.primary_key().name;
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| if field.name() == pk { &keys } else { column }).cloned().collect();
    RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| Failure::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_rows_with_one_key_the_last_wins() {
        assert_eq!(last_of_each(&PkColumn::Int(vec![5, 1, 5, 2, 1])), [2, 3, 4]);
        assert_eq!(last_of_each(&PkColumn::Str(vec!["b".into(), "a".into()])), [0, 1]);
    }
}

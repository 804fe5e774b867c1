//! Delete by expression. Keys written in the expression are deleted unseen; any other expression is read first.

use super::{delete_keys, write};
use crate::{
    Proxy,
    backend::{Call, Collection, answer},
};
use elanus_filter::{Filter, PkList, params_from_json};
use elanus_proto::convert::template_params;
use elanus_proto::transport::about;
use elanus_proto::{datacoord as dc, datanode as dn, milvus as m, querynode as qn};
use elanus_segment::{PkColumn, from_ipc};
use elanus_types::{Code, Failure, PartitionId};

pub(crate) async fn delete(
    proxy: &Proxy,
    call: &Call,
    request: m::DeleteRequest,
) -> Result<m::MutationResult, Failure> {
    call.requires_present()?;
    if request.namespace.is_some() {
        return Err(Failure::new(Code::Unimplemented, "namespaces are not served"));
    }
    let collection = proxy.collection(call, &request.db_name, &request.collection_name).await?;
    collection.requires_no_partition_names(!request.partition_name.is_empty())?;
    let partition_id = match request.partition_name.as_str() {
        "" => PartitionId::ALL.0,
        name => collection.partition(name)?.id,
    };
    if request.expr.trim().is_empty() {
        return Err(Failure::invalid("expr cannot be empty, delete needs one"));
    }
    let params = params_from_json(template_params(&request.expr_template_values)?)?;
    let filter = Filter::parse(&request.expr, &collection.schema, &params)?;
    if filter.is_always_true() {
        return Err(Failure::invalid("delete plan can't be empty or always true"));
    }
    let keys = match filter.primary_keys() {
        Some(PkList::Ints(keys)) => PkColumn::Int(keys.clone()),
        Some(PkList::Strings(keys)) => PkColumn::Str(keys.clone()),
        None => matching(proxy, &collection, partition_id, &request).await?,
    };
    let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
    let timestamp = if keys.is_empty() {
        answer(proxy.datacoord().allocate_timestamp(dc::Empty {})).await?.timestamp
    } else {
        let deletes = vec![dn::DeleteBatch { partition_id, keys: Some(delete_keys(keys)) }];
        write(proxy, dn::WriteRequest { collection_id: collection.id(), rows: Vec::new(), deletes }).await?
    };
    // No ids: a client that sees some returns them instead of the count.
    Ok(m::MutationResult { delete_cnt: count, acknowledged: true, timestamp, ..m::MutationResult::default() })
}

/// Keys of all rows that match now, read page by page as of one time.
async fn matching(
    proxy: &Proxy,
    collection: &Collection,
    partition_id: i64,
    request: &m::DeleteRequest,
) -> Result<PkColumn, Failure> {
    let pk = collection.schema.primary_key().name.clone();
    let limit = proxy.config.delete_page_rows;
    let mut scope = qn::ReadScope {
        collection_id: collection.id(),
        partition_ids: if partition_id == PartitionId::ALL.0 { Vec::new() } else { vec![partition_id] },
        read_ts: 0,
        filter: request.expr.clone(),
        filter_params: request.expr_template_values.clone(),
        output_fields: vec![pk.clone()],
    };
    let mut all: Option<PkColumn> = None;
    let mut offset = 0;
    loop {
        let query = qn::QueryRequest { scope: Some(scope.clone()), limit, offset, count_only: false };
        let page = answer(proxy.querynode().query(about(collection.id(), query))).await?;
        scope.read_ts = page.read_ts;
        let batch = from_ipc(page.arrow_ipc).map_err(|error| Failure::internal(error.to_string()))?;
        let keys = PkColumn::from_batch(&batch, &pk).map_err(|error| Failure::internal(error.to_string()))?;
        let rows = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        let gathered = match all.take() {
            None => keys,
            Some(before) => join(before, keys)?,
        };
        if rows < limit {
            return Ok(gathered);
        }
        all = Some(gathered);
        offset += rows;
    }
}

fn join(before: PkColumn, more: PkColumn) -> Result<PkColumn, Failure> {
    match (before, more) {
        (PkColumn::Int(mut all), PkColumn::Int(more)) => {
            all.extend(more);
            Ok(PkColumn::Int(all))
        }
        (PkColumn::Str(mut all), PkColumn::Str(more)) => {
            all.extend(more);
            Ok(PkColumn::Str(all))
        }
        _ => Err(Failure::internal("pages of one query have keys of two types")),
    }
}

//! Query: rows by a filter, or their number.

use super::{
    iteration, loaded_partitions,
    options::Options,
    output::Output,
    results::{fields_data, rows},
    source::Source,
};
use crate::{
    Proxy,
    backend::{Call, answer},
};
use elanus_proto::{
    milvus as m, querynode as qn,
    schema::{FieldData, LongArray, ScalarField, field_data, scalar_field},
    transport::about,
};
use elanus_types::{Code, Failure, schema::DataType};

const COUNT: &str = "count(*)";

pub(crate) async fn query(proxy: &Proxy, call: &Call, request: m::QueryRequest) -> Result<m::QueryResults, Failure> {
    if request.namespace.is_some() {
        return Err(Failure::new(Code::Unimplemented, "namespaces are not served"));
    }
    let source = Source::open(proxy, call, &request.db_name, &request.collection_name).await?;
    let found = read(proxy, &source, request).await;
    source.checked(proxy, found).await
}

async fn read(proxy: &Proxy, source: &Source, request: m::QueryRequest) -> Result<m::QueryResults, Failure> {
    let collection = &source.collection;
    let options = Options::read(&request.query_params)?;
    let (limit, offset) = options.window("limit", proxy.config.result_window_max)?;
    let count_only = request.output_fields.iter().any(|name| name.trim().eq_ignore_ascii_case(COUNT));
    let output = if count_only {
        check_count(&request.output_fields, limit.is_some() || offset > 0)?;
        Output::default()
    } else {
        if request.expr.trim().is_empty() && limit.is_none() {
            return Err(Failure::invalid("empty expression should be used with limit"));
        }
        Output::plan(&collection.schema, &request.output_fields)?.with_key(&collection.schema)
    };
    let scope = qn::ReadScope {
        collection_id: collection.id(),
        partition_ids: loaded_partitions(collection, &request.partition_names)?,
        read_ts: iteration::read_ts(source, &options, request.guarantee_timestamp),
        filter: request.expr,
        filter_params: request.expr_template_values,
        output_fields: output.columns.clone(),
    };
    let query = qn::QueryRequest { scope: Some(scope), limit: limit.unwrap_or(-1), offset, count_only };
    let found = answer(proxy.querynode().query(about(collection.id(), query))).await?;
    let (fields_data, output_fields) = if count_only {
        (vec![count(found.count)], vec![COUNT.to_owned()])
    } else {
        (fields_data(&collection.schema, &rows(found.arrow_ipc)?, &output.columns)?, output.names)
    };
    Ok(m::QueryResults {
        fields_data,
        output_fields,
        collection_name: collection.info.name.clone(),
        session_ts: found.read_ts,
        primary_field_name: collection.schema.primary_key().name.clone(),
        ..m::QueryResults::default()
    })
}

fn check_count(output_fields: &[String], paged: bool) -> Result<(), Failure> {
    if output_fields.len() > 1 {
        return Err(Failure::invalid("count entities with other output fields is not allowed"));
    }
    if paged {
        return Err(Failure::invalid("count entities with pagination is not allowed"));
    }
    Ok(())
}

fn count(rows: i64) -> FieldData {
    let data = Some(scalar_field::Data::LongData(LongArray { data: vec![rows] }));
    FieldData {
        r#type: DataType::Int64.number(),
        field_name: COUNT.to_owned(),
        field: Some(field_data::Field::Scalars(ScalarField { data, valid_data: Vec::new() })),
        ..FieldData::default()
    }
}

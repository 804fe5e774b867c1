//! Rows of which a request has only some columns: the others keep what the rows of these keys have now.
//!
//! What is there is read first and written anew with what changes, in the one commit of the upsert. As in Milvus, nothing keeps
//! others from changing a row in between: of two who change different columns of one row at the same moment, one may win for both.

use super::{
    placing::Placing,
    rows::{Rows, required},
};
use crate::{
    Proxy,
    backend::{Collection, answer},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
    compute::interleave,
    datatypes::Field,
};
use elanus_proto::querynode as qn;
use elanus_proto::schema::{LongArray, StringArray as Texts, TemplateArrayValue, TemplateValue};
use elanus_proto::schema::{template_array_value::Data, template_value::Val};
use elanus_proto::transport::about;
use elanus_segment::{PkColumn, PkValue, from_ipc};
use elanus_types::{Failure, PartitionId, schema::FieldSchema};
use std::collections::HashMap;

/// The name of the keys in the filter; no name of a field stands there.
const KEYS: &str = "keys";

fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::internal(error.to_string())
}

/// Whole rows, for the rows at these positions of the request.
///
/// # Errors
/// 1100 when a row is new and lacks what it must have.
pub(super) async fn complete(
    proxy: &Proxy,
    collection: &Collection,
    placing: &Placing,
    rows: Rows,
    kept: &[u32],
) -> Result<RecordBatch, Failure> {
    let keys = rows.given_keys()?;
    let wanted: Vec<PkValue> = keys.iter().collect();
    let wanted: Vec<PkValue> = kept.iter().map(|row| wanted[*row as usize].clone()).collect();
    let old = present(proxy, collection, placing, &wanted).await?;
    let found = PkColumn::from_batch(&old, &collection.schema.primary_key().name).map_err(internal)?;
    let places: HashMap<PkValue, usize> = found.iter().zip(0..).collect();
    let places: Vec<Option<usize>> = wanted.iter().map(|key| places.get(key).copied()).collect();
    rows.completed(&collection.schema, kept, |field, column, given| {
        let before = old.column_by_name(column.name());
        let before = before.ok_or_else(|| internal(format!("a query node sent no column {}", column.name())))?;
        match given {
            Some(given) if field.is_dynamic => merged(&given, before, &places),
            Some(given) => Ok(given),
            None => carried(field, column, before, &places),
        }
    })
}

/// The rows of these keys, where an upsert would delete them.
async fn present(
    proxy: &Proxy,
    collection: &Collection,
    placing: &Placing,
    keys: &[PkValue],
) -> Result<RecordBatch, Failure> {
    let schema = &collection.schema;
    let ints: Option<Vec<i64>> =
        keys.iter().map(|key| if let PkValue::Int(key) = key { Some(*key) } else { None }).collect();
    let data = match ints {
        Some(data) => Data::LongData(LongArray { data }),
        None => Data::StringData(Texts { data: keys.iter().map(ToString::to_string).collect() }),
    };
    let value = TemplateValue { val: Some(Val::ArrayVal(TemplateArrayValue { data: Some(data) })) };
    let partition = placing.deletes_in();
    let scope = qn::ReadScope {
        collection_id: collection.id(),
        partition_ids: if partition == PartitionId::ALL.0 { Vec::new() } else { vec![partition] },
        read_ts: 0,
        filter: format!("{} in {{{KEYS}}}", schema.primary_key().name),
        filter_params: [(KEYS.to_owned(), value)].into(),
        output_fields: schema.fields.iter().map(|field| field.name.clone()).collect(),
    };
    let query = qn::QueryRequest { scope: Some(scope), limit: -1, offset: 0, count_only: false };
    let found = answer(proxy.querynode().query(about(collection.id(), query))).await?;
    from_ipc(found.arrow_ipc).map_err(internal)
}

/// A column that the request has not: what each row has now, or what a row has that brings nothing.
fn carried(
    field: &FieldSchema,
    column: &Field,
    before: &ArrayRef,
    places: &[Option<usize>],
) -> Result<ArrayRef, Failure> {
    let absent = match places.contains(&None) {
        true => required(field, column, 1)?,
        false => before.slice(0, 0),
    };
    let from: Vec<(usize, usize)> = places.iter().map(|place| place.map_or((1, 0), |row| (0, row))).collect();
    interleave(&[before.as_ref(), absent.as_ref()], &from).map_err(internal)
}

/// Keys of the dynamic field that the request has not stay.
fn merged(given: &ArrayRef, before: &ArrayRef, places: &[Option<usize>]) -> Result<ArrayRef, Failure> {
    let texts = |array: &ArrayRef| array.as_string_opt::<i32>().cloned().ok_or_else(|| internal("keys are no text"));
    let (given, before) = (texts(given)?, texts(before)?);
    let object =
        |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).map_err(internal);
    let one = |(row, place): (usize, &Option<usize>)| -> Result<String, Failure> {
        let Some(at) = place.filter(|at| before.is_valid(*at)) else { return Ok(given.value(row).to_owned()) };
        let mut all = object(before.value(at))?;
        all.extend(object(given.value(row))?);
        Ok(serde_json::Value::Object(all).to_string())
    };
    let rows = places.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(std::sync::Arc::new(StringArray::from_iter_values(rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::rows::tests::schema;
    use arrow::array::Int8Array;
    use std::sync::Arc;

    #[test]
    fn columns_that_are_left_out_keep_what_is_there_and_new_rows_get_what_they_may() {
        let schema = schema();
        let arrow = elanus_segment::arrow_schema(&schema);
        let column = |name: &str| (schema.field(name).unwrap(), arrow.field_with_name(name).unwrap());
        let small: ArrayRef = Arc::new(Int8Array::from(vec![Some(7), None, Some(9)]));
        let places = [Some(2), None, Some(0), Some(1)];
        let (field, arrow_field) = column("small");
        let carried_on = carried(field, arrow_field, &small, &places).unwrap();
        assert_eq!(
            carried_on.as_primitive::<arrow::datatypes::Int8Type>().iter().collect::<Vec<_>>(),
            [Some(9), None, Some(7), None]
        );
        let (field, arrow_field) = column("doc");
        let docs: ArrayRef = Arc::new(StringArray::from(vec!["1", "2", "3"]));
        let failure = carried(field, arrow_field, &docs, &places).unwrap_err();
        assert!(failure.message.contains("fieldSchema(doc) has no corresponding fieldData pass in"), "{failure}");
        assert_eq!(carried(field, arrow_field, &docs, &[Some(1)]).unwrap().as_string::<i32>().value(0), "2");
    }

    #[test]
    fn keys_of_the_dynamic_field_are_merged() {
        let texts = |rows: &[&str]| -> ArrayRef { Arc::new(StringArray::from(rows.to_vec())) };
        let given = texts(&[r#"{"a":1}"#, r#"{"b":2}"#]);
        let before = texts(&[r#"{"a":0,"c":[3]}"#]);
        let all = merged(&given, &before, &[Some(0), None]).unwrap();
        let all = all.as_string::<i32>();
        assert_eq!((all.value(0), all.value(1)), (r#"{"a":1,"c":[3]}"#, r#"{"b":2}"#));
    }
}

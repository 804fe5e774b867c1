//! Searches with the vectors of rows: the rows are read first, by their keys.

use super::{results::rows, source::Source};
use crate::{Proxy, backend::answer};
use arrow::{
    array::{Array, AsArray},
    datatypes::Float32Type,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use elanus_proto::{
    querynode as qn,
    schema::{IDs, i_ds::IdField},
    transport::about,
};
use elanus_segment::PkColumn;
use elanus_types::{
    Failure,
    schema::{DataType, FieldSchema},
};
use std::collections::HashMap;

/// Number and elements of the vectors of these rows, in the order of the ids.
///
/// # Errors
/// 1100 for an id that no row has, for a row without vector, and for ids of another type than the primary key.
pub(super) async fn vectors(
    proxy: &Proxy,
    source: &Source,
    field: &FieldSchema,
    ids: IDs,
    scope: &qn::ReadScope,
) -> Result<(i64, Bytes), Failure> {
    let schema = &source.collection.schema;
    let key = schema.primary_key();
    let (wanted, listed) = match ids.id_field {
        Some(IdField::IntId(ids)) if key.data_type != DataType::VarChar => {
            let listed = ids.data.iter().map(i64::to_string).collect::<Vec<_>>();
            (PkColumn::Int(ids.data), listed)
        }
        Some(IdField::StrId(ids)) if key.data_type == DataType::VarChar => {
            // A JSON string is a string of the filter language.
            let listed = ids.data.iter().map(|id| serde_json::Value::from(id.as_str()).to_string()).collect();
            (PkColumn::Str(ids.data), listed)
        }
        Some(_) => return Err(Failure::invalid(format!("the ids to search with are no values of {}", key.name))),
        None => return Err(Failure::invalid("the search has no ids")),
    };
    let count = i64::try_from(wanted.len()).unwrap_or(i64::MAX);
    if !(1..=proxy.config.nq_max).contains(&count) {
        let max = proxy.config.nq_max;
        return Err(Failure::invalid(format!(
            "nq [{count}] is invalid, it should be in range [1, {max}], but got {count}"
        )));
    }
    let scope = qn::ReadScope {
        filter: format!("{} in [{}]", key.name, listed.join(", ")),
        filter_params: Default::default(),
        output_fields: vec![key.name.clone(), field.name.clone()],
        ..scope.clone()
    };
    let query = qn::QueryRequest { scope: Some(scope), limit: -1, offset: 0, count_only: false };
    let found = answer(proxy.querynode().query(about(source.collection.id(), query))).await?;
    let batch = rows(found.arrow_ipc)?;
    let found = PkColumn::from_batch(&batch, &key.name).map_err(|error| Failure::internal(error.to_string()))?;
    let places: HashMap<String, usize> = texts(&found).into_iter().zip(0..).collect();
    let no_vectors = || Failure::internal(format!("a query node sent no vectors of {}", field.name));
    let column = batch.column_by_name(&field.name).ok_or_else(no_vectors)?;
    let mut bytes = BytesMut::new();
    for id in texts(&wanted) {
        let row = places.get(&id).copied().filter(|row| column.is_valid(*row));
        let row =
            row.ok_or_else(|| Failure::invalid(format!("no row has {} {id} and a vector {}", key.name, field.name)))?;
        put_vector(&mut bytes, column.as_ref(), row).ok_or_else(no_vectors)?;
    }
    Ok((count, bytes.freeze()))
}

/// Adds a row's vector in the form in which query nodes take query vectors; `None` for a column of no vectors.
fn put_vector(bytes: &mut BytesMut, column: &dyn Array, row: usize) -> Option<()> {
    if let Some(list) = column.as_fixed_size_list_opt() {
        let elements = list.value(row);
        elements.as_primitive_opt::<Float32Type>()?.values().iter().for_each(|element| bytes.put_f32_le(*element));
    } else if let Some(rows) = column.as_fixed_size_binary_opt() {
        bytes.extend_from_slice(rows.value(row));
    } else {
        let vector = column.as_binary_opt::<i32>()?.value(row);
        bytes.put_u32_le(u32::try_from(vector.len()).ok()?);
        bytes.extend_from_slice(vector);
    }
    Some(())
}

fn texts(keys: &PkColumn) -> Vec<String> {
    match keys {
        PkColumn::Int(keys) => keys.iter().map(i64::to_string).collect(),
        PkColumn::Str(keys) => keys.clone(),
    }
}

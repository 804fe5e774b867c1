//! Which Arrow column a field is. Files keep these types for ever: a change here must still read what was written.

use crate::defaults::{DEFAULT_KEY, absent_column};
use crate::{Error, vector};
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, ListArray, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Field, FieldRef, Float32Type, Schema, SchemaRef};
use elanus_types::FieldId;
use elanus_types::schema::{CollectionSchema, DataType, FieldSchema};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use std::collections::HashMap;
use std::sync::Arc;

/// Name of the hidden last column: int64, never null, the offset of the row's commit in its commit group.
/// The timestamp of a row is `base_ts` of the file's membership plus this.
pub const TIMESTAMP_COLUMN: &str = "$timestamp";
/// Key of the column metadata that tells JSON from text.
pub const TYPE_KEY: &str = "elanus:type";
/// Value of [`TYPE_KEY`] for JSON.
pub const TYPE_JSON: &str = "json";
/// Values of [`TYPE_KEY`] for vectors that are bytes.
const TYPES_OF_BYTES: [(DataType, &str); 5] = [
    (DataType::BinaryVector, "binary_vector"),
    (DataType::Float16Vector, "float16_vector"),
    (DataType::BFloat16Vector, "bfloat16_vector"),
    (DataType::SparseFloatVector, "sparse_float_vector"),
    (DataType::Int8Vector, "int8_vector"),
];

/// One column per field in their order, then [`TIMESTAMP_COLUMN`]; field ids in the metadata, where Parquet takes them from.
///
/// A vector field without a usable `dim` becomes a vector of no elements, which nothing encodes or decodes.
#[must_use]
pub fn arrow_schema(schema: &CollectionSchema) -> SchemaRef {
    let mut fields: Vec<Field> = schema.fields.iter().map(arrow_field).collect();
    fields.push(timestamp_field());
    Arc::new(Schema::new(fields))
}

pub(crate) fn timestamp_field() -> Field {
    with_id(Field::new(TIMESTAMP_COLUMN, ArrowType::Int64, false), FieldId::TIMESTAMP)
}

pub(crate) fn with_id(field: Field, id: FieldId) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string());
    field.with_metadata(metadata)
}

pub(crate) fn id_of(field: &Field) -> Option<FieldId> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok().map(FieldId)
}

fn arrow_field(field: &FieldSchema) -> Field {
    let column = Field::new(&field.name, arrow_type(field), field.nullable);
    let mut metadata = HashMap::new();
    let of_bytes = TYPES_OF_BYTES.into_iter().find(|(data_type, _)| *data_type == field.data_type);
    let tag = if field.data_type == DataType::Json { Some(TYPE_JSON) } else { of_bytes.map(|(_, tag)| tag) };
    if let Some(tag) = tag {
        metadata.insert(TYPE_KEY.to_owned(), tag.to_owned());
    }
    if let Some(text) = field.default_value.as_ref().and_then(|value| serde_json::to_string(value).ok()) {
        metadata.insert(DEFAULT_KEY.to_owned(), text);
    }
    with_id(column.with_metadata(metadata), field.id)
}

/// Vectors other than those of 32-bit floats are bytes, as clients send them: see [`crate::vector`].
fn arrow_type(field: &FieldSchema) -> ArrowType {
    match field.data_type {
        DataType::FloatVector => {
            let dim = field.dim().and_then(|dim| i32::try_from(dim).ok()).unwrap_or(0);
            ArrowType::FixedSizeList(Arc::new(Field::new_list_field(ArrowType::Float32, false)), dim)
        }
        DataType::BinaryVector | DataType::Float16Vector | DataType::BFloat16Vector | DataType::Int8Vector => {
            let width = vector::width(field).and_then(|width| i32::try_from(width).ok()).unwrap_or(0);
            ArrowType::FixedSizeBinary(width)
        }
        DataType::SparseFloatVector => ArrowType::Binary,
        DataType::Array => match field.element_type.map(scalar_type) {
            None | Some(ArrowType::Null) => ArrowType::Null,
            Some(element) => ArrowType::List(Arc::new(Field::new_list_field(element, false))),
        },
        scalar => scalar_type(scalar),
    }
}

fn scalar_type(data_type: DataType) -> ArrowType {
    match data_type {
        DataType::Bool => ArrowType::Boolean,
        DataType::Int8 => ArrowType::Int8,
        DataType::Int16 => ArrowType::Int16,
        DataType::Int32 => ArrowType::Int32,
        DataType::Int64 => ArrowType::Int64,
        DataType::Float => ArrowType::Float32,
        DataType::Double => ArrowType::Float64,
        DataType::VarChar | DataType::Json => ArrowType::Utf8,
        // Refused by `storable`: data types may be added to the words before files can hold them.
        _ => ArrowType::Null,
    }
}

/// The columns of a schema that files can hold.
pub(crate) fn storable(schema: &CollectionSchema) -> Result<SchemaRef, Error> {
    let columns = arrow_schema(schema);
    for column in columns.fields() {
        let why = match column.data_type() {
            ArrowType::Null => "files cannot hold its data type",
            ArrowType::FixedSizeList(_, dim) | ArrowType::FixedSizeBinary(dim) if *dim <= 0 => {
                "a vector needs a dim of at least 1"
            }
            _ => continue,
        };
        return Err(Error::Schema { field: column.name().clone(), why: why.to_owned() });
    }
    Ok(columns)
}

/// The columns of a batch as this schema has them, in its order, found by their ids, and by their names where a batch says no
/// ids. What the batch lacks is filled in, where a row may come without: rows that were made before a field was added are rows
/// all the same.
///
/// # Errors
/// When the batch has a column that is of no field or of another type, or lacks one that it must have.
pub fn complete(schema: &CollectionSchema, batch: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
    let found = batch.schema_ref();
    let is_of = |column: &FieldRef, field: &FieldSchema| match id_of(column) {
        Some(id) => id == field.id,
        None => *column.name() == field.name,
    };
    if let Some(other) = found.fields().iter().find(|column| !schema.fields.iter().any(|field| is_of(column, field))) {
        return Err(Error::field(other.name(), "the collection has no such field"));
    }
    let wanted = arrow_schema(schema);
    let column = |(wanted, field): (&FieldRef, &FieldSchema)| match found
        .fields()
        .iter()
        .position(|column| is_of(column, field))
    {
        Some(at) => fit(wanted, batch.column(at)),
        None => absent_column(wanted, batch.num_rows())
            .ok_or_else(|| Error::field(wanted.name(), "the rows do not have it, and it is not nullable")),
    };
    wanted.fields().iter().zip(&schema.fields).map(column).collect()
}

/// The same values as a column of this field: checks the type and that only nullable columns have nulls.
pub(crate) fn fit(field: &FieldRef, array: &ArrayRef) -> Result<ArrayRef, Error> {
    let array: ArrayRef = match (field.data_type(), array.data_type()) {
        // Names and nullability of the items differ between writers.
        (ArrowType::FixedSizeList(item, dim), ArrowType::FixedSizeList(found, found_dim))
            if dim == found_dim && found.data_type() == &ArrowType::Float32 =>
        {
            Arc::new(fit_vectors(field, item, *dim, array.as_fixed_size_list())?)
        }
        (ArrowType::List(item), ArrowType::List(found)) if item.data_type() == found.data_type() => {
            Arc::new(fit_lists(field, item, array.as_list())?)
        }
        (wanted, found) if wanted == found => Arc::clone(array),
        (wanted, found) => return Err(Error::field(field.name(), format!("it is {found} instead of {wanted}"))),
    };
    if !field.is_nullable() && array.null_count() > 0 {
        return Err(Error::field(field.name(), "a row has no value, and the field is not nullable"));
    }
    Ok(array)
}

/// Refuses an element that is missing.
fn fit_lists(field: &Field, item: &FieldRef, found: &ListArray) -> Result<ListArray, Error> {
    let (offsets, nulls) = (found.offsets().clone(), found.nulls().cloned());
    ListArray::try_new(Arc::clone(item), offsets, Arc::clone(found.values()), nulls)
        .map_err(|e| Error::field(field.name(), e.to_string()))
}

fn fit_vectors(
    field: &Field,
    item: &FieldRef,
    dim: i32,
    found: &FixedSizeListArray,
) -> Result<FixedSizeListArray, Error> {
    let refuse = |why: String| Error::field(field.name(), why);
    let values = found.values().as_primitive::<Float32Type>();
    let nulls = found.nulls().cloned();
    // Refuses a missing element of a vector that is there; the elements of a missing vector are never looked at.
    let checked = FixedSizeListArray::try_new(Arc::clone(item), dim, Arc::new(values.clone()), nulls.clone())
        .map_err(|e| refuse(e.to_string()))?;
    if values.nulls().is_none() {
        return Ok(checked);
    }
    let dense = Float32Array::new(values.values().clone(), None);
    FixedSizeListArray::try_new(Arc::clone(item), dim, Arc::new(dense), nulls).map_err(|e| refuse(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_data_type_that_elanus_can_name_has_a_column() {
        let named: Vec<DataType> = (0..1_000).filter_map(DataType::from_number).collect();
        assert!(named.len() >= 16);
        for data_type in named {
            let field = FieldSchema {
                id: FieldId(100),
                name: "f".into(),
                description: String::new(),
                data_type,
                is_primary_key: false,
                auto_id: false,
                is_dynamic: false,
                nullable: false,
                element_type: Some(DataType::Bool),
                default_value: None,
                type_params: [("dim".to_owned(), "16".to_owned())].into(),
            };
            assert_ne!(arrow_type(&field), ArrowType::Null, "{data_type:?}");
        }
    }
}

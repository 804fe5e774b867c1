//! The columns that a filter reads: their Arrow types, and how they are found in a batch.

use crate::MaskError;
use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{DataType as ArrowType, Field, Schema, SchemaRef},
};
use datafusion_common::DataFusionError;
use elanus_types::schema::{DataType, FieldSchema};
use std::sync::Arc;

fn arrow_type(field: &FieldSchema) -> ArrowType {
    match (field.data_type, field.element_type) {
        (DataType::Array, Some(element)) => ArrowType::new_list(scalar_type(element), true),
        (scalar, _) => scalar_type(scalar),
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
        // Text, and JSON as text. Vectors are refused by the type check.
        _ => ArrowType::Utf8,
    }
}

/// What compiled expressions are evaluated over: these fields, by position.
pub(crate) fn input_schema(fields: &[FieldSchema]) -> Schema {
    Schema::new(fields.iter().map(|field| Field::new(&field.name, arrow_type(field), true)).collect::<Vec<_>>())
}

/// How a list calls its elements, and whether they may be null, does not matter.
fn fits(found: &ArrowType, expected: &ArrowType) -> bool {
    match (found, expected) {
        (ArrowType::List(found), ArrowType::List(expected)) => found.data_type() == expected.data_type(),
        _ => found == expected,
    }
}

/// The columns of `schema`, found in the batch by name.
pub(crate) fn pick(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, MaskError> {
    let (mut columns, mut fields) = (Vec::with_capacity(schema.fields().len()), Vec::new());
    for field in schema.fields() {
        let name = field.name();
        let column = batch.column_by_name(name).ok_or_else(|| MaskError::NoColumn(name.clone()))?;
        if !fits(column.data_type(), field.data_type()) {
            return Err(MaskError::ColumnType {
                name: name.clone(),
                expected: field.data_type().clone(),
                found: column.data_type().clone(),
            });
        }
        columns.push(column.clone());
        fields.push(Field::new(name, column.data_type().clone(), true));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(DataFusionError::from)?)
}

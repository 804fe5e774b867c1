//! A collection with every data type, once nullable and once not, and rows for it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part, and a test may unwrap")]

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType as ArrowType, Field};
use elanus_segment::arrow_schema;
use elanus_types::FieldId;
use elanus_types::schema::{CollectionSchema, DataType, FieldSchema};
use std::sync::Arc;

pub(crate) const DIM: i32 = 3;
pub(crate) const TYPES: [DataType; 10] = [
    DataType::Bool,
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::Float,
    DataType::Double,
    DataType::VarChar,
    DataType::Json,
    DataType::FloatVector,
];

pub(crate) fn field(id: i64, name: &str, data_type: DataType, nullable: bool) -> FieldSchema {
    FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary_key: false,
        auto_id: false,
        is_dynamic: false,
        nullable,
        element_type: None,
        default_value: None,
        type_params: [("dim".to_owned(), DIM.to_string())].into(),
    }
}

/// Fields: `id` (the primary key, id 100), then `a0…a9` (not null) and `n0…n9` (nullable), one per type.
pub(crate) fn schema(pk_type: DataType) -> CollectionSchema {
    let mut fields = vec![FieldSchema { is_primary_key: true, ..field(100, "id", pk_type, false) }];
    for (at, data_type) in (0..).zip(TYPES) {
        fields.push(field(101 + at, &format!("a{at}"), data_type, false));
        fields.push(field(201 + at, &format!("n{at}"), data_type, true));
    }
    CollectionSchema { description: String::new(), fields, enable_dynamic_field: false, ..CollectionSchema::default() }
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Every number is made of these bits.
    pub(crate) bits: u64,
    pub(crate) text: String,
    /// Bit n: field `n{n}` is null.
    pub(crate) nulls: u16,
    pub(crate) ts_offset: i64,
}

/// Rows that look different in every column.
pub(crate) fn sample(rows: usize) -> Vec<Row> {
    (0..rows as u64)
        .map(|n| Row {
            bits: (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            text: format!("текст {n} \"\n{}", "x".repeat(n as usize % 7)),
            nulls: ((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16,
            ts_offset: n as i64 / 3,
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "some of the bits are as good as others")]
fn column(data_type: DataType, rows: &[Row], is_null: impl Fn(&Row) -> bool) -> ArrayRef {
    macro_rules! each {
        ($array:ty, $value:expr) => {
            Arc::new(rows.iter().map(|row| (!is_null(row)).then(|| $value(row))).collect::<$array>())
        };
    }
    match data_type {
        DataType::Bool => each!(BooleanArray, |row: &Row| row.bits & 1 == 1),
        DataType::Int8 => each!(Int8Array, |row: &Row| row.bits as i8),
        DataType::Int16 => each!(Int16Array, |row: &Row| row.bits as i16),
        DataType::Int32 => each!(Int32Array, |row: &Row| row.bits as i32),
        DataType::Int64 => each!(Int64Array, |row: &Row| row.bits as i64),
        DataType::Float => each!(Float32Array, |row: &Row| f32::from_bits(row.bits as u32)),
        DataType::Double => each!(Float64Array, |row: &Row| f64::from_bits(row.bits)),
        DataType::VarChar => each!(StringArray, |row: &Row| row.text.clone()),
        DataType::Json => {
            each!(StringArray, |row: &Row| { serde_json::json!({ "t": row.text, "n": row.bits }).to_string() })
        }
        DataType::FloatVector => {
            let values =
                rows.iter().flat_map(|row| (0..DIM as u32).map(|at| f32::from_bits(row.bits.rotate_left(at) as u32)));
            let nulls = rows.iter().any(&is_null).then(|| rows.iter().map(|row| !is_null(row)).collect::<NullBuffer>());
            let item = Arc::new(Field::new_list_field(ArrowType::Float32, false));
            Arc::new(FixedSizeListArray::new(item, DIM, Arc::new(values.collect::<Float32Array>()), nulls))
        }
        other => panic!("{other:?} has no rows here"),
    }
}

/// A batch as `arrow_schema` wants it.
pub(crate) fn batch(schema: &CollectionSchema, rows: &[Row]) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = schema
        .fields
        .iter()
        .map(|field| {
            let bit = field.name[1..].parse::<u32>().unwrap_or(0);
            column(field.data_type, rows, |row| field.nullable && row.nulls >> bit & 1 == 1)
        })
        .collect();
    columns.push(Arc::new(rows.iter().map(|row| Some(row.ts_offset)).collect::<Int64Array>()));
    RecordBatch::try_new(arrow_schema(schema), columns).unwrap()
}

//! A collection with every data type, once nullable and once not, and rows for it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part, and a test may unwrap")]

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType as ArrowType, Field};
use elanus_segment::{arrow_schema, vector};
use elanus_types::FieldId;
use elanus_types::schema::{CollectionSchema, DataType, FieldSchema};
use std::sync::Arc;

pub(crate) const DIM: i32 = 8;
/// Of vectors of 32-bit floats, as golden files have them.
pub(crate) const FLOATS_DIM: i32 = 3;
/// What files of version 1 may have, and then what came later.
pub(crate) const TYPES: [DataType; 15] = [
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
    DataType::BinaryVector,
    DataType::Float16Vector,
    DataType::BFloat16Vector,
    DataType::SparseFloatVector,
    DataType::Int8Vector,
];
pub(crate) const ELEMENTS: [DataType; 8] = [
    DataType::Bool,
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::Float,
    DataType::Double,
    DataType::VarChar,
];

pub(crate) fn field(id: i64, name: &str, data_type: DataType, nullable: bool) -> FieldSchema {
    let dim = if data_type == DataType::FloatVector { FLOATS_DIM } else { DIM };
    let type_params = [("dim".to_owned(), dim.to_string())].into();
    FieldSchema { nullable, type_params, ..FieldSchema::new(FieldId(id), name, data_type) }
}

/// What files of version 1 have. Fields: `id` (the primary key, id 100), then `a0…a9` (not null) and `n0…n9` (nullable), one
/// per type.
pub(crate) fn schema_v1(pk_type: DataType) -> CollectionSchema {
    schema_of(pk_type, &TYPES[..10])
}

/// Every type, and beside `a…` and `n…` the arrays `e0…e7` (nullable), one per type of their elements.
pub(crate) fn schema(pk_type: DataType) -> CollectionSchema {
    let mut schema = schema_of(pk_type, &TYPES);
    for (at, element) in (0..).zip(ELEMENTS) {
        let array = field(401 + at, &format!("e{at}"), DataType::Array, true);
        schema.fields.push(FieldSchema { element_type: Some(element), ..array });
    }
    schema
}

fn schema_of(pk_type: DataType, types: &[DataType]) -> CollectionSchema {
    let mut fields = vec![FieldSchema { is_primary_key: true, ..field(100, "id", pk_type, false) }];
    for (at, data_type) in (0..).zip(types) {
        fields.push(field(101 + at, &format!("a{at}"), *data_type, false));
        fields.push(field(201 + at, &format!("n{at}"), *data_type, true));
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
            let values = rows
                .iter()
                .flat_map(|row| (0..FLOATS_DIM as u32).map(|at| f32::from_bits(row.bits.rotate_left(at) as u32)));
            let nulls = rows.iter().any(&is_null).then(|| rows.iter().map(|row| !is_null(row)).collect::<NullBuffer>());
            let item = Arc::new(Field::new_list_field(ArrowType::Float32, false));
            Arc::new(FixedSizeListArray::new(item, FLOATS_DIM, Arc::new(values.collect::<Float32Array>()), nulls))
        }
        DataType::SparseFloatVector => {
            let bytes = |row: &Row| row.bits.to_le_bytes().repeat(row.text.len() % 3);
            Arc::new(rows.iter().map(|row| (!is_null(row)).then(|| bytes(row))).collect::<BinaryArray>())
        }
        DataType::BinaryVector | DataType::Float16Vector | DataType::BFloat16Vector | DataType::Int8Vector => {
            let width = vector::width(&field(0, "", data_type, false)).unwrap();
            let bytes = |row: &Row| (0..width as u32).map(|at| row.bits.rotate_left(at) as u8).collect::<Vec<u8>>();
            let cells = rows.iter().map(|row| (!is_null(row)).then(|| bytes(row)));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(cells, width as i32).unwrap())
        }
        other => panic!("{other:?} has no rows here"),
    }
}

/// As many elements as the row's bits say, made of the rows that come after it.
fn lists(element: DataType, rows: &[Row], is_null: impl Fn(&Row) -> bool) -> ArrayRef {
    let lengths: Vec<usize> = rows.iter().map(|row| if is_null(row) { 0 } else { row.bits as usize % 4 }).collect();
    let count = lengths.iter().sum();
    let values = column(element, &rows.iter().cycle().take(count).cloned().collect::<Vec<_>>(), |_| false);
    let nulls = rows.iter().any(&is_null).then(|| rows.iter().map(|row| !is_null(row)).collect::<NullBuffer>());
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), false));
    Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), values, nulls))
}

/// A batch as `arrow_schema` wants it.
pub(crate) fn batch(schema: &CollectionSchema, rows: &[Row]) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = schema
        .fields
        .iter()
        .map(|field| {
            let bit = field.name[1..].parse::<u32>().unwrap_or(0);
            let is_null = |row: &Row| field.nullable && row.nulls >> bit & 1 == 1;
            match field.element_type {
                Some(element) => lists(element, rows, is_null),
                None => column(field.data_type, rows, is_null),
            }
        })
        .collect();
    columns.push(Arc::new(rows.iter().map(|row| Some(row.ts_offset)).collect::<Int64Array>()));
    RecordBatch::try_new(arrow_schema(schema), columns).unwrap()
}

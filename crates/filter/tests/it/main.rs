//! Promises of the filter language, over one collection that has a field of every kind.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod hostile;
mod language;
mod oracle;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray,
    ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::{Float32Type, Int32Type};
use elanus_filter::{Filter, FilterError, Params};
use elanus_types::{
    FieldId,
    schema::{CollectionSchema, DataType, FieldSchema},
};
use serde_json::Value as Json;
use std::sync::Arc;

/// Field names with their types; the last one is the dynamic field.
const FIELDS: [(&str, DataType); 15] = [
    ("id", DataType::Int64),
    ("flag", DataType::Bool),
    ("i8", DataType::Int8),
    ("i16", DataType::Int16),
    ("i32", DataType::Int32),
    ("i64", DataType::Int64),
    ("f32", DataType::Float),
    ("f64", DataType::Double),
    ("name", DataType::VarChar),
    ("meta", DataType::Json),
    ("ints", DataType::Array),
    ("singles", DataType::Array),
    ("texts", DataType::Array),
    ("vector", DataType::FloatVector),
    ("$meta", DataType::Json),
];

/// What the elements of an array field are.
fn element(name: &str) -> Option<DataType> {
    match name {
        "ints" => Some(DataType::Int32),
        "singles" => Some(DataType::Float),
        "texts" => Some(DataType::VarChar),
        _ => None,
    }
}

fn schema() -> CollectionSchema {
    let field = |(index, (name, data_type)): (usize, (&str, DataType))| FieldSchema {
        id: FieldId(100 + index as i64),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary_key: name == "id",
        auto_id: false,
        is_dynamic: name == "$meta",
        nullable: name != "id",
        element_type: element(name),
        default_value: None,
        type_params: [("dim".to_owned(), "2".to_owned())].into(),
    };
    let fields = FIELDS.into_iter().enumerate().map(field).collect();
    CollectionSchema { description: String::new(), fields, enable_dynamic_field: true, ..CollectionSchema::default() }
}

/// Rows as users write them: fields by name, absent or null for no value, anything else in the dynamic field. `"NaN"` is NaN.
fn batch(rows: &[Json]) -> RecordBatch {
    let column = |name: &str, data_type| -> ArrayRef {
        let values = rows.iter().map(|row| row.get(name).filter(|value| !value.is_null()));
        let ints = || values.clone().map(|value| value.map(|value| value.as_i64().unwrap()));
        let floats = || values.clone().map(|value| value.map(|value| value.as_f64().unwrap_or(f64::NAN)));
        match data_type {
            DataType::Bool => Arc::new(values.map(|value| value?.as_bool()).collect::<BooleanArray>()),
            DataType::Int8 => Arc::new(ints().map(|v| v.map(|v| v as i8)).collect::<Int8Array>()),
            DataType::Int16 => Arc::new(ints().map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
            DataType::Int32 => Arc::new(ints().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
            DataType::Int64 => Arc::new(ints().collect::<Int64Array>()),
            DataType::Float => Arc::new(floats().map(|v| v.map(|v| v as f32)).collect::<Float32Array>()),
            DataType::Double => Arc::new(floats().collect::<Float64Array>()),
            DataType::Array => lists(name, values),
            DataType::VarChar => Arc::new(values.map(|value| value?.as_str()).collect::<StringArray>()),
            _ if name == "$meta" => {
                Arc::new(rows.iter().map(|row| Some(dynamic(row).to_string())).collect::<StringArray>())
            }
            _ => Arc::new(values.map(|value| Some(value?.to_string())).collect::<StringArray>()),
        }
    };
    let columns = FIELDS.into_iter().filter(|(_, ty)| !ty.is_vector());
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, ty)| (name, column(name, ty), true))).unwrap()
}

fn lists<'a>(name: &str, rows: impl Iterator<Item = Option<&'a Json>>) -> ArrayRef {
    let rows = rows.map(|row| row.and_then(Json::as_array));
    let number = |element: &Json| element.as_f64();
    match name {
        "ints" => {
            let rows = rows.map(|row| Some(row?.iter().map(|e| Some(e.as_i64()? as i32)).collect::<Vec<_>>()));
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows))
        }
        "singles" => {
            let rows = rows.map(|row| Some(row?.iter().map(|e| Some(number(e)? as f32)).collect::<Vec<_>>()));
            Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
        }
        _ => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            rows.for_each(|row| lists.append_option(row.map(|row| row.iter().map(|e| e.as_str()))));
            Arc::new(lists.finish())
        }
    }
}

/// The keys of a row that are no fields.
fn dynamic(row: &Json) -> Json {
    let keys = row.as_object().unwrap().iter().filter(|(key, _)| FIELDS.iter().all(|(name, _)| name != key));
    Json::Object(keys.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn parse(text: &str) -> Result<Filter, FilterError> {
    Filter::parse(text, &schema(), &Params::new())
}

fn mask(text: &str, rows: &[Json]) -> Vec<bool> {
    let filter = parse(text).unwrap_or_else(|error| panic!("{error}"));
    filter.mask(&batch(rows)).unwrap().iter().map(Option::unwrap).collect()
}

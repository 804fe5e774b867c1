//! Rows of a collection, as the Milvus API gives them, for people and programs. Keys of the dynamic field stand beside the
//! other fields, as clients show them.

use super::{
    Stop,
    output::{Rendered, table},
};
use clap::Args;
use elanus_client::{ClientError, ErrorKind, QueryResults};
use elanus_proto::schema::{FieldData, ScalarField, VectorField, field_data::Field, scalar_field::Data, vector_field};
use elanus_segment::vector::{bf16_to_f32, f16_to_f32, sparse_entries};
use serde_json::{Map, Value};

/// Elements of a vector that a table shows.
const ELEMENTS_SHOWN: usize = 3;

/// Which rows.
#[derive(Debug, Args)]
pub(super) struct Select {
    /// Only rows that match, in the filter language of Milvus
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) filter: String,
    /// Only rows of these partitions, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) partitions: Vec<String>,
}

/// The rows in both forms.
pub(super) fn table_of(found: &QueryResults) -> Result<Rendered, Stop> {
    let rows = rows(found).ok_or_else(|| {
        let message = "the server's answer has columns that this program does not know".to_owned();
        Stop::Client(ClientError { kind: ErrorKind::Unsupported, code: None, message })
    })?;
    let mut columns: Vec<&str> = vec![];
    for name in rows.iter().flat_map(Map::keys) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    if rows.is_empty() {
        columns = found.output_fields.iter().map(String::as_str).collect();
    }
    let cells = |row: &Map<String, Value>| columns.iter().map(|name| cell(row.get(*name))).collect();
    let text = table(&columns, rows.iter().map(cells));
    Ok(Rendered { text, json: rows.into_iter().map(Value::Object).collect() })
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(elements)) if elements.len() > ELEMENTS_SHOWN => {
            let shown: Vec<String> = elements.iter().take(ELEMENTS_SHOWN).map(Value::to_string).collect();
            format!("[{}, … {} in all]", shown.join(", "), elements.len())
        }
        Some(other) => other.to_string(),
    }
}

/// One object a row; `None` when a column is of a kind that is not known here.
fn rows(found: &QueryResults) -> Option<Vec<Map<String, Value>>> {
    let mut rows: Vec<Map<String, Value>> = vec![];
    for field in &found.fields_data {
        let values = values(field)?;
        rows.resize_with(values.len().max(rows.len()), Map::new);
        for (row, (at, value)) in rows.iter_mut().zip(values.into_iter().enumerate()) {
            let value = if field.valid_data.get(at) == Some(&false) { Value::Null } else { value };
            match value {
                Value::Object(keys) if field.is_dynamic => {
                    let all = found.output_fields.contains(&field.field_name);
                    row.extend(keys.into_iter().filter(|(key, _)| all || found.output_fields.contains(key)));
                }
                Value::Null if field.is_dynamic => {}
                value => {
                    row.insert(field.field_name.clone(), value);
                }
            }
        }
    }
    Some(rows)
}

fn values(field: &FieldData) -> Option<Vec<Value>> {
    match field.field.as_ref()? {
        Field::Scalars(scalars) => scalar_values(scalars.data.as_ref()?),
        Field::Vectors(vectors) => vector_values(vectors),
        Field::StructArrays(_) => None,
    }
}

fn scalar_values(data: &Data) -> Option<Vec<Value>> {
    fn all<T: Clone + Into<Value>>(data: &[T]) -> Vec<Value> {
        data.iter().cloned().map(Into::into).collect()
    }
    Some(match data {
        Data::BoolData(values) => all(&values.data),
        Data::IntData(values) => all(&values.data),
        Data::LongData(values) => all(&values.data),
        Data::FloatData(values) => values.data.iter().map(|value| float(*value)).collect(),
        Data::DoubleData(values) => all(&values.data),
        Data::StringData(values) => all(&values.data),
        // Empty where there is none.
        Data::JsonData(values) => {
            values.data.iter().map(|text| serde_json::from_slice(text).unwrap_or(Value::Null)).collect()
        }
        Data::ArrayData(rows) => {
            let row = |row: &ScalarField| scalar_values(row.data.as_ref()?).map(Value::Array);
            return rows.data.iter().map(row).collect();
        }
        _ => return None,
    })
}

/// Numbers; of a binary vector its bytes, of a sparse one an object of places.
fn vector_values(vectors: &VectorField) -> Option<Vec<Value>> {
    use vector_field::Data;
    let dim = usize::try_from(vectors.dim).ok();
    let rows = |bytes: &[u8], width: usize, row: &dyn Fn(&[u8]) -> Value| -> Option<Vec<Value>> {
        (width > 0).then(|| bytes.chunks(width).map(row).collect())
    };
    let halves = |widen: fn(u16) -> f32| {
        move |row: &[u8]| {
            let bits = row.as_chunks::<2>().0.iter().map(|bits| u16::from_le_bytes(*bits));
            bits.map(|bits| float(widen(bits))).collect::<Value>()
        }
    };
    match vectors.data.as_ref()? {
        Data::FloatVector(values) => {
            let vectors = values.data.chunks(dim.filter(|dim| *dim > 0)?);
            Some(vectors.map(|vector| vector.iter().map(|value| float(*value)).collect()).collect())
        }
        Data::Float16Vector(bytes) => rows(bytes, dim? * 2, &halves(f16_to_f32)),
        Data::Bfloat16Vector(bytes) => rows(bytes, dim? * 2, &halves(bf16_to_f32)),
        Data::Int8Vector(bytes) => rows(bytes, dim?, &|row| row.iter().map(|byte| byte.cast_signed()).collect()),
        Data::BinaryVector(bytes) => rows(bytes, dim? / 8, &|row| row.iter().copied().collect()),
        Data::SparseFloatVector(sparse) => {
            let entries =
                |row: &[u8]| sparse_entries(row).map(|(place, value)| (place.to_string(), float(value))).collect();
            Some(sparse.contents.iter().map(|row| Value::Object(entries(row))).collect())
        }
        Data::VectorArray(_) => None,
    }
}

/// 0.1 as it was given, not as the nearest 64-bit number shows.
fn float(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::schema::{ArrayArray, FloatArray, JsonArray, LongArray, SparseFloatArray, StringArray};

    fn scalars(name: &str, data: Data, valid_data: &[bool]) -> FieldData {
        let field = Some(Field::Scalars(ScalarField { data: Some(data), valid_data: Vec::new() }));
        let (field_name, valid_data) = (name.to_owned(), valid_data.to_vec());
        FieldData { field_name, field, valid_data, is_dynamic: name == "$meta", ..FieldData::default() }
    }

    fn found(output_fields: &[&str]) -> QueryResults {
        let documents = [r#"{"colour": "red", "size": 3}"#, ""].map(bytes_of);
        let vector = VectorField {
            dim: 4,
            data: Some(vector_field::Data::FloatVector(FloatArray {
                data: vec![0.1, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.5],
            })),
            valid_data: Vec::new(),
        };
        QueryResults {
            fields_data: vec![
                scalars("id", Data::LongData(LongArray { data: vec![1, 9_007_199_254_740_993] }), &[]),
                scalars(
                    "note",
                    Data::StringData(StringArray { data: vec!["a".into(), String::new()] }),
                    &[true, false],
                ),
                scalars("$meta", Data::JsonData(JsonArray { data: documents.into() }), &[]),
                FieldData { field_name: "v".to_owned(), field: Some(Field::Vectors(vector)), ..FieldData::default() },
            ],
            output_fields: output_fields.iter().map(|name| (*name).to_owned()).collect(),
            ..QueryResults::default()
        }
    }

    fn bytes_of<B: From<Vec<u8>>>(text: &str) -> B {
        text.as_bytes().to_vec().into()
    }

    #[test]
    fn rows_in_both_forms() {
        let rendered = table_of(&found(&["id", "note", "colour", "v"])).unwrap();
        let expected = "\
id                note  colour  v
1                 a     red     [0.1, 1.0, 2.0, … 4 in all]
9007199254740993                [4.0, 5.0, 6.0, … 4 in all]";
        assert_eq!(rendered.text, expected);
        let expected = r#"[{"id":1,"note":"a","colour":"red","v":[0.1,1.0,2.0,3.0]},{"id":9007199254740993,"note":null,"v":[4.0,5.0,6.0,7.5]}]"#;
        assert_eq!(rendered.json, serde_json::from_str::<Value>(expected).unwrap());
        assert_eq!(table_of(&found(&["$meta"])).unwrap().json[0]["size"], 3);
    }

    #[test]
    fn arrays_and_vectors_of_every_type_are_shown_as_numbers() {
        use vector_field::Data::{Bfloat16Vector, BinaryVector, Float16Vector, Int8Vector, SparseFloatVector};
        let entry = [7_u32.to_le_bytes(), 0.1_f32.to_le_bytes()].concat();
        let sparse = SparseFloatArray { contents: vec![entry.into(), bytes_of("")], dim: 8 };
        for (dim, data, expected) in [
            (2, Float16Vector(vec![0, 0x3c, 0, 0xc0, 1, 0, 0, 0].into()), "[[1.0,-2.0],[5.9604645e-8,0.0]]"),
            (2, Bfloat16Vector(vec![0x80, 0x3f, 0, 0xc0].into()), "[[1.0,-2.0]]"),
            (2, Int8Vector(vec![255, 127, 128, 0].into()), "[[-1,127],[-128,0]]"),
            (8, BinaryVector(vec![255, 1].into()), "[[255],[1]]"),
            (8, SparseFloatVector(sparse), r#"[{"7":0.1},{}]"#),
        ] {
            let vectors = VectorField { dim, data: Some(data), valid_data: Vec::new() };
            let field = FieldData { field: Some(Field::Vectors(vectors)), ..FieldData::default() };
            assert_eq!(Value::Array(values(&field).unwrap()), serde_json::from_str::<Value>(expected).unwrap());
        }
        let row = |data: &[i64]| {
            let data = Some(Data::LongData(LongArray { data: data.to_vec() }));
            ScalarField { data, valid_data: Vec::new() }
        };
        let arrays = Data::ArrayData(ArrayArray { data: vec![row(&[1, 2]), row(&[])], element_type: 5 });
        assert_eq!(Value::Array(values(&scalars("a", arrays, &[])).unwrap()), serde_json::json!([[1, 2], []]));
    }

    #[test]
    fn no_rows_still_have_their_columns() {
        let none = QueryResults { output_fields: vec!["id".to_owned()], ..QueryResults::default() };
        let rendered = table_of(&none).unwrap();
        assert_eq!((rendered.text.as_str(), rendered.json), ("id", Value::Array(vec![])));
    }
}

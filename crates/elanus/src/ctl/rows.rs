//! Rows of a collection, as the Milvus API gives them, for people and programs. Keys of the dynamic field stand beside the
//! other fields, as clients show them.

use super::{
    Stop,
    output::{Rendered, table},
};
use clap::Args;
use elanus_client::{ClientError, ErrorKind, QueryResults};
use elanus_proto::schema::{FieldData, field_data::Field, scalar_field::Data, vector_field};
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
    fn all<T: Clone + Into<Value>>(data: &[T]) -> Vec<Value> {
        data.iter().cloned().map(Into::into).collect()
    }
    Some(match field.field.as_ref()? {
        Field::Scalars(scalars) => match scalars.data.as_ref()? {
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
            _ => return None,
        },
        Field::Vectors(vectors) => match vectors.data.as_ref()? {
            vector_field::Data::FloatVector(values) => {
                let dim = usize::try_from(vectors.dim).ok().filter(|dim| *dim > 0)?;
                values.data.chunks(dim).map(|vector| vector.iter().map(|value| float(*value)).collect()).collect()
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// 0.1 as it was given, not as the nearest 64-bit number shows.
fn float(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::schema::{FloatArray, JsonArray, LongArray, ScalarField, StringArray, VectorField};

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
    fn no_rows_still_have_their_columns() {
        let none = QueryResults { output_fields: vec!["id".to_owned()], ..QueryResults::default() };
        let rendered = table_of(&none).unwrap();
        assert_eq!((rendered.text.as_str(), rendered.json), ("id", Value::Array(vec![])));
    }
}

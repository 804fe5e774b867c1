//! The collection that scenarios write: an int64 key, the version of the row, a text and a vector that follow from both,
//! so that a row that was mixed from two writes is seen.

use elanus_proto::{
    common::KeyValuePair,
    schema::{
        CollectionSchema, DataType, FieldData, FieldSchema, FloatArray, LongArray, ScalarField, StringArray,
        VectorField, field_data::Field, scalar_field::Data, vector_field,
    },
};

/// Elements of the vector field.
pub const DIM: usize = 4;

/// The fields of [`Row`], as a query asks for them.
pub const FIELDS: [&str; 4] = ["id", "version", "text", "vector"];

/// One row, without what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Primary key.
    pub id: i64,
    /// Which write it comes from.
    pub version: i64,
}

impl Row {
    fn text(self) -> String {
        format!("row {} of write {}", self.id, self.version)
    }

    fn vector(self) -> [f32; DIM] {
        [self.id as f32, self.version as f32, 1.0, -1.0]
    }
}

/// The schema of the collection.
#[must_use]
pub fn schema(collection: &str) -> CollectionSchema {
    let field = |name: &str, data_type: DataType, param: Option<(&str, usize)>| FieldSchema {
        name: name.to_owned(),
        data_type: data_type.into(),
        is_primary_key: name == FIELDS[0],
        type_params: param
            .into_iter()
            .map(|(key, value)| KeyValuePair { key: key.to_owned(), value: value.to_string() })
            .collect(),
        ..FieldSchema::default()
    };
    CollectionSchema {
        name: collection.to_owned(),
        fields: vec![
            field(FIELDS[0], DataType::Int64, None),
            field(FIELDS[1], DataType::Int64, None),
            field(FIELDS[2], DataType::VarChar, Some(("max_length", 64))),
            field(FIELDS[3], DataType::FloatVector, Some(("dim", DIM))),
        ],
        ..CollectionSchema::default()
    }
}

/// Rows as the columns of a request.
#[must_use]
pub fn columns(rows: &[Row]) -> Vec<FieldData> {
    let scalars = |name: &str, data_type: DataType, data: Data| FieldData {
        r#type: data_type.into(),
        field_name: name.to_owned(),
        field: Some(Field::Scalars(ScalarField { data: Some(data), valid_data: Vec::new() })),
        ..FieldData::default()
    };
    let longs = |value: fn(&Row) -> i64| Data::LongData(LongArray { data: rows.iter().map(value).collect() });
    let texts = Data::StringData(StringArray { data: rows.iter().map(|row| row.text()).collect() });
    let elements = rows.iter().flat_map(|row| row.vector()).collect();
    let vectors = VectorField {
        dim: DIM as i64,
        data: Some(vector_field::Data::FloatVector(FloatArray { data: elements })),
        valid_data: Vec::new(),
    };
    vec![
        scalars(FIELDS[0], DataType::Int64, longs(|row| row.id)),
        scalars(FIELDS[1], DataType::Int64, longs(|row| row.version)),
        scalars(FIELDS[2], DataType::VarChar, texts),
        FieldData {
            r#type: DataType::FloatVector.into(),
            field_name: FIELDS[3].to_owned(),
            field: Some(Field::Vectors(vectors)),
            ..FieldData::default()
        },
    ]
}

/// Rows from the columns of an answer.
///
/// # Errors
/// When a row is not one that was written.
pub fn from_columns(columns: Vec<FieldData>) -> Result<Vec<Row>, String> {
    let (mut ids, mut versions, mut texts, mut elements) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for column in columns {
        match (column.field_name.as_str(), column.field) {
            ("id", Some(Field::Scalars(ScalarField { data: Some(Data::LongData(longs)), .. }))) => ids = longs.data,
            ("version", Some(Field::Scalars(ScalarField { data: Some(Data::LongData(longs)), .. }))) => {
                versions = longs.data;
            }
            ("text", Some(Field::Scalars(ScalarField { data: Some(Data::StringData(strings)), .. }))) => {
                texts = strings.data;
            }
            ("vector", Some(Field::Vectors(VectorField { data: Some(data), .. }))) => {
                let vector_field::Data::FloatVector(floats) = data else {
                    return Err("the vectors are not of floats".to_owned());
                };
                elements = floats.data;
            }
            (name, field) => return Err(format!("unexpected column {name}: {field:?}")),
        }
    }
    if [versions.len(), texts.len(), elements.len() / DIM] != [ids.len(); 3] {
        return Err(format!("columns of different lengths: {} ids, {} versions", ids.len(), versions.len()));
    }
    let rows: Vec<Row> = ids.into_iter().zip(versions).map(|(id, version)| Row { id, version }).collect();
    for ((row, text), vector) in rows.iter().zip(texts).zip(elements.chunks(DIM)) {
        if row.text() != text || row.vector() != vector {
            return Err(format!("{row:?} carries {text:?} and {vector:?}, which are not its own"));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_a_mixed_one_is_seen() {
        let rows = [Row { id: 1, version: 2 }, Row { id: 3, version: 4 }];
        assert_eq!(from_columns(columns(&rows)), Ok(rows.to_vec()));
        let mut mixed = columns(&rows);
        mixed[1] = columns(&[rows[0], Row { id: 3, version: 9 }]).swap_remove(1);
        assert!(from_columns(mixed).unwrap_err().contains("not its own"));
    }
}

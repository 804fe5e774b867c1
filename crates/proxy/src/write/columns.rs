//! One column of a request as an Arrow array. Checks every value; a failure names the field and the row.

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, StringArray,
        new_null_array,
    },
    datatypes::Field,
};
use bytes::Bytes;
use elanus_proto::schema::{FieldData, VectorField, field_data, scalar_field};
use elanus_segment::fill_nulls;
use elanus_types::{
    Failure,
    schema::{CollectionSchema, DYNAMIC_FIELD, DataType, FieldSchema},
};
use std::sync::Arc;

/// What columns are made for.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) schema: &'a CollectionSchema,
    /// Rows that every column must have.
    pub(super) rows: usize,
    /// Longest JSON value.
    pub(super) json_bytes_max: usize,
}

/// A column that is being made: what its messages say and which of its rows have a value.
pub(super) struct Column<'a> {
    pub(super) table: Table<'a>,
    pub(super) field: &'a FieldSchema,
    /// Absent when every row has one. Values stand close together: a row without value takes no place.
    valid: Option<Vec<bool>>,
}

/// The array of a field that the request has data for. `column` is its Arrow field.
pub(super) fn to_array(
    table: Table<'_>,
    field: &FieldSchema,
    column: &Field,
    data: FieldData,
) -> Result<ArrayRef, Failure> {
    use scalar_field::Data;
    let served = field.data_type.number();
    let mut column_of = Column { table, field, valid: None };
    if data.r#type != 0 && data.r#type != served {
        return Err(
            column_of.fault(format!("the data is of type {}, the field of type {:?}", data.r#type, field.data_type))
        );
    }
    let (values, inner) = match data.field {
        Some(field_data::Field::Scalars(scalars)) => (Payload::Scalars(scalars.data), scalars.valid_data),
        Some(field_data::Field::Vectors(mut vectors)) => {
            let valid = std::mem::take(&mut vectors.valid_data);
            (Payload::Vectors(vectors), valid)
        }
        Some(field_data::Field::StructArrays(_)) => return Err(column_of.fault("struct arrays are not served")),
        None => (Payload::Scalars(None), Vec::new()),
    };
    // Newer clients put the marks beside the values, older ones beside the field.
    let valid = if inner.is_empty() { data.valid_data } else { inner };
    column_of.take_valid(valid)?;

    macro_rules! integers {
        ($values:expr, $native:ty, $array:ty) => {
            column_of.build::<_, $native, $array>(&$values.data, |value| {
                <$native>::try_from(*value).map_err(|_| format!("{value} does not fit into {}", stringify!($native)))
            })
        };
    }
    let array = match (field.data_type, values) {
        (_, Payload::Vectors(vectors)) if field.data_type.is_vector() => column_of.vectors(vectors, column),
        (DataType::Array, Payload::Scalars(Some(Data::ArrayData(v)))) => column_of.arrays(v, column),
        (DataType::Bool, Payload::Scalars(Some(Data::BoolData(v)))) => {
            column_of.build::<_, _, BooleanArray>(&v.data, |v| Ok(*v))
        }
        (DataType::Int8, Payload::Scalars(Some(Data::IntData(v)))) => integers!(v, i8, Int8Array),
        (DataType::Int16, Payload::Scalars(Some(Data::IntData(v)))) => integers!(v, i16, Int16Array),
        (DataType::Int32, Payload::Scalars(Some(Data::IntData(v)))) => integers!(v, i32, Int32Array),
        (DataType::Int64, Payload::Scalars(Some(Data::LongData(v)))) => {
            column_of.build::<_, _, Int64Array>(&v.data, |v| Ok(*v))
        }
        (DataType::Float, Payload::Scalars(Some(Data::FloatData(v)))) => {
            column_of.build::<_, _, Float32Array>(&v.data, |v| finite(*v, f32::is_finite))
        }
        (DataType::Double, Payload::Scalars(Some(Data::DoubleData(v)))) => {
            column_of.build::<_, _, Float64Array>(&v.data, |v| finite(*v, f64::is_finite))
        }
        (DataType::VarChar, Payload::Scalars(Some(Data::StringData(v)))) => column_of.texts(&v.data),
        (DataType::Json, Payload::Scalars(Some(Data::JsonData(v)))) => column_of.documents(&v.data),
        // A client that has only nulls to send may leave the values out altogether.
        (data_type, Payload::Scalars(None)) if !data_type.is_vector() && column_of.all_null() => {
            Ok(new_null_array(column.data_type(), table.rows))
        }
        _ => Err(column_of.fault(format!("the data does not hold values of type {:?}", field.data_type))),
    };
    fill_nulls(column, array?).map_err(|error| column_of.fault(error))
}

enum Payload {
    Scalars(Option<scalar_field::Data>),
    Vectors(VectorField),
}

pub(super) fn finite<T: Copy + std::fmt::Display>(value: T, is_finite: fn(T) -> bool) -> Result<T, String> {
    if is_finite(value) { Ok(value) } else { Err(format!("value '{value}' is not a number or infinity")) }
}

impl Column<'_> {
    pub(super) fn fault(&self, why: impl std::fmt::Display) -> Failure {
        Failure::invalid(format!("field {}: {why}", self.field.name))
    }

    pub(super) fn fault_at(&self, row: usize, why: impl std::fmt::Display) -> Failure {
        self.fault(format!("row {row}: {why}"))
    }

    fn all_null(&self) -> bool {
        self.valid.as_ref().is_some_and(|valid| valid.iter().all(|valid| !valid))
    }

    fn take_valid(&mut self, valid: Vec<bool>) -> Result<(), Failure> {
        if valid.is_empty() {
            return Ok(());
        }
        if valid.len() != self.table.rows {
            return Err(self.fault(format!("valid_data has {} entries for {} rows", valid.len(), self.table.rows)));
        }
        match valid.iter().position(|valid| !valid) {
            None => Ok(()),
            Some(row) if !self.field.may_be_absent() => {
                Err(self.fault_at(row, "it has no value, and the field is not nullable"))
            }
            Some(_) => {
                self.valid = Some(valid);
                Ok(())
            }
        }
    }

    /// The row of each value, in order.
    pub(super) fn rows(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match &self.valid {
            None => Box::new(0..self.table.rows),
            Some(valid) => Box::new(valid.iter().enumerate().filter_map(|(row, valid)| valid.then_some(row))),
        }
    }

    pub(super) fn check_count(&self, values: usize) -> Result<(), Failure> {
        let wanted = self.rows().count();
        if values == wanted {
            return Ok(());
        }
        let what = if self.valid.is_some() { "values that are not null" } else { "passed num_rows" };
        let name = &self.field.name;
        Err(self.fault(format!("the num_rows ({values}) of field ({name}) is not equal to {what} ({wanted})")))
    }

    fn build<T, V, A>(&self, values: &[T], convert: impl Fn(&T) -> Result<V, String>) -> Result<ArrayRef, Failure>
    where
        A: FromIterator<Option<V>> + arrow::array::Array + 'static,
    {
        self.check_count(values.len())?;
        let mut rest = values.iter();
        let cell = |row: usize| {
            if self.is_absent(row) {
                return Ok(None);
            }
            let value = rest.next().ok_or_else(|| self.fault_at(row, "it has no value"))?;
            convert(value).map(Some).map_err(|why| self.fault_at(row, why))
        };
        let array = (0..self.table.rows).map(cell).collect::<Result<A, Failure>>()?;
        Ok(Arc::new(array))
    }

    fn texts(&self, values: &[String]) -> Result<ArrayRef, Failure> {
        let total: usize = values.iter().map(String::len).sum();
        self.check_total(total)?;
        self.check_count(values.len())?;
        for (row, value) in self.rows().zip(values) {
            self.check_length(row, value)?;
        }
        let mut rest = values.iter();
        let place = |row: usize| if self.is_absent(row) { None } else { rest.next().map(String::as_str) };
        Ok(Arc::new((0..self.table.rows).map(place).collect::<StringArray>()))
    }

    /// Documents are kept as they were written; only their form is checked.
    fn documents(&self, values: &[Bytes]) -> Result<ArrayRef, Failure> {
        self.check_total(values.iter().map(Bytes::len).sum())?;
        let max = self.table.json_bytes_max;
        self.build::<_, _, StringArray>(values, |bytes| {
            if bytes.len() > max {
                return Err(format!("the length ({}) of json field exceeds max length ({max})", bytes.len()));
            }
            let document: serde_json::Value =
                serde_json::from_slice(bytes).map_err(|error| format!("it is not valid JSON: {error}"))?;
            if self.field.is_dynamic {
                self.check_dynamic(&document)?;
            }
            String::from_utf8(bytes.to_vec()).map_err(|error| format!("it is not valid JSON: {error}"))
        })
    }

    fn check_dynamic(&self, document: &serde_json::Value) -> Result<(), String> {
        let Some(object) = document.as_object() else {
            return Err("dynamic field data must be a JSON object".to_owned());
        };
        let clash = object.keys().find(|key| *key == DYNAMIC_FIELD || self.table.schema.field(key).is_some());
        match clash {
            None => Ok(()),
            Some(key) => Err(format!("dynamic field cannot have the key {key}, which is a field of the collection")),
        }
    }

    /// True for a row without value.
    pub(super) fn is_absent(&self, row: usize) -> bool {
        self.valid.as_ref().is_some_and(|valid| !valid[row])
    }

    /// That a text may be as long as it is.
    pub(super) fn check_length(&self, row: usize, value: &str) -> Result<(), Failure> {
        let (name, len, max) = (&self.field.name, value.len(), self.field.max_length().unwrap_or_default());
        if len <= max {
            return Ok(());
        }
        let why = format!("length of varchar field {name} exceeds max length, row number: {row}, length: {len}");
        Err(self.fault_at(row, format!("{why}, max length: {max}")))
    }

    /// Text columns count their bytes in 31 bits.
    pub(super) fn check_total(&self, bytes: usize) -> Result<(), Failure> {
        if i32::try_from(bytes).is_ok() { Ok(()) } else { Err(self.fault("more than 2 GiB in one request")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::rows::tests::{data, schema, vectors};
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Int8Type, Int64Type};
    use elanus_proto::schema::{DoubleArray, IntArray, JsonArray, LongArray, StringArray as Texts};
    use scalar_field::Data;

    fn array(name: &str, rows: usize, data: FieldData) -> Result<ArrayRef, Failure> {
        let schema = schema();
        let table = Table { schema: &schema, rows, json_bytes_max: 100 };
        let field = schema.field(name).unwrap();
        let columns = elanus_segment::arrow_schema(&schema);
        to_array(table, field, columns.field_with_name(name).unwrap(), data)
    }

    fn ints(values: &[i32]) -> Data {
        Data::IntData(IntArray { data: values.to_vec() })
    }

    fn json(values: &[&str]) -> Data {
        Data::JsonData(JsonArray { data: values.iter().map(|v| Bytes::copy_from_slice(v.as_bytes())).collect() })
    }

    fn texts(values: &[&str]) -> Data {
        Data::StringData(Texts { data: values.iter().map(|v| (*v).to_owned()).collect() })
    }

    #[test]
    fn compact_values_go_to_the_rows_that_have_one() {
        let mut column = data("small", ints(&[7, -8]));
        column.valid_data = vec![false, true, false, true];
        let column = array("small", 4, column).unwrap();
        let values: Vec<_> = column.as_primitive::<Int8Type>().iter().collect();
        assert_eq!(values, [None, Some(7), None, Some(-8)]);

        let mut empty = FieldData { field_name: "small".to_owned(), ..FieldData::default() };
        empty.valid_data = vec![false; 3];
        assert_eq!(array("small", 3, empty).unwrap().null_count(), 3);

        let mut text = data("text", texts(&["x"]));
        if let Some(field_data::Field::Scalars(scalars)) = &mut text.field {
            scalars.valid_data = vec![false, true];
        }
        let text = array("text", 2, text).unwrap();
        assert_eq!(text.as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some("x")]);
        let pk = array("pk", 2, data("pk", Data::LongData(LongArray { data: vec![1, 2] }))).unwrap();
        assert_eq!(pk.as_primitive::<Int64Type>().values(), &[1, 2]);
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_field_and_row() {
        let nulls = |mut column: FieldData, valid: &[bool]| {
            column.valid_data = valid.to_vec();
            column
        };
        let pks = || Data::LongData(LongArray { data: vec![1] });
        let table = [
            ("small", data("small", ints(&[1, 128])), "field small: row 1: 128 does not fit into i8"),
            (
                "small",
                data("small", ints(&[1])),
                "the num_rows (1) of field (small) is not equal to passed num_rows (2)",
            ),
            ("small", data("small", pks()), "field small: the data does not hold values of type Int8"),
            ("small", nulls(data("small", ints(&[1])), &[true]), "valid_data has 1 entries for 2 rows"),
            ("small", nulls(data("small", ints(&[1, 2])), &[true, false]), "values that are not null (1)"),
            ("pk", nulls(data("pk", pks()), &[true, false]), "field pk: row 1: it has no value"),
            (
                "text",
                data("text", texts(&["abc", "abcdef"])),
                "field text: row 1: length of varchar field text exceeds max length, row number: 1, length: 6, max length: 5",
            ),
            ("doc", data("doc", json(&["{}", "{"])), "field doc: row 1: it is not valid JSON"),
            ("doc", data("doc", json(&["1", &format!("\"{}\"", "x".repeat(99))])), "exceeds max length (100)"),
            ("$meta", data("$meta", json(&["{}", "[]"])), "row 1: dynamic field data must be a JSON object"),
            ("$meta", data("$meta", json(&["{}", r#"{"pk":1}"#])), "row 1: dynamic field cannot have the key pk"),
            (
                "real",
                data("real", Data::DoubleData(DoubleArray { data: vec![1.0, f64::NAN] })),
                "row 1: value 'NaN' is not a number",
            ),
            ("v", vectors("v", 2, &[1.0, 2.0, 3.0, f32::INFINITY]), "field v: row 1: value 'inf'"),
            ("v", vectors("v", 3, &[1.0, 2.0, 3.0]), "the dim (3) of field data(v) is not equal to schema dim (2)"),
            ("v", vectors("v", 2, &[1.0, 2.0, 3.0]), "3 elements are no whole vectors"),
            ("v", vectors("v", 2, &[1.0, 2.0]), "the num_rows (1)"),
            ("v", data("v", pks()), "does not hold values of type FloatVector"),
        ];
        for (name, column, fragment) in table {
            let failure = array(name, 2, column).unwrap_err();
            assert!(failure.message.contains(fragment), "{} / {fragment}", failure.message);
            assert_eq!(failure.code.number(), 1100);
        }
        let mut other = data("small", ints(&[1, 2]));
        other.r#type = 21;
        assert!(array("small", 2, other).unwrap_err().message.contains("the data is of type 21"));
    }
}

//! What a row has where it brings no value: rows of files that are older than a field, and rows that leave one out.
//!
//! The default value of a field is in the metadata of its column, so whoever has the column can fill it in.

use crate::Error;
use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, Scalar,
    StringArray, new_null_array,
};
use arrow::compute::is_not_null;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType as ArrowType, Field};
use elanus_types::schema::DefaultValue;
use std::sync::Arc;

/// Key of the column metadata that has the field's default value, as JSON.
pub(crate) const DEFAULT_KEY: &str = "elanus:default";

/// A column for rows that have no value in it: the default value, or null. `None` where a row must bring one.
#[must_use]
pub fn absent_column(column: &Field, rows: usize) -> Option<ArrayRef> {
    match default_of(column) {
        Some(value) => repeated(column.data_type(), &value, rows),
        None => column.is_nullable().then(|| new_null_array(column.data_type(), rows)),
    }
}

/// The same values with the default value where there is none; a column without default value stays as it is.
///
/// # Errors
/// When the default value is not of the column's type.
pub fn fill_nulls(column: &Field, array: ArrayRef) -> Result<ArrayRef, Error> {
    if array.null_count() == 0 {
        return Ok(array);
    }
    let Some(value) = default_of(column) else { return Ok(array) };
    let wrong = || Error::field(column.name(), "its default value is of another type");
    let value = Scalar::new(repeated(column.data_type(), &value, 1).ok_or_else(wrong)?);
    let there = is_not_null(&array).map_err(|e| Error::field(column.name(), e.to_string()))?;
    zip(&there, &array, &value).map_err(|e| Error::field(column.name(), e.to_string()))
}

fn default_of(column: &Field) -> Option<DefaultValue> {
    serde_json::from_str(column.metadata().get(DEFAULT_KEY)?).ok()
}

fn repeated(data_type: &ArrowType, value: &DefaultValue, rows: usize) -> Option<ArrayRef> {
    Some(match (data_type, value) {
        (ArrowType::Boolean, DefaultValue::Bool(value)) => Arc::new(BooleanArray::from(vec![*value; rows])),
        (ArrowType::Int8, DefaultValue::Int(value)) => {
            Arc::new(Int8Array::from_value(i8::try_from(*value).ok()?, rows))
        }
        (ArrowType::Int16, DefaultValue::Int(value)) => {
            Arc::new(Int16Array::from_value(i16::try_from(*value).ok()?, rows))
        }
        (ArrowType::Int32, DefaultValue::Int(value)) => {
            Arc::new(Int32Array::from_value(i32::try_from(*value).ok()?, rows))
        }
        (ArrowType::Int64, DefaultValue::Int(value)) => Arc::new(Int64Array::from_value(*value, rows)),
        #[expect(clippy::cast_possible_truncation, reason = "it was a float before")]
        (ArrowType::Float32, DefaultValue::Float(value)) => Arc::new(Float32Array::from_value(*value as f32, rows)),
        (ArrowType::Float64, DefaultValue::Float(value)) => Arc::new(Float64Array::from_value(*value, rows)),
        (ArrowType::Utf8, DefaultValue::Text(value)) => {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrow_schema;
    use elanus_types::FieldId;
    use elanus_types::schema::{CollectionSchema, DataType, FieldSchema};

    fn column(data_type: DataType, nullable: bool, default_value: Option<DefaultValue>) -> Field {
        let field = FieldSchema { nullable, default_value, ..FieldSchema::new(FieldId(100), "f", data_type) };
        arrow_schema(&CollectionSchema { fields: vec![field], ..CollectionSchema::default() }).field(0).clone()
    }

    #[test]
    fn rows_without_value_have_the_default_in_every_type_that_has_one() {
        let text = || DefaultValue::Text("{}".to_owned());
        for (data_type, value) in [
            (DataType::Bool, DefaultValue::Bool(true)),
            (DataType::Int8, DefaultValue::Int(-7)),
            (DataType::Int16, DefaultValue::Int(300)),
            (DataType::Int32, DefaultValue::Int(70_000)),
            (DataType::Int64, DefaultValue::Int(i64::MAX)),
            (DataType::Float, DefaultValue::Float(0.5)),
            (DataType::Double, DefaultValue::Float(0.1)),
            (DataType::VarChar, text()),
            (DataType::Json, text()),
        ] {
            for nullable in [false, true] {
                let column = column(data_type, nullable, Some(value.clone()));
                let whole = absent_column(&column, 3).unwrap();
                assert_eq!((whole.len(), whole.null_count(), whole.data_type()), (3, 0, column.data_type()));
                let filled = fill_nulls(&column, new_null_array(column.data_type(), 3)).unwrap();
                assert_eq!(&filled, &whole, "{data_type:?}");
            }
        }
    }

    #[test]
    fn a_value_that_is_there_stays_and_null_stays_null_without_a_default() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let defaulted = column(DataType::Int64, true, Some(DefaultValue::Int(9)));
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![1, 9, 3]));
        assert_eq!(&fill_nulls(&defaulted, Arc::clone(&values)).unwrap(), &expected);
        assert_eq!(&fill_nulls(&column(DataType::Int64, true, None), Arc::clone(&values)).unwrap(), &values);
        assert!(absent_column(&column(DataType::Int64, false, None), 3).is_none());
        assert_eq!(absent_column(&column(DataType::Int64, true, None), 3).unwrap().null_count(), 3);
        // A default of another type is a broken schema; nothing is made up for it.
        let broken = column(DataType::Int8, true, Some(DefaultValue::Int(1_000)));
        assert!(
            absent_column(&broken, 1).is_none() && fill_nulls(&broken, new_null_array(&ArrowType::Int8, 1)).is_err()
        );
    }
}

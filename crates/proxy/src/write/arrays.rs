//! Columns of arrays.

use super::columns::{Column, finite};
use arrow::{
    array::{
        ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray,
        StringArray, new_empty_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::concat,
    datatypes::{DataType as ArrowType, Field},
};
use elanus_proto::schema::{ArrayArray, ScalarField, scalar_field::Data};
use elanus_types::{Failure, schema::DataType};
use std::sync::Arc;

impl Column<'_> {
    /// The array of an array field. Clients leave the type of the elements out.
    pub(super) fn arrays(&self, arrays: ArrayArray, column: &Field) -> Result<ArrayRef, Failure> {
        let ArrowType::List(item) = column.data_type() else {
            return Err(Failure::internal(format!("field {} has no column of arrays", self.field.name)));
        };
        let element = self.field.element_type.unwrap_or(DataType::Int64);
        if arrays.element_type != 0 && arrays.element_type != element.number() {
            let why =
                format!("the elements are of type {}, those of the field of type {element:?}", arrays.element_type);
            return Err(self.fault(why));
        }
        self.check_count(arrays.data.len())?;
        let max = self.field.max_capacity().unwrap_or_default();
        let mut parts: Vec<ArrayRef> = Vec::with_capacity(arrays.data.len());
        let mut given = arrays.data.into_iter();
        let mut lengths = Vec::with_capacity(self.table.rows);
        for row in 0..self.table.rows {
            if self.is_absent(row) {
                lengths.push(0);
                continue;
            }
            let value = given.next().ok_or_else(|| self.fault_at(row, "it has no value"))?;
            let part = self.elements(row, element, value, item)?;
            if part.len() > max {
                let why = format!("the length ({}) of {row}th array exceeds max capacity ({max})", part.len());
                return Err(self.fault_at(row, format!("array length exceeds max capacity: {why}")));
            }
            lengths.push(part.len());
            parts.push(part);
        }
        self.check_total(lengths.iter().sum())?;
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        let values = if parts.is_empty() { Ok(new_empty_array(item.data_type())) } else { concat(&parts) };
        let values = values.map_err(|error| self.fault(error))?;
        let nulls: NullBuffer = (0..self.table.rows).map(|row| !self.is_absent(row)).collect();
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        let list = ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), values, nulls);
        list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| self.fault(error))
    }

    /// The elements of one row.
    fn elements(&self, row: usize, element: DataType, value: ScalarField, item: &Field) -> Result<ArrayRef, Failure> {
        if !value.valid_data.iter().all(|valid| *valid) {
            return Err(self.fault_at(row, "an element has no value"));
        }
        macro_rules! integers {
            ($values:expr, $native:ty, $array:ty) => {{
                let fit = |value: &i32| {
                    let fits = <$native>::try_from(*value);
                    fits.map_err(|_| self.fault_at(row, format!("{value} does not fit into {}", stringify!($native))))
                };
                Arc::new(<$array>::from($values.data.iter().map(fit).collect::<Result<Vec<_>, _>>()?))
            }};
        }
        Ok(match (element, value.data) {
            // An empty array may come as nothing.
            (_, None) => new_empty_array(item.data_type()),
            (DataType::Bool, Some(Data::BoolData(values))) => Arc::new(BooleanArray::from(values.data)),
            (DataType::Int8, Some(Data::IntData(values))) => integers!(values, i8, Int8Array),
            (DataType::Int16, Some(Data::IntData(values))) => integers!(values, i16, Int16Array),
            (DataType::Int32, Some(Data::IntData(values))) => Arc::new(Int32Array::from(values.data)),
            (DataType::Int64, Some(Data::LongData(values))) => Arc::new(Int64Array::from(values.data)),
            (DataType::Float, Some(Data::FloatData(values))) => {
                self.all_finite(row, &values.data, f32::is_finite)?;
                Arc::new(Float32Array::from(values.data))
            }
            (DataType::Double, Some(Data::DoubleData(values))) => {
                self.all_finite(row, &values.data, f64::is_finite)?;
                Arc::new(Float64Array::from(values.data))
            }
            (DataType::VarChar, Some(Data::StringData(values))) => {
                values.data.iter().try_for_each(|text| self.check_length(row, text))?;
                Arc::new(StringArray::from(values.data))
            }
            (element, Some(_)) => {
                return Err(self.fault_at(row, format!("insert data does not match array element type {element:?}")));
            }
        })
    }

    fn all_finite<T: Copy + std::fmt::Display>(
        &self,
        row: usize,
        values: &[T],
        is_finite: fn(T) -> bool,
    ) -> Result<(), Failure> {
        values.iter().try_for_each(|value| finite(*value, is_finite).map(drop)).map_err(|why| self.fault_at(row, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::columns::{Table, to_array};
    use arrow::array::{Array as _, AsArray as _};
    use arrow::datatypes::Int8Type;
    use elanus_proto::schema::{
        BoolArray, DoubleArray, FieldData, FloatArray, IntArray, LongArray, StringArray as Texts, field_data,
    };
    use elanus_types::{FieldId, schema::CollectionSchema, schema::FieldSchema};

    fn array(element: DataType, rows: usize, values: Vec<Data>, valid: &[bool]) -> Result<ArrayRef, Failure> {
        let params = [("max_capacity", "3"), ("max_length", "2")];
        let field = FieldSchema {
            element_type: Some(element),
            nullable: true,
            type_params: params.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..FieldSchema::new(FieldId(100), "a", DataType::Array)
        };
        let schema = CollectionSchema { fields: vec![field], ..CollectionSchema::default() };
        let table = Table { schema: &schema, rows, json_bytes_max: 100 };
        let data = values.into_iter().map(|data| ScalarField { data: Some(data), valid_data: Vec::new() }).collect();
        let arrays = Data::ArrayData(ArrayArray { data, element_type: 0 });
        let scalars = ScalarField { data: Some(arrays), valid_data: valid.to_vec() };
        let data = FieldData { field: Some(field_data::Field::Scalars(scalars)), ..FieldData::default() };
        to_array(table, &schema.fields[0], elanus_segment::arrow_schema(&schema).field(0), data)
    }

    fn ints(data: &[i32]) -> Data {
        Data::IntData(IntArray { data: data.to_vec() })
    }

    #[test]
    fn elements_of_every_type_are_taken_and_nulls_take_no_place() {
        for (element, data) in [
            (DataType::Bool, Data::BoolData(BoolArray { data: vec![true, false] })),
            (DataType::Int8, ints(&[-128, 127])),
            (DataType::Int16, ints(&[-32_768, 1])),
            (DataType::Int32, ints(&[i32::MIN, 1])),
            (DataType::Int64, Data::LongData(LongArray { data: vec![i64::MIN, 1] })),
            (DataType::Float, Data::FloatData(FloatArray { data: vec![0.5, 1.0] })),
            (DataType::Double, Data::DoubleData(DoubleArray { data: vec![0.1, 1.0] })),
            (DataType::VarChar, Data::StringData(Texts { data: vec!["ab".to_owned(), String::new()] })),
        ] {
            let list = array(element, 1, vec![data], &[]).unwrap();
            assert_eq!(list.as_list::<i32>().value(0).len(), 2, "{element:?}");
        }
        let list = array(DataType::Int8, 3, vec![ints(&[1, 2]), ints(&[])], &[true, false, true]).unwrap();
        let list = list.as_list::<i32>();
        assert_eq!((list.is_null(1), list.value(2).len()), (true, 0));
        assert_eq!(list.value(0).as_primitive::<Int8Type>().values(), &[1, 2]);
        assert_eq!(array(DataType::Int8, 2, vec![], &[false, false]).unwrap().null_count(), 2);
    }

    #[test]
    fn arrays_that_do_not_fit_are_refused_with_their_field_and_row() {
        let texts = Data::StringData(Texts { data: vec!["abc".to_owned()] });
        for (element, values, text) in [
            (
                DataType::Int8,
                vec![ints(&[]), ints(&[1, 2, 3, 4])],
                "row 1: array length exceeds max capacity: the length (4)",
            ),
            (DataType::Int8, vec![ints(&[]), ints(&[128])], "row 1: 128 does not fit into i8"),
            (DataType::Int16, vec![ints(&[-32_769]), ints(&[])], "row 0: -32769 does not fit into i16"),
            (DataType::Int64, vec![ints(&[]), ints(&[])], "row 0: insert data does not match array element type Int64"),
            (DataType::Int64, vec![Data::LongData(LongArray::default())], "the num_rows (1)"),
            (
                DataType::Float,
                vec![Data::FloatData(FloatArray { data: vec![f32::NAN] }), ints(&[])],
                "row 0: value 'NaN' is not a number",
            ),
            (
                DataType::Double,
                vec![Data::DoubleData(DoubleArray { data: vec![f64::INFINITY] }), ints(&[])],
                "row 0: value 'inf' is not a number",
            ),
            (DataType::VarChar, vec![texts.clone(), texts], "row 0: length of varchar field a exceeds max length"),
        ] {
            let failure = array(element, 2, values, &[]).unwrap_err();
            assert!(failure.message.starts_with("field a: ") && failure.message.contains(text), "{}", failure.message);
            assert_eq!(failure.code.number(), 1100);
        }
    }
}

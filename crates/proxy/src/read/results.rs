//! Arrow columns as a client reads them.
//!
//! Scalars have one value per row, with a placeholder where a row has none; the field is there also when there are no
//! rows, because clients take the type from it.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type},
};
use bytes::Bytes;
use elanus_proto::schema::{
    BoolArray, DoubleArray, FieldData, FloatArray, IntArray, JsonArray, LongArray, ScalarField, StringArray,
    VectorField, field_data::Field, scalar_field::Data, vector_field,
};
use elanus_segment::from_ipc;
use elanus_types::{
    Failure,
    schema::{CollectionSchema, DataType, FieldSchema},
};

/// The rows of an answer.
pub(super) fn rows(arrow_ipc: Bytes) -> Result<RecordBatch, Failure> {
    from_ipc(arrow_ipc)
        .map_err(|error| Failure::internal(format!("the answer of a query node cannot be read: {error}")))
}

/// The columns with these names, in their order.
pub(super) fn fields_data(
    schema: &CollectionSchema,
    batch: &RecordBatch,
    columns: &[String],
) -> Result<Vec<FieldData>, Failure> {
    let lacks = |name: &str| Failure::internal(format!("the answer of a query node lacks column {name}"));
    let convert = |name: &String| {
        let field = schema.field(name).ok_or_else(|| lacks(name))?;
        field_data(field, batch.column_by_name(name).ok_or_else(|| lacks(name))?.as_ref())
    };
    columns.iter().map(convert).collect()
}

fn field_data(field: &FieldSchema, array: &dyn Array) -> Result<FieldData, Failure> {
    macro_rules! numbers {
        ($arrow:ty, $message:ident, $data:ident) => {
            Data::$data($message {
                data: array.as_primitive::<$arrow>().values().iter().map(|v| (*v).into()).collect(),
            })
        };
    }
    let scalars = match (field.data_type, array.data_type()) {
        (DataType::FloatVector, ArrowType::FixedSizeList(_, dim)) => {
            let vectors = Field::Vectors(float_vectors(array, *dim));
            return Ok(with_values(field, array, vectors));
        }
        (DataType::Bool, ArrowType::Boolean) => {
            Data::BoolData(BoolArray { data: array.as_boolean().values().iter().collect() })
        }
        (DataType::Int8, ArrowType::Int8) => numbers!(Int8Type, IntArray, IntData),
        (DataType::Int16, ArrowType::Int16) => numbers!(Int16Type, IntArray, IntData),
        (DataType::Int32, ArrowType::Int32) => numbers!(Int32Type, IntArray, IntData),
        (DataType::Int64, ArrowType::Int64) => numbers!(Int64Type, LongArray, LongData),
        (DataType::Float, ArrowType::Float32) => numbers!(Float32Type, FloatArray, FloatData),
        (DataType::Double, ArrowType::Float64) => numbers!(Float64Type, DoubleArray, DoubleData),
        (DataType::VarChar, ArrowType::Utf8) => {
            let texts = array.as_string::<i32>();
            Data::StringData(StringArray {
                data: texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect(),
            })
        }
        (DataType::Json, ArrowType::Utf8) => {
            let texts = array.as_string::<i32>().iter();
            let documents = texts.map(|text| Bytes::copy_from_slice(text.unwrap_or_default().as_bytes()));
            Data::JsonData(JsonArray { data: documents.collect() })
        }
        (data_type, found) => {
            let text = format!("column {} is {found}, its field is {data_type:?}", field.name);
            return Err(Failure::internal(text));
        }
    };
    Ok(with_values(field, array, Field::Scalars(ScalarField { data: Some(scalars), valid_data: Vec::new() })))
}

fn float_vectors(array: &dyn Array, dim: i32) -> VectorField {
    let list = array.as_fixed_size_list();
    let width = usize::try_from(dim).unwrap_or_default();
    let elements = list.values().as_primitive::<Float32Type>().values();
    let first = usize::try_from(list.value_offset(0)).unwrap_or_default();
    let data = elements[first..first + list.len() * width].to_vec();
    VectorField {
        dim: dim.into(),
        data: Some(vector_field::Data::FloatVector(FloatArray { data })),
        valid_data: Vec::new(),
    }
}

fn with_values(field: &FieldSchema, array: &dyn Array, values: Field) -> FieldData {
    let valid_data =
        if field.nullable { (0..array.len()).map(|row| array.is_valid(row)).collect() } else { Vec::new() };
    FieldData {
        r#type: field.data_type.number(),
        field_name: field.name.clone(),
        field: Some(values),
        field_id: field.id.0,
        is_dynamic: field.is_dynamic,
        valid_data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, BooleanArray, FixedSizeListArray, Int8Array, StringArray as Texts};
    use elanus_types::FieldId;
    use std::sync::Arc;

    fn field(data_type: DataType, nullable: bool) -> FieldSchema {
        FieldSchema {
            id: FieldId(107),
            name: "f".to_owned(),
            description: String::new(),
            data_type,
            is_primary_key: false,
            auto_id: false,
            is_dynamic: false,
            nullable,
            element_type: None,
            default_value: None,
            type_params: [].into(),
        }
    }

    fn scalars(data_type: DataType, array: ArrayRef) -> (Data, Vec<bool>) {
        let converted = field_data(&field(data_type, true), array.as_ref()).unwrap();
        assert_eq!((converted.r#type, converted.field_id), (data_type.number(), 107));
        match converted.field {
            Some(Field::Scalars(scalars)) => (scalars.data.unwrap(), converted.valid_data),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scalars_have_a_value_for_every_row_also_where_there_is_none() {
        let (data, valid) = scalars(DataType::Int8, Arc::new(Int8Array::from(vec![Some(1), None, Some(-3)])));
        assert!(matches!(data, Data::IntData(values) if values.data.len() == 3 && values.data[2] == -3));
        assert_eq!(valid, [true, false, true]);
        let (data, _) = scalars(DataType::Bool, Arc::new(BooleanArray::from(vec![Some(true), None])));
        assert!(matches!(data, Data::BoolData(values) if values.data.len() == 2));
        let (data, _) = scalars(DataType::Json, Arc::new(Texts::from(vec![None, Some("{}")])));
        assert!(matches!(data, Data::JsonData(values) if values.data == ["", "{}"]));
    }

    #[test]
    fn an_empty_answer_still_has_its_types() {
        let (data, valid) = scalars(DataType::VarChar, Arc::new(Texts::from(Vec::<String>::new())));
        assert!(matches!(data, Data::StringData(values) if values.data.is_empty()) && valid.is_empty());
    }

    #[test]
    fn vectors_are_flat_also_from_the_middle_of_an_array() {
        let rows = (0..4).map(|row| Some((0..3).map(|n| Some((row * 3 + n) as f32)).collect::<Vec<_>>()));
        let array = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 3).slice(1, 2);
        let converted = field_data(&field(DataType::FloatVector, false), &array).unwrap();
        let Some(Field::Vectors(vectors)) = converted.field else { panic!() };
        assert_eq!(vectors.dim, 3);
        let expected = FloatArray { data: vec![3.0, 4.0, 5.0, 6.0, 7.0, 8.0] };
        assert_eq!(vectors.data, Some(vector_field::Data::FloatVector(expected)));
    }
}

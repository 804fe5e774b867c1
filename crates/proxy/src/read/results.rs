//! Arrow columns as a client reads them.
//!
//! Scalars have one value per row, with a placeholder where a row has none; the field is there also when there are no
//! rows, because clients take the type from it.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type},
};
use bytes::Bytes;
use elanus_proto::schema::{
    ArrayArray, BoolArray, DoubleArray, FieldData, FloatArray, IntArray, JsonArray, LongArray, ScalarField,
    SparseFloatArray, StringArray, VectorField, field_data::Field, scalar_field::Data, vector_field,
};
use elanus_segment::{from_ipc, vector::sparse_entries};
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
    let wrong = || {
        Failure::internal(format!("column {} is {}, its field is {:?}", field.name, array.data_type(), field.data_type))
    };
    let values = match field.data_type {
        vector if vector.is_vector() => Field::Vectors(vectors(field, array).ok_or_else(wrong)?),
        DataType::Array => scalars_of(arrays(field, array).ok_or_else(wrong)?),
        scalar => scalars_of(scalars(scalar, array).ok_or_else(wrong)?),
    };
    Ok(with_values(field, array, values))
}

fn scalars_of(data: Data) -> Field {
    Field::Scalars(ScalarField { data: Some(data), valid_data: Vec::new() })
}

/// `None` for an array of another type.
fn scalars(data_type: DataType, array: &dyn Array) -> Option<Data> {
    macro_rules! numbers {
        ($arrow:ty, $message:ident, $data:ident) => {
            Data::$data($message {
                data: array.as_primitive::<$arrow>().values().iter().map(|v| (*v).into()).collect(),
            })
        };
    }
    Some(match (data_type, array.data_type()) {
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
        _ => return None,
    })
}

/// One list of elements a row; an empty one of the right type where a row has none.
fn arrays(field: &FieldSchema, array: &dyn Array) -> Option<Data> {
    let (element, lists) = (field.element_type?, array.as_list_opt::<i32>()?);
    let empty = lists.values().slice(0, 0);
    let row = |list: Option<ArrayRef>| {
        let data = scalars(element, list.as_ref().unwrap_or(&empty).as_ref())?;
        Some(ScalarField { data: Some(data), valid_data: Vec::new() })
    };
    let data = lists.iter().map(row).collect::<Option<_>>()?;
    Some(Data::ArrayData(ArrayArray { data, element_type: element.number() }))
}

/// `None` for an array of another type.
fn vectors(field: &FieldSchema, array: &dyn Array) -> Option<VectorField> {
    use vector_field::Data;
    let data = match field.data_type {
        DataType::FloatVector => Data::FloatVector(FloatArray { data: floats(array)? }),
        DataType::SparseFloatVector => {
            let rows = array.as_binary_opt::<i32>()?.iter();
            let contents: Vec<Bytes> = rows.map(|row| Bytes::copy_from_slice(row.unwrap_or_default())).collect();
            let end = |row: &Bytes| sparse_entries(row).last().map_or(0, |(place, _)| i64::from(place) + 1);
            let dim = contents.iter().map(end).max().unwrap_or_default();
            let sparse = Data::SparseFloatVector(SparseFloatArray { contents, dim });
            return Some(VectorField { dim, data: Some(sparse), valid_data: Vec::new() });
        }
        DataType::BinaryVector => Data::BinaryVector(bytes(array)?),
        DataType::Float16Vector => Data::Float16Vector(bytes(array)?),
        DataType::BFloat16Vector => Data::Bfloat16Vector(bytes(array)?),
        DataType::Int8Vector => Data::Int8Vector(bytes(array)?),
        _ => return None,
    };
    let dim = i64::try_from(field.dim()?).ok()?;
    Some(VectorField { dim, data: Some(data), valid_data: Vec::new() })
}

fn floats(array: &dyn Array) -> Option<Vec<f32>> {
    let list = array.as_fixed_size_list_opt()?;
    let width = usize::try_from(list.value_length()).ok()?;
    let elements = list.values().as_primitive_opt::<Float32Type>()?.values();
    let first = usize::try_from(list.value_offset(0)).ok()?;
    elements.get(first..first + list.len() * width).map(<[f32]>::to_vec)
}

fn bytes(array: &dyn Array) -> Option<Bytes> {
    let rows = array.as_fixed_size_binary_opt()?;
    let all: Vec<u8> = (0..rows.len()).flat_map(|row| rows.value(row).iter().copied()).collect();
    Some(all.into())
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
    use arrow::array::{
        BinaryArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Int8Array, ListArray, StringArray as Texts,
    };
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
        let mut field = field(DataType::FloatVector, false);
        field.type_params.insert("dim".to_owned(), "3".to_owned());
        let converted = field_data(&field, &array).unwrap();
        let Some(Field::Vectors(vectors)) = converted.field else { panic!() };
        assert_eq!(vectors.dim, 3);
        let expected = FloatArray { data: vec![3.0, 4.0, 5.0, 6.0, 7.0, 8.0] };
        assert_eq!(vectors.data, Some(vector_field::Data::FloatVector(expected)));
    }

    #[test]
    fn arrays_have_a_list_of_their_type_for_every_row() {
        let lists =
            ListArray::from_iter_primitive::<Int8Type, _, _>([Some(vec![Some(1), Some(-2)]), None, Some(vec![])]);
        let mut field = field(DataType::Array, true);
        field.element_type = Some(DataType::Int8);
        let converted = field_data(&field, &lists.slice(0, 3)).unwrap();
        assert_eq!(converted.valid_data, [true, false, true]);
        let Some(Field::Scalars(ScalarField { data: Some(Data::ArrayData(arrays)), .. })) = converted.field else {
            panic!()
        };
        let rows = arrays.data.iter().map(|row| match &row.data {
            Some(Data::IntData(values)) => values.data.clone(),
            other => panic!("{other:?}"),
        });
        assert_eq!((arrays.element_type, rows.collect::<Vec<_>>()), (2, vec![vec![1, -2], vec![], vec![]]));
        let empty = field_data(&field, &lists.slice(0, 0)).unwrap();
        assert!(matches!(empty.field, Some(Field::Scalars(ScalarField { data: Some(Data::ArrayData(_)), .. }))));
    }

    #[test]
    fn vectors_of_bytes_are_bytes_also_when_there_are_none() {
        let rows = FixedSizeBinaryArray::try_from_iter([[1_u8, 2], [3, 4], [5, 6]].iter()).unwrap();
        for data_type in
            [DataType::BinaryVector, DataType::Float16Vector, DataType::BFloat16Vector, DataType::Int8Vector]
        {
            for (from, len, expected) in [(1, 2, &[3_u8, 4, 5, 6][..]), (0, 0, &[])] {
                let mut field = field(data_type, false);
                field.type_params.insert("dim".to_owned(), "2".to_owned());
                let Some(Field::Vectors(vectors)) = field_data(&field, &rows.slice(from, len)).unwrap().field else {
                    panic!()
                };
                use vector_field::Data::{Bfloat16Vector, BinaryVector, Float16Vector, Int8Vector};
                let (found, found_type) = match vectors.data.unwrap() {
                    BinaryVector(bytes) => (bytes, DataType::BinaryVector),
                    Float16Vector(bytes) => (bytes, DataType::Float16Vector),
                    Bfloat16Vector(bytes) => (bytes, DataType::BFloat16Vector),
                    Int8Vector(bytes) => (bytes, DataType::Int8Vector),
                    other => panic!("{other:?}"),
                };
                assert_eq!((&found[..], found_type, vectors.dim), (expected, data_type, 2));
            }
        }
        let entry = [9_u32.to_le_bytes(), 1.5_f32.to_le_bytes()].concat();
        let sparse = BinaryArray::from_iter_values([&entry[..], &[]]);
        let Some(Field::Vectors(vectors)) =
            field_data(&field(DataType::SparseFloatVector, false), &sparse).unwrap().field
        else {
            panic!()
        };
        let expected = SparseFloatArray { contents: vec![entry.into(), Bytes::new()], dim: 10 };
        assert_eq!((vectors.dim, vectors.data), (10, Some(vector_field::Data::SparseFloatVector(expected))));
    }
}

//! Columns of vectors. Every element is looked at: what is no number would be near to nothing, and never be found.

use super::columns::Column;
use arrow::{
    array::{ArrayRef, BinaryArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array},
    datatypes::{DataType as ArrowType, Field},
};
use bytes::Bytes;
use elanus_proto::schema::{SparseFloatArray, VectorField, vector_field::Data};
use elanus_segment::vector;
use elanus_types::{Failure, schema::DataType};
use std::sync::Arc;

impl Column<'_> {
    /// The array of a vector field.
    pub(super) fn vectors(&self, vectors: VectorField, column: &Field) -> Result<ArrayRef, Failure> {
        let data_type = self.field.data_type;
        if data_type == DataType::SparseFloatVector {
            return match vectors.data {
                Some(Data::SparseFloatVector(sparse)) => self.sparse(&sparse),
                _ => Err(self.wrong_data()),
            };
        }
        let dim = self.field.dim().unwrap_or_default();
        if i64::try_from(dim) != Ok(vectors.dim) {
            let why = format!(
                "the dim ({}) of field data({}) is not equal to schema dim ({dim}): invalid parameter[expected={dim}][actual={}]",
                vectors.dim, self.field.name, vectors.dim
            );
            return Err(self.fault(why));
        }
        match (data_type, vectors.data) {
            (DataType::FloatVector, Some(Data::FloatVector(floats))) => self.floats(floats.data, dim, column),
            // Clients may leave the rounding to the server.
            (DataType::Float16Vector | DataType::BFloat16Vector, Some(Data::FloatVector(floats))) => {
                self.check_whole(floats.data.len(), dim, "elements")?;
                let rounded = vector::narrowed(data_type, &floats.data).ok_or_else(|| self.wrong_data())?;
                let bytes = rounded.map_err(|at| self.no_number(at, dim, floats.data[at]))?;
                self.bytes(bytes.into(), column)
            }
            (DataType::Float16Vector, Some(Data::Float16Vector(bytes)))
            | (DataType::BFloat16Vector, Some(Data::Bfloat16Vector(bytes))) => {
                self.check_whole(bytes.len(), dim * 2, "bytes")?;
                if let Some(at) = vector::first_infinite(data_type, &bytes) {
                    let bits = u16::from_le_bytes([bytes[at * 2], bytes[at * 2 + 1]]);
                    return Err(self.no_number(at, dim, widened(data_type, bits)));
                }
                self.bytes(bytes, column)
            }
            (DataType::Int8Vector, Some(Data::Int8Vector(bytes)))
            | (DataType::BinaryVector, Some(Data::BinaryVector(bytes))) => {
                self.check_whole(bytes.len(), vector::width(self.field).unwrap_or_default(), "bytes")?;
                self.bytes(bytes, column)
            }
            _ => Err(self.wrong_data()),
        }
    }

    fn wrong_data(&self) -> Failure {
        self.fault(format!("the data does not hold vectors of type {:?}", self.field.data_type))
    }

    fn no_number(&self, at: usize, dim: usize, value: f32) -> Failure {
        let why = if value.is_finite() { "does not fit into 16 bits" } else { "is not a number or infinity" };
        self.fault_at(at / dim.max(1), format!("value '{value}' {why}"))
    }

    /// That there are whole vectors, and one a row.
    fn check_whole(&self, len: usize, of_one: usize, what: &str) -> Result<(), Failure> {
        if of_one == 0 || !len.is_multiple_of(of_one) {
            return Err(self
                .fault(format!("{len} {what} are no whole vectors of dim {}", self.field.dim().unwrap_or_default())));
        }
        self.check_count(len / of_one)
    }

    fn floats(&self, elements: Vec<f32>, dim: usize, column: &Field) -> Result<ArrayRef, Failure> {
        let ArrowType::FixedSizeList(item, list_dim) = column.data_type() else { return Err(self.no_column()) };
        self.check_whole(elements.len(), dim, "elements")?;
        if let Some(at) = elements.iter().position(|element| !element.is_finite()) {
            return Err(self.no_number(at, dim, elements[at]));
        }
        let values = Arc::new(Float32Array::from(elements));
        let array = FixedSizeListArray::try_new(Arc::clone(item), *list_dim, values, None);
        array.map(|array| Arc::new(array) as ArrayRef).map_err(|error| self.fault(error))
    }

    fn bytes(&self, bytes: Bytes, column: &Field) -> Result<ArrayRef, Failure> {
        let ArrowType::FixedSizeBinary(width) = column.data_type() else { return Err(self.no_column()) };
        let array = FixedSizeBinaryArray::try_new(*width, bytes.into(), None);
        array.map(|array| Arc::new(array) as ArrayRef).map_err(|error| self.fault(error))
    }

    fn sparse(&self, sparse: &SparseFloatArray) -> Result<ArrayRef, Failure> {
        self.check_total(sparse.contents.iter().map(Bytes::len).sum())?;
        self.check_count(sparse.contents.len())?;
        for (row, bytes) in self.rows().zip(&sparse.contents) {
            vector::check_sparse(bytes).map_err(|why| self.fault_at(row, why))?;
        }
        Ok(Arc::new(BinaryArray::from_iter_values(&sparse.contents)))
    }

    fn no_column(&self) -> Failure {
        Failure::internal(format!("field {} has no column of vectors", self.field.name))
    }
}

fn widened(data_type: DataType, bits: u16) -> f32 {
    // Infinity and what is no number are neither of them widened by the fast way.
    let fraction = bits & if data_type == DataType::Float16Vector { 0x03ff } else { 0x007f };
    match (fraction, bits & 0x8000) {
        (0, 0) => f32::INFINITY,
        (0, _) => f32::NEG_INFINITY,
        _ => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use crate::write::columns::{Table, to_array};
    use arrow::array::{Array as _, ArrayRef, AsArray as _};
    use elanus_proto::schema::{FieldData, FloatArray, SparseFloatArray, VectorField, field_data, vector_field::Data};
    use elanus_types::schema::{CollectionSchema, DataType, FieldSchema};
    use elanus_types::{Failure, FieldId};

    fn array(data_type: DataType, dim: i64, rows: usize, data: Data) -> Result<ArrayRef, Failure> {
        let mut field = FieldSchema::new(FieldId(100), "v", data_type);
        if data_type != DataType::SparseFloatVector {
            field.type_params.insert("dim".to_owned(), "8".to_owned());
        }
        let schema = CollectionSchema { fields: vec![field], ..CollectionSchema::default() };
        let table = Table { schema: &schema, rows, json_bytes_max: 100 };
        let vectors = VectorField { dim, data: Some(data), valid_data: Vec::new() };
        let data = FieldData { field: Some(field_data::Field::Vectors(vectors)), ..FieldData::default() };
        to_array(table, &schema.fields[0], elanus_segment::arrow_schema(&schema).field(0), data)
    }

    fn sparse(rows: &[&[(u32, f32)]]) -> Data {
        let bytes = |row: &&[(u32, f32)]| -> bytes::Bytes {
            row.iter().flat_map(|(place, value)| [place.to_le_bytes(), value.to_le_bytes()].concat()).collect()
        };
        Data::SparseFloatVector(SparseFloatArray { contents: rows.iter().map(bytes).collect(), dim: 0 })
    }

    fn halves(numbers: &[u16]) -> bytes::Bytes {
        numbers.iter().flat_map(|bits| bits.to_le_bytes()).collect()
    }

    #[test]
    fn vectors_of_every_type_are_taken_as_they_are() {
        for (data_type, bytes, data) in [
            (DataType::BinaryVector, 1, Data::BinaryVector(vec![7; 2].into())),
            (DataType::Int8Vector, 8, Data::Int8Vector(vec![200; 16].into())),
            (DataType::Float16Vector, 16, Data::Float16Vector(halves(&[0x3c00; 16]))),
            (DataType::BFloat16Vector, 16, Data::Bfloat16Vector(halves(&[0x3f80; 16]))),
        ] {
            let array = array(data_type, 8, 2, data).unwrap();
            assert_eq!((array.len(), array.as_fixed_size_binary().value_length()), (2, bytes), "{data_type:?}");
        }
        let rounded =
            array(DataType::Float16Vector, 8, 1, Data::FloatVector(FloatArray { data: vec![1.0; 8] })).unwrap();
        assert_eq!(rounded.as_fixed_size_binary().value(0), halves(&[0x3c00; 8]));
        let sparse =
            array(DataType::SparseFloatVector, 0, 3, sparse(&[&[(1, 2.0), (9, 0.5)], &[], &[(3, 1.0)]])).unwrap();
        assert_eq!(sparse.as_binary::<i32>().iter().map(|row| row.unwrap().len()).collect::<Vec<_>>(), [16, 0, 8]);
    }

    #[test]
    fn vectors_that_do_not_fit_are_refused_with_their_field_and_row() {
        let floats = |numbers: &[f32]| Data::FloatVector(FloatArray { data: numbers.to_vec() });
        let with = |at: usize, bits: u16| {
            let mut numbers = [0_u16; 16];
            numbers[at] = bits;
            halves(&numbers)
        };
        let large: Vec<f32> = (0..16).map(|at| if at == 12 { 1e6 } else { 0.0 }).collect();
        for (data_type, dim, data, text) in [
            (
                DataType::BinaryVector,
                16,
                Data::BinaryVector(vec![0; 2].into()),
                "the dim (16) of field data(v) is not equal",
            ),
            (
                DataType::BinaryVector,
                8,
                Data::BinaryVector(vec![0; 3].into()),
                "num_rows (3) of field (v) is not equal",
            ),
            (DataType::BinaryVector, 8, floats(&[0.0; 16]), "the data does not hold vectors of type BinaryVector"),
            (DataType::Int8Vector, 8, Data::Int8Vector(vec![0; 15].into()), "15 bytes are no whole vectors of dim 8"),
            (DataType::Int8Vector, 8, Data::Float16Vector(vec![0; 32].into()), "not hold vectors of type Int8Vector"),
            (DataType::Float16Vector, 8, Data::Float16Vector(with(9, 0x7c00)), "field v: row 1: value 'inf'"),
            (DataType::Float16Vector, 8, Data::Float16Vector(with(3, 0xfc01)), "field v: row 0: value 'NaN'"),
            (DataType::Float16Vector, 8, floats(&large), "field v: row 1: value '1000000' does not fit into 16 bits"),
            (DataType::BFloat16Vector, 8, Data::Bfloat16Vector(with(15, 0xff80)), "field v: row 1: value '-inf'"),
            (DataType::BFloat16Vector, 8, floats(&[f32::NAN; 16]), "field v: row 0: value 'NaN' is not a number"),
            (DataType::BFloat16Vector, 8, Data::Float16Vector(with(0, 0)), "not hold vectors of type BFloat16Vector"),
            (DataType::SparseFloatVector, 0, sparse(&[&[(1, 1.0)]]), "the num_rows (1)"),
            (DataType::SparseFloatVector, 0, sparse(&[&[(1, 1.0)], &[(2, 1.0), (2, 1.0)]]), "field v: row 1: unsorted"),
            (DataType::SparseFloatVector, 0, sparse(&[&[(1, f32::NAN)], &[]]), "field v: row 0: value 'NaN'"),
            (DataType::SparseFloatVector, 0, sparse(&[&[], &[(u32::MAX, 1.0)]]), "field v: row 1: invalid index"),
            (DataType::SparseFloatVector, 8, floats(&[0.0; 16]), "not hold vectors of type SparseFloatVector"),
        ] {
            let failure = array(data_type, dim, 2, data).unwrap_err();
            assert!(failure.message.contains(text), "{} / {text}", failure.message);
            assert_eq!(failure.code.number(), 1100);
        }
    }
}

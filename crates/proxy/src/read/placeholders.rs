//! The query vectors of a search, as a query node takes them: in the form in which the field's vectors are kept.

use bytes::{BufMut as _, Bytes, BytesMut};
use elanus_proto::common::{PlaceholderGroup, PlaceholderType};
use elanus_segment::vector;
use elanus_types::{
    Failure,
    schema::{DataType, FieldSchema},
};
use prost::Message as _;

/// Number and bytes of the query vectors, one after the other; before each sparse one is the number of its bytes, u32,
/// little endian.
pub(super) fn query_vectors(field: &FieldSchema, group: Bytes, nq: i64, nq_max: i64) -> Result<(i64, Bytes), Failure> {
    let group = PlaceholderGroup::decode(group)
        .map_err(|error| Failure::invalid(format!("the query vectors cannot be read: {error}")))?;
    let [placeholder] = <[_; 1]>::try_from(group.placeholders)
        .map_err(|all| Failure::invalid(format!("the search has {} groups of query vectors, not one", all.len())))?;
    let given = placeholder.r#type();
    let rounded = given == PlaceholderType::FloatVector && vector::widening(field.data_type).is_some();
    if (given != own_type(field.data_type) && !rounded) || placeholder.element_level {
        let (name, own, given) = (&field.name, field.data_type, given.as_str_name());
        let text = format!("vector type must be the same, field {name} is {own:?}, the search has {given}");
        return Err(Failure::invalid(text));
    }
    let count = i64::try_from(placeholder.values.len()).unwrap_or(i64::MAX);
    if !(1..=nq_max).contains(&count) {
        let text = format!("nq [{count}] is invalid, it should be in range [1, {nq_max}], but got {count}");
        return Err(Failure::invalid(text));
    }
    if nq != 0 && nq != count {
        return Err(Failure::invalid(format!("nq [{nq}] is invalid, the search has {count} query vectors")));
    }
    let mut queries = BytesMut::new();
    for (row, value) in placeholder.values.iter().enumerate() {
        let wrong = |why: String| Failure::invalid(format!("query vector {row}: {why}"));
        if field.data_type == DataType::SparseFloatVector {
            vector::check_sparse(value).map_err(wrong)?;
            let len = u32::try_from(value.len()).map_err(|_| wrong("it is longer than 4 GiB".to_owned()))?;
            queries.put_u32_le(len);
            queries.extend_from_slice(value);
        } else {
            queries.extend_from_slice(&dense(field, value, rounded)?.map_err(|why| wrong(why.to_owned()))?);
        }
    }
    Ok((count, queries.freeze()))
}

fn own_type(data_type: DataType) -> PlaceholderType {
    match data_type {
        DataType::BinaryVector => PlaceholderType::BinaryVector,
        DataType::FloatVector => PlaceholderType::FloatVector,
        DataType::Float16Vector => PlaceholderType::Float16Vector,
        DataType::BFloat16Vector => PlaceholderType::BFloat16Vector,
        DataType::SparseFloatVector => PlaceholderType::SparseFloatVector,
        DataType::Int8Vector => PlaceholderType::Int8Vector,
        _ => PlaceholderType::None,
    }
}

/// One vector of the field's own form; `Err` inside for an element that is no number.
fn dense(field: &FieldSchema, value: &Bytes, rounded: bool) -> Result<Result<Bytes, &'static str>, Failure> {
    const NO_NUMBER: &str = "it has an element that is not a number or infinity";
    let stored = vector::width(field).unwrap_or_default();
    let expected = if rounded { stored * 2 } else { stored };
    if value.len() != expected {
        let (name, actual) = (&field.name, value.len());
        let text = format!("vector dimension mismatch, expected vector size(byte) {expected}, actual {actual}");
        return Err(Failure::invalid(format!("{text}: field {name}")));
    }
    let floats = || value.as_chunks::<4>().0.iter().map(|element| f32::from_le_bytes(*element));
    Ok(match field.data_type {
        halves if rounded => match vector::narrowed(halves, &floats().collect::<Vec<_>>()) {
            Some(Ok(bytes)) => Ok(bytes.into()),
            _ => Err("it has an element that is not a number or does not fit into 16 bits"),
        },
        DataType::FloatVector if !floats().all(f32::is_finite) => Err(NO_NUMBER),
        halves @ (DataType::Float16Vector | DataType::BFloat16Vector)
            if vector::first_infinite(halves, value).is_some() =>
        {
            Err(NO_NUMBER)
        }
        _ => Ok(value.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::common::PlaceholderValue;
    use elanus_types::FieldId;

    fn field(data_type: DataType, dim: &str) -> FieldSchema {
        let mut field = FieldSchema::new(FieldId(101), "v", data_type);
        field.type_params.insert("dim".to_owned(), dim.to_owned());
        field
    }

    fn group(r#type: PlaceholderType, vectors: &[&[u8]]) -> Bytes {
        let values = vectors.iter().map(|vector| Bytes::copy_from_slice(vector)).collect();
        let value = PlaceholderValue { tag: "$0".into(), r#type: r#type.into(), values, element_level: false };
        PlaceholderGroup { placeholders: vec![value] }.encode_to_vec().into()
    }

    fn floats(numbers: &[f32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    #[test]
    fn query_vectors_are_taken_as_they_are_or_refused() {
        use PlaceholderType::{BinaryVector, FloatVector};
        let field = field(DataType::FloatVector, "2");
        let good: &[u8] = &floats(&[1.0, 2.0]);
        let (nq, bytes) = query_vectors(&field, group(FloatVector, &[good, good]), 2, 10).unwrap();
        assert_eq!((nq, bytes.len(), &bytes[..4]), (2, 16, &1.0_f32.to_le_bytes()[..]));
        for (kind, vectors, nq, fragment) in [
            (FloatVector, &[&good[..4]][..], 1, "vector dimension mismatch, expected vector size(byte) 8, actual 4"),
            (FloatVector, &[], 0, "nq [0] is invalid"),
            (FloatVector, &[good; 3], 0, "nq [3] is invalid, it should be in range [1, 2]"),
            (FloatVector, &[good], 2, "the search has 1 query vectors"),
            (FloatVector, &[good, &floats(&[1.0, f32::NAN])], 2, "query vector 1: it has an element"),
            (
                BinaryVector,
                &[good],
                1,
                "vector type must be the same, field v is FloatVector, the search has BinaryVector",
            ),
        ] {
            let failure = query_vectors(&field, group(kind, vectors), nq, 2).unwrap_err();
            assert!(failure.message.contains(fragment), "{}", failure.message);
        }
        assert!(query_vectors(&field, Bytes::from_static(b"\xff"), 1, 2).is_err());
    }

    #[test]
    fn each_type_of_vector_has_its_own_placeholder() {
        let one = 0x3c00_u16.to_le_bytes();
        let sparse = [3_u32.to_le_bytes(), 0.5_f32.to_le_bytes()].concat();
        for (data_type, kind, vector, expected) in [
            (DataType::BinaryVector, PlaceholderType::BinaryVector, vec![7], vec![7]),
            (DataType::Int8Vector, PlaceholderType::Int8Vector, vec![255; 8], vec![255; 8]),
            (DataType::Float16Vector, PlaceholderType::Float16Vector, one.repeat(8), one.repeat(8)),
            (DataType::Float16Vector, PlaceholderType::FloatVector, floats(&[1.0; 8]), one.repeat(8)),
            (DataType::BFloat16Vector, PlaceholderType::BFloat16Vector, one.repeat(8), one.repeat(8)),
            (
                DataType::SparseFloatVector,
                PlaceholderType::SparseFloatVector,
                sparse.clone(),
                [&8_u32.to_le_bytes()[..], &sparse].concat(),
            ),
        ] {
            let (nq, bytes) = query_vectors(&field(data_type, "8"), group(kind, &[&vector]), 1, 10).unwrap();
            assert_eq!((nq, &bytes[..]), (1, &expected[..]), "{data_type:?}");
        }
        for (data_type, kind, vector, text) in [
            (DataType::BinaryVector, PlaceholderType::FloatVector, vec![7], "vector type must be the same"),
            (DataType::Int8Vector, PlaceholderType::Int8Vector, vec![1; 7], "expected vector size(byte) 8, actual 7"),
            (
                DataType::Float16Vector,
                PlaceholderType::Float16Vector,
                0x7c00_u16.to_le_bytes().repeat(8),
                "query vector 0",
            ),
            (DataType::Float16Vector, PlaceholderType::FloatVector, floats(&[1e6; 8]), "does not fit into 16 bits"),
            (
                DataType::SparseFloatVector,
                PlaceholderType::SparseFloatVector,
                sparse.repeat(2),
                "query vector 0: unsorted",
            ),
            (DataType::SparseFloatVector, PlaceholderType::FloatVector, vec![], "vector type must be the same"),
        ] {
            let failure = query_vectors(&field(data_type, "8"), group(kind, &[&vector]), 1, 10).unwrap_err();
            assert!(failure.message.contains(text), "{} / {text}", failure.message);
        }
    }
}

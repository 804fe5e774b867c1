//! Vectors that are bytes, as clients send them and files keep them.
//!
//! | type | bytes of one vector |
//! |---|---|
//! | binary | `dim / 8`, the first bit is the highest of the first byte |
//! | float16 | `2 * dim`, IEEE 754 binary16, little endian |
//! | bfloat16 | `2 * dim`, the upper half of IEEE 754 binary32, little endian |
//! | int8 | `dim`, two's complement |
//! | sparse | 8 a place that is not zero: its number, u32, and its value, f32, little endian; places ascend |

use arrow::datatypes::{ArrowPrimitiveType, Float16Type};
use elanus_types::schema::{DataType, FieldSchema};

/// The one number that no place of a sparse vector has, as in Milvus.
const NO_PLACE: u32 = u32::MAX;

/// Bytes of one vector of this field; `None` for a sparse one, a scalar, and a field without usable `dim`.
#[must_use]
pub fn width(field: &FieldSchema) -> Option<usize> {
    let dim = field.dim().filter(|dim| *dim > 0)?;
    match field.data_type {
        DataType::FloatVector => dim.checked_mul(4),
        DataType::Float16Vector | DataType::BFloat16Vector => dim.checked_mul(2),
        DataType::Int8Vector => Some(dim),
        DataType::BinaryVector if dim.is_multiple_of(8) => Some(dim / 8),
        _ => None,
    }
}

/// The number with these bits of IEEE 754 binary16, which must be finite.
#[inline(always)]
#[must_use]
pub fn f16_to_f32(bits: u16) -> f32 {
    // The exponent of binary16, moved to its place in binary32, is too small by 112; also right for subnormal numbers.
    const TWO_TO_112: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * TWO_TO_112;
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// The number whose upper half these bits are.
#[inline(always)]
#[must_use]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// How the numbers of a type with 16 bits become ones with 32; `None` for other types.
#[must_use]
pub fn widening(data_type: DataType) -> Option<fn(u16) -> f32> {
    match data_type {
        DataType::Float16Vector => Some(f16_to_f32),
        DataType::BFloat16Vector => Some(bf16_to_f32),
        _ => None,
    }
}

/// Numbers of 32 bits, rounded to the 16 bits of `data_type`, nearest and then even. `Err` with the position of the first
/// that is not finite there; `None` for a type that does not have 16 bits.
#[must_use]
pub fn narrowed(data_type: DataType, numbers: &[f32]) -> Option<Result<Vec<u8>, usize>> {
    let narrow: fn(f32) -> u16 = match data_type {
        DataType::Float16Vector => |number| <Float16Type as ArrowPrimitiveType>::Native::from_f32(number).to_bits(),
        DataType::BFloat16Vector => bf16_bits,
        _ => return None,
    };
    let mut bytes = Vec::with_capacity(numbers.len() * 2);
    for (at, number) in numbers.iter().enumerate() {
        let bits = if number.is_finite() { narrow(*number) } else { return Some(Err(at)) };
        if !is_finite(data_type, bits) {
            return Some(Err(at));
        }
        bytes.extend_from_slice(&bits.to_le_bytes());
    }
    Some(Ok(bytes))
}

fn bf16_bits(number: f32) -> u16 {
    let bits = number.to_bits();
    // A half is added, and a bit less where that makes the result even. Finite numbers do not overflow 32 bits.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    u16::try_from(rounded & 0xffff).unwrap_or(u16::MAX)
}

fn is_finite(data_type: DataType, bits: u16) -> bool {
    let exponent = if data_type == DataType::Float16Vector { 0x7c00 } else { 0x7f80 };
    bits & exponent != exponent
}

/// The position of the first number among bytes of 16-bit numbers that is not finite.
#[must_use]
pub fn first_infinite(data_type: DataType, bytes: &[u8]) -> Option<usize> {
    bytes.as_chunks::<2>().0.iter().position(|bits| !is_finite(data_type, u16::from_le_bytes(*bits)))
}

/// The places and values of a sparse vector.
pub fn sparse_entries(bytes: &[u8]) -> impl ExactSizeIterator<Item = (u32, f32)> {
    bytes.as_chunks::<8>().0.iter().map(|entry| {
        let [a, b, c, d, e, f, g, h] = *entry;
        (u32::from_le_bytes([a, b, c, d]), f32::from_le_bytes([e, f, g, h]))
    })
}

/// That these bytes are a sparse vector.
///
/// # Errors
/// What is wrong, in Milvus' words.
pub fn check_sparse(bytes: &[u8]) -> Result<(), String> {
    if !bytes.len().is_multiple_of(8) {
        return Err(format!("invalid data length in sparse float vector: {}", bytes.len()));
    }
    let mut last = None;
    for (place, value) in sparse_entries(bytes) {
        if place == NO_PLACE {
            return Err("invalid index in sparse float vector: must be less than 2^32-1".to_owned());
        }
        if last.is_some_and(|last| place <= last) {
            return Err(format!("unsorted or same indices in sparse float vector: {place} comes late or twice"));
        }
        if !value.is_finite() {
            return Err(format!("value '{value}' is not a number or infinity"));
        }
        last = Some(place);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type F16 = <Float16Type as ArrowPrimitiveType>::Native;

    fn number(data_type: DataType, number: f32) -> Option<f32> {
        let bytes = narrowed(data_type, &[number]).unwrap().ok()?;
        Some(widening(data_type).unwrap()(u16::from_le_bytes([bytes[0], bytes[1]])))
    }

    #[test]
    fn every_finite_number_of_16_bits_is_widened_exactly_and_narrowed_back() {
        for bits in 0..=u16::MAX {
            let half = F16::from_bits(bits);
            if half.is_finite() {
                assert_eq!(f16_to_f32(bits).to_bits(), half.to_f32().to_bits(), "{bits:#x}");
                assert_eq!(narrowed(DataType::Float16Vector, &[f16_to_f32(bits)]), Some(Ok(bits.to_le_bytes().into())));
            }
            assert_eq!(first_infinite(DataType::Float16Vector, &bits.to_le_bytes()).is_none(), half.is_finite());
            let wide = bf16_to_f32(bits);
            if wide.is_finite() {
                assert_eq!(narrowed(DataType::BFloat16Vector, &[wide]), Some(Ok(bits.to_le_bytes().into())));
            }
            assert_eq!(first_infinite(DataType::BFloat16Vector, &bits.to_le_bytes()).is_none(), wide.is_finite());
        }
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_and_then_to_the_even_one() {
        for (data_type, given, expected) in [
            (DataType::Float16Vector, 2049.0, Some(2048.0)),
            (DataType::Float16Vector, 2051.0, Some(2052.0)),
            (DataType::Float16Vector, 65_504.0, Some(65_504.0)),
            (DataType::Float16Vector, 65_520.0, None),
            (DataType::Float16Vector, f32::NAN, None),
            (DataType::BFloat16Vector, 257.0, Some(256.0)),
            (DataType::BFloat16Vector, 259.0, Some(260.0)),
            (DataType::BFloat16Vector, f32::MAX, None),
            (DataType::BFloat16Vector, f32::INFINITY, None),
        ] {
            assert_eq!(number(data_type, given), expected, "{data_type:?} {given}");
        }
        assert_eq!(narrowed(DataType::Float16Vector, &[0.0, 1e9, f32::NAN]), Some(Err(1)));
        assert_eq!(narrowed(DataType::FloatVector, &[0.0]), None);
    }

    #[test]
    fn sparse_vectors_ascend_and_have_finite_values() {
        let bytes = |entries: &[(u32, f32)]| -> Vec<u8> {
            entries.iter().flat_map(|(place, value)| [place.to_le_bytes(), value.to_le_bytes()].concat()).collect()
        };
        let good = bytes(&[(0, 1.0), (7, -2.5), (u32::MAX - 1, 0.0)]);
        check_sparse(&good).unwrap();
        check_sparse(&[]).unwrap();
        assert_eq!(sparse_entries(&good).collect::<Vec<_>>(), [(0, 1.0), (7, -2.5), (u32::MAX - 1, 0.0)]);
        for (wrong, text) in [
            (good[1..].to_vec(), "invalid data length in sparse float vector: 23"),
            (bytes(&[(u32::MAX, 1.0)]), "must be less than 2^32-1"),
            (bytes(&[(5, 1.0), (5, 1.0)]), "unsorted or same indices"),
            (bytes(&[(5, 1.0), (4, 1.0)]), "unsorted or same indices"),
            (bytes(&[(5, f32::NAN)]), "value 'NaN' is not a number"),
            (bytes(&[(5, f32::NEG_INFINITY)]), "value '-inf' is not a number"),
        ] {
            assert!(check_sparse(&wrong).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn a_vector_has_as_many_bytes_as_its_type_and_dim_say() {
        let field = |data_type, dim: &str| {
            let mut field = FieldSchema::new(elanus_types::FieldId(1), "v", data_type);
            field.type_params.insert("dim".to_owned(), dim.to_owned());
            width(&field)
        };
        for (data_type, bytes) in [
            (DataType::BinaryVector, Some(2)),
            (DataType::FloatVector, Some(64)),
            (DataType::Float16Vector, Some(32)),
            (DataType::BFloat16Vector, Some(32)),
            (DataType::Int8Vector, Some(16)),
            (DataType::SparseFloatVector, None),
            (DataType::Json, None),
        ] {
            assert_eq!(field(data_type, "16"), bytes, "{data_type:?}");
        }
        assert_eq!((field(DataType::BinaryVector, "12"), field(DataType::Int8Vector, "x")), (None, None));
    }
}

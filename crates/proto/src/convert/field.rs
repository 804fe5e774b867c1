//! One field of a collection: its message and what it may be.

use crate::{
    convert::{map_to_pairs, pairs_to_map},
    schema::{self as proto, value_field::Data},
};
use elanus_types::{
    Failure, FieldId,
    schema::{DataType, DefaultValue, FieldSchema},
};
use std::ops::RangeInclusive;

/// Numbers of elements that a vector may have, as in Milvus.
const DIM: RangeInclusive<usize> = 2..=32_768;
/// Bits that a binary vector may have, as in Milvus.
const BINARY_DIM: RangeInclusive<usize> = 8..=262_144;
/// Bytes that a varchar may be declared to have, as in Milvus.
const MAX_LENGTH: RangeInclusive<usize> = 1..=65_535;
/// Elements that an array may be declared to have, as in Milvus.
const MAX_CAPACITY: RangeInclusive<usize> = 1..=4_096;

/// The message for a field, without the marks that a collection puts on it: partition and clustering key.
#[must_use]
pub fn field_to_proto(field: &FieldSchema) -> proto::FieldSchema {
    proto::FieldSchema {
        field_id: field.id.0,
        name: field.name.clone(),
        is_primary_key: field.is_primary_key,
        description: field.description.clone(),
        data_type: field.data_type.number(),
        element_type: field.element_type.map_or(0, DataType::number),
        default_value: field.default_value.as_ref().map(|value| default_to_proto(field.data_type, value)),
        type_params: map_to_pairs(&field.type_params),
        auto_id: field.auto_id,
        is_dynamic: field.is_dynamic,
        nullable: field.nullable,
        ..proto::FieldSchema::default()
    }
}

/// The field that a message holds. Its name, and its place in a collection, are not looked at.
///
/// # Errors
/// [`elanus_types::Code::ParameterInvalid`] when the message uses what Elanus does not serve, or lacks what its type needs.
pub fn field_from_proto(message: &proto::FieldSchema) -> Result<FieldSchema, Failure> {
    let refuse = |why: String| Failure::invalid(format!("field {}: {why}", message.name));
    let type_name = type_name(message.data_type);
    let Some(data_type) = DataType::from_number(message.data_type) else {
        return Err(refuse(format!("data type {type_name} is not served")));
    };
    let params = pairs_to_map(&message.type_params);
    let on = |key: &str| params.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    for (used, what) in [
        (message.is_function_output, "output of a function"),
        (!message.external_field.is_empty(), "an external field"),
        (message.type_schema.is_some(), "a type schema"),
        (message.element_nullable, "nullable elements"),
        (on("enable_match") || on("enable_analyzer"), "text match"),
        (data_type.is_vector() && message.nullable, "a nullable vector"),
    ] {
        if used {
            return Err(refuse(format!("{what} is not served")));
        }
    }
    let mut field = FieldSchema {
        description: message.description.clone(),
        is_primary_key: message.is_primary_key,
        auto_id: message.auto_id,
        is_dynamic: message.is_dynamic,
        nullable: message.nullable,
        type_params: params,
        ..FieldSchema::new(FieldId(message.field_id), message.name.clone(), data_type)
    };
    check_key(&field, &type_name).map_err(refuse)?;
    check_params(&mut field, message.element_type).map_err(refuse)?;
    if let Some(default) = message.default_value.as_ref().and_then(|value| value.data.as_ref()) {
        field.default_value = Some(default_value(&field, &type_name, default).map_err(refuse)?);
    }
    Ok(field)
}

fn type_name(number: i32) -> String {
    proto::DataType::try_from(number).map_or_else(|_| number.to_string(), |known| known.as_str_name().to_owned())
}

fn check_key(field: &FieldSchema, type_name: &str) -> Result<(), String> {
    if !field.is_primary_key {
        return if field.auto_id { Err("only the primary key can have auto id".to_owned()) } else { Ok(()) };
    }
    if !matches!(field.data_type, DataType::Int64 | DataType::VarChar) {
        return Err(format!("the data type of primary key should be Int64 or VarChar, not {type_name}"));
    }
    if field.nullable {
        return Err("primary key field does not support null data".to_owned());
    }
    Ok(())
}

/// What the type of a field needs to be said of it.
fn check_params(field: &mut FieldSchema, element_type: i32) -> Result<(), String> {
    match field.data_type {
        DataType::FloatVector | DataType::Float16Vector | DataType::BFloat16Vector | DataType::Int8Vector => {
            check_number(field, "dim", DIM)
        }
        DataType::BinaryVector => {
            check_number(field, "dim", BINARY_DIM)?;
            match field.dim() {
                Some(dim) if dim.is_multiple_of(8) => Ok(()),
                dim => Err(format!(
                    "invalid dimension: {} of field {}. binary vector dimension should be multiple of 8",
                    dim.unwrap_or_default(),
                    field.name
                )),
            }
        }
        DataType::SparseFloatVector if field.type_params.contains_key("dim") => {
            Err(format!("dim should not be specified for sparse vector field {}", field.name))
        }
        DataType::VarChar => check_number(field, "max_length", MAX_LENGTH),
        DataType::Array => {
            let element = DataType::from_number(element_type).filter(|element| element.is_element());
            let element =
                element.ok_or_else(|| format!("element type {} is not supported", type_name(element_type)))?;
            field.element_type = Some(element);
            check_number(field, "max_capacity", MAX_CAPACITY)?;
            if element == DataType::VarChar { check_number(field, "max_length", MAX_LENGTH) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn check_number(field: &FieldSchema, key: &str, range: RangeInclusive<usize>) -> Result<(), String> {
    let (from, to) = (range.start(), range.end());
    let Some(text) = field.type_params.get(key) else {
        return Err(format!("type param {key} should be specified, a number from {from} to {to}"));
    };
    match text.parse::<usize>() {
        Ok(number) if range.contains(&number) => Ok(()),
        // Milvus' words, which tests look for.
        _ if key == "dim" => Err(format!(
            "invalid dimension: {text} of field {}. it should be in range {from} ~ {to}: type param dim should be in \
             range {from} ~ {to}",
            field.name
        )),
        _ if key == "max_length" => Err(format!(
            "the maximum length specified for the field({}) should be in (0, {to}], but got {text} instead",
            field.name
        )),
        _ => Err(format!("the maximum capacity specified for a Array should be in (0, {to}], but got {text} instead")),
    }
}

fn default_to_proto(data_type: DataType, value: &DefaultValue) -> proto::ValueField {
    let data = match (value, data_type) {
        (DefaultValue::Bool(value), _) => Data::BoolData(*value),
        (DefaultValue::Int(value), DataType::Int64) => Data::LongData(*value),
        (DefaultValue::Int(value), _) => Data::IntData(i32::try_from(*value).unwrap_or_default()),
        #[expect(clippy::cast_possible_truncation, reason = "it was a float before")]
        (DefaultValue::Float(value), DataType::Float) => Data::FloatData(*value as f32),
        (DefaultValue::Float(value), _) => Data::DoubleData(*value),
        (DefaultValue::Text(value), DataType::Json) => Data::BytesData(value.clone().into_bytes().into()),
        (DefaultValue::Text(value), _) => Data::StringData(value.clone()),
    };
    proto::ValueField { data: Some(data) }
}

/// A default value that fits its field.
fn default_value(field: &FieldSchema, type_name: &str, value: &Data) -> Result<DefaultValue, String> {
    if field.is_primary_key {
        return Err(format!("primary field not support default_value, type:{type_name}, name:{}", field.name));
    }
    if field.data_type == DataType::Array || field.data_type.is_vector() {
        return Err(format!("type not support default_value, type:{type_name}, name:{}", field.name));
    }
    let whole = |value: i64, range: RangeInclusive<i64>| {
        if range.contains(&value) {
            return Ok(DefaultValue::Int(value));
        }
        Err(format!("the default value {value} is out of range [{}, {}]", range.start(), range.end()))
    };
    let number = |value: f64| {
        if value.is_finite() {
            return Ok(DefaultValue::Float(value));
        }
        Err(format!("the default value '{value}' is not a number or infinity"))
    };
    match (field.data_type, value) {
        (DataType::Bool, Data::BoolData(value)) => Ok(DefaultValue::Bool(*value)),
        (DataType::Int8, Data::IntData(value)) => whole((*value).into(), i8::MIN.into()..=i8::MAX.into()),
        (DataType::Int16, Data::IntData(value)) => whole((*value).into(), i16::MIN.into()..=i16::MAX.into()),
        (DataType::Int32, Data::IntData(value)) => Ok(DefaultValue::Int((*value).into())),
        (DataType::Int64, Data::LongData(value)) => Ok(DefaultValue::Int(*value)),
        (DataType::Float, Data::FloatData(value)) => number((*value).into()),
        (DataType::Double, Data::DoubleData(value)) => number(*value),
        (DataType::VarChar, Data::StringData(value)) => match field.max_length() {
            Some(max) if value.len() > max => {
                Err(format!("the length ({}) of string exceeds max length ({max}): its default value", value.len()))
            }
            _ => Ok(DefaultValue::Text(value.clone())),
        },
        (DataType::Json, Data::BytesData(value)) => json_default(value),
        _ => Err(format!(
            "type ({type_name}) of field ({}) is not equal to the type({}) of default_value",
            field.name,
            type_of(value)
        )),
    }
}

fn json_default(bytes: &[u8]) -> Result<DefaultValue, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("the default value is not valid JSON: {error}"))?;
    let read: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(text);
    read.map(|_| DefaultValue::Text(text.to_owned()))
        .map_err(|error| format!("the default value of a JSON field should be a JSON object: {error}"))
}

fn type_of(value: &Data) -> &'static str {
    match value {
        Data::BoolData(_) => "DataType_Bool",
        Data::IntData(_) => "DataType_Int",
        Data::LongData(_) => "DataType_Int64",
        Data::FloatData(_) => "DataType_Float",
        Data::DoubleData(_) => "DataType_Double",
        Data::StringData(_) => "DataType_VarChar",
        Data::BytesData(_) => "DataType_JSON",
        Data::TimestamptzData(_) | Data::DateData(_) | Data::TimeData(_) => "DataType_Timestamptz",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::KeyValuePair;

    fn message(data_type: i32, params: &[(&str, &str)], default: Option<Data>) -> proto::FieldSchema {
        let pair = |(key, value): &(&str, &str)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() };
        proto::FieldSchema {
            name: "f".to_owned(),
            data_type,
            type_params: params.iter().map(pair).collect(),
            default_value: default.map(|data| proto::ValueField { data: Some(data) }),
            ..proto::FieldSchema::default()
        }
    }

    fn array(element_type: i32, params: &[(&str, &str)]) -> proto::FieldSchema {
        proto::FieldSchema { element_type, ..message(22, params, None) }
    }

    #[test]
    fn fields_of_every_type_come_back_as_they_went() {
        let dim = &[("dim", "16")];
        let numbers: Vec<i32> =
            (0..1_000).filter(|number| DataType::from_number(*number).is_some_and(DataType::is_element)).collect();
        assert_eq!(numbers.len(), 8);
        let arrays = numbers.iter().map(|element| array(*element, &[("max_capacity", "4096"), ("max_length", "9")]));
        let defaults = [
            message(1, &[], Some(Data::BoolData(true))),
            message(2, &[], Some(Data::IntData(-128))),
            message(3, &[], Some(Data::IntData(32_767))),
            message(4, &[], Some(Data::IntData(i32::MIN))),
            message(5, &[], Some(Data::LongData(i64::MAX))),
            message(10, &[], Some(Data::FloatData(0.1))),
            message(11, &[], Some(Data::DoubleData(0.1))),
            message(21, &[("max_length", "3")], Some(Data::StringData("abc".to_owned()))),
            message(23, &[], Some(Data::BytesData(r#"{"a":[1]}"#.into()))),
        ];
        let vectors = [100, 101, 102, 103, 105].map(|number| message(number, dim, None));
        for message in arrays.chain(defaults).chain(vectors).chain([message(104, &[], None)]) {
            assert_eq!(field_to_proto(&field_from_proto(&message).unwrap()), message);
        }
    }

    #[test]
    fn a_field_that_cannot_be_is_refused_by_its_name() {
        let table = [
            (message(104, &[("dim", "8")], None), "dim should not be specified for sparse vector field f"),
            (message(100, &[("dim", "12")], None), "binary vector dimension should be multiple of 8"),
            (message(100, &[("dim", "262152")], None), "range 8 ~ 262144"),
            (message(102, &[("dim", "1")], None), "invalid dimension: 1 of field f. it should be in range 2 ~ 32768"),
            (message(105, &[], None), "type param dim should be specified"),
            (array(0, &[("max_capacity", "8")]), "element type None is not supported"),
            (array(23, &[("max_capacity", "8")]), "element type JSON is not supported"),
            (array(22, &[("max_capacity", "8")]), "element type Array is not supported"),
            (array(101, &[("max_capacity", "8")]), "element type FloatVector is not supported"),
            (array(5, &[]), "type param max_capacity should be specified"),
            (array(5, &[("max_capacity", "0")]), "specified for a Array should be in (0, 4096], but got 0 instead"),
            (
                array(5, &[("max_capacity", "4097")]),
                "specified for a Array should be in (0, 4096], but got 4097 instead",
            ),
            (array(21, &[("max_capacity", "8")]), "type param max_length should be specified"),
            (message(2, &[], Some(Data::IntData(128))), "the default value 128 is out of range [-128, 127]"),
            (message(3, &[], Some(Data::IntData(-32_769))), "out of range [-32768, 32767]"),
            (
                message(5, &[], Some(Data::IntData(1))),
                "type (Int64) of field (f) is not equal to the type(DataType_Int)",
            ),
            (message(11, &[], Some(Data::DoubleData(f64::NAN))), "the default value 'NaN' is not a number"),
            (
                message(21, &[("max_length", "2")], Some(Data::StringData("abc".to_owned()))),
                "the length (3) of string exceeds max length (2)",
            ),
            (message(23, &[], Some(Data::BytesData("[1]".into()))), "should be a JSON object"),
            (message(101, &[("dim", "8")], Some(Data::FloatData(1.0))), "type not support default_value"),
            (
                proto::FieldSchema { is_primary_key: true, ..message(5, &[], Some(Data::LongData(1))) },
                "primary field not support default_value, type:Int64, name:f",
            ),
        ];
        for (message, text) in table {
            let failure = field_from_proto(&message).unwrap_err();
            assert!(failure.message.starts_with("field f: "), "{}", failure.message);
            assert!(failure.message.contains(text), "{} / {text}", failure.message);
        }
    }
}

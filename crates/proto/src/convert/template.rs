//! Values of the template parameters of an expression, as JSON: what both ends of a read and a delete understand.

use crate::schema::{TemplateArrayValue, TemplateValue, template_array_value::Data, template_value::Val};
use elanus_types::Failure;
use serde_json::Value;
use std::collections::BTreeMap;

/// The values by name.
///
/// # Errors
/// 1100 for a value that JSON does not have (bytes, NaN, a document that is none), with the name of its parameter.
pub fn template_params(values: &BTreeMap<String, TemplateValue>) -> Result<BTreeMap<String, Value>, Failure> {
    let convert = |(name, value): (&String, &TemplateValue)| match value.val.as_ref().and_then(single) {
        Some(value) => Ok((name.clone(), value)),
        None => Err(Failure::invalid(format!("the value of template parameter {name} is not served"))),
    };
    values.iter().map(convert).collect()
}

fn single(value: &Val) -> Option<Value> {
    Some(match value {
        Val::BoolVal(value) => Value::from(*value),
        Val::Int64Val(value) => Value::from(*value),
        Val::FloatVal(value) => float(*value)?,
        Val::StringVal(value) => Value::from(value.as_str()),
        Val::ArrayVal(values) => list(values)?,
        Val::BytesVal(_) => return None,
    })
}

fn list(values: &TemplateArrayValue) -> Option<Value> {
    let items: Option<Vec<Value>> = match &values.data {
        None => Some(Vec::new()),
        Some(Data::BoolData(values)) => Some(values.data.iter().copied().map(Value::from).collect()),
        Some(Data::LongData(values)) => Some(values.data.iter().copied().map(Value::from).collect()),
        Some(Data::DoubleData(values)) => values.data.iter().copied().map(float).collect(),
        Some(Data::StringData(values)) => Some(values.data.iter().map(|value| Value::from(value.as_str())).collect()),
        Some(Data::ArrayData(values)) => values.data.iter().map(list).collect(),
        Some(Data::JsonData(values)) => values.data.iter().map(|text| serde_json::from_slice(text).ok()).collect(),
    };
    items.map(Value::Array)
}

/// A number with a fraction stays one: 2.0 is not 2.
fn float(value: f64) -> Option<Value> {
    serde_json::Number::from_f64(value).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{DoubleArray, LongArray};
    use bytes::Bytes;
    use serde_json::json;

    fn one(val: Val) -> Result<Value, Failure> {
        let values = BTreeMap::from([("p".to_owned(), TemplateValue { val: Some(val) })]);
        template_params(&values).map(|mut params| params.remove("p").unwrap_or_default())
    }

    #[test]
    fn values_keep_their_types_and_lists_their_order() {
        let longs = Data::LongData(LongArray { data: vec![3, 1] });
        let doubles = Data::DoubleData(DoubleArray { data: vec![2.0] });
        for (val, expected) in [
            (Val::BoolVal(true), json!(true)),
            (Val::Int64Val(i64::MIN), json!(i64::MIN)),
            (Val::FloatVal(2.0), json!(2.0)),
            (Val::StringVal("ä".to_owned()), json!("ä")),
            (Val::ArrayVal(TemplateArrayValue { data: Some(longs) }), json!([3, 1])),
            (Val::ArrayVal(TemplateArrayValue { data: Some(doubles) }), json!([2.0])),
            (Val::ArrayVal(TemplateArrayValue { data: None }), json!([])),
        ] {
            assert_eq!(one(val).unwrap(), expected);
        }
        for refused in [Val::FloatVal(f64::NAN), Val::BytesVal(Bytes::new())] {
            assert!(one(refused).unwrap_err().message.contains("template parameter p"));
        }
    }
}

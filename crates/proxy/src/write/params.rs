//! Values of template parameters, from messages to the words of the filter language.

use elanus_filter::{Params, Value};
use elanus_proto::schema::{TemplateArrayValue, TemplateValue, template_array_value::Data, template_value::Val};
use elanus_types::Failure;
use std::collections::BTreeMap;

pub(super) fn template_params(values: &BTreeMap<String, TemplateValue>) -> Result<Params, Failure> {
    let convert = |(name, value): (&String, &TemplateValue)| {
        let value = value.val.as_ref().and_then(single);
        let value =
            value.ok_or_else(|| Failure::invalid(format!("the value of template parameter {name} is not served")))?;
        Ok((name.clone(), value))
    };
    values.iter().map(convert).collect()
}

fn single(value: &Val) -> Option<Value> {
    Some(match value {
        Val::BoolVal(value) => Value::Bool(*value),
        Val::Int64Val(value) => Value::Int(*value),
        Val::FloatVal(value) => Value::Float(*value),
        Val::StringVal(value) => Value::Text(value.clone()),
        Val::ArrayVal(values) => list(values)?,
        Val::BytesVal(_) => return None,
    })
}

fn list(values: &TemplateArrayValue) -> Option<Value> {
    let Some(data) = &values.data else {
        return Some(Value::List(Vec::new()));
    };
    Some(Value::List(match data {
        Data::BoolData(values) => values.data.iter().copied().map(Value::Bool).collect(),
        Data::LongData(values) => values.data.iter().copied().map(Value::Int).collect(),
        Data::DoubleData(values) => values.data.iter().copied().map(Value::Float).collect(),
        Data::StringData(values) => values.data.iter().cloned().map(Value::Text).collect(),
        Data::ArrayData(values) => values.data.iter().map(list).collect::<Option<_>>()?,
        Data::JsonData(values) => values.data.iter().map(|bytes| json(bytes)).collect::<Option<_>>()?,
    }))
}

fn json(bytes: &[u8]) -> Option<Value> {
    Some(match serde_json::from_slice(bytes).ok()? {
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Float(number.as_f64()?),
        },
        serde_json::Value::String(value) => Value::Text(value),
        _ => return None,
    })
}

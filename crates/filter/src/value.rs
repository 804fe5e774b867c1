//! Constants of the language and how two of them compare.

use elanus_types::Failure;
use std::{cmp::Ordering, collections::BTreeMap};

/// Values of the template parameters of an expression, by name.
pub type Params = BTreeMap<String, Value>;

/// A constant in an expression, or the value of a template parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// true or false
    Bool(bool),
    /// A whole number
    Int(i64),
    /// A number with a fraction
    Float(f64),
    /// A string
    Text(String),
    /// What may stand after `in`
    List(Vec<Value>),
}

/// A value that can be compared, wherever it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

impl TryFrom<serde_json::Value> for Value {
    type Error = UnservedValue;

    /// # Errors
    /// For null, an object, and a number that neither 64-bit type holds; also inside a list.
    fn try_from(value: serde_json::Value) -> Result<Self, UnservedValue> {
        use serde_json::Value as Json;
        Ok(match value {
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => Self::Float(number.as_f64().ok_or(UnservedValue)?),
            },
            Json::String(value) => Self::Text(value),
            Json::Array(values) => Self::List(values.into_iter().map(Self::try_from).collect::<Result<_, _>>()?),
            Json::Null | Json::Object(_) => return Err(UnservedValue),
        })
    }
}

/// Parameters from JSON, as they arrive with a request.
///
/// # Errors
/// 1100 with the name of the first one that no expression can use.
pub fn params_from_json(values: BTreeMap<String, serde_json::Value>) -> Result<Params, Failure> {
    let convert = |(name, value): (String, serde_json::Value)| match Value::try_from(value) {
        Ok(value) => Ok((name, value)),
        Err(error) => Err(Failure::invalid(format!("template parameter {name}: {error}"))),
    };
    values.into_iter().map(convert).collect()
}

/// A JSON value that is no constant of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is neither a bool, a number, a text nor a list of these")]
pub struct UnservedValue;

impl Value {
    pub(crate) fn bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    pub(crate) fn int(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    pub(crate) fn text(&self) -> Option<String> {
        if let Self::Text(value) = self { Some(value.clone()) } else { None }
    }

    /// Nothing for a list.
    pub(crate) fn scalar(&self) -> Option<Scalar<'_>> {
        Some(match self {
            Self::Bool(value) => Scalar::Bool(*value),
            Self::Int(value) => Scalar::Int(*value),
            Self::Float(value) => Scalar::Float(*value),
            Self::Text(value) => Scalar::Text(value),
            Self::List(_) => return None,
        })
    }
}

impl Value {
    /// True when the JSON value is this one; numbers are equal by value, lists element by element.
    pub(crate) fn is(&self, json: &serde_json::Value) -> bool {
        match (self, json) {
            (Self::List(values), serde_json::Value::Array(elements)) => {
                values.len() == elements.len() && values.iter().zip(elements).all(|(value, element)| value.is(element))
            }
            (Self::List(_), _) => false,
            (value, json) => {
                let order = value.scalar().zip(Scalar::from_json(json)).and_then(|(a, b)| a.compare(b));
                order.is_some_and(std::cmp::Ordering::is_eq)
            }
        }
    }

    /// True when NaN is in it.
    pub(crate) fn has_nan(&self) -> bool {
        match self {
            Self::Float(value) => value.is_nan(),
            Self::List(values) => values.iter().any(Self::has_nan),
            _ => false,
        }
    }
}

impl<'a> Scalar<'a> {
    /// Nothing for null, arrays and objects.
    pub(crate) fn from_json(value: &'a serde_json::Value) -> Option<Self> {
        Some(match value {
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => Self::Float(number.as_f64()?),
            },
            serde_json::Value::String(value) => Self::Text(value),
            _ => return None,
        })
    }

    pub(crate) fn bool(self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(value) } else { None }
    }

    pub(crate) fn int(self) -> Option<i64> {
        if let Self::Int(value) = self { Some(value) } else { None }
    }

    pub(crate) fn text(self) -> Option<&'a str> {
        if let Self::Text(value) = self { Some(value) } else { None }
    }

    pub(crate) fn number(self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// Nothing when the types cannot be compared.
    pub(crate) fn compare(self, other: Scalar<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(left), Scalar::Bool(right)) => Some(left.cmp(&right)),
            (Self::Int(left), Scalar::Int(right)) => Some(left.cmp(&right)),
            (Self::Text(left), Scalar::Text(right)) => Some(left.cmp(right)),
            _ => self.number()?.partial_cmp(&other.number()?),
        }
    }
}

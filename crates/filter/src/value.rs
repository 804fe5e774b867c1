//! Constants of the language and how two of them compare.

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

//! What DataFusion's own expressions do not offer, as scalar functions: arithmetic that never fails on a row, IEEE floats, and
//! JSON paths. A function sees columns of the types that the type check promised it.

use crate::{
    parse::{Among, Arithmetic, Comparison, Step},
    value::{Scalar, Value},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray},
    datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type},
};
use datafusion_common::{Result, config::ConfigOptions};
use datafusion_expr::{ColumnarValue, Volatility, create_udf};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use std::{cmp::Ordering, sync::Arc};

pub(crate) type Expr = Arc<dyn PhysicalExpr>;

/// What a JSON path is asked for. Whatever the value at the path cannot answer is null.
pub(crate) enum Ask {
    Number,
    Text,
    /// Never null: a path that leads nowhere, or to a JSON null, does not exist.
    Exists,
    Compare(Comparison, Value),
    In(Vec<Value>, bool),
    /// Of a list: does it hold these?
    Contains(Among, Vec<Value>),
    /// Of a list.
    Length,
}

pub(crate) fn call(
    name: &str,
    arguments: Vec<Expr>,
    returns: DataType,
    function: impl Fn(&[ArrayRef]) -> ArrayRef + Send + Sync + 'static,
) -> Expr {
    let over_columns = move |values: &[ColumnarValue]| -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array(function(&ColumnarValue::values_to_arrays(values)?)))
    };
    // The argument types serve DataFusion's planner, which does not see this function.
    let udf = create_udf(name, vec![], returns.clone(), Volatility::Immutable, Arc::new(over_columns));
    let field = Arc::new(Field::new(name, returns, true));
    Arc::new(ScalarFunctionExpr::new(name, Arc::new(udf), arguments, field, Arc::new(ConfigOptions::default())))
}

/// A float column as doubles that Arrow's total order compares like IEEE 754: one zero, and null for NaN.
pub(crate) fn float(column: Expr) -> Expr {
    call("float", vec![column], DataType::Float64, |columns| {
        let tame = |value: f64| (!value.is_nan()).then_some(value + 0.0);
        let floats: Float64Array = match columns[0].data_type() {
            DataType::Float32 => columns[0].as_primitive::<Float32Type>().unary_opt(|value| tame(value.into())),
            _ => columns[0].as_primitive::<Float64Type>().unary_opt(tame),
        };
        Arc::new(floats)
    })
}

/// Both sides are `Int64` when `whole`, otherwise both are `Float64`.
pub(crate) fn arithmetic(operator: Arithmetic, left: Expr, right: Expr, whole: bool) -> Expr {
    if whole {
        return call("arithmetic", vec![left, right], DataType::Int64, move |columns| {
            let [left, right] = [0, 1].map(|side: usize| columns[side].as_primitive::<Int64Type>());
            Arc::new(left.iter().zip(right).map(|(a, b)| int(operator, a?, b?)).collect::<Int64Array>())
        });
    }
    call("arithmetic", vec![left, right], DataType::Float64, move |columns| {
        let [left, right] = [0, 1].map(|side: usize| columns[side].as_primitive::<Float64Type>());
        Arc::new(left.iter().zip(right).map(|(a, b)| double(operator, a?, b?)).collect::<Float64Array>())
    })
}

/// Nothing where the result is no 64-bit integer.
pub(crate) fn int(operator: Arithmetic, a: i64, b: i64) -> Option<i64> {
    match operator {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => a.checked_div(b),
        // i64::MIN % -1 is 0, which checked_rem refuses.
        Arithmetic::Modulo if b == -1 => Some(0),
        Arithmetic::Modulo => a.checked_rem(b),
        Arithmetic::Power => None,
    }
}

/// Nothing where the result is no number.
pub(crate) fn double(operator: Arithmetic, a: f64, b: f64) -> Option<f64> {
    let result = match operator {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Modulo => a % b,
        Arithmetic::Power => a.powf(b),
    };
    (!result.is_nan()).then_some(result + 0.0)
}

pub(crate) fn holds(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

/// The answer of every document in `column` at `steps`.
pub(crate) fn json(column: Expr, steps: Vec<Step>, ask: Ask) -> Expr {
    let returns = match ask {
        Ask::Number => DataType::Float64,
        Ask::Text => DataType::Utf8,
        Ask::Length => DataType::Int64,
        Ask::Exists | Ask::Compare(..) | Ask::In(..) | Ask::Contains(..) => DataType::Boolean,
    };
    call("json_path", vec![column], returns, move |columns| {
        let documents = columns[0].as_string::<i32>().iter();
        let found = documents.map(|document| find(document?, &steps));
        match &ask {
            Ask::Number => {
                Arc::new(found.map(|v| Some(Scalar::from_json(&v?)?.number()? + 0.0)).collect::<Float64Array>())
            }
            Ask::Text => Arc::new(found.map(|v| Some(v?.as_str()?.to_owned())).collect::<StringArray>()),
            Ask::Exists => Arc::new(found.map(|v| Some(v.is_some())).collect::<BooleanArray>()),
            Ask::Compare(comparison, Value::List(list)) => Arc::new(
                found
                    .map(|v| Some(equal_lists(&v?, list)? == (*comparison == Comparison::Equal)))
                    .collect::<BooleanArray>(),
            ),
            Ask::Compare(comparison, value) => Arc::new(
                found
                    .map(|v| Some(holds(*comparison, Scalar::from_json(&v?)?.compare(value.scalar()?)?)))
                    .collect::<BooleanArray>(),
            ),
            Ask::Contains(among, values) => Arc::new(
                found
                    .map(|v| {
                        let v = v?;
                        let elements = v.as_array()?;
                        Some(among.holds(values, |value| elements.iter().any(|element| value.is(element))))
                    })
                    .collect::<BooleanArray>(),
            ),
            Ask::Length => Arc::new(found.map(|v| i64::try_from(v?.as_array()?.len()).ok()).collect::<Int64Array>()),
            Ask::In(list, negated) => {
                Arc::new(found.map(|v| Some(among(&v?, list)? != *negated)).collect::<BooleanArray>())
            }
        }
    })
}

/// The value at a path; nothing for a JSON null and for what is no JSON.
fn find(document: &str, steps: &[Step]) -> Option<serde_json::Value> {
    let mut root: serde_json::Value = serde_json::from_str(document).ok()?;
    let mut value = &mut root;
    for step in steps {
        value = match step {
            Step::Key(key) => value.as_object_mut()?.get_mut(key)?,
            Step::Index(index) => value.as_array_mut()?.get_mut(*index)?,
        };
    }
    Some(value.take()).filter(|value| !value.is_null())
}

impl Among {
    /// Whether a list that has what `has` says answers with yes.
    pub(crate) fn holds<T>(self, values: &[T], has: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::One | Self::All => values.iter().all(has),
            Self::Any => values.iter().any(has),
        }
    }
}

/// Nothing when the value is no list.
fn equal_lists(value: &serde_json::Value, list: &[Value]) -> Option<bool> {
    let elements = value.as_array()?;
    Some(elements.len() == list.len() && list.iter().zip(elements).all(|(value, element)| value.is(element)))
}

/// Nothing when no element of the list has the type of the value.
fn among(value: &serde_json::Value, list: &[Value]) -> Option<bool> {
    let value = Scalar::from_json(value)?;
    let mut comparable = false;
    for order in list.iter().filter_map(|element| value.compare(element.scalar()?)) {
        if order.is_eq() {
            return Some(true);
        }
        comparable = true;
    }
    comparable.then_some(false)
}

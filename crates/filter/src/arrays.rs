//! Array fields: Arrow lists of scalars. A row without array gives null, and so does what is beyond its end.

use crate::{
    functions::{Expr, call},
    parse::Among,
    value::{Scalar, Value},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, StringArray},
    datatypes::{DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type},
};
use std::sync::Arc;

/// The element at `index` of every array, as the type in which expressions evaluate it.
pub(crate) fn element(column: Expr, index: usize, returns: &DataType) -> Expr {
    let as_what = returns.clone();
    call("array_element", vec![column], returns.clone(), move |columns| {
        let lists = columns[0].as_list::<i32>();
        let elements = Elements::of(lists);
        let found = (0..lists.len()).map(|row| {
            let places = places(lists, row)?;
            if index < places.len() { elements.get(places.start + index) } else { None }
        });
        match as_what {
            DataType::Boolean => Arc::new(found.map(|v| v?.bool()).collect::<BooleanArray>()) as ArrayRef,
            DataType::Int64 => Arc::new(found.map(|v| v?.int()).collect::<Int64Array>()),
            DataType::Float64 => Arc::new(found.map(|v| v?.number()).collect::<Float64Array>()),
            _ => Arc::new(found.map(|v| v?.text().map(str::to_owned)).collect::<StringArray>()),
        }
    })
}

/// Number of elements of every array.
pub(crate) fn length(column: Expr) -> Expr {
    call("array_length", vec![column], DataType::Int64, |columns| {
        let lists = columns[0].as_list::<i32>();
        let lengths = (0..lists.len()).map(|row| i64::try_from(places(lists, row)?.len()).ok());
        Arc::new(lengths.collect::<Int64Array>())
    })
}

/// Whether every array holds these values.
pub(crate) fn contains(column: Expr, among: Among, values: Vec<Value>) -> Expr {
    call("array_contains", vec![column], DataType::Boolean, move |columns| {
        let lists = columns[0].as_list::<i32>();
        let elements = Elements::of(lists);
        let holds = |row| {
            let places = places(lists, row)?;
            Some(among.holds(&values, |value| places.clone().any(|place| elements.is(place, value))))
        };
        Arc::new((0..lists.len()).map(holds).collect::<BooleanArray>())
    })
}

/// Whether every array is the list, or for `negated` is not.
pub(crate) fn equals(column: Expr, list: Vec<Value>, negated: bool) -> Expr {
    call("array_equals", vec![column], DataType::Boolean, move |columns| {
        let lists = columns[0].as_list::<i32>();
        let elements = Elements::of(lists);
        let equal = |row| {
            let mut places = places(lists, row)?;
            let equal = places.len() == list.len()
                && list.iter().all(|value| places.next().is_some_and(|p| elements.is(p, value)));
            Some(equal != negated)
        };
        Arc::new((0..lists.len()).map(equal).collect::<BooleanArray>())
    })
}

/// Where the elements of a row's array are; nothing for a row without.
fn places(lists: &ListArray, row: usize) -> Option<std::ops::Range<usize>> {
    let place = |offset: i32| usize::try_from(offset).unwrap_or_default();
    let offsets = lists.value_offsets();
    lists.is_valid(row).then(|| place(offsets[row])..place(offsets[row + 1]))
}

/// The elements of all arrays of a column.
struct Elements<'a>(&'a dyn Array);

impl<'a> Elements<'a> {
    fn of(lists: &'a ListArray) -> Self {
        Self(lists.values().as_ref())
    }

    /// Nothing for NaN and null.
    fn get(&self, place: usize) -> Option<Scalar<'a>> {
        if self.0.is_null(place) {
            return None;
        }
        let float = |value: f64| (!value.is_nan()).then_some(Scalar::Float(value + 0.0));
        Some(match self.0.data_type() {
            DataType::Boolean => Scalar::Bool(self.0.as_boolean().value(place)),
            DataType::Int8 => Scalar::Int(self.0.as_primitive::<Int8Type>().value(place).into()),
            DataType::Int16 => Scalar::Int(self.0.as_primitive::<Int16Type>().value(place).into()),
            DataType::Int32 => Scalar::Int(self.0.as_primitive::<Int32Type>().value(place).into()),
            DataType::Int64 => Scalar::Int(self.0.as_primitive::<Int64Type>().value(place)),
            DataType::Float32 => float(self.0.as_primitive::<Float32Type>().value(place).into())?,
            DataType::Float64 => float(self.0.as_primitive::<Float64Type>().value(place))?,
            DataType::Utf8 => Scalar::Text(self.0.as_string::<i32>().value(place)),
            _ => return None,
        })
    }

    fn is(&self, place: usize, value: &Value) -> bool {
        let order = self.get(place).zip(value.scalar()).and_then(|(a, b)| a.compare(b));
        order.is_some_and(std::cmp::Ordering::is_eq)
    }
}

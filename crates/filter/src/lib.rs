//! The Milvus filter language: a text, checked against a schema, becomes a mask over Arrow batches.
//!
//! ```text
//! age > 18 and color in ["red", "blue"] and not (meta["tags"][0] like "x%") and 1 < price <= 2 * cost
//! ```
//!
//! Text → tokens → tree → DataFusion expressions → mask. Pure: a filter does no I/O and keeps no
//! state. A hostile text is refused with an error; it never panics, overflows the stack, or costs more than its length.
//!
//! # What an expression means
//!
//! * **Three-valued logic, as in SQL.** A comparison with null is unknown, `not` unknown is unknown, and a row for which the
//!   whole is unknown does not match. `x in []` is false and `x not in []` is true, whatever x is.
//! * **Numbers** of all types compare by value. A constant is rounded to 32 bits before it meets a `Float` field. Integers
//!   divide without fraction; `**` gives a float; there is one zero, also as a divisor. An integer result out of 64 bits,
//!   a division of integers by zero, and NaN are unknown. A constant zero as divisor is refused.
//! * **Other types** compare with their like only; booleans have no order; vectors and whole JSON documents do not compare.
//! * **JSON paths** (`meta["a"][0]`, `$meta["a"]`, or a name that is no field where the collection has a dynamic field)
//!   compare with constants. The comparison is unknown when the path leads nowhere, to null, or to a value of another
//!   type: such a row matches neither `==` nor `!=`, nor the negation of either. `in` with a list of mixed types is unknown
//!   when no element has the type of the value. In arithmetic, numbers in JSON are floats.
//! * **`exists path`** and **`path is not null`** are the same: the path leads to a value that is not
//!   null. They are never unknown. An index is a step into an array only, a key into an object only.
//! * **`like`**: `%` is any text, `_` any one character, `\%` and `\_` are themselves. Letters differ by case.
//! * **Lists**: array fields, and lists in JSON documents. `array_contains(x, v)` (or `json_contains`, the same),
//!   `…_contains_all(x, [..])` and `…_contains_any(x, [..])` look for elements, which compare by value as everywhere; a list
//!   in JSON may hold lists. All of nothing is true, any of nothing is false. `array_length(x)` is a number, `x[0]` an
//!   element (of an array field with its type), `x == [..]` and `!=` compare whole lists. All of it is unknown for a row
//!   without list and, for `x[n]`, beyond its end.
//! * **`not`** (or `!`) binds weaker than comparisons: `not a == 1` is `not (a == 1)`.

mod arrays;
mod columns;
mod compile;
mod error;
mod functions;
mod lex;
mod parse;
mod value;

pub use error::{FilterError, MaskError, Position};
pub use value::{Params, UnservedValue, Value, params_from_json};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    compute::prep_null_mask_filter,
    datatypes::SchemaRef,
};
use compile::{Compiler, Predicate};
use elanus_types::schema::{CollectionSchema, DataType, FieldSchema};
use error::Fault;
use parse::{Comparison, Kind, Node};
use std::sync::Arc;

/// Longest expression, in bytes. Deletes by key arrive as `id in [1, 2, …]`: this is about 100,000 keys.
pub const EXPRESSION_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Primary keys of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PkList {
    /// Keys of an int64 field
    Ints(Vec<i64>),
    /// Keys of a varchar field
    Strings(Vec<String>),
}

/// A condition on the rows of a collection.
#[derive(Clone, Debug)]
pub struct Filter {
    predicate: Predicate,
    columns: Vec<FieldSchema>,
    input: SchemaRef,
    primary_keys: Option<PkList>,
}

impl Filter {
    /// Reads an expression; a blank one matches every row.
    ///
    /// # Errors
    /// When the text is no expression, or none that fits the schema.
    pub fn parse(text: &str, schema: &CollectionSchema, params: &Params) -> Result<Self, FilterError> {
        Self::build(text, schema, params).map_err(|fault| fault.place(text))
    }

    fn build(text: &str, schema: &CollectionSchema, params: &Params) -> Result<Self, Fault> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(Fault::new(0, format!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes")));
        }
        let mut compiler = Compiler::new(schema);
        let (predicate, primary_keys) = if text.trim().is_empty() {
            (Predicate::Known(true), None)
        } else {
            let node = parse::parse(text, params)?;
            (compiler.predicate(&node)?, primary_keys(&node, schema.primary_key()))
        };
        let input = Arc::new(columns::input_schema(&compiler.columns));
        Ok(Self { predicate, columns: compiler.columns, input, primary_keys })
    }

    /// The fields that [`mask`](Self::mask) reads.
    #[must_use]
    pub fn columns(&self) -> &[FieldSchema] {
        &self.columns
    }

    /// True when every row matches.
    #[must_use]
    pub fn is_always_true(&self) -> bool {
        matches!(self.predicate, Predicate::Known(true))
    }

    /// The keys, in the order and as often as written, when the expression is no more than `pk == x` or `pk in [..]`.
    #[must_use]
    pub fn primary_keys(&self) -> Option<&PkList> {
        self.primary_keys.as_ref()
    }

    /// Tells for each row whether it matches; the mask has no nulls. The batch has the columns by name, in any order, and maybe others.
    ///
    /// # Errors
    /// When the batch lacks a column or has one of another type.
    pub fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray, MaskError> {
        let rows = batch.num_rows();
        let expr = match &self.predicate {
            Predicate::Known(value) => return Ok(BooleanArray::from(vec![*value; rows])),
            Predicate::Rows(expr) => expr,
        };
        let mask = expr.evaluate(&columns::pick(&self.input, batch)?)?.into_array(rows)?;
        let mask = mask.as_boolean();
        Ok(if mask.nulls().is_some() { prep_null_mask_filter(mask) } else { mask.clone() })
    }
}

fn primary_keys(node: &Node, field: &FieldSchema) -> Option<PkList> {
    let is_key =
        |node: &Node| matches!(&node.kind, Kind::Path { name, steps } if *name == field.name && steps.is_empty());
    let values = match &node.kind {
        Kind::In { value, list, negated: false } if is_key(value) => list.as_slice(),
        Kind::Compare(Comparison::Equal, pair) => match &pair[..] {
            [key, Node { kind: Kind::Constant(value), .. }] | [Node { kind: Kind::Constant(value), .. }, key]
                if is_key(key) =>
            {
                std::slice::from_ref(value)
            }
            _ => return None,
        },
        _ => return None,
    };
    match field.data_type {
        DataType::VarChar => values.iter().map(Value::text).collect::<Option<_>>().map(PkList::Strings),
        _ => values.iter().map(Value::int).collect::<Option<_>>().map(PkList::Ints),
    }
}

//! Type check of a syntax tree against a schema, and its translation to DataFusion expressions.
//!
//! Whole numbers are evaluated as `Int64`, all others as `Float64`. Whatever needs no row is decided here.

use crate::{
    arrays, columns,
    error::Fault,
    functions::{self, Ask, Expr},
    parse::{Among, Arithmetic, Comparison, Kind, Node, Step},
    value::{Scalar, Value},
};
use arrow::{
    array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray},
    compute::kernels::comparison::like,
    datatypes::DataType as ArrowType,
};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use elanus_types::schema::{CollectionSchema, DataType, FieldSchema};
use std::sync::Arc;

/// A condition: the same for every row, or an expression of type Boolean.
#[derive(Clone, Debug)]
pub(crate) enum Predicate {
    Known(bool),
    Rows(Expr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Bool,
    Int,
    Float,
    Text,
}

#[derive(Clone)]
enum Operand {
    Constant(Value),
    /// Its type is not known before it is used.
    Json {
        column: Expr,
        steps: Vec<Step>,
    },
    /// A whole array field, with the type of its elements.
    Array {
        column: Expr,
        ty: Type,
        single: bool,
    },
    Rows {
        expr: Expr,
        ty: Type,
        /// A field of 32-bit floats: constants are rounded to 32 bits before they meet it, else `f == 0.1` would never hold.
        single: bool,
    },
}

/// Collects the columns that the compiled expression refers to by position.
pub(crate) struct Compiler<'a> {
    schema: &'a CollectionSchema,
    pub(crate) columns: Vec<FieldSchema>,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(schema: &'a CollectionSchema) -> Self {
        Self { schema, columns: Vec::new() }
    }

    pub(crate) fn predicate(&mut self, node: &Node) -> Result<Predicate, Fault> {
        match &node.kind {
            Kind::All(nodes) => self.junction(nodes, Operator::And),
            Kind::Any(nodes) => self.junction(nodes, Operator::Or),
            Kind::Not(inner) => Ok(match self.predicate(inner)? {
                Predicate::Known(value) => Predicate::Known(!value),
                Predicate::Rows(expr) => Predicate::Rows(Arc::new(NotExpr::new(expr))),
            }),
            Kind::Compare(comparison, pair) => {
                let [left, right] = [self.operand(&pair[0])?, self.operand(&pair[1])?];
                compare(node.at, *comparison, left, right)
            }
            Kind::Range(three, [first, second]) => {
                let [left, middle, right] =
                    [self.operand(&three[0])?, self.operand(&three[1])?, self.operand(&three[2])?];
                let bounds =
                    [compare(node.at, *first, left, middle.clone())?, compare(node.at, *second, middle, right)?];
                Ok(join(bounds.into(), Operator::And))
            }
            Kind::In { value, list, negated } => self.in_list(value, list, *negated),
            Kind::Like { value, pattern } => self.like(node.at, value, pattern),
            Kind::IsNull { value, negated } => self.is_null(value, *negated),
            Kind::Exists(value) => match self.operand(value)? {
                Operand::Json { column, steps } => Ok(Predicate::Rows(functions::json(column, steps, Ask::Exists))),
                _ => Err(Fault::new(value.at, "'exists' needs a key of a JSON field, as in exists meta[\"a\"]")),
            },
            Kind::Contains { list, among, values } => self.contains(node.at, list, *among, values),
            Kind::Constant(_) | Kind::Path { .. } | Kind::Arithmetic(..) | Kind::Length(_) => match self
                .operand(node)?
            {
                Operand::Constant(Value::Bool(value)) => Ok(Predicate::Known(value)),
                Operand::Rows { expr, ty: Type::Bool, .. } => Ok(Predicate::Rows(expr)),
                other => {
                    Err(Fault::new(node.at, format!("predicate is not a boolean expression: it is {}", name(&other))))
                }
            },
        }
    }

    fn junction(&mut self, nodes: &[Node], operator: Operator) -> Result<Predicate, Fault> {
        let parts = nodes.iter().map(|node| self.predicate(node)).collect::<Result<_, _>>()?;
        Ok(join(parts, operator))
    }

    fn operand(&mut self, node: &Node) -> Result<Operand, Fault> {
        match &node.kind {
            Kind::Constant(value) if value.has_nan() => Err(Fault::new(node.at, "NaN is no constant")),
            Kind::Constant(value) => Ok(Operand::Constant(value.clone())),
            Kind::Path { name, steps } => self.path(node.at, name, steps),
            Kind::Arithmetic(operator, pair) => {
                let [left, right] = [self.operand(&pair[0])?, self.operand(&pair[1])?];
                arithmetic(node.at, *operator, left, right)
            }
            Kind::Length(list) => {
                let expr = match self.list(list, "array_length")? {
                    Operand::Json { column, steps } => functions::json(column, steps, Ask::Length),
                    Operand::Array { column, .. } => arrays::length(column),
                    other => return Err(no_list(list.at, "array_length", &other)),
                };
                Ok(Operand::Rows { expr, ty: Type::Int, single: false })
            }
            _ => Ok(match self.predicate(node)? {
                Predicate::Known(value) => Operand::Constant(Value::Bool(value)),
                Predicate::Rows(expr) => Operand::Rows { expr, ty: Type::Bool, single: false },
            }),
        }
    }

    fn path(&mut self, at: usize, name: &str, steps: &[Step]) -> Result<Operand, Fault> {
        let Some(field) = self.schema.field(name) else {
            // A name that is no field is a key of the dynamic field.
            let dynamic =
                self.schema.dynamic_field().ok_or_else(|| Fault::new(at, format!("field {name} not exist")))?;
            let steps = [&[Step::Key(name.to_owned())], steps].concat();
            return Ok(Operand::Json { column: self.column(dynamic), steps });
        };
        if let (DataType::Array, Some(element)) = (field.data_type, field.element_type) {
            return self.array(at, field, element, steps);
        }
        let ty = match field.data_type {
            DataType::Json if steps.is_empty() => {
                let hint = format!("field {name} is a JSON document: name a key of it, as in {name}[\"key\"]");
                return Err(Fault::new(at, hint));
            }
            DataType::Json => {
                return Ok(Operand::Json { column: self.column(field), steps: steps.to_vec() });
            }
            _ if !steps.is_empty() => return Err(Fault::new(at, format!("field {name} is no JSON field"))),
            _ => Type::of(field.data_type)
                .ok_or_else(|| Fault::new(at, format!("field {name} is a vector, a filter cannot use it")))?,
        };
        let column = self.column(field);
        let expr = match field.data_type {
            DataType::Int8 | DataType::Int16 | DataType::Int32 => cast(column, ArrowType::Int64),
            DataType::Float | DataType::Double => functions::float(column),
            _ => column,
        };
        Ok(Operand::Rows { expr, ty, single: field.data_type == DataType::Float })
    }

    /// An array field, or one of its elements.
    fn array(&mut self, at: usize, field: &FieldSchema, element: DataType, steps: &[Step]) -> Result<Operand, Fault> {
        let name = &field.name;
        let wrong = || Fault::new(at, format!("field {name} is an array of a type that a filter cannot use"));
        let (ty, single) = (Type::of(element).ok_or_else(wrong)?, element == DataType::Float);
        match steps {
            [] => Ok(Operand::Array { column: self.column(field), ty, single }),
            [Step::Index(index)] => {
                let expr = arrays::element(self.column(field), *index, &ty.arrow());
                Ok(Operand::Rows { expr, ty, single })
            }
            _ => Err(Fault::new(at, format!("field {name} is an array: name one element, as in {name}[0]"))),
        }
    }

    /// What functions of lists are given: an array field, a whole JSON document, or a key of one.
    fn list(&mut self, node: &Node, function: &str) -> Result<Operand, Fault> {
        let Kind::Path { name, steps } = &node.kind else {
            return Err(Fault::new(node.at, format!("{function} needs an array field or a key of a JSON field")));
        };
        match self.schema.field(name).filter(|field| field.data_type == DataType::Json) {
            Some(field) => Ok(Operand::Json { column: self.column(field), steps: steps.clone() }),
            None => self.path(node.at, name, steps),
        }
    }

    fn contains(&mut self, at: usize, list: &Node, among: Among, values: &[Value]) -> Result<Predicate, Fault> {
        if values.iter().any(Value::has_nan) {
            return Err(Fault::new(at, "NaN is no constant"));
        }
        match self.list(list, "contains")? {
            Operand::Json { column, steps } => {
                Ok(Predicate::Rows(functions::json(column, steps, Ask::Contains(among, values.to_vec()))))
            }
            Operand::Array { column, ty, single } => {
                let values = elements(at, ty, single, values)?;
                Ok(Predicate::Rows(arrays::contains(column, among, values)))
            }
            other => Err(no_list(list.at, "contains", &other)),
        }
    }

    fn column(&mut self, field: &FieldSchema) -> Expr {
        let known = self.columns.iter().position(|column| column.id == field.id);
        let index = known.unwrap_or_else(|| {
            self.columns.push(field.clone());
            self.columns.len() - 1
        });
        Arc::new(Column::new(&field.name, index))
    }

    fn in_list(&mut self, value: &Node, list: &[Value], negated: bool) -> Result<Predicate, Fault> {
        let operand = self.operand(value)?;
        if list.iter().any(|element| matches!(element, Value::Float(float) if float.is_nan())) {
            return Err(Fault::new(value.at, "NaN is no constant"));
        }
        let (expr, ty, single) = match operand {
            Operand::Constant(_) => return Err(Fault::new(value.at, "the left side of 'in' must not be a constant")),
            Operand::Array { .. } => {
                return Err(Fault::new(value.at, "an array cannot be in a list, use array_contains or one element"));
            }
            _ if list.is_empty() => return Ok(Predicate::Known(negated)),
            Operand::Json { column, steps } => {
                let ask = Ask::In(list.to_vec(), negated);
                return Ok(Predicate::Rows(functions::json(column, steps, ask)));
            }
            Operand::Rows { expr, ty, single } => (expr, ty, single),
        };
        let common = list.iter().try_fold(ty, |ty, element| {
            common_type(ty, type_of(element)).ok_or_else(|| {
                Fault::new(value.at, format!("{} cannot be in a list with {}", ty.name(), type_of(element).name()))
            })
        })?;
        let elements: ArrayRef = match common {
            Type::Bool => Arc::new(list.iter().map(Value::bool).collect::<BooleanArray>()),
            Type::Int => Arc::new(list.iter().map(Value::int).collect::<Int64Array>()),
            Type::Float => Arc::new(list.iter().map(|v| Some(float_of(v, single))).collect::<Float64Array>()),
            Type::Text => Arc::new(list.iter().map(Value::text).collect::<StringArray>()),
        };
        let expr = if common == ty { expr } else { cast(expr, ArrowType::Float64) };
        let listed = InListExpr::try_new_from_array(expr, elements, negated, &columns::input_schema(&self.columns));
        Ok(Predicate::Rows(Arc::new(listed.map_err(|error| Fault::new(value.at, error.to_string()))?)))
    }

    fn like(&mut self, at: usize, value: &Node, pattern: &str) -> Result<Predicate, Fault> {
        let expr = match self.operand(value)? {
            Operand::Json { column, steps } => functions::json(column, steps, Ask::Text),
            Operand::Rows { expr, ty: Type::Text, .. } => expr,
            other => {
                return Err(Fault::new(value.at, format!("'like' needs a string, not {}", name(&other))));
            }
        };
        // The pattern becomes an automaton of bounded size: it is tried here, where the user can be told.
        let tried = like(&StringArray::from(vec![""]), &StringArray::new_scalar(pattern));
        tried.map_err(|_| Fault::new(at, "the pattern of 'like' is too large"))?;
        Ok(Predicate::Rows(Arc::new(LikeExpr::new(false, false, expr, literal(ScalarValue::from(pattern))))))
    }

    fn is_null(&mut self, value: &Node, negated: bool) -> Result<Predicate, Fault> {
        let Kind::Path { name, steps } = &value.kind else {
            return Err(Fault::new(value.at, "'is null' needs a field or a key of a JSON field"));
        };
        // A field by itself is asked as it is stored: NaN is a value, and a whole document may be null.
        if let Some(field) = self.schema.field(name).filter(|f| steps.is_empty() && !f.data_type.is_vector()) {
            let column = self.column(field);
            return Ok(Predicate::Rows(if negated {
                Arc::new(IsNotNullExpr::new(column))
            } else {
                Arc::new(IsNullExpr::new(column))
            }));
        }
        let Operand::Json { column, steps } = self.path(value.at, name, steps)? else {
            return Err(Fault::new(value.at, "'is null' needs a field or a key of a JSON field"));
        };
        let exists = functions::json(column, steps, Ask::Exists);
        Ok(Predicate::Rows(if negated { exists } else { Arc::new(NotExpr::new(exists)) }))
    }
}

/// Constants that are compared with the elements of an array.
fn elements(at: usize, ty: Type, single: bool, values: &[Value]) -> Result<Vec<Value>, Fault> {
    let element = |value: &Value| match (value, ty) {
        (Value::List(_), _) => Err(Fault::new(at, "an array field holds no lists")),
        (value, _) if common_type(ty, type_of(value)).is_none() => {
            Err(Fault::new(at, format!("{} cannot be in an array of {}s", type_of(value).name(), ty.noun())))
        }
        (value, Type::Float) => Ok(Value::Float(float_of(value, single))),
        (value, _) => Ok(value.clone()),
    };
    values.iter().map(element).collect()
}

fn no_list(at: usize, function: &str, operand: &Operand) -> Fault {
    let text = format!("{function} needs an array field or a key of a JSON field, not {}", name(operand));
    Fault::new(at, text)
}

impl Type {
    /// Nothing for what is no scalar.
    fn of(data_type: DataType) -> Option<Self> {
        match data_type {
            DataType::Bool => Some(Self::Bool),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(Self::Int),
            DataType::Float | DataType::Double => Some(Self::Float),
            DataType::VarChar => Some(Self::Text),
            _ => None,
        }
    }

    /// The type in which it is evaluated.
    fn arrow(self) -> ArrowType {
        match self {
            Self::Bool => ArrowType::Boolean,
            Self::Int => ArrowType::Int64,
            Self::Float => ArrowType::Float64,
            Self::Text => ArrowType::Utf8,
        }
    }

    fn noun(self) -> &'static str {
        self.name().split_once(' ').map_or("", |(_, noun)| noun)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Int => "an integer",
            Self::Float => "a float",
            Self::Text => "a string",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float)
    }
}

fn name(operand: &Operand) -> &'static str {
    match operand {
        Operand::Constant(Value::List(_)) => "a list",
        Operand::Array { .. } => "an array, which needs a function or an index",
        Operand::Constant(value) => type_of(value).name(),
        Operand::Json { .. } => "a JSON value, which needs a comparison",
        Operand::Rows { ty, .. } => ty.name(),
    }
}

/// Of a scalar; lists are told apart before.
fn type_of(value: &Value) -> Type {
    match value.scalar() {
        Some(Scalar::Bool(_)) => Type::Bool,
        Some(Scalar::Int(_)) => Type::Int,
        Some(Scalar::Float(_)) => Type::Float,
        Some(Scalar::Text(_)) | None => Type::Text,
    }
}

fn common_type(left: Type, right: Type) -> Option<Type> {
    if left == right { Some(left) } else { (left.is_number() && right.is_number()).then_some(Type::Float) }
}

fn literal(value: ScalarValue) -> Expr {
    Arc::new(Literal::new(value))
}

fn cast(expr: Expr, to: ArrowType) -> Expr {
    Arc::new(CastExpr::new(expr, to, None))
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Expr {
    Arc::new(BinaryExpr::new(left, operator, right))
}

/// Joins conditions as a balanced tree, so that a long chain does not become a deep one.
fn join(parts: Vec<Predicate>, operator: Operator) -> Predicate {
    // What decides the whole, whatever the other parts are.
    let decisive = operator == Operator::Or;
    let mut exprs = Vec::new();
    for part in parts {
        match part {
            Predicate::Known(value) if value == decisive => return Predicate::Known(decisive),
            Predicate::Known(_) => {}
            Predicate::Rows(expr) => exprs.push(expr),
        }
    }
    while exprs.len() > 1 {
        let pair = |pair: &[Expr]| match pair {
            [left, right] => binary(left.clone(), operator, right.clone()),
            odd => odd[0].clone(),
        };
        exprs = exprs.chunks(2).map(pair).collect();
    }
    exprs.pop().map_or(Predicate::Known(!decisive), Predicate::Rows)
}

fn float_of(value: &Value, single: bool) -> f64 {
    let number = value.scalar().and_then(Scalar::number).unwrap_or_default();
    0.0 + if single { f64::from(number as f32) } else { number }
}

/// The operand as an expression of type `ty`, which is its own or the wider number.
fn widen(operand: Operand, ty: Type, single: bool) -> Expr {
    match operand {
        Operand::Constant(value) => literal(match value {
            _ if ty == Type::Float => ScalarValue::from(float_of(&value, single)),
            Value::Bool(value) => ScalarValue::from(value),
            Value::Int(value) => ScalarValue::from(value),
            Value::Text(value) => ScalarValue::from(value),
            Value::Float(_) | Value::List(_) => ScalarValue::Null,
        }),
        Operand::Json { column, steps } => functions::json(column, steps, Ask::Number),
        Operand::Rows { expr, ty: Type::Int, .. } if ty == Type::Float => cast(expr, ArrowType::Float64),
        Operand::Rows { expr, .. } | Operand::Array { column: expr, .. } => expr,
    }
}

/// A whole list with an array or a JSON value.
fn compare_list(at: usize, comparison: Comparison, list: &[Value], with: Operand) -> Result<Predicate, Fault> {
    if !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
        return Err(Fault::new(at, "lists have no order, compare them with == or !="));
    }
    match with {
        Operand::Json { column, steps } => {
            let ask = Ask::Compare(comparison, Value::List(list.to_vec()));
            Ok(Predicate::Rows(functions::json(column, steps, ask)))
        }
        Operand::Array { column, ty, single } => {
            let list = elements(at, ty, single, list)?;
            Ok(Predicate::Rows(arrays::equals(column, list, comparison == Comparison::NotEqual)))
        }
        other => Err(Fault::new(at, format!("cannot compare {} with a list", name(&other)))),
    }
}

fn compare(at: usize, comparison: Comparison, left: Operand, right: Operand) -> Result<Predicate, Fault> {
    let (left, right) = match (left, right) {
        (Operand::Constant(Value::List(list)), with) | (with, Operand::Constant(Value::List(list))) => {
            return compare_list(at, comparison, &list, with);
        }
        pair => pair,
    };
    let ordering = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    let boolean =
        |operand: &Operand| matches!(operand, Operand::Constant(Value::Bool(_)) | Operand::Rows { ty: Type::Bool, .. });
    if ordering && (boolean(&left) || boolean(&right)) {
        return Err(Fault::new(at, "booleans have no order, compare them with == or !="));
    }
    let refused =
        |left: Type, right: Type| Fault::new(at, format!("cannot compare {} with {}", left.name(), right.name()));
    let (left_type, right_type, single) = match (&left, &right) {
        (Operand::Constant(a), Operand::Constant(b)) => {
            let order = a.scalar().zip(b.scalar()).and_then(|(a, b)| a.compare(b));
            let order = order.ok_or_else(|| refused(type_of(a), type_of(b)))?;
            return Ok(Predicate::Known(functions::holds(comparison, order)));
        }
        (Operand::Json { column, steps }, Operand::Constant(value)) => {
            let ask = Ask::Compare(comparison, value.clone());
            return Ok(Predicate::Rows(functions::json(column.clone(), steps.clone(), ask)));
        }
        (Operand::Constant(_), Operand::Json { .. }) => return compare(at, mirrored(comparison), right, left),
        (Operand::Json { .. }, _) | (_, Operand::Json { .. }) => {
            return Err(Fault::new(at, "a JSON value can be compared with a constant only"));
        }
        (Operand::Array { .. }, _) | (_, Operand::Array { .. }) => {
            return Err(Fault::new(at, "an array can be compared with a list only, or by one element"));
        }
        (Operand::Rows { ty, single, .. }, Operand::Constant(value)) => (*ty, type_of(value), *single),
        (Operand::Constant(value), Operand::Rows { ty, single, .. }) => (type_of(value), *ty, *single),
        (Operand::Rows { ty: left, .. }, Operand::Rows { ty: right, .. }) => (*left, *right, false),
    };
    let common = common_type(left_type, right_type).ok_or_else(|| refused(left_type, right_type))?;
    let operator = match comparison {
        Comparison::Equal => Operator::Eq,
        Comparison::NotEqual => Operator::NotEq,
        Comparison::Less => Operator::Lt,
        Comparison::LessOrEqual => Operator::LtEq,
        Comparison::Greater => Operator::Gt,
        Comparison::GreaterOrEqual => Operator::GtEq,
    };
    Ok(Predicate::Rows(binary(widen(left, common, single), operator, widen(right, common, single))))
}

/// `a op b` as `b mirrored(op) a`.
fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Equal | Comparison::NotEqual => comparison,
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
    }
}

fn arithmetic(at: usize, operator: Arithmetic, left: Operand, right: Operand) -> Result<Operand, Fault> {
    for operand in [&left, &right] {
        let number = match operand {
            Operand::Constant(Value::List(_)) | Operand::Array { .. } => false,
            Operand::Constant(value) => type_of(value).is_number(),
            Operand::Json { .. } => true,
            Operand::Rows { ty, .. } => ty.is_number(),
        };
        if !number {
            return Err(Fault::new(at, format!("arithmetic needs numbers, not {}", name(operand))));
        }
    }
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Modulo);
    if divides && matches!(&right, Operand::Constant(value) if float_of(value, false) == 0.0) {
        return Err(Fault::new(at, "division or modulo by zero"));
    }
    let whole = operator != Arithmetic::Power
        && [&left, &right]
            .into_iter()
            .all(|operand| matches!(operand, Operand::Constant(Value::Int(_)) | Operand::Rows { ty: Type::Int, .. }));
    if let (Operand::Constant(a), Operand::Constant(b)) = (&left, &right) {
        let result = match (a, b) {
            (Value::Int(a), Value::Int(b)) if whole => functions::int(operator, *a, *b).map(Value::Int),
            _ => functions::double(operator, float_of(a, false), float_of(b, false)).map(Value::Float),
        };
        return result.map(Operand::Constant).ok_or_else(|| Fault::new(at, "the result is out of range"));
    }
    let ty = if whole { Type::Int } else { Type::Float };
    let expr = functions::arithmetic(operator, widen(left, ty, false), widen(right, ty, false), whole);
    Ok(Operand::Rows { expr, ty, single: false })
}

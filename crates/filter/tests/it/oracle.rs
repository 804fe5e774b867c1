//! Random expressions over random rows: the mask is what a naive interpreter of one row at a time says.

use crate::{FIELDS, dynamic, mask};
use elanus_types::schema::DataType;
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{TestCaseError, TestRunner},
};
use serde_json::{Value as Json, json};

const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
const TEXTS: [&str; 9] = ["", "a", "ab", "b", "a%b", "a_b", "A", "ä\nb", "b\\"];
const PATTERNS: [&str; 11] = ["", "%", "a%", "%b", "_", "a_b", "a\\%b", "%_b%", "%\\_%", "b\\\\", "%ä%"];
const PATHS: [&str; 6] = ["meta['a']", "meta['b']['c']", "meta['l'][1]", "$meta['x']", "x", "y['c']"];
const LISTS: [&str; 5] = ["ints", "singles", "texts", "meta['l']", "x"];
const INTS: [i64; 10] = [-3, -2, -1, 1, 2, 3, 127, i64::MAX, i64::MIN, 9_007_199_254_740_993];
const FLOATS: [f64; 8] = [-1.5, -0.1, 0.1, 0.5, 1.0, 2.0, 3.5, 1e300];

#[derive(Clone, Debug)]
enum Number {
    Int(i64),
    Float(f64),
    Field(&'static str),
    Path(&'static str),
    Element(&'static str),
    Length(&'static str),
    Operation(Box<Number>, &'static str, Box<Number>),
}

#[derive(Clone, Debug)]
enum Condition {
    Numbers(Number, &'static str, Number),
    Range(Number, [&'static str; 2], &'static str, Number),
    Text(&'static str, &'static str, bool),
    Path(&'static str, &'static str, Json, bool),
    PathRange(Json, [&'static str; 2], &'static str, Json),
    Flag(&'static str, bool),
    In(&'static str, Vec<Json>, bool),
    Like(&'static str, &'static str),
    IsNull(&'static str, bool),
    Exists(&'static str),
    Contains(&'static str, &'static str, Vec<Json>),
    ListIs(&'static str, &'static str, Vec<Json>),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

// --- as text

fn number_text(number: &Number) -> String {
    match number {
        // A sign binds weaker than a power.
        Number::Int(value) if *value < 0 => format!("({value})"),
        Number::Float(value) if *value < 0.0 => format!("({value:?})"),
        Number::Int(value) => value.to_string(),
        Number::Float(value) => format!("{value:?}"),
        Number::Field(name) | Number::Path(name) | Number::Element(name) => (*name).to_owned(),
        Number::Length(name) => format!("array_length({name})"),
        Number::Operation(left, operator, right) => {
            format!("({} {operator} {})", number_text(left), number_text(right))
        }
    }
}

fn constant_text(value: &Json) -> String {
    match value {
        Json::String(text) => quoted(text),
        Json::Array(values) => list_text(values),
        Json::Number(number) if number.is_f64() => format!("{:?}", number.as_f64().unwrap()),
        other => other.to_string(),
    }
}

fn list_text(values: &[Json]) -> String {
    format!("[{}]", values.iter().map(constant_text).collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\n', "\\n"))
}

fn text(condition: &Condition) -> String {
    let joined = |parts: &[Condition], by: &str| {
        parts.iter().map(|part| format!("({})", text(part))).collect::<Vec<_>>().join(by)
    };
    let not = |negated: &bool| if *negated { "not " } else { "" };
    match condition {
        Condition::Numbers(left, comparison, right) => {
            format!("{} {comparison} {}", number_text(left), number_text(right))
        }
        Condition::Range(low, [first, second], field, high) => {
            format!("{} {first} {field} {second} {}", number_text(low), number_text(high))
        }
        Condition::Text(comparison, value, true) => format!("{} {comparison} name", quoted(value)),
        Condition::Text(comparison, value, false) => format!("name {comparison} {}", quoted(value)),
        Condition::Path(path, comparison, value, true) => format!("{} {comparison} {path}", constant_text(value)),
        Condition::Path(path, comparison, value, false) => format!("{path} {comparison} {}", constant_text(value)),
        Condition::PathRange(low, [first, second], path, high) => {
            format!("{} {first} {path} {second} {}", constant_text(low), constant_text(high))
        }
        Condition::Flag(comparison, value) => format!("flag {comparison} {value}"),
        Condition::In(operand, list, negated) => {
            let list: Vec<String> = list.iter().map(constant_text).collect();
            format!("{operand} {}in [{}]", not(negated), list.join(", "))
        }
        Condition::Like(operand, pattern) => format!("{operand} like {}", quoted(pattern)),
        Condition::IsNull(operand, negated) => format!("{operand} is {}null", not(negated)),
        Condition::Exists(path) => format!("exists {path}"),
        Condition::Contains(list, function, values) if !function.contains('_') => {
            format!("json_{function}({list}, {})", constant_text(&values[0]))
        }
        Condition::Contains(list, function, values) => format!("array_{function}({list}, {})", list_text(values)),
        Condition::ListIs(list, comparison, values) => format!("{list} {comparison} {}", list_text(values)),
        Condition::Not(inner) => format!("not ({})", text(inner)),
        Condition::All(parts) => joined(parts, " and "),
        Condition::Any(parts) => joined(parts, " or "),
    }
}

// --- as one row says

/// The value at a path as written; nothing for null.
fn at(row: &Json, path: &str) -> Option<Json> {
    let (root, pointer) = match path {
        "meta['a']" => (row["meta"].clone(), "/a"),
        "meta['b']['c']" => (row["meta"].clone(), "/b/c"),
        "meta['l'][1]" => (row["meta"]["l"].as_array().map_or(Json::Null, |list| json!(list)), "/1"),
        "meta['l']" => (row["meta"].clone(), "/l"),
        "ints[0]" => (row["ints"].clone(), "/0"),
        "ints[2]" => (row["ints"].clone(), "/2"),
        "singles[0]" => (row["singles"].clone(), "/0"),
        "$meta['x']" | "x" => (dynamic(row), "/x"),
        "y['c']" => (dynamic(row), "/y/c"),
        field => return Some(row[field].clone()).filter(|value| !value.is_null()),
    };
    root.pointer(pointer).cloned().filter(|value| !value.is_null())
}

fn is_single(number: &Number) -> bool {
    matches!(number, Number::Field("f32") | Number::Element("singles[0]"))
}

#[derive(Clone, Copy)]
enum Known {
    Int(i64),
    Float(f64),
}

impl Known {
    fn float(self) -> f64 {
        match self {
            Known::Int(value) => value as f64,
            Known::Float(value) => value,
        }
    }
}

/// There is one zero, also as a divisor.
fn number(number: &Number, row: &Json) -> Option<Known> {
    Some(match signed(number, row)? {
        Known::Float(value) => Known::Float(value + 0.0),
        int => int,
    })
}

fn signed(number: &Number, row: &Json) -> Option<Known> {
    Some(match number {
        Number::Int(value) => Known::Int(*value),
        Number::Float(value) => Known::Float(*value),
        Number::Field(name @ ("f32" | "f64")) => {
            let value = at(row, name)?.as_f64()?;
            Known::Float(if *name == "f32" { f64::from(value as f32) } else { value })
        }
        Number::Element(name @ "singles[0]") => Known::Float(f64::from(at(row, name)?.as_f64()? as f32)),
        Number::Field(name) | Number::Element(name) => Known::Int(at(row, name)?.as_i64()?),
        Number::Length(name) => Known::Int(at(row, name)?.as_array()?.len() as i64),
        Number::Path(path) => Known::Float(at(row, path)?.as_f64()?),
        Number::Operation(left, operator, right) => {
            let (left, right) = (self::number(left, row)?, self::number(right, row)?);
            if let (Known::Int(a), Known::Int(b), true) = (left, right, *operator != "**") {
                let (a, b) = (i128::from(a), i128::from(b));
                let result = match *operator {
                    "+" => a + b,
                    "-" => a - b,
                    "*" => a * b,
                    _ if b == 0 => return None,
                    "/" => a / b,
                    _ => a % b,
                };
                return Some(Known::Int(i64::try_from(result).ok()?));
            }
            let (a, b) = (left.float(), right.float());
            let result = match *operator {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                "/" => a / b,
                "%" => a % b,
                _ => a.powf(b),
            };
            Known::Float(Some(result).filter(|result| !result.is_nan())?)
        }
    })
}

fn compared<T: PartialOrd>(left: &T, comparison: &str, right: &T) -> bool {
    match comparison {
        "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        _ => left >= right,
    }
}

fn numbers(left: &Number, comparison: &str, right: &Number, row: &Json) -> Option<bool> {
    let round = |operand: &Number, other: &Number| {
        let value = number(operand, row)?;
        let constant = matches!(operand, Number::Int(_) | Number::Float(_));
        Some(if constant && is_single(other) { Known::Float(f64::from(value.float() as f32)) } else { value })
    };
    match (round(left, right)?, round(right, left)?) {
        (Known::Int(a), Known::Int(b)) => Some(compared(&a, comparison, &b)),
        (a, b) => Some(compared(&a.float(), comparison, &b.float())),
    }
}

fn values(left: &Json, comparison: &str, right: &Json) -> Option<bool> {
    match (left, right) {
        (Json::Bool(a), Json::Bool(b)) => Some(compared(a, comparison, b)),
        (Json::String(a), Json::String(b)) => Some(compared(a, comparison, b)),
        (Json::Number(a), Json::Number(b)) => Some(match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => compared(&a, comparison, &b),
            _ => compared(&a.as_f64().unwrap(), comparison, &b.as_f64().unwrap()),
        }),
        _ => None,
    }
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skipped| like(&text[skipped..], rest)),
        ['_', rest @ ..] => !text.is_empty() && like(&text[1..], rest),
        ['\\', escaped, rest @ ..] => text.first() == Some(escaped) && like(&text[1..], rest),
        [c, rest @ ..] => text.first() == Some(c) && like(&text[1..], rest),
    }
}

fn same_element(list: &str, element: &Json, value: &Json) -> bool {
    match (element, value) {
        (Json::Array(elements), Json::Array(values)) => {
            elements.len() == values.len() && elements.iter().zip(values).all(|(e, v)| same_element(list, e, v))
        }
        _ if list == "singles" => element.as_f64().unwrap() as f32 == value.as_f64().unwrap() as f32,
        _ => values(element, "==", value) == Some(true),
    }
}

/// Both at once: false beats unknown, unknown beats true.
fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let parts: Vec<Option<bool>> = parts.collect();
    if parts.contains(&Some(false)) { Some(false) } else { (!parts.contains(&None)).then_some(true) }
}

fn holds(condition: &Condition, row: &Json) -> Option<bool> {
    match condition {
        Condition::Numbers(left, comparison, right) => numbers(left, comparison, right, row),
        Condition::Range(low, [first, second], field, high) => {
            let field = Number::Field(field);
            all([numbers(low, first, &field, row), numbers(&field, second, high, row)].into_iter())
        }
        Condition::Text(comparison, value, swapped) => {
            let (name, value) = (at(row, "name")?, json!(value));
            if *swapped { values(&value, comparison, &name) } else { values(&name, comparison, &value) }
        }
        Condition::Path(path, comparison, value, swapped) => {
            let found = at(row, path)?;
            if *swapped { values(value, comparison, &found) } else { values(&found, comparison, value) }
        }
        Condition::PathRange(low, [first, second], path, high) => {
            let found = at(row, path)?;
            all([values(low, first, &found), values(&found, second, high)].into_iter())
        }
        Condition::Flag(comparison, value) => values(&at(row, "flag")?, comparison, &json!(value)),
        Condition::In(_, list, negated) if list.is_empty() => Some(*negated),
        Condition::In(operand, list, negated) => {
            let field = FIELDS.iter().find(|(name, _)| name == operand && *name != "name" && *name != "flag");
            let found = at(row, operand)?;
            let equal = |element: &Json| match field {
                None => values(&found, "==", element),
                Some((name, _)) => {
                    let constant =
                        element.as_i64().map_or_else(|| Number::Float(element.as_f64().unwrap()), Number::Int);
                    // One float in the list makes all of it floats.
                    if list.iter().any(Json::is_f64) {
                        let field = number(&Number::Field(name), row)?.float();
                        let element = element.as_f64().unwrap();
                        return Some(field == if *name == "f32" { f64::from(element as f32) } else { element });
                    }
                    numbers(&Number::Field(name), "==", &constant, row)
                }
            };
            let equals: Vec<bool> = list.iter().filter_map(equal).collect();
            (!equals.is_empty()).then(|| equals.contains(&true) != *negated)
        }
        Condition::Like(operand, pattern) => {
            let value = at(row, operand)?;
            let text: Vec<char> = value.as_str()?.chars().collect();
            Some(like(&text, &pattern.chars().collect::<Vec<_>>()))
        }
        Condition::IsNull(operand, negated) => Some(at(row, operand).is_none() != *negated),
        Condition::Exists(path) => Some(at(row, path).is_some()),
        Condition::Contains(list, function, values) => {
            let found = at(row, list)?;
            let elements = found.as_array()?;
            let mut has = values.iter().map(|value| elements.iter().any(|element| same_element(list, element, value)));
            Some(if *function == "contains_any" { has.any(|has| has) } else { has.all(|has| has) })
        }
        Condition::ListIs(list, comparison, values) => {
            let found = at(row, list)?;
            let elements = found.as_array()?;
            let same = elements.len() == values.len()
                && elements.iter().zip(values).all(|(element, value)| same_element(list, element, value));
            Some(same == (*comparison == "=="))
        }
        Condition::Not(inner) => holds(inner, row).map(|value| !value),
        Condition::All(parts) => all(parts.iter().map(|part| holds(part, row))),
        Condition::Any(parts) => all(parts.iter().map(|part| holds(part, row).map(|v| !v))).map(|none| !none),
    }
}

// --- at random

fn field() -> impl Strategy<Value = &'static str> {
    select(&["id", "i8", "i16", "i32", "i64", "f32", "f64"][..])
}

fn constant() -> impl Strategy<Value = Number> {
    prop_oneof![select(&INTS[..]).prop_map(Number::Int), select(&FLOATS[..]).prop_map(Number::Float)]
}

/// Operations of constants alone are left out: they are computed, or refused, when the text is read.
fn varying() -> impl Strategy<Value = Number> {
    let leaf = prop_oneof![
        4 => field().prop_map(Number::Field),
        1 => select(&PATHS[..]).prop_map(Number::Path),
        1 => select(&["ints[0]", "ints[2]", "singles[0]"][..]).prop_map(Number::Element),
        1 => select(&LISTS[..]).prop_map(Number::Length),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let operator = select(&["+", "-", "*", "/", "%", "**"][..]);
        let other = prop_oneof![inner.clone(), constant()];
        (inner, operator, other, any::<bool>()).prop_map(|(varying, operator, other, swapped)| {
            let (left, right) = if swapped { (other, varying) } else { (varying, other) };
            Number::Operation(Box::new(left), operator, Box::new(right))
        })
    })
}

fn json_number() -> impl Strategy<Value = Json> {
    prop_oneof![select(&INTS[..]).prop_map(|v| json!(v)), select(&FLOATS[..]).prop_map(|v| json!(v))]
}

fn json_constant() -> impl Strategy<Value = Json> {
    prop_oneof![3 => json_number(), 2 => select(&TEXTS[..]).prop_map(|v| json!(v)), 1 => any::<bool>().prop_map(|v| json!(v))]
}

fn comparison() -> impl Strategy<Value = &'static str> {
    select(&COMPARISONS[..])
}

fn direction() -> impl Strategy<Value = [&'static str; 2]> {
    select(&[["<", "<="], ["<=", "<"], ["<", "<"], [">", ">="], [">=", ">="]][..])
}

fn condition() -> impl Strategy<Value = Condition> {
    let bare_path = |number: &Number| matches!(number, Number::Path(_));
    let all_fields = ["id", "flag", "i8", "i32", "f32", "f64", "name", "meta", "ints", "texts"];
    let leaf = prop_oneof![
        4 => (varying(), comparison(), prop_oneof![varying(), constant()])
            .prop_filter("a path meets constants only", move |(left, _, right)| !bare_path(left) && !bare_path(right))
            .prop_map(|(left, comparison, right)| Condition::Numbers(left, comparison, right)),
        1 => (constant(), comparison(), field())
            .prop_map(|(left, comparison, right)| Condition::Numbers(left, comparison, Number::Field(right))),
        1 => (constant(), direction(), field(), constant()).prop_map(|(a, b, c, d)| Condition::Range(a, b, c, d)),
        1 => (comparison(), select(&TEXTS[..]), any::<bool>()).prop_map(|(a, b, c)| Condition::Text(a, b, c)),
        3 => (select(&PATHS[..]), comparison(), json_constant(), any::<bool>())
            .prop_filter("booleans have no order", |(_, comparison, value, _)| {
                !value.is_boolean() || matches!(*comparison, "==" | "!=")
            })
            .prop_map(|(a, b, c, d)| Condition::Path(a, b, c, d)),
        1 => (json_number(), direction(), select(&PATHS[..]), json_number())
            .prop_map(|(a, b, c, d)| Condition::PathRange(a, b, c, d)),
        1 => (select(&["==", "!="][..]), any::<bool>()).prop_map(|(a, b)| Condition::Flag(a, b)),
        1 => (field(), prop::collection::vec(json_number(), 0..4), any::<bool>())
            .prop_map(|(a, b, c)| Condition::In(a, b, c)),
        1 => (prop::collection::vec(select(&TEXTS[..]).prop_map(|v| json!(v)), 0..4), any::<bool>())
            .prop_map(|(a, b)| Condition::In("name", a, b)),
        1 => (prop::collection::vec(any::<bool>().prop_map(|v| json!(v)), 0..3), any::<bool>())
            .prop_map(|(a, b)| Condition::In("flag", a, b)),
        1 => (select(&PATHS[..]), prop::collection::vec(json_constant(), 0..4), any::<bool>())
            .prop_map(|(a, b, c)| Condition::In(a, b, c)),
        1 => (select(&["name", "x", "meta['a']"][..]), select(&PATTERNS[..])).prop_map(|(a, b)| Condition::Like(a, b)),
        1 => (prop_oneof![select(all_fields.to_vec()), select(&PATHS[..])], any::<bool>())
            .prop_map(|(a, b)| Condition::IsNull(a, b)),
        1 => select(&PATHS[..]).prop_map(Condition::Exists),
        3 => (list_and_values(), select(&["contains", "contains_all", "contains_any"][..]))
            .prop_filter("one value, or several", |((_, values), function)| {
                function.contains('_') || !values.is_empty()
            })
            .prop_map(|((list, mut values), function)| {
                if !function.contains('_') {
                    values.truncate(1);
                }
                Condition::Contains(list, function, values)
            }),
        1 => (list_and_values(), select(&["==", "!="][..])).prop_map(|((a, c), b)| Condition::ListIs(a, b, c)),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Condition::Not(Box::new(inner))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::All),
            prop::collection::vec(inner, 2..4).prop_map(Condition::Any),
        ]
    })
}

/// A list, and values that may be in it.
fn list_and_values() -> impl Strategy<Value = (&'static str, Vec<Json>)> {
    let several = |one: BoxedStrategy<Json>| prop::collection::vec(one, 0..4);
    prop_oneof![
        (Just("ints"), several(prop_oneof![small_int(), json_float()].boxed())),
        (Just("singles"), several(prop_oneof![small_int(), json_float()].boxed())),
        (Just("texts"), several(select(&TEXTS[..]).prop_map(|v| json!(v)).boxed())),
        (
            select(&["meta['l']", "x"][..]),
            several(prop_oneof![6 => json_constant(), 1 => Just(json!([1, "a"]))].boxed())
        ),
    ]
}

fn small_int() -> impl Strategy<Value = Json> {
    (-2_i64..4).prop_map(|v| json!(v))
}

fn elements(name: &str) -> BoxedStrategy<Json> {
    let one = match name {
        "ints" => small_int().boxed(),
        "singles" => select(&[-1.5, -0.1, -0.0, 0.0, 0.1, 1.0, 2.0, 3.5][..]).prop_map(|v| json!(v)).boxed(),
        _ => select(&TEXTS[..]).prop_map(|v| json!(v)).boxed(),
    };
    prop::collection::vec(one, 0..4).prop_map(Json::Array).boxed()
}

fn value(name: &str, data_type: DataType) -> BoxedStrategy<Json> {
    let small = prop_oneof![-3_i64..4, select(&INTS[..])];
    match data_type {
        DataType::Array => elements(name),
        DataType::Bool => any::<bool>().prop_map(|v| json!(v)).boxed(),
        DataType::Int64 => small.prop_map(|v| json!(v)).boxed(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => (-3_i64..4).prop_map(|v| json!(v)).boxed(),
        DataType::Float => {
            let moderate = select(&[-1.5, -0.1, -0.0, 0.0, 0.1, 0.5, 1.0, 3.5][..]).prop_map(|v| json!(v));
            prop_oneof![6 => moderate, 1 => Just(json!("NaN"))].boxed()
        }
        DataType::Double => prop_oneof![6 => json_float(), 1 => Just(json!("NaN"))].boxed(),
        DataType::VarChar => select(&TEXTS[..]).prop_map(|v| json!(v)).boxed(),
        _ => document().boxed(),
    }
}

fn json_float() -> impl Strategy<Value = Json> {
    prop_oneof![Just(json!(0.0)), Just(json!(-0.0)), select(&FLOATS[..]).prop_map(|v| json!(v))]
}

fn document() -> impl Strategy<Value = Json> {
    let any_value =
        || prop_oneof![5 => json_constant(), 1 => json_float(), 1 => Just(Json::Null), 1 => Just(json!([1, {}]))];
    prop_oneof![
        6 => (any_value(), any_value(), any_value()).prop_map(|(a, c, l)| json!({"a": a, "b": {"c": c}, "l": [0, l]})),
        2 => (json_constant(), any_list()).prop_map(|(a, l)| json!({"a": a, "l": l})),
        1 => Just(json!({"b": [1], "l": {"1": 2}})),
        1 => json_constant(),
    ]
}

fn any_list() -> impl Strategy<Value = Json> {
    let one = prop_oneof![6 => json_constant(), 1 => Just(json!([1, "a"])), 1 => Just(Json::Null)];
    prop::collection::vec(one, 0..4).prop_map(Json::Array)
}

fn row() -> impl Strategy<Value = Json> {
    let sometimes = |strategy: BoxedStrategy<Json>| prop_oneof![4 => strategy, 1 => Just(Json::Null)];
    let fields: Vec<_> = FIELDS
        .into_iter()
        .filter(|(name, ty)| *name != "$meta" && !ty.is_vector())
        .map(|(name, ty)| {
            if name == "id" { value(name, ty) } else { sometimes(value(name, ty)).boxed() }.prop_map(move |v| (name, v))
        })
        .collect();
    let x = prop_oneof![3 => json_constant(), 1 => any_list()];
    (fields, sometimes(x.boxed()), sometimes(document().boxed())).prop_map(|(fields, x, y)| {
        let mut row: serde_json::Map<_, _> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        row.extend([("x".to_owned(), x), ("y".to_owned(), json!({"c": y["a"]}))]);
        row.retain(|_, value| !value.is_null());
        Json::Object(row)
    })
}

fn agree(cases: u32) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let cases = (condition(), prop::collection::vec(row(), 0..30));
    let outcome = TestRunner::new(config).run(&cases, |(condition, rows)| {
        let text = text(&condition);
        for (found, row) in mask(&text, &rows).into_iter().zip(&rows) {
            let expected = holds(&condition, row);
            if found != (expected == Some(true)) {
                return Err(TestCaseError::fail(format!("{text}: mask {found}, expected {expected:?} for {row}")));
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn masks_are_what_a_naive_interpreter_says() {
    agree(500);
}

#[test]
#[ignore = "minutes"]
fn many_masks_are_what_a_naive_interpreter_says() {
    agree(50_000);
}

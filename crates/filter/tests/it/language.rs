//! Tables: every operator, every refusal.

use crate::{batch, mask, parse, schema};
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use elanus_filter::{EXPRESSION_BYTES_MAX, Filter, MaskError, Params, PkList, Position, Value};
use elanus_types::{Code, Failure, schema::DataType};
use serde_json::{Value as Json, json};
use std::sync::Arc;

fn rows() -> Vec<Json> {
    vec![
        json!({"id": 0, "flag": true, "i8": 1, "i16": 10, "i32": 100, "i64": i64::MAX, "f32": 0.1, "f64": 0.5, "name": "ab",
               "meta": {"a": 1, "b": {"c": [10, "x", null]}}, "color": "red", "is": 1}),
        json!({"id": 1, "flag": false, "i8": -2, "i16": 20, "i32": 0, "i64": i64::MIN, "f32": -0.0, "f64": "NaN", "name": "a%b",
               "meta": {"a": "1", "b": {}}, "color": 5}),
        json!({"id": 2, "i8": 5, "i64": 9_007_199_254_740_993_i64, "f64": -0.0, "name": "",
               "meta": {"a": true}, "größe": 3}),
        json!({"id": 3, "i8": 7, "f32": 2.5, "name": "a\nb\"'\\", "meta": {"a": null, "big": 9_007_199_254_740_993_i64, "f": 1.0}}),
    ]
}

/// `ids` are the rows that match.
fn check(text: &str, ids: &[usize]) {
    let found = mask(text, &rows());
    let found: Vec<usize> = (0..found.len()).filter(|row| found[*row]).collect();
    assert_eq!(found, ids, "{text}");
}

#[test]
fn comparisons_of_numbers_strings_and_booleans() {
    check("", &[0, 1, 2, 3]);
    check(" \n ", &[0, 1, 2, 3]);
    check("id == 1", &[1]);
    check("1 == id", &[1]);
    check("id != 1", &[0, 2, 3]);
    check("id < 2", &[0, 1]);
    check("id <= 2", &[0, 1, 2]);
    check("id > 2", &[3]);
    check("2 <= id", &[2, 3]);
    check("id > 0x1 and id < 0b11", &[2]);
    check("id == 01", &[1]);
    check("i8 == 300", &[]);
    check("i8 > 1.5", &[2, 3]);
    check("i8 == 5.0", &[2]);
    check("f64 == 5e-1", &[0]);
    check("f64 >= .5", &[0]);
    check("i16 > id", &[0, 1]);
    check("i8 > f32", &[0, 3]);
    check("i64 == 9223372036854775807", &[0]);
    check("i64 == -9223372036854775808", &[1]);
    check("i64 == 9007199254740992", &[]);
    check("name == \"ab\"", &[0]);
    check("name == 'ab'", &[0]);
    check("name > 'a'", &[0, 1, 3]);
    check("name == name", &[0, 1, 2, 3]);
    check(r#"name == "a\nb\"\'\\""#, &[3]);
    check(r#"name == "\u0061b""#, &[0]);
    check("flag == true", &[0]);
    check("flag != True", &[1]);
    check("FALSE == flag", &[1]);
    check("flag", &[0]);
    check("flag == (id == 0)", &[0, 1]);
    check("true", &[0, 1, 2, 3]);
    check("1 > 2.5 or 'a' < 'b'", &[0, 1, 2, 3]);
}

#[test]
fn floats_have_one_zero_and_nan_compares_with_nothing() {
    check("f64 == 0", &[2]);
    check("f32 == -0.0", &[1]);
    check("f32 in [0]", &[1]);
    check("f64 > 0", &[0]);
    check("f64 != 0", &[0]);
    check("not (f64 > 0)", &[2]);
    check("f64 is not null", &[0, 1, 2]);
}

#[test]
fn constants_are_rounded_to_a_32_bit_field() {
    check("f32 == 0.1", &[0]);
    check("f32 in [0.1, 7]", &[0]);
    check("f32 < 0.1", &[1]);
    check("f32 <= 0.1", &[0, 1]);
}

#[test]
fn ranges() {
    check("1 < i8 <= 5", &[2]);
    check("5 >= i8 > -2", &[0, 2]);
    check("0 < meta[\"a\"] < 2", &[0]);
    check("'a' < name < 'ab'", &[1, 3]);
}

#[test]
fn lists() {
    check("id in [1, 2, 9]", &[1, 2]);
    check("id IN [1, 2,]", &[1, 2]);
    check("id not in [1, 2]", &[0, 3]);
    check("id NOT IN [-1, 1.0, 2.5]", &[0, 2, 3]);
    check("id in []", &[]);
    check("id not in []", &[0, 1, 2, 3]);
    check("flag in [false]", &[1]);
    check("flag not in [false]", &[0]);
    check("name in ['ab', \"\"]", &[0, 2]);
    check("id + 1 in [1]", &[0]);
    check("meta['a'] in [1, '1']", &[0, 1]);
    check("meta['a'] not in [1, '2']", &[1]);
    check("color in ['red', 'blue']", &[0]);
}

#[test]
fn patterns() {
    check("name like 'a%'", &[0, 1, 3]);
    check("name LIKE '%b'", &[0, 1]);
    check("name like 'a_b%'", &[1, 3]);
    check("name like 'a_'", &[0]);
    check("name like ''", &[2]);
    check("name like '%'", &[0, 1, 2, 3]);
    check(r"name like 'a\%%'", &[1]);
    check(r"name like 'a\\%b'", &[1]);
    check(r"name like '%\\\\'", &[3]);
    check("name like 'A%'", &[]);
    check("not name like 'a%'", &[2]);
    check("color like 'r%'", &[0]);
    check("not color like 'b%'", &[0]);
}

#[test]
fn logic_is_three_valued() {
    check("flag == true or id == 3", &[0, 3]);
    check("flag == true || id == 3", &[0, 3]);
    check("flag == true AND id == 0", &[0]);
    check("flag == true && id == 0", &[0]);
    check("not (flag == true)", &[1]);
    check("!(flag == true)", &[1]);
    check("NOT flag", &[1]);
    check("not (flag == true and id == 3)", &[0, 1, 2]);
    check("not (flag == true or i16 == 20)", &[]);
    check("i16 != 10", &[1]);
    check("i16 not in [10]", &[1]);
    check("i16 is null", &[2, 3]);
    check("i16 IS NOT NULL", &[0, 1]);
    check("meta is null", &[]);
}

#[test]
fn arithmetic() {
    check("id + 1 == 2", &[1]);
    check("id - 1 == 2", &[3]);
    check("2 * id == 4", &[2]);
    check("i8 / 2 == 3", &[3]);
    check("i8 / 2.0 == 3.5", &[3]);
    check("i8 % 2 == 1", &[0, 2, 3]);
    check("id ** 2 == 9", &[3]);
    check("-id == -2", &[2]);
    check("+id == 2", &[2]);
    check("f64 * 2 == 1", &[0]);
    check("meta['a'] + 1 == 2", &[0]);
    check("id == 7 / 2", &[3]);
    check("id == 5 % 3", &[2]);
    check("id == 2 ** 3 ** 0", &[2]);
    check("-2 ** 2 == -4", &[0, 1, 2, 3]);
}

#[test]
fn arithmetic_without_a_result_is_unknown() {
    check("i64 + 1 < 0 or i64 + 1 >= 0", &[1, 2]);
    check("i64 - 1 < 0 or i64 - 1 >= 0", &[0, 2]);
    check("i64 * 2 != 0", &[2]);
    check("-i64 != 0", &[0, 2]);
    check("i64 / -1 != 0", &[0, 2]);
    check("i64 % -1 == 0", &[0, 1, 2]);
    check("10 / i32 == 0", &[0]);
    check("10 % i32 == 10", &[0]);
    check("f64 / f64 == 1", &[0]);
}

#[test]
fn operators_bind_as_in_the_table() {
    for (plain, explicit) in [
        ("id == 0 or id == 1 and flag", "(id == 0) or ((id == 1) and flag)"),
        ("not id == 0 and i8 > 0", "(not (id == 0)) and (i8 > 0)"),
        ("not not id == 0", "not (not (id == 0))"),
        ("flag == not id == 0", "flag == (not (id == 0))"),
        ("flag == id < 1", "flag == (id < 1)"),
        ("id + 2 * i8 > 5 - -i8", "(id + (2 * i8)) > (5 - (-i8))"),
        ("id - 1 - 1 == 1", "((id - 1) - 1) == 1"),
        ("8 / i8 / 2 == 4", "((8 / i8) / 2) == 4"),
        ("-i8 ** 2 < 0", "(-(i8 ** 2)) < 0"),
        ("id + 1 in [1] or flag", "((id + 1) in [1]) or flag"),
        ("exists color and not color is null", "(exists color) and (not (color is null))"),
    ] {
        assert_eq!(mask(plain, &rows()), mask(explicit, &rows()), "{plain}");
    }
}

#[test]
fn json_paths() {
    check("meta[\"a\"] == 1", &[0]);
    check("meta['a'] == 1.0", &[0]);
    check("meta['f'] == 1", &[3]);
    check("1 == meta['a']", &[0]);
    check("2 > meta['a']", &[0]);
    check("meta['a'] == '1'", &[1]);
    check("meta['a'] == true", &[2]);
    check("meta['b']['c'][0] >= 10", &[0]);
    check("meta['b']['c'][1] == 'x'", &[0]);
    check("meta['b']['c'][7] == 'x'", &[]);
    check("meta['big'] == 9007199254740993", &[3]);
    check("meta['big'] == 9007199254740992", &[]);
    check("$meta['color'] == 'red'", &[0]);
    check("color == 'red'", &[0]);
    check("color < 6", &[1]);
    check("größe == 3", &[2]);
    check("is == 1", &[0]);
    check("is is null", &[1, 2, 3]);
}

#[test]
fn json_values_of_another_type_and_absent_ones_match_neither_way() {
    check("meta['a'] != 2", &[0]);
    check("not (meta['a'] == 2)", &[0]);
    check("not (meta['a'] != 2)", &[]);
    check("not (meta['a'] in [2])", &[0]);
    check("not (meta['zz'] == 2)", &[]);
}

#[test]
fn exists_means_a_value_that_is_not_null() {
    check("exists meta['a']", &[0, 1, 2]);
    check("EXISTS meta['b']['c'][2]", &[]);
    check("exists meta['b']['c'][1]", &[0]);
    check("not exists color", &[2, 3]);
    check("meta['a'] is not null", &[0, 1, 2]);
    check("meta['a'] is null", &[3]);
}

#[test]
fn arrays() {
    let rows = [
        json!({"id": 0, "ints": [1, 2, 3], "texts": ["a", "b"], "singles": [0.1], "meta": {"l": [1, [2, "x"], "a", null]}}),
        json!({"id": 1, "ints": [], "texts": ["b"], "meta": {"l": []}}),
        json!({"id": 2, "texts": [], "meta": {"l": "a"}, "tags": [1.0]}),
        json!({"id": 3, "ints": [2], "singles": [-0.0, 2.0], "meta": [7]}),
    ];
    let check = |text: &str, ids: &[usize]| {
        let found = mask(text, &rows);
        assert_eq!((0..found.len()).filter(|row| found[*row]).collect::<Vec<_>>(), ids, "{text}");
    };
    check("array_contains(ints, 2)", &[0, 3]);
    check("ARRAY_CONTAINS(ints, 2.0)", &[0, 3]);
    check("not array_contains(ints, 2)", &[1]);
    check("array_contains_all(ints, [1, 2])", &[0]);
    check("array_contains_all(ints, [])", &[0, 1, 3]);
    check("array_contains_any(ints, [1, 2, 9])", &[0, 3]);
    check("array_contains_any(ints, [])", &[]);
    check("json_contains(texts, 'b')", &[0, 1]);
    check("array_contains(singles, 0.1)", &[0]);
    check("array_contains(singles, 0)", &[3]);
    check("array_length(ints) == 0", &[1]);
    check("ARRAY_LENGTH(texts) + 1 in [2, 3]", &[0, 1]);
    check("ints[0] == 2", &[3]);
    check("ints[2] > 2 and not (ints[18446744073709551615] == 1) or ints[2] == 3", &[0]);
    check("1 < ints[0] <= 2", &[3]);
    check("ints[0] + ints[1] == 3", &[0]);
    check("ints[0] in [2]", &[3]);
    check("texts[0] like 'b%'", &[1]);
    check("singles[0] == 0.1", &[0]);
    check("not (ints[1] == 5)", &[0]);
    check("ints == [1, 2, 3]", &[0]);
    check("[] == ints", &[1]);
    check("ints != [2.0]", &[0, 1]);
    check("ints is null", &[2]);
    check("ints is not null", &[0, 1, 3]);
    check("json_contains(meta['l'], 1)", &[0]);
    check("JSON_CONTAINS(meta['l'], [2, 'x'])", &[0]);
    check("not json_contains(meta['l'], 1)", &[1]);
    check("json_contains_all(meta['l'], [1, 'a'])", &[0]);
    check("json_contains_any(meta['l'], ['z', 1.0])", &[0]);
    check("array_contains(meta, 7)", &[3]);
    check("json_contains(tags, 1)", &[2]);
    check("array_length(meta['l']) == 4", &[0]);
    check("meta['l'] == []", &[1]);
    check("meta['l'] != [1]", &[0, 1]);
    check("meta['l'][1] == [2, 'x']", &[0]);
}

#[test]
fn template_parameters_are_constants() {
    let list = Value::List(vec![Value::Int(1), Value::Int(3)]);
    let params: Params = [
        ("n".to_owned(), Value::Int(2)),
        ("ids".to_owned(), list.clone()),
        ("p".to_owned(), Value::Text("a%".to_owned())),
        ("nested".to_owned(), Value::List(vec![list])),
        ("nan".to_owned(), Value::Float(f64::NAN)),
    ]
    .into();
    let schema = schema();
    let ids = |text: &str| {
        let mask = Filter::parse(text, &schema, &params).unwrap().mask(&batch(&rows())).unwrap();
        (0..mask.len()).filter(|row| mask.value(*row)).collect::<Vec<_>>()
    };
    assert_eq!(ids("id == {n}"), [2]);
    assert_eq!(ids("id in { ids }"), [1, 3]);
    assert_eq!(ids("id in [{n}, -{n}]"), [2]);
    assert_eq!(ids("name like {p}"), [0, 1, 3]);
    assert_eq!(ids("json_contains_any(meta['b']['c'], {ids}) or json_contains(meta['b']['c'], {p})"), [0_usize; 0]);
    assert_eq!(ids("meta['b']['c'] != {ids}"), [0]);
    for (text, message) in [
        ("id == {m}", "template parameter m has no value"),
        ("id == {ids}", "cannot compare an integer with a list"),
        ("id in {n}", "must be a list"),
        ("id in {nested}", "a list may not hold lists"),
        ("id in [{ids}]", "a list may not hold lists"),
        ("json_contains(meta['a'], {nan})", "NaN is no constant"),
        ("array_contains_any(ints, {n})", "must be a list"),
        ("name like {n}", "must be a string"),
        ("f64 == {nan}", "NaN is no constant"),
        ("f64 in [{nan}]", "NaN is no constant"),
        ("id == {}", "bad template parameter"),
    ] {
        let error = Filter::parse(text, &schema, &params).unwrap_err();
        assert!(error.message.contains(message), "{error}");
    }
}

#[test]
fn refusals_say_what_and_where() {
    for (text, message, column) in [
        ("color === \"red\"", "unexpected '='", 9),
        ("id = 1", "unexpected '='", 4),
        ("id == ", "unexpected end of expression", 7),
        ("id == 1)", "unexpected ')'", 8),
        ("(id == 1", "unexpected end of expression, expected ')'", 9),
        ("id == 1 id == 2", "unexpected 'id'", 9),
        ("ä == 'x", "the string does not end", 6),
        ("name == '\\uD800'", "bad escape", 9),
        ("id == 1abc", "bad number", 7),
        ("id == 1.2.3", "bad number", 7),
        ("id == 1e999", "bad number", 7),
        ("id == 089", "bad number", 7),
        ("id == 99999999999999999999", "out of range", 7),
        ("id == 9223372036854775808", "9223372036854775808 is out of range", 7),
        ("id @ 1", "unexpected '@'", 4),
        ("vector == 1", "field vector is a vector", 1),
        ("vector is null", "field vector is a vector", 1),
        ("meta == 1", "name a key of it, as in meta[\"key\"]", 1),
        ("$meta == 1", "name a key of it", 1),
        ("id['a'] == 1", "field id is no JSON field", 1),
        ("id['a'] is null", "field id is no JSON field", 1),
        ("meta[a] == 1", "expected a key or an index", 6),
        ("name == 1", "cannot compare a string with an integer", 6),
        ("id == 'x'", "cannot compare an integer with a string", 4),
        ("flag == 1", "cannot compare a boolean with an integer", 6),
        ("flag < true", "booleans have no order", 6),
        ("meta['a'] < true", "booleans have no order", 11),
        ("1 == 'a'", "cannot compare", 3),
        ("meta['a'] == color", "with a constant only", 11),
        ("meta['a'] == id", "with a constant only", 11),
        ("id in ['x']", "an integer cannot be in a list with a string", 1),
        ("name in [1]", "a string cannot be in a list", 1),
        ("id in [id]", "must be constants", 8),
        ("id in [[1]]", "a list may not hold lists", 8),
        ("id in 1", "unexpected constant, expected '['", 7),
        ("id in [1", "expected ']'", 9),
        ("1 in [1]", "must not be a constant", 1),
        ("id not like 'x'", "unexpected 'like', expected 'in'", 8),
        ("id like 'x'", "'like' needs a string, not an integer", 1),
        ("name like 1", "must be a string", 11),
        ("name like id", "expected a constant", 11),
        ("id is 1", "unexpected constant, expected 'null'", 7),
        ("id + 1 is null", "'is null' needs a field", 4),
        ("exists id", "'exists' needs a key", 8),
        ("id", "predicate is not a boolean expression: it is an integer", 1),
        ("meta['a']", "predicate is not a boolean expression", 1),
        ("id == 1 and name", "predicate is not a boolean expression", 13),
        ("not id", "predicate is not a boolean expression", 5),
        ("id + name == 1", "arithmetic needs numbers, not a string", 4),
        ("id + flag == 1", "arithmetic needs numbers, not a boolean", 4),
        ("id / 0 == 1", "division or modulo by zero", 4),
        ("id % 0.0 == 1", "division or modulo by zero", 4),
        ("id / (1 - 1) == 1", "division or modulo by zero", 4),
        ("9223372036854775807 + 1 == id", "the result is out of range", 21),
        ("1 < id > 0", "a range must go in one direction", 8),
        ("1 < id < 2 < 3", "unexpected '<'", 12),
        ("text_match(name, 'x')", "function text_match is not supported", 1),
        ("Array_Length(ints) == 1", "function Array_Length is not supported", 1),
        ("[1] == id", "cannot compare an integer with a list", 5),
        ("[1] == [1]", "cannot compare a list with a list", 5),
        ("[1]", "predicate is not a boolean expression: it is a list", 1),
        ("[id] == ints", "the elements of a list must be constants", 2),
        ("meta['a'] < [1]", "lists have no order", 11),
        ("ints == 1", "an array can be compared with a list only", 6),
        ("ints == ints", "an array can be compared with a list only", 6),
        ("ints == ['a']", "a string cannot be in an array of integers", 6),
        ("ints + 1 == 2", "arithmetic needs numbers, not an array", 6),
        ("ints", "it is an array, which needs a function or an index", 1),
        ("ints in [1]", "an array cannot be in a list", 1),
        ("ints['a'] == 1", "name one element, as in ints[0]", 1),
        ("ints[0][1] == 1", "name one element, as in ints[0]", 1),
        ("ints[0] == 'a'", "cannot compare an integer with a string", 9),
        ("texts[0] > 1", "cannot compare a string with an integer", 10),
        ("array_length(id) == 1", "array_length needs an array field or a key of a JSON field, not an integer", 14),
        ("array_length(ints, 1) == 1", "expected ')'", 18),
        ("array_length(1) == 1", "array_length needs an array field", 14),
        ("array_contains(ints)", "expected ','", 20),
        ("array_contains(ints, id)", "the second argument of array_contains must be a constant", 22),
        ("array_contains_all(ints, 1)", "the second argument of array_contains_all must be a list", 26),
        ("array_contains(ints, 'a')", "a string cannot be in an array of integers", 1),
        ("array_contains(texts, true)", "a boolean cannot be in an array of strings", 1),
        ("array_contains(ints, [1])", "an array field holds no lists", 1),
        ("json_contains(name, 'a')", "contains needs an array field or a key of a JSON field, not a string", 15),
        ("and", "unexpected 'and'", 1),
    ] {
        let error = parse(text).map(|_| "accepted").expect_err(text);
        assert!(error.message.contains(message), "{error}");
        assert_eq!(error.position, Position { line: 1, column }, "{error}");
    }
    let error = parse("id == 1 and\n  größe === 2").unwrap_err();
    assert_eq!(error.position, Position { line: 2, column: 11 });
}

#[test]
fn errors_have_the_words_that_clients_look_for() {
    let mut schema = schema();
    schema.fields.retain(|field| !field.is_dynamic);
    let error = Filter::parse("xyz > 1", &schema, &Params::new()).unwrap_err();
    let failure = Failure::from(error);
    assert_eq!(failure.code, Code::ParameterInvalid);
    assert_eq!(
        failure.message,
        "failed to create query plan: cannot parse expression: xyz > 1, error: field xyz not exist at line 1 column 1"
    );
    assert!(
        Filter::parse("$meta['a'] > 1", &schema, &Params::new()).unwrap_err().message.contains("field $meta not exist")
    );
    let long = parse(&format!("id == '{}'", "x".repeat(10_000))).unwrap_err().to_string();
    assert!(long.len() < 500, "{long}");
}

#[test]
fn columns_are_found_by_name_and_only_those_needed() {
    let filter = parse("i8 > 0 and color == 'x' and i8 < 5 and id in [1]").unwrap();
    assert_eq!(filter.columns().iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["i8", "$meta", "id"]);
    let filter = parse("i64 > id").unwrap();
    let column = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let narrow = RecordBatch::try_from_iter([("id", column(vec![1, 2])), ("i64", column(vec![2, 1]))]).unwrap();
    assert_eq!(filter.mask(&narrow).unwrap().iter().map(Option::unwrap).collect::<Vec<_>>(), [true, false]);
    assert_eq!(filter.mask(&narrow.slice(0, 0)).unwrap().len(), 0);
    assert!(matches!(filter.mask(&narrow.project(&[0]).unwrap()), Err(MaskError::NoColumn(name)) if name == "i64"));
    let other: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let wrong = RecordBatch::try_from_iter([("id", other), ("i64", column(vec![1]))]).unwrap();
    let error = filter.mask(&wrong).unwrap_err();
    assert_eq!(Failure::from(error).code, Code::Internal);
}

#[test]
fn conditions_on_the_primary_key_alone_give_keys() {
    let keys = |text: &str| parse(text).unwrap().primary_keys().cloned();
    assert_eq!(keys("id == 5"), Some(PkList::Ints(vec![5])));
    assert_eq!(keys("(-5 == id)"), Some(PkList::Ints(vec![-5])));
    assert_eq!(keys("id in [3, 1, 3]"), Some(PkList::Ints(vec![3, 1, 3])));
    assert_eq!(keys("id in []"), Some(PkList::Ints(vec![])));
    for other in
        ["", "id != 5", "id not in [1]", "id in [1, 2.5]", "id == 1.0", "i64 == 1", "id == 1 and flag", "not id == 1"]
    {
        assert_eq!(keys(other), None, "{other}");
    }
    let mut schema = schema();
    schema.fields[0].data_type = DataType::VarChar;
    let filter = Filter::parse("id in ['a', \"b\"]", &schema, &Params::new()).unwrap();
    assert_eq!(filter.primary_keys(), Some(&PkList::Strings(vec!["a".to_owned(), "b".to_owned()])));
    let filter = Filter::parse("id in []", &schema, &Params::new()).unwrap();
    assert_eq!(filter.primary_keys(), Some(&PkList::Strings(vec![])));
}

#[test]
fn what_matches_every_row_is_known() {
    for text in ["", "  ", "true", "1 < 2", "not false", "true or id == 1", "true and id not in []"] {
        assert!(parse(text).unwrap().is_always_true(), "{text}");
    }
    for text in ["id == id", "false", "false or id == 1", "true and id == 1"] {
        assert!(!parse(text).unwrap().is_always_true(), "{text}");
    }
}

#[test]
fn a_hundred_thousand_keys_are_one_expression() {
    let keys: Vec<i64> = (0..100_000).map(|n| 400_000_000_000_000_000 + n).collect();
    let text = format!("id in {keys:?}");
    assert!(text.len() <= EXPRESSION_BYTES_MAX + 100_000, "{}", text.len());
    match parse(&text.replace(", ", ",")).unwrap().primary_keys() {
        Some(PkList::Ints(found)) => assert_eq!(*found, keys),
        other => panic!("{other:?}"),
    }
    let error = parse(&"x".repeat(EXPRESSION_BYTES_MAX + 1)).unwrap_err();
    assert!(error.message.contains("longer than"), "{error}");
}

//! Whatever the text, the answer is a filter or an error: no panic, no stack overflow.

use crate::{batch, mask, parse};
use proptest::prelude::*;
use serde_json::json;

const TOKENS: [&str; 52] = [
    "id",
    "i8",
    "f32",
    "f64",
    "name",
    "flag",
    "meta",
    "$meta",
    "vector",
    "color",
    "meta['a']",
    "color[0]",
    "1",
    "-1",
    "0",
    "2.5",
    "1e9",
    "9223372036854775807",
    "9223372036854775808",
    "'a'",
    "\"%\"",
    "true",
    "FALSE",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    "(",
    ")",
    "[",
    "]",
    ",",
    "in",
    "not in",
    "not",
    "!",
    "and",
    "||",
    "like",
    "exists",
    "is null",
    "is not null",
    "{p}",
    "[1, 2]",
];

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// Evaluates what is understood, over rows at the ends of their types.
fn survive(text: &str) {
    if let Ok(filter) = parse(text) {
        let rows = [
            json!({"id": i64::MIN, "i8": -128, "f32": 0.0, "f64": "NaN", "name": "a", "flag": true, "meta": {"a": 1}}),
            json!({"id": i64::MAX, "i8": 0, "f64": 1e308, "color": [1]}),
        ];
        assert_eq!(filter.mask(&batch(&rows)).unwrap().len(), 2, "{text}");
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn random_text_is_survived(text in ".{0,80}") {
        survive(&text);
    }

    #[test]
    fn random_tokens_are_survived(tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..16)) {
        survive(&tokens.join(" "));
    }

    #[test]
    fn random_bytes_inside_an_expression_are_survived(before in 0..20_usize, junk in "\\PC{1,3}") {
        let mut text = "id in [1] and name like 'a'".to_owned();
        text.insert_str(before, &junk);
        survive(&text);
    }
}

#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    for (open, close) in [
        ("(", ")"),
        ("not ", ""),
        ("!", ""),
        ("-", ""),
        ("+", ""),
        ("id in [", "]"),
        ("exists ", ""),
        ("2 ** ", ""),
        ("(1 + ", ")"),
    ] {
        let text = format!("{}id{}", open.repeat(100_000), close.repeat(100_000));
        let error = parse(&text).map(|_| open).unwrap_err();
        assert!(error.message.contains("nested deeper"), "{error}");
    }
    for chain in [" + 1", " * 1", " - i8", " == true"] {
        let error = parse(&format!("id{}", chain.repeat(10_000))).map(|_| chain).unwrap_err();
        assert!(error.message.contains("nested deeper"), "{error}");
    }
    let error = parse(&"id == 1 and ".repeat(100_000)).unwrap_err();
    assert!(error.message.contains("operators and operands"), "{error}");
}

#[test]
fn the_deepest_accepted_expressions_run_on_a_small_stack() {
    // The threads of the server have 2 MiB.
    let run = || {
        let rows = [json!({"id": 1, "flag": true})];
        let sum = format!("{}id{} >= 1", "(".repeat(60), " + 0)".repeat(60));
        assert_eq!(mask(&sum, &rows), [true]);
        for part in [" + 0", " * 1", " - 0"] {
            assert_eq!(mask(&format!("id{} == 1", part.repeat(126)), &rows), [true]);
        }
        assert_eq!(mask(&format!("{}flag", "not ".repeat(126)), &rows), [true]);
        assert_eq!(mask(&format!("{}flag{}", "(flag and ".repeat(63), ")".repeat(63)), &rows), [true]);
        assert_eq!(mask(&format!("flag{}", " == true".repeat(126)), &rows), [true]);
        let json = format!("color{} is null", "[0]".repeat(100_000));
        assert_eq!(mask(&json, &rows), [true]);
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_long_chain_is_not_a_deep_one() {
    let chain: Vec<String> = (0..5_000).map(|n| format!("id == {n}")).collect();
    let rows = [json!({"id": 4_999}), json!({"id": 5_000})];
    assert_eq!(mask(&chain.join(" or "), &rows), [true, false]);
    assert_eq!(mask(&chain.join(" and "), &rows), [false, false]);
}

#[test]
fn a_pattern_that_would_be_too_large_is_refused_at_once() {
    let error = parse(&format!("name like '{}%x'", "_".repeat(1_000_000))).unwrap_err();
    assert!(error.message.contains("too large"), "{error}");
}

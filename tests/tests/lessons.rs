//! That every test that docs/lessons.md names exists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_scenarios::file;
use std::fs;

/// Rows of the document at least: a check of nothing would pass, too.
const TESTS_MIN: usize = 50;

#[test]
fn every_lesson_names_tests_that_exist() {
    let root = file("..");
    let text = fs::read_to_string(root.join("docs/lessons.md")).unwrap();
    let rows: Vec<&str> =
        text.lines().filter(|line| line.starts_with("| ") && !line.ends_with("tested by |")).collect();
    let mut tests = 0;
    for row in rows {
        let named: Vec<&str> = row.split('`').filter(|text| text.contains("::")).collect();
        assert!(!named.is_empty(), "a row without a test: {row}");
        for test in named {
            let (path, name) = test.split_once("::").unwrap();
            let source = fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            let forms = [format!("fn {name}("), format!("def {name}("), format!("    {name}: ")];
            assert!(forms.iter().any(|form| source.contains(form)), "there is no test {test}");
            tests += 1;
        }
    }
    assert!(tests >= TESTS_MIN, "{tests} tests");
}

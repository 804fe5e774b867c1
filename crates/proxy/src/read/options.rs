//! Options of reads that travel as text: pairs of key and value, and a JSON object among them.

use elanus_proto::{common::KeyValuePair, convert};
use elanus_types::{Code, Failure};
use std::collections::BTreeMap;

/// Options by name, those of the nested object below those that stand beside it.
#[derive(Debug, Default)]
pub(super) struct Options(BTreeMap<String, String>);

/// Options that change what an answer means, so that to ignore them would be wrong.
const NOT_SERVED: [&str; 8] = [
    "query_iter_last_pk",
    "query_iter_last_element_offset",
    "group_by_fields",
    "order_by_fields",
    "json_path",
    "json_type",
    "strict_cast",
    "time_fields",
];

impl Options {
    pub(super) fn read(pairs: &[KeyValuePair]) -> Result<Self, Failure> {
        let mut options = convert::pairs_to_map(pairs);
        if let Some(text) = options.remove("params").filter(|text| !text.trim().is_empty()) {
            let nested: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)
                .map_err(|error| Failure::invalid(format!("search params are not a JSON object: {error}")))?;
            for (key, value) in nested {
                let text = match value {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                options.entry(key).or_insert(text);
            }
        }
        let options = Self(options);
        match NOT_SERVED.into_iter().find(|key| options.is_set(key)) {
            Some(key) => Err(Failure::new(Code::Unimplemented, format!("the option {key} is not served"))),
            None => Ok(options),
        }
    }

    /// True when the option is given, whatever it says.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// True when the option is given and not said to be false.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| !matches!(value.as_str(), "" | "False" | "false"))
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Failure> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Failure::invalid(format!("{key} [{text}] is invalid, it is no number")))
        };
        self.text(key).map(parse).transpose()
    }

    /// `limit` and `offset` of an answer, or the failure of the one that is out of its range.
    pub(super) fn window(&self, limit_key: &str, max: i64) -> Result<(Option<i64>, i64), Failure> {
        let mut limit: Option<i64> = self.number(limit_key)?;
        // Pages of iterators are as large as they may be.
        if self.is_set("iterator") {
            limit = limit.map(|limit| limit.min(max));
        }
        let offset: i64 = self.number("offset")?.unwrap_or(0);
        let sum = offset.saturating_add(limit.unwrap_or(0));
        let outside = |why: String| Err(Failure::invalid(format!("invalid max query result window, {why}")));
        let out_of = |key: &str, value: i64, from: i64| {
            let range = format!("it should be in range [{from}, {max}], but got {value}");
            Err(Failure::invalid(format!("{key} [{value}] is invalid, {range}")))
        };
        // Milvus has one wording for queries and another one for searches.
        let of_query = limit_key == "limit";
        match limit {
            _ if of_query && offset < 0 => outside(format!("offset [{offset}] is invalid, should be gte than 0")),
            Some(limit @ ..=0) if of_query => outside(format!("limit [{limit}] is invalid, should be greater than 0")),
            Some(limit) if !of_query && !(1..=max).contains(&limit) => out_of(limit_key, limit, 1),
            _ if !of_query && !(0..=max).contains(&offset) => out_of("offset", offset, 0),
            _ if sum > max => outside(format!("(offset+limit) should be in range [1, {max}], but got {sum}")),
            _ => Ok((limit, offset)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Options, Failure> {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| KeyValuePair { key: (*k).into(), value: (*v).into() }).collect();
        Options::read(&pairs)
    }

    #[test]
    fn windows_are_kept_within_their_limits() {
        let options = read(&[("limit", "5"), ("offset", "7"), ("iterator", "False")]).unwrap();
        assert_eq!(options.window("limit", 100).unwrap(), (Some(5), 7));
        assert_eq!(read(&[]).unwrap().window("limit", 100).unwrap(), (None, 0));
        let page = read(&[("limit", "500"), ("iterator", "True")]).unwrap();
        assert_eq!(page.window("limit", 100).unwrap(), (Some(100), 0));
        for (pairs, fragment) in [
            ([("limit", "0"), ("offset", "0")], "window, limit [0] is invalid, should be greater than 0"),
            ([("limit", "101"), ("offset", "0")], "(offset+limit) should be in range [1, 100], but got 101"),
            ([("limit", "1"), ("offset", "-1")], "window, offset [-1] is invalid, should be gte than 0"),
            ([("limit", "60"), ("offset", "41")], "(offset+limit) should be in range [1, 100], but got 101"),
            ([("limit", "many"), ("offset", "0")], "limit [many] is invalid, it is no number"),
        ] {
            let failure = read(&pairs).unwrap().window("limit", 100).unwrap_err();
            assert!(failure.message.contains(fragment), "{}", failure.message);
        }
        for (topk, offset, fragment) in [
            ("0", "0", "topk [0] is invalid, it should be in range [1, 100], but got 0"),
            ("101", "0", "topk [101] is invalid, it should be in range [1, 100], but got 101"),
            ("1", "-1", "offset [-1] is invalid, it should be in range [0, 100], but got -1"),
            ("60", "41", "invalid max query result window, (offset+limit) should be in range [1, 100], but got 101"),
        ] {
            let failure = read(&[("topk", topk), ("offset", offset)]).unwrap().window("topk", 100).unwrap_err();
            assert_eq!(failure.message, fragment);
        }
    }

    #[test]
    fn options_that_would_change_the_answer_are_refused() {
        for (key, value) in [("group_by_fields", "color"), ("json_path", "a"), ("order_by_fields", "a:asc")] {
            assert_eq!(read(&[(key, value)]).unwrap_err().code, Code::Unimplemented, "{key}");
        }
        assert_eq!(read(&[("params", r#"{"json_path":"x"}"#)]).unwrap_err().code, Code::Unimplemented);
    }

    #[test]
    fn nested_options_count_as_if_they_stood_beside() {
        let options = read(&[("params", r#"{"radius": 0.5, "metric_type": "L2"}"#), ("metric_type", "IP")]).unwrap();
        assert_eq!((options.number::<f64>("radius").unwrap(), options.text("metric_type")), (Some(0.5), Some("IP")));
    }
}

//! Which names users may give. The fragments of the texts are part of the contract: clients search them.

use elanus_types::{Code, Failure};

/// Longest name, in bytes.
const LEN_MAX: usize = 255;

/// Words that a filter reads otherwise, so that a field with this name could not be filtered by.
const FILTER_WORDS: [&str; 12] =
    ["and", "or", "not", "in", "like", "is", "null", "true", "false", "exists", "json_contains", "array_contains"];

/// What is wrong with a name, whatever it names.
enum Fault {
    Empty,
    Long,
    First,
    Other,
}

fn judge(name: &str, extra: &[u8]) -> Result<(), Fault> {
    // Space around a name is forgiven here and kept in the name, as in Milvus.
    let name = name.trim();
    match name.as_bytes() {
        [] => Err(Fault::Empty),
        bytes if bytes.len() > LEN_MAX => Err(Fault::Long),
        [first, ..] if !first.is_ascii_alphabetic() && *first != b'_' => Err(Fault::First),
        [_, rest @ ..] if !rest.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_' || extra.contains(b)) => {
            Err(Fault::Other)
        }
        _ => Ok(()),
    }
}

/// What is wrong with the name of what a user calls `what`, in the words of Milvus.
fn complaint(what: &str, name: &str, extra: &[u8]) -> Option<String> {
    match judge(name, extra) {
        Ok(()) => None,
        Err(Fault::Empty) => Some(format!("{what} should not be empty")),
        Err(Fault::Long) => Some(format!("the length of a {what} must be less than {LEN_MAX} characters")),
        Err(Fault::First) => Some(format!("the first character of a {what} must be an underscore or letter")),
        Err(Fault::Other) => Some(format!("{what} can only contain numbers, letters and underscores")),
    }
}

/// A name as errors show it, however long it is.
fn shown(name: &str) -> String {
    name.chars().take(LEN_MAX + 1).collect()
}

fn check(what: &str, name: &str, extra: &[u8]) -> Result<(), Failure> {
    match complaint(what, name, extra) {
        None => Ok(()),
        Some(why) => Err(Failure::invalid(format!("Invalid {what}: {}. {why}", shown(name)))),
    }
}

/// A database in any call that makes, drops or moves to one. 802, as in Milvus.
pub(crate) fn database(name: &str) -> Result<(), Failure> {
    match complaint("database name", name, b"") {
        None => Ok(()),
        Some(why) => {
            let text = format!("invalid database name[database={}]", shown(name));
            Err(Failure::new(Code::DatabaseName, text).context(why))
        }
    }
}

/// An alias in any call about aliases.
pub(crate) fn alias(name: &str) -> Result<(), Failure> {
    check("collection alias", name, b"$")
}

/// A collection that is to be made.
pub(crate) fn collection(name: &str) -> Result<(), Failure> {
    check("collection name", name, b"$")
}

/// A partition that is to be made.
pub(crate) fn partition(name: &str) -> Result<(), Failure> {
    check("partition name", name, b"$-")
}

/// An index that is to be made.
pub(crate) fn index(name: &str) -> Result<(), Failure> {
    check("index name", name, b"$")
}

/// A field that is to be made.
pub(crate) fn field(name: &str) -> Result<(), Failure> {
    check("field name", name, b"")?;
    if FILTER_WORDS.iter().any(|word| word.eq_ignore_ascii_case(name.trim())) {
        return Err(Failure::invalid(format!("Invalid field name: {name}. it is a word of the filter language")));
    }
    Ok(())
}

/// A snapshot in any call.
pub(crate) fn snapshot(name: &str) -> Result<(), Failure> {
    let why = match judge(name, b"$") {
        Ok(()) => return Ok(()),
        Err(Fault::Empty) => "snapshot name should be not empty".to_owned(),
        Err(Fault::Long) => format!("the length of snapshot name must be not greater than limit {LEN_MAX}"),
        Err(Fault::First) => "the first character of snapshot name must be an underscore or letter".to_owned(),
        Err(Fault::Other) => {
            "snapshot name can only contain numbers, letters, underscores, and allowed characters ($)".to_owned()
        }
    };
    Err(Failure::invalid(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_by_the_rules_of_milvus() {
        let long = "a".repeat(256);
        for (name, fragment) in [
            ("", "snapshot name should be not empty"),
            (" ", "snapshot name should be not empty"),
            (long.as_str(), "the length of snapshot name must be not greater than limit"),
            ("1a", "the first character of snapshot name must be an underscore or letter"),
            ("$a", "the first character of snapshot name must be an underscore or letter"),
            ("a b", "snapshot name can only contain numbers, letters, underscores, and allowed characters"),
            ("ä", "the first character of snapshot name"),
        ] {
            assert!(snapshot(name).unwrap_err().message.contains(fragment), "{name:?}");
        }
        for name in ["a", "_", "A9$", " padded ", &long[..255]] {
            assert_eq!(snapshot(name), Ok(()), "{name:?}");
        }
        assert!(collection("1x").unwrap_err().message.starts_with("Invalid collection name: 1x. the first character"));
        assert_eq!((partition("a-b"), collection("a$")), (Ok(()), Ok(())));
        let failure = database("a$").unwrap_err();
        let text =
            "database name can only contain numbers, letters and underscores: invalid database name[database=a$]";
        assert_eq!((failure.code.number(), failure.message.as_str()), (802, text));
        assert!(alias("1x").unwrap_err().message.starts_with("Invalid collection alias: 1x. the first character of a"));
        assert!(collection("a-b").is_err() && field("$meta").is_err() && field("In").is_err() && index("a b").is_err());
    }
}

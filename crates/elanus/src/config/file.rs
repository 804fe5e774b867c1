//! The configuration file: TOML, flattened to dotted keys, each with its line.

use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A value of the file as its flag would be given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Dotted path.
    pub(crate) key: String,
    /// The value as text.
    pub(crate) value: String,
    /// First line is 1.
    pub(crate) line: usize,
}

/// Something in a file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// First line is 1.
    pub(crate) line: usize,
    /// What is wrong, and what would be right. Never repeats a value.
    pub(crate) text: String,
}

/// The entries of a file, in the order of their lines.
///
/// # Errors
/// Everything that is not a setting with a single value.
pub(crate) fn read(text: &str) -> Result<Vec<Entry>, Vec<Mistake>> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, &span));
        vec![Mistake { line, text: error.message().to_owned() }]
    })?;
    let (mut entries, mut mistakes) = (Vec::new(), Vec::new());
    flatten(text, "", table.get_ref(), &mut entries, &mut mistakes);
    entries.sort_by_key(|entry| entry.line);
    mistakes.sort_by_key(|mistake| mistake.line);
    if mistakes.is_empty() { Ok(entries) } else { Err(mistakes) }
}

fn flatten(text: &str, path: &str, table: &DeTable<'_>, entries: &mut Vec<Entry>, mistakes: &mut Vec<Mistake>) {
    for (name, value) in table {
        let key = if path.is_empty() { name.get_ref().to_string() } else { format!("{path}.{}", name.get_ref()) };
        let line = line_of(text, &name.span());
        let value = match value.get_ref() {
            DeValue::Table(table) => {
                flatten(text, &key, table, entries, mistakes);
                continue;
            }
            DeValue::String(value) => value.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
                let wrong = format!("{key}: write the value as text in quotes, a whole number, or true or false");
                mistakes.push(Mistake { line, text: wrong });
                continue;
            }
        };
        entries.push(Entry { key, value, line });
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_dotted_keys_are_the_same() {
        let text = "data = \"/d\"\n\n[gc]\ninterval = \"1h\"\nobjects.max = 10\n[log]\nshort = true\n";
        let found: Vec<_> = read(text).unwrap().into_iter().map(|e| (e.key, e.value, e.line)).collect();
        let expected =
            [("data", "/d", 1), ("gc.interval", "1h", 4), ("gc.objects.max", "10", 5), ("log.short", "true", 7)];
        assert_eq!(found, expected.map(|(key, value, line)| (key.to_owned(), value.to_owned(), line)));
    }

    #[test]
    fn what_is_not_a_setting_is_told_with_its_line_and_without_its_value() {
        let not_toml = read("a = 1\nb = secret\n").unwrap_err();
        assert_eq!((not_toml.len(), not_toml[0].line), (1, 2), "{not_toml:?}");
        assert_eq!(read("a = 1\na = 2\n").unwrap_err()[0].line, 2, "given twice");
        let shapes = read("a = [\"secret\"]\nb = 1.5\nc = 0x10\nd = 2026-01-01\n").unwrap_err();
        assert_eq!(shapes.iter().map(|m| m.line).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(shapes.iter().all(|m| !m.text.contains("secret")), "{shapes:?}");
    }
}

//! What results look like: tables for people, JSON for programs. JSON has every number exact, and every time twice: as
//! the server keeps it and as RFC 3339.

use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use elanus_types::Timestamp;
use serde_json::Value;
use std::{
    io::Write as _,
    time::{Duration, UNIX_EPOCH},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// A result in both forms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Rendered {
    /// A reader that closed the pipe has what it wanted.
    pub(crate) fn print(&self, format: Format) {
        let mut stdout = std::io::stdout().lock();
        let _ = match format {
            Format::Table if self.text.is_empty() => Ok(()),
            Format::Table => writeln!(stdout, "{}", self.text),
            Format::Json => writeln!(stdout, "{:#}", self.json),
        };
    }
}

/// Column names in capitals; those that end in `>` hold numbers.
pub(crate) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|name| name.trim_end_matches('>')));
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)));
    }
    for (column, name) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if name.ends_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// One thing, a line for each of its facts.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 2;
    let line = |(name, value): &(&str, String)| format!("{name:width$}{}", clean(value)).trim_end().to_owned();
    facts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Text of users cannot move the cursor or forge lines.
pub(crate) fn clean(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escape).collect()
}

pub(crate) fn size(bytes: i64) -> String {
    indicatif::HumanBytes(u64::try_from(bytes).unwrap_or_default()).to_string()
}

/// RFC 3339 with milliseconds; `None` for a time that is not set.
pub(crate) fn rfc3339(ms: i64) -> Option<String> {
    let ms = u64::try_from(ms).ok().filter(|ms| *ms > 0)?;
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms))?;
    Some(humantime::format_rfc3339_millis(time).to_string())
}

/// For tables: whole seconds, `-` for a time that is not set.
pub(crate) fn seconds(ms: i64) -> String {
    rfc3339(ms).map_or_else(|| "-".to_owned(), |text| text[..19].to_owned() + "Z")
}

/// Milliseconds of a hybrid timestamp.
pub(crate) fn ms_of(ts: u64) -> i64 {
    Timestamp(ts.cast_signed()).ms()
}

/// `null` for a number that is not set.
pub(crate) fn number_or_null(number: i64) -> Value {
    if number == 0 { Value::Null } else { number.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_spaces() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned(), "x".to_owned()],
            vec!["long".to_owned(), "200".to_owned(), "b\nc".to_owned()],
        ];
        assert_eq!(table(&["NAME", "ROWS>", "TEXT"], rows), "NAME  ROWS  TEXT\na        1  x\nlong   200  b\\nc");
    }

    #[test]
    fn facts_are_aligned() {
        assert_eq!(
            facts(&[("name", "a".to_owned()), ("size", "1 B".to_owned()), ("text", String::new())]),
            "name  a\nsize  1 B\ntext"
        );
    }

    #[test]
    fn times_and_sizes_are_readable() {
        assert_eq!(rfc3339(1_700_000_000_123).unwrap(), "2023-11-14T22:13:20.123Z");
        assert_eq!(seconds(1_700_000_000_123), "2023-11-14T22:13:20Z");
        assert_eq!((rfc3339(0), seconds(0)), (None, "-".to_owned()));
        assert_eq!((size(0), size(1_536), size(-1)), ("0 B".to_owned(), "1.50 KiB".to_owned(), "0 B".to_owned()));
        assert_eq!(ms_of(1_700_000_000_123 << 18), 1_700_000_000_123);
    }
}

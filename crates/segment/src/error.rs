//! What can go wrong with a file, by what the caller can do about it.

use crate::file::ROWS_MAX;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why rows did not become a file, or a file rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The collection's schema is wrong; no rows can help.
    #[error("field {field:?} cannot be stored: {why}")]
    Schema {
        /// Name of the field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The rows or the file are of another schema.
    #[error("field {field:?} does not fit its schema: {why}")]
    Field {
        /// Name of the field or column.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// No rows, or more than one file may have: leave the file out or make several.
    #[error("{rows} rows where a file has 1 to {ROWS_MAX}")]
    RowCount {
        /// How many there are.
        rows: usize,
    },
    /// The bytes are not what they should be: nothing but another copy of them can help.
    #[error("cannot read {what}")]
    Damaged {
        /// What they should be.
        what: &'static str,
        /// What the reader says.
        #[source]
        source: Source,
    },
    /// Rows of the right types could not be written: a bug, or no memory.
    #[error("cannot write {what}")]
    Write {
        /// What they should become.
        what: &'static str,
        /// What the writer says.
        #[source]
        source: Source,
    },
}

impl Error {
    pub(crate) fn field(field: &str, why: impl Into<String>) -> Self {
        Self::Field { field: field.to_owned(), why: why.into() }
    }

    pub(crate) fn damaged(what: &'static str, source: impl Into<Source>) -> Self {
        Self::Damaged { what, source: source.into() }
    }

    pub(crate) fn write(what: &'static str, source: impl Into<Source>) -> Self {
        Self::Write { what, source: source.into() }
    }
}

/// Runs a reader of foreign bytes. The Arrow and Parquet readers check most of what they read, but slice, unwrap and
/// assert on some of it: a damaged file must fail its own request, not the task that serves many.
pub(crate) fn guarded<T>(what: &'static str, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(Error::damaged(what, panic_text(&*panic))))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the reader panicked: {}", text.unwrap_or("no text"))
}

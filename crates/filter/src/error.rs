//! Why a text is no filter, and why a filter could not be applied.

use datafusion_common::DataFusionError;
use elanus_types::Failure;
use std::fmt;

/// Longest part of an expression that an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 256;

/// A place in an expression. Both numbers count from one; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Number of the line.
    pub line: usize,
    /// Number of the character in its line.
    pub column: usize,
}

/// The text is no filter of this collection: the user has to change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot parse expression: {expression}, error: {message} at {position}")]
pub struct FilterError {
    /// The text, its end left out when it is long.
    pub expression: String,
    /// What is wrong.
    pub message: String,
    /// Where it is wrong.
    pub position: Position,
}

/// A batch does not have what the filter was made for: a bug of the program, never of the user.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// The batch lacks a column.
    #[error("the batch has no column {0}")]
    NoColumn(String),
    /// A column has another type than its field.
    #[error("column {name} is {found}, its field needs {expected}")]
    ColumnType {
        /// Name of the column.
        name: String,
        /// The type that the field has in Arrow.
        expected: arrow::datatypes::DataType,
        /// The type that the batch has.
        found: arrow::datatypes::DataType,
    },
    /// The engine refused.
    #[error("cannot evaluate the filter")]
    Evaluate(#[source] Box<DataFusionError>),
}

impl From<DataFusionError> for MaskError {
    fn from(error: DataFusionError) -> Self {
        Self::Evaluate(Box::new(error))
    }
}

impl From<MaskError> for Failure {
    fn from(error: MaskError) -> Self {
        match error {
            MaskError::Evaluate(source) => Failure::internal(source.to_string()).context("cannot evaluate the filter"),
            other => Failure::internal(other.to_string()),
        }
    }
}

impl From<FilterError> for Failure {
    fn from(error: FilterError) -> Self {
        Failure::invalid(error.to_string()).context("failed to create query plan")
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

/// An error before it is told where in the text its byte is.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Offset in bytes, on a character boundary.
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    pub(crate) fn place(self, text: &str) -> FilterError {
        let before = text.get(..self.at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let position =
            Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 };
        let expression = match text.char_indices().nth(QUOTED_CHARS_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        };
        FilterError { expression, message: self.message, position }
    }
}

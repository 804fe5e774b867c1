//! What the demo works with: vectors, and the columns beside them. Pure: bytes and rows in, rows out.

use anyhow::{Context as _, Result, ensure};
use elanus_types::schema::DataType;
use std::ops::Range;

/// The digits, as the repository has them; see tests/data/README.md.
const DIGITS: &str = include_str!("../data/digits.csv");
const PIXELS: usize = 64;

/// Name of the key that the demo gives every row: its place in the data.
pub(crate) const KEY: &str = "id";

/// A column beside the vectors: a value, or none, for every row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    /// JSON objects that become the dynamic field.
    pub(crate) dynamic: bool,
    pub(crate) values: Values,
}

/// Values of a column. The three small integer types share one variant, as in the Milvus API.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    Bool(Vec<Option<bool>>),
    Int(Vec<Option<i32>>),
    Long(Vec<Option<i64>>),
    Float(Vec<Option<f32>>),
    Double(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    Json(Vec<Option<String>>),
}

impl Values {
    pub(crate) fn has_nulls(&self) -> bool {
        match self {
            Self::Bool(values) => values.contains(&None),
            Self::Int(values) => values.contains(&None),
            Self::Long(values) => values.contains(&None),
            Self::Float(values) => values.contains(&None),
            Self::Double(values) => values.contains(&None),
            Self::Text(values) | Self::Json(values) => values.contains(&None),
        }
    }

    /// The values of some rows.
    pub(crate) fn slice(&self, rows: Range<usize>) -> Self {
        match self {
            Self::Bool(values) => Self::Bool(values[rows].to_vec()),
            Self::Int(values) => Self::Int(values[rows].to_vec()),
            Self::Long(values) => Self::Long(values[rows].to_vec()),
            Self::Float(values) => Self::Float(values[rows].to_vec()),
            Self::Double(values) => Self::Double(values[rows].to_vec()),
            Self::Text(values) => Self::Text(values[rows].to_vec()),
            Self::Json(values) => Self::Json(values[rows].to_vec()),
        }
    }
}

/// Rows that the demo loads, and what it does with them.
#[derive(Clone, Debug)]
pub(crate) struct Dataset {
    /// For people: "1,797 handwritten digits".
    pub(crate) what: String,
    /// Name of the collection.
    pub(crate) collection: &'static str,
    pub(crate) vector_field: String,
    pub(crate) dim: usize,
    /// Row after row.
    pub(crate) vectors: Vec<f32>,
    pub(crate) columns: Vec<Column>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
    /// The digit that each row shows.
    pub(crate) labels: Option<Vec<i32>>,
    /// A filter for every other recorded search.
    pub(crate) filter: &'static str,
    /// Which rows are deleted after the snapshot.
    pub(crate) deleted: &'static str,
}

impl Dataset {
    /// Vectors without a meaning that the demo knows.
    pub(crate) fn plain(what: String, vector_field: String, dim: usize, vectors: Vec<f32>) -> Self {
        Self {
            what,
            collection: "vectors",
            vector_field,
            dim,
            vectors,
            columns: Vec::new(),
            notes: Vec::new(),
            labels: None,
            filter: "id % 2 == 0",
            deleted: "id % 3 == 0",
        }
    }

    /// The handwritten digits that come with the repository.
    pub(crate) fn digits() -> Result<Self> {
        let (vectors, labels) = parse_digits(DIGITS)?;
        let rows = labels.len();
        let label = Column {
            name: "label".to_owned(),
            data_type: DataType::Int8,
            dynamic: false,
            values: Values::Int(labels.iter().copied().map(Some).collect()),
        };
        let ink = vectors.chunks_exact(PIXELS).map(|pixels| pixels.iter().sum::<f32>());
        let extra = ink.zip(&labels).enumerate().map(|(place, (ink, label))| {
            Some(format!(r#"{{"ink": {ink}, "even": {}, "scan": "digits.csv:{}"}}"#, label % 2 == 0, place + 1))
        });
        let extra = Column {
            name: "$meta".to_owned(),
            data_type: DataType::Json,
            dynamic: true,
            values: Values::Json(extra.collect()),
        };
        Ok(Self {
            collection: "digits",
            columns: vec![label, extra],
            labels: Some(labels),
            filter: r#"even == true and ink > 250"#,
            deleted: "label in [3, 5, 8]",
            ..Self::plain(format!("{} handwritten digits", grouped(rows)), "pixels".to_owned(), PIXELS, vectors)
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.vectors.len() / self.dim
    }

    pub(crate) fn vector(&self, row: usize) -> &[f32] {
        &self.vectors[row * self.dim..][..self.dim]
    }

    pub(crate) fn has_dynamic_field(&self) -> bool {
        self.columns.iter().any(|column| column.dynamic)
    }

    /// Whether a row matches [`Self::deleted`].
    pub(crate) fn is_deleted(&self, row: usize) -> bool {
        match &self.labels {
            Some(labels) => matches!(labels[row], 3 | 5 | 8),
            None => row.is_multiple_of(3),
        }
    }

    /// Some rows with their vectors turned round: data that the collection does not have yet.
    pub(crate) fn turned(&self, rows: Range<usize>) -> Self {
        let vectors = rows.clone().flat_map(|row| self.vector(row).iter().rev().copied()).collect();
        let columns = self.columns.iter();
        let columns = columns.map(|column| Column { values: column.values.slice(rows.clone()), ..column.clone() });
        Self { vectors, columns: columns.collect(), ..self.clone_without_rows() }
    }

    fn clone_without_rows(&self) -> Self {
        Self {
            what: self.what.clone(),
            collection: self.collection,
            vector_field: self.vector_field.clone(),
            dim: self.dim,
            vectors: Vec::new(),
            columns: Vec::new(),
            notes: Vec::new(),
            labels: None,
            filter: self.filter,
            deleted: self.deleted,
        }
    }
}

fn parse_digits(csv: &str) -> Result<(Vec<f32>, Vec<i32>)> {
    let (mut vectors, mut labels) = (Vec::new(), Vec::new());
    for (line, text) in csv.lines().enumerate() {
        let numbers = text.split(',').map(|number| number.trim().parse::<u8>());
        let numbers = numbers.collect::<Result<Vec<_>, _>>().with_context(|| format!("line {} of digits", line + 1))?;
        ensure!(numbers.len() == PIXELS + 1, "line {} of digits has {} numbers", line + 1, numbers.len());
        vectors.extend(numbers[..PIXELS].iter().copied().map(f32::from));
        labels.push(i32::from(numbers[PIXELS]));
    }
    Ok((vectors, labels))
}

/// A number as people read it: 1,797.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_all_there() {
        let digits = Dataset::digits().unwrap();
        assert_eq!((digits.rows(), digits.dim, digits.what.as_str()), (1_797, 64, "1,797 handwritten digits"));
        let labels = digits.labels.unwrap();
        assert!((0..10).all(|digit| labels.iter().filter(|label| **label == digit).count() > 170));
        assert!(digits.vectors.iter().all(|grey| (0.0..=16.0).contains(grey)));
    }

    #[test]
    fn turned_rows_keep_their_columns() {
        let digits = Dataset::digits().unwrap();
        let turned = digits.turned(3..5);
        assert_eq!(turned.rows(), 2);
        assert_eq!(turned.vector(1)[0], digits.vector(4)[63]);
        assert_eq!(turned.columns[0].values, digits.columns[0].values.slice(3..5));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let table = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in table {
            assert_eq!(grouped(number), text);
        }
    }
}

//! What a collection holds at one moment, and how two of them differ. Decides nothing but equality, and says where it ends.

use crate::dataset::{Dataset, KEY};
use crate::milvus::{Hit, Milvus};
use anyhow::{Result, bail, ensure};
use elanus_proto::schema::{FieldData, field_data::Field, scalar_field::Data, vector_field};
use std::ops::Range;

/// Bytes of vectors in one answer, about.
const PAGE_BYTES: usize = 8 << 20;
const PAGE_ROWS_MAX: usize = 10_000;
/// Hits of a recorded search.
pub(crate) const HITS: usize = 10;

/// A search that is asked again later.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) vector: Vec<f32>,
    pub(crate) filter: &'static str,
}

/// Every row with every field, by key, and the answers to some searches.
#[derive(Debug)]
pub(crate) struct Picture {
    pages: Vec<Page>,
    questions: Vec<Question>,
    answers: Vec<Vec<Hit>>,
}

/// All rows with keys in a range.
#[derive(Debug)]
struct Page {
    keys: Range<i64>,
    fields: Vec<FieldData>,
}

impl Picture {
    /// Reads everything. Keys are below `keys_end`.
    pub(crate) async fn take(
        milvus: &Milvus,
        dataset: &Dataset,
        keys_end: i64,
        questions: Vec<Question>,
    ) -> Result<Self> {
        let page_rows = (PAGE_BYTES / (4 * dataset.dim)).clamp(1, PAGE_ROWS_MAX);
        let mut pages = Vec::new();
        for start in (0..keys_end).step_by(page_rows) {
            let keys = start..keys_end.min(start + i64::try_from(page_rows)?);
            let fields = read(milvus, dataset.collection, &keys).await?;
            pages.push(Page { keys, fields });
        }
        let answers = ask(milvus, dataset.collection, &dataset.vector_field, &questions).await?;
        Ok(Self { pages, questions, answers })
    }

    pub(crate) fn rows(&self) -> usize {
        self.pages.iter().map(|page| rows(&page.fields)).sum()
    }

    pub(crate) fn searches(&self) -> usize {
        self.questions.len()
    }

    /// The first row of a collection that is not as it is here.
    pub(crate) async fn first_row_that_differs(&self, milvus: &Milvus, collection: &str) -> Result<Option<String>> {
        for page in &self.pages {
            let found = read(milvus, collection, &page.keys).await?;
            if let Some(difference) = difference(&page.fields, &found) {
                return Ok(Some(difference));
            }
        }
        Ok(None)
    }

    /// The first search with other hits than here.
    pub(crate) async fn first_search_that_differs(
        &self,
        milvus: &Milvus,
        collection: &str,
        field: &str,
    ) -> Result<Option<String>> {
        let found = ask(milvus, collection, field, &self.questions).await?;
        let mut pairs = self.answers.iter().zip(&found).enumerate();
        Ok(pairs
            .find(|(_, (before, now))| before != now)
            .map(|(at, (before, now))| format!("search {at}: {before:?} at the snapshot, now {now:?}")))
    }

    /// That the rows are those of a data set, whose keys are its row numbers.
    pub(crate) fn check_vectors(&self, dataset: &Dataset) -> Result<()> {
        ensure!(self.rows() == dataset.rows(), "{} rows were sent, {} are there", dataset.rows(), self.rows());
        for page in &self.pages {
            let from = usize::try_from(page.keys.start)? * dataset.dim;
            let to = usize::try_from(page.keys.end)? * dataset.dim;
            let same = page.fields.iter().any(|field| match &field.field {
                Some(Field::Vectors(vectors)) => match &vectors.data {
                    Some(vector_field::Data::FloatVector(found)) => found.data == dataset.vectors[from..to],
                    _ => false,
                },
                _ => false,
            });
            ensure!(same, "the vectors of rows {:?} are not those that were sent", page.keys);
        }
        Ok(())
    }
}

async fn read(milvus: &Milvus, collection: &str, keys: &Range<i64>) -> Result<Vec<FieldData>> {
    let expr = format!("{KEY} >= {} and {KEY} < {}", keys.start, keys.end);
    let mut fields = milvus.query(collection, &expr, &["*"]).await?;
    fields.sort_by(|a, b| a.field_name.cmp(&b.field_name));
    ensure!(self::keys(&fields).is_sorted(), "rows of {collection} do not come by key");
    Ok(fields)
}

async fn ask(milvus: &Milvus, collection: &str, field: &str, questions: &[Question]) -> Result<Vec<Vec<Hit>>> {
    let mut answers = Vec::with_capacity(questions.len());
    for question in questions {
        answers.push(milvus.search(collection, field, &question.vector, question.filter, HITS).await?);
    }
    match answers.iter().all(Vec::is_empty) {
        true if !questions.is_empty() => bail!("no search in {collection} finds anything"),
        _ => Ok(answers),
    }
}

fn keys(fields: &[FieldData]) -> &[i64] {
    let key = fields.iter().find(|field| field.field_name == KEY).and_then(|field| field.field.as_ref());
    match key {
        Some(Field::Scalars(scalars)) => match &scalars.data {
            Some(Data::LongData(keys)) => &keys.data,
            _ => &[],
        },
        _ => &[],
    }
}

fn rows(fields: &[FieldData]) -> usize {
    keys(fields).len()
}

/// Where two pages with the same range of keys differ, in words. Both are by key, their fields by name.
fn difference(before: &[FieldData], now: &[FieldData]) -> Option<String> {
    if before == now {
        return None;
    }
    let (had, has) = (keys(before), keys(now));
    if had != has {
        let at = had.iter().zip(has).position(|(had, has)| had != has).unwrap_or(had.len().min(has.len()));
        let text = match (had.get(at), has.get(at)) {
            (Some(had), Some(has)) if had > has => format!("row {has} is there now and was not"),
            (None, Some(has)) => format!("row {has} is there now and was not"),
            (Some(had), _) => format!("row {had} was there and is not"),
            (None, None) => "the keys differ".to_owned(),
        };
        return Some(text);
    }
    let names = |fields: &[FieldData]| fields.iter().map(|field| field.field_name.clone()).collect::<Vec<_>>();
    if names(before) != names(now) {
        return Some(format!("the fields were {}, now {}", names(before).join(", "), names(now).join(", ")));
    }
    let (old, new) = before.iter().zip(now).find(|(old, new)| old != new)?;
    let row = (0..had.len()).find(|row| cell(old, *row) != cell(new, *row));
    Some(match row {
        Some(row) => {
            let (old_cell, new_cell) = (cell(old, row), cell(new, row));
            format!("field {} of row {}: {old_cell} before, {new_cell} now", old.field_name, had[row])
        }
        None => format!(
            "field {}: its description differs: type {}, id {}, before, type {}, id {} now",
            old.field_name, old.r#type, old.field_id, new.r#type, new.field_id
        ),
    })
}

/// A value as text; floats with all their digits.
fn cell(field: &FieldData, row: usize) -> String {
    if field.valid_data.get(row) == Some(&false) {
        return "null".to_owned();
    }
    let text = match &field.field {
        Some(Field::Scalars(scalars)) => match &scalars.data {
            Some(Data::BoolData(values)) => values.data.get(row).map(ToString::to_string),
            Some(Data::IntData(values)) => values.data.get(row).map(ToString::to_string),
            Some(Data::LongData(values)) => values.data.get(row).map(ToString::to_string),
            Some(Data::FloatData(values)) => values.data.get(row).map(|value| format!("{value:?}")),
            Some(Data::DoubleData(values)) => values.data.get(row).map(|value| format!("{value:?}")),
            Some(Data::StringData(values)) => values.data.get(row).map(|value| format!("{value:?}")),
            Some(Data::JsonData(values)) => values.data.get(row).map(|value| String::from_utf8_lossy(value).into()),
            _ => None,
        },
        Some(Field::Vectors(vectors)) => match &vectors.data {
            Some(vector_field::Data::FloatVector(values)) => {
                let dim = usize::try_from(vectors.dim).unwrap_or_default();
                values.data.chunks(dim.max(1)).nth(row).map(|vector| format!("{vector:?}"))
            }
            _ => None,
        },
        _ => None,
    };
    text.unwrap_or_else(|| "nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::schema::{FloatArray, IntArray, LongArray, ScalarField, VectorField};

    fn scalars(name: &str, data: Data) -> FieldData {
        FieldData {
            field_name: name.to_owned(),
            field: Some(Field::Scalars(ScalarField { data: Some(data), valid_data: Vec::new() })),
            ..FieldData::default()
        }
    }

    fn page(keys: &[i64], labels: &[i32], vectors: &[f32]) -> Vec<FieldData> {
        let vectors = Some(vector_field::Data::FloatVector(FloatArray { data: vectors.to_vec() }));
        vec![
            scalars(KEY, Data::LongData(LongArray { data: keys.to_vec() })),
            scalars("label", Data::IntData(IntArray { data: labels.to_vec() })),
            FieldData {
                field_name: "v".to_owned(),
                field: Some(Field::Vectors(VectorField { dim: 2, data: vectors, valid_data: Vec::new() })),
                ..FieldData::default()
            },
        ]
    }

    #[test]
    fn a_difference_is_told_where_it_is() {
        let before = page(&[1, 2], &[7, 8], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(difference(&before, &before.clone()), None);
        let mut nullable = before.clone();
        nullable[1].valid_data = vec![true, false];
        let mut renumbered = before.clone();
        renumbered[1].field_id = 9;
        let table = [
            (page(&[1], &[7], &[1.0, 2.0]), "row 2 was there and is not"),
            (page(&[1, 2, 3], &[7, 8, 9], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), "row 3 is there now and was not"),
            (page(&[0, 1, 2], &[7, 7, 8], &[1.0; 6]), "row 0 is there now and was not"),
            (page(&[1, 2], &[7, 9], &[1.0, 2.0, 3.0, 4.0]), "field label of row 2: 8 before, 9 now"),
            (page(&[1, 2], &[7, 8], &[1.0, 2.0, 3.0, 4.5]), "field v of row 2: [3.0, 4.0] before, [3.0, 4.5] now"),
            (before[..2].to_vec(), "the fields were id, label, v, now id, label"),
            (nullable, "field label of row 2: 8 before, null now"),
            (renumbered, "field label: its description differs"),
        ];
        for (now, part) in table {
            let text = difference(&before, &now).unwrap();
            assert!(text.contains(part), "{text} / {part}");
        }
    }

    #[test]
    fn hits_are_the_same_when_every_bit_of_the_score_is() {
        let hit = |score| Hit { key: 1, score };
        assert_eq!(hit(1.5), hit(1.5));
        assert_ne!(hit(0.0), hit(-0.0));
        assert_ne!(hit(1.0), hit(1.0 + f32::EPSILON));
    }
}

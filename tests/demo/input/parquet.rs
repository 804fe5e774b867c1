//! `.parquet`: the first column that is a list of floats is the vector; columns beside it are taken along when the server
//! has their type, else left out with a note.

use super::{Vectors, check_finite, check_shape, narrow, title};
use crate::dataset::{Column, Dataset, KEY, Values};
use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType as ArrowType, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema,
};
use arrow::error::ArrowError;
use bytes::Bytes;
use elanus_types::schema::DataType;
use std::panic::{AssertUnwindSafe, catch_unwind};

const MAGIC: &[u8; 4] = b"PAR1";
/// Columns beside the vector; the server takes some more.
const COLUMNS_MAX: usize = 32;
/// Longest text that a varchar field takes, in bytes.
const TEXT_BYTES_MAX: usize = 65_535;
/// Names that the server or its filter language keeps for itself.
const WORDS: [&str; 12] =
    ["and", "or", "not", "in", "like", "is", "null", "true", "false", "exists", "json_contains", "array_contains"];

pub(super) fn decode(bytes: Bytes, file: &str) -> Result<Dataset> {
    ensure!(bytes.starts_with(MAGIC), "byte 0: this is no Parquet file, it does not start with PAR1");
    ensure!(
        bytes.len() >= 12 && bytes.ends_with(MAGIC),
        "the file ends at byte {} without PAR1: it is cut off",
        bytes.len()
    );
    // The reader asserts on some of what it reads; a damaged file is an error, not a crash.
    let read = catch_unwind(AssertUnwindSafe(|| read(bytes, file)));
    read.unwrap_or_else(|_| bail!("the file is damaged: the Parquet reader gave up"))
}

fn read(bytes: Bytes, file: &str) -> Result<Dataset> {
    // Without the Arrow types that other writers leave in the file there is one type for each kind of list and text.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&bytes, options).context("the file is damaged")?;
    let rows = usize::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or_default();
    let plan = Plan::of(metadata.schema())?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
    let roots = ProjectionMask::roots(builder.parquet_schema(), plan.roots());
    let mut batches = builder.with_projection(roots).with_batch_size(4_096).build().context("the file is damaged")?;

    let mut vectors = Vectors { dim: 0, values: Vec::new() };
    let mut columns: Vec<_> = plan.columns.iter().map(|(_, column)| Gathered::new(column.clone())).collect();
    let mut row = 0;
    while let Some(batch) = batches.next().transpose().map_err(|error| unreadable(&error, row))? {
        append_vectors(&mut vectors, &batch, &plan.vector, row, rows)?;
        for column in &mut columns {
            column.append(&batch)?;
        }
        row += batch.num_rows();
    }
    ensure!(row > 0, "it has no rows");
    ensure!(row == rows, "it has {row} rows and claims {rows}");

    let mut dataset = Dataset::plain(title(file, &vectors), plan.vector, vectors.dim, vectors.values);
    dataset.notes = plan.notes;
    for gathered in columns {
        match gathered.refused {
            Some(why) => dataset.notes.push(format!("column {} is left out: {why}", gathered.column.name)),
            None => dataset.columns.push(gathered.column),
        }
    }
    Ok(dataset)
}

fn unreadable(error: &ArrowError, row: usize) -> anyhow::Error {
    let text = error.to_string();
    // The reader has no other way to say it.
    if text.contains("Disabled feature at compile time") {
        return anyhow!("its compression is not read by this build: write it with snappy, zstd or without compression");
    }
    anyhow!("row {row} or a later one: {text}")
}

/// Which columns are read.
struct Plan {
    vector: String,
    vector_root: usize,
    columns: Vec<(usize, Column)>,
    notes: Vec<String>,
}

impl Plan {
    fn of(schema: &Schema) -> Result<Self> {
        let fields = schema.fields();
        let Some(vector_root) = fields.iter().position(|field| is_vector(field)) else {
            let columns: Vec<_> =
                fields.iter().map(|field| format!("{} ({})", field.name(), field.data_type())).collect();
            bail!("no column is a list of 32- or 64-bit floats; there are: {}", columns.join(", "));
        };
        let vector = fields[vector_root].name().clone();
        check_name(&vector).map_err(|why| anyhow!("the column of vectors is called {vector:?}: {why}"))?;
        let (mut columns, mut notes) = (Vec::<(usize, Column)>::new(), Vec::new());
        for (root, field) in fields.iter().enumerate().filter(|(root, _)| *root != vector_root) {
            let name = field.name();
            let fits = check_name(name).and_then(|()| match empty_column(field) {
                Some(_) if columns.len() == COLUMNS_MAX => Err(format!("{COLUMNS_MAX} columns are taken at most")),
                Some(_) if *name == vector || columns.iter().any(|(_, other)| other.name == *name) => {
                    Err("another column has its name".to_owned())
                }
                Some(column) => Ok(column),
                None => Err(format!("the type {} is not served", field.data_type())),
            });
            match fits {
                Ok(column) => columns.push((root, column)),
                Err(why) => notes.push(format!("column {name} is left out: {why}")),
            }
        }
        Ok(Self { vector, vector_root, columns, notes })
    }

    fn roots(&self) -> Vec<usize> {
        self.columns.iter().map(|(root, _)| *root).chain([self.vector_root]).collect()
    }
}

fn is_vector(field: &Field) -> bool {
    match field.data_type() {
        ArrowType::List(item) => matches!(item.data_type(), ArrowType::Float32 | ArrowType::Float64),
        _ => false,
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !(first && rest) || name.len() > 255 {
        return Err("names have letters, digits and underscores, and start with no digit".to_owned());
    }
    if name == KEY {
        return Err("the demo calls its own key so".to_owned());
    }
    if WORDS.iter().any(|word| word.eq_ignore_ascii_case(name)) {
        return Err("it is a word of the filter language".to_owned());
    }
    Ok(())
}

fn empty_column(field: &Field) -> Option<Column> {
    let (data_type, values) = match field.data_type() {
        ArrowType::Boolean => (DataType::Bool, Values::Bool(Vec::new())),
        ArrowType::Int8 => (DataType::Int8, Values::Int(Vec::new())),
        ArrowType::Int16 => (DataType::Int16, Values::Int(Vec::new())),
        ArrowType::Int32 => (DataType::Int32, Values::Int(Vec::new())),
        ArrowType::Int64 => (DataType::Int64, Values::Long(Vec::new())),
        ArrowType::Float32 => (DataType::Float, Values::Float(Vec::new())),
        ArrowType::Float64 => (DataType::Double, Values::Double(Vec::new())),
        ArrowType::Utf8 => (DataType::VarChar, Values::Text(Vec::new())),
        _ => return None,
    };
    Some(Column { name: field.name().clone(), data_type, dynamic: false, values })
}

fn append_vectors(vectors: &mut Vectors, batch: &RecordBatch, name: &str, first_row: usize, rows: usize) -> Result<()> {
    let lists = batch.column_by_name(name).and_then(|column| column.as_list_opt::<i32>());
    let lists = lists.context("the column of vectors changes its type")?;
    for at in 0..lists.len() {
        let row = first_row + at;
        ensure!(lists.is_valid(at), "row {row}: it has no vector");
        let vector = lists.value(at);
        if row == 0 {
            vectors.dim = vector.len();
            check_shape(rows, vectors.dim)?;
            vectors.values.reserve_exact(rows * vectors.dim);
        }
        let dim = vectors.dim;
        ensure!(vector.len() == dim, "row {row}: {} elements, the rows before have {dim}", vector.len());
        append_elements(&mut vectors.values, &vector, row)?;
        check_finite(row, &vectors.values[row * dim..])?;
    }
    Ok(())
}

fn append_elements(values: &mut Vec<f32>, vector: &ArrayRef, row: usize) -> Result<()> {
    ensure!(vector.null_count() == 0, "row {row}: an element of the vector has no value");
    match vector.as_primitive_opt::<Float32Type>() {
        Some(elements) => values.extend_from_slice(elements.values()),
        None => {
            let elements =
                vector.as_primitive_opt::<Float64Type>().context("the column of vectors changes its type")?;
            values.extend(elements.values().iter().copied().map(narrow));
        }
    }
    Ok(())
}

/// A column while its batches come in.
struct Gathered {
    column: Column,
    /// Why the server would not take it.
    refused: Option<String>,
}

impl Gathered {
    fn new(column: Column) -> Self {
        Self { column, refused: None }
    }

    fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let name = &self.column.name;
        let array = batch.column_by_name(name).with_context(|| format!("column {name} is not in every batch"))?;
        match (&mut self.column.values, self.column.data_type) {
            (Values::Bool(values), _) => values.extend(array.as_boolean().iter()),
            (Values::Int(values), DataType::Int8) => {
                values.extend(array.as_primitive::<Int8Type>().iter().map(|value| value.map(i32::from)));
            }
            (Values::Int(values), DataType::Int16) => {
                values.extend(array.as_primitive::<Int16Type>().iter().map(|value| value.map(i32::from)));
            }
            (Values::Int(values), _) => values.extend(array.as_primitive::<Int32Type>().iter()),
            (Values::Long(values), _) => values.extend(array.as_primitive::<Int64Type>().iter()),
            (Values::Float(values), _) => {
                let array = array.as_primitive::<Float32Type>();
                self.refused = self.refused.take().or_else(|| not_finite(array.iter().flatten().all(f32::is_finite)));
                values.extend(array.iter());
            }
            (Values::Double(values), _) => {
                let array = array.as_primitive::<Float64Type>();
                self.refused = self.refused.take().or_else(|| not_finite(array.iter().flatten().all(f64::is_finite)));
                values.extend(array.iter());
            }
            (Values::Text(values) | Values::Json(values), _) => {
                let array = array.as_string::<i32>();
                if array.iter().flatten().any(|text| text.len() > TEXT_BYTES_MAX) {
                    self.refused = Some(format!("a text is longer than {TEXT_BYTES_MAX} bytes"));
                }
                values.extend(array.iter().map(|text| text.map(str::to_owned)));
            }
        }
        Ok(())
    }
}

fn not_finite(finite: bool) -> Option<String> {
    (!finite).then(|| "it has values that are no numbers or infinite".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::parquet::arrow::ArrowWriter;
    use arrow::array::{
        BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
        Int64Array, ListArray, StringArray, UInt32Array,
    };
    use std::sync::Arc;

    fn file(columns: Vec<(&str, ArrayRef)>) -> Bytes {
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, a)| (name, a, true)));
        let batch = batch.unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap().into()
    }

    fn lists(rows: &[Option<&[Option<f32>]>]) -> ArrayRef {
        let rows = rows.iter().map(|row| row.map(<[_]>::to_vec));
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
    }

    fn pair(rows: usize) -> ArrayRef {
        let rows = (0..rows).map(|row| Some(vec![Some(row as f64), Some(0.5)]));
        Arc::new(FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(rows, 2))
    }

    #[test]
    fn vectors_and_columns_of_served_types_come_along() {
        let bytes = file(vec![
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("tiny", Arc::new(Int8Array::from(vec![-8, 8]))),
            ("small", Arc::new(Int16Array::from(vec![-16, 16]))),
            ("medium", Arc::new(Int32Array::from(vec![-32, 32]))),
            ("large", Arc::new(Int64Array::from(vec![Some(-64), None]))),
            ("v", pair(2)),
            ("single", Arc::new(Float32Array::from(vec![0.5, 1.5]))),
            ("double", Arc::new(Float64Array::from(vec![0.25, 0.75]))),
            ("text", Arc::new(StringArray::from(vec![Some("a"), None]))),
        ]);
        let dataset = decode(bytes, "x.parquet").unwrap();
        assert_eq!((dataset.dim, dataset.vector_field.as_str(), dataset.notes.len()), (2, "v", 0));
        assert_eq!(dataset.vectors, [0.0, 0.5, 1.0, 0.5]);
        let names: Vec<_> = dataset.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["flag", "tiny", "small", "medium", "large", "single", "double", "text"]);
        assert_eq!(dataset.columns[4].values, Values::Long(vec![Some(-64), None]));
        assert_eq!(dataset.columns[7].values, Values::Text(vec![Some("a".to_owned()), None]));
    }

    #[test]
    fn the_first_list_of_floats_is_the_vector_and_the_rest_is_left_out_with_a_note() {
        let bytes = file(vec![
            ("id", Arc::new(Int64Array::from(vec![1]))),
            ("a b", Arc::new(Int64Array::from(vec![1]))),
            ("Like", Arc::new(Int64Array::from(vec![1]))),
            ("count", Arc::new(UInt32Array::from(vec![1]))),
            ("raw", Arc::new(BinaryArray::from(vec![b"x".as_slice()]))),
            ("v", pair(1)),
            ("w", pair(1)),
            ("nan", Arc::new(Float64Array::from(vec![f64::NAN]))),
            ("long", Arc::new(StringArray::from(vec!["x".repeat(65_536)]))),
            ("good", Arc::new(Int64Array::from(vec![1]))),
        ]);
        let dataset = decode(bytes, "x.parquet").unwrap();
        assert_eq!(dataset.vector_field, "v");
        assert_eq!(dataset.columns.len(), 1);
        assert_eq!(dataset.columns[0].name, "good");
        for part in ["id", "a b", "Like", "count", "raw", "w", "nan", "long"] {
            let note = format!("column {part} is left out: ");
            assert!(dataset.notes.iter().any(|found| found.starts_with(&note)), "{:?}", dataset.notes);
        }
    }

    #[test]
    fn a_bad_file_is_refused_with_the_row_or_the_byte() {
        let one: &[Option<f32>] = &[Some(1.0), Some(2.0)];
        let table: Vec<(Bytes, &str)> = vec![
            (Bytes::new(), "byte 0: this is no Parquet file"),
            (Bytes::from_static(b"\x93NUMPY......"), "byte 0: this is no Parquet file"),
            (Bytes::from_static(b"PAR1"), "the file ends at byte 4"),
            (file(vec![("v", pair(9))]).slice(..100), "the file ends at byte 100"),
            (Bytes::from_static(b"PAR1\xff\xff\xff\x7fPAR1"), "the file is damaged"),
            (file(vec![("n", Arc::new(Int64Array::from(vec![1])))]), "there are: n (Int64)"),
            (file(vec![("a b", pair(1))]), "the column of vectors is called \"a b\""),
            (file(vec![("v", pair(0))]), "it has no rows"),
            (file(vec![("v", lists(&[Some(one), None]))]), "row 1: it has no vector"),
            (file(vec![("v", lists(&[Some(one), Some(&[Some(1.0), None])]))]), "row 1: an element"),
            (file(vec![("v", lists(&[Some(one), Some(&[Some(1.0)])]))]), "row 1: 1 elements, the rows before have 2"),
            (file(vec![("v", lists(&[Some(one), Some(&[Some(1.0), Some(f32::NAN)])]))]), "row 1: element 1 is NaN"),
            (file(vec![("v", lists(&[Some(&[Some(1.0)])]))]), "1 elements a vector: 2 to 32768"),
        ];
        for (bytes, part) in table {
            let text = format!("{:#}", decode(bytes, "x.parquet").unwrap_err());
            assert!(text.contains(part), "{text} / {part}");
        }
    }

    #[test]
    fn damage_anywhere_is_an_error_or_harmless_and_never_a_crash() {
        let good = file(vec![("v", pair(50)), ("n", Arc::new(Int64Array::from_iter_values(0..50)))]);
        for at in 0..good.len() {
            let mut bytes = good.to_vec();
            bytes[at] ^= 0x55;
            // Values may change unnoticed: a file of the user's has no checksum to compare with.
            drop(decode(bytes.into(), "x.parquet"));
        }
    }
}

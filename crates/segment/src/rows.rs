//! Rows of a collection as a Parquet file.

use crate::schema::{fit, storable};
use crate::{EncodedFile, Error, TIMESTAMP_COLUMN, file};
use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use bytes::Bytes;
use elanus_types::schema::CollectionSchema;
use std::sync::Arc;

const WHAT: &str = "a file of rows";

/// Writes rows as one file. The batch has the columns of [`arrow_schema`](crate::arrow_schema), in any order.
///
/// # Errors
/// When the rows are not of this schema, or are none or too many.
pub fn encode_rows(schema: &CollectionSchema, rows: &RecordBatch) -> Result<EncodedFile, Error> {
    let batch = conform(schema, rows)?;
    ts_offsets(&batch)?;
    file::write(WHAT, &batch, &schema.primary_key().name)
}

/// Reads a file of rows, whatever the fields were called when it was written. The batch has exactly the columns of
/// [`arrow_schema`](crate::arrow_schema); a nullable field that the file does not have is null in every row.
///
/// # Errors
/// When the bytes are no such file, or a column is of another type or misses values that must be there.
pub fn decode_rows(schema: &CollectionSchema, bytes: Bytes) -> Result<RecordBatch, Error> {
    let batch = file::read(WHAT, &storable(schema)?, bytes)?;
    ts_offsets(&batch)?;
    Ok(batch)
}

/// Reads a file of rows in batches of at most `batch_rows_max`, each as [`decode_rows`] gives it. An error is the last item.
#[derive(Debug)]
pub struct RowBatches(file::Reader);

impl RowBatches {
    /// Opens the file.
    ///
    /// # Errors
    /// When the bytes are no file of rows of this schema.
    pub fn open(schema: &CollectionSchema, bytes: Bytes, batch_rows_max: usize) -> Result<Self, Error> {
        file::Reader::open(WHAT, &storable(schema)?, bytes, Some(batch_rows_max.max(1))).map(Self)
    }

    /// Rows of the whole file.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.0.rows()
    }
}

impl Iterator for RowBatches {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|batch| batch.and_then(|batch| ts_offsets(&batch).map(|_| batch)))
    }
}

/// Writes a file of rows batch by batch. What is in memory is the file so far, and one row group.
#[derive(Debug)]
pub struct RowsWriter(file::Writer);

impl RowsWriter {
    /// A file of rows of this schema.
    ///
    /// # Errors
    /// When files cannot hold a field of the schema.
    pub fn new(schema: &CollectionSchema) -> Result<Self, Error> {
        file::Writer::new(WHAT, &storable(schema)?, &schema.primary_key().name).map(Self)
    }

    /// Adds rows, as [`RowBatches`] gives them.
    ///
    /// # Errors
    /// When they are of another schema, or the file would have more than [`ROWS_MAX`](crate::ROWS_MAX) rows.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        ts_offsets(rows)?;
        self.0.write(rows)
    }

    /// The file; `None` when no rows were added.
    ///
    /// # Errors
    /// When it cannot be written: a bug, or no memory.
    pub fn finish(self) -> Result<Option<EncodedFile>, Error> {
        self.0.finish()
    }
}

/// The offset of each row's commit in its commit group; its timestamp is the file's `base_ts` plus this.
///
/// # Errors
/// When the batch has no column of them, or one is missing or negative.
pub fn ts_offsets(batch: &RecordBatch) -> Result<Int64Array, Error> {
    let refuse = |why| Err(Error::field(TIMESTAMP_COLUMN, why));
    match batch.column_by_name(TIMESTAMP_COLUMN) {
        Some(column) if column.data_type() == &ArrowType::Int64 => {
            let offsets = column.as_primitive::<Int64Type>();
            if offsets.null_count() > 0 || offsets.values().iter().any(|offset| *offset < 0) {
                return refuse("an offset is missing or negative");
            }
            Ok(offsets.clone())
        }
        Some(_) => refuse("it is not int64"),
        None => refuse("there is no such column"),
    }
}

/// The same rows with the columns in the schema's order and with the schema's metadata.
fn conform(schema: &CollectionSchema, rows: &RecordBatch) -> Result<RecordBatch, Error> {
    let wanted = storable(schema)?;
    if let Some(other) = rows.schema_ref().fields().iter().find(|field| wanted.index_of(field.name()).is_err()) {
        return Err(Error::field(other.name(), "the schema has no such field"));
    }
    let columns = wanted.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) => fit(field, column),
        None => Err(Error::field(field.name(), "the rows do not have it")),
    });
    let columns = columns.collect::<Result<Vec<_>, Error>>()?;
    RecordBatch::try_new(Arc::clone(&wanted), columns).map_err(|e| Error::write(WHAT, e))
}

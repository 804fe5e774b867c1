//! Columns to Parquet and back, for any list of columns that carry field ids.

use crate::defaults::absent_column;
use crate::error::guarded;
use crate::schema::{fit, id_of};
use crate::{Error, PkColumn, PkValue, checksum, footer, memory};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use bytes::Bytes;
use elanus_types::Checksum;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::sync::Arc;

/// Most rows that one file or one message has.
pub const ROWS_MAX: usize = 1 << 24;
/// Rows of one row group: what a reader that wants a few rows must decode.
const GROUP_ROWS_MAX: usize = 1 << 16;

/// A file and what the metadata store keeps of it.
#[derive(Clone, Debug)]
pub struct EncodedFile {
    /// The file.
    pub bytes: Bytes,
    /// At least one.
    pub rows: u64,
    /// Of `bytes`.
    pub checksum: Checksum,
    /// The smallest primary key.
    pub pk_min: PkValue,
    /// The largest primary key.
    pub pk_max: PkValue,
}

/// Writes a batch as one Parquet file. `pk` is the name of the column of primary keys.
pub(crate) fn write(what: &'static str, batch: &RecordBatch, pk: &str) -> Result<EncodedFile, Error> {
    let mut writer = Writer::new(what, &batch.schema(), pk)?;
    writer.write(batch)?;
    writer.finish()?.ok_or(Error::RowCount { rows: 0 })
}

/// Writes one Parquet file batch by batch: what is in memory is the file so far, and one row group.
#[derive(Debug)]
pub(crate) struct Writer {
    what: &'static str,
    pk: String,
    parquet: ArrowWriter<Vec<u8>>,
    rows: usize,
    range: Option<(PkValue, PkValue)>,
}

impl Writer {
    /// A file of batches of this schema.
    pub(crate) fn new(what: &'static str, schema: &SchemaRef, pk: &str) -> Result<Self, Error> {
        let parquet = open_parquet(schema, pk).map_err(|e| Error::write(what, e))?;
        Ok(Self { what, pk: pk.to_owned(), parquet, rows: 0, range: None })
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let Some((min, max)) = PkColumn::from_batch(batch, &self.pk)?.min_max() else { return Ok(()) };
        self.rows = self.rows.saturating_add(batch.num_rows());
        if self.rows > ROWS_MAX {
            return Err(Error::RowCount { rows: self.rows });
        }
        self.range = Some(match self.range.take() {
            Some((known_min, known_max)) => (known_min.min(min), known_max.max(max)),
            None => (min, max),
        });
        self.parquet.write(batch).map_err(|e| Error::write(self.what, e))
    }

    /// The file; `None` when it would have no rows.
    pub(crate) fn finish(self) -> Result<Option<EncodedFile>, Error> {
        let Some((pk_min, pk_max)) = self.range else { return Ok(None) };
        let bytes = Bytes::from(self.parquet.into_inner().map_err(|e| Error::write(self.what, e))?);
        Ok(Some(EncodedFile { rows: self.rows as u64, checksum: checksum(&bytes), bytes, pk_min, pk_max }))
    }
}

fn open_parquet(schema: &SchemaRef, pk: &str) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("elanus version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for leaf in ArrowSchemaConverter::new().convert(schema)?.columns() {
        let path = leaf.path().clone();
        let bytes = schema.field_with_name(&path.parts()[0]).is_ok_and(|column| is_bytes(column.data_type()));
        if path.parts().len() > 1 || bytes {
            // Vectors and their elements: hardly one is there twice, and their order says nothing.
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None);
        } else if path.parts().first().is_some_and(|name| name == pk) {
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties.build()))
}

fn is_bytes(data_type: &ArrowType) -> bool {
    matches!(data_type, ArrowType::FixedSizeBinary(_) | ArrowType::Binary)
}

/// Reads the wanted columns, found by field id, as one batch with exactly this schema.
pub(crate) fn read(what: &'static str, wanted: &SchemaRef, bytes: Bytes) -> Result<RecordBatch, Error> {
    let reader = Reader::open(what, wanted, bytes, None)?;
    let batches = reader.collect::<Result<Vec<_>, Error>>()?;
    match <[RecordBatch; 1]>::try_from(batches) {
        Ok([batch]) => Ok(batch),
        Err(batches) => concat_batches(wanted, &batches).map_err(|e| Error::damaged(what, e)),
    }
}

/// Reads a file batch by batch, each with exactly the wanted schema. An error is the last item.
#[derive(Debug)]
pub(crate) struct Reader {
    what: &'static str,
    wanted: SchemaRef,
    batches: Option<ParquetRecordBatchReader>,
    rows: usize,
    rows_left: usize,
}

impl Reader {
    /// Opens a file for batches of at most so many rows; `None`: of as many as its size explains, mostly all.
    pub(crate) fn open(
        what: &'static str,
        wanted: &SchemaRef,
        bytes: Bytes,
        batch_rows_max: Option<usize>,
    ) -> Result<Self, Error> {
        if !footer::is_plausible(&bytes) {
            return Err(Error::damaged(what, "it has no plausible Parquet footer"));
        }
        guarded(what, || {
            let (batches, rows) = open_found(what, wanted, bytes, batch_rows_max)?;
            Ok(Self { what, wanted: Arc::clone(wanted), batches: Some(batches), rows, rows_left: rows })
        })
    }

    /// Rows of the whole file.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    fn read_next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let (what, wanted) = (self.what, &self.wanted);
        let Some(batches) = &mut self.batches else { return Ok(None) };
        let found = guarded(what, || batches.next().transpose().map_err(|e| Error::damaged(what, e)))?;
        let Some(found) = found else {
            if self.rows_left == 0 {
                return Ok(None);
            }
            let (rows, missing) = (self.rows, self.rows_left);
            return Err(Error::damaged(what, format!("it has {} of {rows} rows", rows - missing)));
        };
        let rows = found.num_rows();
        self.rows_left = self
            .rows_left
            .checked_sub(rows)
            .ok_or_else(|| Error::damaged(what, format!("it has more than {} rows", self.rows)))?;
        guarded(what, || {
            let columns = wanted.fields().iter().map(|field| match position(found.schema_ref(), field) {
                Some(at) => fit(field, found.column(at)),
                // The file is older than the field.
                None => absent_column(field, rows).ok_or_else(|| missing(field)),
            });
            let columns = columns.collect::<Result<Vec<ArrayRef>, Error>>()?;
            RecordBatch::try_new(Arc::clone(wanted), columns).map(Some).map_err(|e| Error::damaged(what, e))
        })
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read_next().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.batches = None;
        }
        next
    }
}

fn position(schema: &Schema, wanted: &Field) -> Option<usize> {
    schema.fields().iter().position(|field| id_of(field).is_some() && id_of(field) == id_of(wanted))
}

/// Those of the wanted columns that the file has, in the file's order; and the number of rows.
fn open_found(
    what: &'static str,
    wanted: &SchemaRef,
    bytes: Bytes,
    batch_rows_max: Option<usize>,
) -> Result<(ParquetRecordBatchReader, usize), Error> {
    let damaged = |e: ParquetError| Error::damaged(what, e);
    // What other writers say about Arrow types in the file is not needed: the wanted columns say it.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let inferred = ArrowReaderMetadata::load(&bytes, options.clone()).map_err(damaged)?;
    let (columns, roots) = resolve(wanted, inferred.schema())?;

    let rows = inferred.metadata().row_groups().iter().try_fold(0_usize, |sum, group| {
        sum.checked_add(usize::try_from(group.num_rows()).ok()?).filter(|sum| *sum <= ROWS_MAX)
    });
    let rows = rows.ok_or_else(|| Error::damaged(what, format!("it claims more than {ROWS_MAX} rows")))?;

    if !memory::explains(&bytes, inferred.metadata()) {
        return Err(Error::damaged(what, "a page of it claims to be larger than its bytes can make it"));
    }
    let rows_at_once = memory::rows_at_once(wanted, rows, bytes.len());

    let typed = ArrowReaderMetadata::try_new(Arc::clone(inferred.metadata()), options.with_schema(columns));
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, typed.map_err(damaged)?);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let batch_rows = batch_rows_max.unwrap_or(rows).min(rows_at_once).max(1);
    let reader = builder.with_projection(mask).with_batch_size(batch_rows).build().map_err(damaged)?;
    Ok((reader, rows))
}

/// The file's columns with the wanted types, and the positions of the wanted ones among them.
fn resolve(wanted: &Schema, found: &Schema) -> Result<(SchemaRef, Vec<usize>), Error> {
    let mut columns: Vec<Field> = found.fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut roots = Vec::new();
    for field in wanted.fields() {
        let mut same = (0..columns.len()).filter(|at| id_of(&columns[*at]).is_some_and(|id| Some(id) == id_of(field)));
        match (same.next(), same.next()) {
            (Some(at), None) => {
                columns[at] = typed(field, &columns[at])?;
                roots.push(at);
            }
            (None, _) if absent_column(field, 0).is_some() => {}
            (None, _) => return Err(missing(field)),
            (Some(_), Some(_)) => return Err(Error::field(field.name(), "the file has two columns with its id")),
        }
    }
    Ok((Arc::new(Schema::new(columns)), roots))
}

fn missing(field: &Field) -> Error {
    Error::field(field.name(), "the file does not have it, and it is not nullable")
}

/// Parquet knows lists, but not that all of a column have one length: that is told to the reader, which checks it.
fn typed(wanted: &Field, found: &Field) -> Result<Field, Error> {
    match (wanted.data_type(), found.data_type()) {
        (ArrowType::FixedSizeList(_, dim), ArrowType::List(item)) if item.data_type() == &ArrowType::Float32 => {
            Ok(found.clone().with_data_type(ArrowType::FixedSizeList(Arc::clone(item), *dim)))
        }
        // Names and nullability of the items differ between writers.
        (ArrowType::List(item), ArrowType::List(same)) if item.data_type() == same.data_type() => Ok(found.clone()),
        (wanted, same) if wanted == same => Ok(found.clone()),
        (as_wanted, other) => Err(Error::field(wanted.name(), format!("the file has {other} instead of {as_wanted}"))),
    }
}

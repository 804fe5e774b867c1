//! Columns to Parquet and back, for any list of columns that carry field ids.

use crate::error::guarded;
use crate::schema::{fit, id_of};
use crate::{Error, PkColumn, PkValue, checksum, footer};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchReader, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use bytes::Bytes;
use elanus_types::Checksum;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
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
    let rows = batch.num_rows();
    let keys = PkColumn::from_batch(batch, pk)?;
    let (pk_min, pk_max) = match keys.min_max() {
        Some(range) if rows <= ROWS_MAX => range,
        _ => return Err(Error::RowCount { rows }),
    };
    let bytes = write_parquet(batch, pk).map_err(|e| Error::write(what, e))?;
    Ok(EncodedFile { rows: rows as u64, checksum: checksum(&bytes), bytes, pk_min, pk_max })
}

fn write_parquet(batch: &RecordBatch, pk: &str) -> Result<Bytes, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("elanus version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for leaf in ArrowSchemaConverter::new().convert(&batch.schema())?.columns() {
        let path = leaf.path().clone();
        if path.parts().len() > 1 {
            // Elements of vectors: hardly one is there twice, and their order says nothing.
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None);
        } else if path.parts().first().is_some_and(|name| name == pk) {
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build()))?;
    writer.write(batch)?;
    Ok(writer.into_inner()?.into())
}

/// Reads the wanted columns, found by field id, as one batch with exactly this schema.
pub(crate) fn read(what: &'static str, wanted: &SchemaRef, bytes: Bytes) -> Result<RecordBatch, Error> {
    if !footer::is_plausible(&bytes) {
        return Err(Error::damaged(what, "it has no plausible Parquet footer"));
    }
    guarded(what, || {
        let found = read_found(what, wanted, bytes)?;
        let rows = found.num_rows();
        let columns = wanted.fields().iter().map(|field| match position(found.schema_ref(), field) {
            Some(at) => fit(field, found.column(at)),
            None => Ok(new_null_array(field.data_type(), rows)),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, Error>>()?;
        RecordBatch::try_new(Arc::clone(wanted), columns).map_err(|e| Error::damaged(what, e))
    })
}

fn position(schema: &Schema, wanted: &Field) -> Option<usize> {
    schema.fields().iter().position(|field| id_of(field).is_some() && id_of(field) == id_of(wanted))
}

/// Those of the wanted columns that the file has, in the file's order.
fn read_found(what: &'static str, wanted: &SchemaRef, bytes: Bytes) -> Result<RecordBatch, Error> {
    let damaged = |e: ParquetError| Error::damaged(what, e);
    // What other writers say about Arrow types in the file is not needed: the wanted columns say it.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let inferred = ArrowReaderMetadata::load(&bytes, options.clone()).map_err(damaged)?;
    let (columns, roots) = resolve(wanted, inferred.schema())?;

    let rows = inferred.metadata().row_groups().iter().try_fold(0_usize, |sum, group| {
        sum.checked_add(usize::try_from(group.num_rows()).ok()?).filter(|sum| *sum <= ROWS_MAX)
    });
    let rows = rows.ok_or_else(|| Error::damaged(what, format!("it claims more than {ROWS_MAX} rows")))?;

    let typed = ArrowReaderMetadata::try_new(Arc::clone(inferred.metadata()), options.with_schema(columns));
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, typed.map_err(damaged)?);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder.with_projection(mask).with_batch_size(rows.max(1)).build().map_err(damaged)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|e| Error::damaged(what, e))?;
    let batch = match <[RecordBatch; 1]>::try_from(batches) {
        Ok([batch]) => batch,
        Err(batches) => concat_batches(&schema, &batches).map_err(|e| Error::damaged(what, e))?,
    };
    if batch.num_rows() != rows {
        return Err(Error::damaged(what, format!("it has {} of {rows} rows", batch.num_rows())));
    }
    Ok(batch)
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
            (None, _) if field.is_nullable() => {}
            (None, _) => {
                return Err(Error::field(field.name(), "the file does not have it, and it is not nullable"));
            }
            (Some(_), Some(_)) => return Err(Error::field(field.name(), "the file has two columns with its id")),
        }
    }
    Ok((Arc::new(Schema::new(columns)), roots))
}

/// Parquet knows lists, but not that all of a column have one length: that is told to the reader, which checks it.
fn typed(wanted: &Field, found: &Field) -> Result<Field, Error> {
    match (wanted.data_type(), found.data_type()) {
        (ArrowType::FixedSizeList(_, dim), ArrowType::List(item)) if item.data_type() == &ArrowType::Float32 => {
            Ok(found.clone().with_data_type(ArrowType::FixedSizeList(Arc::clone(item), *dim)))
        }
        (wanted, same) if wanted == same => Ok(found.clone()),
        (as_wanted, other) => Err(Error::field(wanted.name(), format!("the file has {other} instead of {as_wanted}"))),
    }
}

//! The rows that were found, with the columns that were asked for, as they leave.

use crate::scan::Reader;
use crate::view::{RowAt, View};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{interleave, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use elanus_proto::transport::MESSAGE_BYTES_MAX;
use elanus_segment::arrow_schema;
use elanus_types::{Code, Failure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most bytes of rows in one answer; the rest of the message is for scores.
const ROWS_BYTES_MAX: usize = MESSAGE_BYTES_MAX - (32 << 20);

/// The rows in the order given, with these columns (positions in the schema) in the order given.
///
/// # Errors
/// When a file cannot be read, or the rows are more than one message holds.
pub(crate) async fn rows_at(
    reader: &Reader,
    view: &Arc<View>,
    rows: Vec<RowAt>,
    columns: Vec<usize>,
) -> Result<RecordBatch, Failure> {
    let schema = projected(view, &columns).map_err(internal)?;
    if columns.is_empty() {
        let count = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        return RecordBatch::try_new_with_options(schema, Vec::new(), &count).map_err(internal);
    }
    let mut by_file: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut places = Vec::with_capacity(rows.len());
    for row in rows {
        let wanted = by_file.entry(row.file).or_default();
        places.push((row.file, wanted.len()));
        wanted.push(row.row);
    }
    // Each file is let go once its few rows are taken.
    let taken = stream::iter(by_file)
        .map(Ok::<_, Failure>)
        .map_ok(|(file, wanted)| take(reader, view, file, wanted, &columns))
        .try_buffer_unordered(reader.cpu.width() + 1);
    let mut bytes = 0;
    let mut parts = BTreeMap::new();
    futures::pin_mut!(taken);
    while let Some((file, part)) = taken.try_next().await? {
        bytes += part.get_array_memory_size();
        if bytes > ROWS_BYTES_MAX {
            return Err(too_large());
        }
        parts.insert(file, part);
    }
    reader.cpu.run(move || assemble(&schema, &parts, &places).map_err(internal)).await
}

/// The rows as one Arrow stream.
///
/// # Errors
/// When it is longer than one message may be.
pub(crate) async fn to_ipc(reader: &Reader, rows: RecordBatch) -> Result<bytes::Bytes, Failure> {
    reader
        .cpu
        .run(move || {
            let bytes = elanus_segment::to_ipc(&rows);
            if bytes.len() > ROWS_BYTES_MAX { Err(too_large()) } else { Ok(bytes) }
        })
        .await
}

async fn take(
    reader: &Reader,
    view: &Arc<View>,
    file: u32,
    wanted: Vec<u32>,
    columns: &[usize],
) -> Result<(u32, RecordBatch), Failure> {
    let content = reader.cache.rows(&view.schema, &view.files[file as usize].record).await?;
    let columns = columns.to_vec();
    let wanted = UInt32Array::from(wanted);
    let take = move || {
        let part = content.batch.project(&columns).and_then(|batch| take_record_batch(&batch, &wanted));
        part.map_err(internal)
    };
    Ok((file, reader.cpu.run(take).await?))
}

fn assemble(
    schema: &SchemaRef,
    parts: &BTreeMap<u32, RecordBatch>,
    places: &[(u32, usize)],
) -> Result<RecordBatch, ArrowError> {
    if places.is_empty() {
        return Ok(RecordBatch::new_empty(Arc::clone(schema)));
    }
    let ordinals: BTreeMap<u32, usize> = parts.keys().copied().zip(0..).collect();
    let places: Vec<(usize, usize)> = places.iter().map(|(file, at)| (ordinals[file], *at)).collect();
    let column = |column: usize| -> Result<ArrayRef, ArrowError> {
        let arrays: Vec<&dyn Array> = parts.values().map(|part| part.column(column).as_ref()).collect();
        interleave(&arrays, &places)
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
}

fn projected(view: &View, columns: &[usize]) -> Result<SchemaRef, ArrowError> {
    Ok(Arc::new(Schema::project(&arrow_schema(&view.schema), columns)?))
}

fn too_large() -> Failure {
    let text = format!("the result is larger than {ROWS_BYTES_MAX} bytes: set a limit or ask for fewer fields");
    Failure::new(Code::ParameterTooLarge, text)
}

fn internal(error: ArrowError) -> Failure {
    Failure::internal(error.to_string()).context("cannot collect the rows that were found")
}

//! Rows between services: one Arrow IPC stream, uncompressed and without dictionaries.

use crate::error::guarded;
use crate::{Error, ROWS_MAX};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use arrow::ipc::{MessageHeader, root_as_message};
use bytes::Bytes;

const WHAT: &str = "an Arrow stream";
const CONTINUATION: [u8; 4] = [0xff; 4];
const END: [u8; 4] = [0; 4];

/// Writes rows as one stream.
///
/// # Panics
/// When a column is a dictionary of several parts, which no column of a collection is.
#[must_use]
pub fn to_ipc(batch: &RecordBatch) -> Bytes {
    write(batch).expect("plain columns can be written into memory").into()
}

fn write(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(batch)?;
    writer.into_inner()
}

/// Reads rows from a whole stream; several batches become one. Columns share the memory of `bytes` where they can.
///
/// # Errors
/// When the bytes are no such stream, or end before its end mark.
pub fn from_ipc(bytes: Bytes) -> Result<RecordBatch, Error> {
    guarded(WHAT, || {
        inspect(&bytes)?;
        let mut buffer = Buffer::from(bytes);
        let mut decoder = StreamDecoder::new();
        let mut batches = Vec::new();
        while let Some(batch) = decoder.decode(&mut buffer).map_err(|e| Error::damaged(WHAT, e))? {
            batches.push(batch);
        }
        let schema = decoder.schema().ok_or_else(|| Error::damaged(WHAT, "it has no schema"))?;
        match <[RecordBatch; 1]>::try_from(batches) {
            Ok([batch]) => Ok(batch),
            Err(batches) => concat_batches(&schema, &batches).map_err(|e| Error::damaged(WHAT, e)),
        }
    })
}

/// Looks at the frames before the reader does. It reserves as much memory as a compressed column claims to need, takes a
/// stream that was cut between two batches for a whole one, and believes any number of rows of a column without bytes.
fn inspect(bytes: &[u8]) -> Result<(), Error> {
    let damaged = |why: &'static str| Error::damaged(WHAT, why);
    let mut rest = bytes;
    let mut rows = 0_usize;
    loop {
        let mark = take(&mut rest, 4).ok_or_else(|| damaged("it ends before its end mark"))?;
        let len = if mark == CONTINUATION { take(&mut rest, 4) } else { None };
        let len = len.ok_or_else(|| damaged("a message has no length"))?;
        if len == END {
            return if rest.is_empty() { Ok(()) } else { Err(damaged("it goes on after its end mark")) };
        }
        let len = len.try_into().map(u32::from_le_bytes).ok().and_then(|len| usize::try_from(len).ok());
        let message = len.and_then(|len| take(&mut rest, len)).ok_or_else(|| damaged("a message is cut off"))?;
        let message = root_as_message(message).map_err(|e| Error::damaged(WHAT, e.to_string()))?;
        usize::try_from(message.bodyLength())
            .ok()
            .and_then(|len| take(&mut rest, len))
            .ok_or_else(|| damaged("a message's body is cut off"))?;
        match (message.header_type(), message.header_as_record_batch()) {
            (MessageHeader::Schema, _) => {}
            (MessageHeader::RecordBatch, Some(batch)) if batch.compression().is_none() => {
                let more = usize::try_from(batch.length()).ok();
                rows = more
                    .and_then(|more| rows.checked_add(more))
                    .filter(|rows| *rows <= ROWS_MAX)
                    .ok_or_else(|| Error::damaged(WHAT, format!("it claims more than {ROWS_MAX} rows")))?;
            }
            _ => return Err(damaged("a message is neither a schema nor an uncompressed batch")),
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

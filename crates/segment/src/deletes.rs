//! Delete logs: which primary keys were deleted when. An entry hides the rows of its key that are strictly older.

use crate::schema::{timestamp_field, with_id};
use crate::{EncodedFile, Error, PkColumn, file, ts_offsets};
use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use bytes::Bytes;
use elanus_types::FieldId;
use elanus_types::schema::DataType;
use std::sync::Arc;

/// Name of the column of primary keys in a delete log, whatever the field is called.
pub const PK_COLUMN: &str = "pk";
/// Its field id: what names a row, as in Milvus; no user's field has it.
const PK_ID: FieldId = FieldId(0);
const WHAT: &str = "a delete log";

/// Entries of one delete log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletes {
    /// Deleted primary keys; a key may be there more than once.
    pub keys: PkColumn,
    /// Offset of each delete's commit in its commit group, one per key.
    pub ts_offsets: Vec<i64>,
}

/// Writes a delete log with the columns [`PK_COLUMN`] and [`TIMESTAMP_COLUMN`](crate::TIMESTAMP_COLUMN).
///
/// # Errors
/// When there is not one offset per key, an offset is negative, or the entries are none or too many.
pub fn encode_deletes(deletes: &Deletes) -> Result<EncodedFile, Error> {
    let pk_type = match deletes.keys {
        PkColumn::Int(_) => ArrowType::Int64,
        PkColumn::Str(_) => ArrowType::Utf8,
    };
    let offsets = Arc::new(Int64Array::from(deletes.ts_offsets.clone()));
    let batch = RecordBatch::try_new(log_schema(pk_type), vec![deletes.keys.to_array(), offsets])
        .map_err(|e| Error::write(WHAT, e))?;
    ts_offsets(&batch)?;
    file::write(WHAT, &batch, PK_COLUMN)
}

/// Reads a delete log of a collection whose primary key has this type.
///
/// # Errors
/// When the bytes are no delete log, or one of keys of another type.
pub fn decode_deletes(pk_type: DataType, bytes: Bytes) -> Result<Deletes, Error> {
    let pk_type = match pk_type {
        DataType::Int64 => ArrowType::Int64,
        DataType::VarChar => ArrowType::Utf8,
        other => {
            let why = format!("{other:?} is no type of primary keys");
            return Err(Error::Schema { field: PK_COLUMN.to_owned(), why });
        }
    };
    let batch = file::read(WHAT, &log_schema(pk_type), bytes)?;
    let offsets = ts_offsets(&batch)?.values().to_vec();
    Ok(Deletes { keys: PkColumn::from_batch(&batch, PK_COLUMN)?, ts_offsets: offsets })
}

fn log_schema(pk_type: ArrowType) -> SchemaRef {
    let pk = with_id(Field::new(PK_COLUMN, pk_type, false), PK_ID);
    Arc::new(Schema::new(vec![pk, timestamp_field()]))
}

//! What is left of files of rows when deletes are applied, as one file. Pure.
//!
//! CP-1  A row is left unless a delete of its key is strictly newer, or it has expired. What is left keeps its values and its timestamp: the
//!       offset in the new file counts from the new file's `base_ts`.

use arrow::array::{Array as _, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int64Type};
use elanus_segment::{Deletes, EncodedFile, Error, PkColumn, RowBatches, RowsWriter, TIMESTAMP_COLUMN, ts_offsets};
use elanus_types::Timestamp;
use elanus_types::schema::CollectionSchema;
use std::collections::HashMap;
use std::sync::Arc;

/// Rows that are decoded at a time.
const BATCH_ROWS_MAX: usize = 1 << 13;

/// The newest delete of each key.
#[derive(Debug, Default)]
pub(super) struct Newest {
    ints: HashMap<i64, i64>,
    strs: HashMap<String, i64>,
}

impl Newest {
    /// Takes a decoded log whose offsets count from `base_ts`.
    pub(super) fn add(&mut self, deletes: Deletes, base_ts: Timestamp) {
        let ts = deletes.ts_offsets.into_iter().map(|offset| base_ts.0.saturating_add(offset));
        match deletes.keys {
            PkColumn::Int(keys) => keys.into_iter().zip(ts).for_each(|(key, ts)| newest(self.ints.entry(key), ts)),
            PkColumn::Str(keys) => keys.into_iter().zip(ts).for_each(|(key, ts)| newest(self.strs.entry(key), ts)),
        }
    }

    fn is_empty(&self) -> bool {
        self.ints.is_empty() && self.strs.is_empty()
    }
}

fn newest<K>(entry: std::collections::hash_map::Entry<'_, K, i64>, ts: i64) {
    entry.and_modify(|known| *known = ts.max(*known)).or_insert(ts);
}

/// A compacted file that is being made.
#[derive(Debug)]
pub(super) struct Merge {
    schema: Arc<CollectionSchema>,
    base_ts: Timestamp,
    expired_before: Timestamp,
    deletes: Arc<Newest>,
    writer: RowsWriter,
}

impl Merge {
    /// A file whose offsets count from `base_ts`, which is not after any row that is left.
    pub(super) fn new(
        schema: Arc<CollectionSchema>,
        base_ts: Timestamp,
        expired_before: Timestamp,
        deletes: Newest,
    ) -> Result<Self, Error> {
        let writer = RowsWriter::new(&schema)?;
        Ok(Self { schema, base_ts, expired_before, deletes: Arc::new(deletes), writer })
    }

    /// Adds what is left of a file of rows whose offsets count from `base_ts`; how many rows the file had.
    pub(super) fn add(&mut self, bytes: bytes::Bytes, base_ts: Timestamp) -> Result<usize, Error> {
        let batches = RowBatches::open(&self.schema, bytes, BATCH_ROWS_MAX)?;
        let rows = batches.rows();
        for batch in batches {
            self.writer.write(&self.left(&batch?, base_ts)?)?;
        }
        Ok(rows)
    }

    /// The file; `None` when no row is left.
    pub(super) fn finish(self) -> Result<Option<EncodedFile>, Error> {
        self.writer.finish()
    }

    fn left(&self, batch: &RecordBatch, base_ts: Timestamp) -> Result<RecordBatch, Error> {
        let offsets = ts_offsets(batch)?;
        let moved: Int64Array = offsets.values().iter().map(|offset| base_ts.0 - self.base_ts.0 + offset).collect();
        let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| -> ArrayRef {
            if field.name() == TIMESTAMP_COLUMN { Arc::new(moved.clone()) } else { Arc::clone(column) }
        });
        let wrong = |e: arrow::error::ArrowError| Error::Write { what: "a compacted file", source: e.into() };
        let batch = RecordBatch::try_new(batch.schema(), columns.collect()).map_err(wrong)?;
        if self.deletes.is_empty() && self.expired_before == Timestamp::ZERO {
            return Ok(batch);
        }
        let mask = self.mask(&batch, &moved)?;
        filter_record_batch(&batch, &mask).map_err(wrong)
    }

    fn mask(&self, batch: &RecordBatch, offsets: &Int64Array) -> Result<BooleanArray, Error> {
        let pk = &self.schema.primary_key().name;
        let refuse = |why: &str| Error::Field { field: pk.clone(), why: why.to_owned() };
        let keys = batch.column_by_name(pk).ok_or_else(|| refuse("there is no such column"))?;
        let ts = offsets.values().iter().map(|offset| self.base_ts.0 + offset);
        let expired_before = self.expired_before.0;
        let stays =
            |deleted: Option<&i64>, ts: i64| Some(ts >= expired_before && deleted.is_none_or(|deleted| *deleted <= ts));
        Ok(match keys.data_type() {
            DataType::Int64 => {
                let keys = keys.as_primitive::<Int64Type>().values().iter();
                keys.zip(ts).map(|(key, ts)| stays(self.deletes.ints.get(key), ts)).collect()
            }
            DataType::Utf8 => {
                let keys = keys.as_string::<i32>();
                (0..keys.len()).zip(ts).map(|(row, ts)| stays(self.deletes.strs.get(keys.value(row)), ts)).collect()
            }
            _ => return Err(refuse("it is neither int64 nor text")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_segment::{arrow_schema, decode_rows, encode_rows};

    fn schema(pk: &str) -> Arc<CollectionSchema> {
        let fields = serde_json::json!({"fields": [
            {"id": 100, "name": "pk", "data_type": pk, "is_primary_key": true},
            {"id": 101, "name": "n", "data_type": "int64", "nullable": true},
        ]});
        Arc::new(serde_json::from_value(fields).unwrap())
    }

    fn file(schema: &CollectionSchema, rows: &[(i64, i64)]) -> bytes::Bytes {
        let numbers = |of: fn(&(i64, i64)) -> i64| Int64Array::from(rows.iter().map(of).collect::<Vec<_>>());
        let keys = numbers(|row| row.0);
        let keys: ArrayRef = match schema.primary_key().data_type {
            elanus_types::schema::DataType::Int64 => Arc::new(keys),
            _ => PkColumn::Str(keys.values().iter().map(i64::to_string).collect()).to_array(),
        };
        let columns = vec![keys, Arc::new(numbers(|row| row.0 * 10)) as ArrayRef, Arc::new(numbers(|row| row.1))];
        encode_rows(schema, &RecordBatch::try_new(arrow_schema(schema), columns).unwrap()).unwrap().bytes
    }

    fn log(text: bool, deletes: &[(i64, i64)]) -> Deletes {
        let keys: Vec<i64> = deletes.iter().map(|delete| delete.0).collect();
        let keys = if text { PkColumn::Str(keys.iter().map(i64::to_string).collect()) } else { PkColumn::Int(keys) };
        Deletes { keys, ts_offsets: deletes.iter().map(|delete| delete.1).collect() }
    }

    #[test]
    fn cp_1_what_no_newer_delete_names_is_left_with_its_timestamp() {
        for (pk, text) in [("int64", false), ("var_char", true)] {
            let schema = schema(pk);
            let mut deletes = Newest::default();
            deletes.add(log(text, &[(1, 5), (2, 0), (3, 1)]), Timestamp(100));
            // An older delete of a key says nothing after a newer one.
            deletes.add(log(text, &[(1, 0)]), Timestamp(50));
            let mut merge = Merge::new(Arc::clone(&schema), Timestamp(10), Timestamp::ZERO, deletes).unwrap();
            assert_eq!(merge.add(file(&schema, &[(1, 0), (2, 1), (4, 2)]), Timestamp(10)).unwrap(), 3);
            // Of one timestamp with the delete, as in an upsert; older; newer.
            assert_eq!(merge.add(file(&schema, &[(1, 5), (2, 0), (3, 0), (3, 7)]), Timestamp(100)).unwrap(), 4);
            let left = merge.finish().unwrap().unwrap();
            let rows = decode_rows(&schema, left.bytes).unwrap();
            let keys: Vec<String> =
                PkColumn::from_batch(&rows, "pk").unwrap().iter().map(|key| key.to_string()).collect();
            assert_eq!(keys, ["4", "1", "2", "3"], "{pk}");
            let ts: Vec<i64> = ts_offsets(&rows).unwrap().values().iter().map(|offset| 10 + offset).collect();
            assert_eq!(ts, [12, 105, 100, 107], "{pk}");
            assert_eq!(rows.column(1).as_primitive::<Int64Type>().values().to_vec(), [40, 10, 20, 30], "{pk}");
        }
    }

    #[test]
    fn nothing_left_is_no_file() {
        let schema = schema("int64");
        let mut deletes = Newest::default();
        deletes.add(log(false, &[(1, 0)]), Timestamp(11));
        let mut merge = Merge::new(Arc::clone(&schema), Timestamp(10), Timestamp::ZERO, deletes).unwrap();
        merge.add(file(&schema, &[(1, 0)]), Timestamp(10)).unwrap();
        assert!(merge.finish().unwrap().is_none());
    }

    #[test]
    fn cp_1_what_has_expired_is_left_out_and_offsets_count_from_the_oldest_that_is_left() {
        let schema = schema("int64");
        let mut merge = Merge::new(Arc::clone(&schema), Timestamp(105), Timestamp(105), Newest::default()).unwrap();
        assert_eq!(merge.add(file(&schema, &[(1, 0), (2, 94), (3, 95)]), Timestamp(10)).unwrap(), 3);
        assert_eq!(merge.add(file(&schema, &[(4, 4), (5, 5), (6, 60)]), Timestamp(100)).unwrap(), 3);
        let rows = decode_rows(&schema, merge.finish().unwrap().unwrap().bytes).unwrap();
        let keys: Vec<String> = PkColumn::from_batch(&rows, "pk").unwrap().iter().map(|key| key.to_string()).collect();
        assert_eq!(keys, ["3", "5", "6"]);
        assert_eq!(ts_offsets(&rows).unwrap().values().to_vec(), [0, 0, 55]);
    }

    #[test]
    fn files_of_many_batches_lose_no_row() {
        let schema = schema("int64");
        let rows: Vec<(i64, i64)> = (0..3 * BATCH_ROWS_MAX as i64 + 7).map(|n| (n, n % 1_000)).collect();
        let mut deletes = Newest::default();
        deletes
            .add(log(false, &rows.iter().filter(|row| row.0 % 3 == 0).copied().collect::<Vec<_>>()), Timestamp(9_000));
        let mut merge = Merge::new(Arc::clone(&schema), Timestamp(10), Timestamp::ZERO, deletes).unwrap();
        assert_eq!(merge.add(file(&schema, &rows), Timestamp(10)).unwrap(), rows.len());
        let left = merge.finish().unwrap().unwrap();
        assert_eq!(left.rows, rows.iter().filter(|row| row.0 % 3 != 0).count() as u64);
    }

    #[test]
    fn what_is_no_file_of_rows_is_damaged() {
        let mut merge = Merge::new(schema("int64"), Timestamp(10), Timestamp::ZERO, Newest::default()).unwrap();
        assert!(matches!(merge.add(bytes::Bytes::from_static(b"no"), Timestamp(10)), Err(Error::Damaged { .. })));
    }
}

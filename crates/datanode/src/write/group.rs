//! Which rows and deletes of a group of writes go into which file. Pure.
//!
//! Write *i* of a group has the timestamp `base + i`: the order in which the group was taken. A delete hides strictly
//! older rows only, so the rows of an upsert survive the deletes of the same upsert, and not those of a later one.

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use elanus_meta::model::{FileKind, FilePlace};
use elanus_segment::{Deletes, PkColumn, arrow_schema, complete, split_by_shard};
use elanus_types::schema::{CollectionSchema, DataType};
use elanus_types::{Failure, PartitionId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One request of a client, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Write {
    pub(crate) rows: Vec<(PartitionId, RecordBatch)>,
    pub(crate) deletes: Vec<(PartitionId, PkColumn)>,
}

/// What one file will hold.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Rows(RecordBatch),
    Deletes(Deletes),
}

/// The files of a group, by place.
///
/// # Errors
/// When rows or keys do not fit the schema; which write it was is not told, so check a group of one first.
pub(crate) fn assemble<'w>(
    schema: &CollectionSchema,
    shards_num: i32,
    writes: impl IntoIterator<Item = &'w Write>,
) -> Result<BTreeMap<FilePlace, Content>, Failure> {
    let mut rows: BTreeMap<FilePlace, Vec<RecordBatch>> = BTreeMap::new();
    let mut deletes: BTreeMap<FilePlace, Vec<(PkColumn, i64)>> = BTreeMap::new();
    for (offset, write) in (0_i64..).zip(writes) {
        for (partition, batch) in &write.rows {
            let stamped = stamp(schema, batch, offset)?;
            for (shard, part) in split_by_shard(&stamped, &schema.primary_key().name, shards_num).map_err(refused)? {
                let place = FilePlace { partition: *partition, shard, kind: FileKind::Insert };
                rows.entry(place).or_default().push(part);
            }
        }
        for (partition, keys) in &write.deletes {
            check_key_type(schema, keys)?;
            for (shard, positions) in keys.rows_by_shard(shards_num) {
                let place = FilePlace { partition: *partition, shard, kind: FileKind::Delete };
                deletes.entry(place).or_default().push((pick(keys, &positions), offset));
            }
        }
    }
    let mut files = BTreeMap::new();
    for (place, parts) in rows {
        let batch = concat_batches(&arrow_schema(schema), &parts).map_err(|e| Failure::invalid(e.to_string()))?;
        files.insert(place, Content::Rows(batch));
    }
    for (place, parts) in deletes {
        files.insert(place, Content::Deletes(join(parts)));
    }
    Ok(files)
}

/// Adds the hidden timestamp column, and fields that were added since the rows were made, and checks the types of the others.
fn stamp(schema: &CollectionSchema, batch: &RecordBatch, offset: i64) -> Result<RecordBatch, Failure> {
    let mut columns = complete(schema, batch).map_err(refused)?;
    columns.push(Arc::new(Int64Array::from(vec![offset; batch.num_rows()])));
    let stamped = RecordBatch::try_new(arrow_schema(schema), columns)
        .map_err(|e| Failure::invalid(format!("the rows do not fit the collection's schema: {e}")))?;
    // Rows of no length would make a file of no rows, which the format does not have.
    if stamped.num_rows() == 0 { Err(Failure::invalid("a write has no rows")) } else { Ok(stamped) }
}

fn check_key_type(schema: &CollectionSchema, keys: &PkColumn) -> Result<(), Failure> {
    let fits = matches!(
        (schema.primary_key().data_type, keys),
        (DataType::Int64, PkColumn::Int(_)) | (DataType::VarChar, PkColumn::Str(_))
    );
    if fits { Ok(()) } else { Err(Failure::invalid("the keys to delete are not of the primary key's type")) }
}

fn pick(keys: &PkColumn, positions: &[u32]) -> PkColumn {
    let positions = positions.iter().map(|p| *p as usize);
    match keys {
        PkColumn::Int(keys) => PkColumn::Int(positions.map(|p| keys[p]).collect()),
        PkColumn::Str(keys) => PkColumn::Str(positions.map(|p| keys[p].clone()).collect()),
    }
}

fn join(parts: Vec<(PkColumn, i64)>) -> Deletes {
    let mut ts_offsets = Vec::new();
    let (mut ints, mut texts) = (Vec::new(), Vec::new());
    for (keys, offset) in parts {
        ts_offsets.extend(std::iter::repeat_n(offset, keys.len()));
        match keys {
            PkColumn::Int(keys) => ints.extend(keys),
            PkColumn::Str(keys) => texts.extend(keys),
        }
    }
    let keys = if texts.is_empty() { PkColumn::Int(ints) } else { PkColumn::Str(texts) };
    Deletes { keys, ts_offsets }
}

fn refused(error: elanus_segment::Error) -> Failure {
    Failure::invalid(error.to_string())
}

/// Rows of a batch that another crate split: kept here so that a test can look inside a file's content.
#[cfg(test)]
pub(crate) fn rows_of(content: &Content) -> usize {
    match content {
        Content::Rows(batch) => batch.num_rows(),
        Content::Deletes(deletes) => deletes.ts_offsets.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_types::Shard;

    fn schema() -> CollectionSchema {
        serde_json::from_value(serde_json::json!({"fields": [
            {"id": 100, "name": "pk", "data_type": "int64", "is_primary_key": true},
            {"id": 101, "name": "n", "data_type": "int32"},
        ]}))
        .unwrap()
    }

    fn rows(keys: &[i64]) -> RecordBatch {
        let schema = arrow_schema(&schema()).project(&[0, 1]).unwrap();
        let n = arrow::array::Int32Array::from(vec![7; keys.len()]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(keys.to_vec())), Arc::new(n)]).unwrap()
    }

    #[test]
    fn each_write_of_a_group_has_its_own_timestamp_and_each_row_its_shard() {
        let partition = PartitionId(5);
        let upsert = |keys: &[i64]| Write {
            rows: vec![(partition, rows(keys))],
            deletes: vec![(PartitionId::ALL, PkColumn::Int(keys.to_vec()))],
        };
        let files = assemble(&schema(), 2, &[upsert(&[1, 2, 3]), upsert(&[3, 4])]).unwrap();
        let total = |kind| files.iter().filter(|(p, _)| p.kind == kind).map(|(_, c)| rows_of(c)).sum::<usize>();
        assert_eq!((total(FileKind::Insert), total(FileKind::Delete)), (5, 5));
        for (place, content) in &files {
            let (keys, offsets) = match content {
                Content::Rows(batch) => (
                    PkColumn::from_batch(batch, "pk").unwrap(),
                    elanus_segment::ts_offsets(batch).unwrap().values().to_vec(),
                ),
                Content::Deletes(deletes) => (deletes.keys.clone(), deletes.ts_offsets.clone()),
            };
            for (key, offset) in keys.iter().zip(offsets) {
                assert_eq!(elanus_segment::shard_of(&key, 2), place.shard);
                let elanus_segment::PkValue::Int(key) = key else { panic!("int64 keys") };
                assert!(match key {
                    1 | 2 => offset == 0,
                    3 => true,
                    _ => offset == 1,
                });
            }
            assert!(place.shard < Shard(2));
        }
    }

    #[test]
    fn rows_that_were_made_before_a_field_was_added_are_written_with_it() {
        let mut later = schema();
        let mut field = elanus_types::schema::FieldSchema::new(elanus_types::FieldId(102), "later", DataType::Int64);
        field.default_value = Some(elanus_types::schema::DefaultValue::Int(7));
        later.fields.insert(1, field);
        let write = Write { rows: vec![(PartitionId(1), rows(&[1, 2]))], ..Write::default() };
        let files = assemble(&later, 1, [&write]).unwrap();
        let Some(Content::Rows(batch)) = files.values().next() else { panic!("one file of rows") };
        assert_eq!(batch.schema(), arrow_schema(&later));
        assert_eq!(batch.column(1).as_ref(), &Int64Array::from(vec![7, 7]));
        assert_eq!(PkColumn::from_batch(batch, "pk").unwrap(), PkColumn::Int(vec![1, 2]));
    }

    #[test]
    fn what_does_not_fit_the_schema_is_refused() {
        let column =
            |at: usize| arrow_schema(&schema()).field(at).clone().with_data_type(arrow::datatypes::DataType::Int64);
        let columns = arrow::datatypes::Schema::new(vec![column(0), column(1)]);
        let ones = || Arc::new(Int64Array::from(vec![1])) as arrow::array::ArrayRef;
        let wrong_type = RecordBatch::try_new(Arc::new(columns), vec![ones(), ones()]);
        let unknown = RecordBatch::try_from_iter([("pk", ones()), ("n", ones())]);
        let bad = [
            Write { rows: vec![(PartitionId(1), wrong_type.unwrap())], ..Write::default() },
            Write { rows: vec![(PartitionId(1), unknown.unwrap())], ..Write::default() },
            Write { rows: vec![(PartitionId(1), rows(&[]))], ..Write::default() },
            Write { deletes: vec![(PartitionId::ALL, PkColumn::Str(vec!["a".into()]))], ..Write::default() },
        ];
        for write in &bad {
            assert_eq!(assemble(&schema(), 1, [write]).unwrap_err().code, elanus_types::Code::ParameterInvalid);
        }
    }
}

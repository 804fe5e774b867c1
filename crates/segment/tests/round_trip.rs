//! What is written is read again, in every type, and nothing else passes for it.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use arrow::array::{Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Schema};
use bytes::Bytes;
use common::{Row, batch, field, sample, schema};
use elanus_segment::{
    Deletes, Error, PkColumn, PkValue, ROWS_MAX, arrow_schema, checksum, decode_deletes, decode_rows, encode_deletes,
    encode_rows, from_ipc, shard_of, split_by_shard, take_rows, to_ipc, ts_offsets,
};
use elanus_types::FieldId;
use elanus_types::schema::DataType;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;
use std::sync::Arc;

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (any::<u64>(), ".{0,12}", any::<u16>(), 0..1_000_i64);
    let row = row.prop_map(|(bits, text, nulls, ts_offset)| Row { bits, text, nulls, ts_offset });
    prop::collection::vec(row, 1..40)
}

fn pk_type() -> impl Strategy<Value = DataType> {
    prop::sample::select(vec![DataType::Int64, DataType::VarChar])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_of_every_type_come_back_as_they_were(pk_type in pk_type(), rows in rows()) {
        let schema = schema(pk_type);
        let written = batch(&schema, &rows);
        let file = encode_rows(&schema, &written).unwrap();
        prop_assert_eq!(file.rows, rows.len() as u64);
        prop_assert_eq!(file.checksum, checksum(&file.bytes));
        let keys = PkColumn::from_batch(&written, "id").unwrap();
        prop_assert!(keys.iter().all(|key| file.pk_min <= key && key <= file.pk_max));
        let read = decode_rows(&schema, file.bytes).unwrap();
        prop_assert_eq!(read.schema(), arrow_schema(&schema));
        prop_assert_eq!(read, written);
    }

    #[test]
    fn rows_between_services_come_back_as_they_were(rows in rows(), from in 0..40_usize) {
        let written = batch(&schema(DataType::Int64), &rows);
        let from = from.min(rows.len());
        let written = written.slice(from, rows.len() - from);
        prop_assert_eq!(from_ipc(to_ipc(&written)).unwrap(), written);
    }

    #[test]
    fn deletes_come_back_as_they_were(entries in prop::collection::vec((any::<i64>(), ".{0,12}", 0..99_i64), 1..40)) {
        let ts_offsets: Vec<i64> = entries.iter().map(|entry| entry.2).collect();
        let ints = PkColumn::Int(entries.iter().map(|entry| entry.0).collect());
        let strs = PkColumn::Str(entries.iter().map(|entry| entry.1.clone()).collect());
        for (keys, pk_type) in [(ints, DataType::Int64), (strs, DataType::VarChar)] {
            let deletes = Deletes { keys, ts_offsets: ts_offsets.clone() };
            let file = encode_deletes(&deletes).unwrap();
            prop_assert_eq!(file.rows, entries.len() as u64);
            prop_assert_eq!(deletes.keys.min_max(), Some((file.pk_min, file.pk_max)));
            prop_assert_eq!(decode_deletes(pk_type, file.bytes).unwrap(), deletes);
        }
    }

    #[test]
    fn a_split_by_shard_keeps_every_row_once_and_their_order(rows in rows(), pk_type in pk_type(), shards_num in 1..6) {
        let whole = batch(&schema(pk_type), &rows);
        let all: Vec<PkValue> = PkColumn::from_batch(&whole, "id").unwrap().iter().collect();
        let parts = split_by_shard(&whole, "id", shards_num).unwrap();
        prop_assert!(parts.is_sorted_by_key(|(shard, _)| *shard));
        prop_assert_eq!(parts.iter().map(|(_, part)| part.num_rows()).sum::<usize>(), rows.len());
        for (shard, part) in parts {
            let keys: Vec<PkValue> = PkColumn::from_batch(&part, "id").unwrap().iter().collect();
            let own = all.iter().filter(|key| shard_of(key, shards_num) == shard).cloned().collect::<Vec<_>>();
            prop_assert_eq!(keys, own);
            prop_assert_eq!(part.schema(), whole.schema());
        }
    }
}

#[test]
fn a_file_carries_field_ids_and_statistics_and_bounded_row_groups() {
    let schema = schema(DataType::Int64);
    let file = encode_rows(&schema, &batch(&schema, &sample(70_000))).unwrap();
    let reader = SerializedFileReader::new(file.bytes).unwrap();
    let root = reader.metadata().file_metadata().schema_descr().root_schema();
    let found: Vec<(String, i32)> =
        root.get_fields().iter().map(|column| (column.name().to_owned(), column.get_basic_info().id())).collect();
    let mut wanted: Vec<(String, i32)> =
        schema.fields.iter().map(|field| (field.name.clone(), i32::try_from(field.id.0).unwrap())).collect();
    wanted.push(("$timestamp".to_owned(), 1));
    assert_eq!(found, wanted);
    let groups = reader.metadata().row_groups();
    assert_eq!(groups.iter().map(|group| group.num_rows()).collect::<Vec<_>>(), [65_536, 4_464]);
    for column in groups.iter().flat_map(|group| group.columns()) {
        let path = column.column_path();
        // Vectors, in lists or as bytes, and elements of arrays.
        let of_bytes = ["a1", "n1"].iter().any(|name| path.string().len() == 3 && path.string().starts_with(name));
        let is_vector = path.parts().len() > 1 || of_bytes;
        assert_eq!(column.statistics().is_some(), !is_vector, "{}", column.column_path());
    }
}

#[test]
fn several_row_groups_are_read_as_one_batch() {
    let schema = schema(DataType::VarChar);
    let written = batch(&schema, &sample(70_000));
    assert_eq!(decode_rows(&schema, encode_rows(&schema, &written).unwrap().bytes).unwrap(), written);
}

#[test]
fn columns_are_found_by_id_so_fields_may_be_renamed_moved_added_and_dropped() {
    let old = schema(DataType::Int64);
    let written = batch(&old, &sample(10));
    let file = encode_rows(&old, &written).unwrap().bytes;

    let mut new = old.clone();
    new.fields.reverse();
    new.fields.retain(|field| field.name != "a3");
    new.fields.iter_mut().find(|field| field.name == "a7").unwrap().name = "renamed".to_owned();
    new.fields.push(field(300, "a3", DataType::VarChar, true));
    new.fields.push(field(301, "added", DataType::FloatVector, true));
    let read = decode_rows(&new, file).unwrap();

    assert_eq!(read.schema(), arrow_schema(&new));
    assert_eq!(read.column_by_name("renamed"), written.column_by_name("a7"));
    assert_eq!(read.column_by_name("n9"), written.column_by_name("n9"));
    for added in ["a3", "added"] {
        assert_eq!(read.column_by_name(added).unwrap().null_count(), 10);
    }
}

#[test]
fn a_file_of_another_schema_is_refused_by_the_name_of_the_field() {
    let old = schema(DataType::Int64);
    let file = encode_rows(&old, &batch(&old, &sample(10))).unwrap().bytes;
    let refused = |change: &dyn Fn(&mut elanus_types::schema::CollectionSchema)| {
        let mut new = old.clone();
        change(&mut new);
        match decode_rows(&new, file.clone()) {
            Err(Error::Field { field, .. } | Error::Schema { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    let at = |name: &str| old.fields.iter().position(|field| field.name == name).unwrap();
    assert_eq!(refused(&|new| new.fields[at("a3")].data_type = DataType::Int64), "a3");
    assert_eq!(refused(&|new| new.fields[at("a7")].data_type = DataType::FloatVector), "a7");
    assert_eq!(refused(&|new| new.fields[at("n2")].nullable = false), "n2");
    assert_eq!(refused(&|new| new.fields[at("n9")].nullable = false), "n9");
    assert_eq!(refused(&|new| new.fields.push(field(300, "added", DataType::Bool, false))), "added");
    assert_eq!(refused(&|new| _ = new.fields[at("a9")].type_params.remove("dim")), "a9");

    let mut longer = old.clone();
    longer.fields[at("a9")].type_params.insert("dim".to_owned(), "4".to_owned());
    assert!(decode_rows(&longer, file).is_err(), "vectors of another length");
}

#[test]
fn rows_of_another_schema_are_not_written() {
    let schema = schema(DataType::Int64);
    let good = batch(&schema, &sample(4));
    assert!(matches!(encode_rows(&schema, &good.slice(0, 0)), Err(Error::RowCount { rows: 0 })));

    let without = |name: &str| {
        let keep: Vec<usize> = (0..good.num_columns()).filter(|at| good.schema().field(*at).name() != name).collect();
        good.project(&keep).unwrap()
    };
    for name in ["id", "n3", "$timestamp"] {
        assert!(matches!(encode_rows(&schema, &without(name)), Err(Error::Field { field, .. }) if field == name));
    }
    let mut smaller = schema.clone();
    smaller.fields.retain(|field| field.name != "n3");
    assert!(matches!(encode_rows(&smaller, &good), Err(Error::Field { field, .. }) if field == "n3"));
    let mut stricter = schema.clone();
    stricter.fields.iter_mut().for_each(|field| field.nullable = false);
    assert!(matches!(encode_rows(&stricter, &good), Err(Error::Field { .. })));

    let negative = with_last_column(&good, Int64Array::from(vec![0, 1, -1, 2]));
    assert!(matches!(encode_rows(&schema, &negative), Err(Error::Field { field, .. }) if field == "$timestamp"));
}

fn with_last_column(batch: &RecordBatch, last: Int64Array) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    *columns.last_mut().unwrap() = Arc::new(last);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

#[test]
fn columns_in_another_order_are_written_in_the_schemas_order() {
    let schema = schema(DataType::Int64);
    let good = batch(&schema, &sample(4));
    let backwards: Vec<usize> = (0..good.num_columns()).rev().collect();
    let file = encode_rows(&schema, &good.project(&backwards).unwrap()).unwrap();
    assert_eq!(decode_rows(&schema, file.bytes).unwrap(), good);
}

#[test]
fn a_delete_log_is_refused_when_its_keys_are_of_another_type() {
    let deletes = Deletes { keys: PkColumn::Int(vec![3, 1]), ts_offsets: vec![0, 0] };
    let file = encode_deletes(&deletes).unwrap().bytes;
    assert!(
        matches!(decode_deletes(DataType::VarChar, file.clone()), Err(Error::Field { field, .. }) if field == "pk")
    );
    assert!(matches!(decode_deletes(DataType::Float, file.clone()), Err(Error::Schema { .. })));
    assert!(decode_rows(&schema(DataType::Int64), file).is_err());
    assert!(encode_deletes(&Deletes { keys: PkColumn::Int(vec![1]), ts_offsets: vec![] }).is_err());
    assert!(encode_deletes(&Deletes { keys: PkColumn::Int(vec![1]), ts_offsets: vec![-1] }).is_err());
    assert!(matches!(
        encode_deletes(&Deletes { keys: PkColumn::Str(vec![]), ts_offsets: vec![] }),
        Err(Error::RowCount { rows: 0 })
    ));
}

#[test]
fn the_hidden_column_is_the_last_one_and_json_is_told_from_text() {
    let columns = arrow_schema(&schema(DataType::Int64));
    let last = columns.fields().last().unwrap();
    assert_eq!((last.name().as_str(), last.data_type(), last.is_nullable()), ("$timestamp", &ArrowType::Int64, false));
    assert_eq!(last.metadata()["PARQUET:field_id"], FieldId::TIMESTAMP.to_string());
    assert_eq!(columns.field_with_name("a8").unwrap().metadata()["elanus:type"], "json");
    assert!(!columns.field_with_name("a7").unwrap().metadata().contains_key("elanus:type"));
    let offsets = ts_offsets(&batch(&schema(DataType::Int64), &sample(4))).unwrap();
    assert_eq!(offsets.values(), &[0, 0, 0, 1]);
}

#[test]
fn positions_beyond_the_last_row_are_refused() {
    let rows = batch(&schema(DataType::Int64), &sample(3));
    assert_eq!(take_rows(&rows, &[2, 0]).unwrap().num_rows(), 2);
    assert!(take_rows(&rows, &[3]).is_err());
}

#[test]
fn a_stream_without_its_end_or_with_more_after_it_is_refused() {
    let rows = batch(&schema(DataType::Int64), &sample(3));
    let stream = to_ipc(&rows);
    for len in 0..stream.len() {
        assert!(from_ipc(stream.slice(..len)).is_err(), "{len} of {} bytes", stream.len());
    }
    let doubled = [&stream[..], &stream[..]].concat();
    assert!(from_ipc(Bytes::from(doubled)).is_err());
    let empty = RecordBatch::new_empty(rows.schema());
    assert_eq!(from_ipc(to_ipc(&empty)).unwrap(), empty);
}

#[test]
fn rows_without_bytes_are_bounded() {
    let nothing = Schema::new(vec![arrow::datatypes::Field::new("nothing", ArrowType::Null, true)]);
    let many = arrow::array::NullArray::new(ROWS_MAX + 1);
    let many = RecordBatch::try_new(Arc::new(nothing), vec![Arc::new(many)]).unwrap();
    assert!(from_ipc(to_ipc(&many)).is_err());
}

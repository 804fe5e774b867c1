//! Files that earlier versions wrote are read for ever. Golden files are added, never changed.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use arrow::array::Array as _;
use bytes::Bytes;
use common::{batch, field, sample, schema, schema_v1};
use elanus_segment::{Deletes, PkColumn, checksum, decode_deletes, decode_rows, encode_deletes, encode_rows};
use elanus_types::schema::{DataType, DefaultValue};
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn golden(name: &str) -> Bytes {
    std::fs::read(path(name)).unwrap().into()
}

fn deletes(keys: PkColumn) -> Deletes {
    Deletes { keys, ts_offsets: vec![0, 0, 7] }
}

fn int_keys() -> PkColumn {
    PkColumn::Int(vec![5, -1, i64::MAX])
}

fn str_keys() -> PkColumn {
    PkColumn::Str(vec!["b".into(), String::new(), "ключ".into()])
}

#[test]
fn rows_of_version_1_are_read() {
    for (pk_type, name) in [(DataType::Int64, "rows-int-v1.parquet"), (DataType::VarChar, "rows-str-v1.parquet")] {
        let mut schema = schema_v1(pk_type);
        assert_eq!(decode_rows(&schema, golden(name)).unwrap(), batch(&schema, &sample(50)), "{name}");
        schema.fields.push(field(999, "added later", DataType::Json, true));
        let mut defaulted = field(998, "with a default", DataType::Int16, false);
        defaulted.default_value = Some(DefaultValue::Int(-3));
        schema.fields.push(defaulted);
        let read = decode_rows(&schema, golden(name)).unwrap();
        assert_eq!((read.num_rows(), read["added later"].null_count()), (50, 50), "{name}");
        assert_eq!(read["with a default"].as_ref(), &arrow::array::Int16Array::from(vec![-3; 50]), "{name}");
    }
}

#[test]
fn rows_of_every_type_are_read() {
    let schema = schema(DataType::Int64);
    assert_eq!(decode_rows(&schema, golden("rows-types-v1.parquet")).unwrap(), batch(&schema, &sample(50)));
}

#[test]
fn deletes_of_version_1_are_read() {
    let read = |pk_type, name| decode_deletes(pk_type, golden(name)).unwrap();
    assert_eq!(read(DataType::Int64, "deletes-int-v1.parquet"), deletes(int_keys()));
    assert_eq!(read(DataType::VarChar, "deletes-str-v1.parquet"), deletes(str_keys()));
}

#[test]
fn checksums_of_golden_files_never_change() {
    let sum = |name| checksum(&golden(name)).to_string();
    assert_eq!(sum("rows-int-v1.parquet"), "db0a5d2a536a8dd3");
    assert_eq!(sum("deletes-str-v1.parquet"), "6108d1db88d239d5");
    assert_eq!(sum("rows-types-v1.parquet"), "f68085b4a61c02f6");
}

#[test]
#[ignore = "writes the golden files of this version where there are none"]
fn write_golden_files() {
    let rows = |schema| encode_rows(&schema, &batch(&schema, &sample(50))).unwrap().bytes;
    for (name, bytes) in [
        ("rows-int-v1.parquet", rows(schema_v1(DataType::Int64))),
        ("rows-str-v1.parquet", rows(schema_v1(DataType::VarChar))),
        ("rows-types-v1.parquet", rows(schema(DataType::Int64))),
        ("deletes-int-v1.parquet", encode_deletes(&deletes(int_keys())).unwrap().bytes),
        ("deletes-str-v1.parquet", encode_deletes(&deletes(str_keys())).unwrap().bytes),
    ] {
        if !path(name).exists() {
            std::fs::write(path(name), bytes).unwrap();
        }
    }
}

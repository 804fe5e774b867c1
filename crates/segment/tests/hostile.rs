//! Bytes that nobody wrote on purpose, or somebody did: rows or an error, never a panic.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use bytes::Bytes;
use common::{batch, sample, schema};
use elanus_segment::{Deletes, PkColumn, decode_deletes, decode_rows, encode_deletes, encode_rows, from_ipc, to_ipc};
use elanus_types::schema::DataType;
use proptest::prelude::*;
use std::sync::LazyLock;

/// One of each kind of bytes.
static WHOLE: LazyLock<[Bytes; 3]> = LazyLock::new(|| {
    let schema = schema(DataType::Int64);
    let rows = batch(&schema, &sample(20));
    let deletes = Deletes { keys: PkColumn::Str(vec!["a".into(), "b".into()]), ts_offsets: vec![0, 1] };
    [encode_rows(&schema, &rows).unwrap().bytes, encode_deletes(&deletes).unwrap().bytes, to_ipc(&rows)]
});

fn decode_all(bytes: &Bytes) -> [bool; 3] {
    [
        decode_rows(&schema(DataType::Int64), bytes.clone()).is_ok(),
        decode_deletes(DataType::VarChar, bytes.clone()).is_ok(),
        from_ipc(bytes.clone()).is_ok(),
    ]
}

/// Most of what can be broken is in the footer of a Parquet file and in the head of a stream.
fn place() -> impl Strategy<Value = prop::sample::Index> {
    any::<prop::sample::Index>()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_give_rows_or_an_error(
        kind in 0..3_usize,
        changes in prop::collection::vec((place(), any::<u8>()), 1..6),
        late in any::<bool>(),
    ) {
        let mut bytes = WHOLE[kind].to_vec();
        let from = if late { bytes.len() * 2 / 3 } else { 0 };
        for (at, byte) in changes {
            let at = from + at.index(bytes.len() - from);
            bytes[at] = byte;
        }
        decode_all(&Bytes::from(bytes));
    }

    #[test]
    fn cut_and_joined_bytes_give_rows_or_an_error(kind in 0..3_usize, cut in place(), join in place()) {
        let whole = &WHOLE[kind];
        let (cut, join) = (cut.index(whole.len()), join.index(whole.len()));
        prop_assert_eq!(decode_all(&whole.slice(..cut)), [false; 3]);
        decode_all(&Bytes::from([&whole[..cut], &whole[join..]].concat()));
    }

    #[test]
    fn random_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
        if magic && bytes.len() > 12 {
            let len = bytes.len();
            bytes[..4].copy_from_slice(b"PAR1");
            bytes[len - 8..].copy_from_slice(b"\x20\0\0\0PAR1");
        }
        prop_assert_eq!(decode_all(&Bytes::from(bytes)), [false; 3]);
    }
}

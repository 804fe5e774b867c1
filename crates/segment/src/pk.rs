//! Primary keys, the shard that each belongs to, and rows by their position.

use crate::Error;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use elanus_types::Shard;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::{fmt, sync::Arc};

/// One primary key. In JSON a number or a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PkValue {
    /// Of an int64 field.
    Int(i64),
    /// Of a varchar field; ordered by bytes.
    Str(String),
}

impl fmt::Display for PkValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(key) => key.fmt(f),
            Self::Str(key) => key.fmt(f),
        }
    }
}

/// Primary keys of many rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PkColumn {
    /// Of an int64 field.
    Int(Vec<i64>),
    /// Of a varchar field.
    Str(Vec<String>),
}

impl PkColumn {
    /// The keys in the column with this name.
    ///
    /// # Errors
    /// When there is no such column, it is neither int64 nor text, or a row has no key.
    pub fn from_batch(batch: &RecordBatch, column: &str) -> Result<Self, Error> {
        let array = batch.column_by_name(column).ok_or_else(|| Error::field(column, "there is no such column"))?;
        if array.null_count() > 0 {
            return Err(Error::field(column, "a row has no primary key"));
        }
        match array.data_type() {
            ArrowType::Int64 => Ok(Self::Int(array.as_primitive::<Int64Type>().values().to_vec())),
            ArrowType::Utf8 => {
                let keys = array.as_string::<i32>();
                Ok(Self::Str((0..keys.len()).map(|row| keys.value(row).to_owned()).collect()))
            }
            other => Err(Error::field(column, format!("{other} is no type of primary keys"))),
        }
    }

    /// The keys as an Arrow column.
    #[must_use]
    pub fn to_array(&self) -> ArrayRef {
        match self {
            Self::Int(keys) => Arc::new(Int64Array::from(keys.clone())),
            Self::Str(keys) => Arc::new(StringArray::from_iter_values(keys)),
        }
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Int(keys) => keys.len(),
            Self::Str(keys) => keys.len(),
        }
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of one row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<PkValue> {
        match self {
            Self::Int(keys) => keys.get(row).copied().map(PkValue::Int),
            Self::Str(keys) => keys.get(row).cloned().map(PkValue::Str),
        }
    }

    /// All keys in their order.
    pub fn iter(&self) -> impl Iterator<Item = PkValue> + '_ {
        (0..self.len()).filter_map(|row| self.get(row))
    }

    /// The smallest and the largest key, when there is one.
    #[must_use]
    pub fn min_max(&self) -> Option<(PkValue, PkValue)> {
        match self {
            Self::Int(keys) => Some((PkValue::Int(*keys.iter().min()?), PkValue::Int(*keys.iter().max()?))),
            Self::Str(keys) => {
                Some((PkValue::Str(keys.iter().min()?.clone()), PkValue::Str(keys.iter().max()?.clone())))
            }
        }
    }

    /// The rows of each shard that has any, in their order.
    #[must_use]
    pub fn rows_by_shard(&self, shards_num: i32) -> Vec<(Shard, Vec<u32>)> {
        let mut rows: BTreeMap<Shard, Vec<u32>> = BTreeMap::new();
        let mut push = |row, hash| rows.entry(place(hash, shards_num)).or_default().push(row);
        match self {
            Self::Int(keys) => (0..).zip(keys).for_each(|(row, key)| push(row, hash_int(*key))),
            Self::Str(keys) => (0..).zip(keys).for_each(|(row, key)| push(row, hash_bytes(key.as_bytes()))),
        }
        rows.into_iter().collect()
    }
}

/// The shard of a key. Files are found by it, so it is the same for ever: CRC-64/NVME of the key (text as its UTF-8
/// bytes, a number as 8 bytes, least significant first), mixed by the finaliser of SplitMix64, modulo `shards_num`.
///
/// CRC alone is linear: keys at regular distances would meet in few shards. Less than one shard counts as one.
#[must_use]
pub fn shard_of(key: &PkValue, shards_num: i32) -> Shard {
    let hash = match key {
        PkValue::Int(key) => hash_int(*key),
        PkValue::Str(key) => hash_bytes(key.as_bytes()),
    };
    place(hash, shards_num)
}

fn hash_int(key: i64) -> u64 {
    hash_bytes(&key.to_le_bytes())
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = crate::checksum(bytes).0;
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn place(hash: u64, shards_num: i32) -> Shard {
    let shards = u64::from(shards_num.max(1).unsigned_abs());
    Shard(i32::try_from(hash % shards).expect("a remainder is below its i32 divisor"))
}

/// The rows at these positions, in the order given.
///
/// # Errors
/// When a position is beyond the last row.
pub fn take_rows(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch, Error> {
    if rows.iter().any(|row| *row as usize >= batch.num_rows()) {
        return Err(Error::write("rows by their positions", "a position is beyond the last row"));
    }
    take_record_batch(batch, &UInt32Array::from(rows.to_vec())).map_err(|e| Error::write("rows by their positions", e))
}

/// The rows of each shard that has any, by ascending shard, in the order that they had. `pk` names the key's column.
///
/// # Errors
/// When the batch has no column of primary keys with this name.
pub fn split_by_shard(batch: &RecordBatch, pk: &str, shards_num: i32) -> Result<Vec<(Shard, RecordBatch)>, Error> {
    let keys = PkColumn::from_batch(batch, pk)?;
    if shards_num <= 1 && !keys.is_empty() {
        return Ok(vec![(Shard(0), batch.clone())]);
    }
    let by_shard = keys.rows_by_shard(shards_num);
    by_shard.into_iter().map(|(shard, rows)| Ok((shard, take_rows(batch, &rows)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_a_key_never_changes() {
        let ints = [0, 1, 2, -1, 42, 1 << 40, i64::MIN, i64::MAX].map(PkValue::Int);
        let strs = ["", "a", "b", "key-17", "ключ", "主键"].map(|key| PkValue::Str(key.to_owned()));
        let shards = |shards_num| ints.iter().chain(&strs).map(|key| shard_of(key, shards_num).0).collect::<Vec<_>>();
        assert_eq!(shards(2), GOLDEN_2);
        assert_eq!(shards(16), GOLDEN_16);
        assert_eq!(shards(1_000_000), GOLDEN_1M);
    }

    const GOLDEN_2: [i32; 14] = [1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 1, 0];
    const GOLDEN_16: [i32; 14] = [9, 13, 2, 11, 10, 9, 3, 1, 0, 15, 8, 3, 3, 12];
    const GOLDEN_1M: [i32; 14] =
        [619145, 153309, 915298, 403067, 151930, 394473, 418179, 142257, 0, 380943, 60776, 527251, 972003, 715356];

    #[test]
    fn every_shard_gets_its_share_also_of_keys_at_regular_distances() {
        for (shards_num, stride) in [(2, 1), (2, 2), (4, 16), (7, 1 << 18), (16, 1), (16, 1 << 32)] {
            let keys = PkColumn::Int((0..16_000).map(|n| n * stride).collect());
            let by_shard = keys.rows_by_shard(shards_num);
            assert_eq!(by_shard.len(), shards_num as usize);
            let fair = 16_000 / shards_num as usize;
            assert!(by_shard.iter().all(|(_, rows)| rows.len().abs_diff(fair) < fair / 4), "{shards_num} {stride}");
        }
    }

    #[test]
    fn less_than_one_shard_counts_as_one() {
        for shards_num in [1, 0, -1, i32::MIN] {
            assert_eq!(shard_of(&PkValue::Int(7), shards_num), Shard(0));
        }
    }

    #[test]
    fn keys_are_numbers_and_texts_in_json() {
        let keys = vec![PkValue::Int(-5), PkValue::Str("5".into())];
        assert_eq!(serde_json::to_string(&keys).unwrap(), r#"[-5,"5"]"#);
        assert_eq!(serde_json::from_str::<Vec<PkValue>>(r#"[-5,"5"]"#).unwrap(), keys);
    }
}

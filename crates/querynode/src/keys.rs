//! Primary keys and commit offsets of one file of rows: what decides which of its rows are visible. Stays in memory as
//! long as a view names the file, also when the rows themselves had to go.

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Int64Type};
use elanus_segment::{Error, PkColumn, ts_offsets};
use std::ops::Range;
use std::sync::OnceLock;

/// A primary key where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum KeyRef<'a> {
    /// Of an int64 field.
    Int(i64),
    /// Of a varchar field; ordered by bytes.
    Str(&'a str),
}

#[derive(Debug)]
enum Column {
    Int(ScalarBuffer<i64>),
    Str(StringArray),
}

#[derive(Debug)]
enum Order {
    AsStored,
    Permuted(Box<[u32]>),
}

/// Primary keys and commit offsets of one file of rows.
#[derive(Debug)]
pub(crate) struct Keys {
    column: Column,
    offsets: ScalarBuffer<i64>,
    /// Rows with the smallest and the largest key.
    ends: Option<(u32, u32)>,
    order: OnceLock<Order>,
}

impl Keys {
    /// The keys in the column `pk` of decoded rows.
    pub(crate) fn of(batch: &RecordBatch, pk: &str) -> Result<Self, Error> {
        let refuse = |why: &str| Error::Field { field: pk.to_owned(), why: why.to_owned() };
        let offsets = ts_offsets(batch)?.values().clone();
        let array = batch.column_by_name(pk).ok_or_else(|| refuse("there is no such column"))?;
        if array.null_count() > 0 {
            return Err(refuse("a row has no primary key"));
        }
        let column = match array.data_type() {
            DataType::Int64 => Column::Int(array.as_primitive::<Int64Type>().values().clone()),
            DataType::Utf8 => Column::Str(array.as_string::<i32>().clone()),
            _ => return Err(refuse("it is neither int64 nor text")),
        };
        let mut keys = Self { column, offsets, ends: None, order: OnceLock::new() };
        let rows = u32::try_from(keys.len()).map_err(|_| refuse("the file has too many rows"))?;
        let smallest = (0..rows).min_by_key(|row| keys.key(*row));
        keys.ends = smallest.zip((0..rows).max_by_key(|row| keys.key(*row)));
        Ok(keys)
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The key of a row of this file.
    pub(crate) fn key(&self, row: u32) -> KeyRef<'_> {
        match &self.column {
            Column::Int(keys) => KeyRef::Int(keys[row as usize]),
            Column::Str(keys) => KeyRef::Str(keys.value(row as usize)),
        }
    }

    /// What is added to the file's `base_ts` for a row of this file.
    pub(crate) fn offset(&self, row: u32) -> i64 {
        self.offsets[row as usize]
    }

    /// The smallest and the largest key.
    pub(crate) fn range(&self) -> Option<(KeyRef<'_>, KeyRef<'_>)> {
        self.ends.map(|(smallest, largest)| (self.key(smallest), self.key(largest)))
    }

    /// Rows by ascending key.
    pub(crate) fn ascending(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len()).map(|position| self.row_at(position))
    }

    /// Rows with this key.
    fn rows_of(&self, key: KeyRef<'_>) -> impl Iterator<Item = u32> + '_ {
        let start = partition_point(0..self.len(), |position| self.key(self.row_at(position)) < key);
        let end = partition_point(start..self.len(), |position| self.key(self.row_at(position)) <= key);
        (start..end).map(|position| self.row_at(position))
    }

    fn row_at(&self, position: usize) -> u32 {
        match self.order.get_or_init(|| self.sort()) {
            Order::AsStored => u32::try_from(position).expect("a file has fewer rows than u32 counts"),
            Order::Permuted(rows) => rows[position],
        }
    }

    fn sort(&self) -> Order {
        let rows = u32::try_from(self.len()).expect("a file has fewer rows than u32 counts");
        if (1..rows).all(|row| self.key(row - 1) <= self.key(row)) {
            return Order::AsStored;
        }
        let mut order: Vec<u32> = (0..rows).collect();
        order.sort_by_key(|row| self.key(*row));
        Order::Permuted(order.into())
    }
}

/// Ascending keys, each once.
#[derive(Clone, Debug)]
pub(crate) struct KeySet(PkColumn);

impl KeySet {
    /// Takes keys that are ascending and unique already.
    pub(crate) fn of_sorted(keys: PkColumn) -> Self {
        Self(keys)
    }

    /// Sorts keys and drops repeats.
    pub(crate) fn new(mut keys: PkColumn) -> Self {
        match &mut keys {
            PkColumn::Int(keys) => sort_unique(keys),
            PkColumn::Str(keys) => sort_unique(keys),
        }
        Self(keys)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn column(&self) -> &PkColumn {
        &self.0
    }

    fn key(&self, at: usize) -> KeyRef<'_> {
        match &self.0 {
            PkColumn::Int(keys) => KeyRef::Int(keys[at]),
            PkColumn::Str(keys) => KeyRef::Str(&keys[at]),
        }
    }

    /// Calls `found` with the position in the set and the row, for every row whose key is in the set. Walks the smaller
    /// side and looks things up in the larger.
    pub(crate) fn join(&self, keys: &Keys, mut found: impl FnMut(usize, u32)) {
        let Some((smallest, largest)) = keys.range() else { return };
        let start = partition_point(0..self.len(), |at| self.key(at) < smallest);
        let end = partition_point(start..self.len(), |at| self.key(at) <= largest);
        if end - start <= keys.len() {
            for at in start..end {
                keys.rows_of(self.key(at)).for_each(|row| found(at, row));
            }
            return;
        }
        for row in (0..).take(keys.len()) {
            let key = keys.key(row);
            let at = partition_point(start..end, |at| self.key(at) < key);
            if at < end && self.key(at) == key {
                found(at, row);
            }
        }
    }
}

fn sort_unique<K: Ord>(keys: &mut Vec<K>) {
    keys.sort_unstable();
    keys.dedup();
}

/// The first position for which `before` is false; it is true up to there and false from there.
fn partition_point(range: Range<usize>, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

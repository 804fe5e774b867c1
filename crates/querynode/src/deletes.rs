//! What delete logs hide: a row of key `k` is hidden by a delete of `k` that is strictly newer. Pure.
//!
//! A log is sorted by key with the newest delete of each; a list of logs merges neighbours of like size, so that it stays
//! short and adding a log costs what the log costs, over many of them.

use crate::keys::{KeySet, Keys};
use elanus_segment::{Deletes, PkColumn};
use elanus_types::Timestamp;
use std::sync::Arc;

/// The newest delete of each of some keys.
#[derive(Clone, Debug)]
pub(crate) struct DeleteLog {
    keys: KeySet,
    /// One per key.
    ts: Vec<i64>,
    newest: i64,
}

impl DeleteLog {
    /// A decoded log whose offsets count from `base_ts`; deletes after `cut` are left out.
    pub(crate) fn new(deletes: &Deletes, base_ts: Timestamp, cut: Option<Timestamp>) -> Self {
        let ts = deletes.ts_offsets.iter().map(|offset| base_ts.0.saturating_add(*offset));
        let in_time = |ts: i64| cut.is_none_or(|cut| ts <= cut.0);
        match &deletes.keys {
            PkColumn::Int(keys) => {
                Self::of_pairs(keys.iter().copied().zip(ts).filter(|(_, ts)| in_time(*ts)).collect(), PkColumn::Int)
            }
            PkColumn::Str(keys) => {
                Self::of_pairs(keys.iter().cloned().zip(ts).filter(|(_, ts)| in_time(*ts)).collect(), PkColumn::Str)
            }
        }
    }

    /// What all of these logs say together.
    pub(crate) fn merged<'a>(logs: impl IntoIterator<Item = &'a DeleteLog>) -> Self {
        let (mut ints, mut strs) = (Vec::new(), Vec::new());
        for log in logs {
            let ts = log.ts.iter().copied();
            match log.keys.column() {
                PkColumn::Int(keys) => ints.extend(keys.iter().copied().zip(ts)),
                PkColumn::Str(keys) => strs.extend(keys.iter().cloned().zip(ts)),
            }
        }
        // A collection has keys of one type.
        if strs.is_empty() { Self::of_pairs(ints, PkColumn::Int) } else { Self::of_pairs(strs, PkColumn::Str) }
    }

    fn of_pairs<K: Ord>(mut pairs: Vec<(K, i64)>, column: impl Fn(Vec<K>) -> PkColumn) -> Self {
        pairs.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        pairs.dedup_by(|later, kept| later.0 == kept.0);
        let newest = pairs.iter().map(|(_, ts)| *ts).max().unwrap_or(i64::MIN);
        let (keys, ts) = pairs.into_iter().unzip();
        Self { keys: KeySet::of_sorted(column(keys)), ts, newest }
    }

    /// Calls `hide` with every row of a file that this log hides.
    pub(crate) fn hidden(&self, keys: &Keys, base_ts: Timestamp, mut hide: impl FnMut(u32)) {
        if self.newest <= base_ts.0 {
            return;
        }
        self.keys.join(keys, |at, row| {
            if self.ts[at] > base_ts.0.saturating_add(keys.offset(row)) {
                hide(row);
            }
        });
    }

    fn len(&self) -> usize {
        self.ts.len()
    }
}

/// All deletes of one place, in logs that grow in size from the last to the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteLogs(Vec<Arc<DeleteLog>>);

impl DeleteLogs {
    pub(crate) fn push(&mut self, log: DeleteLog) {
        if log.len() == 0 {
            return;
        }
        let mut log = log;
        while let Some(before) = self.0.pop_if(|before| before.len() <= 2 * log.len()) {
            log = DeleteLog::merged([&*before, &log]);
        }
        self.0.push(Arc::new(log));
    }

    /// Calls `hide` with every row of a file that one of the logs hides; maybe more than once.
    pub(crate) fn hidden(&self, keys: &Keys, base_ts: Timestamp, mut hide: impl FnMut(u32)) {
        for log in &self.0 {
            log.hidden(keys, base_ts, &mut hide);
        }
    }
}

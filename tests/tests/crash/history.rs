//! What was written, and what may be read after it. Pure bookkeeping, by event numbers that only rise: an operation or a
//! snapshot begins and ends at an event, so "before" and "after" are known without a clock.

use elanus_scenarios::rows::Row;
use std::collections::BTreeMap;

/// Rows by key, with their version.
pub(crate) type State = BTreeMap<i64, i64>;

/// How an operation ended, as far as its writer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// No answer yet; none will come when the server was killed.
    Open,
    /// The server acknowledged it at this event, with this timestamp.
    Acked { event: u64, ts: u64 },
    /// Never acknowledged, but found when the server was back, at this event.
    Found { event: u64 },
}

/// One request of a writer: versions of the keys that it wrote, `None` for those that it deleted.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) begin: u64,
    pub(crate) end: End,
    pub(crate) effect: BTreeMap<i64, Option<i64>>,
}

/// What became of the request of a writer that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There was none.
    Whole,
    /// It was done.
    Done,
    /// It was not.
    Undone,
}

/// What a snapshot may hold: it began and ended at these events, and has this timestamp.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) ts: u64,
}

/// What one writer did, in order: it sends a request when the one before was answered. Nobody else writes its keys.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    ops: Vec<Op>,
}

impl Writer {
    pub(crate) fn begin(&mut self, op: Op) {
        assert!(self.ops.last().is_none_or(|last| last.end != End::Open), "the last request has no answer");
        self.ops.push(op);
    }

    pub(crate) fn acked(&mut self, event: u64, ts: u64) {
        let before = self.ops.iter().rev().find_map(|op| match op.end {
            End::Acked { ts, .. } => Some(ts),
            _ => None,
        });
        assert!(before.is_none_or(|before| before < ts), "a later write has the earlier timestamp {ts} <= {before:?}");
        self.ops.last_mut().expect("a request began").end = End::Acked { event, ts };
    }

    /// The rows after all operations.
    pub(crate) fn state(&self) -> State {
        self.after(self.ops.len())
    }

    fn after(&self, ops: usize) -> State {
        let mut state = State::new();
        for (key, version) in self.ops[..ops].iter().flat_map(|op| &op.effect) {
            match version {
                Some(version) => state.insert(*key, *version),
                None => state.remove(key),
            };
        }
        state
    }

    /// D-1: what was acknowledged is there, what was acknowledged as deleted is not, and a request that was cut off was done
    /// as a whole or not at all. It is known from now on which.
    pub(crate) fn settle(&mut self, found: &State, event: u64) -> Result<Settled, String> {
        let all = self.state();
        let open = self.ops.last().is_some_and(|op| op.end == End::Open);
        if *found == all {
            if !open {
                return Ok(Settled::Whole);
            }
            self.ops.last_mut().expect("an open one").end = End::Found { event };
            return Ok(Settled::Done);
        }
        if open && *found == self.after(self.ops.len() - 1) {
            self.ops.pop();
            return Ok(Settled::Undone);
        }
        let cut_off = if open { "with" } else { "no" };
        Err(format!("D-1: {} ({cut_off} request cut off)", difference(&all, found)))
    }

    /// S-1: the rows are those after all operations up to the timestamp. Which those are is known but for requests that were
    /// never acknowledged and ran beside the create.
    pub(crate) fn check(&self, cut: Cut, found: &State) -> Result<(), String> {
        let (mut sure, mut possible) = (0, 0);
        for (at, op) in self.ops.iter().enumerate() {
            let before = match op.end {
                End::Acked { event, .. } | End::Found { event } => event < cut.begin,
                End::Open => false,
            };
            let inside = match op.end {
                End::Acked { ts, .. } => Some(ts <= cut.ts),
                _ if before => Some(true),
                _ if op.begin > cut.end => Some(false),
                _ => None,
            };
            if before && inside == Some(false) {
                return Err(format!("S-1: {op:?} was acknowledged before {cut:?} and is later than it"));
            }
            if op.begin > cut.end && inside == Some(true) {
                return Err(format!("S-1: {op:?} began after the end of {cut:?} and is not later than it"));
            }
            match inside {
                Some(true) if possible == at && sure == at => (sure, possible) = (at + 1, at + 1),
                Some(true) => return Err(format!("S-1: {op:?} is in {cut:?}, one before it is not")),
                None if possible == at => possible = at + 1,
                None | Some(false) => {}
            }
        }
        if (sure..=possible).any(|ops| *found == self.after(ops)) {
            return Ok(());
        }
        Err(format!("S-1: {cut:?}: {}", difference(&self.after(sure), found)))
    }
}

/// Rows of an answer, each version told from its key.
pub(crate) fn state(rows: impl IntoIterator<Item = Row>) -> Result<State, String> {
    let mut state = State::new();
    for row in rows {
        if let Some(other) = state.insert(row.id, row.version) {
            return Err(format!("the key {} is there twice, as version {other} and {}", row.id, row.version));
        }
    }
    Ok(state)
}

fn difference(expected: &State, found: &State) -> String {
    const SHOWN_MAX: usize = 10;
    let only = |one: &State, other: &State| {
        let rows: Vec<_> = one.iter().filter(|(key, version)| other.get(key) != Some(version)).collect();
        format!("{}, such as {:?}", rows.len(), &rows[..rows.len().min(SHOWN_MAX)])
    };
    format!("rows missing: {}; rows that should not be there: {}", only(expected, found), only(found, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(ends: &[End]) -> Writer {
        let op = |(at, end): (usize, &End)| {
            let at = at as i64;
            Op { begin: 10 * at as u64, end: *end, effect: [(at, Some(at)), (at - 1, None)].into() }
        };
        Writer { ops: ends.iter().enumerate().map(op).collect() }
    }

    #[test]
    fn a_request_that_was_cut_off_counts_when_it_is_found() {
        let acked = End::Acked { event: 5, ts: 100 };
        let mut done = writer(&[acked, End::Open]);
        assert_eq!(done.settle(&[(1, 1)].into(), 99), Ok(Settled::Done));
        assert_eq!(done.ops[1].end, End::Found { event: 99 });
        let mut undone = writer(&[acked, End::Open]);
        assert_eq!(undone.settle(&[(0, 0)].into(), 99), Ok(Settled::Undone));
        assert_eq!(undone.ops.len(), 1);
        let half = writer(&[acked, End::Open]).settle(&[(0, 0), (1, 1)].into(), 99).unwrap_err();
        assert!(half.contains("should not be there: 1"), "{half}");
        let lost = writer(&[acked, acked]).settle(&[(0, 0)].into(), 99).unwrap_err();
        assert!(lost.contains("missing: 1"), "{lost}");
    }

    #[test]
    fn a_snapshot_has_what_is_not_later_than_its_timestamp() {
        let ops = [End::Acked { event: 5, ts: 100 }, End::Acked { event: 25, ts: 200 }, End::Open];
        let check =
            |begin, end, ts, key: i64| writer(&ops).check(Cut { begin, end, ts }, &[(key, key)].into()).map_err(drop);
        assert_eq!(check(6, 9, 150, 0), Ok(()));
        assert_eq!(check(6, 9, 150, 1), Err(()));
        assert_eq!(check(15, 19, 200, 1), Ok(()));
        assert_eq!(check(15, 19, 199, 0), Ok(()));
        assert_eq!(check(26, 29, 250, 1), Ok(()));
        assert_eq!(check(26, 29, 250, 2), Ok(()), "the open one ran beside it");
        assert_eq!(check(26, 29, 250, 0), Err(()));
        assert_eq!(check(26, 29, 150, 0), Err(()), "a snapshot that forgot an acknowledged write");
        assert_eq!(check(6, 9, 250, 1), Err(()), "a snapshot that took a later write");
    }
}

//! What one writer was told, and what may be read after it. Pure bookkeeping.
//!
//! A request whose answer did not arrive may be done now, later, or never: its keys are never written again, and a read may
//! show them before or after it, all of them alike. Events are numbers that only rise; they say what came before what on
//! the side of the client.

use elanus_scenarios::rows::Row;
use std::collections::{BTreeMap, BTreeSet};

/// Rows by key, with their version.
pub type State = BTreeMap<i64, i64>;

/// Versions of the keys that a request writes, `None` for those that it deletes.
pub type Effect = BTreeMap<i64, Option<i64>>;

/// How a request ended, as far as its writer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its answer is out.
    Open,
    /// It was done, at this timestamp; the answer came at this event.
    Acked { event: u64, ts: u64 },
    /// Nobody knows. True once it was seen: it stays then.
    Unknown { seen: bool },
}

#[derive(Clone, Debug)]
struct Op {
    begin: u64,
    end: End,
    effect: Effect,
}

/// What a read may show: it began and ended at these events, and shows what is not later than this timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Everything that was acknowledged before is in it.
    pub begin: u64,
    /// Nothing that began afterwards is in it.
    pub end: u64,
    /// Timestamp of the snapshot; the highest for a read of now.
    pub ts: u64,
}

/// One writer; nobody else writes its keys.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    ops: Vec<Op>,
    rows: State,
    /// Keys of requests whose outcome is not known.
    unknown: BTreeSet<i64>,
}

impl Writer {
    /// The rows of which it is known that they are there.
    #[must_use]
    pub fn rows(&self) -> &State {
        &self.rows
    }

    /// A request is sent.
    ///
    /// # Panics
    /// When the one before has not ended, or a key may not be written any more.
    pub fn begin(&mut self, event: u64, effect: Effect) {
        assert!(self.ops.last().is_none_or(|last| last.end != End::Open), "the last request has not ended");
        assert!(effect.keys().all(|key| !self.unknown.contains(key)), "a key whose state is not known is written");
        self.ops.push(Op { begin: event, end: End::Open, effect });
    }

    /// The request was done, at this timestamp.
    ///
    /// # Errors
    /// When an earlier one has a later timestamp.
    ///
    /// # Panics
    /// When none was sent.
    pub fn acked(&mut self, event: u64, ts: u64) -> Result<(), String> {
        let before = self.ops.iter().rev().find_map(|op| match op.end {
            End::Acked { ts, .. } => Some(ts),
            _ => None,
        });
        if before.is_some_and(|before| before >= ts) {
            return Err(format!("a later write has the timestamp {ts}, the one before {before:?}"));
        }
        let op = self.ops.last_mut().expect("a request was sent");
        op.end = End::Acked { event, ts };
        let effect = op.effect.clone();
        apply(&mut self.rows, &effect);
        Ok(())
    }

    /// The request was refused: nothing was done.
    pub fn refused(&mut self) {
        self.ops.pop();
    }

    /// No answer: nobody knows.
    ///
    /// # Panics
    /// When none was sent.
    pub fn lost(&mut self) {
        let op = self.ops.last_mut().expect("a request was sent");
        op.end = End::Unknown { seen: false };
        self.unknown.extend(op.effect.keys());
        for key in op.effect.keys() {
            self.rows.remove(key);
        }
    }

    /// Requests whose outcome never came: those that were seen to be done, and the others.
    #[must_use]
    pub fn unknown(&self) -> [u64; 2] {
        let count = |wanted| self.ops.iter().filter(|op| op.end == End::Unknown { seen: wanted }).count() as u64;
        [count(true), count(false)]
    }

    /// D-1 and S-1: the rows are those after all requests up to the timestamp; a request without an answer is there as a
    /// whole or not at all.
    ///
    /// # Errors
    /// What is there instead.
    pub fn check(&self, cut: Cut, found: &State) -> Result<(), String> {
        self.walk(cut, found).map(drop)
    }

    /// [`Writer::check`] of a read of now: a request without an answer that is seen now must be seen from now on.
    ///
    /// # Errors
    /// What is there instead.
    pub fn check_now(&mut self, event: u64, found: &State) -> Result<(), String> {
        let done = self.walk(Cut { begin: event, end: event, ts: u64::MAX }, found)?;
        for at in done {
            self.ops[at].end = End::Unknown { seen: true };
        }
        Ok(())
    }

    /// Those requests without an answer that are seen.
    fn walk(&self, cut: Cut, found: &State) -> Result<Vec<usize>, String> {
        let (mut state, mut done) = (State::new(), Vec::new());
        let now = cut.ts == u64::MAX;
        for (at, op) in self.ops.iter().enumerate() {
            match op.end {
                End::Acked { event, ts } => {
                    if event < cut.begin && ts > cut.ts {
                        return Err(format!("{op:?} was acknowledged before {cut:?} and is later than it"));
                    }
                    if op.begin > cut.end && ts <= cut.ts && !now {
                        return Err(format!("{op:?} began after {cut:?} and is not later than it"));
                    }
                    if ts <= cut.ts {
                        apply(&mut state, &op.effect);
                    }
                }
                End::Unknown { seen } if op.begin <= cut.end => {
                    let is = |wanted: &dyn Fn(&i64, &Option<i64>) -> bool| op.effect.iter().all(|(k, v)| wanted(k, v));
                    if is(&|key, version| found.get(key) == version.as_ref()) {
                        apply(&mut state, &op.effect);
                        done.push(at);
                    } else if !is(&|key, _| found.get(key) == state.get(key)) {
                        return Err(format!("{op:?} was done by half: {}", difference(&state, found)));
                    } else if seen && now {
                        return Err(format!("{op:?} was there and is not any more"));
                    }
                }
                End::Unknown { .. } | End::Open => {}
            }
        }
        if state == *found { Ok(done) } else { Err(format!("{cut:?}: {}", difference(&state, found))) }
    }
}

fn apply(state: &mut State, effect: &Effect) {
    for (key, version) in effect {
        match version {
            Some(version) => state.insert(*key, *version),
            None => state.remove(key),
        };
    }
}

/// Rows of an answer as a state.
///
/// # Errors
/// When a key is there twice.
pub fn state(rows: impl IntoIterator<Item = Row>) -> Result<State, String> {
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

    const NOW: Cut = Cut { begin: 99, end: 99, ts: u64::MAX };

    /// Inserts keys 1 and 2 (ts 100), an unknown upsert of 1 and insert of 3, an insert of 4 (ts 200).
    fn writer() -> Writer {
        let mut writer = Writer::default();
        writer.begin(10, [(1, Some(1)), (2, Some(1))].into());
        writer.acked(11, 100).unwrap();
        writer.begin(20, [(1, Some(2)), (3, Some(2))].into());
        writer.lost();
        writer.begin(30, [(4, Some(3))].into());
        writer.acked(31, 200).unwrap();
        writer
    }

    fn found(rows: &[(i64, i64)]) -> State {
        rows.iter().copied().collect()
    }

    #[test]
    fn a_request_without_an_answer_is_there_as_a_whole_or_not_at_all() {
        let writer = writer();
        assert_eq!(writer.rows(), &found(&[(2, 1), (4, 3)]));
        assert_eq!(writer.check(NOW, &found(&[(1, 1), (2, 1), (4, 3)])), Ok(()));
        assert_eq!(writer.check(NOW, &found(&[(1, 2), (2, 1), (3, 2), (4, 3)])), Ok(()));
        for half in [&[(1, 2), (2, 1), (4, 3)][..], &[(1, 1), (2, 1), (3, 2), (4, 3)], &[(2, 1), (4, 3)]] {
            assert!(writer.check(NOW, &found(half)).unwrap_err().contains("by half"));
        }
    }

    #[test]
    fn what_was_acknowledged_is_there_and_nothing_else() {
        let writer = writer();
        let lost = writer.check(NOW, &found(&[(1, 1), (2, 1)])).unwrap_err();
        assert!(lost.contains("missing: 1, such as [(4, 3)]"), "{lost}");
        let extra = writer.check(NOW, &found(&[(1, 1), (2, 1), (4, 3), (5, 5)])).unwrap_err();
        assert!(extra.contains("should not be there: 1"), "{extra}");
        let mut refused = writer;
        refused.begin(40, [(2, None)].into());
        refused.refused();
        assert!(refused.check(NOW, &found(&[(1, 1), (4, 3)])).is_err(), "it was refused, and done all the same");
    }

    #[test]
    fn a_late_request_may_be_seen_first_and_must_be_seen_from_then_on() {
        let mut writer = writer();
        let (before, after) = (found(&[(1, 1), (2, 1), (4, 3)]), found(&[(1, 2), (2, 1), (3, 2), (4, 3)]));
        assert_eq!((writer.check_now(90, &before), writer.unknown()), (Ok(()), [0, 1]));
        assert_eq!((writer.check_now(91, &after), writer.unknown()), (Ok(()), [1, 0]));
        assert!(writer.check_now(92, &before).unwrap_err().contains("is not any more"));
    }

    #[test]
    fn a_snapshot_has_what_is_not_later_than_it() {
        let check = |begin, end, ts, rows: &[(i64, i64)]| writer().check(Cut { begin, end, ts }, &found(rows));
        assert_eq!(check(12, 15, 150, &[(1, 1), (2, 1)]), Ok(()));
        assert!(check(12, 15, 150, &[(1, 2), (2, 1), (3, 2)]).is_err(), "the unknown one began later");
        assert_eq!(check(21, 25, 150, &[(1, 2), (2, 1), (3, 2)]), Ok(()));
        assert!(check(21, 25, 250, &[(1, 1), (2, 1), (4, 3)]).unwrap_err().contains("began after"));
        assert!(check(32, 35, 150, &[(1, 1), (2, 1)]).unwrap_err().contains("was acknowledged before"));
    }

    #[test]
    fn timestamps_rise() {
        let mut writer = writer();
        writer.begin(40, [(5, Some(5))].into());
        assert!(writer.acked(41, 200).is_err());
        assert!(state([Row { id: 1, version: 1 }, Row { id: 1, version: 2 }]).is_err());
    }
}

//! What was asked and what was answered, and what may be read after it. Pure bookkeeping by event numbers that only rise.
//!
//! A key is written by one request at a time; one whose end is not known keeps its keys until a look settles it. So the
//! requests of a key are in order, and what a look may find is known for each key by itself; that a request is whole is
//! checked over all of its keys.

use std::collections::{BTreeMap, BTreeSet};

/// Rows by key, with their version.
pub type State = BTreeMap<i64, i64>;

/// How a request ended, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not known.
    Open,
    /// Acknowledged at this event, with this timestamp.
    Acked {
        /// When the answer came.
        event: u64,
        /// Timestamp of the commit.
        ts: u64,
    },
    /// Not acknowledged; a look at this event found it done.
    Found {
        /// When it was looked.
        event: u64,
    },
}

/// What a request changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Versions of keys; `None`: deleted.
    Keys(BTreeMap<i64, Option<i64>>),
    /// Everything: a rollback.
    All(State),
}

impl Effect {
    fn of(&self, key: i64) -> Option<Option<i64>> {
        match self {
            Self::Keys(keys) => keys.get(&key).copied(),
            Self::All(state) => Some(state.get(&key).copied()),
        }
    }
}

/// One request that changes rows.
#[derive(Clone, Debug)]
pub struct Op {
    /// For messages.
    pub number: u64,
    /// When it was sent.
    pub begin: u64,
    /// How it ended.
    pub end: End,
    /// What it changes.
    pub effect: Effect,
}

/// A snapshot: it began and ended at these events, and has this timestamp.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// When it was asked for.
    pub begin: u64,
    /// When it was known to be there.
    pub end: u64,
    /// Its timestamp.
    pub ts: u64,
}

/// What a request must have done in what was looked at: `None` where both are right.
fn inside(op: &Op, cut: Option<Cut>) -> Result<Option<bool>, String> {
    let Some(cut) = cut else {
        return Ok(match op.end {
            End::Open => None,
            End::Acked { .. } | End::Found { .. } => Some(true),
        });
    };
    let before = match op.end {
        End::Acked { event, .. } | End::Found { event } => event < cut.begin,
        End::Open => false,
    };
    let after = op.begin > cut.end;
    let inside = match op.end {
        End::Acked { ts, .. } => Some(ts <= cut.ts),
        _ if before => Some(true),
        _ if after => Some(false),
        _ => None,
    };
    match inside {
        Some(false) if before => Err(format!("S-1: {op:?} was acknowledged before {cut:?} and is later than it")),
        Some(true) if after => Err(format!("S-1: {op:?} began after {cut:?} and is not later than it")),
        other => Ok(other),
    }
}

/// The rows of a collection, from its first content on.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// What it held when it was made.
    pub base: State,
    /// In the order of each key.
    pub ops: Vec<Op>,
    /// Keys of requests whose end is not known.
    pub locked: BTreeSet<i64>,
}

impl Rows {
    /// What is there for sure, as far as every request is settled.
    #[must_use]
    pub fn known(&self) -> State {
        let mut state = self.base.clone();
        for op in self.ops.iter().filter(|op| op.end != End::Open) {
            match &op.effect {
                Effect::All(all) => state.clone_from(all),
                Effect::Keys(keys) => {
                    for (key, version) in keys {
                        match version {
                            Some(version) => state.insert(*key, *version),
                            None => state.remove(key),
                        };
                    }
                }
            }
        }
        state
    }

    /// The part with keys for which `belongs` is true.
    #[must_use]
    pub fn only(&self, belongs: impl Fn(i64) -> bool) -> Self {
        let mut rows = self.clone();
        rows.base.retain(|key, _| belongs(*key));
        for op in &mut rows.ops {
            match &mut op.effect {
                Effect::Keys(keys) => keys.retain(|key, _| belongs(*key)),
                Effect::All(state) => state.retain(|key, _| belongs(*key)),
            }
        }
        rows
    }

    /// S-1: what a look into a snapshot found, or D-1: what one at now found, when nothing runs (`None`), explained: which
    /// of the requests that may be in or out are in.
    ///
    /// # Errors
    /// When nothing explains it.
    pub fn explain(&self, cut: Option<Cut>, found: &State) -> Result<BTreeMap<u64, bool>, String> {
        let decided = self.ops.iter().map(|op| inside(op, cut)).collect::<Result<_, _>>()?;
        self.explain_decided(decided, found)
    }

    /// D-1: what a look found that began at this event, while others wrote.
    ///
    /// # Errors
    /// When nothing explains it.
    pub fn explain_now(&self, began: u64, found: &State) -> Result<(), String> {
        let decided = |op: &Op| match op.end {
            End::Acked { event, .. } | End::Found { event } if event < began => Some(true),
            _ => None,
        };
        self.explain_decided(self.ops.iter().map(decided).collect(), found).map(drop)
    }

    fn explain_decided(&self, decided: Vec<Option<bool>>, found: &State) -> Result<BTreeMap<u64, bool>, String> {
        let mut keys: BTreeSet<i64> = self.base.keys().chain(found.keys()).copied().collect();
        for op in &self.ops {
            match &op.effect {
                Effect::Keys(of) => keys.extend(of.keys()),
                Effect::All(state) => keys.extend(state.keys()),
            }
        }
        let mut evidence: BTreeMap<u64, bool> = BTreeMap::new();
        for key in keys {
            for (number, is_in) in self.explain_key(&decided, key, found.get(&key).copied())? {
                if *evidence.entry(number).or_insert(is_in) != is_in {
                    return Err(format!("a request is there in part: number {number}, {:?}", self.op(number)));
                }
            }
        }
        Ok(evidence)
    }

    fn op(&self, number: u64) -> Option<&Op> {
        self.ops.iter().find(|op| op.number == number)
    }

    fn explain_key(
        &self,
        decided_all: &[Option<bool>],
        key: i64,
        found: Option<i64>,
    ) -> Result<Vec<(u64, bool)>, String> {
        let mut skipped: Vec<(u64, bool)> = Vec::new();
        let mut expected = Vec::new();
        for (at, (op, decided)) in self.ops.iter().zip(decided_all).enumerate().rev() {
            let Some(value) = op.effect.of(key) else { continue };
            if *decided == Some(false) {
                continue;
            }
            if value == found {
                // A rollback and a delete may leave a row as it was: then it is no evidence.
                if decided.is_none() && !self.explained_before(decided_all, at, key, found) {
                    skipped.push((op.number, true));
                }
                return Ok(skipped);
            }
            expected.push((op.number, value));
            if *decided == Some(true) {
                return Err(self.wrong(key, found, &expected));
            }
            skipped.push((op.number, false));
        }
        let base = self.base.get(&key).copied();
        if base == found {
            return Ok(skipped);
        }
        expected.push((0, base));
        Err(self.wrong(key, found, &expected))
    }

    /// True when the requests before this one explain what was found.
    fn explained_before(&self, decided: &[Option<bool>], before: usize, key: i64, found: Option<i64>) -> bool {
        for (op, decided) in self.ops[..before].iter().zip(decided).rev() {
            match op.effect.of(key) {
                Some(value) if *decided != Some(false) => match (value == found, decided) {
                    (true, _) => return true,
                    (false, Some(true)) => return false,
                    (false, _) => {}
                },
                _ => {}
            }
        }
        self.base.get(&key).copied() == found
    }

    fn wrong(&self, key: i64, found: Option<i64>, expected: &[(u64, Option<i64>)]) -> String {
        let history: Vec<_> = self.ops.iter().filter(|op| op.effect.of(key).is_some()).collect();
        let history: Vec<String> = history
            .iter()
            .map(|op| format!("#{} from {} {:?} → {:?}", op.number, op.begin, op.end, op.effect.of(key).flatten()))
            .collect();
        format!(
            "key {key} has version {found:?}; right are {expected:?} (request, version), base {:?}, history {history:?}",
            self.base.get(&key)
        )
    }

    /// D-1: a look at now, when nothing runs. Settles every request whose end was not known.
    ///
    /// # Errors
    /// When nothing explains it.
    pub fn settle(&mut self, found: &State, event: u64) -> Result<(), String> {
        let evidence = self.explain(None, found).map_err(|why| format!("D-1: {why}"))?;
        for op in &mut self.ops {
            if op.end == End::Open && evidence.get(&op.number) != Some(&false) {
                op.end = End::Found { event };
            }
        }
        self.ops.retain(|op| op.end != End::Open);
        self.locked.clear();
        let known = self.known();
        if known == *found { Ok(()) } else { Err(format!("D-1: {}", difference(&known, found))) }
    }
}

/// What of two states differs, in a line.
#[must_use]
pub fn difference(expected: &State, found: &State) -> String {
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

    fn op(number: u64, begin: u64, end: End, keys: &[(i64, Option<i64>)]) -> Op {
        Op { number, begin, end, effect: Effect::Keys(keys.iter().copied().collect()) }
    }

    fn rows(ops: Vec<Op>) -> Rows {
        Rows { base: [(9, 9)].into(), ops, locked: BTreeSet::new() }
    }

    #[test]
    fn a_request_whose_end_is_not_known_is_there_or_not_but_not_in_part() {
        let acked = op(1, 1, End::Acked { event: 2, ts: 10 }, &[(1, Some(1)), (2, Some(1))]);
        let open = op(2, 3, End::Open, &[(1, Some(2)), (2, None)]);
        for (found, settled) in [
            (State::from([(9, 9), (1, 1), (2, 1)]), Ok(1)),
            (State::from([(9, 9), (1, 2)]), Ok(2)),
            (State::from([(9, 9), (1, 2), (2, 1)]), Err("in part")),
            (State::from([(9, 9), (1, 3), (2, 1)]), Err("key 1")),
            (State::from([(1, 1), (2, 1)]), Err("key 9")),
        ] {
            let mut rows = rows(vec![acked.clone(), open.clone()]);
            match (rows.settle(&found, 5), settled) {
                (Ok(()), Ok(left)) => assert_eq!(rows.ops.len(), left),
                (Err(why), Err(text)) => assert!(why.contains(text), "{why}"),
                other => panic!("{found:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_snapshot_has_what_is_not_later_than_its_timestamp() {
        let rows = rows(vec![
            op(1, 1, End::Acked { event: 5, ts: 100 }, &[(1, Some(1))]),
            op(2, 10, End::Acked { event: 25, ts: 200 }, &[(1, Some(2))]),
            op(3, 12, End::Found { event: 40 }, &[(2, Some(3))]),
        ]);
        let check = |begin, end, ts, found: &[(i64, i64)]| {
            let found = found.iter().copied().chain([(9, 9)]).collect();
            rows.explain(Some(Cut { begin, end, ts }), &found).is_ok()
        };
        assert!(check(6, 9, 150, &[(1, 1)]));
        assert!(!check(6, 9, 150, &[(1, 2)]));
        assert!(check(15, 19, 200, &[(1, 2)]) && check(15, 19, 200, &[(1, 2), (2, 3)]), "the third ran beside it");
        assert!(!check(41, 42, 300, &[(1, 2)]), "the third was there before");
        assert!(!check(26, 29, 150, &[(1, 1)]), "a snapshot that forgot an acknowledged write");
    }

    #[test]
    fn a_rollback_takes_everything_back() {
        let mut rows = rows(vec![
            op(1, 1, End::Acked { event: 5, ts: 100 }, &[(1, Some(1))]),
            Op { number: 2, begin: 6, end: End::Open, effect: Effect::All([(9, 9)].into()) },
        ]);
        assert!(rows.clone().settle(&[(9, 9), (1, 1)].into(), 7).is_ok());
        rows.settle(&[(9, 9)].into(), 7).unwrap();
        assert_eq!(rows.known(), [(9, 9)].into());
    }
}

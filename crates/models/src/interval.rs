//! The interval rule of `elanus-lifecycle` on random histories, against an oracle that never looks at a time: it remembers
//! what each snapshot saw, and asks everybody each time.
//!
//! * IV-1  What is released is what nobody needs: neither the collection nor a snapshot that still protects.
//! * IV-3  The drain of a dropped snapshot releases exactly what only it needed, and nothing a second time.

use elanus_lifecycle::interval::{Gap, Interval};
use elanus_types::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::collections::BTreeSet;

/// Histories in a test.
pub const HISTORIES_FEW: u32 = 3_000;
/// Histories in the full run.
pub const HISTORIES_FULL: u32 = 100_000;
const STEPS_MAX: usize = 40;

/// Something that happens to a collection; numbers choose among what is there.
#[derive(Clone, Debug)]
enum Event {
    /// One commit: ends memberships and adds some, at the same time. A compaction, a write, a rollback.
    Commit { ends: Vec<usize>, adds: usize },
    /// A snapshot.
    Create,
    /// A snapshot is dropped; it protects until it is drained.
    Drop(usize),
    /// A dropped snapshot is drained, whenever its turn comes.
    Drain(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (vec(any::<usize>(), 0..4), 0..4_usize).prop_map(|(ends, adds)| Event::Commit { ends, adds }),
        2 => Just(Event::Create),
        1 => any::<usize>().prop_map(Event::Drop),
        1 => any::<usize>().prop_map(Event::Drain),
    ]
}

/// A snapshot that protects.
#[derive(Clone, Debug)]
struct Snapshot {
    create_ts: Timestamp,
    dropped: bool,
    /// For the oracle: what it saw.
    saw: BTreeSet<usize>,
}

#[derive(Default)]
struct Collection {
    now: i64,
    memberships: Vec<Interval>,
    /// By the rule.
    released: BTreeSet<usize>,
    snapshots: Vec<Snapshot>,
}

impl Collection {
    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        self.now += 1;
        match event {
            Event::Commit { ends, adds } => self.commit(ends, *adds),
            Event::Create => {
                let saw = self.held().collect();
                self.snapshots.push(Snapshot { create_ts: Timestamp(self.now), dropped: false, saw });
                Ok(())
            }
            Event::Drop(n) => {
                let kept: Vec<&mut Snapshot> = self.snapshots.iter_mut().filter(|snapshot| !snapshot.dropped).collect();
                let count = kept.len().max(1);
                if let Some(snapshot) = kept.into_iter().nth(n % count) {
                    snapshot.dropped = true;
                }
                Ok(())
            }
            Event::Drain(n) => self.drain(*n),
        }
    }

    fn held(&self) -> impl Iterator<Item = usize> {
        (0..self.memberships.len()).filter(|id| !self.memberships[*id].has_ended())
    }

    /// Ending releases at once when no snapshot lies in the interval.
    fn commit(&mut self, ends: &[usize], adds: usize) -> Result<(), TestCaseError> {
        let at = Timestamp(self.now);
        let protecting = self.protecting();
        for n in ends {
            let held: Vec<usize> = self.held().filter(|id| self.memberships[*id].added_ts < at).collect();
            let Some(id) = held.get(n % held.len().max(1)) else { continue };
            self.memberships[*id].removed_ts = at;
            if !self.memberships[*id].is_referenced(&protecting) {
                self.released.insert(*id);
            }
        }
        let added = Interval { added_ts: at, removed_ts: Timestamp::NEVER };
        self.memberships.extend(std::iter::repeat_n(added, adds));
        Ok(())
    }

    /// The drain releases what the gap between the neighbours frees.
    fn drain(&mut self, n: usize) -> Result<(), TestCaseError> {
        let dropped: Vec<usize> = (0..self.snapshots.len()).filter(|i| self.snapshots[*i].dropped).collect();
        let Some(i) = dropped.get(n % dropped.len().max(1)) else { return Ok(()) };
        let snapshot = self.snapshots.remove(*i);
        let gap = Gap::around(snapshot.create_ts, &self.protecting());
        for (id, interval) in self.memberships.iter().enumerate() {
            if gap.frees(*interval) {
                prop_assert!(self.released.insert(id), "IV-3: {id} is released twice");
            }
        }
        Ok(())
    }

    fn protecting(&self) -> Vec<Timestamp> {
        self.snapshots.iter().map(|snapshot| snapshot.create_ts).collect()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let needed = |id: &usize| {
            !self.memberships[*id].has_ended() || self.snapshots.iter().any(|snapshot| snapshot.saw.contains(id))
        };
        let unneeded: BTreeSet<usize> = (0..self.memberships.len()).filter(|id| !needed(id)).collect();
        prop_assert_eq!(&self.released, &unneeded, "IV-1: released is not what nobody needs");
        Ok(())
    }
}

/// Plays so many random histories.
///
/// # Errors
/// The smallest history in which rule and oracle differ.
pub fn compare(histories: u32) -> Result<(), String> {
    let config = Config { cases: histories, failure_persistence: None, ..Config::default() };
    let compared = TestRunner::new(config).run(&vec(event(), 0..STEPS_MAX), |history| {
        let mut collection = Collection::default();
        for event in &history {
            collection.happen(event)?;
            collection.check()?;
        }
        Ok(())
    });
    compared.map_err(|error| error.to_string())
}

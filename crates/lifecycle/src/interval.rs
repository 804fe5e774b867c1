//! Which past memberships somebody still needs. The one place where that is decided; the statements of `elanus-meta` say
//! the same in SQL, and the tests of both compare the two.
//!
//! A membership holds in `[added_ts, removed_ts)`. A snapshot that protects is a timestamp, nothing more.
//!
//! IV-1  A membership is referenced as long as it holds now or a protecting snapshot lies in its interval.
//! IV-2  Time only goes on: a new snapshot is later than every end, so what has ended and is not referenced never will be
//!       again. That is why its reference may be released for good.
//! IV-3  The end of snapshot *v* between its protecting neighbours *p < v < n* releases exactly the memberships with
//!       `p < added_ts <= v < removed_ts <= n`. The others of *v* are seen by a neighbour or hold now.
//! IV-4  A reader that reads at `ts` or later may still open what ended after `ts`: the reference is gone, the objects stay.

use elanus_types::Timestamp;

/// When a membership holds: `[added_ts, removed_ts)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    /// First timestamp at which it holds.
    pub added_ts: Timestamp,
    /// First timestamp at which it does not hold any more; [`Timestamp::NEVER`] while it holds.
    pub removed_ts: Timestamp,
}

impl Interval {
    /// True when the membership is seen at `ts`.
    #[must_use]
    pub fn holds_at(self, ts: Timestamp) -> bool {
        self.added_ts <= ts && ts < self.removed_ts
    }

    /// False while it holds.
    #[must_use]
    pub fn has_ended(self) -> bool {
        self.removed_ts < Timestamp::NEVER
    }

    /// IV-1, for the timestamps of all snapshots of the collection that protect.
    #[must_use]
    pub fn is_referenced(self, snapshots: &[Timestamp]) -> bool {
        !self.has_ended() || snapshots.iter().any(|ts| self.holds_at(*ts))
    }

    /// IV-4, for the oldest timestamp that a reader of the collection may still use.
    #[must_use]
    pub fn is_read(self, oldest_read: Option<Timestamp>) -> bool {
        oldest_read.is_some_and(|ts| ts < self.removed_ts)
    }
}

/// A snapshot that ends, between its neighbours that go on protecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last protecting snapshot before.
    pub before: Option<Timestamp>,
    /// The one that ends.
    pub at: Timestamp,
    /// The first protecting snapshot after.
    pub after: Option<Timestamp>,
}

impl Gap {
    /// The gap that the end of the snapshot at `at` leaves between `snapshots`, the others that protect. Another one at
    /// the same timestamp sees all that this one saw, and nothing is freed.
    #[must_use]
    pub fn around(at: Timestamp, snapshots: &[Timestamp]) -> Self {
        Self {
            before: snapshots.iter().copied().filter(|ts| *ts <= at).max(),
            at,
            after: snapshots.iter().copied().filter(|ts| *ts > at).min(),
        }
    }

    /// IV-3.
    #[must_use]
    pub fn frees(self, interval: Interval) -> bool {
        interval.holds_at(self.at)
            && interval.has_ended()
            && self.before.is_none_or(|before| before < interval.added_ts)
            && self.after.is_none_or(|after| interval.removed_ts <= after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: i64 = 6;

    fn every_interval() -> Vec<Interval> {
        let ends = |added| (added + 1..=TIMES).map(Timestamp).chain([Timestamp::NEVER]);
        (0..TIMES)
            .flat_map(|added| ends(added).map(move |removed_ts| Interval { added_ts: Timestamp(added), removed_ts }))
            .collect()
    }

    /// The timestamps whose bit is set; snapshots of one collection have different ones.
    fn snapshots(bits: u32) -> Vec<Timestamp> {
        (0..=TIMES).filter(|ts| bits & (1 << ts) != 0).map(Timestamp).collect()
    }

    #[test]
    fn iv_3_the_end_of_a_snapshot_frees_exactly_what_nobody_references_any_more() {
        for bits in 0..1 << (TIMES + 1) {
            let all = snapshots(bits);
            for at in &all {
                assert!(every_interval().iter().all(|one| !Gap::around(*at, &all).frees(*one)), "a twin protects");
                let rest: Vec<Timestamp> = all.iter().copied().filter(|ts| ts != at).collect();
                let gap = Gap::around(*at, &rest);
                for interval in every_interval() {
                    let freed = interval.is_referenced(&all) && !interval.is_referenced(&rest);
                    assert_eq!(gap.frees(interval), freed, "{interval:?} {all:?} without {at}");
                }
            }
        }
    }

    #[test]
    fn iv_2_what_a_new_snapshot_protects_was_referenced_before() {
        for bits in 0..1 << (TIMES + 1) {
            let mut all = snapshots(bits);
            let before = all.clone();
            all.push(Timestamp(TIMES + 1));
            for interval in every_interval() {
                assert_eq!(interval.is_referenced(&all), interval.is_referenced(&before), "{interval:?} {all:?}");
            }
        }
    }

    #[test]
    fn iv_4_a_reader_keeps_what_ended_after_its_timestamp() {
        let interval = Interval { added_ts: Timestamp(2), removed_ts: Timestamp(4) };
        assert!(interval.is_read(Some(Timestamp(3))));
        assert!(interval.is_read(Some(Timestamp(1))), "it may read later, too");
        assert!(!interval.is_read(Some(Timestamp(4))));
        assert!(!interval.is_read(None));
    }
}

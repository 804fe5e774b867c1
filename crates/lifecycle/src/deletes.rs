//! Which delete logs nobody needs any more, and when a compaction may be published. The one place where that is decided;
//! the statements of `elanus-meta` say the same in SQL.
//!
//! A delete of a key at `ts` hides the rows of that key in its place that are strictly older. A compaction reads files of
//! rows and delete logs as of a time, its claim's, and is published later.
//!
//! DL-1  Every file of rows has a time from which on deletes may hide rows of it: its `base_ts`, or for a compacted file the
//!       first timestamp after its claim. Earlier deletes hide nothing in it.
//! DL-2  A log is needed as long as a file in its place holds of which that time is not after the log's last delete, which
//!       is known, or bounded by what a commit may have. What came to be visible by a rollback had the files and logs of its
//!       own time with it.
//! DL-3  A compaction is published only when no log that it needed has left the collection since its claim, and none from
//!       before its claim has come. Else its file would lack rows that are visible again, or its DL-1 would not be true.

use crate::Interval;
use elanus_types::{PartitionId, Shard, Timestamp};
use std::collections::BTreeMap;

/// A commit has so many timestamps at most: every offset in the files of a write is less. Far more than a data node groups.
pub const GROUP_TIMESTAMPS_MAX: i64 = 1 << 16;

/// Where rows are, or where deletes apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Shard.
    pub shard: Shard,
    /// Partition; of deletes also [`PartitionId::ALL`].
    pub partition: PartitionId,
}

impl Place {
    /// True when deletes of this place apply to rows of `rows`.
    #[must_use]
    pub fn covers(self, rows: Self) -> bool {
        self.shard == rows.shard && (self.partition == PartitionId::ALL || self.partition == rows.partition)
    }
}

/// A file of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsOf {
    /// Where they are.
    pub place: Place,
    /// Not after the timestamp of any row.
    pub base_ts: Timestamp,
    /// Of a compacted file: every delete before this has been applied.
    pub deletes_before_ts: Option<Timestamp>,
}

impl RowsOf {
    /// DL-1: deletes of this time and later may hide rows.
    #[must_use]
    pub fn hidden_from(self) -> Timestamp {
        self.deletes_before_ts.unwrap_or(self.base_ts)
    }
}

/// A delete log, as a write made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOf {
    /// Where it applies.
    pub place: Place,
    /// Not after the timestamp of any delete.
    pub base_ts: Timestamp,
    /// Every delete is before this, where that was written down.
    pub deletes_before_ts: Option<Timestamp>,
}

impl LogOf {
    /// Every delete is before this.
    #[must_use]
    pub fn ends_before(self) -> Timestamp {
        self.deletes_before_ts.unwrap_or(Timestamp(self.base_ts.0.saturating_add(GROUP_TIMESTAMPS_MAX)))
    }

    /// True when it may hide a row of a file.
    #[must_use]
    pub fn may_hide(self, rows: RowsOf) -> bool {
        self.place.covers(rows.place) && self.ends_before() > rows.hidden_from()
    }
}

/// The positions of those logs that none of the files needs (DL-2).
#[must_use]
pub fn needless(logs: &[LogOf], files: &[RowsOf]) -> Vec<usize> {
    let mut first: BTreeMap<Place, Timestamp> = BTreeMap::new();
    for file in files {
        for partition in [file.place.partition, PartitionId::ALL] {
            let from = first.entry(Place { partition, ..file.place }).or_insert(Timestamp::NEVER);
            *from = (*from).min(file.hidden_from());
        }
    }
    let needed = |log: &LogOf| first.get(&log.place).is_some_and(|from| log.ends_before() > *from);
    logs.iter().enumerate().filter(|(_, log)| !needed(log)).map(|(at, _)| at).collect()
}

/// False when a compaction of these inputs, claimed at `claimed_ts`, must not be published for the logs that the collection
/// had and has (DL-3).
#[must_use]
pub fn may_publish(claimed_ts: Timestamp, inputs: &[RowsOf], logs: &[(LogOf, Interval)]) -> bool {
    logs.iter().all(|(log, interval)| {
        let applies = inputs.iter().any(|input| log.place.covers(input.place));
        let left = interval.holds_at(claimed_ts) && interval.has_ended();
        let needed = inputs.iter().any(|input| log.may_hide(*input));
        let came_late = interval.added_ts > claimed_ts && log.base_ts <= claimed_ts;
        !applies || !(left && needed || came_late)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    type Key = u8;
    /// A row that is visible: key, partition, timestamp.
    type Visible = BTreeSet<(Key, i64, i64)>;

    #[derive(Clone, Debug)]
    struct File {
        rows: RowsOf,
        keys: Vec<(Key, i64)>,
        interval: Interval,
    }

    #[derive(Clone, Debug)]
    struct Log {
        log: LogOf,
        deletes: Vec<(Key, i64)>,
        interval: Interval,
    }

    #[derive(Clone, Debug)]
    struct Claim {
        ts: Timestamp,
        inputs: Vec<usize>,
        left: Vec<(Key, i64)>,
        partition: i64,
    }

    /// A collection: its files and logs with their lifetimes, and beside it what must be visible, which knows of neither.
    #[derive(Clone, Debug, Default)]
    struct Collection {
        now: i64,
        files: Vec<File>,
        logs: Vec<Log>,
        visible: Visible,
        snapshots: Vec<(Timestamp, Visible)>,
        claims: Vec<Claim>,
        /// Logs that were found needless, as of when.
        found: Option<(Timestamp, Vec<usize>)>,
        published: u32,
        void: u32,
        ended: u32,
    }

    #[derive(Clone, Debug)]
    enum Op {
        /// Requests of one group: partition, keys to insert, keys to delete, whether in all partitions.
        Write(Vec<(i64, Vec<Key>, Vec<Key>, bool)>),
        Claim {
            partition: i64,
            pick: u8,
        },
        Publish {
            which: u8,
        },
        Snapshot,
        Rollback {
            which: u8,
        },
        Clone {
            which: u8,
        },
        Find,
        End,
    }

    fn op() -> impl Strategy<Value = Op> {
        let keys = || prop::collection::vec(0_u8..5, 0..3);
        let request = (1_i64..3, keys(), keys(), any::<bool>());
        prop_oneof![
            6 => prop::collection::vec(request, 1..4).prop_map(Op::Write),
            4 => (1_i64..3, any::<u8>()).prop_map(|(partition, pick)| Op::Claim { partition, pick }),
            4 => any::<u8>().prop_map(|which| Op::Publish { which }),
            2 => Just(Op::Snapshot),
            2 => any::<u8>().prop_map(|which| Op::Rollback { which }),
            1 => any::<u8>().prop_map(|which| Op::Clone { which }),
            3 => Just(Op::Find),
            3 => Just(Op::End),
        ]
    }

    fn place(partition: i64) -> Place {
        Place { shard: Shard(0), partition: PartitionId(partition) }
    }

    fn since(ts: i64) -> Interval {
        Interval { added_ts: Timestamp(ts), removed_ts: Timestamp::NEVER }
    }

    impl Collection {
        /// Far enough from the last commit that the bound of a log's last delete matters in some histories and not in others.
        fn tick(&mut self, far: bool) -> i64 {
            self.now += if far { GROUP_TIMESTAMPS_MAX } else { 3 };
            self.now
        }

        /// V-1, from files and logs alone.
        fn read(&self, at: Timestamp) -> Visible {
            let mut visible = Visible::new();
            for file in self.files.iter().filter(|file| file.interval.holds_at(at)) {
                for (key, ts) in &file.keys {
                    let hidden = self.logs.iter().filter(|log| log.interval.holds_at(at)).any(|log| {
                        log.log.place.covers(file.rows.place)
                            && log.deletes.iter().any(|(deleted, when)| deleted == key && when > ts)
                    });
                    if !hidden {
                        visible.insert((*key, file.rows.place.partition.0, *ts));
                    }
                }
            }
            visible
        }

        fn check(&self, what: &Op) {
            assert_eq!(self.read(Timestamp(self.now)), self.visible, "after {what:?}");
            for (ts, visible) in &self.snapshots {
                assert_eq!(self.read(*ts), *visible, "the snapshot of {ts} after {what:?}");
            }
        }

        fn write(&mut self, requests: &[(i64, Vec<Key>, Vec<Key>, bool)]) {
            let base = self.tick(requests[0].3);
            let mut rows: BTreeMap<i64, Vec<(Key, i64)>> = BTreeMap::new();
            let mut logs: BTreeMap<i64, Vec<(Key, i64)>> = BTreeMap::new();
            for (ts, (partition, inserts, deletes, everywhere)) in (base..).zip(requests) {
                let scope = if *everywhere { PartitionId::ALL.0 } else { *partition };
                for key in deletes {
                    self.visible.retain(|(k, p, _)| !(k == key && (*everywhere || p == partition)));
                    logs.entry(scope).or_default().push((*key, ts));
                }
                for key in inserts {
                    self.visible.insert((*key, *partition, ts));
                    rows.entry(*partition).or_default().push((*key, ts));
                }
            }
            self.now = base + requests.len() as i64 - 1;
            for (partition, keys) in rows {
                let rows = RowsOf { place: place(partition), base_ts: Timestamp(base), deletes_before_ts: None };
                self.files.push(File { rows, keys, interval: since(base) });
            }
            for (partition, deletes) in logs {
                // Half of them as older programs wrote them.
                let end = Timestamp(base + requests.len() as i64);
                let deletes_before_ts = (base % 2 == 0).then_some(end);
                let log = LogOf { place: place(partition), base_ts: Timestamp(base), deletes_before_ts };
                self.logs.push(Log { log, deletes, interval: since(base) });
            }
        }

        fn claim(&mut self, partition: i64, pick: u8) {
            let holds = |file: &File| !file.interval.has_ended() && file.rows.place == place(partition);
            let live = (0..self.files.len()).filter(|at| holds(&self.files[*at]));
            let inputs: Vec<usize> =
                live.enumerate().filter(|(n, _)| pick >> (n % 8) & 1 == 1).map(|(_, at)| at).collect();
            if inputs.is_empty() {
                return;
            }
            let visible = self.read(Timestamp(self.now));
            let keys = inputs.iter().flat_map(|at| self.files[*at].keys.clone());
            let left = keys.filter(|(key, ts)| visible.contains(&(*key, partition, *ts))).collect();
            self.claims.push(Claim { ts: Timestamp(self.now), inputs, left, partition });
        }

        fn publish(&mut self, which: u8) {
            if self.claims.is_empty() {
                return;
            }
            let claim = self.claims.remove(usize::from(which) % self.claims.len());
            let inputs: Vec<RowsOf> = claim.inputs.iter().map(|at| self.files[*at].rows).collect();
            let logs: Vec<_> = self.logs.iter().map(|log| (log.log, log.interval)).collect();
            let hold = claim.inputs.iter().all(|at| !self.files[*at].interval.has_ended());
            if !hold || !may_publish(claim.ts, &inputs, &logs) {
                self.void += 1;
                return;
            }
            let now = self.tick(which.is_multiple_of(2));
            for at in &claim.inputs {
                self.files[*at].interval.removed_ts = Timestamp(now);
            }
            self.published += 1;
            if claim.left.is_empty() {
                return;
            }
            let base_ts = inputs.iter().map(|input| input.base_ts).min().unwrap();
            let deletes_before_ts = Some(Timestamp(claim.ts.0 + 1));
            let rows = RowsOf { place: place(claim.partition), base_ts, deletes_before_ts };
            self.files.push(File { rows, keys: claim.left, interval: since(now) });
        }

        /// RB-2: facts that hold only now end, those that held only then begin again.
        fn rollback(&mut self, which: u8) {
            let Some((then, visible)) = self.picked(which) else { return };
            let now = self.tick(false);
            macro_rules! exchange {
                ($facts:expr) => {
                    let again: Vec<_> = $facts
                        .iter()
                        .filter(|one| one.interval.holds_at(then) && one.interval.has_ended())
                        .cloned()
                        .collect();
                    for one in $facts.iter_mut().filter(|one| one.interval.added_ts > then && !one.interval.has_ended())
                    {
                        one.interval.removed_ts = Timestamp(now);
                    }
                    $facts.extend(again.into_iter().map(|mut one| {
                        one.interval = since(now);
                        one
                    }));
                };
            }
            exchange!(self.files);
            exchange!(self.logs);
            self.visible = visible;
        }

        /// A restore: another collection, with the same files and a clock that begins later.
        fn clone_of(&mut self, which: u8) {
            let Some((then, visible)) = self.picked(which) else { return };
            let now = self.tick(false);
            macro_rules! kept {
                ($facts:expr) => {
                    $facts.iter().filter(|one| one.interval.holds_at(then)).cloned().map(|mut one| {
                        one.interval = since(now);
                        one
                    })
                };
            }
            let (files, logs) = (kept!(self.files).collect(), kept!(self.logs).collect());
            let (published, void, ended) = (self.published, self.void, self.ended);
            *self = Self { now, files, logs, visible, published, void, ended, ..Self::default() };
        }

        fn picked(&self, which: u8) -> Option<(Timestamp, Visible)> {
            if self.snapshots.is_empty() {
                None
            } else {
                Some(self.snapshots[usize::from(which) % self.snapshots.len()].clone())
            }
        }

        fn find(&mut self) {
            let live: Vec<usize> = (0..self.logs.len()).filter(|at| !self.logs[*at].interval.has_ended()).collect();
            let logs: Vec<LogOf> = live.iter().map(|at| self.logs[*at].log).collect();
            let files: Vec<RowsOf> =
                self.files.iter().filter(|file| !file.interval.has_ended()).map(|file| file.rows).collect();
            let found = needless(&logs, &files).into_iter().map(|at| live[at]).collect();
            self.found = Some((Timestamp(self.now), found));
        }

        /// What was found is ended later, unless a file came since that may need one of them.
        fn end(&mut self) {
            let Some((as_of, mut found)) = self.found.take() else { return };
            found.retain(|at| !self.logs[*at].interval.has_ended());
            let end = found.iter().map(|at| self.logs[*at].log.ends_before()).max();
            let came = self.files.iter().any(|file| {
                file.interval.added_ts > as_of && !file.interval.has_ended() && Some(file.rows.hidden_from()) < end
            });
            if came || found.is_empty() {
                return;
            }
            let now = self.tick(false);
            for at in found {
                self.logs[at].interval.removed_ts = Timestamp(now);
                self.ended += 1;
            }
        }

        fn apply(&mut self, op: &Op) {
            match op {
                Op::Write(requests) => self.write(requests),
                Op::Claim { partition, pick } => self.claim(*partition, *pick),
                Op::Publish { which } => self.publish(*which),
                Op::Snapshot => {
                    let ts = Timestamp(self.tick(false));
                    self.snapshots.push((ts, self.visible.clone()));
                }
                Op::Rollback { which } => self.rollback(*which),
                Op::Clone { which } => self.clone_of(*which),
                Op::Find => self.find(),
                Op::End => self.end(),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn dl_1_to_3_what_is_visible_never_depends_on_compactions_or_ended_logs(ops in prop::collection::vec(op(), 1..60)) {
            let mut collection = Collection::default();
            for op in &ops {
                collection.apply(op);
                collection.check(op);
            }
        }
    }

    /// That the property above is about something.
    #[test]
    fn histories_publish_void_compactions_and_end_logs() {
        let write = |inserts: &[Key], deletes: &[Key]| Op::Write(vec![(1, inserts.to_vec(), deletes.to_vec(), true)]);
        let claim = || Op::Claim { partition: 1, pick: u8::MAX };
        let publish = || Op::Publish { which: 0 };
        let mut collection = Collection::default();
        let mut go = |ops: &[Op]| {
            for op in ops {
                collection.apply(op);
                collection.check(op);
            }
            (collection.published, collection.void, collection.ended)
        };
        assert_eq!(
            go(&[write(&[1, 2], &[]), Op::Snapshot, write(&[], &[1]), Op::Find, Op::End]),
            (0, 0, 0),
            "it is needed"
        );
        assert_eq!(go(&[claim(), Op::Rollback { which: 0 }, publish()]), (0, 1, 0), "the delete left");
        assert_eq!(go(&[write(&[], &[2]), write(&[3], &[]), claim(), publish()]), (1, 1, 0));
        assert_eq!(go(&[write(&[4], &[]), claim(), publish(), Op::Find, Op::End]).0, 2);
        assert!(go(&[]).2 > 0, "a log that nothing needs ends");
        // A delete that comes back after the claim was not applied by it.
        assert_eq!(go(&[Op::Snapshot, write(&[], &[3]), Op::Snapshot, Op::Rollback { which: 1 }]).1, 1);
        assert_eq!(go(&[claim(), Op::Rollback { which: 2 }, publish()]).1, 2);
    }

    #[test]
    fn deletes_of_a_partition_are_needed_by_its_files_alone() {
        let rows = |partition, base_ts, deletes_before_ts: Option<i64>| RowsOf {
            place: place(partition),
            base_ts: Timestamp(base_ts),
            deletes_before_ts: deletes_before_ts.map(Timestamp),
        };
        let log = |partition, base_ts| LogOf {
            place: place(partition),
            base_ts: Timestamp(base_ts),
            deletes_before_ts: None,
        };
        let far = 10 * GROUP_TIMESTAMPS_MAX;
        let logs = [log(1, 5), log(2, 5), log(PartitionId::ALL.0, 5), log(1, far)];
        assert_eq!(needless(&logs, &[]), [0, 1, 2, 3]);
        assert_eq!(needless(&logs, &[rows(1, 1, None)]), [1]);
        assert_eq!(needless(&logs, &[rows(1, 1, Some(far))]), [0, 1, 2]);
        assert_eq!(needless(&logs, &[rows(1, 1, Some(far)), rows(2, 1, None)]), [0]);
        let elsewhere = RowsOf { place: Place { shard: Shard(1), ..place(1) }, ..rows(1, 1, None) };
        assert_eq!(needless(&logs, &[elsewhere]), [0, 1, 2, 3]);
    }
}

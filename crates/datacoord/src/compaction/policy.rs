//! Which files are compacted, and which become one. Decisions only.
//!
//! CY-1  All inputs of a compaction are of one partition and shard, hold now, are no other compaction's, and are in no
//!       snapshot that asked compaction to wait (CP-4).
//! CY-2  What becomes one file keeps the bounds of rows, bytes and files; one larger file is compacted alone, or not at all.
//! CY-3  By itself the policy takes files in tiers, each four times the size of the one before: only files of one tier
//!       become one, and only enough of them. So a row is written again once a tier, however it came.
//! CY-4  By itself the policy takes a file for its deletes when many of them wait to be applied, and for the age of its rows
//!       when all of them have expired; on demand, when any may be hidden or may have expired.

use super::CompactionConfig;
use elanus_lifecycle::deletes::{LogOf, Place, RowsOf, needless};
use elanus_meta::model::{CompactionView, FileKind, LiveMember, NewCompaction};
use elanus_types::{FileSetId, PartitionId, SegmentId, Timestamp};
use std::collections::BTreeMap;

/// A collection gets no more compactions in one plan; the others are in a later one.
const TASKS_MAX: usize = 256;
/// The first tier ends at this part of a large enough file.
const TIERS_FROM: u64 = 256;
/// So many logs to be applied make a file worth it; so many deletes, where they are a part of the rows.
const STALE_LOGS: u64 = 200;
const STALE_DELETES: u64 = 1_000;
const STALE_PART: u64 = 5;

/// Why there is a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is time to look.
    Policy,
    /// A user asked for it: everything that gets better by it.
    Asked,
}

/// What is to be compacted.
pub(crate) fn plan(view: &CompactionView, config: &CompactionConfig, why: Why) -> Vec<NewCompaction> {
    let waiting = Waiting::of(view);
    let is_stale =
        |file: &LiveMember, rows: u64| waiting.is_stale(file, rows, why) || is_expired(file, view.expired_before, why);
    let mut places: BTreeMap<Place, Vec<&LiveMember>> = BTreeMap::new();
    for member in view.members.iter().filter(|member| member.kind == FileKind::Insert) {
        places.entry(place(member)).or_default().push(member);
    }
    let mut tasks = Vec::new();
    for (place, members) in places {
        let rows: u64 = members.iter().map(|member| member.rows).sum();
        let free = members.into_iter().filter(|member| is_free(member, view.protected_ts, why));
        let mut lists: BTreeMap<u32, Vec<&LiveMember>> = BTreeMap::new();
        let mut stale = Vec::new();
        for member in free {
            match (why, tier(member, config)) {
                (Why::Asked, Some(_)) => lists.entry(0).or_default().push(member),
                (Why::Policy, Some(tier)) => lists.entry(tier).or_default().push(member),
                (_, None) if is_stale(member, rows) => stale.push(member),
                (_, None) => {}
            }
        }
        for (_, list) in lists {
            let enough = if why == Why::Policy { config.files_min.max(2) } else { 2 };
            if list.len() >= enough {
                tasks.extend(bundles(&list, place, config, |one| is_stale(one, rows)));
            } else {
                stale.extend(list.into_iter().filter(|member| is_stale(member, rows)));
            }
        }
        stale.sort_by_key(|member| (member.base_ts, member.file_set));
        tasks.extend(bundles(&stale, place, config, |_| true));
    }
    if why == Why::Policy {
        tasks.truncate(TASKS_MAX);
    }
    tasks
}

/// Delete logs that no file of rows needs any more.
pub(crate) fn needless_logs(view: &CompactionView) -> Vec<(SegmentId, FileSetId)> {
    let of_kind = |kind| view.members.iter().filter(move |member| member.kind == kind);
    let logs: Vec<&LiveMember> = of_kind(FileKind::Delete).collect();
    let files: Vec<RowsOf> = of_kind(FileKind::Insert).map(rows_of).collect();
    let found = needless(&logs.iter().map(|log| log_of(log)).collect::<Vec<_>>(), &files);
    found.into_iter().map(|at| (logs[at].segment, logs[at].file_set)).collect()
}

/// CY-1
fn is_free(member: &LiveMember, protected_ts: Option<Timestamp>, why: Why) -> bool {
    let protected = protected_ts.is_some_and(|ts| member.added_ts <= ts);
    let rests = member.failed && why == Why::Policy;
    !(member.busy || protected || rests)
}

/// CY-4. No row of a file is newer than its membership.
fn is_expired(file: &LiveMember, expired_before: Timestamp, why: Why) -> bool {
    match why {
        Why::Asked => file.base_ts < expired_before,
        Why::Policy => file.added_ts < expired_before,
    }
}

/// `None` for a file that is large enough.
fn tier(member: &LiveMember, config: &CompactionConfig) -> Option<u32> {
    if member.bytes.saturating_mul(2) >= config.file_bytes || member.rows.saturating_mul(2) >= config.file_rows {
        return None;
    }
    let mut bound = (config.file_bytes / TIERS_FROM).max(1);
    let mut tier = 0;
    while member.bytes >= bound {
        bound = bound.saturating_mul(4);
        tier += 1;
    }
    Some(tier)
}

/// Cuts a list into runs that keep the bounds (CY-2). A run of one file is dropped unless that one is worth it.
fn bundles(
    list: &[&LiveMember],
    place: Place,
    config: &CompactionConfig,
    alone: impl Fn(&LiveMember) -> bool,
) -> Vec<NewCompaction> {
    let mut tasks: Vec<NewCompaction> = Vec::new();
    let mut open: Option<NewCompaction> = None;
    let mut worth = false;
    let mut close = |open: Option<NewCompaction>, worth: bool| {
        tasks.extend(open.filter(|task| task.inputs.len() > 1 || worth));
    };
    for member in list {
        let fits = |task: &NewCompaction| {
            task.bytes + member.bytes <= config.file_bytes
                && task.rows + member.rows <= config.file_rows
                && task.inputs.len() < config.files_max.max(2)
        };
        match &mut open {
            Some(task) if fits(task) => {
                task.inputs.push((member.segment, member.file_set));
                task.rows += member.rows;
                task.bytes += member.bytes;
            }
            _ => {
                close(open.take(), worth);
                worth = alone(member);
                open = Some(NewCompaction {
                    partition: place.partition,
                    shard: place.shard,
                    inputs: vec![(member.segment, member.file_set)],
                    rows: member.rows,
                    bytes: member.bytes,
                });
            }
        }
    }
    close(open, worth);
    tasks
}

/// The deletes of every place, by the ends of their logs: how many logs and deletes come from a time on.
struct Waiting(BTreeMap<Place, Vec<(Timestamp, u64, u64)>>);

impl Waiting {
    fn of(view: &CompactionView) -> Self {
        let mut places: BTreeMap<Place, Vec<(Timestamp, u64, u64)>> = BTreeMap::new();
        for log in view.members.iter().filter(|member| member.kind == FileKind::Delete) {
            places.entry(place(log)).or_default().push((log_of(log).ends_before(), 1, log.rows));
        }
        for logs in places.values_mut() {
            logs.sort_by_key(|log| std::cmp::Reverse(log.0));
            let (mut logs_num, mut deletes) = (0, 0);
            for log in logs.iter_mut() {
                logs_num += log.1;
                deletes += log.2;
                (log.1, log.2) = (logs_num, deletes);
            }
        }
        Self(places)
    }

    /// Logs, and deletes in them, that may hide rows of a file.
    fn may_hide(&self, file: &LiveMember) -> (u64, u64) {
        let from = rows_of(file).hidden_from();
        let here = place(file);
        [here, Place { partition: PartitionId::ALL, ..here }].iter().filter_map(|place| self.0.get(place)).fold(
            (0, 0),
            |(logs_num, deletes), logs| {
                let end = logs.partition_point(|log| log.0 > from);
                let last = end.checked_sub(1).map_or((0, 0), |last| (logs[last].1, logs[last].2));
                (logs_num + last.0, deletes + last.1)
            },
        )
    }

    /// CY-4, for a file of a place with so many rows.
    fn is_stale(&self, file: &LiveMember, rows: u64, why: Why) -> bool {
        let (logs_num, deletes) = self.may_hide(file);
        match why {
            Why::Asked => logs_num > 0,
            Why::Policy => {
                logs_num >= STALE_LOGS || deletes >= STALE_DELETES && deletes.saturating_mul(STALE_PART) >= rows
            }
        }
    }
}

fn place(member: &LiveMember) -> Place {
    Place { shard: member.shard, partition: member.partition }
}

fn rows_of(member: &LiveMember) -> RowsOf {
    RowsOf { place: place(member), base_ts: member.base_ts, deletes_before_ts: member.deletes_before_ts }
}

fn log_of(member: &LiveMember) -> LogOf {
    LogOf { place: place(member), base_ts: member.base_ts, deletes_before_ts: member.deletes_before_ts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_lifecycle::deletes::GROUP_TIMESTAMPS_MAX;
    use elanus_types::Shard;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const CONFIG: CompactionConfig = CompactionConfig {
        automatic: true,
        interval_s: 1,
        file_bytes: 1_024,
        file_rows: 1_000,
        files_min: 3,
        files_max: 10,
        tasks_max: 1,
    };

    fn member(id: i64, kind: FileKind, bytes: u64) -> LiveMember {
        LiveMember {
            segment: SegmentId(1),
            file_set: FileSetId(id),
            partition: PartitionId(if kind == FileKind::Delete { -1 } else { 5 }),
            shard: Shard(0),
            kind,
            base_ts: Timestamp(id * 2 * GROUP_TIMESTAMPS_MAX),
            deletes_before_ts: None,
            rows: 10,
            bytes,
            added_ts: Timestamp(id * 2 * GROUP_TIMESTAMPS_MAX),
            busy: false,
            failed: false,
        }
    }

    fn rows(id: i64, bytes: u64) -> LiveMember {
        member(id, FileKind::Insert, bytes)
    }

    fn view(members: Vec<LiveMember>) -> CompactionView {
        CompactionView {
            ts: Timestamp(i64::MAX - 1),
            members,
            expired_before: Timestamp::ZERO,
            expires: false,
            protected_ts: None,
            automatic: true,
            waits_for: None,
        }
    }

    fn planned(view: &CompactionView, why: Why) -> Vec<Vec<i64>> {
        let ids = |task: &NewCompaction| task.inputs.iter().map(|input| input.1.0).collect();
        plan(view, &CONFIG, why).iter().map(ids).collect()
    }

    #[test]
    fn cy_4_a_file_of_which_all_rows_have_expired_is_taken_and_on_demand_one_of_which_any_may() {
        let at = |ts: i64| Timestamp(ts);
        let mut file = member(1, FileKind::Insert, CONFIG.file_bytes);
        (file.base_ts, file.added_ts) = (at(100), at(200));
        for (expired_before, by_policy, asked) in [(100, 0, 0), (101, 0, 1), (200, 0, 1), (201, 1, 1)] {
            let view = CompactionView { expired_before: at(expired_before), ..view(vec![file.clone()]) };
            let found = (plan(&view, &CONFIG, Why::Policy).len(), plan(&view, &CONFIG, Why::Asked).len());
            assert_eq!(found, (by_policy, asked), "{expired_before}");
        }
    }

    #[test]
    fn cy_3_enough_files_of_one_tier_become_one() {
        // Tiers end at 4, 16, 64, 256 bytes.
        let few = view(vec![rows(1, 1), rows(2, 3), rows(3, 4), rows(4, 15), rows(5, 600)]);
        assert_eq!(planned(&few, Why::Policy), Vec::<Vec<i64>>::new());
        assert_eq!(planned(&few, Why::Asked), [[1, 2, 3, 4]], "a user need not wait for more; 5 is large enough");
        let enough = view(vec![rows(1, 1), rows(2, 20), rows(3, 2), rows(4, 3), rows(5, 21), rows(6, 22)]);
        assert_eq!(planned(&enough, Why::Policy), [[1, 3, 4], [2, 5, 6]]);
        assert_eq!(planned(&view(vec![rows(1, 1)]), Why::Asked), Vec::<Vec<i64>>::new(), "nothing gets better");
    }

    #[test]
    fn cy_1_what_is_busy_protected_or_failed_is_let_be() {
        let mut all = view((1..=7).map(|id| rows(id, 1)).collect());
        all.members[1].busy = true;
        all.members[2].failed = true;
        all.protected_ts = Some(all.members[0].added_ts);
        assert_eq!(planned(&all, Why::Policy), [[4, 5, 6, 7]]);
        assert_eq!(planned(&all, Why::Asked), [[3, 4, 5, 6, 7]], "a user may know that it is repaired");
    }

    #[test]
    fn cy_1_places_do_not_mix() {
        let mut members: Vec<LiveMember> = (1..=9).map(|id| rows(id, 1)).collect();
        for (n, one) in members.iter_mut().enumerate() {
            one.partition = PartitionId(5 + n as i64 % 2);
            one.shard = Shard(n as i32 / 6);
        }
        assert_eq!(
            planned(&view(members), Why::Policy),
            [[1, 3, 5], [2, 4, 6]],
            "three places have too few or three each"
        );
    }

    #[test]
    fn cy_4_deletes_that_wait_make_a_large_file_worth_it() {
        let large = |rows_num| LiveMember { rows: rows_num, ..rows(1, 900) };
        let log = |id, rows| LiveMember { rows, ..member(id, FileKind::Delete, 1) };
        let with = |rows_num, logs: Vec<LiveMember>| view([vec![large(rows_num)], logs].concat());
        assert_eq!(planned(&with(6_000, vec![log(2, 1_100)]), Why::Policy), Vec::<Vec<i64>>::new());
        assert_eq!(planned(&with(5_500, vec![log(2, 1_100)]), Why::Policy), [[1]]);
        assert_eq!(
            planned(&with(100, vec![log(2, 900)]), Why::Policy),
            Vec::<Vec<i64>>::new(),
            "a few are not worth it"
        );
        assert_eq!(planned(&with(6_000, (2..202).map(|id| log(id, 1)).collect()), Why::Policy), [[1]]);
        assert_eq!(planned(&with(6_000, vec![log(2, 1)]), Why::Asked), [[1]]);
        assert_eq!(planned(&with(6_000, vec![log(0, 1)]), Why::Asked), Vec::<Vec<i64>>::new(), "it hides nothing");
        let mut applied = with(6_000, vec![log(2, 1)]);
        applied.members[0].deletes_before_ts = Some(Timestamp(i64::MAX - 1));
        assert_eq!(planned(&applied, Why::Asked), Vec::<Vec<i64>>::new());
    }

    #[test]
    fn logs_that_nothing_needs_are_named() {
        let log = |id| member(id, FileKind::Delete, 1);
        assert_eq!(needless_logs(&view(vec![log(1), rows(2, 1), log(3)])), [(SegmentId(1), FileSetId(1))]);
        assert_eq!(needless_logs(&view(vec![log(1)])), [(SegmentId(1), FileSetId(1))]);
    }

    proptest! {
        #[test]
        fn cy_1_2_every_plan_keeps_its_bounds(
            files in prop::collection::vec((1_u64..2_000, 1_u64..1_500, 0_i64..3, 0_i32..2, 0_u8..8), 0..60),
            asked in any::<bool>(),
        ) {
            let members: Vec<LiveMember> = (1..).zip(&files).map(|(id, (bytes, rows_num, partition, shard, bits))| LiveMember {
                rows: *rows_num,
                partition: PartitionId(*partition),
                shard: Shard(*shard),
                busy: *bits == 1,
                ..member(id, if *bits == 2 { FileKind::Delete } else { FileKind::Insert }, *bytes)
            }).collect();
            let why = if asked { Why::Asked } else { Why::Policy };
            let view = view(members);
            let mut seen = BTreeSet::new();
            for task in plan(&view, &CONFIG, why) {
                let of = |input: &(SegmentId, FileSetId)| view.members.iter().find(|one| one.file_set == input.1).unwrap();
                let inputs: Vec<&LiveMember> = task.inputs.iter().map(of).collect();
                prop_assert!(!inputs.is_empty() && inputs.len() <= CONFIG.files_max);
                prop_assert!(inputs.len() == 1 || task.bytes <= CONFIG.file_bytes && task.rows <= CONFIG.file_rows);
                prop_assert_eq!(task.rows, inputs.iter().map(|one| one.rows).sum::<u64>());
                prop_assert_eq!(task.bytes, inputs.iter().map(|one| one.bytes).sum::<u64>());
                for input in inputs {
                    prop_assert!(seen.insert(input.file_set), "an input of two compactions");
                    prop_assert!(!input.busy && input.kind == FileKind::Insert);
                    prop_assert_eq!((input.partition, input.shard), (task.partition, task.shard));
                }
            }
        }
    }
}

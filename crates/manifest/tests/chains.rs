//! Snapshots that share manifests have exactly what the collection had at their time, whatever was created and dropped.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use elanus_manifest::{
    Chain, Changes, FileEntry, FileKind, Level, Limits, ManifestEntry, ManifestRef, Status, Totals, decode_manifest,
    encode_manifest, fold,
};
use elanus_types::{Checksum, FileSetId, ObjectKey, PartitionId, SegmentId, Shard, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;

const LIMITS: Limits = Limits { entries_max: 4, manifests_max: 5 };

/// What may happen to a collection.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// So many file sets come, in one of a few segments.
    Add {
        segment: i64,
        count: u8,
    },
    /// Some of the file sets that are there go: one in so many.
    Remove {
        one_in: u8,
    },
    Create,
    /// One of the snapshots that are there.
    Drop {
        which: u8,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4i64, 0..7u8).prop_map(|(segment, count)| Event::Add { segment, count }),
        2 => (1..6u8).prop_map(|one_in| Event::Remove { one_in }),
        4 => Just(Event::Create),
        2 => any::<u8>().prop_map(|which| Event::Drop { which }),
    ]
}

/// A membership and when it ended.
type Fact = (ManifestEntry, Option<Timestamp>);

#[derive(Debug)]
struct Snapshot {
    ts: Timestamp,
    manifests: Vec<ManifestRef>,
    totals: Totals,
}

#[derive(Debug, Default)]
struct World {
    facts: Vec<Fact>,
    snapshots: Vec<Snapshot>,
    bucket: BTreeMap<ObjectKey, Vec<u8>>,
    now: i64,
}

impl World {
    fn at(&self, ts: Timestamp) -> Vec<ManifestEntry> {
        let is_there = |(entry, ended): &&Fact| entry.added_ts <= ts && ended.is_none_or(|ended| ts < ended);
        let mut there: Vec<_> = self.facts.iter().filter(is_there).map(|(entry, _)| entry.clone()).collect();
        there.sort_by_key(|entry| (entry.segment_id, entry.file_set_id));
        there
    }

    fn changes(&self, from: Timestamp, to: Timestamp) -> Changes {
        let (before, after) = (self.at(from), self.at(to));
        let but = |all: &[ManifestEntry], without: &[ManifestEntry]| -> Vec<ManifestEntry> {
            all.iter().filter(|entry| !without.contains(entry)).cloned().collect()
        };
        let segments = Totals::of(&after).segments.cast_signed() - Totals::of(&before).segments.cast_signed();
        Changes { added: but(&after, &before), removed: but(&before, &after), segments }
    }

    fn happen(&mut self, event: Event) {
        self.now += 1;
        let now = Timestamp(self.now);
        match event {
            Event::Add { segment, count } => {
                for _ in 0..count {
                    let id = self.facts.len() as i64;
                    self.facts.push((entry(segment, id, now), None));
                }
            }
            Event::Remove { one_in } => {
                let there = self.facts.iter_mut().filter(|(_, ended)| ended.is_none());
                there.step_by(usize::from(one_in)).for_each(|(_, ended)| *ended = Some(now));
            }
            Event::Create => self.create(now),
            Event::Drop { which } => {
                if !self.snapshots.is_empty() {
                    self.snapshots.remove(usize::from(which) % self.snapshots.len());
                    let snapshots = &self.snapshots;
                    self.bucket.retain(|key, _| {
                        snapshots.iter().any(|one| one.manifests.iter().any(|manifest| manifest.key == *key))
                    });
                }
            }
        }
    }

    fn create(&mut self, ts: Timestamp) {
        let extended = self.snapshots.last().and_then(|base| {
            let changes = self.changes(base.ts, ts);
            let changes_num = changes.added.len() + changes.removed.len();
            let chain = Chain::extend(&base.manifests, base.totals, changes, LIMITS)?;
            let written: usize = chain.written.iter().map(Vec::len).sum();
            assert_eq!(written, changes_num, "what changed is written, and no more");
            Some(chain)
        });
        let chain = extended.unwrap_or_else(|| Chain::anew(&self.at(ts), LIMITS));
        let mut manifests = chain.shared;
        for (n, entries) in chain.written.iter().enumerate() {
            assert!((1..=LIMITS.entries_max).contains(&entries.len()));
            let bytes = encode_manifest(entries).unwrap();
            let key = ObjectKey::parse(&format!("m/{}-{n}", ts.0)).unwrap();
            manifests.push(ManifestRef::describe(key.clone(), &bytes, entries));
            self.bucket.insert(key, bytes);
        }
        self.snapshots.push(Snapshot { ts, manifests, totals: chain.totals });
    }

    fn check(&self) {
        for snapshot in &self.snapshots {
            let read = |manifest: &ManifestRef| decode_manifest(&self.bucket[&manifest.key]).unwrap();
            let folded = fold(snapshot.manifests.iter().map(read)).unwrap();
            assert_eq!(folded, self.at(snapshot.ts));
            assert_eq!(snapshot.totals, Totals::of(&folded));
            let bound = LIMITS.manifests_max.max(2 * folded.len().div_ceil(LIMITS.entries_max));
            assert!(snapshot.manifests.len() <= bound, "{} manifests", snapshot.manifests.len());
        }
    }
}

fn entry(segment: i64, id: i64, added_ts: Timestamp) -> ManifestEntry {
    let kind = if id % 3 == 0 { FileKind::Delete } else { FileKind::Insert };
    let file = FileEntry {
        key: ObjectKey::parse(&format!("f/{id}")).unwrap(),
        size: 10 + id.cast_unsigned(),
        checksum: Checksum(id.cast_unsigned()),
        kind,
    };
    ManifestEntry {
        status: Status::Added,
        segment_id: SegmentId(segment),
        partition_id: PartitionId(1),
        shard: Shard(0),
        level: Level::L1,
        file_set_id: FileSetId(id),
        kind,
        base_ts: added_ts,
        added_ts,
        rows: 5,
        files: vec![file],
        key_min: None,
        key_max: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn s_1_shared_manifests_fold_to_the_view_of_their_time(events in prop::collection::vec(event(), 1..60)) {
        let mut world = World::default();
        for event in events {
            world.happen(event);
            if matches!(event, Event::Drop { .. }) {
                world.check();
            }
        }
        world.check();
    }
}

#[test]
fn a_snapshot_after_which_nothing_happened_is_shared_whole() {
    let mut world = World::default();
    for event in [Event::Add { segment: 1, count: 3 }, Event::Create, Event::Create] {
        world.happen(event);
    }
    let [first, second] = &world.snapshots[..] else { panic!("{world:?}") };
    assert_eq!((&first.manifests, first.totals), (&second.manifests, second.totals));
    world.check();
}

#[test]
fn everything_is_written_anew_when_the_list_is_long_and_when_half_of_it_is_gone() {
    let mut world = World::default();
    for _ in 0..13 {
        world.happen(Event::Add { segment: 1, count: 1 });
        world.happen(Event::Create);
    }
    let lengths: Vec<usize> = world.snapshots.iter().map(|snapshot| snapshot.manifests.len()).collect();
    assert_eq!(
        lengths,
        [1, 2, 3, 4, 5, 2, 3, 4, 5, 6, 3, 4, 5],
        "a sixth, or more than twice what is needed, is too many"
    );
    world.happen(Event::Remove { one_in: 2 });
    world.happen(Event::Create);
    assert_eq!(world.snapshots.last().unwrap().manifests.len(), 2);
    world.check();
}

#[test]
fn totals_that_do_not_fit_the_changes_are_not_carried_on() {
    let gone = entry(1, 1, Timestamp(1));
    let changes = Changes { added: vec![], removed: vec![gone], segments: -1 };
    assert_eq!(Chain::extend(&[], Totals::default(), changes, Limits::default()), None);
}

//! From the snapshots of a collection to the facts with lifetimes that they are cuts of. Pure.
//!
//! A fact that a snapshot has and the one before has not began between them, or when it says; one that it has not and the
//! one before has ended, at the latest, at its time. What a fact was between two snapshots is lost, and nothing asks for it.
//!
//! RP-1  Each snapshot, read at its time from the facts, has exactly what its manifests list.
//! RP-2  Snapshots that contradict each other are refused as a whole: a fact does not end and come back.
//! RP-3  The collection's present is that of its newest snapshot.

use crate::stored::Stored;
use elanus_manifest::{FileKind, Level, ManifestEntry, ManifestRef};
use elanus_meta::model::{self, ManifestRecord, StoredObject};
use elanus_meta::rebuild::{Lasting, RebuiltCollection, RebuiltMember, RebuiltSegment, RebuiltSnapshot};
use elanus_types::key::FileName;
use elanus_types::schema::CollectionDefinition;
use elanus_types::{FileSetId, ObjectKey, SegmentId, SnapshotId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Collects the snapshots of one collection, oldest first.
#[derive(Debug, Default)]
pub(super) struct Planner {
    snapshots: Vec<Stored>,
    members: BTreeMap<(SegmentId, FileSetId), Member>,
}

/// A membership, and the first and the last snapshot that has it.
#[derive(Debug)]
struct Member {
    entry: ManifestEntry,
    first: usize,
    last: usize,
}

impl Planner {
    /// Adds the next snapshot with what its manifests list. RP-2
    pub(super) fn add(&mut self, stored: Stored, entries: Vec<ManifestEntry>) -> Result<(), String> {
        let info = &stored.metadata.snapshot;
        let n = self.snapshots.len();
        let before = self.snapshots.last().map(|before| before.metadata.snapshot.create_ts);
        if before.is_some_and(|before| info.create_ts <= before) {
            return Err(format!("snapshot {} has the time of another one", info.id));
        }
        for entry in entries {
            check(&entry)?;
            if entry.added_ts > info.create_ts {
                return Err(format!("snapshot {} has file set {} before it came", info.id, entry.file_set_id));
            }
            match self.members.get_mut(&(entry.segment_id, entry.file_set_id)) {
                Some(member) if member.last + 1 == n && member.entry == entry => member.last = n,
                Some(_) => return Err(format!("snapshots disagree about file set {}", entry.file_set_id)),
                None if before.is_some_and(|before| entry.added_ts <= before) => {
                    return Err(format!("an earlier snapshot than {} has not file set {}", info.id, entry.file_set_id));
                }
                None => {
                    let place = (entry.segment_id, entry.file_set_id);
                    self.members.insert(place, Member { entry, first: n, last: n });
                }
            }
        }
        self.snapshots.push(stored);
        Ok(())
    }

    /// The metadata objects of the snapshots.
    pub(super) fn keys(&self) -> Vec<(ObjectKey, SnapshotId)> {
        self.snapshots.iter().map(|stored| (stored.key.clone(), stored.metadata.snapshot.id)).collect()
    }

    /// Every object that the snapshots need, with its size.
    pub(super) fn objects(&self) -> Vec<(ObjectKey, u64)> {
        let files = self.members.values().flat_map(|member| &member.entry.files);
        files.map(|file| (file.key.clone(), file.size)).collect()
    }

    /// The snapshots that need one of these objects.
    pub(super) fn need(&self, objects: &BTreeSet<ObjectKey>) -> BTreeMap<SnapshotId, ObjectKey> {
        let mut needed = BTreeMap::new();
        for member in self.members.values() {
            if let Some(file) = member.entry.files.iter().find(|file| objects.contains(&file.key)) {
                for stored in &self.snapshots[member.first..=member.last] {
                    needed.entry(stored.metadata.snapshot.id).or_insert_with(|| file.key.clone());
                }
            }
        }
        needed
    }

    /// The collection, under the names and in the database of its newest snapshot. `None` without snapshots.
    pub(super) fn finish(self) -> Result<Option<RebuiltCollection>, String> {
        let Some(newest) = self.snapshots.last() else { return Ok(None) };
        let info = &newest.metadata.snapshot;
        let (id, database, name) = (info.collection_id, info.database_name.clone(), info.collection_name.clone());
        let times: Vec<Timestamp> = self.snapshots.iter().map(|stored| stored.metadata.snapshot.create_ts).collect();
        let life = Life { times };
        // Ids are given in the order of time, and begin with its milliseconds.
        let created_ts = life.began(Timestamp(id.0), 0, Timestamp(1));
        let definitions: Vec<&CollectionDefinition> =
            self.snapshots.iter().map(|stored| &stored.metadata.definition).collect();
        let partitions = life.facts(created_ts, &definitions, |definition| {
            definition.partitions.iter().map(|one| (one.id.0, (one.id, one.name.clone()))).collect()
        })?;
        let indexes = life.facts(created_ts, &definitions, |definition| {
            definition.indexes.iter().map(|one| (one.id.0, one.clone())).collect()
        })?;
        let versions = life.versions(created_ts, &definitions);
        let snapshots = snapshots(&self.snapshots)?;
        let (mut segments, mut members) = (BTreeMap::new(), Vec::with_capacity(self.members.len()));
        for Member { entry, last, .. } in self.members.into_values() {
            let removed = life.ended(last);
            to_segment(&mut segments, &entry, removed == Timestamp::NEVER)?;
            members.push(Lasting { added: entry.added_ts, removed, fact: member(entry) });
        }
        let last_ts = *life.times.last().unwrap_or(&created_ts);
        Ok(Some(RebuiltCollection {
            id,
            database,
            database_properties: info.database_properties.clone(),
            aliases: info.aliases.clone(),
            name,
            created_ts,
            last_ts,
            versions,
            partitions,
            indexes,
            segments,
            members,
            snapshots,
        }))
    }
}

/// What a key says about itself must be what the manifest says.
fn check(entry: &ManifestEntry) -> Result<(), String> {
    let stranger =
        entry.files.iter().find(|file| FileName::of(&file.key).is_none_or(|name| name.file_set != entry.file_set_id));
    match stranger {
        Some(file) => Err(format!("{} is not a file of file set {}", file.key, entry.file_set_id)),
        None if entry.files.is_empty() => Err(format!("file set {} has no files", entry.file_set_id)),
        None => Ok(()),
    }
}

/// The times of the snapshots.
struct Life {
    times: Vec<Timestamp>,
}

impl Life {
    /// When something began that the snapshot `first` is the first to have: when it says, but not before the snapshot that
    /// has it not, nor after the one that has it.
    fn began(&self, says: Timestamp, first: usize, floor: Timestamp) -> Timestamp {
        let floor = first.checked_sub(1).map_or(floor, |before| Timestamp(self.times[before].0 + 1));
        says.max(floor).min(self.times[first])
    }

    /// When something ended that the snapshot `last` is the last to have.
    fn ended(&self, last: usize) -> Timestamp {
        self.times.get(last + 1).copied().unwrap_or(Timestamp::NEVER)
    }

    /// Things with ids, one fact for each time that a thing changed.
    fn facts<T: Clone + PartialEq>(
        &self,
        created_ts: Timestamp,
        definitions: &[&CollectionDefinition],
        of: impl Fn(&CollectionDefinition) -> Vec<(i64, T)>,
    ) -> Result<Vec<Lasting<T>>, String> {
        let mut found: BTreeMap<i64, (usize, usize, T)> = BTreeMap::new();
        for (n, definition) in definitions.iter().enumerate() {
            for (id, thing) in of(definition) {
                match found.get_mut(&id) {
                    None => _ = found.insert(id, (n, n, thing)),
                    Some((_, last, known)) if *last + 1 == n => {
                        // One row an id: a new name counts for the past as well.
                        *last = n;
                        *known = thing;
                    }
                    Some(_) => return Err(format!("partition or index {id} ends and comes back")),
                }
            }
        }
        let facts = found.into_iter().map(|(id, (first, last, fact))| Lasting {
            added: self.began(Timestamp(id), first, created_ts),
            removed: self.ended(last),
            fact,
        });
        Ok(facts.collect())
    }

    /// The definitions, without partitions and indexes, one for each time that they changed.
    fn versions(
        &self,
        created_ts: Timestamp,
        definitions: &[&CollectionDefinition],
    ) -> Vec<Lasting<CollectionDefinition>> {
        let mut versions: Vec<Lasting<CollectionDefinition>> = Vec::new();
        for (n, definition) in definitions.iter().enumerate() {
            let fact = CollectionDefinition { partitions: vec![], indexes: vec![], ..(*definition).clone() };
            let added = if n == 0 { created_ts } else { self.times[n] };
            match versions.last_mut() {
                Some(before) if before.fact == fact => {}
                Some(before) => {
                    before.removed = added;
                    versions.push(Lasting { added, removed: Timestamp::NEVER, fact });
                }
                None => versions.push(Lasting { added, removed: Timestamp::NEVER, fact }),
            }
        }
        versions
    }
}

fn to_segment(
    segments: &mut BTreeMap<SegmentId, RebuiltSegment>,
    entry: &ManifestEntry,
    is_present: bool,
) -> Result<(), String> {
    let is_l0 = entry.level == Level::L0;
    let segment = segments.entry(entry.segment_id).or_insert_with(|| RebuiltSegment {
        partition: entry.partition_id,
        shard: entry.shard,
        is_l0,
        rows: 0,
        bytes: 0,
        created_ts: entry.added_ts,
    });
    if (segment.partition, segment.shard, segment.is_l0) != (entry.partition_id, entry.shard, is_l0) {
        return Err(format!("segment {} is in two places", entry.segment_id));
    }
    segment.created_ts = segment.created_ts.min(entry.added_ts);
    if is_present {
        segment.rows += entry.rows;
        segment.bytes += entry.files.iter().map(|file| file.size).sum::<u64>();
    }
    Ok(())
}

fn member(entry: ManifestEntry) -> RebuiltMember {
    let kind = match entry.kind {
        FileKind::Insert => model::FileKind::Insert,
        FileKind::Delete => model::FileKind::Delete,
        FileKind::Index => model::FileKind::Index,
    };
    let object =
        |file: elanus_manifest::FileEntry| StoredObject { key: file.key, size: file.size, checksum: file.checksum };
    RebuiltMember {
        segment: entry.segment_id,
        file_set: entry.file_set_id,
        kind,
        base_ts: entry.base_ts,
        rows: entry.rows,
        objects: entry.files.into_iter().map(object).collect(),
    }
}

fn snapshots(stored: &[Stored]) -> Result<Vec<RebuiltSnapshot>, String> {
    let mut rebuilt = Vec::with_capacity(stored.len());
    // The newest of a name keeps it: the others were dropped, and their objects not yet deleted.
    let mut names = BTreeSet::new();
    for one in stored.iter().rev() {
        let info = &one.metadata.snapshot;
        let mut name = info.name.clone();
        if !names.insert(name.clone()) {
            name = format!("{name}_{}", info.id);
            names.insert(name.clone());
        }
        let file_set = |key: &ObjectKey| {
            FileName::of(key).map(|name| name.file_set).ok_or_else(|| format!("{key} does not name its file set"))
        };
        let manifests =
            one.metadata.manifests.iter().map(|manifest| Ok(manifest_record(file_set(&manifest.key)?, manifest)));
        let elanus_manifest::Totals { rows, bytes, files, segments } = one.metadata.totals;
        rebuilt.push(RebuiltSnapshot {
            id: info.id,
            name,
            description: info.description.clone(),
            create_ts: info.create_ts,
            metadata: (
                file_set(&one.key)?,
                StoredObject { key: one.key.clone(), size: one.size, checksum: one.checksum },
            ),
            manifests: manifests.collect::<Result<_, String>>()?,
            totals: model::Totals { rows, files, bytes, segments },
        });
    }
    rebuilt.reverse();
    Ok(rebuilt)
}

fn manifest_record(file_set: FileSetId, manifest: &ManifestRef) -> ManifestRecord {
    let ManifestRef { key, size, checksum, entries_added, entries_removed, files, rows, bytes } = manifest.clone();
    let object = StoredObject { key, size, checksum };
    ManifestRecord { file_set, object, entries_added, entries_removed, files, rows, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_manifest::{FORMAT_VERSION, FileEntry, SnapshotInfo, SnapshotMetadata, SnapshotState, Status, Totals};
    use elanus_types::schema::{CollectionSchema, ConsistencyLevel, PartitionInfo};
    use elanus_types::{Checksum, CollectionId, PartitionId, Shard};

    fn named(file_set: i64, folder: &str) -> ObjectKey {
        let name = FileName { file_set: FileSetId(file_set), ordinal: 0, random: 1 };
        ObjectKey::parse(&format!("c/{folder}/{name}.x")).unwrap()
    }

    fn stored(id: i64, name: &str, create_ts: i64, partitions: &[i64]) -> Stored {
        let partitions = partitions.iter().map(|id| PartitionInfo { id: PartitionId(*id), name: format!("p{id}") });
        let schema = CollectionSchema::default();
        let metadata = SnapshotMetadata {
            format_version: FORMAT_VERSION,
            snapshot: SnapshotInfo {
                id: SnapshotId(id),
                name: name.to_owned(),
                description: String::new(),
                collection_id: CollectionId(5),
                collection_name: "docs".to_owned(),
                database_name: "default".to_owned(),
                aliases: vec![],
                database_properties: BTreeMap::new(),
                create_ts: Timestamp(create_ts),
                created_at: String::new(),
                state: SnapshotState::Committed,
            },
            definition: CollectionDefinition {
                schema,
                shards_num: 1,
                consistency_level: ConsistencyLevel::Strong,
                properties: BTreeMap::new(),
                partitions: partitions.collect(),
                indexes: vec![],
                aging: elanus_types::Aging::default(),
            },
            manifests: vec![],
            totals: Totals::default(),
        };
        Stored { key: named(id, "s"), size: 1, checksum: Checksum(1), metadata }
    }

    fn entry(file_set: i64, added_ts: i64) -> ManifestEntry {
        ManifestEntry {
            status: Status::Added,
            segment_id: SegmentId(1),
            partition_id: PartitionId(6),
            shard: Shard(0),
            level: Level::L1,
            file_set_id: FileSetId(file_set),
            kind: FileKind::Insert,
            base_ts: Timestamp(added_ts),
            added_ts: Timestamp(added_ts),
            rows: 2,
            files: vec![FileEntry {
                key: named(file_set, "f"),
                size: 3,
                checksum: Checksum(1),
                kind: FileKind::Insert,
            }],
            key_min: None,
            key_max: None,
        }
    }

    fn plan(snapshots: Vec<(Stored, Vec<ManifestEntry>)>) -> Result<RebuiltCollection, String> {
        let mut planner = Planner::default();
        for (stored, entries) in snapshots {
            planner.add(stored, entries)?;
        }
        Ok(planner.finish()?.unwrap())
    }

    #[test]
    fn rp_1_every_snapshot_finds_at_its_time_what_it_lists() {
        let lists = [vec![entry(10, 20), entry(11, 21)], vec![entry(11, 21)], vec![entry(11, 21), entry(12, 120)]];
        let snapshots = lists.iter().cloned().zip(1i64..);
        let rebuilt =
            plan(snapshots.map(|(list, n)| (stored(n, &format!("s{n}"), n * 50, &[6]), list)).collect()).unwrap();
        for (list, ts) in lists.iter().zip([50, 100, 150]) {
            let there = |member: &&Lasting<RebuiltMember>| member.added.0 <= ts && ts < member.removed.0;
            let found: Vec<_> = rebuilt.members.iter().filter(there).map(|member| member.fact.file_set).collect();
            assert_eq!(found, list.iter().map(|entry| entry.file_set_id).collect::<Vec<_>>());
        }
        assert_eq!((rebuilt.created_ts, rebuilt.last_ts), (Timestamp(5), Timestamp(150)));
        assert_eq!((rebuilt.segments[&SegmentId(1)].rows, rebuilt.segments[&SegmentId(1)].created_ts.0), (4, 20));
        assert_eq!(rebuilt.versions.len(), 1);
    }

    #[test]
    fn partitions_begin_and_end_between_the_snapshots_that_differ() {
        let rebuilt = plan(vec![
            (stored(1, "a", 50, &[6, 7]), vec![]),
            (stored(2, "b", 100, &[6, 70]), vec![]),
            (stored(3, "c", 150, &[6, 70, 7_000]), vec![]),
        ])
        .unwrap();
        let lives: Vec<_> = rebuilt.partitions.iter().map(|one| (one.fact.0.0, one.added.0, one.removed.0)).collect();
        assert_eq!(lives, [(6, 6, i64::MAX), (7, 7, 100), (70, 70, i64::MAX), (7_000, 150, i64::MAX)]);
    }

    #[test]
    fn rp_2_snapshots_that_contradict_each_other_are_refused() {
        let (a, b, c) = (stored(1, "a", 50, &[]), stored(2, "b", 100, &[]), stored(3, "c", 150, &[]));
        let there = || vec![entry(10, 20)];
        let refused = |snapshots| plan(snapshots).unwrap_err();
        assert!(refused(vec![(a.clone(), there()), (b.clone(), vec![]), (c, there())]).contains("disagree"));
        assert!(refused(vec![(a.clone(), vec![]), (b.clone(), there())]).contains("has not file set 10"));
        assert!(refused(vec![(a.clone(), vec![entry(10, 51)])]).contains("before it came"));
        assert!(refused(vec![(a.clone(), vec![]), (a.clone(), vec![])]).contains("time of another"));
        let changed = vec![ManifestEntry { rows: 9, ..entry(10, 20) }];
        assert!(refused(vec![(a.clone(), there()), (b.clone(), changed)]).contains("disagree"));
        let foreign = ManifestEntry { file_set_id: FileSetId(11), ..entry(10, 20) };
        assert!(refused(vec![(a.clone(), vec![foreign])]).contains("not a file of file set 11"));
        let moved = ManifestEntry { shard: Shard(1), ..entry(11, 20) };
        assert!(refused(vec![(a, vec![entry(10, 20), moved])]).contains("two places"));
    }

    #[test]
    fn the_newest_snapshot_of_a_name_keeps_it() {
        let rebuilt = plan(vec![(stored(1, "a", 50, &[]), vec![]), (stored(2, "a", 100, &[]), vec![])]).unwrap();
        let names: Vec<_> = rebuilt.snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect();
        assert_eq!(names, ["a_1", "a"]);
    }

    #[test]
    fn snapshots_that_need_an_object_are_those_in_between() {
        let mut planner = Planner::default();
        planner.add(stored(1, "a", 50, &[]), vec![entry(10, 20)]).unwrap();
        planner.add(stored(2, "b", 100, &[]), vec![entry(10, 20), entry(11, 60)]).unwrap();
        planner.add(stored(3, "c", 150, &[]), vec![entry(11, 60)]).unwrap();
        assert_eq!(planner.objects().len(), 2);
        let need = |file_set| planner.need(&BTreeSet::from([named(file_set, "f")])).into_keys().collect::<Vec<_>>();
        assert_eq!(need(10), [SnapshotId(1), SnapshotId(2)]);
        assert_eq!(need(11), [SnapshotId(2), SnapshotId(3)]);
        assert_eq!(need(12), []);
    }
}

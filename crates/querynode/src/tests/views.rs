//! Views against a model that knows nothing of files, logs or bitmaps: random histories of commits, dropped partitions,
//! ended delete logs and files that arrive late with old timestamps.

use crate::keys::{KeyRef, Keys};
use crate::view::{Added, Expiry, Member, View};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use elanus_meta::model::{FileKind, FileRecord};
use elanus_segment::{Deletes, PkColumn, TIMESTAMP_COLUMN};
use elanus_types::schema::CollectionSchema;
use elanus_types::{CollectionId, FileSetId, PartitionId, SegmentId, Shard, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Act {
    Insert(u8, i64),
    Delete(u8, Option<i64>),
    Upsert(u8, i64),
}

#[derive(Clone, Debug)]
enum Event {
    /// Requests of one commit group; each is a list.
    Commit(Vec<Vec<Act>>),
    /// Rows that were written long before they arrive, as a restore brings them.
    Late(Vec<(u8, i64)>, u8),
    DropPartition(i64),
    /// A delete log ends, as compaction does it.
    EndLog(u8),
}

/// A file with its lifetime.
#[derive(Clone, Debug)]
struct Fact {
    record: FileRecord,
    entries: Vec<(u8, i64)>,
    removed_ts: i64,
}

#[derive(Clone, Debug, Default)]
struct Model {
    facts: Vec<Fact>,
    clock: i64,
}

fn acts() -> impl Strategy<Value = Act> {
    let key = 0_u8..12;
    prop_oneof![
        3 => (key.clone(), 1_i64..3).prop_map(|(key, partition)| Act::Insert(key, partition)),
        2 => (key.clone(), prop::option::of(1_i64..3)).prop_map(|(key, partition)| Act::Delete(key, partition)),
        2 => (key, 1_i64..3).prop_map(|(key, partition)| Act::Upsert(key, partition)),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => prop::collection::vec(prop::collection::vec(acts(), 1..5), 1..4).prop_map(Event::Commit),
        1 => (prop::collection::vec((0_u8..12, 1_i64..3), 1..6), any::<u8>())
            .prop_map(|(rows, back)| Event::Late(rows, back)),
        1 => (1_i64..3).prop_map(Event::DropPartition),
        1 => any::<u8>().prop_map(Event::EndLog),
    ];
    prop::collection::vec(event, 1..25)
}

fn shard(key: u8) -> Shard {
    Shard(i32::from(key % 2))
}

impl Model {
    /// Adds files at `added_ts`, one for each place; offsets count from `base_ts`.
    fn add(&mut self, base_ts: i64, added_ts: i64, entries: &[(FileKind, i64, u8, i64)]) {
        let mut places: BTreeMap<(FileKind, i64, i32), Vec<(u8, i64)>> = BTreeMap::new();
        for (kind, partition, key, offset) in entries {
            places.entry((*kind, *partition, shard(*key).0)).or_default().push((*key, *offset));
        }
        for ((kind, partition, shard), entries) in places {
            let id = i64::try_from(self.facts.len()).unwrap();
            let record = FileRecord {
                segment: SegmentId(100 - id % 3),
                file_set: FileSetId(id),
                partition: PartitionId(partition),
                shard: Shard(shard),
                kind,
                base_ts: Timestamp(base_ts),
                rows: entries.len() as u64,
                added_ts: Timestamp(added_ts),
                objects: Vec::new(),
            };
            self.facts.push(Fact { record, entries, removed_ts: i64::MAX });
        }
    }

    fn end(&mut self, ts: i64, which: impl Fn(&FileRecord) -> bool) {
        let live = self.facts.iter_mut().filter(|fact| fact.removed_ts == i64::MAX && which(&fact.record));
        live.for_each(|fact| fact.removed_ts = ts);
    }

    fn play(&mut self, event: &Event) {
        self.clock += 3;
        let base = self.clock;
        match event {
            Event::Commit(requests) => {
                let mut entries = Vec::new();
                for (offset, acts) in (0..).zip(requests) {
                    for act in acts {
                        match *act {
                            Act::Insert(key, partition) => entries.push((FileKind::Insert, partition, key, offset)),
                            Act::Delete(key, partition) => {
                                entries.push((FileKind::Delete, partition.unwrap_or(-1), key, offset));
                            }
                            Act::Upsert(key, partition) => {
                                entries.push((FileKind::Delete, -1, key, offset));
                                entries.push((FileKind::Insert, partition, key, offset));
                            }
                        }
                    }
                }
                self.clock += i64::try_from(requests.len()).unwrap() - 1;
                self.add(base, base, &entries);
            }
            Event::Late(rows, back) => {
                let entries: Vec<_> =
                    rows.iter().map(|(key, partition)| (FileKind::Insert, *partition, *key, 0)).collect();
                self.add((base - i64::from(*back % 64)).max(1), base, &entries);
            }
            Event::DropPartition(partition) => self.end(base, |record| record.partition.0 == *partition),
            Event::EndLog(pick) => {
                let logs: Vec<FileSetId> = self
                    .facts
                    .iter()
                    .map(|fact| &fact.record)
                    .filter(|r| r.kind == FileKind::Delete)
                    .map(|r| r.file_set)
                    .collect();
                if let Some(log) = logs.get(usize::from(*pick) % logs.len().max(1)) {
                    self.end(base, |record| record.file_set == *log);
                }
            }
        }
    }

    fn live(&self, at: i64) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(move |fact| fact.record.added_ts.0 <= at && at < fact.removed_ts)
    }

    /// V-1, word for word.
    fn visible(&self, at: i64) -> Vec<(FileSetId, u8, i64)> {
        let hidden = |record: &FileRecord, key: u8, row_ts: i64| {
            self.live(at).filter(|log| log.record.kind == FileKind::Delete).any(|log| {
                log.record.shard == record.shard
                    && (log.record.partition == PartitionId::ALL || log.record.partition == record.partition)
                    && log.entries.iter().any(|(deleted, offset)| {
                        let ts = log.record.base_ts.0 + offset;
                        *deleted == key && ts <= at && ts > row_ts
                    })
            })
        };
        let mut rows = Vec::new();
        for file in self.live(at).filter(|fact| fact.record.kind == FileKind::Insert) {
            for (key, offset) in &file.entries {
                let ts = file.record.base_ts.0 + offset;
                if ts <= at && !hidden(&file.record, *key, ts) {
                    rows.push((file.record.file_set, *key, ts));
                }
            }
        }
        rows.sort();
        rows
    }
}

/// How keys are spelled.
#[derive(Clone, Copy, Debug)]
enum Spelling {
    Int,
    Str,
}

impl Spelling {
    fn column(self, keys: &[u8]) -> PkColumn {
        match self {
            Self::Int => PkColumn::Int(keys.iter().map(|key| i64::from(*key)).collect()),
            Self::Str => PkColumn::Str(keys.iter().map(|key| format!("key {key}")).collect()),
        }
    }

    fn read(self, key: KeyRef<'_>) -> u8 {
        match key {
            KeyRef::Int(key) => key.try_into().unwrap(),
            KeyRef::Str(key) => key.strip_prefix("key ").unwrap().parse().unwrap(),
        }
    }

    fn added(self, fact: &Fact) -> Added {
        let (keys, offsets): (Vec<u8>, Vec<i64>) = fact.entries.iter().copied().unzip();
        if fact.record.kind == FileKind::Delete {
            let deletes = Deletes { keys: self.column(&keys), ts_offsets: offsets };
            return Added::Deletes(fact.record.clone(), Arc::new(deletes));
        }
        Added::Rows(fact.record.clone(), Arc::new(key_file(&self.column(&keys), offsets)))
    }
}

fn key_file(keys: &PkColumn, offsets: Vec<i64>) -> Keys {
    let array: ArrayRef = match keys {
        PkColumn::Int(keys) => Arc::new(Int64Array::from(keys.clone())),
        PkColumn::Str(keys) => Arc::new(StringArray::from(keys.clone())),
    };
    let offsets: ArrayRef = Arc::new(Int64Array::from(offsets));
    let batch = RecordBatch::try_from_iter_with_nullable([("id", array, false), (TIMESTAMP_COLUMN, offsets, false)]);
    Keys::of(&batch.unwrap(), "id").unwrap()
}

fn empty(cut: Option<Timestamp>) -> View {
    let schema = CollectionSchema {
        description: String::new(),
        fields: Vec::new(),
        enable_dynamic_field: false,
        ..CollectionSchema::default()
    };
    View::empty(CollectionId(1), Arc::new(schema), Expiry::default(), cut)
}

fn shown(view: &View, spelling: Spelling) -> Vec<(FileSetId, u8, i64)> {
    let mut rows = Vec::new();
    for file in &view.files {
        let visible: Vec<u32> = (0..).take(file.keys.len()).filter(|row| file.is_visible(*row)).collect();
        assert_eq!(visible.len(), file.visible_rows());
        rows.extend(visible.into_iter().map(|row| {
            let ts = file.record.base_ts.0 + file.keys.offset(row);
            (file.record.file_set, spelling.read(file.keys.key(row)), ts)
        }));
    }
    rows.sort();
    rows
}

/// Plays a history; after every event the view carried on and a view of a past time are compared with the model.
fn check(events: &[Event], spelling: Spelling, picks: &[u16]) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut view = empty(None);
    for (event, pick) in events.iter().zip(picks.iter().cycle()) {
        let before = view.ts.0;
        model.play(event);
        let now = model.clock;
        let removed: Vec<Member> = (model.facts.iter())
            .filter(|fact| fact.record.added_ts.0 <= before && before < fact.removed_ts && fact.removed_ts <= now)
            .map(|fact| (fact.record.segment, fact.record.file_set))
            .collect();
        let again = view.logs_to_read_again(&removed);
        let added = model.live(now).filter(|fact| {
            fact.record.added_ts.0 > before || again.iter().any(|log| log.file_set == fact.record.file_set)
        });
        view = view.next(Timestamp(now), added.map(|fact| spelling.added(fact)).collect(), &removed);
        prop_assert_eq!(shown(&view, spelling), model.visible(now), "V-1, V-2 at {}", now);

        let all = model.live(now).map(|fact| spelling.added(fact)).collect();
        let scratch = empty(None).next(Timestamp(now), all, &[]);
        prop_assert_eq!(shown(&scratch, spelling), shown(&view, spelling), "V-2 at {}", now);

        let past = i64::from(*pick) % (now + 1);
        let all = model.live(past).map(|fact| spelling.added(fact)).collect();
        let past_view = empty(Some(Timestamp(past))).next(Timestamp(past), all, &[]);
        prop_assert_eq!(shown(&past_view, spelling), model.visible(past), "V-3 at {}", past);
    }
    Ok(())
}

proptest! {
    #[test]
    fn v_1_v_2_v_3_a_view_shows_what_the_history_says(events in events(), picks in prop::collection::vec(any::<u16>(), 1..25)) {
        check(&events, Spelling::Int, &picks)?;
        check(&events, Spelling::Str, &picks)?;
    }

    #[test]
    fn rows_come_in_the_order_of_their_keys(keys in prop::collection::vec(0_u8..20, 1..40)) {
        let file = key_file(&Spelling::Int.column(&keys), vec![0; keys.len()]);
        let ascending: Vec<u8> = file.ascending().map(|row| Spelling::Int.read(file.key(row))).collect();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        prop_assert_eq!(file.range(), Some((KeyRef::Int(i64::from(sorted[0])), KeyRef::Int(i64::from(sorted[sorted.len() - 1])))));
        prop_assert_eq!(ascending, sorted);
    }
}

#[test]
fn an_upsert_keeps_its_own_row_and_hides_the_one_before() {
    let mut model = Model::default();
    let mut view = empty(None);
    for event in [Event::Commit(vec![vec![Act::Insert(1, 1)]]), Event::Commit(vec![vec![Act::Upsert(1, 2)]])] {
        let before = view.ts.0;
        model.play(&event);
        let added = model.live(model.clock).filter(|fact| fact.record.added_ts.0 > before);
        view = view.next(Timestamp(model.clock), added.map(|fact| Spelling::Int.added(fact)).collect(), &[]);
    }
    assert_eq!(shown(&view, Spelling::Int), [(FileSetId(1), 1, 6)]);
}

#[test]
fn files_that_nothing_happened_to_are_shared_between_views() {
    let mut model = Model::default();
    model.play(&Event::Commit(vec![vec![Act::Insert(1, 1), Act::Insert(2, 1)]]));
    let first = empty(None).next(Timestamp(3), model.facts.iter().map(|fact| Spelling::Int.added(fact)).collect(), &[]);
    let known = model.facts.len();
    model.play(&Event::Commit(vec![vec![Act::Delete(1, None)]]));
    let second =
        first.next(Timestamp(6), model.facts[known..].iter().map(|fact| Spelling::Int.added(fact)).collect(), &[]);
    let shared = |a: &View, b: &View| a.files.iter().filter(|x| b.files.iter().any(|y| Arc::ptr_eq(x, y))).count();
    assert_eq!((first.files.len(), second.files.len(), shared(&first, &second)), (2, 2, 1));
    assert_eq!(shown(&first, Spelling::Int).len(), 2, "a view never changes");
    assert_eq!(shown(&second, Spelling::Int).len(), 1);
}

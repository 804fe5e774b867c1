//! R-4: what a snapshot keeps comes back field by field. And what nobody wrote is refused.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use apache_avro::{Schema, Writer};
use elanus_manifest::{
    Error, FORMAT_VERSION, FileEntry, FileKind, Level, ManifestEntry, ManifestRef, SnapshotInfo, SnapshotMetadata,
    SnapshotState, Status, Totals, avro, created_at, decode_manifest, decode_metadata, encode_manifest,
    encode_metadata, fold, verify,
};
use elanus_types::schema::{
    CollectionDefinition, CollectionSchema, ConsistencyLevel, DataType, FieldSchema, IndexInfo, PartitionInfo,
};
use elanus_types::{
    Checksum, CollectionId, FieldId, FileSetId, IndexId, ObjectKey, PartitionId, SegmentId, Shard, SnapshotId,
    Timestamp,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// An entry in which nothing is what a forgotten field would be.
fn entry() -> ManifestEntry {
    ManifestEntry {
        status: Status::Added,
        segment_id: SegmentId(11),
        partition_id: PartitionId(12),
        shard: Shard(13),
        level: Level::L1,
        file_set_id: FileSetId(14),
        kind: FileKind::Insert,
        base_ts: Timestamp(15 << 18),
        added_ts: Timestamp(16 << 18),
        rows: 17,
        files: vec![
            FileEntry { key: key("c/a.parquet"), size: 18, checksum: Checksum(0xabc), kind: FileKind::Insert },
            FileEntry { key: key("c/b.idx"), size: 1 << 40, checksum: Checksum(u64::MAX), kind: FileKind::Index },
        ],
        key_min: Some("-5".to_owned()),
        key_max: Some("ключ".to_owned()),
    }
}

/// Entries with every word that a manifest can say.
fn entries() -> Vec<ManifestEntry> {
    let delete = FileEntry { key: key("d"), size: 1, checksum: Checksum(1), kind: FileKind::Delete };
    vec![
        entry(),
        ManifestEntry {
            status: Status::Removed,
            segment_id: SegmentId(i64::MAX),
            partition_id: PartitionId::ALL,
            level: Level::L0,
            kind: FileKind::Delete,
            added_ts: Timestamp::NEVER,
            rows: 0,
            files: vec![delete],
            key_min: None,
            key_max: Some(String::new()),
            ..entry()
        },
        ManifestEntry { file_set_id: FileSetId(99), kind: FileKind::Index, files: vec![], key_max: None, ..entry() },
    ]
}

/// Metadata in which nothing is what a forgotten field would be.
fn metadata() -> SnapshotMetadata {
    let create_ts = Timestamp((1_767_323_045_678 << 18) | 9);
    SnapshotMetadata {
        format_version: FORMAT_VERSION,
        snapshot: SnapshotInfo {
            id: SnapshotId(1),
            name: "before the change".to_owned(),
            description: "what \"we\" had\n".to_owned(),
            collection_id: CollectionId(2),
            collection_name: "books".to_owned(),
            database_name: "library".to_owned(),
            aliases: vec![],
            database_properties: BTreeMap::new(),
            create_ts,
            created_at: created_at(create_ts),
            state: SnapshotState::Committed,
        },
        definition: CollectionDefinition {
            schema: CollectionSchema {
                description: "all books".to_owned(),
                fields: vec![FieldSchema {
                    id: FieldId(100),
                    name: "id".to_owned(),
                    description: "a number".to_owned(),
                    data_type: DataType::FloatVector,
                    is_primary_key: true,
                    auto_id: true,
                    is_dynamic: true,
                    nullable: true,
                    element_type: None,
                    default_value: None,
                    type_params: words(&[("dim", "8"), ("max_length", "7")]),
                }],
                enable_dynamic_field: true,
                ..CollectionSchema::default()
            },
            shards_num: 3,
            consistency_level: ConsistencyLevel::Bounded,
            properties: words(&[("collection.ttl.seconds", "60")]),
            partitions: vec![
                PartitionInfo { id: PartitionId(4), name: "_default".to_owned() },
                PartitionInfo { id: PartitionId(5), name: "a part".to_owned() },
            ],
            indexes: vec![IndexInfo {
                id: IndexId(6),
                name: "by meaning".to_owned(),
                field_id: FieldId(101),
                params: words(&[("index_type", "HNSW"), ("M", "16")]),
            }],
            aging: elanus_types::Aging::default(),
        },
        manifests: vec![ManifestRef {
            key: key("c/manifests/1.avro"),
            size: 7,
            checksum: Checksum(8),
            entries_added: 9,
            entries_removed: 10,
            files: 11,
            rows: 12,
            bytes: 13,
        }],
        totals: Totals { rows: 14, bytes: 15, files: 16, segments: 17 },
    }
}

fn assert_nothing_is_default(at: &str, value: &Value) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| assert_nothing_is_default(&format!("{at}.{name}"), value));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().for_each(|value| assert_nothing_is_default(&format!("{at}[]"), value));
        }
        Value::Object(_) | Value::Array(_) | Value::Null | Value::Bool(false) => panic!("{at} is a default"),
        Value::Number(number) => assert_ne!(number.as_i64(), Some(0), "{at} is a default"),
        Value::String(text) => assert!(!text.is_empty(), "{at} is a default"),
        Value::Bool(true) => {}
    }
}

#[test]
fn r_4_every_field_of_the_metadata_comes_back() {
    let mut written = metadata();
    // Left out where there is none, as in the files of before they were known.
    let schema = &mut written.definition.schema;
    (schema.partition_key, schema.clustering_key) = (Some(FieldId(100)), Some(FieldId(101)));
    written.snapshot.aliases = vec!["volumes".to_owned()];
    written.snapshot.database_properties = words(&[("database.max.collections", "9")]);
    assert_nothing_is_default("metadata", &serde_json::to_value(&written).unwrap());
    assert_eq!(decode_metadata(&encode_metadata(&written).unwrap()).unwrap(), written);
}

#[test]
fn r_4_every_field_of_a_manifest_comes_back() {
    assert_nothing_is_default("entry", &serde_json::to_value(entry()).unwrap());
    assert_eq!(decode_manifest(&encode_manifest(&entries()).unwrap()).unwrap(), entries());
    assert_eq!(decode_manifest(&encode_manifest(&[]).unwrap()).unwrap(), []);
    for kind in FileKind::ALL {
        let written = vec![ManifestEntry { kind: *kind, ..entry() }];
        assert_eq!(decode_manifest(&encode_manifest(&written).unwrap()).unwrap(), written);
    }
}

#[test]
fn r_4_the_avro_schema_has_every_field_of_an_entry() {
    fn names(schema: &Schema) -> Vec<&str> {
        let Schema::Record(record) = schema else { panic!("{schema:?} is not a record") };
        record.fields.iter().map(|field| field.name.as_str()).collect()
    }
    let json = serde_json::to_value(entry()).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(avro::schema()), keys(&json));

    let Schema::Record(record) = avro::schema() else { panic!("not a record") };
    let files = record.fields.iter().find(|field| field.name == "files").unwrap();
    let Schema::Array(files) = &files.schema else { panic!("not an array") };
    assert_eq!(names(&files.items), keys(&json["files"][0]));
}

#[test]
fn the_same_entries_give_the_same_bytes() {
    assert_eq!(encode_manifest(&entries()).unwrap(), encode_manifest(&entries()).unwrap());
}

#[test]
fn files_of_version_1_are_read_for_ever() {
    let json = std::fs::read(golden("metadata-v1.json")).unwrap();
    assert_eq!(decode_metadata(&json).unwrap(), metadata());
    assert_eq!(String::from_utf8(encode_metadata(&metadata()).unwrap()).unwrap(), String::from_utf8(json).unwrap());
    assert_eq!(decode_manifest(&std::fs::read(golden("manifest-v1.avro")).unwrap()).unwrap(), entries());
}

/// What came to the format later is left out where there is none, so that files of before it stay what they are.
#[test]
fn names_that_came_later_are_read_and_written() {
    let mut with_names = metadata();
    with_names.snapshot.aliases = vec!["novels".to_owned(), "volumes".to_owned()];
    with_names.snapshot.database_properties = words(&[("database.max.collections", "9")]);
    let json = std::fs::read(golden("metadata-v1-names.json")).unwrap();
    assert_eq!(decode_metadata(&json).unwrap(), with_names);
    assert_eq!(String::from_utf8(encode_metadata(&with_names).unwrap()).unwrap(), String::from_utf8(json).unwrap());
}

#[test]
#[ignore = "writes the golden files of this version where there are none"]
fn write_golden_files() {
    for (name, bytes) in [
        ("metadata-v1.json", encode_metadata(&metadata()).unwrap()),
        ("manifest-v1.avro", encode_manifest(&entries()).unwrap()),
    ] {
        if !golden(name).exists() {
            std::fs::write(golden(name), bytes).unwrap();
        }
    }
}

#[test]
fn the_format_version_comes_first_and_a_newer_one_is_refused_by_name() {
    let text = String::from_utf8(encode_metadata(&metadata()).unwrap()).unwrap();
    assert!(text.starts_with("{\n  \"format_version\": 1,\n"), "{text}");
    let newer = br#"{"format_version": 2, "snapshot": "something else"}"#;
    let error = decode_metadata(newer).unwrap_err();
    assert!(matches!(error, Error::TooNew { found: 2, .. }), "{error:?}");
    assert_eq!(error.to_string(), "snapshot metadata has format version 2, and this version of Elanus reads up to 1");

    let newer = container(&avro::schema().canonical_form(), "2", &[]);
    assert!(matches!(decode_manifest(&newer), Err(Error::TooNew { found: 2, .. })));
}

#[test]
fn metadata_with_unknown_fields_is_read_and_with_missing_ones_refused() {
    let whole = serde_json::to_value(metadata()).unwrap();
    for place in ["", "/snapshot", "/definition", "/manifests/0", "/totals"] {
        let fields = whole.pointer(place).unwrap().as_object().unwrap();
        let mut more = whole.clone();
        more.pointer_mut(place).unwrap()["from the future"] = json!({ "a": [1] });
        assert_eq!(decode_metadata(more.to_string().as_bytes()).unwrap(), metadata());
        for name in fields.keys() {
            let mut less = whole.clone();
            less.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(name);
            let error = decode_metadata(less.to_string().as_bytes()).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{place}/{name}: {error:?}");
        }
    }
    let mut pending = whole.clone();
    pending["snapshot"]["state"] = json!("pending");
    assert!(decode_metadata(pending.to_string().as_bytes()).is_err());
}

#[test]
fn metadata_that_contradicts_itself_is_not_written() {
    let mut wrong = metadata();
    wrong.snapshot.created_at = "2020-01-01T00:00:00.000Z".to_owned();
    assert!(matches!(encode_metadata(&wrong), Err(Error::Write { .. })));
    let wrong = SnapshotMetadata { format_version: 2, ..metadata() };
    assert!(matches!(encode_metadata(&wrong), Err(Error::Write { .. })));
    assert!(encode_manifest(&[ManifestEntry { rows: u64::MAX, ..entry() }]).is_err());
}

#[test]
fn created_at_is_rfc_3339() {
    assert_eq!(created_at(Timestamp::ZERO), "1970-01-01T00:00:00.000Z");
    assert_eq!(created_at(Timestamp((1_709_251_199_999 << 18) | 7)), "2024-02-29T23:59:59.999Z");
    assert_eq!(created_at(Timestamp(-1)), "1970-01-01T00:00:00.000Z");
    assert!(created_at(Timestamp::NEVER).starts_with("3084-"));
}

#[test]
fn a_manifest_is_described_and_verified() {
    let bytes = encode_manifest(&entries()).unwrap();
    let described = ManifestRef::describe(key("m"), &bytes, &entries());
    verify(&bytes, &described).unwrap();
    let counts = (described.entries_added, described.entries_removed, described.files, described.rows, described.bytes);
    assert_eq!(counts, (2, 1, 2, 17, (1 << 40) + 18));
    assert_eq!(Totals::of(&entries()).segments, 1);

    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(matches!(verify(&changed, &described), Err(Error::Mismatch { .. })));
    assert!(matches!(verify(&bytes[1..], &described), Err(Error::Mismatch { .. })));
}

#[test]
fn folding_leaves_what_was_added_and_not_removed() {
    let set = |status, segment, file_set| ManifestEntry {
        status,
        segment_id: SegmentId(segment),
        file_set_id: FileSetId(file_set),
        ..entry()
    };
    let ids = |manifests: Vec<Vec<ManifestEntry>>| {
        fold(manifests.into_iter())
            .map(|entries| entries.iter().map(|entry| (entry.segment_id.0, entry.file_set_id.0)).collect::<Vec<_>>())
    };
    use Status::{Added, Removed};
    let first = vec![set(Added, 2, 5), set(Added, 1, 5), set(Added, 1, 6)];
    assert_eq!(ids(vec![first.clone()]).unwrap(), [(1, 5), (1, 6), (2, 5)]);
    let second = vec![set(Removed, 1, 5), set(Added, 3, 7)];
    assert_eq!(ids(vec![first.clone(), second.clone()]).unwrap(), [(1, 6), (2, 5), (3, 7)]);
    let third = vec![set(Added, 1, 5)];
    assert_eq!(ids(vec![first.clone(), second.clone(), third]).unwrap(), [(1, 5), (1, 6), (2, 5), (3, 7)]);

    for contradiction in [vec![second], vec![first.clone(), first.clone()], vec![first, vec![set(Removed, 2, 6)]]] {
        assert!(matches!(ids(contradiction), Err(Error::Fold { .. })));
    }
    assert_eq!(ids(vec![]).unwrap(), []);
}

/// A container file with a schema of its own.
fn container(schema: &str, version: &str, entries: &[apache_avro::types::Value]) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let mut writer = Writer::new(&schema, Vec::new()).unwrap();
    writer.add_user_metadata("elanus.format_version".to_owned(), version).unwrap();
    writer.add_user_metadata("elanus.entries".to_owned(), entries.len().to_string()).unwrap();
    for entry in entries {
        writer.append_value_ref(entry).unwrap();
    }
    writer.into_inner().unwrap()
}

#[test]
fn a_manifest_with_unknown_fields_is_read_and_with_missing_ones_refused() {
    use apache_avro::types::Value;
    let mut schema: serde_json::Value = serde_json::from_str(include_str!("../src/manifest.avsc")).unwrap();
    schema["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "future", "type": { "type": "map", "values": "int" } }));
    let Value::Record(mut fields) = apache_avro::to_value(entry()).unwrap().resolve(avro::schema()).unwrap() else {
        panic!("not a record")
    };
    fields.push(("future".to_owned(), Value::Map([("a".to_owned(), Value::Int(1))].into())));
    let newer = container(&schema.to_string(), "1", &[Value::Record(fields.clone())]);
    assert_eq!(decode_manifest(&newer).unwrap(), [entry()]);

    schema["fields"].as_array_mut().unwrap().remove(1);
    fields.remove(1);
    let lacking = container(&schema.to_string(), "1", &[Value::Record(fields)]);
    assert!(matches!(decode_manifest(&lacking), Err(Error::Damaged { .. })));
}

#[test]
fn a_schema_without_end_is_refused() {
    let endless = r#"{"type": "record", "name": "a", "fields": [{"name": "a", "type": "a"}]}"#;
    let mut bytes = container(endless, "1", &[]);
    bytes.splice(.., declare_entry(&bytes));
    let Err(Error::Damaged { source, .. }) = decode_manifest(&bytes) else { panic!("it was read") };
    assert_eq!(source.to_string(), "its schema names a type instead of spelling it");
}

/// The same file with "1" where it says how many entries it has, and a block of one entry without bytes.
fn declare_entry(bytes: &[u8]) -> Vec<u8> {
    let at = bytes.windows(16).position(|window| window == b"\x1celanus.entries\x02").unwrap() + 16;
    let marker = &bytes[bytes.len() - 16..];
    let mut bytes = bytes.to_vec();
    bytes[at] = b'1';
    [&bytes[..], &[2, 0], marker].concat()
}

#[test]
fn a_manifest_that_was_cut_is_refused_wherever_it_was_cut() {
    let wide = |n| ManifestEntry { file_set_id: FileSetId(n), key_max: Some("x".repeat(1_000)), ..entry() };
    let many: Vec<ManifestEntry> = (0..100).map(wide).collect();
    let bytes = encode_manifest(&many).unwrap();
    assert_eq!(decode_manifest(&bytes).unwrap(), many);

    let marker = &bytes[bytes.len() - 16..];
    let block_ends: Vec<usize> = (16..bytes.len()).filter(|len| bytes[..*len].ends_with(marker)).collect();
    assert!(block_ends.len() > 3, "one header and several blocks");
    for len in block_ends.into_iter().chain((0..bytes.len()).step_by(41)) {
        assert!(decode_manifest(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
    assert!(decode_manifest(&[&bytes[..], b"\0"].concat()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_bytes_give_an_answer_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        join in any::<prop::sample::Index>(),
        random in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for whole in [encode_manifest(&entries()).unwrap(), encode_metadata(&metadata()).unwrap()] {
            let mut bytes = whole.clone();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            _ = (decode_manifest(&bytes), decode_metadata(&bytes));
            let joined = [&whole[..cut.index(whole.len())], &whole[join.index(whole.len())..]].concat();
            _ = (decode_manifest(&joined), decode_metadata(&joined));
        }
        prop_assert!(decode_manifest(&random).is_err());
        prop_assert!(decode_metadata(&random).is_err());
        prop_assert!(decode_manifest(&[b"Obj\x01", &random[..]].concat()).is_err());
    }

    #[test]
    fn any_entry_comes_back(
        numbers in any::<[i64; 5]>(), shard in any::<i32>(), sizes in prop::collection::vec(0..=i64::MAX as u64, 0..4),
        keys in any::<(Option<String>, Option<String>)>(), words in (0..2_usize, 0..2_usize, 0..3_usize),
    ) {
        let files = sizes.iter().map(|size| FileEntry {
            key: key(&format!("f/{size}")), size: *size, checksum: Checksum(!size), kind: FileKind::ALL[words.2],
        });
        let written = vec![ManifestEntry {
            status: Status::ALL[words.0], level: Level::ALL[words.1], kind: FileKind::ALL[words.2],
            segment_id: SegmentId(numbers[0]), partition_id: PartitionId(numbers[1]), shard: Shard(shard),
            file_set_id: FileSetId(numbers[2]), base_ts: Timestamp(numbers[3]), added_ts: Timestamp(numbers[4]),
            rows: sizes.first().copied().unwrap_or(0), files: files.collect(), key_min: keys.0, key_max: keys.1,
        }];
        prop_assert_eq!(decode_manifest(&encode_manifest(&written).unwrap()).unwrap(), written);
    }
}

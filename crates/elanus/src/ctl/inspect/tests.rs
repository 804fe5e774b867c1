use super::*;
use bytes::Bytes;
use elanus_manifest::{
    Chain, FORMAT_VERSION, FileKind, Limits, SnapshotInfo, SnapshotState, Status, created_at, encode_manifest,
    encode_metadata,
};
use elanus_objects::checksum_of;
use elanus_types::schema::{
    CollectionDefinition, CollectionSchema, ConsistencyLevel, DataType, FieldSchema, PartitionInfo,
};
use elanus_types::{CollectionId, FieldId, FileSetId, PartitionId, SegmentId, Shard, SnapshotId, Timestamp};

const METADATA: &str = "c/snapshots/3/metadata/7-x.json";
const MANIFEST: &str = "c/snapshots/3/manifests/1.avro";

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

fn args(uri: String, verify: Level) -> InspectArgs {
    InspectArgs { uri, s3: S3Args::default(), verify }
}

#[test]
fn a_snapshot_in_a_bucket_is_named_by_the_end_of_its_url() {
    let (location, key) = locate_s3(&format!("s3://bucket/some/root/{METADATA}")).unwrap();
    assert_eq!((location.to_string().as_str(), key.as_str()), ("s3://bucket/some/root", METADATA));
    assert_eq!(locate_s3(&format!("s3://bucket/{METADATA}")).unwrap().0.to_string(), "s3://bucket");
    for wrong in ["s3://bucket", "s3://bucket/c/snapshots/3/manifests/1.avro", "s3://c/snapshots/3/metadata/7-x.json"] {
        assert!(locate_s3(wrong).is_err(), "{wrong}");
    }
}

fn entry(n: i64) -> (ManifestEntry, Bytes) {
    let bytes = Bytes::from(vec![b'a'; 10 + usize::try_from(n).unwrap()]);
    let file = FileEntry {
        key: key(&format!("c/insert_log/3/4/5/0/{n}.parquet")),
        size: bytes.len() as u64,
        checksum: checksum_of(&bytes),
        kind: FileKind::Insert,
    };
    let entry = ManifestEntry {
        status: Status::Added,
        segment_id: SegmentId(5),
        partition_id: PartitionId(4),
        shard: Shard(0),
        level: elanus_manifest::Level::L1,
        file_set_id: FileSetId(n),
        kind: FileKind::Insert,
        base_ts: Timestamp(1),
        added_ts: Timestamp(1),
        rows: 2,
        files: vec![file],
        key_min: None,
        key_max: None,
    };
    (entry, bytes)
}

fn metadata(chain: &Chain) -> SnapshotMetadata {
    let create_ts = Timestamp::from_ms(1_700_000_000_123);
    let field = FieldSchema {
        id: FieldId(100),
        name: "id".to_owned(),
        description: String::new(),
        data_type: DataType::Int64,
        is_primary_key: true,
        auto_id: false,
        is_dynamic: false,
        nullable: false,
        element_type: None,
        default_value: None,
        type_params: BTreeMap::new(),
    };
    let manifests = chain
        .written
        .iter()
        .map(|entries| ManifestRef::describe(key(MANIFEST), &encode_manifest(entries).unwrap(), entries));
    SnapshotMetadata {
        format_version: FORMAT_VERSION,
        snapshot: SnapshotInfo {
            id: SnapshotId(7),
            name: "before".to_owned(),
            description: String::new(),
            collection_id: CollectionId(3),
            collection_name: "docs".to_owned(),
            database_name: "default".to_owned(),
            aliases: vec![],
            database_properties: BTreeMap::new(),
            create_ts,
            created_at: created_at(create_ts),
            state: SnapshotState::Committed,
        },
        definition: CollectionDefinition {
            schema: CollectionSchema {
                description: String::new(),
                fields: vec![field],
                enable_dynamic_field: false,
                ..CollectionSchema::default()
            },
            shards_num: 1,
            consistency_level: ConsistencyLevel::Bounded,
            properties: BTreeMap::new(),
            partitions: vec![PartitionInfo { id: PartitionId(4), name: "_default".to_owned() }],
            indexes: vec![],
            aging: elanus_types::Aging::default(),
        },
        manifests: manifests.collect(),
        totals: chain.totals,
    }
}

/// A data directory with one snapshot of two files.
struct Folder(tempfile::TempDir);

impl Folder {
    async fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let store = LocalStore::open(folder.0.path()).unwrap();
        let (entries, bytes): (Vec<_>, Vec<_>) = [entry(1), entry(2)].into_iter().unzip();
        for (entry, bytes) in entries.iter().zip(bytes) {
            store.put(&entry.files[0].key, bytes).await.unwrap();
        }
        let chain = Chain::anew(&entries, Limits::default());
        store.put(&key(MANIFEST), encode_manifest(&chain.written[0]).unwrap().into()).await.unwrap();
        store.put(&key(METADATA), encode_metadata(&metadata(&chain)).unwrap().into()).await.unwrap();
        folder
    }

    fn path(&self, key: &str) -> PathBuf {
        self.0.path().join(key)
    }

    async fn inspect(&self, verify: Level) -> Result<Rendered, Stop> {
        execute(&args(self.path(METADATA).display().to_string(), verify)).await
    }

    /// What is found at a level: problem and key.
    async fn problems(&self, verify: Level) -> Vec<(String, String)> {
        let rendered = match self.inspect(verify).await {
            Ok(rendered) => rendered,
            Err(Stop::Differs(rendered)) => rendered,
            Err(other) => panic!("{other:?}"),
        };
        let problems = rendered.json["problems"].as_array().unwrap();
        assert_eq!(rendered.json["ok"], problems.is_empty());
        assert_eq!(rendered.text.contains("PROBLEMS"), !problems.is_empty());
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        problems.iter().map(|one| (text(&one["problem"]), text(&one["key"]))).collect()
    }
}

fn error(result: Result<Rendered, Stop>) -> ClientError {
    match result {
        Err(Stop::Client(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_whole_snapshot_is_told_without_a_server() {
    let folder = Folder::new().await;
    let rendered = folder.inspect(Level::Checksum).await.unwrap();
    for line in [
        "collection    default.docs (id 3)",
        "created       2023-11-14T22:13:20.123Z (timestamp 445644800032243712)",
        "rows          4",
        "checked       metadata, manifests, checksum of every file: all well",
        "100  id    int64  primary key",
        "c/insert_log/3/4/5/0/2.parquet  insert        5          4     2     12  ",
    ] {
        assert!(rendered.text.contains(line), "{line:?} is not in\n{}", rendered.text);
    }
    assert_eq!(rendered.json["metadata"]["snapshot"]["name"], "before");
    assert_eq!(rendered.json["entries"][1]["files"][0]["size"], 12);
    let uri = Url::from_file_path(folder.path(METADATA)).unwrap().to_string();
    assert_eq!(execute(&args(uri, Level::Checksum)).await.unwrap(), rendered);
}

#[tokio::test]
async fn each_level_finds_what_it_promises() {
    let folder = Folder::new().await;
    let (first, second) = ("c/insert_log/3/4/5/0/1.parquet", "c/insert_log/3/4/5/0/2.parquet");
    let problem = |what: &str, key: &str| (what.to_owned(), key.to_owned());
    std::fs::write(folder.path(second), "b".repeat(12)).unwrap();
    assert_eq!(folder.problems(Level::Presence).await, []);
    assert_eq!(folder.problems(Level::Checksum).await, [problem("damaged", second)]);
    std::fs::remove_file(folder.path(first)).unwrap();
    std::fs::write(folder.path(second), "b").unwrap();
    assert_eq!(folder.problems(Level::Metadata).await, []);
    let both = [problem("missing", first), problem("damaged", second)];
    assert_eq!(folder.problems(Level::Presence).await, both);
    assert_eq!(folder.problems(Level::Checksum).await, both);
}

#[tokio::test]
async fn a_damaged_or_missing_manifest_is_named() {
    let folder = Folder::new().await;
    std::fs::write(folder.path(MANIFEST), "not a manifest").unwrap();
    assert_eq!(folder.problems(Level::Presence).await, [("damaged".to_owned(), MANIFEST.to_owned())]);
    std::fs::remove_file(folder.path(MANIFEST)).unwrap();
    assert_eq!(folder.problems(Level::Checksum).await, [("missing".to_owned(), MANIFEST.to_owned())]);
}

#[tokio::test]
async fn what_is_no_snapshot_is_refused_with_a_reason() {
    let folder = Folder::new().await;
    let inspect = async |uri: &str| {
        let uri = uri.to_owned();
        error(execute(&args(uri, Level::Metadata)).await)
    };
    let text = std::fs::read_to_string(folder.path(METADATA)).unwrap();
    std::fs::write(folder.path(METADATA), text.replace("\"format_version\": 1", "\"format_version\": 99")).unwrap();
    let newer = inspect(&folder.path(METADATA).display().to_string()).await;
    assert_eq!(newer.kind, ErrorKind::Other);
    assert!(newer.message.contains("format version 99"), "{newer}");
    std::fs::write(folder.path(METADATA), "{}").unwrap();
    let damaged = inspect(&folder.path(METADATA).display().to_string()).await;
    assert!(damaged.message.contains("is not the metadata of a snapshot that can be read"), "{damaged}");

    let elsewhere = inspect(&folder.path(MANIFEST).display().to_string()).await;
    assert_eq!(elsewhere.kind, ErrorKind::Invalid);
    assert!(elsewhere.message.contains("metadata/NAME.json"), "{elsewhere}");
    assert_eq!(inspect("/no/such/file.json").await.kind, ErrorKind::NotFound);
    let other = inspect("gs://bucket/c/snapshots/3/metadata/7.json").await;
    assert!(other.message.contains("gs:// object stores are not supported"), "{other}");
}

//! A fresh store with what the promises need to say about it.

use crate::server::{Database, Server};
use elanus_meta::model::{
    CollectionKey, CollectionRecord, FileKind, FilePlace, NewCollection, PlannedFile, WrittenFile,
};
use elanus_meta::{Coordinator, Meta, MetaError};
use elanus_types::schema::{
    CollectionDefinition, CollectionSchema, ConsistencyLevel, DataType, FieldSchema, PartitionInfo,
};
use elanus_types::{Checksum, CollectionId, FieldId, FileSetId, ManualClock, NodeId, PartitionId, Shard, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const CLUSTER: &str = "0190-cluster";
/// When every test begins.
pub(crate) const START_MS: i64 = 1_750_000_000_000;
/// After everything that a test does.
pub(crate) const LATER_MS: i64 = START_MS + 3_600_000;

pub(crate) struct Store {
    pub(crate) meta: Meta,
    pub(crate) coordinator: Coordinator,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) url: String,
    pub(crate) dir: tempfile::TempDir,
    /// Where the store is on a server.
    pub(crate) database: Option<Database>,
}

/// A store that is a copy of another.
pub(crate) struct Copied {
    pub(crate) url: String,
    _dir: tempfile::TempDir,
    _database: Option<Database>,
}

impl Store {
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("meta.db").display());
        Self::open(url, dir, None).await
    }

    pub(crate) async fn postgres() -> Self {
        let database = tokio::task::spawn_blocking(|| Server::shared().database()).await.unwrap();
        Self::open(database.url(), tempfile::tempdir().unwrap(), Some(database)).await
    }

    async fn open(url: String, dir: tempfile::TempDir, database: Option<Database>) -> Self {
        let clock = Arc::new(ManualClock::at_ms(START_MS));
        let meta = Meta::open(&url, CLUSTER, clock.clone()).await.unwrap();
        let coordinator = meta.take_over(&node("coordinator")).await.unwrap();
        Self { meta, coordinator, clock, url, dir, database }
    }

    /// The same store, opened again as after a restart.
    pub(crate) async fn reopened(self) -> Self {
        self.meta.close().await;
        let meta = Meta::open(&self.url, CLUSTER, self.clock.clone()).await.unwrap();
        let coordinator = meta.take_over(&node("coordinator")).await.unwrap();
        Self { meta, coordinator, ..self }
    }

    /// A copy of everything in a store that nobody has open.
    pub(crate) fn copied(&self) -> Copied {
        let dir = tempfile::tempdir().unwrap();
        if let Some(database) = &self.database {
            let copy = database.copied();
            return Copied { url: copy.url(), _dir: dir, _database: Some(copy) };
        }
        let path = dir.path().join("meta.db");
        std::fs::copy(self.dir.path().join("meta.db"), &path).unwrap();
        Copied { url: format!("sqlite://{}", path.display()), _dir: dir, _database: None }
    }

    pub(crate) async fn collection(&self, name: &str) -> CollectionRecord {
        self.coordinator.create_collection(new_collection(name)).await.unwrap()
    }

    pub(crate) async fn record(&self, id: CollectionId) -> Option<CollectionRecord> {
        self.meta.collection(&CollectionKey::Id(id)).await.unwrap()
    }

    /// Registers one file a place for the writer `w1`.
    pub(crate) async fn begin(&self, collection: CollectionId, places: &[FilePlace]) -> Vec<WrittenFile> {
        let planned = self.meta.begin_write(collection, &node("w1"), LATER_MS, places).await.unwrap();
        written(places, planned, 10)
    }

    pub(crate) async fn commit(&self, collection: CollectionId, files: &[WrittenFile]) -> Result<Timestamp, MetaError> {
        self.meta.commit_write(collection, &node("w1"), 1, files).await
    }

    /// Writes one file of rows; its file set and time.
    pub(crate) async fn insert(&self, collection: CollectionId, partition: PartitionId) -> (FileSetId, Timestamp) {
        let files = self.begin(collection, &[rows_of(partition)]).await;
        let ts = self.commit(collection, &files).await.unwrap();
        (files[0].planned.file_set, ts)
    }

    /// The file sets that are members at a time.
    pub(crate) async fn members(&self, collection: CollectionId, at: Option<Timestamp>) -> BTreeSet<FileSetId> {
        let view = self.meta.view(collection, at).await.unwrap();
        view.files.iter().map(|file| file.file_set).collect()
    }

    /// True while the file can still be committed or given up by `w1`.
    pub(crate) async fn is_intent(&self, file: &WrittenFile) -> bool {
        self.meta.renew(&node("w1"), &[file.planned.file_set], LATER_MS).await.is_ok()
    }
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId(name.to_owned())
}

pub(crate) fn rows_of(partition: PartitionId) -> FilePlace {
    FilePlace { partition, shard: Shard(0), kind: FileKind::Insert }
}

pub(crate) fn deletes_of(partition: PartitionId) -> FilePlace {
    FilePlace { partition, shard: Shard(0), kind: FileKind::Delete }
}

/// Files as they are after their bytes were sent.
pub(crate) fn written(places: &[FilePlace], planned: Vec<PlannedFile>, rows: u64) -> Vec<WrittenFile> {
    planned
        .into_iter()
        .zip(places)
        .map(|(planned, place)| WrittenFile {
            checksum: Checksum(planned.file_set.0.cast_unsigned()),
            planned,
            place: *place,
            rows,
            size: rows * 100,
        })
        .collect()
}

pub(crate) fn definition() -> CollectionDefinition {
    let field = |id, name: &str, data_type, is_primary_key, params: &[(&str, &str)]| FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary_key,
        auto_id: false,
        is_dynamic: false,
        nullable: false,
        element_type: None,
        default_value: None,
        type_params: params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    CollectionDefinition {
        schema: CollectionSchema {
            description: "Bücher, \"quoted\"".to_owned(),
            fields: vec![
                field(100, "id", DataType::Int64, true, &[]),
                field(101, "vector", DataType::FloatVector, false, &[("dim", "8")]),
            ],
            enable_dynamic_field: false,
            ..CollectionSchema::default()
        },
        shards_num: 2,
        consistency_level: ConsistencyLevel::Bounded,
        properties: BTreeMap::from([("mmap.enabled".to_owned(), "true".to_owned())]),
        partitions: Vec::new(),
        indexes: Vec::new(),
        aging: elanus_types::Aging::default(),
    }
}

pub(crate) fn new_collection(name: &str) -> NewCollection {
    NewCollection { database: "default".to_owned(), name: name.to_owned(), definition: definition() }
}

/// The definition of a new collection, with the one partition that it has.
pub(crate) fn definition_with(partitions: &[(PartitionId, &str)]) -> CollectionDefinition {
    let partitions = partitions.iter().map(|(id, name)| PartitionInfo { id: *id, name: (*name).to_owned() }).collect();
    CollectionDefinition { partitions, ..definition() }
}

/// Code and text of a refusal.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, MetaError>) -> (i32, String) {
    match result {
        Err(MetaError::Refused(failure)) => (failure.code.number(), failure.message),
        other => panic!("expected a refusal: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_fenced<T: std::fmt::Debug>(result: Result<T, MetaError>) {
    assert!(matches!(result, Err(MetaError::Fenced { .. })), "expected to be fenced: {result:?}");
}

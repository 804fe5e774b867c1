//! A collection in a real metadata store and an object store in memory, written to as data nodes do.

use crate::{QueryConfig, QueryNode};
use arrow::array::{ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType as ArrowType, Field, Int64Type};
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_meta::model::{CollectionRecord, FileKind, FilePlace, NewCollection, WrittenFile};
use elanus_meta::{Coordinator, Meta};
use elanus_objects::{Error, Expected, MemoryStore, ObjectInfo, ObjectStore, Result, StaleUpload};
use elanus_proto::convert::failure_from_grpc;
use elanus_proto::querynode::query_node_server::QueryNode as _;
use elanus_proto::querynode::{QueryRequest, QueryResponse, ReadScope, SearchRequest, SearchResponse};
use elanus_segment::{Deletes, EncodedFile, PkColumn, PkValue, arrow_schema, encode_deletes, encode_rows, shard_of};
use elanus_types::schema::{CollectionDefinition, CollectionSchema, ConsistencyLevel, DataType, FieldSchema};
use elanus_types::{Checksum, Failure, FieldId, ManualClock, NodeId, ObjectKey, PartitionId, Timestamp};
use futures::stream::BoxStream;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use tonic::Request;

pub(super) const DIM: usize = 3;
const SHARDS: i32 = 2;

/// A row: `id` (the key), `age`, `name` (nullable), `v` (nullable).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) age: i64,
    pub(super) name: Option<String>,
    pub(super) v: Option<[f32; DIM]>,
}

pub(super) fn row(id: i64, v: [f32; DIM]) -> Row {
    Row { id, age: id % 7, name: (id % 3 != 0).then(|| format!("name {id}")), v: Some(v) }
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Insert(PartitionId, Row),
    Delete(i64),
    Upsert(PartitionId, Row),
}

/// An object store that counts, waits, fails or lies.
#[derive(Debug)]
pub(super) struct TestStore {
    inner: MemoryStore,
    pub(super) gets: AtomicUsize,
    pub(super) away: AtomicBool,
    pub(super) damaged: Mutex<HashSet<ObjectKey>>,
    /// A get waits for a permit and gives it back.
    pub(super) gate: Semaphore,
}

pub(super) struct World {
    _folder: tempfile::TempDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) meta: Meta,
    pub(super) coordinator: Coordinator,
    pub(super) store: Arc<TestStore>,
    pub(super) node: QueryNode,
    pub(super) collection: CollectionRecord,
    writer: NodeId,
}

fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary_key: name == "id",
        auto_id: false,
        is_dynamic: false,
        nullable: matches!(name, "name" | "v"),
        element_type: None,
        default_value: None,
        type_params: match data_type {
            DataType::FloatVector => [("dim".to_owned(), DIM.to_string())].into(),
            _ => BTreeMap::new(),
        },
    }
}

fn schema() -> CollectionSchema {
    let fields = vec![
        field(100, "id", DataType::Int64),
        field(101, "age", DataType::Int64),
        field(102, "name", DataType::VarChar),
        field(103, "v", DataType::FloatVector),
    ];
    CollectionSchema { description: String::new(), fields, enable_dynamic_field: false, ..CollectionSchema::default() }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(QueryConfig { cpu_concurrency: 2, ..QueryConfig::default() }).await
    }

    pub(super) async fn with(config: QueryConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at_ms(1_000_000));
        let url = format!("sqlite://{}", folder.path().join("meta.db").display());
        let meta = Meta::open(&url, "cluster", clock.clone()).await.unwrap();
        let writer = NodeId("writer".to_owned());
        let coordinator = meta.take_over(&writer).await.unwrap();
        let definition = CollectionDefinition {
            schema: schema(),
            shards_num: SHARDS,
            consistency_level: ConsistencyLevel::Strong,
            properties: BTreeMap::new(),
            partitions: Vec::new(),
            indexes: Vec::new(),
            aging: elanus_types::Aging::default(),
        };
        let new = NewCollection { database: "default".to_owned(), name: "c".to_owned(), definition };
        let collection = coordinator.create_collection(new).await.unwrap();
        let store = Arc::new(TestStore {
            inner: MemoryStore::new(clock.clone()),
            gets: AtomicUsize::new(0),
            away: AtomicBool::new(false),
            damaged: Mutex::default(),
            gate: Semaphore::new(1_000),
        });
        let node = QueryNode::new(meta.clone(), store.clone(), config);
        Self { _folder: folder, clock, meta, coordinator, store, node, collection, writer }
    }

    pub(super) fn default_partition(&self) -> PartitionId {
        self.collection.partitions[0].id
    }

    /// One commit group; the timestamp of its first request.
    pub(super) async fn write(&self, requests: &[Vec<Act>]) -> Timestamp {
        let mut rows: BTreeMap<FilePlace, Vec<(Row, i64)>> = BTreeMap::new();
        let mut deletes: BTreeMap<FilePlace, Vec<(i64, i64)>> = BTreeMap::new();
        let place = |partition, id, kind| FilePlace { partition, shard: shard_of(&PkValue::Int(id), SHARDS), kind };
        for (offset, acts) in (0_i64..).zip(requests) {
            for act in acts {
                if let Act::Delete(id) | Act::Upsert(_, Row { id, .. }) = act {
                    let place = place(PartitionId::ALL, *id, FileKind::Delete);
                    deletes.entry(place).or_default().push((*id, offset));
                }
                if let Act::Insert(partition, row) | Act::Upsert(partition, row) = act {
                    let place = place(*partition, row.id, FileKind::Insert);
                    rows.entry(place).or_default().push((row.clone(), offset));
                }
            }
        }
        let mut files: Vec<(FilePlace, EncodedFile)> = Vec::new();
        files.extend(rows.iter().map(|(place, rows)| (*place, encode_rows(&schema(), &batch(rows)).unwrap())));
        files.extend(deletes.into_iter().map(|(place, entries)| {
            let (keys, ts_offsets) = entries.into_iter().unzip();
            (place, encode_deletes(&Deletes { keys: PkColumn::Int(keys), ts_offsets }).unwrap())
        }));
        let places: Vec<FilePlace> = files.iter().map(|(place, _)| *place).collect();
        let id = self.collection.id;
        let planned = self.meta.begin_write(id, &self.writer, i64::MAX / 2, &places).await.unwrap();
        let mut written = Vec::new();
        for ((place, file), planned) in files.into_iter().zip(planned) {
            self.store.put(&planned.key, file.bytes.clone()).await.unwrap();
            let (size, checksum) = (file.bytes.len() as u64, file.checksum);
            written.push(WrittenFile { planned, place, rows: file.rows, size, checksum });
        }
        let requests = u32::try_from(requests.len()).unwrap();
        self.meta.commit_write(id, &self.writer, requests, &written).await.unwrap()
    }

    /// One request in a group of its own.
    pub(super) async fn commit(&self, acts: impl IntoIterator<Item = Act>) -> Timestamp {
        self.write(&[acts.into_iter().collect()]).await
    }

    pub(super) async fn insert(&self, rows: impl IntoIterator<Item = Row>) -> Timestamp {
        let partition = self.default_partition();
        self.commit(rows.into_iter().map(|row| Act::Insert(partition, row))).await
    }

    pub(super) async fn last_ts(&self) -> Timestamp {
        self.meta.last_ts(self.collection.id).await.unwrap().unwrap()
    }

    pub(super) fn scope(&self, filter: &str, fields: &[&str]) -> ReadScope {
        ReadScope {
            collection_id: self.collection.id.0,
            filter: filter.to_owned(),
            output_fields: fields.iter().map(|name| (*name).to_owned()).collect(),
            ..ReadScope::default()
        }
    }

    pub(super) async fn query(&self, request: QueryRequest) -> Result<QueryResponse, Failure> {
        let answer = self.node.query(Request::new(request)).await;
        answer.map(tonic::Response::into_inner).map_err(failure_from_grpc)
    }

    pub(super) async fn search(&self, request: SearchRequest) -> Result<SearchResponse, Failure> {
        let answer = self.node.search(Request::new(request)).await;
        answer.map(tonic::Response::into_inner).map_err(failure_from_grpc)
    }

    /// The ids that a query finds, in their order.
    pub(super) async fn ids(&self, scope: ReadScope, limit: i64, offset: i64) -> Vec<i64> {
        let scope = ReadScope { output_fields: vec!["id".to_owned()], ..scope };
        let answer = self.query(QueryRequest { scope: Some(scope), limit, offset, count_only: false }).await.unwrap();
        ids_of(&answer.arrow_ipc)
    }

    pub(super) async fn count(&self, scope: ReadScope) -> i64 {
        let request = QueryRequest { scope: Some(scope), limit: -1, offset: 0, count_only: true };
        self.query(request).await.unwrap().count
    }

    pub(super) fn gets(&self) -> usize {
        self.store.gets.load(Ordering::SeqCst)
    }
}

/// The first column of an answer.
pub(super) fn ids_of(ipc: &Bytes) -> Vec<i64> {
    let batch = elanus_segment::from_ipc(ipc.clone()).unwrap();
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn batch(rows: &[(Row, i64)]) -> RecordBatch {
    let numbers = |number: &dyn Fn(&(Row, i64)) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(number(row))).collect::<Int64Array>())
    };
    let names: StringArray = rows.iter().map(|(row, _)| row.name.as_deref()).collect();
    let values: Float32Array = rows.iter().flat_map(|(row, _)| row.v.unwrap_or_default().map(Some)).collect();
    let item = Arc::new(Field::new_list_field(ArrowType::Float32, false));
    let present: NullBuffer = rows.iter().map(|(row, _)| row.v.is_some()).collect();
    let dim = i32::try_from(DIM).unwrap();
    let vectors = FixedSizeListArray::new(item, dim, Arc::new(values), Some(present));
    let columns: Vec<ArrayRef> = vec![
        numbers(&|(row, _)| row.id),
        numbers(&|(row, _)| row.age),
        Arc::new(names),
        Arc::new(vectors),
        numbers(&|(_, offset)| *offset),
    ];
    RecordBatch::try_new(arrow_schema(&schema()), columns).unwrap()
}

#[tonic::async_trait]
impl ObjectStore for TestStore {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        self.inner.put(key, bytes).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let _open = self.gate.acquire().await.unwrap();
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::Transient { attempt: format!("get {key}"), source: "the store is away".into() });
        }
        let bytes = self.inner.get(key).await?;
        if !self.damaged.lock().unwrap().contains(key) {
            return Ok(bytes);
        }
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Ok(bytes.into())
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo> {
        self.inner.head(key).await
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        self.inner.copy(from, to, expected).await
    }

    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum> {
        self.inner.checksum(key).await
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
        self.inner.list(folder)
    }

    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>> {
        self.inner.list_page(folder, after, limit).await
    }

    async fn delete(&self, permits: Vec<DeletePermit>) -> Result<()> {
        self.inner.delete(permits).await
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
        self.inner.stale_uploads(folder, before_ms).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<()> {
        self.inner.abort_upload(upload).await
    }
}

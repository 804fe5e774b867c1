//! Coordinator and worker in this process, on SQLite, with an object store whose requests are counted.

use crate::statements;
use anyhow::{Context as _, Result, bail};
use elanus_datacoord::{CompactionConfig, DataCoord, DataCoordConfig, OwnWorker};
use elanus_datanode::{DataNode, DataNodeConfig};
use elanus_events::LocalBus;
use elanus_meta::{Coordinator, Meta};
use elanus_objects::{CountedStore, LocalStore, MemoryStore, ObjectStore, Requests};
use elanus_proto::convert::schema_to_proto;
use elanus_proto::datacoord::data_coord_client::DataCoordClient;
use elanus_proto::datacoord::{self as pb, CollectionRef};
use elanus_proto::transport::{Channel, datacoord_client, datacoord_server, datanode_client, datanode_server};
use elanus_runtime::{Background, LateChannel};
use elanus_testkit::Generated;
use elanus_types::schema::{CollectionSchema, DataType, FieldSchema};
use elanus_types::{Checksum, FieldId, NodeId, RestoreMode, SystemClock};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const CLUSTER: &str = "5e1f0e6c-bench";
pub(crate) const SOURCE: &str = "source";
const DONE_WITHIN: Duration = Duration::from_secs(1_800);

/// Where objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objects {
    Memory,
    Directory,
}

/// What something cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) time: Duration,
    pub(crate) object_requests: u64,
    pub(crate) sql_statements: u64,
}

impl Cost {
    /// What it costs where nothing else happens at the same time.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            time: self.time.min(other.time),
            object_requests: self.object_requests.min(other.object_requests),
            sql_statements: self.sql_statements.min(other.sql_statements),
        }
    }
}

/// The running parts and their stores, which go with them.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) objects: Arc<dyn ObjectStore>,
    requests: Arc<Requests>,
    pub(crate) meta: Meta,
    /// The same epoch as that of the running coordinator.
    pub(crate) coordinator: Coordinator,
    pub(crate) coord: DataCoordClient<Channel>,
    pub(crate) background: Background,
    datanode: DataNode,
    late: LateChannel,
}

impl World {
    pub(crate) async fn start(objects: Objects) -> Result<Self> {
        Self::start_with(objects, DataCoordConfig::default()).await
    }

    pub(crate) async fn start_with(objects: Objects, config: DataCoordConfig) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary directory")?;
        std::fs::create_dir(folder.path().join("objects"))?;
        let store: Arc<dyn ObjectStore> = match objects {
            Objects::Memory => Arc::new(MemoryStore::new(Arc::new(SystemClock))),
            Objects::Directory => Arc::new(LocalStore::open(&folder.path().join("objects"))?),
        };
        let requests = Arc::new(Requests::default());
        let objects: Arc<dyn ObjectStore> = Arc::new(CountedStore::new(store, requests.clone()));
        let clock = Arc::new(SystemClock);
        let url = format!("sqlite://{}", folder.path().join("meta.db").display());
        let meta = Meta::open(&url, CLUSTER, clock.clone()).await?;
        let node = NodeId("bench".to_owned());
        let coordinator = meta.take_over(&node).await?;

        let background = Background::new(clock);
        let late = LateChannel::new();
        let to_coord = datacoord_client(late.channel());
        let datanode = DataNode::new(meta.clone(), objects.clone(), to_coord, node.clone(), DataNodeConfig::default());
        datanode.register(&background, "");
        let worker = datanode_client(Channel::in_process(datanode_server(datanode.clone())));
        let bus = Arc::new(LocalBus::new());
        // What is measured is not disturbed.
        let compaction = CompactionConfig { automatic: false, ..CompactionConfig::default() };
        let config = DataCoordConfig { compaction, ..config };
        let workers = Arc::new(OwnWorker::new(node.clone(), worker));
        let coord = DataCoord::start(coordinator.clone(), objects.clone(), bus, workers, node, config, &background);
        let channel = Channel::in_process(datacoord_server(coord));
        late.set(channel.clone());
        let coord = datacoord_client(channel);
        Ok(Self { folder, objects, requests, meta, coordinator, coord, background, datanode, late })
    }

    pub(crate) async fn end(self) {
        self.late.clear();
        self.background.shutdown().await;
        self.datanode.shutdown().await;
        self.meta.close().await;
    }

    /// What `work` takes, and what it asks of the stores until it returns.
    pub(crate) async fn cost<T>(&self, work: impl Future<Output = Result<T>>) -> Result<(Cost, T)> {
        self.requests.take();
        let statements = statements::sent();
        let started = Instant::now();
        let done = work.await?;
        let time = started.elapsed();
        let cost =
            Cost { time, object_requests: self.requests.total(), sql_statements: statements::sent() - statements };
        Ok((cost, done))
    }

    /// An SQLite database of the benchmark's own, on the same disk.
    pub(crate) async fn scratch(&self) -> Result<SqliteConnection> {
        let url = format!("sqlite://{}?mode=rwc", self.folder.path().join("scratch.db").display());
        let mut connection = SqliteConnection::connect(&url).await?;
        sqlx::query("PRAGMA journal_mode = WAL").execute(&mut connection).await?;
        sqlx::query("PRAGMA synchronous = FULL").execute(&mut connection).await?;
        Ok(connection)
    }

    /// A path in the object store's directory.
    pub(crate) fn object_path(&self, key: &str) -> PathBuf {
        self.folder.path().join("objects").join(key)
    }

    /// The collection [`SOURCE`] with so many files; what they are.
    pub(crate) async fn fill(&mut self, files: i64, size: usize, checksum: Checksum) -> Result<Filled> {
        let request = pb::CreateCollectionRequest {
            collection_name: SOURCE.to_owned(),
            schema: Some(schema_to_proto(SOURCE, &schema())),
            shards_num: 1,
            ..pb::CreateCollectionRequest::default()
        };
        self.coord.create_collection(request).await?;
        let collection = self.coord.describe_collection(source()).await?.into_inner().id;
        let checksum = checksum.to_string();
        let generated = Generated { cluster: CLUSTER, collection, files, size: size as u64, checksum: &checksum };
        self.beside(generated.statements()).await?;
        Ok(Filled { collection, keys: (1..=files).map(|n| generated.key(n)).collect() })
    }

    pub(crate) async fn snapshot(&self, name: &str) -> Result<pb::Snapshot> {
        let request = pb::CreateSnapshotRequest {
            collection: Some(source()),
            name: name.to_owned(),
            ..pb::CreateSnapshotRequest::default()
        };
        Ok(self.coord.clone().create_snapshot(request).await?.into_inner())
    }

    /// A snapshot, and until its files are listed in the bucket, so that nothing of it is measured as something else's.
    pub(crate) async fn listed_snapshot(&self, name: &str) -> Result<()> {
        self.snapshot(name).await?;
        self.until_none("SELECT 1 FROM snapshots WHERE accepted = 1 LIMIT 1").await
    }

    /// Restores a snapshot of [`SOURCE`] and waits until the target is there.
    pub(crate) async fn restore(&self, snapshot: &str, target: &str, mode: RestoreMode) -> Result<()> {
        let request = pb::RestoreSnapshotRequest {
            source: Some(pb::SnapshotRef { collection: Some(source()), snapshot_name: snapshot.to_owned() }),
            target_collection_name: target.to_owned(),
            mode: mode.label().to_owned(),
            ..pb::RestoreSnapshotRequest::default()
        };
        let job_id = self.coord.clone().restore_snapshot(request).await?.into_inner().job_id;
        // Asked beside the services, so that their statements are theirs alone.
        let mut connection = SqliteConnection::connect(&self.meta_url()).await?;
        let started = Instant::now();
        loop {
            let row = sqlx::query("SELECT state FROM restore_jobs WHERE job_id = $1").bind(job_id);
            let state: String = row.fetch_one(&mut connection).await?.get("state");
            match state.as_str() {
                "completed" => return Ok(connection.close().await?),
                "failing" | "failed" => bail!("the restore of {snapshot} into {target} fails"),
                _ if started.elapsed() > DONE_WITHIN => bail!("the restore of {snapshot} into {target} does not end"),
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Executes statements beside the services, so that they are not counted.
    pub(crate) async fn beside(&self, statements: impl IntoIterator<Item = String>) -> Result<()> {
        let mut connection = SqliteConnection::connect(&self.meta_url()).await?;
        for statement in statements {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }

    /// Waits until a statement finds no row, for as long as it takes. Asked beside the services, so that their statements
    /// are theirs alone.
    pub(crate) async fn until_none(&self, sql: &'static str) -> Result<()> {
        let mut connection = SqliteConnection::connect(&self.meta_url()).await?;
        let started = Instant::now();
        while sqlx::query(sql).fetch_optional(&mut connection).await?.is_some() {
            if started.elapsed() > DONE_WITHIN {
                bail!("there is still a row after {DONE_WITHIN:?}: {sql}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(connection.close().await?)
    }

    pub(crate) fn meta_url(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("meta.db").display())
    }
}

/// Files of a collection.
pub(crate) struct Filled {
    pub(crate) collection: i64,
    pub(crate) keys: Vec<String>,
}

pub(crate) fn source() -> CollectionRef {
    CollectionRef { collection_name: SOURCE.to_owned(), ..CollectionRef::default() }
}

fn schema() -> CollectionSchema {
    let key = FieldSchema {
        id: FieldId::FIRST_USER,
        name: "pk".to_owned(),
        description: String::new(),
        data_type: DataType::Int64,
        is_primary_key: true,
        auto_id: false,
        is_dynamic: false,
        nullable: false,
        element_type: None,
        default_value: None,
        type_params: Default::default(),
    };
    CollectionSchema {
        description: String::new(),
        fields: vec![key],
        enable_dynamic_field: false,
        partition_key: None,
        clustering_key: None,
    }
}

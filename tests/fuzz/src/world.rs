//! All services in this process, as the program wires them, with a collection that has a field of every kind.
//!
//! Nothing runs in the background, so whatever changes is the doing of the request that was just answered.

use crate::requests;
use bytes::Bytes;
use elanus_datacoord::{DataCoord, DataCoordConfig, OwnWorker};
use elanus_datanode::{DataNode, DataNodeConfig};
use elanus_events::LocalBus;
use elanus_meta::{Meta, MetaError};
use elanus_objects::{MemoryStore, ObjectStore};
use elanus_proto::{
    common::Status as Answer,
    milvus as m,
    milvus::milvus_service_client::MilvusServiceClient,
    transport::{
        Channel, admin_server, datacoord_client, datacoord_server, datanode_client, datanode_server, milvus_client,
        milvus_server, querynode_client, querynode_server,
    },
};
use elanus_proxy::{Proxy, ProxyConfig};
use elanus_querynode::{QueryConfig, QueryNode};
use elanus_runtime::{Background, LateChannel};
use elanus_types::{NodeId, SystemClock};
use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};
use std::{collections::BTreeMap, sync::Arc};
use tonic::service::Routes;

const CLUSTER: &str = "5e1f0e6c-0000-4000-8000-0000000000f2";
/// What a refused request may change: numbers that nobody gets, and what a file that was not written would have been called.
const NO_FACTS: [&str; 4] = ["id_counter", "file_sets", "objects", "outbox"];

/// The services and what they keep.
#[derive(Debug)]
pub struct World {
    _folder: tempfile::TempDir,
    /// Every service, the internal ones too.
    pub services: Channel,
    objects: Arc<dyn ObjectStore>,
    beside: SqliteConnection,
    tables: Vec<(String, String)>,
}

/// What there is: a text for each table, and the objects.
pub type State = BTreeMap<String, String>;

impl World {
    /// Starts the services and fills them.
    ///
    /// # Errors
    /// When one does not start, or refuses what is right.
    pub async fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = memory_folder()?;
        let clock = Arc::new(SystemClock);
        let url = format!("sqlite://{}", folder.path().join("meta.db").display());
        let objects: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new(clock.clone()));
        let services = serve(&url, Arc::clone(&objects)).await?;
        fill(&mut milvus_client(services.clone())).await?;
        let mut beside = SqliteConnection::connect(&url).await?;
        let tables = tables(&mut beside).await?;
        Ok(Self { _folder: folder, services, objects, beside, tables })
    }

    /// Every object, by its key.
    ///
    /// # Errors
    /// When one cannot be read.
    pub async fn files(&self) -> Result<Vec<(String, Bytes)>, elanus_objects::Error> {
        let listed: Vec<_> = self.objects.list(None).try_collect().await?;
        let mut files = Vec::new();
        for object in listed {
            files.push((object.key.to_string(), self.objects.get(&object.key).await?));
        }
        Ok(files)
    }

    /// Another number whenever a fact was written.
    ///
    /// # Errors
    /// When the metadata cannot be read.
    pub async fn version(&mut self) -> Result<i64, sqlx::Error> {
        sqlx::query("PRAGMA data_version").fetch_one(&mut self.beside).await?.try_get(0)
    }

    /// Everything that is known, without what is no fact.
    ///
    /// # Errors
    /// When the metadata or the objects cannot be read.
    pub async fn state(&mut self) -> Result<State, Box<dyn std::error::Error>> {
        let mut state = State::new();
        for (table, sql) in &self.tables {
            let row = sqlx::query(AssertSqlSafe(sql.clone())).fetch_one(&mut self.beside).await?;
            state.insert(table.clone(), row.try_get::<Option<String>, _>(0)?.unwrap_or_default());
        }
        let objects: Vec<_> = self.objects.list(None).try_collect().await?;
        let keys: Vec<String> = objects.iter().map(|object| object.key.to_string()).collect();
        state.insert("objects of the store".to_owned(), keys.join("\n"));
        Ok(state)
    }
}

/// In memory where the machine has that: durability on a disk is not what is tried.
fn memory_folder() -> std::io::Result<tempfile::TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

/// For each table what puts all its rows into one text.
async fn tables(connection: &mut SqliteConnection) -> Result<Vec<(String, String)>, sqlx::Error> {
    let listed = r#"SELECT m.name, group_concat('quote("' || c.name || '")', ' || '','' || ') FROM sqlite_master m
                    JOIN pragma_table_info(m.name) c WHERE m.type = 'table' GROUP BY m.name ORDER BY m.name"#;
    let mut tables = Vec::new();
    for row in sqlx::query(listed).fetch_all(connection).await? {
        let (table, columns): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if !NO_FACTS.contains(&table.as_str()) && !table.starts_with("sqlite_") {
            let sql =
                format!("SELECT group_concat(line, char(10)) FROM (SELECT {columns} AS line FROM {table} ORDER BY 1)");
            tables.push((table, sql));
        }
    }
    Ok(tables)
}

async fn serve(url: &str, objects: Arc<dyn ObjectStore>) -> Result<Channel, MetaError> {
    let clock = Arc::new(SystemClock);
    let meta = Meta::open(url, CLUSTER, clock.clone()).await?;
    let node = NodeId("fuzz".to_owned());
    let coordinator = meta.take_over(&node).await?;
    let background = Background::new(clock.clone());
    let late = LateChannel::new();
    let to_datacoord = datacoord_client(late.channel());
    let datanode =
        DataNode::new(meta.clone(), Arc::clone(&objects), to_datacoord, node.clone(), DataNodeConfig::default());
    let to_datanode = datanode_client(Channel::in_process(datanode_server(datanode.clone())));
    let workers = Arc::new(OwnWorker::new(node.clone(), to_datanode.clone()));
    let bus = Arc::new(LocalBus::new());
    let config = DataCoordConfig::default();
    let datacoord = DataCoord::start(coordinator, Arc::clone(&objects), bus, workers, node, config, &background);
    background.shutdown().await;
    late.set(Channel::in_process(datacoord_server(datacoord.clone())));
    let querynode = QueryNode::new(meta, objects, QueryConfig::default());
    let to_querynode = querynode_client(Channel::in_process(querynode_server(querynode.clone())));
    let to_datacoord = datacoord_client(late.channel());
    let proxy = Proxy::new(to_datacoord, to_datanode, to_querynode, clock, ProxyConfig::default());
    let routes = Routes::new(milvus_server(proxy.clone()))
        .add_service(admin_server(proxy))
        .add_service(datacoord_server(datacoord))
        .add_service(datanode_server(datanode))
        .add_service(querynode_server(querynode));
    Ok(Channel::in_process(routes.prepare()))
}

async fn fill(milvus: &mut MilvusServiceClient<Channel>) -> Result<(), Box<dyn std::error::Error>> {
    let name = || requests::COLLECTION.to_owned();
    done(milvus.create_collection(requests::create_collection(&name())).await?.into_inner())?;
    for index in requests::create_indexes() {
        done(milvus.create_index(index).await?.into_inner())?;
    }
    let partition =
        m::CreatePartitionRequest { collection_name: name(), partition_name: "p".to_owned(), ..Default::default() };
    done(milvus.create_partition(partition).await?.into_inner())?;
    let load = m::LoadCollectionRequest { collection_name: name(), ..Default::default() };
    done(milvus.load_collection(load).await?.into_inner())?;
    done(milvus.insert(requests::insert()).await?.into_inner().status.unwrap_or_default())?;
    let delete = m::DeleteRequest { collection_name: name(), expr: "id in [5]".to_owned(), ..Default::default() };
    done(milvus.delete(delete).await?.into_inner().status.unwrap_or_default())?;
    let alias = m::CreateAliasRequest { collection_name: name(), alias: "a".to_owned(), ..Default::default() };
    done(milvus.create_alias(alias).await?.into_inner())?;
    let snapshot = m::CreateSnapshotRequest { collection_name: name(), name: "s".to_owned(), ..Default::default() };
    done(milvus.create_snapshot(snapshot).await?.into_inner())?;
    for field in ["v", "h", "k", "y", "z"] {
        let found = milvus.search(requests::search(field)).await?.into_inner();
        done(found.status.unwrap_or_default())?;
    }
    Ok(())
}

fn done(status: Answer) -> Result<(), Box<dyn std::error::Error>> {
    Ok(status.into_result()?)
}

/// One message as gRPC frames it.
#[must_use]
pub fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0][..], &length, message].concat().into()
}

//! One process of the system, wired as the standalone program wires it, and what all processes share.

use crate::parts::{Bus, Objects, Transactions, Witness};
use crate::turns::{Dead, Kind, ProcessId, Turns};
use elanus_client::Client;
use elanus_datacoord::{CompactionConfig, DataCoord, DataCoordConfig, IndexConfig, OwnWorker};
use elanus_datanode::{DataNode, DataNodeConfig};
use elanus_events::LocalBus;
use elanus_meta::{Meta, MetaError};
use elanus_objects::{MemoryStore, ObjectStore};
use elanus_proto::transport::{
    Channel, admin_server, datacoord_client, datacoord_server, datanode_client, datanode_server, milvus_server,
    querynode_client, querynode_server,
};
use elanus_proxy::{Proxy, ProxyConfig};
use elanus_querynode::{QueryConfig, QueryNode};
use elanus_runtime::{Background, LateChannel, relay::Relay};
use elanus_scenarios::milvus::Milvus;
use elanus_types::{NodeId, RestoreMode};
use std::sync::Arc;
use tokio::sync::OnceCell;
use tonic::service::Routes;

/// Files of a copy task: few, so that a job has several tasks.
const COPY_TASK_FILES_MAX: usize = 2;

/// What outlives every process.
#[derive(Debug)]
pub(crate) struct Shared {
    folder: tempfile::TempDir,
    pub(crate) store: Arc<dyn ObjectStore>,
    bus: Arc<LocalBus>,
    pub(crate) turns: Turns,
    witness: OnceCell<Arc<Witness>>,
    collector: CollectorTimes,
}

/// How soon the collector of a run deletes: so soon that what is dropped is deleted while clients still work.
#[derive(Clone, Copy, Debug)]
struct CollectorTimes {
    tolerance_ms: i64,
    trash_ms: i64,
}

/// Two scans that saw an orphan are so far apart; it is deleted twice this time after it was written.
const ORPHAN_GAP_MS: i64 = 20_000;
/// Longer than any request is late, so that every object that comes late has a tombstone.
const TOMBSTONES_MS: i64 = 2 * 3_600_000;

impl Shared {
    pub(crate) fn new(turns: Turns) -> std::io::Result<Self> {
        // In memory where the machine has that: durability on a disk is not what is simulated.
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let store = Arc::new(MemoryStore::new(Arc::new(turns.clone())));
        let of = |choices: [i64; 3]| choices[(turns.random() % 3) as usize];
        let collector =
            CollectorTimes { tolerance_ms: of([0, 5_000, 30_000]), trash_ms: of([10_000, 60_000, 600_000]) };
        let bus = Arc::new(LocalBus::new());
        Ok(Self { folder, store, bus, turns, witness: OnceCell::new(), collector })
    }

    /// File sets of which an object was to be deleted, and the metadata without turns. A process was started before.
    pub(crate) fn witness(&self) -> &Witness {
        self.witness.get().expect("a process was started")
    }

    async fn open(&self) -> Result<Meta, MetaError> {
        Meta::open(&self.meta_url(), "5e1f0e6c-0000-4000-8000-000000000001", Arc::new(self.turns.clone())).await
    }

    fn meta_url(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("meta.db").display())
    }
}

/// A process. Ends when [`Process::bury`] is told to.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    pub(crate) node: NodeId,
    /// The Milvus API.
    pub(crate) milvus: Milvus,
    /// The calls for operators.
    pub(crate) operator: Client,
    pub(crate) meta: Meta,
    background: Background,
    datanode: DataNode,
    late: LateChannel,
}

impl Process {
    /// Starts a process that becomes the coordinator. `alive`: the nodes that have not died, besides it.
    pub(crate) async fn start(shared: &Shared, id: ProcessId, alive: &[NodeId]) -> Result<Self, MetaError> {
        let turns = &shared.turns;
        let clock = Arc::new(turns.clone());
        let node = NodeId(format!("node-{id}"));
        let meta = {
            let dead = |Dead| MetaError::BadUrl("dead".to_owned());
            let _turn = turns.turn(id, Kind::Transaction).await.map_err(dead)?;
            let meta = shared.open().await?;
            let witness =
                async || Ok::<_, MetaError>(Arc::new(Witness::new(shared.open().await?, turns.add_process())));
            shared.witness.get_or_try_init(witness).await?;
            meta
        };
        let meta = meta.with_commit_hook(Arc::new(Transactions::new(turns.clone(), id)));
        let objects: Arc<dyn ObjectStore> = Arc::new(Objects {
            inner: Arc::clone(&shared.store),
            turns: turns.clone(),
            process: id,
            witness: Arc::clone(shared.witness.get().expect("it was opened above")),
        });
        let bus = Arc::new(Bus { inner: Arc::clone(&shared.bus), turns: turns.clone() });
        let coordinator = meta.take_over(&node).await?;
        let alive: Vec<NodeId> = alive.iter().cloned().chain([node.clone()]).collect();
        coordinator.expire_other_owners(&alive).await?;

        let background = Background::new(clock.clone());
        let late = LateChannel::new();
        let datanode = DataNode::new(
            meta.clone(),
            Arc::clone(&objects),
            datacoord_client(late.channel()),
            node.clone(),
            DataNodeConfig::default(),
        );
        datanode.register(&background, "");
        let to_datanode = Channel::in_process(datanode_server(datanode.clone()));
        let worker = OwnWorker::new(node.clone(), datanode_client(to_datanode.clone()));
        let config = DataCoordConfig {
            restore_mode: RestoreMode::Clone,
            copy_task_files_max: COPY_TASK_FILES_MAX,
            compaction: CompactionConfig { interval_s: 10, files_min: 3, files_max: 6, ..CompactionConfig::default() },
            // A row is much here.
            index: IndexConfig { rows_min: 1, ..IndexConfig::default() },
            // A few files are much here: both ways of a create happen.
            snapshot_entries_max: 4,
            gc_drop_tolerance_ms: shared.collector.tolerance_ms,
            trash_retention_ms: shared.collector.trash_ms,
            scan_interval_ms: 2 * ORPHAN_GAP_MS,
            orphan_gap_ms: ORPHAN_GAP_MS,
            orphan_age_ms: 2 * ORPHAN_GAP_MS,
            gc_tombstones_ms: TOMBSTONES_MS,
            ..DataCoordConfig::default()
        };
        let datacoord = DataCoord::start(
            coordinator,
            Arc::clone(&objects),
            bus.clone(),
            Arc::new(worker),
            node.clone(),
            config,
            &background,
        );
        late.set(Channel::in_process(datacoord_server(datacoord)));
        background.spawn(Relay::new(meta.clone(), bus));
        let querynode = QueryNode::new(meta.clone(), objects, QueryConfig::default());
        let proxy = Proxy::new(
            datacoord_client(late.channel()),
            datanode_client(to_datanode),
            querynode_client(Channel::in_process(querynode_server(querynode))),
            clock,
            ProxyConfig::default(),
        );
        let routes = Routes::new(milvus_server(proxy.clone())).add_service(admin_server(proxy));
        let channel = Channel::in_process(routes.prepare());
        let milvus = Milvus::over(channel.clone());
        let operator = Client::over(channel);
        Ok(Self { id, node, milvus, operator, meta, background, datanode, late })
    }

    /// The end of a process that is dead already: what still runs in it finds that nothing works, and ends.
    pub(crate) async fn bury(&self) {
        self.late.clear();
        self.background.shutdown().await;
        self.datanode.shutdown().await;
        self.meta.close().await;
    }
}

//! The services behind the proxy, as far as its promises need them: one described collection, writes that are kept, reads
//! with set answers.

use elanus_proto::{
    convert::{failure_to_grpc, schema_to_proto},
    datacoord::{self as dc, data_coord_server::DataCoord},
    datanode::{self as dn, data_node_server::DataNode},
    milvus::milvus_service_client::MilvusServiceClient,
    querynode::{self as qn, query_node_server::QueryNode},
    transport::{
        Channel, datacoord_client, datacoord_server, datanode_client, datanode_server, milvus_client, milvus_server,
        querynode_client, querynode_server,
    },
};
use elanus_proxy::{Proxy, ProxyConfig};
use elanus_types::{
    Code, Failure, FieldId, ManualClock,
    schema::{CollectionSchema, DataType, FieldSchema},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use tonic::{Request, Response, Status, async_trait};

/// Id of the collection that there is.
pub(crate) const COLLECTION: i64 = 500;
/// Its `update_timestamp`.
pub(crate) const UPDATED_TS: u64 = 1 << 40;

/// When the snapshot `old` was taken.
pub(crate) const SNAPSHOT_TS: u64 = 1 << 30;

/// What was asked of the services, and what query nodes answer next.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) databases: Vec<String>,
    pub(crate) writes: Vec<dn::WriteRequest>,
    pub(crate) queries: Vec<qn::QueryRequest>,
    pub(crate) searches: Vec<qn::SearchRequest>,
    pub(crate) restores: Vec<dc::RestoreSnapshotRequest>,
    #[allow(dead_code, reason = "not every test of these fakes flushes")]
    pub(crate) flushed: Vec<i64>,
    pub(crate) query_answers: VecDeque<qn::QueryResponse>,
    pub(crate) search_answers: VecDeque<qn::SearchResponse>,
    /// Who may do what; `None`: that cannot be asked.
    pub(crate) security: Option<dc::SecurityState>,
    #[allow(dead_code, reason = "not every test of these fakes counts")]
    pub(crate) security_asked: u32,
}

#[derive(Clone, Default)]
pub(crate) struct Fakes(Arc<Mutex<Seen>>);

impl Fakes {
    pub(crate) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().expect("no test panics while it looks")
    }

    /// A proxy in front of these services.
    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::new(
            datacoord_client(Channel::in_process(datacoord_server(self.clone()))),
            datanode_client(Channel::in_process(datanode_server(self.clone()))),
            querynode_client(Channel::in_process(querynode_server(self.clone()))),
            Arc::new(ManualClock::at_ms(1_700_000_000_000)),
            ProxyConfig::default(),
        )
    }

    /// A channel to it.
    pub(crate) fn channel(&self) -> Channel {
        Channel::in_process(milvus_server(self.proxy()))
    }

    pub(crate) fn client(&self) -> MilvusServiceClient<Channel> {
        milvus_client(self.channel())
    }
}

pub(crate) fn schema(auto_id: bool) -> CollectionSchema {
    let field = |(id, name, data_type, param): (i64, &str, DataType, Option<(&str, &str)>)| FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary_key: name == "pk",
        auto_id: auto_id && name == "pk",
        is_dynamic: name == "$meta",
        nullable: name == "note",
        element_type: None,
        default_value: None,
        type_params: param.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect(),
    };
    let fields = [
        (100, "pk", DataType::Int64, None),
        (101, "v", DataType::FloatVector, Some(("dim", "2"))),
        (102, "note", DataType::VarChar, Some(("max_length", "5"))),
        (103, "$meta", DataType::Json, None),
    ];
    CollectionSchema {
        description: "things".to_owned(),
        fields: fields.map(field).into(),
        enable_dynamic_field: true,
        ..CollectionSchema::default()
    }
}

/// `things` is loaded, `auto` too and gives keys, `idle` is not loaded, `bare` has no index.
fn describe(name: &str) -> Option<dc::Collection> {
    let loaded = !matches!(name, "idle" | "bare");
    let partition = |id, name: &str, loaded| dc::Partition { id, name: name.to_owned(), created_ts: 1, loaded };
    let index = dc::Index {
        id: 700,
        name: "v".to_owned(),
        field_id: 101,
        params: [("index_type", "AUTOINDEX"), ("metric_type", "L2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    };
    matches!(name, "things" | "auto" | "idle" | "bare").then(|| dc::Collection {
        id: COLLECTION,
        db_id: 1,
        db_name: "default".to_owned(),
        name: name.to_owned(),
        schema: Some(schema_to_proto(name, &schema(name == "auto"))),
        shards_num: 2,
        consistency_level: 2,
        properties: [("k".to_owned(), "v".to_owned())].into(),
        partitions: vec![partition(600, "_default", loaded), partition(601, "cold", false)],
        indexes: if name == "bare" { Vec::new() } else { vec![index] },
        created_ts: 1,
        updated_ts: UPDATED_TS,
        loaded,
        aliases: vec!["other".to_owned()],
    })
}

fn refuse<T>(code: Code, text: &str) -> Result<Response<T>, Status> {
    Err(failure_to_grpc(Failure::new(code, text)))
}

macro_rules! datacoord {
    ($($call:ident($request:ty) -> $answer:ty;)*) => {
        #[async_trait]
        impl DataCoord for Fakes {
            async fn describe_collection(&self, r: Request<dc::CollectionRef>) -> Result<Response<dc::Collection>, Status> {
                let r = r.into_inner();
                self.seen().databases.push(r.db_name.clone());
                if r.db_name != "default" {
                    return refuse(Code::DatabaseNotFound, "no such database");
                }
                let name = if r.collection_id == COLLECTION { "things" } else { r.collection_name.as_str() };
                describe(name).map_or_else(|| refuse(Code::CollectionNotFound, "none"), |found| Ok(Response::new(found)))
            }

            async fn flush(&self, r: Request<dc::CollectionRef>) -> Result<Response<dc::FlushResponse>, Status> {
                self.seen().flushed.push(r.into_inner().collection_id);
                Ok(Response::new(dc::FlushResponse::default()))
            }

            async fn get_restore_job(&self, _: Request<dc::JobRef>) -> Result<Response<dc::RestoreJob>, Status> {
                Ok(Response::new(dc::RestoreJob::default()))
            }

            async fn get_security(&self, r: Request<dc::GetSecurityRequest>) -> Result<Response<dc::SecurityState>, Status> {
                let mut seen = self.seen();
                seen.security_asked += 1;
                let Some(state) = seen.security.clone() else { return refuse(Code::NotReady, "away") };
                let known = r.into_inner().known_version == state.version;
                let unchanged = dc::SecurityState { version: state.version, unchanged: true, ..Default::default() };
                Ok(Response::new(if known { unchanged } else { state }))
            }

            async fn drop_collection(&self, _: Request<dc::CollectionRef>) -> Result<Response<dc::Empty>, Status> {
                refuse(Code::CollectionNotFound, "none")
            }

            async fn get_statistics(&self, _: Request<dc::StatisticsRequest>) -> Result<Response<dc::Statistics>, Status> {
                Ok(Response::new(dc::Statistics { row_count: 42, ..Default::default() }))
            }

            async fn get_index_progress(&self, _: Request<dc::CollectionRef>) -> Result<Response<dc::IndexProgress>, Status> {
                Ok(Response::new(dc::IndexProgress::default()))
            }

            async fn allocate_ids(&self, _: Request<dc::AllocateIdsRequest>) -> Result<Response<dc::AllocateIdsResponse>, Status> {
                Ok(Response::new(dc::AllocateIdsResponse { first: 9_000 }))
            }

            async fn drop_snapshot(&self, _: Request<dc::SnapshotRef>) -> Result<Response<dc::Empty>, Status> {
                refuse(Code::SnapshotPinned, "active pins exist, unpin before dropping: snapshot is pinned[snapshot=s]")
            }

            async fn restore_snapshot(
                &self,
                r: Request<dc::RestoreSnapshotRequest>,
            ) -> Result<Response<dc::RestoreJob>, Status> {
                self.seen().restores.push(r.into_inner());
                Ok(Response::new(dc::RestoreJob { job_id: 77, ..Default::default() }))
            }

            /// `old` is a snapshot of every collection, from before it was loaded and had an index; `lost` is dropped while
            /// it is read.
            async fn open_snapshot(&self, r: Request<dc::SnapshotRef>) -> Result<Response<dc::OpenSnapshotResponse>, Status> {
                let name = r.into_inner().snapshot_name;
                if name != "old" && name != "lost" {
                    return refuse(Code::SnapshotNotFound, "collection 500: snapshot not found[snapshot=none]");
                }
                let snapshot = dc::Snapshot { id: 800, name, create_ts: SNAPSHOT_TS, ..Default::default() };
                let mut then = describe("bare").expect("it is described");
                then.partitions = vec![dc::Partition { id: 605, name: "dropped".to_owned(), created_ts: 1, loaded: true }];
                Ok(Response::new(dc::OpenSnapshotResponse { snapshot: Some(snapshot), collection: Some(then) }))
            }

            async fn describe_snapshot(&self, r: Request<dc::SnapshotRef>) -> Result<Response<dc::Snapshot>, Status> {
                let name = r.into_inner().snapshot_name;
                match name.as_str() {
                    "old" => Ok(Response::new(dc::Snapshot { id: 800, name, ..Default::default() })),
                    _ => refuse(Code::SnapshotNotFound, "collection 500: snapshot not found[snapshot=lost]"),
                }
            }

            $(async fn $call(&self, _: Request<$request>) -> Result<Response<$answer>, Status> {
                refuse(Code::Internal, concat!("the proxy asked for ", stringify!($call)))
            })*
        }
    };
}

datacoord! {
    create_collection(dc::CreateCollectionRequest) -> dc::Collection;
    list_collections(dc::ListCollectionsRequest) -> dc::ListCollectionsResponse;
    alter_collection(dc::AlterCollectionRequest) -> dc::Collection;
    rename_collection(dc::RenameCollectionRequest) -> dc::Collection;
    truncate_collection(dc::CollectionRef) -> dc::Empty;
    create_database(dc::AlterDatabaseRequest) -> dc::Database;
    drop_database(dc::DatabaseRef) -> dc::Empty;
    alter_database(dc::AlterDatabaseRequest) -> dc::Database;
    describe_database(dc::DatabaseRef) -> dc::Database;
    list_databases(dc::Empty) -> dc::ListDatabasesResponse;
    create_alias(dc::AliasRequest) -> dc::Empty;
    alter_alias(dc::AliasRequest) -> dc::Empty;
    drop_alias(dc::AliasRequest) -> dc::Empty;
    describe_alias(dc::AliasRequest) -> dc::AliasRequest;
    list_aliases(dc::DatabaseRef) -> dc::ListAliasesResponse;
    list_segments(dc::CollectionRef) -> dc::ListSegmentsResponse;
    alter_index(dc::AlterIndexRequest) -> dc::Index;
    create_partition(dc::PartitionRef) -> dc::Partition;
    drop_partition(dc::PartitionRef) -> dc::Empty;
    create_index(dc::CreateIndexRequest) -> dc::Index;
    drop_index(dc::DropIndexRequest) -> dc::Empty;
    set_loaded(dc::SetLoadedRequest) -> dc::Empty;
    allocate_timestamp(dc::Empty) -> dc::AllocateTimestampResponse;
    create_snapshot(dc::CreateSnapshotRequest) -> dc::Snapshot;
    list_snapshots(dc::CollectionRef) -> dc::ListSnapshotsResponse;
    rollback_collection(dc::SnapshotRef) -> dc::Rollback;
    detach_collection(dc::CollectionRef) -> dc::RestoreJob;
    list_trash(dc::ListCollectionsRequest) -> dc::ListTrashResponse;
    restore_trash(dc::RestoreTrashRequest) -> dc::Collection;
    purge_trash(dc::CollectionRef) -> dc::TrashedCollection;
    pin_snapshot(dc::PinSnapshotRequest) -> dc::Pin;
    unpin_snapshot(dc::UnpinSnapshotRequest) -> dc::Empty;
    list_pins(dc::SnapshotRef) -> dc::ListPinsResponse;
    list_restore_jobs(dc::ListRestoreJobsRequest) -> dc::ListRestoreJobsResponse;
    cancel_restore_job(dc::JobRef) -> dc::RestoreJob;
    list_job_errors(dc::JobRef) -> dc::ListJobErrorsResponse;
    list_job_history(dc::JobRef) -> dc::ListJobHistoryResponse;
    compact_collection(dc::CollectionRef) -> dc::CompactionJob;
    change_security(dc::ChangeSecurityRequest) -> dc::Empty;
    get_compaction(dc::JobRef) -> dc::CompactionJob;
    list_compactions(dc::ListCompactionsRequest) -> dc::ListCompactionsResponse;
    scrub(elanus_proto::admin::ScrubRequest) -> elanus_proto::admin::ScrubReport;
    gc(elanus_proto::admin::GcRequest) -> elanus_proto::admin::GcAnswer;
    get_status(elanus_proto::admin::StatusRequest) -> elanus_proto::admin::ClusterStatus;
    report_task(dc::TaskReport) -> dc::TaskReportReply;
    start_scan(elanus_proto::admin::StartScanRequest) -> elanus_proto::admin::Scan;
    list_scans(elanus_proto::admin::ListScansRequest) -> elanus_proto::admin::ListScansResponse;
    list_orphans(elanus_proto::admin::ListOrphansRequest) -> elanus_proto::admin::ListOrphansResponse;
    allow_orphans(elanus_proto::admin::AllowOrphansRequest) -> elanus_proto::admin::AllowOrphansResponse;
    reconcile(elanus_proto::admin::ReconcileRequest) -> elanus_proto::admin::ReconcileReport;
    purge_namespace(elanus_proto::admin::PurgeNamespaceRequest) -> elanus_proto::admin::PurgeNamespaceReport;
}

#[async_trait]
impl DataNode for Fakes {
    async fn write(&self, r: Request<dn::WriteRequest>) -> Result<Response<dn::WriteResponse>, Status> {
        self.seen().writes.push(r.into_inner());
        Ok(Response::new(dn::WriteResponse { timestamp: 123 }))
    }

    async fn assign_task(&self, _: Request<dn::AssignTaskRequest>) -> Result<Response<dn::AssignTaskResponse>, Status> {
        refuse(Code::Internal, "proxies assign no tasks")
    }

    async fn drop_task(&self, _: Request<dn::DropTaskRequest>) -> Result<Response<dn::DropTaskResponse>, Status> {
        refuse(Code::Internal, "proxies drop no tasks")
    }
}

#[async_trait]
impl QueryNode for Fakes {
    async fn query(&self, r: Request<qn::QueryRequest>) -> Result<Response<qn::QueryResponse>, Status> {
        let mut seen = self.seen();
        seen.queries.push(r.into_inner());
        seen.query_answers
            .pop_front()
            .map_or_else(|| refuse(Code::Internal, "no answer is set"), |a| Ok(Response::new(a)))
    }

    async fn search(&self, r: Request<qn::SearchRequest>) -> Result<Response<qn::SearchResponse>, Status> {
        let mut seen = self.seen();
        seen.searches.push(r.into_inner());
        seen.search_answers
            .pop_front()
            .map_or_else(|| refuse(Code::Internal, "no answer is set"), |a| Ok(Response::new(a)))
    }

    async fn search_many(&self, r: Request<qn::SearchManyRequest>) -> Result<Response<qn::SearchManyResponse>, Status> {
        let mut seen = self.seen();
        let searches = r.into_inner().searches;
        let answers = searches.iter().map_while(|_| seen.search_answers.pop_front()).collect();
        seen.searches.extend(searches);
        Ok(Response::new(qn::SearchManyResponse { answers }))
    }
}

//! The calls for operators: passed on to the coordinator, failures and all; events come from the bus.

use crate::{
    Proxy,
    access::{Demand, Target},
    backend::Call,
    events, names,
};
use elanus_proto::{
    admin::{self as a, admin_server::Admin, gc_request::What as Ask},
    convert::failure_to_grpc,
    datacoord as dc,
};
use elanus_types::{privilege::Privilege, schema::DEFAULT_DATABASE};
use tonic::{Request, Response, Status, async_trait};

/// What a call for operators is about.
trait About {
    fn target(&self) -> Target;
}

/// The coordinator takes it as it is: the database of the metadata is no part of these calls (AC-3).
impl About for dc::CollectionRef {
    fn target(&self) -> Target {
        let db_name = if self.db_name.is_empty() { DEFAULT_DATABASE } else { &self.db_name };
        Target::Collection(Self { db_name: db_name.to_owned(), ..self.clone() })
    }
}

impl About for dc::SnapshotRef {
    fn target(&self) -> Target {
        self.collection.clone().unwrap_or_default().target()
    }
}

impl About for dc::JobRef {
    fn target(&self) -> Target {
        Target::Job(self.job_id)
    }
}

/// AC-2: nothing but a privilege of the collection or job that the message names, or the role of administrators.
macro_rules! admit {
    ($proxy:ident, $call:expr, $request:expr, admin) => {{
        let _ = $request;
        $proxy.admit_admin($call)?
    }};
    ($proxy:ident, $call:expr, $request:expr, $privilege:ident) => {{
        const PRIVILEGE: Privilege = Privilege::named(stringify!($privilege));
        let target = About::target($request);
        $proxy.admit($call, vec![Demand::of(PRIVILEGE, target)]).await?;
    }};
}

macro_rules! pass_on {
    ($($call:ident -> $there:ident($request:ty) -> $answer:ty: $rule:ident;)*) => {
        #[async_trait]
        impl Admin for Proxy {
            $(async fn $call(&self, request: Request<$request>) -> Result<Response<$answer>, Status> {
                let call = Call::of(&request);
                let request = request.into_inner();
                admit!(self, &call, &request, $rule);
                self.datacoord().$there(request).await
            })*

            async fn restore_trash(
                &self,
                request: Request<dc::RestoreTrashRequest>,
            ) -> Result<Response<dc::Collection>, Status> {
                self.admit_admin(&Call::of(&request))?;
                let request = request.into_inner();
                if !request.new_name.is_empty() {
                    names::collection(&request.new_name).map_err(failure_to_grpc)?;
                }
                self.datacoord().restore_trash(request).await
            }

            type TailEventsStream = events::Tail;

            async fn tail_events(
                &self,
                request: Request<a::TailEventsRequest>,
            ) -> Result<Response<events::Tail>, Status> {
                self.admit_admin(&Call::of(&request))?;
                events::tail(self, request).await
            }

            async fn gc(&self, request: Request<a::GcRequest>) -> Result<Response<a::GcAnswer>, Status> {
                self.admit_admin(&Call::of(&request))?;
                let request = request.into_inner();
                match &request.what {
                    Some(Ask::Undo(ask)) if !ask.new_name.is_empty() => names::collection(&ask.new_name),
                    Some(Ask::Undrop(ask)) if !ask.new_name.is_empty() => names::snapshot(&ask.new_name),
                    _ => Ok(()),
                }
                .map_err(failure_to_grpc)?;
                self.datacoord().gc(request).await
            }

            async fn describe_collection(
                &self,
                request: Request<dc::CollectionRef>,
            ) -> Result<Response<a::CollectionDetail>, Status> {
                let call = Call::of(&request);
                let request = request.into_inner();
                admit!(self, &call, &request, DescribeCollection);
                let collection = self.datacoord().describe_collection(request).await?.into_inner();
                let ask = dc::StatisticsRequest { collection_id: collection.id, partition_ids: Vec::new() };
                let statistics = self.datacoord().get_statistics(ask).await?.into_inner();
                let detail = a::CollectionDetail { collection: Some(collection), statistics: Some(statistics) };
                Ok(Response::new(detail))
            }
        }
    };
}

pass_on! {
    list_snapshots -> list_snapshots(dc::CollectionRef) -> dc::ListSnapshotsResponse: ListSnapshots;
    describe_snapshot -> describe_snapshot(dc::SnapshotRef) -> dc::Snapshot: DescribeSnapshot;
    list_pins -> list_pins(dc::SnapshotRef) -> dc::ListPinsResponse: DescribeSnapshot;
    get_job -> get_restore_job(dc::JobRef) -> dc::RestoreJob: RestoreSnapshot;
    list_jobs -> list_restore_jobs(dc::ListRestoreJobsRequest) -> dc::ListRestoreJobsResponse: admin;
    cancel_job -> cancel_restore_job(dc::JobRef) -> dc::RestoreJob: admin;
    list_job_errors -> list_job_errors(dc::JobRef) -> dc::ListJobErrorsResponse: RestoreSnapshot;
    list_job_history -> list_job_history(dc::JobRef) -> dc::ListJobHistoryResponse: RestoreSnapshot;
    compact_collection -> compact_collection(dc::CollectionRef) -> dc::CompactionJob: Compaction;
    get_compaction -> get_compaction(dc::JobRef) -> dc::CompactionJob: admin;
    list_compactions -> list_compactions(dc::ListCompactionsRequest) -> dc::ListCompactionsResponse: admin;
    scrub -> scrub(a::ScrubRequest) -> a::ScrubReport: admin;
    start_scan -> start_scan(a::StartScanRequest) -> a::Scan: admin;
    list_scans -> list_scans(a::ListScansRequest) -> a::ListScansResponse: admin;
    list_orphans -> list_orphans(a::ListOrphansRequest) -> a::ListOrphansResponse: admin;
    allow_orphans -> allow_orphans(a::AllowOrphansRequest) -> a::AllowOrphansResponse: admin;
    reconcile -> reconcile(a::ReconcileRequest) -> a::ReconcileReport: admin;
    purge_namespace -> purge_namespace(a::PurgeNamespaceRequest) -> a::PurgeNamespaceReport: admin;
    get_status -> get_status(a::StatusRequest) -> a::ClusterStatus: admin;
    rollback_collection -> rollback_collection(dc::SnapshotRef) -> dc::Rollback: admin;
    detach_collection -> detach_collection(dc::CollectionRef) -> dc::RestoreJob: admin;
    list_trash -> list_trash(dc::ListCollectionsRequest) -> dc::ListTrashResponse: admin;
    purge_trash -> purge_trash(dc::CollectionRef) -> dc::TrashedCollection: admin;
    list_collections -> list_collections(dc::ListCollectionsRequest) -> dc::ListCollectionsResponse: admin;
}

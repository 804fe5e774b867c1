//! The calls for operators: passed on to the coordinator, failures and all; events come from the bus.

use crate::{Proxy, events, names};
use elanus_proto::{
    admin::{self as a, admin_server::Admin, gc_request::What as Ask},
    convert::failure_to_grpc,
    datacoord as dc,
};
use tonic::{Request, Response, Status, async_trait};

macro_rules! pass_on {
    ($($call:ident -> $there:ident($request:ty) -> $answer:ty;)*) => {
        #[async_trait]
        impl Admin for Proxy {
            $(async fn $call(&self, request: Request<$request>) -> Result<Response<$answer>, Status> {
                self.datacoord().$there(request.into_inner()).await
            })*

            async fn restore_trash(
                &self,
                request: Request<dc::RestoreTrashRequest>,
            ) -> Result<Response<dc::Collection>, Status> {
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
                events::tail(self, request).await
            }

            async fn gc(&self, request: Request<a::GcRequest>) -> Result<Response<a::GcAnswer>, Status> {
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
                let collection = self.datacoord().describe_collection(request.into_inner()).await?.into_inner();
                let ask = dc::StatisticsRequest { collection_id: collection.id, partition_ids: Vec::new() };
                let statistics = self.datacoord().get_statistics(ask).await?.into_inner();
                let detail = a::CollectionDetail { collection: Some(collection), statistics: Some(statistics) };
                Ok(Response::new(detail))
            }
        }
    };
}

pass_on! {
    list_snapshots -> list_snapshots(dc::CollectionRef) -> dc::ListSnapshotsResponse;
    describe_snapshot -> describe_snapshot(dc::SnapshotRef) -> dc::Snapshot;
    list_pins -> list_pins(dc::SnapshotRef) -> dc::ListPinsResponse;
    get_job -> get_restore_job(dc::JobRef) -> dc::RestoreJob;
    list_jobs -> list_restore_jobs(dc::ListRestoreJobsRequest) -> dc::ListRestoreJobsResponse;
    cancel_job -> cancel_restore_job(dc::JobRef) -> dc::RestoreJob;
    list_job_errors -> list_job_errors(dc::JobRef) -> dc::ListJobErrorsResponse;
    list_job_history -> list_job_history(dc::JobRef) -> dc::ListJobHistoryResponse;
    compact_collection -> compact_collection(dc::CollectionRef) -> dc::CompactionJob;
    get_compaction -> get_compaction(dc::JobRef) -> dc::CompactionJob;
    list_compactions -> list_compactions(dc::ListCompactionsRequest) -> dc::ListCompactionsResponse;
    scrub -> scrub(a::ScrubRequest) -> a::ScrubReport;
    start_scan -> start_scan(a::StartScanRequest) -> a::Scan;
    list_scans -> list_scans(a::ListScansRequest) -> a::ListScansResponse;
    list_orphans -> list_orphans(a::ListOrphansRequest) -> a::ListOrphansResponse;
    allow_orphans -> allow_orphans(a::AllowOrphansRequest) -> a::AllowOrphansResponse;
    reconcile -> reconcile(a::ReconcileRequest) -> a::ReconcileReport;
    purge_namespace -> purge_namespace(a::PurgeNamespaceRequest) -> a::PurgeNamespaceReport;
    get_status -> get_status(a::StatusRequest) -> a::ClusterStatus;
    rollback_collection -> rollback_collection(dc::SnapshotRef) -> dc::Rollback;
    detach_collection -> detach_collection(dc::CollectionRef) -> dc::RestoreJob;
    list_trash -> list_trash(dc::ListCollectionsRequest) -> dc::ListTrashResponse;
    purge_trash -> purge_trash(dc::CollectionRef) -> dc::TrashedCollection;
    list_collections -> list_collections(dc::ListCollectionsRequest) -> dc::ListCollectionsResponse;
}

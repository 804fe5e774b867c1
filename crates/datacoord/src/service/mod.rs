//! The calls: each checks what it was given, writes one fact or reads, and answers.

mod alter;
mod catalog;
mod compaction;
mod convert;
mod databases;
mod gc;
mod restore;
pub(crate) mod scans;
mod security;
mod snapshots;
pub(crate) mod status;
mod trash;

use crate::DataCoord;
use elanus_proto::admin;
use elanus_proto::convert::failure_to_grpc;
use elanus_proto::datacoord as pb;
use elanus_proto::datacoord::data_coord_server::DataCoord as Calls;
use elanus_types::Failure;
use tonic::{Request, Response, Status};

fn answer<T>(result: Result<T, Failure>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(failure_to_grpc)
}

fn done(result: Result<(), Failure>) -> Result<Response<pb::Empty>, Status> {
    answer(result.map(|()| pb::Empty {}))
}

/// One line a call: where it is served.
#[rustfmt::skip]
#[tonic::async_trait]
impl Calls for DataCoord {
    async fn create_collection(&self, r: Request<pb::CreateCollectionRequest>) -> Result<Response<pb::Collection>, Status> { answer(catalog::create_collection(&self.parts, r.into_inner()).await) }
    async fn describe_collection(&self, r: Request<pb::CollectionRef>) -> Result<Response<pb::Collection>, Status> { answer(catalog::describe_collection(&self.parts, r.into_inner()).await) }
    async fn list_collections(&self, r: Request<pb::ListCollectionsRequest>) -> Result<Response<pb::ListCollectionsResponse>, Status> { answer(catalog::list_collections(&self.parts, r.into_inner()).await) }
    async fn drop_collection(&self, r: Request<pb::CollectionRef>) -> Result<Response<pb::Empty>, Status> { done(catalog::drop_collection(&self.parts, r.into_inner()).await) }
    async fn alter_collection(&self, r: Request<pb::AlterCollectionRequest>) -> Result<Response<pb::Collection>, Status> { answer(alter::alter_collection(&self.parts, r.into_inner()).await) }
    async fn rename_collection(&self, r: Request<pb::RenameCollectionRequest>) -> Result<Response<pb::Collection>, Status> { answer(alter::rename_collection(&self.parts, r.into_inner()).await) }
    async fn truncate_collection(&self, r: Request<pb::CollectionRef>) -> Result<Response<pb::Empty>, Status> { done(catalog::truncate_collection(&self.parts, r.into_inner()).await) }
    async fn create_partition(&self, r: Request<pb::PartitionRef>) -> Result<Response<pb::Partition>, Status> { answer(catalog::create_partition(&self.parts, r.into_inner()).await) }
    async fn drop_partition(&self, r: Request<pb::PartitionRef>) -> Result<Response<pb::Empty>, Status> { done(catalog::drop_partition(&self.parts, r.into_inner()).await) }
    async fn create_index(&self, r: Request<pb::CreateIndexRequest>) -> Result<Response<pb::Index>, Status> { answer(catalog::create_index(&self.parts, r.into_inner()).await) }
    async fn drop_index(&self, r: Request<pb::DropIndexRequest>) -> Result<Response<pb::Empty>, Status> { done(catalog::drop_index(&self.parts, r.into_inner()).await) }
    async fn get_index_progress(&self, r: Request<pb::CollectionRef>) -> Result<Response<pb::IndexProgress>, Status> { answer(catalog::get_index_progress(&self.parts, r.into_inner()).await) }
    async fn alter_index(&self, r: Request<pb::AlterIndexRequest>) -> Result<Response<pb::Index>, Status> { answer(alter::alter_index(&self.parts, r.into_inner()).await) }
    async fn set_loaded(&self, r: Request<pb::SetLoadedRequest>) -> Result<Response<pb::Empty>, Status> { done(catalog::set_loaded(&self.parts, r.into_inner()).await) }
    async fn flush(&self, r: Request<pb::CollectionRef>) -> Result<Response<pb::FlushResponse>, Status> { answer(catalog::flush(&self.parts, r.into_inner()).await) }
    async fn get_statistics(&self, r: Request<pb::StatisticsRequest>) -> Result<Response<pb::Statistics>, Status> { answer(catalog::get_statistics(&self.parts, r.into_inner()).await) }
    async fn allocate_ids(&self, r: Request<pb::AllocateIdsRequest>) -> Result<Response<pb::AllocateIdsResponse>, Status> { answer(catalog::allocate_ids(&self.parts, r.into_inner()).await) }
    async fn allocate_timestamp(&self, _: Request<pb::Empty>) -> Result<Response<pb::AllocateTimestampResponse>, Status> { answer(Ok(catalog::allocate_timestamp(&self.parts))) }

    async fn create_database(&self, r: Request<pb::AlterDatabaseRequest>) -> Result<Response<pb::Database>, Status> { answer(databases::create(&self.parts, r.into_inner()).await) }
    async fn drop_database(&self, r: Request<pb::DatabaseRef>) -> Result<Response<pb::Empty>, Status> { done(databases::drop(&self.parts, r.into_inner()).await) }
    async fn alter_database(&self, r: Request<pb::AlterDatabaseRequest>) -> Result<Response<pb::Database>, Status> { answer(databases::alter(&self.parts, r.into_inner()).await) }
    async fn describe_database(&self, r: Request<pb::DatabaseRef>) -> Result<Response<pb::Database>, Status> { answer(databases::describe(&self.parts, r.into_inner()).await) }
    async fn list_databases(&self, _: Request<pb::Empty>) -> Result<Response<pb::ListDatabasesResponse>, Status> { answer(databases::list(&self.parts).await) }
    async fn create_alias(&self, r: Request<pb::AliasRequest>) -> Result<Response<pb::Empty>, Status> { done(databases::create_alias(&self.parts, r.into_inner()).await) }
    async fn alter_alias(&self, r: Request<pb::AliasRequest>) -> Result<Response<pb::Empty>, Status> { done(databases::alter_alias(&self.parts, r.into_inner()).await) }
    async fn drop_alias(&self, r: Request<pb::AliasRequest>) -> Result<Response<pb::Empty>, Status> { done(databases::drop_alias(&self.parts, r.into_inner()).await) }
    async fn describe_alias(&self, r: Request<pb::AliasRequest>) -> Result<Response<pb::AliasRequest>, Status> { answer(databases::describe_alias(&self.parts, r.into_inner()).await) }
    async fn list_aliases(&self, r: Request<pb::DatabaseRef>) -> Result<Response<pb::ListAliasesResponse>, Status> { answer(databases::list_aliases(&self.parts, r.into_inner()).await) }
    async fn list_segments(&self, r: Request<pb::CollectionRef>) -> Result<Response<pb::ListSegmentsResponse>, Status> { answer(catalog::list_segments(&self.parts, r.into_inner()).await) }

    async fn create_snapshot(&self, r: Request<pb::CreateSnapshotRequest>) -> Result<Response<pb::Snapshot>, Status> { answer(snapshots::create(&self.parts, r.into_inner()).await) }
    async fn drop_snapshot(&self, r: Request<pb::SnapshotRef>) -> Result<Response<pb::Empty>, Status> { done(snapshots::drop(&self.parts, r.into_inner()).await) }
    async fn list_snapshots(&self, r: Request<pb::CollectionRef>) -> Result<Response<pb::ListSnapshotsResponse>, Status> { answer(snapshots::list(&self.parts, r.into_inner()).await) }
    async fn describe_snapshot(&self, r: Request<pb::SnapshotRef>) -> Result<Response<pb::Snapshot>, Status> { answer(snapshots::describe(&self.parts, r.into_inner()).await) }
    async fn pin_snapshot(&self, r: Request<pb::PinSnapshotRequest>) -> Result<Response<pb::Pin>, Status> { answer(snapshots::pin(&self.parts, r.into_inner()).await) }
    async fn unpin_snapshot(&self, r: Request<pb::UnpinSnapshotRequest>) -> Result<Response<pb::Empty>, Status> { done(snapshots::unpin(&self.parts, r.into_inner()).await) }
    async fn list_pins(&self, r: Request<pb::SnapshotRef>) -> Result<Response<pb::ListPinsResponse>, Status> { answer(snapshots::list_pins(&self.parts, r.into_inner()).await) }

    async fn open_snapshot(&self, r: Request<pb::SnapshotRef>) -> Result<Response<pb::OpenSnapshotResponse>, Status> { answer(snapshots::open(&self.parts, r.into_inner()).await) }
    async fn rollback_collection(&self, r: Request<pb::SnapshotRef>) -> Result<Response<pb::Rollback>, Status> { answer(snapshots::roll_back(&self.parts, r.into_inner()).await) }

    async fn list_trash(&self, r: Request<pb::ListCollectionsRequest>) -> Result<Response<pb::ListTrashResponse>, Status> { answer(trash::list(&self.parts, r.into_inner()).await) }
    async fn restore_trash(&self, r: Request<pb::RestoreTrashRequest>) -> Result<Response<pb::Collection>, Status> { answer(trash::restore(&self.parts, r.into_inner()).await) }
    async fn purge_trash(&self, r: Request<pb::CollectionRef>) -> Result<Response<pb::TrashedCollection>, Status> { answer(trash::purge(&self.parts, r.into_inner()).await) }

    async fn restore_snapshot(&self, r: Request<pb::RestoreSnapshotRequest>) -> Result<Response<pb::RestoreJob>, Status> { answer(restore::submit(&self.parts, r.into_inner()).await) }
    async fn detach_collection(&self, r: Request<pb::CollectionRef>) -> Result<Response<pb::RestoreJob>, Status> { answer(restore::detach(&self.parts, r.into_inner()).await) }
    async fn get_restore_job(&self, r: Request<pb::JobRef>) -> Result<Response<pb::RestoreJob>, Status> { answer(restore::get(&self.parts, r.into_inner()).await) }
    async fn list_restore_jobs(&self, r: Request<pb::ListRestoreJobsRequest>) -> Result<Response<pb::ListRestoreJobsResponse>, Status> { answer(restore::list(&self.parts, r.into_inner()).await) }
    async fn cancel_restore_job(&self, r: Request<pb::JobRef>) -> Result<Response<pb::RestoreJob>, Status> { answer(restore::cancel(&self.parts, r.into_inner()).await) }
    async fn list_job_errors(&self, r: Request<pb::JobRef>) -> Result<Response<pb::ListJobErrorsResponse>, Status> { answer(restore::errors(&self.parts, r.into_inner()).await) }
    async fn list_job_history(&self, r: Request<pb::JobRef>) -> Result<Response<pb::ListJobHistoryResponse>, Status> { answer(restore::history(&self.parts, r.into_inner()).await) }
    async fn report_task(&self, r: Request<pb::TaskReport>) -> Result<Response<pb::TaskReportReply>, Status> { answer(restore::report(&self.parts, r.into_inner()).await) }

    async fn compact_collection(&self, r: Request<pb::CollectionRef>) -> Result<Response<pb::CompactionJob>, Status> { answer(compaction::compact(&self.parts, r.into_inner()).await) }
    async fn get_compaction(&self, r: Request<pb::JobRef>) -> Result<Response<pb::CompactionJob>, Status> { answer(compaction::get(&self.parts, r.into_inner()).await) }
    async fn list_compactions(&self, r: Request<pb::ListCompactionsRequest>) -> Result<Response<pb::ListCompactionsResponse>, Status> { answer(compaction::list(&self.parts, r.into_inner()).await) }

    async fn get_security(&self, r: Request<pb::GetSecurityRequest>) -> Result<Response<pb::SecurityState>, Status> { answer(security::get(&self.parts, r.into_inner()).await) }
    async fn change_security(&self, r: Request<pb::ChangeSecurityRequest>) -> Result<Response<pb::Empty>, Status> { done(security::change(&self.parts, r.into_inner()).await) }

    async fn scrub(&self, r: Request<admin::ScrubRequest>) -> Result<Response<admin::ScrubReport>, Status> { answer(crate::gc::scrub(&self.parts, r.into_inner()).await) }
    async fn start_scan(&self, _: Request<admin::StartScanRequest>) -> Result<Response<admin::Scan>, Status> { answer(scans::start(&self.parts).await) }
    async fn list_scans(&self, r: Request<admin::ListScansRequest>) -> Result<Response<admin::ListScansResponse>, Status> { answer(scans::list(&self.parts, r.into_inner()).await) }
    async fn list_orphans(&self, r: Request<admin::ListOrphansRequest>) -> Result<Response<admin::ListOrphansResponse>, Status> { answer(scans::orphans(&self.parts, r.into_inner()).await) }
    async fn allow_orphans(&self, r: Request<admin::AllowOrphansRequest>) -> Result<Response<admin::AllowOrphansResponse>, Status> { answer(scans::allow(&self.parts, r.into_inner()).await) }
    async fn reconcile(&self, r: Request<admin::ReconcileRequest>) -> Result<Response<admin::ReconcileReport>, Status> { answer(crate::gc::reconcile(&self.parts, r.into_inner()).await) }
    async fn purge_namespace(&self, r: Request<admin::PurgeNamespaceRequest>) -> Result<Response<admin::PurgeNamespaceReport>, Status> { answer(crate::gc::serve_purge(&self.parts, r.into_inner()).await) }
    async fn gc(&self, r: Request<admin::GcRequest>) -> Result<Response<admin::GcAnswer>, Status> { answer(gc::serve(&self.parts, r.into_inner()).await) }
    async fn get_status(&self, _: Request<admin::StatusRequest>) -> Result<Response<admin::ClusterStatus>, Status> { answer(status::get(&self.parts).await) }
}

//! Every call of the Milvus API that is served, and the function that answers it.
//!
//! A failure becomes the status of the answer, so that it reaches the user at once: a gRPC status would be retried.

use crate::{
    Proxy, access::Needs as _, aliases, alter, backend::Call, collections, compaction, connect, databases, fields,
    flush, indexes, load, partitions, rbac, read, replicas, segments, snapshots, write,
};
use elanus_proto::{
    common::Status as MilvusStatus,
    convert::success,
    milvus::{self as m, milvus_service_server::MilvusService},
};
use elanus_types::{Code, Failure};
use std::time::{Duration, Instant};
use tonic::{Request, Response, Status, async_trait};

/// A message that tells whether the call did what was asked.
trait Answer<T> {
    fn of(result: Result<T, Failure>) -> Self;
}

impl Answer<()> for MilvusStatus {
    fn of(result: Result<(), Failure>) -> Self {
        result.map_or_else(Self::from, |()| success())
    }
}

macro_rules! with_status {
    ($($answer:ident)*) => {$(
        impl Answer<Self> for m::$answer {
            fn of(result: Result<Self, Failure>) -> Self {
                match result {
                    Ok(mut answer) => {
                        answer.status.get_or_insert_with(success);
                        answer
                    }
                    Err(failure) => Self { status: Some(failure.into()), ..Self::default() },
                }
            }
        }
    )*};
}

with_status! {
    AllocTimestampResponse BatchDescribeCollectionResponse BoolResponse CheckHealthResponse ConnectResponse DescribeAliasResponse
    DescribeCollectionResponse DescribeDatabaseResponse DescribeIndexResponse DescribeSnapshotResponse FlushAllResponse FlushResponse
    GetFlushAllStateResponse
    GetCollectionStatisticsResponse GetCompactionPlansResponse GetCompactionStateResponse GetFlushStateResponse GetIndexBuildProgressResponse GetIndexStateResponse
    GetIndexStatisticsResponse GetLoadStateResponse GetLoadingProgressResponse GetPartitionStatisticsResponse
    GetPersistentSegmentInfoResponse GetQuerySegmentInfoResponse GetRestoreSnapshotStateResponse GetVersionResponse ListAliasesResponse ListDatabasesResponse
    ListRestoreSnapshotJobsResponse ListSnapshotsResponse ManualCompactionResponse MutationResult PinSnapshotDataResponse QueryResults
    RestoreSnapshotResponse SearchResults ShowCollectionsResponse ShowPartitionsResponse
    GetReplicasResponse ListResourceGroupsResponse DescribeResourceGroupResponse
    ListCredUsersResponse ListPrivilegeGroupsResponse SelectGrantResponse SelectRoleResponse SelectUserResponse
}

impl Answer<Self> for m::TruncateCollectionResponse {
    fn of(result: Result<Self, Failure>) -> Self {
        Self { status: Some(result.map_or_else(MilvusStatus::from, |_| success())) }
    }
}

impl Answer<Self> for m::AlterCollectionSchemaResponse {
    fn of(result: Result<Self, Failure>) -> Self {
        Self { alter_status: Some(result.map_or_else(MilvusStatus::from, |_| success())) }
    }
}

/// Users cause most failures and read them; those that they did not cause are for whoever runs the service.
fn log(call: &'static str, failure: &Failure) {
    match failure.code {
        Code::Internal => tracing::error!(call, code = failure.code.number(), "{failure}"),
        Code::NotReady => tracing::warn!(call, code = failure.code.number(), "{failure}"),
        _ => tracing::debug!(call, code = failure.code.number(), "{failure}"),
    }
}

fn count(call: &'static str, failure: Option<&Failure>, took: Duration) {
    let code = failure.map_or(0, |failure| failure.code.number());
    metrics::counter!("elanus_proxy_calls_total", "call" => call, "code" => code.to_string()).increment(1);
    metrics::histogram!("elanus_proxy_call_duration_seconds", "call" => call).record(took.as_secs_f64());
}

macro_rules! serve {
    ($($topic:ident { $($call:ident($request:ident) -> $answer:ty;)* })*) => {
        #[async_trait]
        impl MilvusService for Proxy {$($(
            async fn $call(&self, request: Request<m::$request>) -> Result<Response<$answer>, Status> {
                let (started, call) = (Instant::now(), Call::of(&request));
                let request = request.into_inner();
                self.admit(&call, request.needs(&call)).await?; // AC-2
                let result = $topic::$call(self, &call, request).await;
                let failure = result.as_ref().err();
                if let Some(failure) = failure {
                    log(stringify!($call), failure);
                    elanus_trace::fail(failure.code.number(), &failure.message);
                }
                count(stringify!($call), failure, started.elapsed());
                Ok(Response::new(Answer::of(result)))
            }
        )*)*}
    };
}

serve! {
    connect {
        connect(ConnectRequest) -> m::ConnectResponse;
        get_version(GetVersionRequest) -> m::GetVersionResponse;
        check_health(CheckHealthRequest) -> m::CheckHealthResponse;
        alloc_timestamp(AllocTimestampRequest) -> m::AllocTimestampResponse;
    }
    databases {
        list_databases(ListDatabasesRequest) -> m::ListDatabasesResponse;
        describe_database(DescribeDatabaseRequest) -> m::DescribeDatabaseResponse;
        create_database(CreateDatabaseRequest) -> MilvusStatus;
        drop_database(DropDatabaseRequest) -> MilvusStatus;
        alter_database(AlterDatabaseRequest) -> MilvusStatus;
    }
    aliases {
        create_alias(CreateAliasRequest) -> MilvusStatus;
        alter_alias(AlterAliasRequest) -> MilvusStatus;
        drop_alias(DropAliasRequest) -> MilvusStatus;
        list_aliases(ListAliasesRequest) -> m::ListAliasesResponse;
        describe_alias(DescribeAliasRequest) -> m::DescribeAliasResponse;
    }
    alter {
        rename_collection(RenameCollectionRequest) -> MilvusStatus;
        alter_collection(AlterCollectionRequest) -> MilvusStatus;
        alter_collection_field(AlterCollectionFieldRequest) -> MilvusStatus;
    }
    fields {
        add_collection_field(AddCollectionFieldRequest) -> MilvusStatus;
        alter_collection_schema(AlterCollectionSchemaRequest) -> m::AlterCollectionSchemaResponse;
    }
    replicas {
        get_replicas(GetReplicasRequest) -> m::GetReplicasResponse;
        list_resource_groups(ListResourceGroupsRequest) -> m::ListResourceGroupsResponse;
        describe_resource_group(DescribeResourceGroupRequest) -> m::DescribeResourceGroupResponse;
    }
    segments {
        get_persistent_segment_info(GetPersistentSegmentInfoRequest) -> m::GetPersistentSegmentInfoResponse;
        get_query_segment_info(GetQuerySegmentInfoRequest) -> m::GetQuerySegmentInfoResponse;
    }
    collections {
        create_collection(CreateCollectionRequest) -> MilvusStatus;
        drop_collection(DropCollectionRequest) -> MilvusStatus;
        truncate_collection(TruncateCollectionRequest) -> m::TruncateCollectionResponse;
        has_collection(HasCollectionRequest) -> m::BoolResponse;
        describe_collection(DescribeCollectionRequest) -> m::DescribeCollectionResponse;
        batch_describe_collection(BatchDescribeCollectionRequest) -> m::BatchDescribeCollectionResponse;
        get_collection_statistics(GetCollectionStatisticsRequest) -> m::GetCollectionStatisticsResponse;
        show_collections(ShowCollectionsRequest) -> m::ShowCollectionsResponse;
    }
    partitions {
        create_partition(CreatePartitionRequest) -> MilvusStatus;
        drop_partition(DropPartitionRequest) -> MilvusStatus;
        has_partition(HasPartitionRequest) -> m::BoolResponse;
        get_partition_statistics(GetPartitionStatisticsRequest) -> m::GetPartitionStatisticsResponse;
        show_partitions(ShowPartitionsRequest) -> m::ShowPartitionsResponse;
    }
    load {
        load_collection(LoadCollectionRequest) -> MilvusStatus;
        release_collection(ReleaseCollectionRequest) -> MilvusStatus;
        load_partitions(LoadPartitionsRequest) -> MilvusStatus;
        release_partitions(ReleasePartitionsRequest) -> MilvusStatus;
        get_loading_progress(GetLoadingProgressRequest) -> m::GetLoadingProgressResponse;
        get_load_state(GetLoadStateRequest) -> m::GetLoadStateResponse;
    }
    indexes {
        create_index(CreateIndexRequest) -> MilvusStatus;
        describe_index(DescribeIndexRequest) -> m::DescribeIndexResponse;
        get_index_state(GetIndexStateRequest) -> m::GetIndexStateResponse;
        get_index_build_progress(GetIndexBuildProgressRequest) -> m::GetIndexBuildProgressResponse;
        get_index_statistics(GetIndexStatisticsRequest) -> m::GetIndexStatisticsResponse;
        drop_index(DropIndexRequest) -> MilvusStatus;
        alter_index(AlterIndexRequest) -> MilvusStatus;
    }
    write {
        insert(InsertRequest) -> m::MutationResult;
        delete(DeleteRequest) -> m::MutationResult;
        upsert(UpsertRequest) -> m::MutationResult;
    }
    flush {
        flush(FlushRequest) -> m::FlushResponse;
        flush_all(FlushAllRequest) -> m::FlushAllResponse;
        get_flush_all_state(GetFlushAllStateRequest) -> m::GetFlushAllStateResponse;
        get_flush_state(GetFlushStateRequest) -> m::GetFlushStateResponse;
    }
    compaction {
        manual_compaction(ManualCompactionRequest) -> m::ManualCompactionResponse;
        get_compaction_state(GetCompactionStateRequest) -> m::GetCompactionStateResponse;
        get_compaction_state_with_plans(GetCompactionPlansRequest) -> m::GetCompactionPlansResponse;
    }
    read {
        query(QueryRequest) -> m::QueryResults;
        search(SearchRequest) -> m::SearchResults;
        hybrid_search(HybridSearchRequest) -> m::SearchResults;
    }
    snapshots {
        create_snapshot(CreateSnapshotRequest) -> MilvusStatus;
        drop_snapshot(DropSnapshotRequest) -> MilvusStatus;
        list_snapshots(ListSnapshotsRequest) -> m::ListSnapshotsResponse;
        describe_snapshot(DescribeSnapshotRequest) -> m::DescribeSnapshotResponse;
        restore_snapshot(RestoreSnapshotRequest) -> m::RestoreSnapshotResponse;
        get_restore_snapshot_state(GetRestoreSnapshotStateRequest) -> m::GetRestoreSnapshotStateResponse;
        list_restore_snapshot_jobs(ListRestoreSnapshotJobsRequest) -> m::ListRestoreSnapshotJobsResponse;
        pin_snapshot_data(PinSnapshotDataRequest) -> m::PinSnapshotDataResponse;
        unpin_snapshot_data(UnpinSnapshotDataRequest) -> MilvusStatus;
    }
    rbac {
        create_credential(CreateCredentialRequest) -> MilvusStatus;
        update_credential(UpdateCredentialRequest) -> MilvusStatus;
        delete_credential(DeleteCredentialRequest) -> MilvusStatus;
        list_cred_users(ListCredUsersRequest) -> m::ListCredUsersResponse;
        create_role(CreateRoleRequest) -> MilvusStatus;
        alter_role(AlterRoleRequest) -> MilvusStatus;
        drop_role(DropRoleRequest) -> MilvusStatus;
        operate_user_role(OperateUserRoleRequest) -> MilvusStatus;
        select_role(SelectRoleRequest) -> m::SelectRoleResponse;
        select_user(SelectUserRequest) -> m::SelectUserResponse;
        operate_privilege(OperatePrivilegeRequest) -> MilvusStatus;
        operate_privilege_v2(OperatePrivilegeV2Request) -> MilvusStatus;
        select_grant(SelectGrantRequest) -> m::SelectGrantResponse;
        create_privilege_group(CreatePrivilegeGroupRequest) -> MilvusStatus;
        drop_privilege_group(DropPrivilegeGroupRequest) -> MilvusStatus;
        list_privilege_groups(ListPrivilegeGroupsRequest) -> m::ListPrivilegeGroupsResponse;
        operate_privilege_group(OperatePrivilegeGroupRequest) -> MilvusStatus;
    }
}

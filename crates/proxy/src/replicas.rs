//! Replicas and resource groups, as a Milvus with one of each tells them. Query nodes share all work here: to clients they are
//! one node, in the group that cannot be dropped.

use crate::{
    Proxy,
    backend::{Call, answer, any_loaded},
};
use elanus_proto::{common::NodeInfo, datacoord as dc, milvus as m, rg};
use elanus_types::{Code, Failure};
use std::collections::BTreeMap;

/// The group that every Milvus has.
const DEFAULT_GROUP: &str = "__default_resource_group";
/// The node that stands for all query nodes.
const NODE: i64 = 1;
/// What Milvus says of the default group: no bound.
const NODES_MAX: i32 = 1_000_000;

/// 300 for a group that is not there.
pub(crate) fn group(name: &str) -> Result<(), Failure> {
    if name == DEFAULT_GROUP {
        return Ok(());
    }
    Err(Failure::new(Code::ResourceGroupNotFound, format!("resource group not found[rg={name}]")))
}

/// One replica, with a leader a shard.
pub(crate) async fn get_replicas(
    proxy: &Proxy,
    call: &Call,
    request: m::GetReplicasRequest,
) -> Result<m::GetReplicasResponse, Failure> {
    let reference = dc::CollectionRef {
        db_name: call.db(&request.db_name),
        collection_name: request.collection_name,
        collection_id: request.collection_id,
    };
    let collection = proxy.find(reference).await?;
    if !collection.any_loaded() {
        return Err(collection.not_loaded());
    }
    let node_ids = if request.with_shard_nodes { vec![NODE] } else { Vec::new() };
    let shard = |shard| m::ShardReplica {
        leader_id: NODE,
        leader_addr: String::new(),
        dm_channel_name: collection.channel(shard),
        node_ids: node_ids.clone(),
    };
    let loaded = collection.info.partitions.iter().filter(|partition| partition.loaded);
    let replica = m::ReplicaInfo {
        replica_id: collection.id(),
        collection_id: collection.id(),
        partition_ids: loaded.map(|partition| partition.id).collect(),
        shard_replicas: (0..collection.info.shards_num).map(shard).collect(),
        node_ids: vec![NODE],
        resource_group_name: DEFAULT_GROUP.to_owned(),
        num_outbound_node: BTreeMap::new(),
    };
    Ok(m::GetReplicasResponse { status: None, replicas: vec![replica] })
}

pub(crate) async fn list_resource_groups(
    _: &Proxy,
    _: &Call,
    _: m::ListResourceGroupsRequest,
) -> Result<m::ListResourceGroupsResponse, Failure> {
    Ok(m::ListResourceGroupsResponse { status: None, resource_groups: vec![DEFAULT_GROUP.to_owned()] })
}

/// With the loaded collections that the caller may see, by name as in Milvus: of those with one name in several databases one
/// stands for all.
pub(crate) async fn describe_resource_group(
    proxy: &Proxy,
    call: &Call,
    request: m::DescribeResourceGroupRequest,
) -> Result<m::DescribeResourceGroupResponse, Failure> {
    group(&request.resource_group)?;
    let mut num_loaded_replica = BTreeMap::new();
    for database in answer(proxy.datacoord().list_databases(dc::Empty {})).await?.databases {
        let list = dc::ListCollectionsRequest { db_name: database.name };
        let listed = match answer(proxy.datacoord().list_collections(list)).await {
            // Dropped since.
            Err(failure) if failure.code == Code::DatabaseNotFound => continue,
            other => other?,
        };
        let shown = listed.collections.into_iter().filter(|info| {
            any_loaded(info) && call.sees(|who| who.state.sees(&who.user, &info.db_name, Some(&info.name)))
        });
        num_loaded_replica.extend(shown.map(|info| (info.name, 1)));
    }
    let limit = |node_num| Some(rg::ResourceGroupLimit { node_num });
    let resource_group = m::ResourceGroup {
        name: DEFAULT_GROUP.to_owned(),
        capacity: NODES_MAX,
        num_available_node: 1,
        num_loaded_replica,
        config: Some(rg::ResourceGroupConfig { requests: limit(0), limits: limit(NODES_MAX), ..Default::default() }),
        nodes: vec![NodeInfo { node_id: NODE, ..NodeInfo::default() }],
        ..m::ResourceGroup::default()
    };
    Ok(m::DescribeResourceGroupResponse { status: None, resource_group: Some(resource_group) })
}

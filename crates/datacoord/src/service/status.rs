//! How the cluster is doing.

use crate::Parts;
use crate::service::convert;
use elanus_meta::model::ServiceRecord;
use elanus_meta::{ClusterStatus, Queues};
use elanus_proto::admin as pb;
use elanus_types::Failure;

pub(super) async fn get(parts: &Parts) -> Result<pb::ClusterStatus, Failure> {
    Ok(of_status(parts.meta().cluster_status().await?))
}

/// As it is told.
#[must_use]
pub fn of_status(status: ClusterStatus) -> pb::ClusterStatus {
    let ClusterStatus { cluster_id, now_ms, epoch, coordination, services, queues } = status;
    pb::ClusterStatus {
        cluster_id,
        now_ms,
        epoch: epoch.0,
        coordinator: coordination.holder.0,
        coordinator_lease_until_ms: coordination.lease_until_ms,
        services: services.into_iter().map(of_service).collect(),
        queues: Some(of_queues(queues)),
    }
}

fn of_service(service: ServiceRecord) -> pb::Service {
    pb::Service {
        node_id: service.node.0,
        kind: service.kind.label().to_owned(),
        address: service.address,
        management: service.management,
        version: service.version,
        epoch: service.epoch.0,
        lease_until_ms: service.lease_until_ms,
        started_ms: service.started_ms,
        slots: i64::try_from(service.slots).unwrap_or(i64::MAX),
    }
}

fn of_queues(queues: Queues) -> pb::Queues {
    pb::Queues {
        jobs: convert::int(queues.jobs),
        tasks_pending: convert::int(queues.tasks_pending),
        tasks_running: convert::int(queues.tasks_running),
        deletions: convert::int(queues.deletions),
        deleting: convert::int(queues.deleting),
        events: convert::int(queues.events),
        event_oldest_ms: queues.event_oldest_ms.unwrap_or_default(),
        compactions_pending: convert::int(queues.compactions_pending),
        compactions_running: convert::int(queues.compactions_running),
        snapshots_pending: convert::int(queues.snapshots_pending),
        index_builds_pending: convert::int(queues.index_builds_pending),
        index_builds_running: convert::int(queues.index_builds_running),
    }
}

//! Gauges that are brought up to date when somebody asks for the metrics.

use elanus_meta::Meta;
use elanus_meta::model::ServiceKind;

/// What waits in the cluster, and who is there. Told by the active coordinator alone: the sum over processes would be wrong.
pub(super) async fn cluster(meta: &Meta) {
    let Ok(status) = meta.cluster_status().await else { return };
    let queues = status.queues;
    let lengths = [
        ("compactions_pending", queues.compactions_pending),
        ("compactions_running", queues.compactions_running),
        ("copy_tasks_pending", queues.tasks_pending),
        ("copy_tasks_running", queues.tasks_running),
        ("deletions", queues.deletions),
        ("deletions_running", queues.deleting),
        ("index_builds_pending", queues.index_builds_pending),
        ("index_builds_running", queues.index_builds_running),
        ("outbox", queues.events),
        ("restore_jobs", queues.jobs),
        ("snapshots_pending", queues.snapshots_pending),
    ];
    for (queue, length) in lengths {
        metrics::gauge!("elanus_datacoord_queue_length", "queue" => queue).set(length as f64);
    }
    let lag_ms = queues.event_oldest_ms.map_or(0, |oldest_ms| (status.now_ms - oldest_ms).max(0));
    metrics::gauge!("elanus_datacoord_outbox_lag_seconds").set(lag_ms as f64 / 1_000.0);
    for kind in ServiceKind::ALL {
        let live = status.services.iter().filter(|one| one.kind == kind && one.lease_until_ms > status.now_ms).count();
        metrics::gauge!("elanus_datacoord_services", "kind" => kind.label()).set(live as f64);
    }
}

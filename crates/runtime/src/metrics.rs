//! Metrics of the process, as Prometheus reads them.
//!
//! Any crate counts through the facade of the crate `metrics`; here they are collected, described and rendered. Every metric
//! is in [`ALL`]: what is not is not rendered with a type, and a test of the program compares the two.
//!
//! Names are `elanus_<service>_<noun>_<unit|total>`; values of labels are names of calls, tasks, states and reasons, never
//! of things that users make.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// As it is now.
    Gauge,
    /// How long or how large, in buckets.
    Histogram,
}

/// A metric that a process may have.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, in the order of the alphabet.
    pub labels: &'static [&'static str],
    /// For people.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

const MOVE: &[&str] = &["event", "from", "to"];

/// All of them, in the order of the alphabet.
#[rustfmt::skip]
pub const ALL: &[Metric] = &[
    counter("elanus_compaction_transitions_total", MOVE, "moves of compactions"),
    counter("elanus_copy_task_transitions_total", MOVE, "moves of copy tasks"),
    counter("elanus_datacoord_gc_delete_failures_total", &[], "attempts to delete an object that failed"),
    counter("elanus_datacoord_gc_deleted_objects_total", &[], "objects that were deleted"),
    gauge("elanus_datacoord_gc_failing_objects", &[], "objects that could not be deleted and are tried again; see gc status"),
    gauge("elanus_datacoord_gc_first_run_objects", &[], "objects that a first run would have deleted, waiting for somebody to look; see gc status"),
    gauge("elanus_datacoord_gc_freezes", &[], "reasons for which nothing is deleted; 0: things are"),
    gauge("elanus_datacoord_gc_kept_bytes", &["by"], "bytes that only a brake keeps: frozen, paused, held, read, breaker"),
    gauge("elanus_datacoord_gc_kept_objects", &["by"], "objects that only a brake keeps"),
    gauge("elanus_datacoord_gc_orphans", &["state"], "objects in the bucket that nothing knows, as the last scans saw them"),
    gauge("elanus_datacoord_gc_orphans_bytes", &["state"], "their bytes"),
    gauge("elanus_datacoord_gc_queue_bytes", &["reason", "state"], "bytes of file sets that nothing needs"),
    gauge("elanus_datacoord_gc_queue_file_sets", &["reason", "state"], "file sets that nothing needs; at most 100,000 are counted"),
    gauge("elanus_datacoord_gc_queue_oldest_seconds", &[], "for so long the oldest of them could have been deleted"),
    gauge("elanus_datacoord_outbox_lag_seconds", &[], "age of the oldest event that was not published yet; 0: none"),
    gauge("elanus_datacoord_pin_oldest_seconds", &[], "age of the oldest pin that keeps a snapshot; 0: none"),
    gauge("elanus_datacoord_pins", &[], "pins that keep a snapshot"),
    gauge("elanus_datacoord_queue_length", &["queue"], "what waits or is under way in the cluster; at most 100,000 are counted"),
    gauge("elanus_datacoord_scan_age_seconds", &[], "since the start of the last complete scan for orphans; -1: none"),
    gauge("elanus_datacoord_scan_duration_seconds", &[], "how long the last complete scan took"),
    gauge("elanus_datacoord_scan_missing_objects", &[], "live objects that the last complete scan did not find"),
    gauge("elanus_datacoord_services", &["kind"], "processes of the cluster whose lease has not ended"),
    histogram("elanus_datacoord_snapshot_duration_seconds", &["ended"], "time to write what a snapshot needs and to commit it"),
    gauge("elanus_datacoord_snapshot_only_bytes", &["kept_by"], "bytes that only snapshots keep: of one snapshot, or shared by several"),
    gauge("elanus_datacoord_snapshot_unlisted_oldest_seconds", &[], "age of the oldest snapshot whose files are still to be listed; 0: none"),
    gauge("elanus_datacoord_snapshots_unlisted", &[], "snapshots that were answered and whose files are still to be listed"),
    counter("elanus_datanode_commits_total", &[], "commits of writes; one may be of several requests"),
    counter("elanus_datanode_compacted_bytes_total", &[], "bytes of the files that compactions wrote; what they read: elanus_datanode_task_bytes_total"),
    gauge("elanus_datanode_copies_at_once_max", &[], "copies that may be under way at the same time now, as the object store bears it"),
    counter("elanus_datanode_indexed_bytes_total", &[], "bytes of the indexes that were built; what was read for them: elanus_datanode_task_bytes_total"),
    counter("elanus_datanode_store_retries_total", &[], "calls to the object store that a copy or compaction made again"),
    counter("elanus_datanode_task_bytes_total", &["kind"], "bytes that were copied and verified, or read to be compacted"),
    counter("elanus_datanode_task_files_total", &["kind"], "files that were copied and verified, or read to be compacted"),
    gauge("elanus_datanode_tasks_running", &["kind"], "copies and compactions that this node works on"),
    counter("elanus_datanode_tasks_total", &["ended", "kind"], "copies and compactions that ended here: done, failed, failed_for_now, stopped"),
    counter("elanus_datanode_writes_total", &[], "inserts, upserts and deletes that were taken"),
    gauge("elanus_events_connected", &[], "1: connected to the event bus on the network"),
    counter("elanus_events_connection_losses_total", &[], "times that the connection to the event bus was lost"),
    counter("elanus_events_dead_letters_total", &["consumer"], "events that a consumer could not handle, put aside"),
    counter("elanus_events_published_total", &["kind"], "events that the bus on the network has taken"),
    counter("elanus_events_received_total", &["kind"], "events that came from the bus on the network"),
    counter("elanus_file_set_transitions_total", MOVE, "moves of file sets; deleting to gone: their objects are deleted"),
    counter("elanus_index_build_transitions_total", MOVE, "moves of index builds"),
    gauge("elanus_meta_connections", &["pool", "state"], "connections to the metadata store: busy, idle, and max that there may be"),
    histogram("elanus_meta_transaction_duration_seconds", &["kind"], "time of a transaction, with the wait for a connection"),
    counter("elanus_meta_transactions_total", &["ended", "kind"], "transactions that ended: committed, read, rolled back, failed, not begun"),
    histogram("elanus_meta_wait_seconds", &["kind"], "time until a transaction had a connection and had begun"),
    counter("elanus_objects_bytes_total", &["call"], "bytes that were put, got or copied"),
    histogram("elanus_objects_call_duration_seconds", &["call"], "time of a call to the object store, with its repetitions"),
    counter("elanus_objects_calls_total", &["call", "outcome"], "calls to the object store, by ok or the kind of error"),
    counter("elanus_objects_requests_repeated_total", &[], "requests that were sent to S3 again"),
    histogram("elanus_proxy_call_duration_seconds", &["call"], "time to answer a call of the Milvus API"),
    counter("elanus_proxy_calls_total", &["call", "code"], "answered calls of the Milvus API, by the code of the answer"),
    counter(
        "elanus_proxy_refused_total",
        &["why"],
        "calls of clients that were not let in (unauthenticated, limited, unavailable) or not allowed (denied)",
    ),
    gauge("elanus_querynode_cache_bytes", &[], "bytes of decoded files in the cache"),
    gauge("elanus_querynode_cache_bytes_max", &[], "bytes that the cache may hold"),
    counter("elanus_querynode_cache_looks_total", &["found"], "files that a read wanted: hit, miss"),
    counter("elanus_querynode_fetched_bytes_total", &[], "bytes that were fetched from the object store to be read"),
    counter("elanus_querynode_index_failures_total", &[], "indexes that could not be read: their files are scanned"),
    counter("elanus_querynode_index_searches_total", &["by"], "query vectors searched in files that have an index, a file each: by its graph, or by a scan of the rows that match, where these are few"),
    counter("elanus_querynode_view_refreshes_total", &["by"], "views of collections that were brought up to date: by a read that waited for it, or by an event before one did"),
    histogram("elanus_restore_job_duration_seconds", &["ended", "kind", "mode"], "time from the request to the end of a restore or detach"),
    counter("elanus_restore_job_transitions_total", MOVE, "moves of restore jobs"),
    gauge("elanus_root_epoch", &[], "ownership number of this process; it rises with every start of the cluster"),
    gauge("elanus_root_renewed_age_seconds", &[], "since the owner's marker was written last; -1: never by this process"),
    gauge("elanus_root_state", &["state"], "1: how this process stands to the root path: owner, frozen, restored, quarantined, fenced, foreign"),
    counter("elanus_router_calls_total", &["address", "outcome", "what"], "processes that were asked to take a call: answered, refused, away, broke"),
    counter("elanus_router_given_up_total", &["what"], "calls that nobody took in time"),
    gauge("elanus_router_waiting", &["what"], "calls that wait for a process that takes them"),
    histogram("elanus_rpc_call_duration_seconds", &["method", "service"], "time to answer a call of another service or of an operator"),
    counter("elanus_rpc_calls_total", &["code", "method", "service"], "answered calls of other services and of operators, by the code of the answer"),
    gauge("elanus_runtime_degraded", &["reason"], "1: the process serves, and a person must look; see /healthz"),
    counter("elanus_runtime_outbox_forgotten_total", &[], "events that were never published: the bus was away, and too many waited"),
    counter("elanus_runtime_spans_total", &["outcome"], "spans: exported, dropped because too many wait, lost because the receiver is away"),
    histogram("elanus_runtime_task_duration_seconds", &["task"], "time of a round of a background task"),
    counter("elanus_runtime_task_failures_total", &["task"], "rounds that failed in part or as a whole"),
    counter("elanus_runtime_task_handled_total", &["task"], "things that left the state that a task empties"),
    counter("elanus_runtime_task_rounds_total", &["task"], "rounds of a background task"),
    counter("elanus_segment_transitions_total", MOVE, "moves of segments"),
    counter("elanus_snapshot_transitions_total", MOVE, "moves of snapshots"),
    gauge("elanus_tls_certificate_expiry_seconds", &["of"], "until the certificate in force ends; negative: it has"),
    gauge("elanus_tls_files_refused", &["of"], "1: certificates, keys or tokens on disk cannot be used, and those that were read before stay in force"),
    counter("elanus_tls_handshakes_failed_total", &[], "connections that were refused: no TLS, no certificate, or not one of ours"),
];

/// From a cached answer to a scan of everything.
const SECONDS: &[f64] = &[0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0];

/// Starts to collect, once in a process; later calls give the same. `None` when the process collects otherwise.
#[must_use]
pub fn collector() -> Option<&'static PrometheusHandle> {
    static COLLECTOR: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    COLLECTOR.get_or_init(install).as_ref()
}

fn install() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS);
    let installed = builder.map_err(|error| error.to_string()).and_then(|builder| {
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        Ok(handle)
    });
    match installed {
        Ok(handle) => {
            describe();
            Some(handle)
        }
        Err(error) => {
            tracing::warn!(error, "there will be no metrics");
            None
        }
    }
}

fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// What Prometheus reads.
#[must_use]
pub fn render() -> String {
    let Some(collector) = collector() else { return String::new() };
    collector.run_upkeep();
    collector.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_and_are_in_order() {
        assert!(ALL.is_sorted_by(|a, b| a.name < b.name));
        for metric in ALL {
            let parts: Vec<_> = metric.name.split('_').collect();
            assert!(parts.len() >= 3 && parts[0] == "elanus", "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.kind != Kind::Histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
            assert!(metric.labels.is_sorted() && !metric.help.is_empty(), "{}", metric.name);
        }
    }

    /// What operators build dashboards and alarms on: a name that changes breaks them without a word.
    #[test]
    fn the_list_of_all_metrics_is_the_golden_one() {
        let line = |metric: &Metric| {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            format!("{} {kind} {{{}}} {}\n", metric.name, metric.labels.join(","), metric.help)
        };
        let found: String = ALL.iter().map(line).collect();
        assert_eq!(found, include_str!("../metrics.txt"), "what is right goes to crates/runtime/metrics.txt");
    }

    #[test]
    fn what_is_counted_is_rendered_with_its_help() {
        collector().unwrap();
        metrics::counter!("elanus_runtime_task_rounds_total", "task" => "test").increment(3);
        metrics::histogram!("elanus_proxy_call_duration_seconds", "call" => "test").record(0.2);
        let text = render();
        assert!(text.contains("# TYPE elanus_runtime_task_rounds_total counter"), "{text}");
        assert!(text.contains("elanus_runtime_task_rounds_total{task=\"test\"} 3"), "{text}");
        assert!(text.contains("elanus_proxy_call_duration_seconds_bucket{call=\"test\",le=\"0.5\"} 1"), "{text}");
    }
}

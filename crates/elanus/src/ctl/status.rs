//! `elanus ctl status`: the processes of the cluster, who coordinates, and what waits.

use super::Stop;
use crate::output::{self, Rendered, clean, rfc3339, table};
use crate::root;
use clap::Args;
use elanus_client::{Client, ClientError, ClusterStatus, ErrorKind, Service};
use elanus_datacoord::of_status;
use elanus_meta::{Meta, MetaError};
use elanus_types::SystemClock;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const HELP: &str = "\
Exit code 1, and a line that says so, when something is missing: an active coordinator, a data node, a query node, a
proxy; or a process that ended without leaving, for ten minutes or until another one has its address.";

/// See the processes of the cluster, who coordinates, and what waits
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct StatusArgs {
    /// Ask this metadata store instead of a server: also when no coordinator is there
    #[arg(long, value_name = "URL", env = "ELANUS_STATUS_META", hide_env_values = true)]
    pub(super) meta: Option<String>,
}

/// Asks a server.
pub(super) async fn ask(client: &Client) -> Result<Rendered, Stop> {
    render(&client.status().await?)
}

/// Asks the metadata.
pub(super) async fn look(url: &str) -> Result<Rendered, Stop> {
    let failed = |kind, text| Stop::Client(ClientError { kind, code: None, message: text });
    let url = root::checked_meta_url(Some(url)).map_err(|error| failed(ErrorKind::Invalid, format!("{error:#}")))?;
    let away = |error: MetaError| failed(ErrorKind::Unavailable, elanus_types::Failure::from(error).message);
    let meta = Meta::connect(&url, Arc::new(SystemClock)).await.map_err(away)?;
    let status = meta.cluster_status().await.map_err(away);
    meta.close().await;
    render(&of_status(status?))
}

fn render(status: &ClusterStatus) -> Result<Rendered, Stop> {
    let missing = missing(status);
    let rendered = Rendered { text: text(status, &missing), json: json(status, &missing) };
    if missing.is_empty() { Ok(rendered) } else { Err(Stop::Differs(rendered)) }
}

fn is_live(status: &ClusterStatus, service: &Service) -> bool {
    service.lease_until_ms > status.now_ms
}

fn is_active(status: &ClusterStatus, service: &Service) -> bool {
    service.node_id == status.coordinator && status.coordinator_lease_until_ms > status.now_ms
}

/// In one word.
fn state(status: &ClusterStatus, service: &Service) -> &'static str {
    match service.kind.as_str() {
        _ if !is_live(status, service) => "silent",
        "datacoord" if !is_active(status, service) => "standby",
        "datacoord" => "active",
        _ => "up",
    }
}

/// What a person should look at.
fn missing(status: &ClusterStatus) -> Vec<String> {
    let mut missing = Vec::new();
    let live = |kind: &str| status.services.iter().any(|service| service.kind == kind && is_live(status, service));
    if status.coordinator_lease_until_ms <= status.now_ms {
        missing.push(match (status.coordinator.as_str(), status.coordinator_lease_until_ms) {
            ("", _) => "no coordinator has ever started".to_owned(),
            (last, 0) => format!("no coordinator is active: {last} has ended"),
            (last, until_ms) => {
                format!("no coordinator is active: {last} is silent, its lease ended {}", ago(status, until_ms))
            }
        });
    }
    if !live("standalone") {
        for (kind, name) in [("proxy", "proxy"), ("datanode", "data node"), ("querynode", "query node")] {
            if !live(kind) {
                missing.push(format!("no {name} is there"));
            }
        }
    }
    for lost in status.services.iter().filter(|service| !is_live(status, service)) {
        let replaces = |other: &Service| {
            is_live(status, other)
                && other.kind == lost.kind
                && !lost.address.is_empty()
                && other.address == lost.address
        };
        if !status.services.iter().any(replaces) && lost.kind != "standalone" {
            let ended = ago(status, lost.lease_until_ms);
            missing.push(format!("{} at {} is silent: its lease ended {ended}", lost.node_id, lost.address));
        }
    }
    missing
}

fn ago(status: &ClusterStatus, ms: i64) -> String {
    format!("{} ago", duration(status.now_ms - ms))
}

/// Whole seconds.
fn duration(ms: i64) -> String {
    let seconds = u64::try_from(ms).unwrap_or_default() / 1_000;
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

fn text(status: &ClusterStatus, missing: &[String]) -> String {
    let ClusterStatus { cluster_id, epoch, coordinator, .. } = status;
    let head = [
        ("cluster", cluster_id.clone()),
        ("epoch", epoch.to_string()),
        ("coordinator", if coordinator.is_empty() { "-".to_owned() } else { coordinator.clone() }),
    ];
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let rows = status.services.iter().map(|service| {
        let lease_ms = service.lease_until_ms - status.now_ms;
        vec![
            service.kind.clone(),
            state(status, service).to_owned(),
            or_none(&service.address),
            or_none(&service.management),
            service.version.clone(),
            if service.epoch == 0 { "-".to_owned() } else { service.epoch.to_string() },
            if lease_ms > 0 { duration(lease_ms) } else { "over".to_owned() },
            duration(status.now_ms - service.started_ms),
            service.node_id.clone(),
        ]
    });
    let columns = ["KIND", "STATE", "ADDRESS", "MANAGEMENT", "VERSION", "EPOCH>", "LEASE>", "UP FOR>", "NODE"];
    let queues = status.queues.unwrap_or_default();
    let lag =
        if queues.events == 0 { String::new() } else { format!(", oldest {}", ago(status, queues.event_oldest_ms)) };
    let waits = [
        ("snapshots", format!("{} being written", queues.snapshots_pending)),
        ("restore jobs", queues.jobs.to_string()),
        ("copy tasks", format!("{} waiting, {} running", queues.tasks_pending, queues.tasks_running)),
        ("compactions", format!("{} waiting, {} running", queues.compactions_pending, queues.compactions_running)),
        ("index builds", format!("{} waiting, {} running", queues.index_builds_pending, queues.index_builds_running)),
        ("deletions", format!("{} waiting, {} running", queues.deletions, queues.deleting)),
        ("outbox", format!("{} events{lag}", queues.events)),
    ];
    let mut text = format!("{}\n\n{}\n\n{}", output::facts(&head), table(&columns, rows), output::facts(&waits));
    for one in missing {
        text.push_str(&format!("\nmissing: {}", clean(one)));
    }
    text
}

fn json(status: &ClusterStatus, missing: &[String]) -> Value {
    let services = status.services.iter().map(|service| {
        json!({
            "kind": service.kind,
            "state": state(status, service),
            "node_id": service.node_id,
            "address": service.address,
            "management": service.management,
            "version": service.version,
            "epoch": output::number_or_null(service.epoch),
            "slots": service.slots,
            "lease_until_ms": service.lease_until_ms,
            "lease_until": rfc3339(service.lease_until_ms),
            "started_ms": service.started_ms,
            "started": rfc3339(service.started_ms),
        })
    });
    let queues = status.queues.unwrap_or_default();
    json!({
        "cluster_id": status.cluster_id,
        "now_ms": status.now_ms,
        "epoch": status.epoch,
        "coordinator": {
            "node_id": status.coordinator,
            "lease_until_ms": status.coordinator_lease_until_ms,
            "lease_until": rfc3339(status.coordinator_lease_until_ms),
        },
        "services": services.collect::<Vec<_>>(),
        "queues": {
            "restore_jobs": queues.jobs,
            "snapshots_pending": queues.snapshots_pending,
            "compactions_pending": queues.compactions_pending,
            "compactions_running": queues.compactions_running,
            "index_builds_pending": queues.index_builds_pending,
            "index_builds_running": queues.index_builds_running,
            "tasks_pending": queues.tasks_pending,
            "tasks_running": queues.tasks_running,
            "deletions": queues.deletions,
            "deleting": queues.deleting,
            "events": queues.events,
            "event_oldest_ms": output::number_or_null(queues.event_oldest_ms),
        },
        "missing": missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_700_000_100_000;

    fn service(kind: &str, name: &str, left_ms: i64) -> Service {
        Service {
            node_id: name.to_owned(),
            kind: kind.to_owned(),
            address: format!("{name}:1"),
            management: format!("{name}:2"),
            version: "0.1.0".to_owned(),
            epoch: 0,
            lease_until_ms: NOW_MS + left_ms,
            started_ms: NOW_MS - 90_000,
            slots: 4,
        }
    }

    fn cluster() -> ClusterStatus {
        ClusterStatus {
            cluster_id: "c".to_owned(),
            now_ms: NOW_MS,
            epoch: 7,
            coordinator: "dc0".to_owned(),
            coordinator_lease_until_ms: NOW_MS + 4_000,
            services: vec![
                Service { epoch: 7, ..service("datacoord", "dc0", 9_000) },
                service("datacoord", "dc1", 9_000),
                service("datanode", "dn0", 9_000),
                service("proxy", "p0", 9_000),
                service("querynode", "qn0", 9_000),
            ],
            queues: None,
        }
    }

    #[test]
    fn a_whole_cluster_misses_nothing() {
        let status = cluster();
        assert_eq!(missing(&status), Vec::<String>::new());
        let states: Vec<_> = status.services.iter().map(|service| state(&status, service)).collect();
        assert_eq!(states, ["active", "standby", "up", "up", "up"]);
        let text = text(&status, &[]);
        for part in ["cluster      c", "datacoord  active   dc0:1    dc0:2       0.1.0        7     9s  1m 30s  dc0"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        let standalone = ClusterStatus {
            coordinator: "s".to_owned(),
            services: vec![service("standalone", "s", 9_000)],
            ..cluster()
        };
        assert_eq!(missing(&standalone), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_named() {
        let nobody = ClusterStatus { coordinator_lease_until_ms: 0, services: vec![], ..cluster() };
        assert_eq!(
            missing(&nobody),
            [
                "no coordinator is active: dc0 has ended",
                "no proxy is there",
                "no data node is there",
                "no query node is there"
            ]
        );
        let silent = ClusterStatus { coordinator_lease_until_ms: NOW_MS - 61_000, ..cluster() };
        assert_eq!(missing(&silent), ["no coordinator is active: dc0 is silent, its lease ended 1m 1s ago"]);

        let mut lost = cluster();
        lost.services.push(service("datanode", "dn1", -5_000));
        assert_eq!(missing(&lost), ["dn1 at dn1:1 is silent: its lease ended 5s ago"]);
        lost.services.push(Service { address: "dn1:1".to_owned(), ..service("datanode", "dn1-again", 9_000) });
        assert_eq!(missing(&lost), Vec::<String>::new(), "another one has its place");
    }
}

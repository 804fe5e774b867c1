//! `elanus ctl root purge-namespace`: the one root command that needs a server, for only the owner deletes.

use super::super::{Stop, stop};
use crate::output::{Rendered, clean, facts, seconds, size};
use clap::Args;
use elanus_client::{Client, ErrorKind, PurgeNamespaceReport};
use indicatif::ProgressBar;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(in crate::ctl) struct PurgeArgs {
    /// The former owner: its folder below the root path has this name
    #[arg(value_name = "UUID")]
    cluster: Uuid,
    /// Delete for good everything that is in that folder: the same id once more
    #[arg(long, value_name = "UUID")]
    confirm: Option<Uuid>,
    /// Do not wait for the end: it goes on in the server
    #[arg(long, requires = "confirm")]
    no_wait: bool,
    /// How the emptying stands
    #[arg(long, conflicts_with_all = ["confirm", "no_wait"])]
    progress: bool,
}

pub(super) async fn execute(client: &Client, args: &PurgeArgs) -> Result<Rendered, Stop> {
    let (scans, cluster) = (client.scans(), args.cluster.to_string());
    if args.progress {
        let report = scans.purge_progress(&cluster).await?;
        if report.state.is_empty() {
            return Err(stop(ErrorKind::NotFound, format!("nobody had the folder {cluster}/ emptied")));
        }
        return Ok(render(&report));
    }
    match args.confirm {
        None => return Ok(render(&scans.look_at_namespace(&cluster).await?)),
        Some(confirmed) if confirmed != args.cluster => {
            let text = format!("--confirm names {confirmed}, not {cluster}; nothing was done");
            return Err(stop(ErrorKind::Invalid, text));
        }
        Some(_) => {}
    }
    let begun = scans.purge_namespace(&cluster, "elanus ctl").await?;
    if args.no_wait {
        return Ok(render(&begun));
    }
    let progress = ProgressBar::new_spinner();
    let report = loop {
        let report = scans.purge_progress(&cluster).await?;
        if report.state != "running" || !report.frozen.is_empty() {
            break report;
        }
        let deleted = report.objects.saturating_sub(report.waiting);
        progress.set_message(format!("{deleted} objects deleted, {} queued", report.waiting));
        progress.tick();
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = tokio::signal::ctrl_c() => {
                eprintln!("it goes on in the server; look at it with: elanus ctl root purge-namespace {cluster} --progress");
                return Err(Stop::Interrupted);
            }
        }
    };
    progress.finish_and_clear();
    let rendered = render(&report);
    if report.state == "complete" { Ok(rendered) } else { Err(Stop::Differs(rendered)) }
}

fn render(report: &PurgeNamespaceReport) -> Rendered {
    let PurgeNamespaceReport { objects, bytes, waiting, .. } = *report;
    let counted = format!("{objects} objects, {}", size(i64::try_from(bytes).unwrap_or(i64::MAX)));
    let mut lines = vec![("folder", format!("{}/", clean(&report.cluster_id)))];
    if report.taken_ms > 0 {
        lines.push(("taken", format!("{}: {}", seconds(report.taken_ms), clean(&report.reason))));
    }
    match report.state.as_str() {
        "running" => {
            lines.push(("being emptied", format!("{counted} queued so far, {waiting} of them not yet deleted")))
        }
        "complete" if report.examples.is_empty() => {
            lines.push(("emptied", format!("{}: {counted}", seconds(report.ended_ms))))
        }
        _ => lines.push(("there", counted)),
    }
    if !report.frozen.is_empty() && report.state == "running" {
        lines.push(("waits", clean(&report.frozen)));
    }
    let mut text = facts(&lines);
    for key in &report.examples {
        text.push_str(&format!("\n{}", clean(key)));
    }
    if report.started_ms == 0 {
        let id = clean(&report.cluster_id);
        text.push_str(&format!(
            "\nnothing was changed; to delete all of it for good: elanus ctl root purge-namespace {id} --confirm {id}"
        ));
    }
    let json = json!({
        "cluster_id": report.cluster_id,
        "state": if report.state.is_empty() { "untouched" } else { &report.state },
        "objects": objects,
        "bytes": bytes,
        "waiting": waiting,
        "examples": report.examples,
        "taken_ms": report.taken_ms,
        "reason": report.reason,
        "started_ms": report.started_ms,
        "ended_ms": report.ended_ms,
        "frozen": (!report.frozen.is_empty()).then_some(&report.frozen),
        "dry_run": report.started_ms == 0,
    });
    Rendered { text, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_how_to_delete_it() {
        let report = PurgeNamespaceReport {
            cluster_id: "x".to_owned(),
            objects: 3,
            bytes: 2_048,
            examples: vec!["x/a\n".to_owned()],
            ..PurgeNamespaceReport::default()
        };
        let expected = "\
folder  x/
there   3 objects, 2.00 KiB
x/a\\n
nothing was changed; to delete all of it for good: elanus ctl root purge-namespace x --confirm x";
        assert_eq!(render(&report).text, expected);
        assert_eq!(render(&report).json["dry_run"], true);
    }
}

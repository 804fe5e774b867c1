//! `elanus ctl gc scan`, `orphans` and `reconcile`.

use super::{
    Stop, confirm,
    output::{Rendered, clean, facts, rfc3339, seconds, size, table},
};
use clap::Args;
use elanus_client::{Allow, Client, DeleteFreeze, Orphan, ReconcileReport, Scan};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::time::Duration;

/// Orphans of one call.
const PAGE: u32 = 1_000;
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Longer than a backup of the metadata is kept.
const QUARANTINE: &str = "30days";

/// Scan the bucket for objects that nothing knows
///
/// Runs a scan now and waits for its end; the server scans by itself once a week. Ends with exit code 1 when live objects are
/// missing, or when more orphans were found than a healthy store has.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  elanus ctl gc scan\n  elanus ctl gc scan --last")]
pub(super) struct ScanArgs {
    /// Show the last scan, and run none
    #[arg(long)]
    last: bool,
    /// Do not wait for the end
    #[arg(long, conflicts_with = "last")]
    no_wait: bool,
}

/// List objects that scans found and that nothing knows, and say what may be done about them
///
/// An orphan is deleted by itself when two complete scans saw it, a day apart, and it is a week old. An object that no row of
/// the metadata ever mentioned ("unknown") stays until it is allowed.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  elanus ctl gc orphans\n  elanus ctl gc orphans --allow-unknown CLUSTER/insert_log/1/x --yes\n  elanus ctl gc orphans --accept-scan 17"
)]
pub(super) struct OrphansArgs {
    /// Most orphans to list
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    /// Allow the deletion of this unknown object, or of all that are listed: all
    #[arg(long, value_name = "KEY|all")]
    allow_unknown: Option<String>,
    /// Allow the deletion of the orphans of this scan, although there are many
    #[arg(long, value_name = "SCAN", conflicts_with = "allow_unknown")]
    accept_scan: Option<i64>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Compare bucket and metadata after the metadata was restored from a backup, and let deletes go on
///
/// Without --apply nothing is changed. Every object that the metadata needs is looked for; objects that it does not know are
/// listed, and kept for a quarantine with --apply. Deletes go on under a new epoch, unless something is missing or damaged.
/// May be repeated at any time. Ends with exit code 1 when something is missing or damaged, or deletes stay frozen.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  elanus ctl gc reconcile\n  elanus ctl gc reconcile --apply --quarantine 30days --yes"
)]
pub(super) struct ReconcileArgs {
    /// Put unknown objects in quarantine and end the freeze of deletes
    #[arg(long)]
    apply: bool,
    /// Go on although live objects are missing or damaged: what needs them cannot be read
    #[arg(long, requires = "apply")]
    accept_missing: bool,
    /// Unknown objects are not deleted for so long: at least as long as backups of the metadata are kept
    #[arg(long, value_name = "TIME", default_value = QUARANTINE, value_parser = humantime::parse_duration)]
    quarantine: Duration,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn scan(client: &Client, args: &ScanArgs) -> Result<Rendered, Stop> {
    let scans = client.scans();
    let wanted = if args.last { None } else { Some(scans.start().await?.id) };
    let progress = ProgressBar::new_spinner();
    let (scan, freezes) = loop {
        let told = scans.list(100).await?;
        let found = match wanted {
            Some(id) => told.scans.into_iter().find(|scan| scan.id == id),
            None => told.scans.into_iter().next(),
        };
        let Some(scan) = found else {
            return Ok(Rendered { text: "no scan has run yet".to_owned(), json: Value::Null });
        };
        let ended = matches!(scan.state.as_str(), "complete" | "discarded");
        if ended || wanted.is_none() || args.no_wait {
            break (scan, told.freezes);
        }
        progress.set_message(format!(
            "scan {}: {} objects, {} orphans",
            scan.id,
            scan.listed,
            scan.orphans + scan.unknown
        ));
        progress.tick();
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = tokio::signal::ctrl_c() => {
                eprintln!("the scan goes on in the server; look at it with: elanus ctl gc scan --last");
                return Err(Stop::Interrupted);
            }
        }
    };
    progress.finish_and_clear();
    let rendered = render_scan(&scan, &freezes);
    let held = scan.held && scan.accepted_ms == 0;
    if scan.missing > 0 || held || scan.state == "discarded" { Err(Stop::Differs(rendered)) } else { Ok(rendered) }
}

pub(super) async fn orphans(client: &Client, args: &OrphansArgs) -> Result<Rendered, Stop> {
    let scans = client.scans();
    if let Some(id) = args.accept_scan {
        let what =
            format!("scan {id} found more orphans than a healthy store has; those that two scans saw will be deleted");
        confirm::confirm(args.yes, &what, &id.to_string())?;
        return Ok(allowed(scans.allow(Allow::Scan(id)).await?));
    }
    if let Some(key) = &args.allow_unknown {
        let all = key == "all";
        let objects = if all { "all unknown objects" } else { key.as_str() };
        let what = format!("{objects} will be deleted when two scans saw them, and cannot be brought back");
        confirm::confirm(args.yes, &what, "delete")?;
        let what = if all { Allow::AllUnknown } else { Allow::UnknownKey(key.clone()) };
        return Ok(allowed(scans.allow(what).await?));
    }
    let mut found: Vec<Orphan> = Vec::new();
    while found.len() < args.limit {
        let after = found.last().map(|orphan| orphan.key.clone()).unwrap_or_default();
        let room = u32::try_from(args.limit - found.len()).unwrap_or(PAGE).min(PAGE);
        let page = scans.orphans(&after, room).await?;
        let is_last = page.len() < room as usize;
        found.extend(page);
        if is_last {
            break;
        }
    }
    Ok(render_orphans(&found))
}

pub(super) async fn reconcile(client: &Client, args: &ReconcileArgs) -> Result<Rendered, Stop> {
    if args.apply {
        let what = "deletes will go on; what the metadata does not know is kept for the quarantine";
        confirm::confirm(args.yes, what, "reconcile")?;
    }
    let report = client.scans().reconcile(args.apply, args.accept_missing, args.quarantine).await?;
    let rendered = render_reconcile(&report);
    let is_whole = report.missing_num + report.damaged_num == 0;
    let is_open = !args.apply || report.frozen.is_empty();
    if is_whole && is_open { Ok(rendered) } else { Err(Stop::Differs(rendered)) }
}

fn allowed(objects: i64) -> Rendered {
    Rendered { text: format!("allowed, {objects} objects"), json: json!({"allowed": objects}) }
}

fn render_scan(scan: &Scan, freezes: &[DeleteFreeze]) -> Rendered {
    let mut lines = vec![
        ("scan", scan.id.to_string()),
        ("state", scan.state.clone()),
        ("started", seconds(scan.started_ms)),
        ("ended", seconds(scan.ended_ms)),
        ("objects", format!("{} ({})", scan.listed, size(scan.listed_bytes))),
        ("orphans", format!("{} deleted once and there again", scan.orphans)),
        ("unknown", format!("{} that no row ever mentioned", scan.unknown)),
        ("size of both", size(scan.orphans_bytes)),
        ("missing", format!("{} live objects", scan.missing)),
    ];
    if scan.held {
        let what = if scan.accepted_ms == 0 { "held: too many orphans, none is deleted" } else { "accepted" };
        lines.push(("decision", what.to_owned()));
    }
    if !scan.message.is_empty() {
        lines.push(("message", scan.message.clone()));
    }
    let mut text = facts(&lines);
    for freeze in freezes {
        text.push_str(&format!("\ndeletes are frozen by {}: {}", clean(&freeze.source), clean(&freeze.why)));
    }
    let json = json!({
        "id": scan.id,
        "state": scan.state,
        "started_ms": scan.started_ms,
        "started": rfc3339(scan.started_ms),
        "ended_ms": scan.ended_ms,
        "ended": rfc3339(scan.ended_ms),
        "pages": scan.pages,
        "listed": scan.listed,
        "listed_bytes": scan.listed_bytes,
        "orphans": scan.orphans,
        "unknown": scan.unknown,
        "orphans_bytes": scan.orphans_bytes,
        "missing": scan.missing,
        "held": scan.held,
        "accepted": scan.accepted_ms != 0,
        "message": scan.message,
        "freezes": freezes.iter().map(freeze_json).collect::<Vec<_>>(),
    });
    Rendered { text, json }
}

fn freeze_json(freeze: &DeleteFreeze) -> Value {
    json!({"source": freeze.source, "since_ms": freeze.since_ms, "since": rfc3339(freeze.since_ms), "why": freeze.why})
}

fn render_orphans(orphans: &[Orphan]) -> Rendered {
    let row = |one: &Orphan| {
        vec![
            one.state.clone(),
            size(one.size),
            seconds(one.modified_ms),
            seconds(one.deleted_ms),
            seconds(one.first_ms),
            one.scans.to_string(),
            one.key.clone(),
        ]
    };
    let to_json = |one: &Orphan| {
        json!({
            "key": one.key,
            "state": one.state,
            "size": one.size,
            "modified_ms": one.modified_ms,
            "modified": rfc3339(one.modified_ms),
            "tombstone": super::output::number_or_null(one.tombstone),
            "deleted_ms": super::output::number_or_null(one.deleted_ms),
            "deleted": rfc3339(one.deleted_ms),
            "first_seen_ms": one.first_ms,
            "first_seen": rfc3339(one.first_ms),
            "last_seen_ms": one.last_ms,
            "last_seen": rfc3339(one.last_ms),
            "scans": one.scans,
            "allowed": one.allowed,
            "queued_as": super::output::number_or_null(one.queued_as),
        })
    };
    Rendered {
        text: table(&["STATE", "SIZE>", "WRITTEN", "DELETED", "FIRST SEEN", "SCANS>", "KEY"], orphans.iter().map(row)),
        json: orphans.iter().map(to_json).collect(),
    }
}

/// How things stand after the call.
fn deletes(report: &ReconcileReport) -> String {
    match (report.applied, report.frozen.as_str()) {
        (true, "") => "go on".to_owned(),
        (false, "") => "are on, as before: nothing was changed".to_owned(),
        (true, why) => format!("stay off: {}", clean(why)),
        (false, why) => format!("are off, as before: {}", clean(why)),
    }
}

fn render_reconcile(report: &ReconcileReport) -> Rendered {
    let mut text = facts(&[
        ("objects in the bucket", report.listed.to_string()),
        ("needed by the metadata", report.referenced.to_string()),
        ("missing", report.missing_num.to_string()),
        ("damaged", report.damaged_num.to_string()),
        ("unknown", report.unknown_num.to_string()),
        ("epoch", report.epoch.to_string()),
        ("deletes", deletes(report)),
    ]);
    for ended in &report.ended {
        text.push_str(&format!("\nended: {}: {}", clean(&ended.source), clean(&ended.why)));
    }
    for (what, keys) in [("missing", &report.missing), ("damaged", &report.damaged), ("unknown", &report.unknown)] {
        for key in keys {
            text.push_str(&format!("\n{what}: {}", clean(key)));
        }
    }
    let json = json!({
        "listed": report.listed,
        "referenced": report.referenced,
        "missing_num": report.missing_num,
        "damaged_num": report.damaged_num,
        "unknown_num": report.unknown_num,
        "missing": report.missing,
        "damaged": report.damaged,
        "unknown": report.unknown,
        "applied": report.applied,
        "epoch": report.epoch,
        "frozen": (!report.frozen.is_empty()).then_some(&report.frozen),
        "ended": report.ended.iter().map(freeze_json).collect::<Vec<_>>(),
    });
    Rendered { text, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_as_facts() {
        let scan = Scan {
            id: 7,
            state: "complete".to_owned(),
            started_ms: 1_700_000_000_000,
            ended_ms: 1_700_000_001_000,
            listed: 30,
            listed_bytes: 2_048,
            orphans: 12,
            held: true,
            ..Scan::default()
        };
        let freeze = DeleteFreeze { source: "scan".to_owned(), since_ms: 1, why: "a\nb".to_owned() };
        let rendered = render_scan(&scan, &[freeze]);
        let expected = "\
scan          7
state         complete
started       2023-11-14T22:13:20Z
ended         2023-11-14T22:13:21Z
objects       30 (2.00 KiB)
orphans       12 deleted once and there again
unknown       0 that no row ever mentioned
size of both  0 B
missing       0 live objects
decision      held: too many orphans, none is deleted
deletes are frozen by scan: a\\nb";
        assert_eq!(rendered.text, expected);
        assert_eq!(rendered.json["held"], true);
    }

    #[test]
    fn orphans_as_a_table() {
        let orphan = Orphan {
            key: "c/insert_log/1/a".to_owned(),
            size: 1_024,
            modified_ms: 1_700_000_000_000,
            deleted_ms: 1_699_999_990_000,
            scans: 2,
            state: "ready".to_owned(),
            ..Orphan::default()
        };
        let rendered = render_orphans(&[orphan]);
        let expected = "\
STATE      SIZE  WRITTEN               DELETED               FIRST SEEN  SCANS  KEY
ready  1.00 KiB  2023-11-14T22:13:20Z  2023-11-14T22:13:10Z  -               2  c/insert_log/1/a";
        assert_eq!(rendered.text, expected);
        assert_eq!(rendered.json[0]["tombstone"], Value::Null);
    }
}

//! `elanus ctl scrub`.

use super::{
    Stop, confirm,
    output::{Rendered, clean, facts, table},
};
use clap::{Args, ValueEnum};
use elanus_client::{Client, ScrubFinding, ScrubReport};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::time::Duration;

/// Compare the object store with the metadata
///
/// Changes nothing without --repair. Ends with exit code 1 when an object is missing, damaged, unknown to the metadata, or there
/// although it was deleted (an orphan: `elanus ctl gc orphans` says when it goes), or when a rule is broken.
#[derive(Debug, Args)]
pub(super) struct ScrubArgs {
    /// How deep to look
    #[arg(long, value_enum, default_value_t = Level::Presence)]
    level: Level,
    /// The level checksum
    #[arg(long, conflicts_with = "level")]
    checksums: bool,
    /// Repair what can be repaired without loss: count references again that are counted too low, give up intents whose
    /// writer is gone. Without --yes it says what it would do, and asks
    #[arg(long)]
    repair: bool,
    /// Do not ask
    #[arg(long, requires = "repair")]
    yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// File sets, references and memberships against each other; no request to the bucket
    Metadata,
    /// Also every object: is it there, has it its size, is it known
    Presence,
    /// Also the bytes of every object, and the manifests of every snapshot
    Checksum,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Presence => "presence",
            Self::Checksum => "checksum",
        }
    }
}

pub(super) async fn execute(client: &Client, args: &ScrubArgs) -> Result<Rendered, Stop> {
    let level = if args.checksums { Level::Checksum } else { args.level };
    if args.repair && !args.yes {
        let found = run(client, level, false).await?;
        let repairable = found.findings.iter().filter(|finding| finding.repairable).count();
        eprintln!("{}", render(&found, level).text);
        confirm::confirm(false, &format!("{repairable} findings can be repaired without loss"), "repair")?;
    }
    let report = run(client, level, args.repair).await?;
    let rendered = render(&report, level);
    if differs(&report) { Err(Stop::Differs(rendered)) } else { Ok(rendered) }
}

async fn run(client: &Client, level: Level, repair: bool) -> Result<ScrubReport, Stop> {
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(200));
    progress.set_message(format!("scrub, level {}", level.word()));
    let report = client.scrub().level(level.word()).repair(repair).send().await;
    progress.finish_and_clear();
    Ok(report?)
}

/// What was repaired is no difference any more.
fn differs(report: &ScrubReport) -> bool {
    let broken = report.findings.iter().any(|finding| !finding.repaired);
    broken || [&report.missing, &report.damaged, &report.unknown, &report.orphans].iter().any(|keys| !keys.is_empty())
}

fn render(report: &ScrubReport, level: Level) -> Rendered {
    let ScrubReport {
        objects_known,
        objects_listed,
        missing,
        damaged,
        unknown,
        orphans,
        abandoned,
        findings,
        file_sets,
        snapshots,
    } = report;
    let mut lines = vec![("file sets", file_sets.to_string()), ("rules broken", findings.len().to_string())];
    if level != Level::Metadata {
        let sizes_only = if level == Level::Presence { " (sizes only)" } else { "" };
        lines.extend([
            ("known to the metadata", objects_known.to_string()),
            ("in the object store", objects_listed.to_string()),
            ("abandoned, to be deleted", abandoned.to_string()),
            ("missing", missing.len().to_string()),
            ("damaged", format!("{}{sizes_only}", damaged.len())),
            ("unknown", unknown.len().to_string()),
            ("orphans", orphans.len().to_string()),
        ]);
    }
    if level == Level::Checksum {
        lines.push(("snapshots read", snapshots.to_string()));
    }
    let mut text = facts(&lines);
    for (what, keys) in [("missing", missing), ("damaged", damaged), ("unknown", unknown), ("orphan", orphans)] {
        for key in keys {
            text.push_str(&format!("\n{what}: {}", clean(key)));
        }
    }
    if !findings.is_empty() {
        let row = |one: &ScrubFinding| vec![one.rule.clone(), repair_word(one).to_owned(), one.text.clone()];
        text.push('\n');
        text.push_str(&table(&["RULE", "REPAIR", "FOUND"], findings.iter().map(row)));
    }
    let finding = |one: &ScrubFinding| json!({"rule": one.rule, "text": one.text, "repair": repair_word(one)});
    let json = json!({
        "ok": !differs(report),
        "level": level.word(),
        "checksums": level == Level::Checksum,
        "objects_known": objects_known,
        "objects_listed": objects_listed,
        "abandoned": abandoned,
        "missing": missing,
        "damaged": damaged,
        "unknown": unknown,
        "orphans": orphans,
        "file_sets": file_sets,
        "snapshots": snapshots,
        "findings": findings.iter().map(finding).collect::<Vec<Value>>(),
    });
    Rendered { text, json }
}

fn repair_word(finding: &ScrubFinding) -> &'static str {
    match (finding.repaired, finding.repairable) {
        (true, _) => "done",
        (false, true) => "possible",
        (false, false) => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_and_told_to_scripts() {
        let mut report =
            ScrubReport { objects_known: 3, objects_listed: 3, abandoned: 1, file_sets: 2, ..Default::default() };
        assert!(!differs(&report));
        assert_eq!(render(&report, Level::Checksum).json["ok"], true);
        report.missing = vec!["c/insert_log/1".to_owned()];
        let expected = "\
file sets                 2
rules broken              0
known to the metadata     3
in the object store       3
abandoned, to be deleted  1
missing                   1
damaged                   0 (sizes only)
unknown                   0
orphans                   0
missing: c/insert_log/1";
        assert_eq!(render(&report, Level::Presence).text, expected);
        assert!(differs(&report));
    }

    #[test]
    fn what_was_repaired_is_no_difference() {
        let text = "file set 7 counts 1 references and has 2".to_owned();
        let finding = ScrubFinding { rule: "I7".to_owned(), text, repairable: true, repaired: false };
        let mut report = ScrubReport { findings: vec![finding], ..Default::default() };
        let expected = "\
file sets     0
rules broken  1
RULE  REPAIR    FOUND
I7    possible  file set 7 counts 1 references and has 2";
        assert_eq!(render(&report, Level::Metadata).text, expected);
        assert!(differs(&report));
        report.findings[0].repaired = true;
        assert!(!differs(&report));
    }
}

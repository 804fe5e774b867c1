//! `elanus ctl scrub`.

use super::{
    Stop,
    output::{Rendered, clean, facts},
};
use clap::Args;
use elanus_client::{Client, ScrubReport};
use serde_json::json;

/// Compare the object store with the metadata
///
/// Changes nothing. Ends with exit code 1 when an object is missing, damaged, or unknown to the metadata.
#[derive(Debug, Args)]
pub(super) struct ScrubArgs {
    /// Also read every object and compare its checksum
    #[arg(long)]
    checksums: bool,
}

pub(super) async fn execute(client: &Client, args: &ScrubArgs) -> Result<Rendered, Stop> {
    let report = client.scrub().checksums(args.checksums).send().await?;
    let rendered = render(&report, args.checksums);
    if differs(&report) { Err(Stop::Differs(rendered)) } else { Ok(rendered) }
}

fn differs(report: &ScrubReport) -> bool {
    !(report.missing.is_empty() && report.damaged.is_empty() && report.unknown.is_empty())
}

fn render(report: &ScrubReport, checksums: bool) -> Rendered {
    let ScrubReport { objects_known, objects_listed, missing, damaged, unknown, abandoned } = report;
    let mut text = facts(&[
        ("known to the metadata", objects_known.to_string()),
        ("in the object store", objects_listed.to_string()),
        ("abandoned, to be deleted", abandoned.to_string()),
        ("missing", missing.len().to_string()),
        ("damaged", if checksums { damaged.len().to_string() } else { format!("{} (sizes only)", damaged.len()) }),
        ("unknown", unknown.len().to_string()),
    ]);
    for (what, keys) in [("missing", missing), ("damaged", damaged), ("unknown", unknown)] {
        for key in keys {
            text.push_str(&format!("\n{what}: {}", clean(key)));
        }
    }
    let json = json!({
        "ok": !differs(report),
        "checksums": checksums,
        "objects_known": objects_known,
        "objects_listed": objects_listed,
        "abandoned": abandoned,
        "missing": missing,
        "damaged": damaged,
        "unknown": unknown,
    });
    Rendered { text, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_and_told_to_scripts() {
        let mut report = ScrubReport { objects_known: 3, objects_listed: 3, abandoned: 1, ..Default::default() };
        assert!(!differs(&report));
        assert_eq!(render(&report, true).json["ok"], true);
        report.missing = vec!["c/insert_log/1".to_owned()];
        let expected = "\
known to the metadata     3
in the object store       3
abandoned, to be deleted  1
missing                   1
damaged                   0 (sizes only)
unknown                   0
missing: c/insert_log/1";
        assert_eq!(render(&report, false).text, expected);
        assert!(differs(&report));
    }
}

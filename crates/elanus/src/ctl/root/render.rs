//! What `elanus ctl root` prints.

use crate::output::{Rendered, facts, rfc3339, seconds};
use elanus_objects::ownership::{Freeze, Marker, MetaView, Refusal, Seen, Verdict, marker::FormerObjects};
use elanus_types::RootHold;
use serde_json::{Value, json};

/// What `show` found.
pub(super) struct Shown<'s> {
    pub(super) location: &'s str,
    pub(super) seen: &'s Seen,
    pub(super) meta: Option<&'s MetaView>,
    pub(super) verdict: Verdict,
    pub(super) overlap: Option<Refusal>,
}

impl Shown<'_> {
    /// A start would make or find an owner who may delete.
    pub(super) fn is_well(&self) -> bool {
        let free = matches!(self.verdict, Verdict::Create { hold: None } | Verdict::Replace { hold: None });
        free && self.overlap.is_none()
    }

    /// A word for programs and a sentence for people.
    fn outcome(&self) -> (&'static str, String) {
        if let Some(overlap) = &self.overlap {
            return ("refused", format!("refused: {overlap}"));
        }
        let held = |hold: RootHold| format!("serves, but deletes are off: {}", Freeze::Hold(hold));
        match &self.verdict {
            Verdict::Create { hold: None } => ("free", "becomes the owner: the root path is nobody's".to_owned()),
            Verdict::Replace { hold: None } => ("owner", "is the owner".to_owned()),
            Verdict::Create { hold: Some(hold) } | Verdict::Replace { hold: Some(hold) } => (hold.label(), held(*hold)),
            Verdict::Freeze(freeze) => (freeze.label(), format!("serves, but deletes are off: {freeze}")),
            Verdict::Refuse(refusal) => ("refused", format!("refused: {refusal}")),
        }
    }
}

pub(super) fn show(shown: &Shown<'_>) -> Rendered {
    let (word, sentence) = shown.outcome();
    let marker = match shown.seen {
        Seen::Marker(marker) => Some(&**marker),
        Seen::Absent { .. } | Seen::Newer(_) | Seen::Unreadable(_) => None,
    };
    let metadata = shown.meta.map_or("none yet".to_owned(), |meta| meta.cluster_id.to_string());
    let mut lines = vec![("root path", shown.location.to_owned()), ("metadata of cluster", metadata)];
    match marker {
        Some(marker) => lines.extend(marker_lines(marker)),
        None => lines.push(("owner", "none".to_owned())),
    }
    lines.push(("a start", sentence.clone()));
    let json = json!({
        "root": shown.location,
        "outcome": word,
        "text": sentence,
        "marker": marker.map(marker_json),
        "metadata": shown.meta.map(|meta| json!({
            "cluster_id": meta.cluster_id,
            "epoch": meta.epoch.0,
            "hwm": meta.hwm,
            "hold": meta.hold.map(RootHold::label),
            "location": meta.location,
        })),
    });
    Rendered { text: facts(&lines), json }
}

/// What a command did, with the marker as it is or would be.
pub(super) fn marker(what: &str, location: &str, marker: &Marker) -> Rendered {
    let mut lines = vec![("root path", location.to_owned()), ("result", what.to_owned())];
    lines.extend(marker_lines(marker));
    Rendered { text: facts(&lines), json: json!({ "root": location, "text": what, "marker": marker_json(marker) }) }
}

/// What a dry run would do.
pub(super) fn planned(what: &str, location: &str) -> Rendered {
    Rendered { text: format!("{location}: {what}"), json: json!({ "root": location, "text": what, "dry_run": true }) }
}

fn marker_lines(marker: &Marker) -> Vec<(&'static str, String)> {
    let Marker { cluster_id, epoch, holder, renewed_ms, hold, capabilities, former_owners, .. } = marker;
    let mut lines = vec![
        ("owner", cluster_id.to_string()),
        ("epoch", epoch.0.to_string()),
        ("holder", holder.clone()),
        ("last renewed", seconds(*renewed_ms)),
        ("hold", hold.map_or("none", RootHold::label).to_owned()),
    ];
    if !capabilities.conditional_writes() && *renewed_ms > 0 {
        lines.push(("store", "has no conditional writes".to_owned()));
    }
    lines.extend(former_owners.iter().map(|owner| {
        let objects = match owner.objects {
            FormerObjects::Undecided => "wait for a decision",
            FormerObjects::LeftForeign => "are left as they are",
            FormerObjects::Adopted => "were adopted",
        };
        let (cluster, epoch) = (owner.cluster_id, owner.epoch.0);
        let when = seconds(owner.taken_ms);
        ("taken from", format!("{cluster} (epoch {epoch}) at {when}: {}; its objects {objects}", owner.reason))
    }));
    lines
}

fn marker_json(marker: &Marker) -> Value {
    let mut json = json!(marker);
    json["renewed"] = json!(rfc3339(marker.renewed_ms));
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_objects::ownership::Term;
    use elanus_types::Epoch;
    use uuid::Uuid;

    #[test]
    fn a_foreign_owner_is_shown_with_what_to_do_and_told_to_scripts() {
        let owner = Marker::new(Uuid::from_u128(7)).renewed(&Term::new(Epoch(3)), 9, "standalone-1", 1_700_000_000_000);
        let seen = Seen::Marker(Box::new(owner.clone()));
        let verdict = elanus_objects::ownership::judge(&seen, None, "file:///d");
        let shown = Shown { location: "file:///d", seen: &seen, meta: None, verdict, overlap: None };
        assert!(!shown.is_well());
        let rendered = show(&shown);
        for part in
            ["owner                00000000-0000-0000-0000-000000000007", "2023-11-14T22:13:20Z", "root takeover"]
        {
            assert!(rendered.text.contains(part), "{part}: {}", rendered.text);
        }
        assert_eq!((&rendered.json["outcome"], &rendered.json["marker"]["epoch"]), (&json!("refused"), &json!(3)));
        let taken = owner.taken_by(Uuid::from_u128(8), "burnt\n", 1);
        assert!(marker("x", "y", &taken).text.contains("burnt\\n; its objects wait for a decision"), "cleaned");
    }
}

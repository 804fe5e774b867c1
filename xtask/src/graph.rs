//! Which crate may know which: dependencies point down only.

use crate::run::{cargo, read};
use anyhow::{Result, bail};
use std::collections::BTreeMap;

/// From the top; a crate depends on crates of lower layers only. Those of one layer do not know each other, but for the
/// pairs in [`BESIDE`].
const LAYERS: [(&str, &[&str]); 9] = [
    ("tests", &["elanus-scenarios", "elanus-e2e", "elanus-sim", "elanus-fuzz", "elanus-models", "elanus-bench"]),
    ("programs", &["elanus", "xtask"]),
    ("test equipment", &["elanus-testkit"]),
    ("services", &["elanus-proxy", "elanus-datacoord", "elanus-datanode", "elanus-querynode", "elanus-client"]),
    ("equipment", &["elanus-runtime"]),
    (
        "contracts",
        &[
            "elanus-proto",
            "elanus-meta",
            "elanus-objects",
            "elanus-events",
            "elanus-segment",
            "elanus-manifest",
            "elanus-filter",
        ],
    ),
    ("decisions", &["elanus-lifecycle"]),
    ("connections", &["elanus-trust"]),
    ("words", &["elanus-types", "elanus-trace"]),
];
/// They speak through the client of the scenarios.
const BESIDE: [(&str, &str); 2] = [("elanus-sim", "elanus-scenarios"), ("elanus-e2e", "elanus-scenarios")];

/// Edges between the crates of the workspace: crate → what it depends on, development dependencies left out.
pub(crate) fn edges() -> Result<BTreeMap<String, Vec<String>>> {
    let metadata = read(&mut cargo(&["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let mut edges = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let mut below: Vec<String> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"].is_null() && dependency["path"].is_string())
            .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
            .collect();
        below.sort();
        edges.insert(name.to_owned(), below);
    }
    Ok(edges)
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, crates)| crates.contains(&name))
}

/// Every edge that does not point down.
pub(crate) fn violations(edges: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, below) in edges {
        let Some(own) = layer(name) else {
            found.push(format!("{name} is in no layer: give it one in xtask/src/graph.rs"));
            continue;
        };
        for other in below {
            let beside = BESIDE.contains(&(name.as_str(), other.as_str()));
            if layer(other).is_none_or(|other| other <= own) && !beside {
                found.push(format!("{name} depends on {other}, which is not in a lower layer"));
            }
        }
    }
    found
}

/// The layers as text, each crate with what it depends on.
pub(crate) fn render(edges: &BTreeMap<String, Vec<String>>) -> String {
    let short = |name: &str| name.strip_prefix("elanus-").unwrap_or(name).to_owned();
    let mut text = String::new();
    for (layer, crates) in LAYERS {
        text.push_str(&format!("{layer}\n"));
        for name in crates {
            let below: Vec<String> = edges.get(*name).into_iter().flatten().map(|below| short(below)).collect();
            text.push_str(&format!("    {:<10} → {}\n", short(name), below.join(", ")));
        }
    }
    text
}

pub(crate) fn check() -> Result<BTreeMap<String, Vec<String>>> {
    let edges = edges()?;
    let violations = violations(&edges);
    if !violations.is_empty() {
        bail!("the crate graph is broken:\n  {}", violations.join("\n  "));
    }
    Ok(edges)
}

#[expect(clippy::print_stdout, reason = "a command for people")]
pub(crate) fn check_and_print() -> Result<()> {
    print!("{}", render(&check()?));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_upwards_or_to_an_unknown_crate_is_found() {
        let edges = |pairs: &[(&str, &str)]| -> BTreeMap<String, Vec<String>> {
            pairs.iter().map(|(from, to)| ((*from).to_owned(), vec![(*to).to_owned()])).collect()
        };
        assert!(violations(&edges(&[("elanus-meta", "elanus-types")])).is_empty());
        assert_eq!(violations(&edges(&[("elanus-types", "elanus-meta")])).len(), 1);
        assert_eq!(violations(&edges(&[("elanus-proxy", "elanus-datacoord")])).len(), 1, "services meet through proto");
        assert_eq!(violations(&edges(&[("new", "elanus-types")])).len(), 1);
    }
}

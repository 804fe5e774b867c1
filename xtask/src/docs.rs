//! Parts of the documents that are printed from the code: written by `cargo xtask docs`, checked by `cargo xtask test`.

use crate::graph;
use crate::run::{cargo, read, root};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

const END: &str = "<!-- end -->";

/// A document with a part that is printed.
struct Printed {
    path: PathBuf,
    what: &'static str,
    found: String,
    wanted: String,
}

fn printed(document: &str, what: &'static str, text: &str) -> Result<Printed> {
    let path = root().join(document);
    let found = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let begin = format!("<!-- printed by cargo xtask docs: {what} -->");
    let (before, rest) = found.split_once(&begin).with_context(|| format!("{document} has no place for the {what}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{document} has no end of the {what}"))?;
    let wanted = format!("{before}{begin}\n{text}{END}{after}");
    Ok(Printed { path, what, found, wanted })
}

fn all() -> Result<[Printed; 2]> {
    let graph = graph::render(&graph::check()?);
    Ok([
        printed("docs/architecture.md", "crate graph", &format!("```text\n{graph}```\n"))?,
        printed("docs/operations.md", "metrics", &metrics()?)?,
    ])
}

/// The services whose `/metrics` tests compare, as columns.
const SERVICES: [&str; 4] = ["proxy", "datacoord", "datanode", "querynode"];

/// All metrics as a table, from their golden files.
fn metrics() -> Result<String> {
    let text = |path: &str| fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"));
    let mut of_services = Vec::new();
    for service in SERVICES {
        of_services.push((service, text(&format!("tests/metrics/{service}.txt"))?));
    }
    let mut table = "| metric | type | labels | of | |\n|---|---|---|---|---|\n".to_owned();
    for line in text("crates/runtime/metrics.txt")?.lines() {
        let mut parts = line.splitn(4, ' ');
        let (Some(name), Some(kind), Some(labels), Some(help)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            bail!("crates/runtime/metrics.txt has a line that is no metric: {line}");
        };
        let has = |(service, text): &(&str, String)| {
            text.lines().any(|line| line.split(' ').next() == Some(name)).then(|| (*service).to_owned())
        };
        let of: Vec<String> = of_services.iter().filter_map(has).collect();
        let of = if of.len() == SERVICES.len() { "all".to_owned() } else { of.join(", ") };
        let labels = labels.trim_matches(['{', '}']).replace(',', ", ");
        table.push_str(&format!("| `{name}` | {kind} | {labels} | {of} | {help} |\n"));
    }
    Ok(table)
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn write() -> Result<()> {
    for Printed { path, wanted, .. } in all()? {
        write_file(&path, &wanted)?;
    }
    let args = ["run", "--quiet", "--package", "elanus-lifecycle", "--example", "print_state_machines"];
    write_file(&root().join("docs/state-machines.md"), &read(&mut cargo(&args))?)
}

/// That what the documents show is as it is. The state machines are checked by a test of their crate.
pub(crate) fn check() -> Result<()> {
    for Printed { path, what, found, wanted } in all()? {
        if found != wanted {
            bail!("{} does not show the {what} as it is: run cargo xtask docs", path.display());
        }
    }
    Ok(())
}

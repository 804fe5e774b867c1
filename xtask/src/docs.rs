//! Parts of the documents that are printed from the code: written by `cargo xtask docs`, checked by `cargo xtask test`.

use crate::graph;
use crate::run::{cargo, read, root};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- printed by cargo xtask docs: crate graph -->";
const END: &str = "<!-- end -->";

fn architecture() -> Result<(std::path::PathBuf, String, String)> {
    let path = root().join("docs/architecture.md");
    let found = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (before, rest) = found.split_once(BEGIN).context("docs/architecture.md has no place for the crate graph")?;
    let (_, after) = rest.split_once(END).context("docs/architecture.md has no end of the crate graph")?;
    let graph = graph::render(&graph::check()?);
    let wanted = format!("{before}{BEGIN}\n```text\n{graph}```\n{END}{after}");
    Ok((path, found, wanted))
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn write() -> Result<()> {
    let (path, _, wanted) = architecture()?;
    write_file(&path, &wanted)?;
    let args = ["run", "--quiet", "--package", "elanus-lifecycle", "--example", "print_state_machines"];
    write_file(&root().join("docs/state-machines.md"), &read(&mut cargo(&args))?)
}

/// That the crate graph in the document is the real one. The state machines are checked by a test of their crate.
pub(crate) fn check() -> Result<()> {
    let (path, found, wanted) = architecture()?;
    if found != wanted {
        bail!("{} does not show the crate graph as it is: run cargo xtask docs", path.display());
    }
    Ok(())
}

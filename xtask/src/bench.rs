//! `cargo xtask bench`: builds for release, then measures. Never part of a test run.

use crate::demo::target;
use crate::run::{cargo, command, read, succeed};
use crate::test::python_with;
use anyhow::Result;
use std::process::Command;

/// What Elanus is measured beside, in an environment of its own: no test needs it.
const PACKAGES: [&str; 3] = ["pymilvus==3.0.2", "numpy==2.4.6", "milvus-lite==3.2.2"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only measurements whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Small sizes: a look at whether everything runs.
    #[arg(long)]
    quick: bool,
    /// How to print.
    #[arg(long, value_name = "table|json")]
    output: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let commit = read(&mut command("git", &["describe", "--always", "--dirty"])).unwrap_or_default();
    let build = ["build", "--release", "--locked", "--package", "elanus", "--package", "elanus-bench", "--bins"];
    succeed(cargo(&build).env("ELANUS_COMMIT", commit.trim()))?;
    let mut bench = Command::new(target(true).join("elanus-bench"));
    for (name, value) in [("--filter", &args.filter), ("--output", &args.output)] {
        if let Some(value) = value {
            bench.arg(name).arg(value);
        }
    }
    if args.filter.as_ref().is_none_or(|filter| "peer".contains(filter.as_str())) {
        bench.arg("--python").arg(python_with("venv-bench", &PACKAGES)?);
    }
    if args.quick {
        bench.arg("--quick");
    }
    succeed(&mut bench)
}

//! `cargo xtask demo`: builds what the demo needs in one go, then runs it.

use crate::run::{cargo, root, succeed};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Your own vectors instead of the handwritten digits.
    #[arg(long, value_name = "FILE.parquet|.npy|.fvecs")]
    input: Option<PathBuf>,
    /// Keep the data directory and say where it is.
    #[arg(long)]
    keep: bool,
    /// Optimised build: slow to build, fast to run. For figures.
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut build = cargo(&["build", "--package", "elanus", "--package", "elanus-scenarios", "--bins"]);
    if args.release {
        build.arg("--release");
    }
    succeed(&mut build)?;
    // Not in the root: a relative path is the user's.
    let mut demo = Command::new(target(args.release).join("elanus-demo"));
    if let Some(input) = &args.input {
        demo.arg("--input").arg(input);
    }
    if args.keep {
        demo.arg("--keep");
    }
    succeed(&mut demo)
}

/// Where cargo puts programs.
pub(crate) fn target(release: bool) -> PathBuf {
    // This program lies in target/debug itself, wherever the user moved `target`.
    let own = std::env::current_exe().ok();
    let target = own.as_deref().and_then(|exe| exe.parent()?.parent()).map_or(root().join("target"), PathBuf::from);
    target.join(if release { "release" } else { "debug" })
}

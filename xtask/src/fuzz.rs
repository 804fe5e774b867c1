//! `cargo xtask fuzz`: hostile input for as long as there is time for it.

use crate::run::{cargo, succeed};
use crate::test::MODELS;
use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target: requests, files.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The first seed. Those of CI begin with 1.
    #[arg(long, default_value_t = 1_000_000)]
    from: u64,
    /// Only the target whose name contains this: request | file.
    #[arg(long, value_name = "TEXT", default_value = "fz_")]
    filter: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // Of what `cargo xtask test` builds, so that nothing is built a second time with other features.
    let mut test = cargo(&["test", "--locked", "--workspace", "--exclude", MODELS, "--test", "fuzz", "--"]);
    test.args(["--nocapture", &args.filter]);
    test.env("ELANUS_FUZZ_SECONDS", args.seconds.to_string()).env("ELANUS_FUZZ_FROM", args.from.to_string());
    succeed(&mut test)
}

//! `cargo xtask sim`: the simulation of the whole system for chosen seeds.

use crate::run::{cargo, succeed};
use crate::test::MODELS;
use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // Of what `cargo xtask test` builds, so that nothing is built a second time with other features.
    let packages = ["--workspace", "--exclude", MODELS];
    let tests = ["--test", "sim", "--", "--nocapture", "hold_for_every_seed"];
    let mut test = cargo(&["test", "--locked"]);
    test.args(packages).args(tests);
    test.env("ELANUS_SIM_SEEDS", args.seeds.to_string()).env("ELANUS_SIM_FROM", args.from.to_string());
    succeed(&mut test)
}

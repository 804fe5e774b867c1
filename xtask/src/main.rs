//! The project's own commands: `cargo xtask --help`.

mod bench;
mod demo;
mod docs;
mod e2e;
mod fuzz;
mod graph;
mod images;
mod run;
mod sim;
mod test;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build Elanus and see it lose rows and get them back: insert, search, snapshot, delete, restore.
    Demo(demo::Args),
    /// Everything that CI runs: format, lints, crate graph, unit, suite, service and end-to-end tests.
    Test(test::Args),
    /// Measure a release build, each figure beside a peer or a limit of the machine.
    Bench(bench::Args),
    /// Make the images that deploy/docker-compose.yml names; stand-ins where no registry can be reached.
    Images(images::Args),
    /// Run the simulation of the whole system: same seed, same run.
    Sim(sim::Args),
    /// Send hostile requests to all services, and read hostile files: same seed, same input.
    Fuzz(fuzz::Args),
    /// Run the scenarios of pymilvus and of the Rust client through services on PostgreSQL and S3; --help tells its flags.
    E2e(e2e::Args),
    /// Kill, stop, cut and fill everything under load; then all that was promised must hold; --help tells its flags.
    Chaos(e2e::Args),
    /// Check that crates depend on lower layers only, and print them.
    Graph,
    /// Visit every state of the models of collector and ownership; say what holds, and what breaks without it.
    Model,
    /// Write the parts of the documents that are printed from the code.
    Docs,
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Images(args) => images::run(&args),
        Command::Model => model(),
        Command::Sim(args) => sim::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::E2e(args) => e2e::e2e(&args),
        Command::Chaos(args) => e2e::chaos(&args),
        Command::Graph => graph::check_and_print(),
        Command::Docs => docs::write(),
    }
}

fn model() -> Result<()> {
    run::succeed(&mut run::cargo(&["run", "--quiet", "--package", "elanus-models"]))
}

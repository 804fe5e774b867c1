//! The program: reads flags and environment, nothing else does. Each subcommand has a module of its own.

mod ctl;
mod standalone;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use elanus_types::RestoreMode;
use std::process::ExitCode;

const ABOUT: &str = "\
Elanus keeps collections of vectors as immutable files and takes exact, instant, provably safe snapshots of them.
It speaks the Milvus protocol: pymilvus and the other Milvus SDKs work against it unchanged.

  elanus standalone                            start everything in one process, data in ./elanus-data
  elanus ctl snapshot create docs before-v2    take a snapshot of the collection docs
  elanus ctl --help                            what else an operator can do";

/// Exact, instant, provably safe snapshots for vector collections.
#[derive(Debug, Parser)]
#[command(name = "elanus", version, long_about = ABOUT, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Standalone(standalone::StandaloneArgs),
    Ctl(ctl::CtlArgs),
}

/// `clone` or `copy`, as a value of a flag.
fn restore_mode() -> impl TypedValueParser<Value = RestoreMode> {
    PossibleValuesParser::new(RestoreMode::ALL.map(RestoreMode::label))
        .try_map(|label| RestoreMode::parse(&label).map_err(|failure| failure.message))
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Standalone(args) => standalone::run(args).await,
        Command::Ctl(args) => ctl::run(args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

//! The program: reads flags and environment, nothing else does. Each subcommand has a module of its own.

mod config;
mod ctl;
mod healthcheck;
mod output;
mod root;
mod s3;
mod services;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use elanus_types::RestoreMode;
use std::ffi::OsString;
use std::process::ExitCode;

const ABOUT: &str = "\
Elanus keeps collections of vectors as immutable files and takes exact, instant, provably safe snapshots of them.
It speaks the Milvus protocol: pymilvus and the other Milvus SDKs work against it unchanged.

  elanus standalone                            start everything in one process, data in ./elanus-data
  elanus migrate --meta postgres://…           prepare metadata for services in processes of their own
  elanus datacoord|datanode|querynode|proxy    start one of them; any number of each serve one cluster
  elanus ctl snapshot create docs before-v2    take a snapshot of the collection docs
  elanus config template                       a configuration file to start from
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
    Standalone(services::StandaloneArgs),
    Proxy(services::ProxyArgs),
    #[command(name = "datacoord")]
    DataCoord(services::DataCoordinatorArgs),
    #[command(name = "datanode")]
    DataNode(services::DataNodeArgs),
    #[command(name = "querynode")]
    QueryNode(services::QueryNodeArgs),
    Migrate(services::MigrateArgs),
    Config(Box<config::ConfigArgs>),
    Ctl(ctl::CtlArgs),
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// `clone` or `copy`, as a value of a flag.
fn restore_mode() -> impl TypedValueParser<Value = RestoreMode> {
    PossibleValuesParser::new(RestoreMode::ALL.map(RestoreMode::label))
        .try_map(|label| RestoreMode::parse(&label).map_err(|failure| failure.message))
}

#[tokio::main]
async fn main() -> ExitCode {
    let (cli, matches, layers) = parse(&std::env::args_os().collect::<Vec<_>>()).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Standalone(args) => services::run(&args, &layers).await,
        Command::Proxy(args) => services::run(&args, &layers).await,
        Command::DataCoord(args) => services::run(&args, &layers).await,
        Command::DataNode(args) => services::run(&args, &layers).await,
        Command::QueryNode(args) => services::run(&args, &layers).await,
        Command::Migrate(args) => services::migrate(&args, &layers).await,
        Command::Config(args) => {
            let command = Cli::command();
            let called = command.find_subcommand("config").zip(matches.subcommand_matches("config"));
            called.map_or(ExitCode::FAILURE, |(command, matches)| config::run(&args, command, matches, &layers))
        }
        Command::Ctl(args) => ctl::run(args).await,
        Command::Healthcheck(args) => healthcheck::run(&args).await,
    }
}

/// The command line, the environment, and the file that they name.
fn parse(line: &[OsString]) -> Result<(Cli, clap::ArgMatches, config::Layers), clap::Error> {
    let (matches, layers) = config::parse(&Cli::command(), line)?;
    Ok((Cli::from_arg_matches(&matches)?, matches, layers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

//! `cargo xtask e2e`: every scenario through services on real servers, a table, and a scrub at the end.

use crate::logs;
use crate::rolling;
use crate::scenarios::{EXCLUDED, SCENARIOS, Scenario, ctl, reset};
use crate::stack::{SERVICES, Stack, Wiring};
use crate::table::table;
use anyhow::{Context as _, Result, bail};
use elanus_testkit::{get, wait_for};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::process::Command;

/// Images are built and databases made: the first start takes its time.
const COMPOSE_READY_MAX: Duration = Duration::from_secs(180);
const COMPOSE_API: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 19_530);
const COMPOSE_MANAGEMENT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9_091);
const COMPOSE_PROJECT: &str = "elanus-e2e";

const HELP: &str = "\
Examples:
  cargo xtask e2e                          every scenario
  cargo xtask e2e --filter snapshots       those with this in their name
  cargo xtask e2e --filter quick --keep    and leaves the servers running until Ctrl-C
  cargo xtask e2e --compose                the same against deploy/docker-compose.yml
  cargo xtask e2e --full                   also a rolling restart from the commit before to this one

It starts PostgreSQL, NATS, SeaweedFS and two of each service on free ports of 127.0.0.1, and ends all of them, also after
Ctrl-C. When something fails, the logs of all processes are kept in a folder, whose path is printed.

Exit codes:
  0    everything passed, and the scrub found nothing
  1    a scenario failed, or a server did not start
  2    the command line is wrong, or no scenario has the text of --filter
  130  stopped by Ctrl-C";

/// Run the scenarios of pymilvus and of the Rust client through services on real servers.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "cargo xtask e2e", bin_name = "cargo xtask e2e", after_help = HELP)]
pub struct Args {
    /// Only scenarios whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Leave the servers running at the end, until Ctrl-C, and print where they are.
    #[arg(long)]
    pub keep: bool,
    /// Also a rolling restart from the program of the commit before.
    #[arg(long)]
    pub full: bool,
    /// Against docker-compose with deploy/docker-compose.yml instead of processes. `cargo xtask images` builds the images.
    #[arg(long, conflicts_with = "full")]
    pub compose: bool,
    /// Where logs of a failed run are kept.
    #[arg(long, value_name = "DIR", hide = true)]
    pub logs: PathBuf,
    /// The root of the workspace.
    #[arg(long, value_name = "DIR", hide = true)]
    pub root: PathBuf,
    /// The program before this one, for `--full`.
    #[arg(long, value_name = "FILE", hide = true)]
    pub old_program: Option<PathBuf>,
}

/// What a scenario came to.
struct Outcome {
    name: String,
    took: Duration,
    failure: Option<String>,
}

/// Runs what was asked for. True when everything passed.
///
/// # Errors
/// When something cannot be started.
pub async fn run(args: &Args) -> Result<bool> {
    let chosen = chosen(args.filter.as_deref());
    let with_rolling = args.full && matches(args.filter.as_deref(), rolling::NAME);
    if chosen.is_empty() && !with_rolling {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        return Err(NoScenario(names.join("\n  ")).into());
    }
    let mut outcomes = Vec::new();
    let mut kept = None;
    let started = Instant::now();
    if args.compose {
        compose(args, &chosen, &mut outcomes).await?;
    } else if !chosen.is_empty() {
        kept = Some(processes(args, &chosen, &mut outcomes).await?);
    }
    if with_rolling {
        outcomes.push(timed(rolling::NAME, rolling::restart(args.old_program.as_deref(), &args.logs)).await);
    }
    let passed = report(&outcomes, started.elapsed());
    if let Some(stack) = kept.filter(|_| args.keep) {
        eprintln!("\n{}\n\nthey run until Ctrl-C", addresses(&stack));
        std::future::pending::<()>().await;
    }
    Ok(passed)
}

/// No scenario has the text of `--filter`.
#[derive(Debug)]
pub struct NoScenario(String);

impl std::fmt::Display for NoScenario {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "no scenario has this in its name; there are\n  {}", self.0)
    }
}

impl std::error::Error for NoScenario {}

fn matches(filter: Option<&str>, name: &str) -> bool {
    filter.is_none_or(|text| name.contains(text))
}

fn chosen(filter: Option<&str>) -> Vec<Scenario> {
    SCENARIOS.into_iter().filter(|scenario| matches(filter, scenario.name)).collect()
}

async fn timed(name: &str, what: impl Future<Output = Result<()>>) -> Outcome {
    eprintln!("── {name}");
    let started = Instant::now();
    let failure = what.await.err().map(|error| format!("{error:#}"));
    if let Some(failure) = &failure {
        eprintln!("{failure}");
    }
    Outcome { name: name.to_owned(), took: started.elapsed(), failure }
}

/// Against two of each service as processes; scenarios take turns between the proxies.
async fn processes(args: &Args, chosen: &[Scenario], outcomes: &mut Vec<Outcome>) -> Result<Stack> {
    eprintln!("── PostgreSQL, S3 and {} services", SERVICES.map(|(_, count)| count).iter().sum::<usize>());
    let mut stack = Stack::start(Wiring::Direct, None, &[]).await?;
    all(chosen, &stack.proxies(), outcomes).await;
    if !args.keep {
        outcomes.push(timed("every service ends in good order", stack.terminate()).await);
    }
    if outcomes.iter().any(|outcome| outcome.failure.is_some()) {
        eprintln!("logs: {}", logs::collect(&args.logs, &stack.logs())?.display());
    }
    Ok(stack)
}

async fn all(chosen: &[Scenario], proxies: &[String], outcomes: &mut Vec<Outcome>) {
    for (scenario, url) in chosen.iter().zip(proxies.iter().cycle()) {
        let outcome = timed(scenario.name, scenario.run(url)).await;
        let failed = outcome.failure.is_some();
        outcomes.push(outcome);
        if failed && let Err(error) = reset(url).await {
            eprintln!("what it left cannot be dropped: {error:#}");
        }
    }
    let scrub = async { ctl(&proxies[0], "scrub --checksums").await.map(drop) };
    outcomes.push(timed("scrub --checksums", scrub).await);
}

/// Prints the table; true when everything passed.
fn report(outcomes: &[Outcome], took: Duration) -> bool {
    let rows: Vec<Vec<String>> = outcomes
        .iter()
        .map(|Outcome { name, took, failure }| {
            let result = if failure.is_none() { "ok" } else { "FAILED" };
            vec![name.clone(), result.to_owned(), format!("{:.1} s", took.as_secs_f32())]
        })
        .collect();
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    eprintln!("\n{}", table(&["scenario", "result", "time"], &rows));
    for (script, reason) in EXCLUDED {
        eprintln!("not run: {script}: {reason}");
    }
    eprintln!("{} passed, {failed} failed, in {:.0} s", outcomes.len() - failed, took.as_secs_f32());
    failed == 0
}

/// Where everything is that `--keep` keeps.
fn addresses(stack: &Stack) -> String {
    let services = stack.processes.iter().map(|process| {
        let management = process.server.management();
        vec![process.name.clone(), process.address().to_string(), format!("management {management}")]
    });
    let servers = [("postgres", stack.postgres.url()), ("s3", stack.s3.endpoint()), ("nats", stack.nats.url())];
    let servers = servers.into_iter().map(|(name, address)| vec![name.to_owned(), address, String::new()]);
    table(&["what", "where", ""], &services.chain(servers).collect::<Vec<_>>())
}

fn docker_compose(root: &Path) -> Command {
    let mut command = Command::new("docker-compose");
    let file = root.join("deploy/docker-compose.yml");
    command.arg("-f").arg(file).args(["-p", COMPOSE_PROJECT]).kill_on_drop(true);
    command
}

/// Against containers; they are removed at the end, with what they kept.
async fn compose(args: &Args, chosen: &[Scenario], outcomes: &mut Vec<Outcome>) -> Result<()> {
    let project = Compose { root: &args.root, keep: args.keep };
    eprintln!("── docker-compose up");
    let up = docker_compose(&args.root).args(["up", "-d"]).status().await;
    let up = up.context("needs docker-compose (Debian: apt-get install docker.io docker-compose)")?;
    if !up.success() {
        project.keep_logs(&args.logs).await?;
        bail!("docker-compose up: {up}; are the images there? cargo xtask images");
    }
    wait_for("the proxy of docker-compose", COMPOSE_READY_MAX, async || {
        match get(SocketAddr::from(COMPOSE_MANAGEMENT), "/readyz").await {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    all(chosen, &[format!("http://{}", SocketAddr::from(COMPOSE_API))], outcomes).await;
    if outcomes.iter().any(|outcome| outcome.failure.is_some()) {
        project.keep_logs(&args.logs).await?;
    }
    if args.keep {
        eprintln!("kept; end it with: docker-compose -f deploy/docker-compose.yml -p {COMPOSE_PROJECT} down -v");
    }
    Ok(())
}

/// Containers of this run, until the value ends.
struct Compose<'r> {
    root: &'r Path,
    keep: bool,
}

impl Compose<'_> {
    async fn keep_logs(&self, parent: &Path) -> Result<()> {
        let output = docker_compose(self.root).args(["logs", "--no-color"]).output().await?;
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        eprintln!("logs: {}", logs::collect(parent, &[("compose".to_owned(), log)])?.display());
        Ok(())
    }
}

impl Drop for Compose<'_> {
    fn drop(&mut self) {
        if !self.keep {
            let mut down = docker_compose(self.root);
            let _ended = down.args(["down", "-v", "--timeout", "15"]).as_std_mut().status();
        }
    }
}

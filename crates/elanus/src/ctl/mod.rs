//! `elanus ctl`: the operator's command line, over gRPC. Results go to stdout, everything else to stderr.

mod collection;
mod compaction;
mod confirm;
mod database;
mod events;
mod gc;
mod gc_scan;
mod inspect;
mod job;
mod rebuild;
mod role;
mod root;
mod rows;
mod scrub;
mod snapshot;
mod status;
mod tls;
mod trash;
mod user;
mod wait;

use crate::output::{self, Format, Rendered};
use clap::{Args, Subcommand};
use elanus_client::{Client, ClientError, ErrorKind};
use elanus_types::SystemClock;
use std::{convert::Infallible, fmt, process::ExitCode, str::FromStr, time::Duration};

const HELP: &str = "\
Examples:
  elanus ctl snapshot create docs before-v2 --description 'before the import'
  elanus ctl snapshot list docs
  elanus ctl snapshot restore docs before-v2 docs_v1 --wait
  elanus ctl snapshot query docs before-v2 --filter 'id < 10' --limit 20
  elanus ctl collection rollback docs before-v2
  elanus ctl collection compact docs --wait
  elanus ctl compaction list --collection docs
  elanus ctl trash restore docs --as docs_again
  elanus ctl gc status
  elanus ctl gc pause --collection docs --ttl 2h
  elanus ctl job list
  elanus ctl status
  elanus ctl events tail --kind snapshot --since 10m
  elanus ctl --output json collection describe docs | jq .statistics.row_count
  elanus ctl scrub --level checksum
  elanus ctl gc scan
  elanus ctl rebuild --data /var/lib/elanus
  elanus ctl root show --data /var/lib/elanus
  elanus ctl --addr https://db.example.com:19530 --tls-ca ca.pem --tls-cert me.pem --tls-key me.key status
  elanus ctl user create ann --new-password secret7
  elanus ctl role grant reader CollectionReadOnly --collection docs
  elanus ctl snapshot inspect data/CLUSTER/snapshots/3/metadata/7.json --verify checksum

Exit codes:
  0  done
  1  failed; also: scrub, scan or inspect found a difference, gc is frozen or a circuit breaker open, a compaction that
     was waited for failed, status found something missing
  2  the command line, or a value in it, is wrong
  4  not found
  5  in the way: pinned, or the name is taken
  6  the restore job failed or was cancelled
  7  the server is away; a command that changes something may have been done or not
  130  interrupted";

/// Snapshots, restore jobs and checks of a running server; the root path without one.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CtlArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Options {
    /// Server: http://HOST:PORT, or https://HOST:PORT
    #[arg(long, value_name = "URL", env = "ELANUS_ADDR", default_value = "http://127.0.0.1:19530", global = true)]
    addr: String,
    /// Who calls, where the server asks. Better in the environment, where others do not see it
    #[arg(long, value_name = "USER:PASSWORD", env = "ELANUS_CTL_TOKEN", hide_env_values = true, global = true)]
    token: Option<Token>,
    #[command(flatten)]
    tls: tls::TlsArgs,
    /// Database of the collections that are named
    #[arg(
        long,
        short = 'd',
        visible_alias = "database",
        value_name = "NAME",
        env = "ELANUS_DB",
        default_value = "default",
        global = true
    )]
    db: String,
    /// What results look like; JSON is stable and exact
    #[arg(long, value_name = "FORMAT", env = "ELANUS_OUTPUT", default_value = "table", global = true)]
    output: Format,
    /// Longest wait for one answer of the server, for example 90s [default: 60s; scrub, gc run, apply, pause, reconcile and root purge-namespace: none]
    #[arg(long, value_name = "TIME", env = "ELANUS_TIMEOUT", value_parser = humantime::parse_duration, global = true)]
    timeout: Option<Duration>,
}

/// A text that is not shown.
#[derive(Clone)]
struct Token(String);

impl FromStr for Token {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Options {
    /// `bounded`: an answer is not waited for without end.
    async fn client(&self, bounded: bool) -> Result<Client, Stop> {
        let mut builder = Client::builder(&self.addr).database(self.db.clone());
        if let Some(timeout) = self.timeout.or(bounded.then_some(TIMEOUT)) {
            builder = builder.timeout(timeout);
        }
        if let Some(Token(token)) = &self.token {
            builder = builder.token(token.clone());
        }
        if let Some(tls) = self.tls.open(&self.addr)? {
            builder = builder.tls(tls);
        }
        Ok(builder.connect().await?)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take, list, keep, drop and restore snapshots
    #[command(subcommand, visible_alias = "snapshots")]
    Snapshot(snapshot::Command),
    /// Look at restore jobs and cancel them
    #[command(subcommand, visible_alias = "jobs")]
    Job(job::Command),
    /// Look at collections, roll them back, compact them
    #[command(subcommand, visible_alias = "collections")]
    Collection(collection::Command),
    /// Look at compactions
    #[command(subcommand, visible_alias = "compactions")]
    Compaction(compaction::Command),
    /// List, create and drop databases
    #[command(subcommand, visible_alias = "databases")]
    Database(database::Command),
    /// Users and their passwords
    #[command(subcommand, visible_alias = "users")]
    User(user::Command),
    /// Roles, who has them and what they may do
    #[command(subcommand, visible_alias = "roles")]
    Role(role::Command),
    /// Bring dropped collections back, or end their way back
    #[command(subcommand)]
    Trash(trash::Command),
    /// See what waits for deletion and what keeps it; pause, hold, plan, undo
    #[command(subcommand)]
    Gc(gc::Command),
    /// Follow what happens
    #[command(subcommand)]
    Events(events::Command),
    Status(status::StatusArgs),
    Scrub(scrub::ScrubArgs),
    /// Whose root path it is: show, take, repair; needs no server, but for purge-namespace
    Root(root::RootArgs),
    Rebuild(rebuild::RebuildArgs),
}

const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a command printed no result, or one that a script must notice.
#[derive(Debug)]
enum Stop {
    Client(ClientError),
    /// The result is printed, and says that something is wrong.
    Differs(Rendered),
    Interrupted,
    /// Everything is printed already.
    Printed,
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

pub(crate) async fn run(args: CtlArgs) -> ExitCode {
    let format = args.options.output;
    let code = match execute(args).await {
        Ok(rendered) => {
            rendered.print(format);
            0
        }
        Err(Stop::Differs(rendered)) => {
            rendered.print(format);
            1
        }
        Err(Stop::Client(error)) => {
            eprintln!("{}", complaint(&error));
            exit_code(error.kind)
        }
        Err(Stop::Interrupted) => 130,
        Err(Stop::Printed) => 0,
    };
    ExitCode::from(code)
}

async fn execute(args: CtlArgs) -> Result<Rendered, Stop> {
    // Without a server.
    match &args.command {
        Command::Snapshot(snapshot::Command::Inspect(args)) => return inspect::execute(args).await,
        Command::Rebuild(args) => return rebuild::execute(args).await,
        Command::Status(status::StatusArgs { meta: Some(url) }) => return status::look(url).await,
        _ => {}
    }
    let command = match args.command {
        Command::Root(root) => return root::execute(root, &args.options).await,
        command => command,
    };
    let bounded = !matches!(
        command,
        Command::Scrub(_)
            | Command::Events(_)
            | Command::Gc(
                gc::Command::Run { .. }
                    | gc::Command::Apply { .. }
                    | gc::Command::Pause { .. }
                    | gc::Command::Reconcile(_)
            )
    );
    let client = args.options.client(bounded).await?;
    match command {
        Command::Snapshot(command) => snapshot::execute(&client, command).await,
        Command::Job(command) => job::execute(&client, command).await,
        Command::Collection(command) => collection::execute(&client, command).await,
        Command::Compaction(command) => compaction::execute(&client, command).await,
        Command::Database(command) => database::execute(&client, command).await,
        Command::User(command) => user::execute(&client, command).await,
        Command::Role(command) => role::execute(&client, &args.options.db, command).await,
        Command::Trash(command) => trash::execute(&client, command).await,
        Command::Gc(command) => gc::execute(&client, command).await,
        Command::Events(command) => {
            events::execute(&client, command, args.options.output, &SystemClock).await?;
            Err(Stop::Printed)
        }
        Command::Status(_) => status::ask(&client).await,
        Command::Scrub(args) => scrub::execute(&client, &args).await,
        Command::Root(_) => unreachable!("answered above"),
        Command::Rebuild(args) => rebuild::execute(&args).await,
    }
}

fn stop(kind: ErrorKind, message: String) -> Stop {
    Stop::Client(ClientError { kind, code: None, message })
}

fn complaint(error: &ClientError) -> String {
    let message = output::clean(&error.message);
    match error.code {
        Some(code) => format!("error: {message} (code {})", code.number()),
        None => format!("error: {message}"),
    }
}

/// The numbers that `--help` promises.
fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Invalid => 2,
        ErrorKind::NotFound => 4,
        ErrorKind::Conflict => 5,
        ErrorKind::JobFailed => 6,
        ErrorKind::Unavailable => 7,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use elanus_types::{Code, Failure};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: CtlArgs,
    }

    fn parse(line: &str) -> Result<CtlArgs, clap::error::ErrorKind> {
        let parsed = Cli::try_parse_from(format!("ctl {line}").split(' '));
        parsed.map(|cli| cli.args).map_err(|error| error.kind())
    }

    #[test]
    fn the_examples_of_the_help_are_valid() {
        let lines = HELP.lines().filter_map(|line| line.trim().strip_prefix("elanus ctl "));
        let lines: Vec<_> =
            lines.map(|line| line.split(" |").next().unwrap().replace("'before the import'", "x")).collect();
        let lines: Vec<_> = lines.into_iter().map(|line| line.replace("'id < 10'", "x")).collect();
        assert_eq!(lines.len(), 22);
        for line in lines {
            assert!(parse(&line).is_ok(), "{line}");
        }
    }

    #[test]
    fn options_may_stand_anywhere() {
        for line in [
            "--db other --output json snapshot list docs",
            "snapshot list docs --db other --output json",
            "snapshot --db other list --output json docs",
            "snapshot list -d other docs --output json",
            "--database other snapshot list docs --output json",
        ] {
            let args = parse(line).unwrap();
            assert_eq!((args.options.db.as_str(), args.options.output), ("other", Format::Json), "{line}");
        }
        assert_eq!(parse("snapshot list docs --timeout 1m30s").unwrap().options.timeout, Some(Duration::from_secs(90)));
    }

    #[test]
    fn a_wrong_line_is_refused() {
        for line in [
            "snapshot create docs",
            "snapshot restore docs a",
            "snapshot restore docs a b --mode move",
            "snapshot restore docs a b --partition",
            "job describe seven",
            "job cancel 0",
            "snapshot unpin -1",
            "snapshot pin docs a --ttl 0s",
            "snapshot query docs a --limit 0",
            "collection rollback docs",
            "collection compact",
            "compaction describe 0",
            "trash restore",
            "trash purge",
            "root",
            "root takeover",
            "root takeover --expect-cluster x --expect-epoch 1 --reason y",
            "root adopt --cluster 7",
            "root purge-namespace",
            "root purge-namespace 7",
            "root purge-namespace 5e1f0e6c-0000-4000-8000-000000000001 --no-wait",
            "scrub --level deep",
            "rebuild --objects file:///d",
            "rebuild --data /d --yes",
            "gc reconcile --accept-missing",
            "gc orphans --accept-scan x",
            "--output xml job list",
            "--timeout soon job list",
            "events",
            "events tail --kind snapshots",
            "events tail --since soon",
            "events tail --since 1m --from-seq 1",
            "events tail --from-seq 0",
            "events tail --limit 0",
            "events tail --id x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn every_documented_exit_code_is_given() {
        let codes =
            |number: i32, text: &str| exit_code(ClientError::from(Failure::new(Code::from_number(number), text)).kind);
        assert_eq!(codes(5, "x"), 1);
        assert_eq!(codes(1101, "a name is missing"), 2);
        assert_eq!(codes(2600, "snapshot not found[snapshot=x]"), 4);
        assert_eq!(codes(2601, "snapshot is pinned[snapshot=x]"), 5);
        assert_eq!(codes(2101, "restore job 7 failed: x"), 6);
        assert_eq!(codes(1, "x"), 7);
    }

    #[test]
    fn a_complaint_has_the_code_and_no_control_characters() {
        let error = ClientError::from(Failure::new(Code::SnapshotNotFound, "not found[snapshot=\u{1b}[2Jx\n]"));
        assert_eq!(complaint(&error), "error: not found[snapshot=\\u{1b}[2Jx\\n] (code 2600)");
    }
}

//! `elanus config`: check a file, show what is in force, print a file to start from.

use super::layers::Layers;
use super::settings::{FILE_FLAG, SERVICES, SETTINGS};
use crate::Cli;
use crate::output::{Format, Rendered, table};
use crate::services::{self, DataCoordinatorArgs, DataNodeArgs, ProxyArgs, QueryNodeArgs, StandaloneArgs};
use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory as _, Subcommand};
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
Examples:
  elanus config template > elanus.toml
  elanus config check --config elanus.toml
  elanus config check datanode --config elanus.toml
  elanus config show --config elanus.toml --restore-mode copy
  elanus config show proxy --config elanus.toml --output json
  elanus config template proxy > proxy.toml
  elanus standalone --config elanus.toml
  elanus datanode --config elanus.toml --listen 10.0.0.7:19532

A file may be for all services: each takes its own keys. `show` and `check` are about standalone unless they are told which
service; every key of the file is checked, whichever service it is for. `check` also reads the certificates, keys and tokens
that the service would read; it connects to nothing and writes nothing. Flags win over the environment, the environment over
the file, the file over defaults.
Exit codes: 0 all is well, 2 something is wrong; every mistake is told with its line.";

/// Check and show the configuration
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a file together with environment and flags, and the certificates that they name; touches nothing
    Check(Check),
    /// Print every setting with its value and where it was said; passwords and tokens are hidden
    Show(Show),
    /// Print a file with every setting, its meaning and its default
    Template(Template),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct Check {
    #[command(flatten)]
    standalone: StandaloneArgs,
    #[command(subcommand)]
    service: Option<Of>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct Show {
    #[command(flatten)]
    standalone: StandaloneArgs,
    /// What the result looks like
    #[arg(long, value_name = "FORMAT", env = "ELANUS_OUTPUT", default_value = "table", global = true)]
    output: Format,
    #[command(subcommand)]
    service: Option<Of>,
}

#[derive(Debug, Args)]
struct Template {
    /// Only the settings of this one [default: all services]
    #[arg(value_name = "SERVICE", value_parser = PossibleValuesParser::new(SERVICES))]
    service: Option<String>,
}

/// The service that is meant, where it is not standalone by default.
#[derive(Debug, Subcommand)]
enum Of {
    /// Of `elanus standalone`
    Standalone(StandaloneArgs),
    /// Of `elanus proxy`
    Proxy(ProxyArgs),
    /// Of `elanus datacoord`
    #[command(name = "datacoord")]
    DataCoord(DataCoordinatorArgs),
    /// Of `elanus datanode`
    #[command(name = "datanode")]
    DataNode(DataNodeArgs),
    /// Of `elanus querynode`
    #[command(name = "querynode")]
    QueryNode(QueryNodeArgs),
}

/// Refuses what a start would refuse for its command line.
fn check(standalone: &StandaloneArgs, service: Option<&Of>) -> anyhow::Result<()> {
    match service {
        None => services::check(standalone),
        Some(Of::Standalone(args)) => services::check(args),
        Some(Of::Proxy(args)) => services::check(args),
        Some(Of::DataCoord(args)) => services::check(args),
        Some(Of::DataNode(args)) => services::check(args),
        Some(Of::QueryNode(args)) => services::check(args),
    }
}

/// `matches` and `layers` are those that `args` was made from, `config` is the command.
pub(crate) fn run(args: &ConfigArgs, config: &Command, matches: &ArgMatches, layers: &Layers) -> ExitCode {
    let (called, given) = innermost(config, matches);
    let (checked, rendered, format) = match &args.command {
        Action::Check(Check { standalone, service }) => {
            let file = given.get_one::<PathBuf>(FILE_FLAG);
            let what = file.map_or("environment and flags".to_owned(), |file| file.display().to_string());
            let rendered = Rendered { text: format!("{what}: ok"), json: json!({ "ok": true }) };
            (check(standalone, service.as_ref()), rendered, Format::Table)
        }
        Action::Show(Show { standalone, output, service }) => {
            (check(standalone, service.as_ref()), in_force(called, given, layers), *output)
        }
        Action::Template(Template { service }) => {
            let text = template(&Cli::command(), service.as_deref());
            (Ok(()), Rendered { json: json!(text), text }, Format::Table)
        }
    };
    if let Err(error) = checked {
        eprintln!("error: {}", layers.explain(&format!("{error:#}")));
        return ExitCode::from(2);
    }
    rendered.print(format);
    ExitCode::SUCCESS
}

/// The last of the subcommands that were called, and what it was given.
fn innermost<'c>(mut command: &'c Command, mut matches: &'c ArgMatches) -> (&'c Command, &'c ArgMatches) {
    while let Some((name, inner)) = matches.subcommand() {
        let Some(called) = command.find_subcommand(name) else { break };
        (command, matches) = (called, inner);
    }
    (command, matches)
}

fn argument<'c>(command: &'c Command, flag: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|argument| argument.get_long() == Some(flag))
}

fn in_force(command: &Command, matches: &ArgMatches, layers: &Layers) -> Rendered {
    let mut rows = Vec::new();
    for setting in SETTINGS {
        let Some(argument) = argument(command, setting.flag) else { continue };
        let id = argument.get_id().as_str();
        let values = matches.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
        let value = values.collect::<Vec<_>>().join(",");
        let value = if argument.is_hide_env_values_set() { without_secrets(&value) } else { value };
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => format!("--{}", setting.flag),
            Some(ValueSource::EnvVariable) => {
                argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
            _ => layers
                .place(setting.flag)
                .map_or("default", |place| place.rsplit_once(": ").map_or(place, |(at, _)| at))
                .to_owned(),
        };
        rows.push((setting.key, value, source));
    }
    let json =
        rows.iter().map(|(key, value, source)| json!({ "key": key, "value": value, "source": source })).collect();
    let cells = rows.into_iter().map(|(key, value, source)| vec![key.to_owned(), value, source]);
    Rendered { text: table(&["KEY", "VALUE", "SOURCE"], cells), json }
}

/// CF-3: user, password and parameters of a URL are not shown; what is no URL is not shown at all.
fn without_secrets(value: &str) -> String {
    if value.is_empty() || value == "local:" {
        return value.to_owned();
    }
    if value.contains(",nats://") || value.contains(",tls://") {
        return value.split(',').map(without_secrets).collect::<Vec<_>>().join(",");
    }
    let Ok(mut url) = url::Url::parse(value) else { return "(hidden)".to_owned() };
    if url.cannot_be_a_base() {
        return "(hidden)".to_owned();
    }
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "(hidden)".to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    url.to_string()
}

/// Of all services, or of one.
fn template(command: &Command, only: Option<&str>) -> String {
    let (of, name) = only.map_or(("all services", "standalone"), |only| (only, only));
    let mut text = format!(
        "# Configuration of Elanus, for {of}. What is commented out has its default.\n\
         # elanus {name} --config FILE; elanus config check {name} --config FILE\n"
    );
    let services =
        SERVICES.map(|service| command.find_subcommand(service).filter(|_| only.is_none_or(|only| only == service)));
    let mut table = "";
    for (in_tables, setting) in [false, true].into_iter().flat_map(|kind| SETTINGS.iter().map(move |s| (kind, s))) {
        let (path, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        let argument = services.iter().flatten().find_map(|service| argument(service, setting.flag));
        let Some(argument) = argument.filter(|_| path.is_empty() != in_tables) else { continue };
        if path != table {
            let _ = write!(text, "\n[{path}]\n");
            table = path;
        }
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let default = argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let _ = write!(
            text,
            "\n# {help}\n# (--{}, {variable})\n# {name} = {:?}\n",
            setting.flag,
            default.unwrap_or_default()
        );
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches as _;

    #[test]
    fn cf_3_no_password_is_shown() {
        assert_eq!(
            without_secrets("postgres://elanus:secret@host/db?sslpassword=secret"),
            "postgres://elanus:***@host/db?***"
        );
        assert_eq!(without_secrets("postgres:elanus:secret"), "(hidden)");
        assert_eq!(without_secrets("no url, secret"), "(hidden)");
        assert_eq!(without_secrets("s3://bucket/root"), "s3://bucket/root");
        let several = without_secrets("nats://u:secret@a:4222,nats://u:secret@b,tls://c");
        assert_eq!(several, "nats://u:***@a:4222,nats://u:***@b,tls://c");
        assert_eq!(without_secrets("nats://u:p@a,secret,nats://b"), "nats://u:***@a,(hidden),nats://b");
        assert_eq!(without_secrets("0123456789abcdef,fedcba9876543210"), "(hidden)");
    }

    /// `elanus config …` as a user calls it: the text, and what was wrong.
    fn shown(line: &str) -> (Rendered, anyhow::Result<()>) {
        let line: Vec<std::ffi::OsString> = line.split_whitespace().map(Into::into).collect();
        let (matches, layers) = crate::config::parse(&Cli::command(), &line).unwrap();
        let command = Cli::command();
        let (called, given) = innermost(&command, &matches);
        let crate::Command::Config(args) = Cli::from_arg_matches(&matches).unwrap().command else { panic!("{line:?}") };
        let (Action::Show(Show { standalone, service, .. }) | Action::Check(Check { standalone, service })) =
            &args.command
        else {
            panic!("{line:?}")
        };
        (in_force(called, given, &layers), check(standalone, service.as_ref()))
    }

    #[test]
    fn every_service_has_its_own_settings() {
        for service in SERVICES {
            let (shown, checked) = shown(&format!("elanus config show {service} --tls-min-version 1.3"));
            let has = |key: &str| shown.json.as_array().unwrap().iter().any(|row| row["key"] == key);
            assert_eq!(has("advertise"), service != "standalone", "{service}");
            assert_eq!(has("internaltls.sni"), service != "standalone", "{service}");
            assert_eq!(has("tls.caPemPath"), ["standalone", "proxy"].contains(&service), "{service}");
            assert_eq!(has("restore.copySlots"), ["standalone", "datanode"].contains(&service), "{service}");
            assert!(shown.text.contains("--tls-min-version"), "{}", shown.text);
            // What a service cannot do without is missed.
            assert_eq!(checked.is_ok(), service == "standalone", "{service}");
            let text = template(&Cli::command(), Some(service));
            assert_eq!(text.contains("# sni ="), has("internaltls.sni"), "{text}");
        }
        let whole = template(&Cli::command(), None);
        assert!(SETTINGS.iter().all(|setting| whole.contains(&format!("(--{}, ELANUS_", setting.flag))), "{whole}");
    }

    #[test]
    fn a_service_is_checked_with_its_part_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "[meta]\nurl = \"postgres://u:hunter2@h/d\"\n[objects]\nurl = \"s3://bucket\"\n[objects.s3]\naddressStyle = \"path\"\n\
                    [services]\ntoken = \"0123456789abcdef\"\n[internaltls]\nserverPemPath = \"/no/such.pem\"\n";
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().display();
        let (datanode, checked) = shown(&format!("elanus config check datanode --config {path}"));
        let style = datanode.json.as_array().unwrap().iter().find(|row| row["key"] == "objects.s3.addressStyle");
        assert_eq!(style.unwrap()["value"], "path");
        assert!(!datanode.text.contains("hunter2") && !datanode.text.contains("0123456789abcdef"), "{}", datanode.text);
        assert!(checked.unwrap_err().to_string().starts_with("--services-tls-key: give"));
        // Standalone has no such connections.
        assert!(shown(&format!("elanus config check --config {path}")).1.is_ok());
        let flags = "--services-tls-key /no/such.key --services-tls-ca /no/such.ca";
        let error = shown(&format!("elanus config check datanode --config {path} {flags}")).1.unwrap_err().to_string();
        assert!(error.starts_with("--services-tls-cert: /no/such.pem: cannot be read"), "{error}");
    }
}

//! `elanus config`: check a file, show what is in force, print a file to start from.

use super::layers::Layers;
use super::settings::{SERVICES, SETTINGS};
use crate::Cli;
use crate::output::{Format, Rendered, table};
use crate::services::StandaloneArgs;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory as _, Subcommand};
use serde_json::json;
use std::fmt::Write as _;
use std::process::ExitCode;

const HELP: &str = "\
Examples:
  elanus config template > elanus.toml
  elanus config check --config elanus.toml
  elanus config show --config elanus.toml --restore-mode copy
  elanus standalone --config elanus.toml
  elanus datanode --config elanus.toml --listen 10.0.0.7:19532

A file may be for all services: each takes its own keys. `show` and `check` show and check the settings of standalone, and
`check` every key of the file. Flags win over the environment, the environment over the file, the file over defaults.
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
    /// Check a file together with environment and flags; touches nothing
    Check(StandaloneArgs),
    /// Print every setting with its value and where it was said; passwords are hidden
    Show(Show),
    /// Print a file with every setting, its meaning and its default
    Template,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    settings: StandaloneArgs,
    /// What the result looks like
    #[arg(long, value_name = "FORMAT", env = "ELANUS_OUTPUT", default_value = "table")]
    output: Format,
}

/// `matches` and `layers` are those that `args` was made from, `config` is the command.
pub(crate) fn run(args: &ConfigArgs, config: &Command, matches: &ArgMatches, layers: &Layers) -> ExitCode {
    let (settings, rendered, format) = match &args.command {
        Action::Check(settings) => {
            let text =
                settings.config_file().map_or("environment and flags".to_owned(), |file| file.display().to_string());
            let ok = json!({ "ok": true });
            (Some(settings), Rendered { text: format!("{text}: ok"), json: ok }, Format::Table)
        }
        Action::Show(show) => {
            let called = config.find_subcommand("show").zip(matches.subcommand_matches("show"));
            let rendered = called.map(|(command, matches)| in_force(command, matches, layers));
            (
                Some(&show.settings),
                rendered.unwrap_or_else(|| Rendered { text: String::new(), json: json!([]) }),
                show.output,
            )
        }
        Action::Template => {
            let text = template(&Cli::command());
            (None, Rendered { json: json!(text), text }, Format::Table)
        }
    };
    if let Some(Err(error)) = settings.map(StandaloneArgs::check_all) {
        eprintln!("error: {}", layers.explain(&format!("{error:#}")));
        return ExitCode::from(2);
    }
    rendered.print(format);
    ExitCode::SUCCESS
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

fn template(command: &Command) -> String {
    let mut text = "# Configuration of Elanus, for all services. What is commented out has its default.\n\
                    # elanus standalone --config FILE; elanus config check --config FILE\n"
        .to_owned();
    let services = SERVICES.map(|service| command.find_subcommand(service));
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
    }
}

//! Puts the file below environment and flags: its values become the defaults of the flags.

use super::file::{self, Entry, Mistake};
use super::settings::{FILE_FLAG, find};
use anyhow::{Context as _, anyhow};
use clap::builder::ValueRange;
use clap::error::ContextKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Which values came from the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layers {
    /// By flag: `elanus.toml:12: gc.interval`.
    places: BTreeMap<&'static str, String>,
}

impl Layers {
    /// Where the file says it, when it does.
    pub(crate) fn place(&self, flag: &str) -> Option<&str> {
        self.places.get(flag).map(String::as_str)
    }

    /// A text that begins with the name of a flag, `--gc-interval: too short`, told of the line that said it.
    pub(crate) fn explain(&self, text: &str) -> String {
        let flag = text.strip_prefix("--").and_then(|rest| rest.split_once(':'));
        match flag.and_then(|(flag, why)| Some((self.place(flag)?, why))) {
            Some((place, why)) => format!("{place}:{why}"),
            None => text.to_owned(),
        }
    }
}

/// Parses a command line. Where a command has the flag `--config`, the file that it names gives the defaults of the others.
///
/// # Errors
/// What clap says of the command line, and every mistake of the file, as text for the user.
pub(crate) fn parse(command: &Command, line: &[OsString]) -> Result<(ArgMatches, Layers), clap::Error> {
    let matches = command.clone().try_get_matches_from(line)?;
    let Some((path, file)) = chosen_file(command, &matches) else { return Ok((matches, Layers::default())) };
    let layered = read(&file).and_then(|text| {
        let entries = file::read(&text).map_err(|mistakes| in_file(&file, &mistakes))?;
        lay(command, &path, &file, &entries, &matches)
    });
    match layered {
        Ok((command, layers)) => Ok((command.try_get_matches_from(line)?, layers)),
        Err(error) => Err(clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{error:#}\n"))),
    }
}

/// The subcommands that were called, and the file that they were given.
fn chosen_file(command: &Command, matches: &ArgMatches) -> Option<(Vec<String>, PathBuf)> {
    let (mut at, mut command, mut path) = (matches, command, Vec::new());
    while let Some((name, inner)) = at.subcommand() {
        path.push(name.to_owned());
        at = inner;
        command = command.find_subcommand(name)?;
    }
    let has = command.get_arguments().any(|argument| argument.get_id() == FILE_FLAG);
    let file = has.then(|| at.get_one::<PathBuf>(FILE_FLAG)).flatten()?;
    Some((path, file.clone()))
}

fn read(file: &Path) -> anyhow::Result<String> {
    let size = std::fs::metadata(file).map(|metadata| metadata.len());
    let size = size.with_context(|| format!("--config: could not read {}", file.display()))?;
    if size > FILE_BYTES_MAX {
        return Err(anyhow!("--config: {} is longer than 1 MiB; this is no configuration", file.display()));
    }
    std::fs::read_to_string(file).with_context(|| format!("--config: could not read {}", file.display()))
}

fn lay(
    command: &Command,
    path: &[String],
    file: &Path,
    entries: &[Entry],
    matches: &ArgMatches,
) -> anyhow::Result<(Command, Layers)> {
    let mut called = command;
    let mut given = matches;
    for name in path {
        called = called.find_subcommand(name).context("a subcommand that was called is not there")?;
        given = given.subcommand_matches(name).context("a subcommand that was called is not there")?;
    }
    let (mut layers, mut mistakes, mut defaults) = (Layers::default(), Vec::new(), Vec::new());
    let mut given_keys = BTreeSet::new();
    let mut mistaken = |entry: &Entry, why: String| {
        mistakes.push(Mistake { line: entry.line, text: format!("{}: {why}", entry.key) });
    };
    for entry in entries {
        let setting = match find(&entry.key) {
            Ok(setting) => setting,
            Err(near) => {
                let near = near.map_or_else(
                    || "elanus config template prints all keys".to_owned(),
                    |near| format!("did you mean {near}?"),
                );
                mistaken(entry, format!("there is no such key; {near}"));
                continue;
            }
        };
        if given_keys.contains(setting.flag) {
            mistaken(entry, "is given twice".to_owned());
            continue;
        }
        // One file may be for all services: what another one is told is checked, and not this one's.
        let is_own = has(called, setting.flag);
        let asked =
            if is_own { Some(called) } else { command.get_subcommands().find(|other| has(other, setting.flag)) };
        if let Err(why) = check(asked.unwrap_or(called), setting.flag, &entry.value) {
            mistaken(entry, why);
            continue;
        }
        given_keys.insert(setting.flag);
        if !is_own {
            continue;
        }
        layers.places.insert(setting.flag, format!("{}:{}: {}", file.display(), entry.line, entry.key));
        defaults.push((setting.flag, entry.value.clone()));
    }
    if !mistakes.is_empty() {
        return Err(in_file(file, &mistakes));
    }
    // The name of a flag is not always that of its argument.
    let ids: BTreeMap<&str, clap::Id> =
        called.get_arguments().filter_map(|argument| Some((argument.get_long()?, argument.get_id().clone()))).collect();
    let id = |flag: &str| ids.get(flag).map_or_else(|| flag.replace('-', "_"), |id| id.as_str().to_owned());
    // What environment or flags say is not the file's.
    layers
        .places
        .retain(|flag, _| given.value_source(&id(flag)).is_none_or(|source| source == ValueSource::DefaultValue));
    let command = with_defaults(command.clone(), path, &|called| {
        defaults.iter().fold(called, |called, (flag, value)| {
            let value = value.clone();
            called.mut_arg(id(flag), move |argument| argument.default_value(value))
        })
    });
    Ok((command, layers))
}

fn with_defaults(command: Command, path: &[String], lay: &dyn Fn(Command) -> Command) -> Command {
    match path {
        [] => lay(command),
        [name, inner @ ..] => command.mut_subcommand(name, |subcommand| with_defaults(subcommand, inner, lay)),
    }
}

fn has(command: &Command, flag: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some(flag))
}

/// Asks the flag's own parser (CF-1).
fn check(command: &Command, flag: &str, value: &str) -> Result<(), String> {
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(flag));
    let argument = argument.ok_or_else(|| format!("has no meaning for elanus {}", command.get_name()))?;
    if argument.get_num_args() == Some(ValueRange::EMPTY) {
        let fits = ["true", "false"].contains(&value);
        return if fits { Ok(()) } else { Err("give true or false".to_owned()) };
    }
    let line = ["elanus".to_owned(), format!("--{flag}={value}")];
    let Err(error) = command.clone().try_get_matches_from(line) else { return Ok(()) };
    if let Some(why) = std::error::Error::source(&error) {
        return Err(why.to_string());
    }
    let possible = error.get(ContextKind::ValidValue).map(|values| format!("give one of {values}"));
    Err(possible.unwrap_or_else(|| "this is no value for it".to_owned()))
}

fn in_file(file: &Path, mistakes: &[Mistake]) -> anyhow::Error {
    let mut text = String::new();
    for mistake in mistakes {
        let gap = if text.is_empty() { "" } else { "\n       " };
        let _ = write!(text, "{gap}{}:{}: {}", file.display(), mistake.line, mistake.text);
    }
    anyhow!(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;
    use crate::config::settings::SERVICES;
    use clap::CommandFactory as _;
    use std::io::Write as _;

    struct File(tempfile::NamedTempFile);

    fn file(text: &str) -> File {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        File(file)
    }

    impl File {
        fn parse(&self, flags: &[&str]) -> Result<(ArgMatches, Layers), String> {
            let path = self.0.path().to_str().unwrap();
            let line: Vec<OsString> =
                ["elanus", "standalone", "--config", path].iter().chain(flags).map(OsString::from).collect();
            parse(&Cli::command(), &line).map_err(|error| error.to_string().replace(path, "FILE"))
        }
    }

    fn value(matches: &ArgMatches, id: &str) -> String {
        let standalone = matches.subcommand_matches("standalone").unwrap();
        standalone.get_raw(id).unwrap().next().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let given = file("[restore]\nmode = \"copy\"\n[trash]\nretention = \"2h\"\n");
        let (matches, layers) = given.parse(&["--trash-retention", "5h"]).unwrap();
        assert_eq!(value(&matches, "restore_mode"), "copy");
        assert_eq!(value(&matches, "trash_retention"), "5h");
        assert_eq!(value(&matches, "data"), "./elanus-data");
        assert!(layers.place("restore-mode").unwrap().ends_with(":2: restore.mode"), "{layers:?}");
        assert_eq!(layers.place("trash-retention"), None, "the flag said it");
    }

    #[test]
    fn cf_2_every_mistake_is_told_with_its_line_and_no_value() {
        let given = file(
            "[restore]\nmode = \"secret\"\nmodus = \"copy\"\n[trash]\nretention = 24\n[dataCoord.trash]\nretention = \"1h\"\n\
             [proxy.grpc]\nserverMaxRecvSize = \"1TiB\"\n",
        );
        assert_eq!(
            given.parse(&[]).unwrap_err().trim_end(),
            "error: FILE:2: restore.mode: give one of clone, copy\n       \
             FILE:3: restore.modus: there is no such key; did you mean restore.mode?\n       \
             FILE:5: trash.retention: time unit needed, for example 24sec or 24ms; for example 24h, or 0\n       \
             FILE:9: proxy.grpc.serverMaxRecvSize: give bytes, or a number with KiB, MiB or GiB"
        );
        let twice =
            file("[trash]\nretention = \"1h\"\n[dataCoord.trash]\nretention = \"1h\"\n").parse(&[]).unwrap_err();
        assert!(twice.contains("FILE:4: dataCoord.trash.retention: is given twice"), "{twice}");
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let line = ["elanus", "standalone", "--config", "/no/such.toml"].map(OsString::from);
        let error = parse(&Cli::command(), &line).unwrap_err();
        assert!(error.to_string().contains("could not read /no/such.toml"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_text_about_a_flag_names_the_line_that_set_it() {
        let layers = Layers { places: [("gc-interval", "e.toml:3: gc.interval".to_owned())].into() };
        assert_eq!(layers.explain("--gc-interval: too short"), "e.toml:3: gc.interval: too short");
        assert_eq!(layers.explain("--other: too short"), "--other: too short");
        assert_eq!(layers.explain("something else"), "something else");
    }

    #[test]
    fn cf_1_every_flag_but_that_of_the_file_has_a_key() {
        let command = Cli::command();
        let mut flags: BTreeSet<&str> = BTreeSet::new();
        for service in SERVICES {
            let service = command.find_subcommand(service).unwrap();
            flags.extend(service.get_arguments().filter_map(clap::Arg::get_long));
        }
        flags.retain(|flag| !["help", "version", FILE_FLAG].contains(flag));
        let known: BTreeSet<&str> = crate::config::settings::SETTINGS.iter().map(|setting| setting.flag).collect();
        assert_eq!(flags, known, "every flag of a service has a row in config/settings.rs");
    }

    #[test]
    fn every_key_reaches_its_flag() {
        let given = file("[objects.s3]\nendpoint = \"http://127.0.0.1:1\"\n[events]\nurl = \"nats://127.0.0.1:1\"\n");
        let (matches, layers) = given.parse(&[]).unwrap();
        assert_eq!(value(&matches, "endpoint"), "http://127.0.0.1:1");
        assert_eq!(value(&matches, "events_url"), "nats://127.0.0.1:1");
        assert!(layers.place("s3-endpoint").is_some() && layers.place("events-url").is_some(), "{layers:?}");
    }

    #[test]
    fn one_file_may_be_for_all_services() {
        let given = file("[restore]\ncopySlots = 7\n[services]\ndatacoord = \"a:1,b:2\"\n");
        let (matches, layers) = given.parse(&[]).unwrap();
        assert_eq!((value(&matches, "copy_slots").as_str(), layers.place("datacoord")), ("7", None));
        let wrong = file("[services]\ndatacoord = \"a\"\n").parse(&[]).unwrap_err();
        assert!(wrong.contains("FILE:2: services.datacoord: give HOST:PORT"), "{wrong}");
        let path = given.0.path().to_str().unwrap();
        let line = ["elanus", "proxy", "--config", path].map(OsString::from);
        let (matches, _) = parse(&Cli::command(), &line).unwrap();
        let found = matches.subcommand_matches("proxy").unwrap().get_many::<String>("datacoord").unwrap();
        assert_eq!(found.collect::<Vec<_>>(), ["a:1", "b:2"]);
    }
}

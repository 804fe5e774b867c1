//! Log lines on stderr. Stdout belongs to results.
//!
//! Never log what may hold a secret: URLs go through [`without_password`], requests are not logged.

use std::{fmt, io::IsTerminal as _, str::FromStr};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

/// What log lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no logging.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be understood.
    #[error(
        "{text:?} is not a log filter; give error, warn, info, debug, trace, or directives such as info,elanus_meta=debug"
    )]
    Filter {
        /// What was given.
        text: String,
    },
    /// The process has a subscriber already.
    #[error("logging is set up already")]
    Twice,
}

/// Which lines are written: a level, or directives as `tracing` reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

impl FromStr for Filter {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        let directives = expand(text.trim());
        match EnvFilter::try_new(&directives) {
            Ok(_) if !text.trim().is_empty() => Ok(Self(directives)),
            _ => Err(TelemetryError::Filter { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bare level is Elanus' own: nobody who asks for `debug` wants every HTTP/2 frame.
fn expand(text: &str) -> String {
    match text.to_ascii_lowercase().as_str() {
        level @ ("info" | "debug" | "trace") => format!("warn,elanus={level}"),
        other => other.to_owned(),
    }
}

/// Sends log lines to stderr from now on.
///
/// # Errors
/// When the process logs already.
pub fn start(filter: &Filter, format: Format) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&filter.0).map_err(|_| TelemetryError::Filter { text: filter.to_string() })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).finish().try_init(),
        Format::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|_| TelemetryError::Twice)
}

/// A URL as it may be shown: without user, password and options.
#[must_use]
pub fn without_password(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_of_elanus_and_directives_stay() {
        let filter = |text: &str| text.parse::<Filter>().map(|filter| filter.0).map_err(|e| e.to_string());
        assert_eq!(filter("debug").unwrap(), "warn,elanus=debug");
        assert_eq!(filter(" INFO ").unwrap(), "warn,elanus=info");
        assert_eq!(filter("error").unwrap(), "error");
        assert_eq!(filter("info,h2=trace").unwrap(), "info,h2=trace");
        for bad in ["", " ", "elanus=loud", "a=b=c"] {
            assert!(filter(bad).unwrap_err().contains("give error, warn, info"), "{bad}");
        }
    }

    #[test]
    fn a_url_is_shown_without_secrets() {
        for (url, shown) in [
            ("postgres://user:secret@host:5432/db?password=x", "postgres://host:5432/db"),
            ("sqlite:///data/a@b/meta.db", "sqlite:///data/a@b/meta.db"),
            ("s3://key:sec@ret@bucket", "s3://bucket"),
            ("local:", "local:"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}

//! Log lines on stderr, and traces to who receives them. Stdout belongs to results.
//!
//! * `lines`: log lines say of which trace they are part. `wanted`: what becomes part of one. `export`: where they go.
//!
//! Nothing is traced unless somebody says where to; then spans cost nothing (`TR-1` in `elanus_trace`).
//!
//! Never log what may hold a secret: URLs go through [`without_password`], requests are not logged.

mod export;
mod lines;
mod wanted;

pub use export::Traces;

use export::Exporting;
use lines::WithIds;
use std::{fmt, io::IsTerminal as _, str::FromStr};
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt as lines_of, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _,
};
use wanted::Wanted;

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
    /// Traces cannot be sent there.
    #[error("could not begin to send traces to {endpoint}: {why}")]
    Traces {
        /// Where.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
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

/// What is told of a process, until it ends.
#[derive(Debug)]
#[must_use = "the last spans are sent by `end`"]
pub struct Telemetry(Option<Exporting>);

impl Telemetry {
    /// Sends the spans that still wait, for a bounded time.
    pub async fn end(self) {
        if let Some(exporting) = self.0 {
            exporting.end().await;
        }
    }
}

/// Sends log lines to stderr from now on, and spans to where `traces` says.
///
/// # Errors
/// When the process logs already, or spans cannot be sent there.
///
/// # Panics
/// Outside a tokio runtime, where there are traces.
pub fn start(filter: &Filter, format: Format, traces: Option<&Traces>) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(&filter.0).map_err(|_| TelemetryError::Filter { text: filter.to_string() })?;
    // Spans are for traces; a line has their ids.
    let filter =
        filter.add_directive("span=off".parse().map_err(|_| TelemetryError::Filter { text: "span=off".into() })?);
    let lines = lines_of::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => {
            let ansi = std::io::stderr().is_terminal();
            let inner = lines_of::format().with_ansi(ansi);
            lines.with_ansi(ansi).event_format(WithIds { inner, json: false }).with_filter(filter).boxed()
        }
        Format::Json => {
            let lines = lines.json().flatten_event(true);
            lines.map_event_format(|inner| WithIds { inner, json: true }).with_filter(filter).boxed()
        }
    };
    let exporting = traces.map(|traces| {
        let failed = |why: Box<dyn std::error::Error + Send + Sync>| TelemetryError::Traces {
            endpoint: traces.endpoint.clone(),
            why: why.to_string(),
        };
        Exporting::start(traces).map_err(failed)
    });
    let exporting = exporting.transpose()?;
    let spans = exporting.as_ref().map(|exporting| {
        tracing_opentelemetry::layer()
            .with_tracer(exporting.tracer())
            // What everybody has anyway, and what only its time would tell.
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_error_events_to_status(false)
            .with_filter(Wanted)
    });
    registry().with(lines).with(spans).try_init().map_err(|_| TelemetryError::Twice)?;
    if let Some(traces) = traces {
        elanus_trace::switch_on();
        // Events carry the trace of their cause.
        elanus_types::set_traceparent_source(|| elanus_trace::current().map(|parent| parent.to_string()));
        let (endpoint, fraction) = (&traces.endpoint, traces.sample_fraction);
        tracing::info!(endpoint, fraction, instance = traces.instance, "requests are traced");
    }
    Ok(Telemetry(exporting))
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

//! Where traces go, and how many.

use clap::Args;
use url::Url;

#[derive(Clone, Debug, Args)]
pub(super) struct TraceArgs {
    /// Receiver of traces (OTLP over gRPC: Jaeger, Tempo, an OpenTelemetry collector), for example http://jaeger:4317. OTEL_EXPORTER_OTLP_ENDPOINT is asked last; without any, nothing is traced
    #[arg(long, value_name = "URL", env = "ELANUS_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Share of the requests that are traced, from 0 to 1. Clients that send a traceparent decide for their own
    #[arg(long, value_name = "N", env = "ELANUS_TRACE_SAMPLE_FRACTION", default_value = "1", value_parser = fraction)]
    trace_sample_fraction: f64,
}

/// Where traces go.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    pub(in crate::services) endpoint: String,
    pub(in crate::services) sample_fraction: f64,
}

impl TraceArgs {
    /// `None`: nothing is traced.
    pub(super) fn traces(&self) -> Option<Result<Traces, String>> {
        // Checked here: clap would show a wrong value, with a password in it.
        let (name, text) = match &self.otlp_endpoint {
            Some(text) => ("--otlp-endpoint", text.clone()),
            None => (STANDARD, standard()?),
        };
        let sample_fraction = self.trace_sample_fraction;
        let traces = endpoint(&text).map(|endpoint| Traces { endpoint, sample_fraction });
        Some(traces.map_err(|why| format!("{name}: {why}")))
    }
}

const STANDARD: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What all programs with OpenTelemetry are told; clap knows one variable of a flag.
#[expect(clippy::disallowed_methods, reason = "read once, where the flags are")]
fn standard() -> Option<String> {
    std::env::var(STANDARD).ok().filter(|value| !value.is_empty())
}

/// `http://host:4317`.
fn endpoint(text: &str) -> Result<String, String> {
    let example = "give http://HOST:PORT, for example http://jaeger:4317";
    let url = Url::parse(text).map_err(|_| example.to_owned())?;
    match url.scheme() {
        "http" if url.host_str().is_some_and(|host| !host.is_empty()) => {}
        "https" => {
            return Err("https is not supported for traces: give the http address of a collector beside this process"
                .to_owned());
        }
        _ => return Err(example.to_owned()),
    }
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.path() == "/";
    if plain { Ok(text.to_owned()) } else { Err(format!("{example}, and nothing else")) }
}

fn fraction(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "give a number from 0 to 1, for example 0.1".to_owned())?;
    if (0.0..=1.0).contains(&number) {
        Ok(number)
    } else {
        Err("give a number from 0 to 1, for example 0.1".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_an_address_and_nothing_else() {
        for good in ["http://jaeger:4317", "http://127.0.0.1:4317/", "http://[::1]:4317"] {
            assert_eq!(endpoint(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "jaeger:4317",
            "http://",
            "http://user:secret@host:1",
            "http://host:1/v1/traces",
            "http://host?a=secret",
            "grpc://host:1",
        ] {
            let why = endpoint(bad).unwrap_err();
            assert!(why.contains("http://jaeger:4317") && !why.contains("secret"), "{bad}: {why}");
        }
        assert!(endpoint("https://host:4317").unwrap_err().contains("collector"));
        let args = TraceArgs { otlp_endpoint: Some("http://u:secret@host:1".to_owned()), trace_sample_fraction: 1.0 };
        let why = args.traces().unwrap().unwrap_err();
        assert!(why.starts_with("--otlp-endpoint: give http://") && !why.contains("secret"), "{why}");
    }

    #[test]
    fn a_share_is_from_none_to_all() {
        for (text, share) in [("0", 0.0), ("1", 1.0), ("0.25", 0.25)] {
            assert_eq!(fraction(text), Ok(share));
        }
        for bad in ["", "-0.1", "1.1", "10%", "NaN", "inf"] {
            assert!(fraction(bad).is_err(), "{bad}");
        }
    }
}

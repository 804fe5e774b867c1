//! The event bus: where it is, who asks, what it keeps.

use super::values::bytes_of_stream;
use crate::s3::Secret;
use crate::services::error::StartError;
use anyhow::anyhow;
use clap::Args;
use elanus_events::{BusConfig, BusUrl, EventBus, Limits, Login, OpenError, Tls};
use elanus_meta::Meta;
use elanus_meta::model::ServiceKind;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How to reach the bus.
#[derive(Clone, Debug, Args)]
pub(in crate::services) struct EventsArgs {
    /// Event bus: nats://HOST:PORT of a NATS server with JetStream, several of one cluster with commas, tls:// to insist on
    /// TLS; or local:, inside this process. Events only wake: without a bus, or while it is away, timers do the work
    #[arg(long, value_name = "URL", env = "ELANUS_EVENTS_URL", default_value = "local:", hide_env_values = true)]
    events_url: String,
    /// User of the NATS server
    #[arg(long, value_name = "NAME", env = "ELANUS_EVENTS_USER", hide_env_values = true)]
    events_user: Option<String>,
    /// Password of it; better in the environment, where others do not see it
    #[arg(long, value_name = "SECRET", env = "ELANUS_EVENTS_PASSWORD", hide_env_values = true)]
    events_password: Option<Secret>,
    /// Token of the NATS server, in place of user and password
    #[arg(long, value_name = "SECRET", env = "ELANUS_EVENTS_TOKEN", hide_env_values = true)]
    events_token: Option<Secret>,
    /// Credentials file of NATS (.creds), in place of user and password
    #[arg(long, value_name = "FILE", env = "ELANUS_EVENTS_CREDENTIALS")]
    events_credentials: Option<PathBuf>,
    /// Certificates (PEM) to trust beside the system's, for the NATS server
    #[arg(long, value_name = "FILE", env = "ELANUS_EVENTS_CA")]
    events_ca: Option<PathBuf>,
    /// Certificate (PEM) that this process shows to the NATS server
    #[arg(long, value_name = "FILE", env = "ELANUS_EVENTS_CERT")]
    events_cert: Option<PathBuf>,
    /// Key (PEM) of it
    #[arg(long, value_name = "FILE", env = "ELANUS_EVENTS_KEY")]
    events_key: Option<PathBuf>,
}

impl EventsArgs {
    /// Refuses what can be known to be wrong without a server.
    pub(in crate::services) fn check(&self) -> Result<(), StartError> {
        self.config(Limits::default())?.check().map_err(explain)
    }

    /// True where events leave this process.
    pub(in crate::services) fn is_shared(&self) -> bool {
        self.events_url.parse::<BusUrl>().is_ok_and(|url| url.is_nats())
    }

    /// Opens the bus of the cluster that `meta` is of. Does not wait for the server.
    pub(in crate::services) async fn open(
        &self,
        limits: Limits,
        meta: &Meta,
        kind: ServiceKind,
    ) -> Result<Arc<dyn EventBus>, StartError> {
        let config = self.config(limits)?;
        let name = format!("elanus {}", kind.label());
        elanus_events::open(&config, meta.keys().cluster(), &name).await.map_err(explain)
    }

    fn config(&self, limits: Limits) -> Result<BusConfig, StartError> {
        let wrong = |text: &str| StartError::Usage(anyhow!("{text}"));
        let url: BusUrl = self.events_url.parse().map_err(explain)?;
        let text = |secret: &Secret| secret.text().to_owned();
        let login = match (&self.events_user, &self.events_password, &self.events_token, &self.events_credentials) {
            (None, None, None, None) => Login::None,
            (Some(user), Some(password), None, None) => Login::User { user: user.clone(), password: text(password) },
            (None, None, Some(token), None) => Login::Token(text(token)),
            (None, None, None, Some(path)) => Login::Credentials(path.clone()),
            (Some(_), None, None, None) => return Err(wrong("--events-user: give --events-password as well")),
            (None, Some(_), None, None) => return Err(wrong("--events-password: give --events-user as well")),
            _ => {
                let text = "--events-token: give one of user and password, token, or credentials";
                return Err(wrong(text));
            }
        };
        let own = match (&self.events_cert, &self.events_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (Some(_), None) => return Err(wrong("--events-cert: give --events-key as well")),
            (None, Some(_)) => return Err(wrong("--events-key: give --events-cert as well")),
        };
        Ok(BusConfig { url, login, tls: Tls { ca: self.events_ca.clone(), own }, limits })
    }
}

/// By the flag that has to change.
fn explain(error: OpenError) -> StartError {
    let flag = match &error {
        OpenError::File { what: "credentials", .. } => "events-credentials",
        OpenError::File { what: "certificates to trust", .. } => "events-ca",
        OpenError::File { what: "own certificate", .. } => "events-cert",
        OpenError::File { what: "own key", .. } => "events-key",
        _ => "events-url",
    };
    StartError::Usage(anyhow!("--{flag}: {error}"))
}

/// What the bus keeps; said to who publishes, which is the active coordinator.
#[derive(Clone, Debug, Args)]
pub(in crate::services) struct StreamArgs {
    /// The bus keeps events for so long, for those who come back or look at what was
    #[arg(long, value_name = "TIME", env = "ELANUS_EVENTS_RETENTION", default_value = "24h", value_parser = super::values::a_minute_or_more)]
    events_retention: Duration,
    /// The bus keeps so many bytes of events, and as many of dead letters; the oldest go first
    #[arg(long, value_name = "BYTES", env = "ELANUS_EVENTS_BYTES_MAX", default_value = "1GiB", value_parser = bytes_of_stream)]
    events_bytes_max: u64,
    /// Servers of the NATS cluster that keep each event; it must have as many
    #[arg(long, value_name = "N", env = "ELANUS_EVENTS_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    events_replicas: u8,
    /// An event that could not be handled is tried so often before it is put aside as a dead letter
    #[arg(long, value_name = "N", env = "ELANUS_EVENTS_DELIVERIES_MAX", default_value_t = Limits::default().deliveries_max, value_parser = clap::value_parser!(u32).range(1..=100))]
    events_deliveries_max: u32,
    /// Events that wait in the metadata while the bus is away; of more, the oldest are forgotten
    #[arg(long, value_name = "N", env = "ELANUS_EVENTS_WAITING_MAX", default_value_t = elanus_runtime::relay::WAITING_MAX, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    events_waiting_max: u32,
}

impl StreamArgs {
    pub(in crate::services) fn limits(&self) -> Limits {
        Limits {
            age_max: self.events_retention,
            bytes_max: self.events_bytes_max,
            replicas: self.events_replicas,
            deliveries_max: self.events_deliveries_max,
        }
    }

    pub(in crate::services) fn waiting_max(&self) -> u32 {
        self.events_waiting_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        events: EventsArgs,
        #[command(flatten)]
        streams: StreamArgs,
    }

    fn parse(flags: &[&str]) -> Result<(EventsArgs, StreamArgs), String> {
        let flags = std::iter::once("x").chain(flags.iter().copied());
        let Cli { events, streams } = Cli::try_parse_from(flags).map_err(|error| error.to_string())?;
        events.check().map_err(|error| format!("{:#}", error.error()))?;
        Ok((events, streams))
    }

    #[test]
    fn events_stay_in_the_process_unless_it_is_said() {
        let (events, streams) = parse(&[]).unwrap();
        assert!(!events.is_shared());
        assert_eq!((streams.limits(), streams.waiting_max()), (Limits::default(), 100_000));
        let (events, _) = parse(&["--events-url", "nats://user:secret@a:4222,nats://b:4222"]).unwrap();
        assert!(events.is_shared());
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_its_flag_and_without_secrets() {
        let nats = ["--events-url", "nats://a"];
        for (flags, says) in [
            (&["--events-url", "kafka://user:secret@a"][..], "--events-url: kafka:// event buses are not supported"),
            (&["--events-url", "nats://u:secret@a/b"], "--events-url: the event bus URL is not valid"),
            (&["--events-user", "u"], "--events-user: give --events-password"),
            (&["--events-password", "secret"], "--events-password: give --events-user"),
            (&["--events-token", "secret"], "--events-url: user, token, credentials"),
            (&[nats[0], nats[1], "--events-cert", "/c"], "--events-cert: give --events-key"),
            (&[nats[0], nats[1], "--events-key", "/k"], "--events-key: give --events-cert"),
            (&[nats[0], nats[1], "--events-ca", "/no/such"], "--events-ca: certificates to trust: cannot use /no/such"),
            (&[nats[0], nats[1], "--events-credentials", "/no/such"], "--events-credentials: credentials: cannot use"),
            (
                &[nats[0], nats[1], "--events-token", "secret", "--events-user", "u", "--events-password", "secret"],
                "--events-token: give one of",
            ),
            (
                &["--events-url", "nats://u:secret@a", "--events-token", "secret"],
                "--events-url: the event bus is told twice",
            ),
        ] {
            let error = parse(flags).unwrap_err();
            assert!(error.starts_with(says) && !error.contains("secret"), "{flags:?}: {error}");
        }
    }

    #[test]
    fn what_a_stream_keeps_has_bounds() {
        for bad in [
            ["--events-retention", "59s"],
            ["--events-bytes-max", "1KiB"],
            ["--events-replicas", "0"],
            ["--events-replicas", "6"],
            ["--events-deliveries-max", "0"],
            ["--events-waiting-max", "999"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
        let (_, streams) = parse(&["--events-bytes-max", "10GiB", "--events-replicas", "3"]).unwrap();
        assert_eq!((streams.limits().bytes_max, streams.limits().replicas), (10 << 30, 3));
    }
}

//! One connection to NATS, made again by the client whenever it is lost, with pauses that grow. What is known of it is told
//! once: a log line when it is lost or cannot be made, one when it is there again, and a metric.

use crate::config::{BusConfig, Login, OpenError, Tls};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use std::time::Duration;
use tokio::{sync::watch, time::Instant};

/// A server that does not answer is given up after this time.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A connection over which nothing came for twice this time is lost.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Between two attempts to connect, at most.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// A server that did not answer for so long after the start is said to be away.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of the connection.
#[derive(Clone, Debug)]
pub(super) struct State {
    connected: bool,
    /// How many were made.
    connections: u64,
    /// Since when it is as it is.
    since: Instant,
    /// Why it is not there, as far as it was said.
    why: String,
    /// That it is away was logged.
    told: bool,
}

/// What is known of the connection, for all who ask. Clones know the same.
#[derive(Clone, Debug)]
pub(super) struct Link {
    state: watch::Sender<State>,
    /// Hosts and ports.
    place: String,
}

impl Link {
    fn new(place: String) -> Self {
        let state = State {
            connected: false,
            connections: 0,
            since: Instant::now(),
            why: "not connected yet".to_owned(),
            told: false,
        };
        metrics::gauge!("elanus_events_connected").set(0.0);
        Self { state: watch::Sender::new(state), place }
    }

    /// How many connections were made.
    pub(super) fn connections(&self) -> u64 {
        self.state.borrow().connections
    }

    /// Why it is away, for people.
    pub(super) fn away(&self) -> Option<String> {
        let state = self.state.borrow();
        let seconds = state.since.elapsed().as_secs();
        let text = || format!("NATS at {} is away since {seconds} s: {}; timers do the work", self.place, state.why);
        (!state.connected).then(text)
    }

    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    fn heard(&self, event: &Event) {
        match event {
            Event::Connected => self.connected(),
            Event::Disconnected => self.disconnected(),
            Event::ClientError(error) => self.wrong(&error.to_string()),
            Event::ServerError(error) => self.wrong(&error.to_string()),
            Event::SlowConsumer(_) => tracing::debug!("nudges were dropped"),
            other => tracing::debug!(event = %other, "the event bus says"),
        }
    }

    fn connected(&self) {
        self.state.send_modify(|state| {
            let away = state.since.elapsed();
            match (state.told, state.connections) {
                (true, _) => tracing::info!(place = self.place, away_s = away.as_secs(), "the event bus is back"),
                (false, 0) => tracing::info!(place = self.place, "connected to the event bus"),
                (false, _) => tracing::debug!(place = self.place, "connected to the event bus again"),
            }
            let connections = state.connections + 1;
            *state = State { connected: true, connections, since: Instant::now(), why: String::new(), told: false };
        });
        metrics::gauge!("elanus_events_connected").set(1.0);
    }

    fn disconnected(&self) {
        let was = self.state.send_if_modified(|state| {
            let was = state.connected;
            if was {
                state.connected = false;
                state.since = Instant::now();
                state.why = "the connection was lost".to_owned();
                state.told = true;
                tracing::warn!(place = self.place, "the event bus is away; timers do the work until it is back");
            }
            was
        });
        if was {
            metrics::gauge!("elanus_events_connected").set(0.0);
            metrics::counter!("elanus_events_connection_losses_total").increment(1);
        }
    }

    fn wrong(&self, why: &str) {
        tracing::debug!(place = self.place, why, "the event bus says that something is wrong");
        self.state.send_if_modified(|state| {
            if !state.connected {
                state.why = why.to_owned();
            }
            false
        });
    }

    /// Says once that a server was away from the start.
    async fn be_patient(self) {
        let mut link = self.watch();
        let came = tokio::time::timeout(PATIENCE, there(&mut link)).await;
        if came.is_err() {
            self.state.send_if_modified(|state| {
                if !state.connected && !state.told {
                    state.told = true;
                    let why = &state.why;
                    tracing::warn!(
                        place = self.place,
                        why,
                        "the event bus is away; timers do the work until it is there"
                    );
                }
                false
            });
        }
    }
}

/// Returns when the connection is lost.
pub(super) async fn lost(link: &mut watch::Receiver<State>) {
    wait(link, |state| !state.connected).await;
}

/// Returns when the connection is there.
pub(super) async fn there(link: &mut watch::Receiver<State>) {
    wait(link, |state| state.connected).await;
}

async fn wait(link: &mut watch::Receiver<State>, is: impl Fn(&State) -> bool) {
    // The other end lives as long as the client, which lives as long as who waits here.
    if link.wait_for(|state| is(state)).await.is_err() {
        std::future::pending().await
    }
}

/// Begins to connect.
pub(super) async fn open(config: &BusConfig, servers: &[url::Url], name: &str) -> Result<(Client, Link), OpenError> {
    let link = Link::new(config.url.shown());
    let addresses: Result<Vec<ServerAddr>, _> = servers.iter().cloned().map(ServerAddr::from_url).collect();
    let addresses = addresses.map_err(|_| OpenError::Invalid)?;
    let heard = link.clone();
    let options = options(config)
        .await?
        .name(name)
        .retry_on_initial_connect()
        .connection_timeout(CONNECT_MAX)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(super::ANSWER_MAX))
        .max_reconnects(None)
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            heard.heard(&event);
            std::future::ready(())
        });
    // It does not wait for the server; what is wrong with the options was found before.
    let client = options.connect(addresses).await.map_err(|error| OpenError::Client { why: error.to_string() })?;
    tokio::spawn(link.clone().be_patient());
    Ok((client, link))
}

fn pause(attempts: usize) -> Duration {
    let factor = 2_u32.saturating_pow(u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
    Duration::from_millis(50).saturating_mul(factor).min(PAUSE_MAX)
}

async fn options(config: &BusConfig) -> Result<ConnectOptions, OpenError> {
    let options = ConnectOptions::new();
    let mut options = match &config.login {
        Login::None => options,
        Login::User { user, password } => options.user_and_password(user.clone(), password.clone()),
        Login::Token(token) => options.token(token.clone()),
        Login::Credentials(path) => {
            let read = options.credentials_file(path).await;
            read.map_err(|error| OpenError::File { what: "credentials", path: path.clone(), why: error.to_string() })?
        }
    };
    let Tls { ca, own } = &config.tls;
    if let Some(ca) = ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = own {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options.require_tls(ca.is_some() || own.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_attempts_grow_to_a_limit() {
        let pauses: Vec<u128> = [1, 2, 3, 7, 8, 1_000].map(|n| pause(n).as_millis()).to_vec();
        assert_eq!(pauses, [50, 100, 200, 3_200, 4_000, 4_000]);
    }

    #[tokio::test]
    async fn a_loss_and_a_return_are_known_once() {
        let link = Link::new("nats://h".to_owned());
        assert!(link.away().unwrap().starts_with("NATS at nats://h is away since 0 s: not connected yet"));
        link.wrong("no route");
        assert!(link.away().unwrap().contains("no route"));
        let mut watch = link.watch();
        link.heard(&Event::Connected);
        there(&mut watch).await;
        assert_eq!((link.away(), link.connections()), (None, 1));
        link.heard(&Event::Disconnected);
        link.heard(&Event::Disconnected);
        lost(&mut watch).await;
        link.heard(&Event::Connected);
        assert_eq!((link.away(), link.connections()), (None, 2));
    }
}

//! The gRPC server of a process: listener, HTTP/2 settings, health, reflection, and an end that does not wait for ever.
//!
//! The listener is bound before anything else is touched, so that a second process on the same port changes nothing.
//! Message limits belong to the generated servers ([`elanus_proto::transport`]).

mod token;

use elanus_trust::{ServerTls, TlsListener, TlsStream, Tokens};
use futures::{FutureExt as _, Stream, stream};
use std::{io, net::SocketAddr, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{
        Server,
        server::{Connected, TcpIncoming},
    },
};

/// HTTP/2 settings and times, and who is let in.
#[derive(Clone, Debug)]
pub struct GrpcConfig {
    /// Connections are encrypted, and clients may have to show certificates.
    pub tls: Option<ServerTls>,
    /// Every call but those of health and reflection must show one of these, see [`elanus_proto::transport::TOKEN`].
    pub tokens: Option<Tokens>,
    /// The server asks silent clients so often whether they are still there.
    pub keepalive_interval: Duration,
    /// A client that does not answer for so long is gone.
    pub keepalive_timeout: Duration,
    /// How long calls may go on after the end was asked for.
    pub drain_max: Duration,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            tls: None,
            tokens: None,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            drain_max: Duration::from_secs(5),
        }
    }
}

/// Flow-control windows: inserts and search results are megabytes, the defaults are made for small messages.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("{address} is in use by another process; stop it, or give another address with {flag}")]
    InUse {
        /// The address.
        address: SocketAddr,
        /// The flag that names the address.
        flag: &'static str,
    },
    /// Anything else that the system said.
    #[error("could not listen on {address} ({flag})")]
    Io {
        /// The address.
        address: SocketAddr,
        /// The flag that names the address.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Listens on an address; `flag` is how the user chose it, for the error.
///
/// # Errors
/// When the address is taken, not of this machine, or not allowed.
pub async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, flag },
        _ => BindError::Io { address, flag, source },
    })
}

/// Why a server ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors of the API are not valid. A bug.
    #[error("could not serve the description of the API")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the gRPC server failed")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves `routes` with health and reflection until `stop`, then lets running calls finish for a bounded time.
///
/// # Errors
/// When the server cannot be built or its transport fails.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    config: GrpcConfig,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let (health, health_server) = tonic_health::server::health_reporter();
    // Around the services alone: probes have no token, and what the API looks like is no secret.
    let routes = match config.tokens {
        Some(tokens) => token::demanded(routes, tokens),
        None => routes,
    };
    let routes = if config.tls.is_some() { with_peers(routes) } else { routes };
    let routes = with_reflection(routes)?.add_service(health_server);
    let server = Server::builder()
        .http2_keepalive_interval(Some(config.keepalive_interval))
        .http2_keepalive_timeout(Some(config.keepalive_timeout))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_routes(routes);
    let stopped = stop.clone().cancelled_owned();
    let server = match config.tls {
        Some(tls) => server.serve_with_incoming_shutdown(encrypted(listener, tls), stopped).boxed(),
        None => {
            // Here, not in the builder: its setting is not for listeners that it did not bind, and without it every
            // answer of more than one segment waits 40 ms for the client.
            let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
            server.serve_with_incoming_shutdown(connections, stopped).boxed()
        }
    };
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = stop.cancelled() => {}
    }
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    match tokio::time::timeout(config.drain_max, server).await {
        Ok(ended) => Ok(ended?),
        Err(_) => {
            tracing::warn!("some calls did not end in time; their connections are closed");
            Ok(())
        }
    }
}

fn encrypted(listener: TcpListener, tls: ServerTls) -> impl Stream<Item = io::Result<TlsStream>> {
    stream::unfold(TlsListener::new(listener, tls), async |mut listener| {
        let (connection, _) = listener.accept().await;
        Some((Ok(connection), listener))
    })
}

/// Whoever asks a request where it comes from finds it in the same place, over TLS or not.
fn with_peers(routes: Routes) -> Routes {
    type OverTls = <TlsStream as Connected>::ConnectInfo;
    let told = axum::middleware::map_request(async |mut request: axum::extract::Request| {
        let tcp = request.extensions().get::<OverTls>().map(|tls| tls.get_ref().clone());
        if let Some(tcp) = tcp {
            request.extensions_mut().insert(tcp);
        }
        request
    });
    routes.into_axum_router().layer(told).into()
}

/// Adds the description of the API, which tools such as grpcurl read, in both versions in use.
fn with_reflection(routes: Routes) -> Result<Routes, tonic_reflection::server::Error> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(elanus_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::transport::Endpoint;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    const WAIT_MAX: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_flag() {
        let first = bind(([127, 0, 0, 1], 0).into(), "--listen").await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, "--listen").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{address} is in use by another process; stop it, or give another address with --listen")
        );
    }

    #[tokio::test]
    async fn a_server_tells_its_health_and_ends_although_a_client_stays_connected() {
        let listener = bind(([127, 0, 0, 1], 0).into(), "--listen").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, Routes::default(), GrpcConfig::default(), stop.clone()));
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
        assert_eq!(answer.into_inner().status, 1);
        stop.cancel();
        tokio::time::timeout(WAIT_MAX, server).await.unwrap().unwrap().unwrap();
    }
}

//! How services connect to each other. The one place where it is done; the other end is `elanus_runtime::grpc::serve`.

use super::{Channel, ChannelError};
use elanus_trust::{ClientTls, Tokens};
use std::time::Duration;
use tonic::transport::Endpoint;
use tower::{ServiceExt as _, util::BoxCloneSyncService};

/// On a call to an internal service: one of the tokens that the services of a cluster share.
pub const TOKEN: http::HeaderName = http::HeaderName::from_static("elanus-services-token");

/// A peer that does not answer an HTTP/2 ping within [`KEEPALIVE_TIMEOUT`] is gone: calls on the connection fail, and the
/// next one connects again. Without it a call to a host that vanished would wait for the kernel, for minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Encrypted or not, and with which token. The default is neither. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Dial {
    tls: Option<ClientTls>,
    tokens: Option<Tokens>,
}

impl Dial {
    /// Connections of this kind.
    #[must_use]
    pub fn new(tls: Option<ClientTls>, tokens: Option<Tokens>) -> Self {
        Self { tls, tokens }
    }

    /// Calls go to a server on the network, at `host:port`. The connection is made by the first call, and made again
    /// after it broke.
    ///
    /// # Errors
    /// When this is no address.
    pub fn to(&self, address: &str) -> Result<Channel, ChannelError> {
        if address.is_empty() {
            return Err("no address is known".into());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        Ok(self.with_token(connect(endpoint, self.tls.as_ref())?))
    }

    fn with_token(&self, channel: Channel) -> Channel {
        let Some(tokens) = self.tokens.clone() else { return channel };
        Channel(BoxCloneSyncService::new(channel.map_request(move |mut request: http::Request<_>| {
            if let Some(token) = tokens.shown() {
                request.headers_mut().insert(TOKEN, token);
            }
            request
        })))
    }
}

/// The address is connected to by `tls`; the requests say `https`.
fn connect(endpoint: Endpoint, tls: Option<&ClientTls>) -> Result<Channel, ChannelError> {
    let Some(tls) = tls else { return Ok(endpoint.connect_lazy().into()) };
    let mut parts = endpoint.uri().clone().into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTPS);
    let origin = http::Uri::from_parts(parts)?;
    Ok(endpoint.origin(origin).connect_with_connector_lazy(tls.connector()).into())
}

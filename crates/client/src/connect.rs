//! From an address to a client.

use crate::{
    ClientError, Collections, Compactions, Databases, ErrorKind, Gc, Jobs, Result, Scans, Scrub, Security, Snapshots,
    Trash,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use elanus_proto::{
    admin::admin_client::AdminClient,
    milvus::milvus_service_client::MilvusServiceClient,
    transport::{Channel, admin_client, milvus_client},
};
use elanus_trust::ClientTls;
use http::{HeaderValue, header::AUTHORIZATION};
use std::{error::Error, fmt, time::Duration};
use tonic::transport::Endpoint;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to one server, used for one database. Cheap to clone; it connects again by itself.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) milvus: MilvusServiceClient<Channel>,
    pub(crate) admin: AdminClient<Channel>,
    pub(crate) database: String,
    pub(crate) timeout: Option<Duration>,
}

/// What a client is made from.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    address: String,
    database: String,
    timeout: Option<Duration>,
    tls: Option<ClientTls>,
    token: Option<Token>,
}

/// User and password, which are not shown.
#[derive(Clone)]
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Client {
    /// Connects to `host:port` or `http://host:port`, database "default".
    ///
    /// # Errors
    /// When the address is not one, or nobody answers there.
    pub async fn connect(address: &str) -> Result<Self> {
        Self::builder(address).connect().await
    }

    /// Options for a connection to `host:port`, `http://host:port`, or `https://host:port` (see [`Builder::tls`]).
    pub fn builder(address: &str) -> Builder {
        Builder { address: address.to_owned(), database: String::new(), timeout: None, tls: None, token: None }
    }

    /// A client of a server in this process.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self {
            milvus: milvus_client(channel.clone()),
            admin: admin_client(channel),
            database: String::new(),
            timeout: None,
        }
    }

    /// Snapshots of the collections of this database.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots<'_> {
        Snapshots(self)
    }

    /// Restore jobs.
    #[must_use]
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs(self)
    }

    /// Collections of this database.
    #[must_use]
    pub fn collections(&self) -> Collections<'_> {
        Collections(self)
    }

    /// Compactions of collections of this database.
    #[must_use]
    pub fn compactions(&self) -> Compactions<'_> {
        Compactions(self)
    }

    /// Databases, whichever this client is for.
    #[must_use]
    pub fn databases(&self) -> Databases<'_> {
        Databases(self)
    }

    /// Users, roles and what these may do.
    #[must_use]
    pub fn security(&self) -> Security<'_> {
        Security(self)
    }

    /// Dropped collections of this database that can be brought back.
    #[must_use]
    pub fn trash(&self) -> Trash<'_> {
        Trash(self)
    }

    /// Scans of the object store for objects that nothing knows.
    #[must_use]
    pub fn scans(&self) -> Scans<'_> {
        Scans(self)
    }

    /// The garbage collector.
    #[must_use]
    pub fn gc(&self) -> Gc<'_> {
        Gc { client: self, actor: String::new() }
    }

    /// Compares the object store with the metadata. Deletes nothing.
    pub fn scrub(&self) -> Scrub<'_> {
        Scrub::new(self)
    }
}

impl Builder {
    /// The database of the calls; "default" where none is given.
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = name.into();
        self
    }

    /// Longest wait for one answer; for ever where none is given.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How `https://` is spoken: which authorities are trusted, and what the server is shown.
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Who calls, where the server asks: `user:password`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Token(token.into()));
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// When the address is not one, or nobody answers there, or not whom we want to talk to.
    pub async fn connect(self) -> Result<Client> {
        let endpoint = endpoint(&self.address, self.tls.is_some())?;
        let connected = match &self.tls {
            Some(tls) => endpoint.connect_with_connector(tls.connector()).await,
            None => endpoint.connect().await,
        };
        let channel = connected.map_err(|error| {
            let reason = innermost(&error);
            let message = format!("could not reach {}: {reason}; is the server running there?", self.address);
            ClientError::new(ErrorKind::Unavailable, message)
        })?;
        let channel = match &self.token {
            Some(Token(token)) => Channel::from(channel).showing(AUTHORIZATION, authorization(token)?),
            None => channel.into(),
        };
        Ok(Client { database: self.database, timeout: self.timeout, ..Client::over(channel) })
    }
}

fn authorization(token: &str) -> Result<HeaderValue> {
    let wrong = || ClientError::new(ErrorKind::Invalid, "a token is USER:PASSWORD");
    if !token.contains(':') {
        return Err(wrong());
    }
    let mut value = HeaderValue::try_from(BASE64_STANDARD.encode(token)).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}

fn endpoint(address: &str, encrypted: bool) -> Result<Endpoint> {
    let invalid = |why: &str| {
        let scheme = if encrypted { "https" } else { "http" };
        let message = format!("{address:?} is not a server address: {why}; give {scheme}://host:port");
        ClientError::new(ErrorKind::Invalid, message)
    };
    let url = match address.split_once("://") {
        Some(("http", _)) if encrypted => return Err(invalid("certificates are given, and http:// is not encrypted")),
        Some(("http", _)) => address.to_owned(),
        Some(("https", _)) if !encrypted => return Err(invalid("https:// needs to know whom to trust")),
        // It is the connector that encrypts.
        Some(("https", rest)) => format!("http://{rest}"),
        Some((scheme, _)) => return Err(invalid(&format!("{scheme}:// is neither http:// nor https://"))),
        None => format!("http://{address}"),
    };
    let uri: http::Uri = url.parse().map_err(|_| invalid("it cannot be parsed"))?;
    if uri.port_u16().is_none() || !matches!(uri.path(), "" | "/") {
        return Err(invalid("it needs a host and a port, and nothing else"));
    }
    Ok(Endpoint::from(uri)
        .connect_timeout(CONNECT_MAX)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}

/// The outer ones only say "transport error".
pub(crate) fn innermost(mut error: &(dyn Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:19530", "http://localhost:1", "http://[::1]:19530/"] {
            assert!(endpoint(good, false).is_ok(), "{good}");
        }
        for bad in ["", "localhost", "https://localhost:1", "tcp://a:1", "http://a:1/x", "a b:1"] {
            let error = endpoint(bad, false).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid, "{bad}");
            assert!(error.message.ends_with("give http://host:port"), "{error}");
        }
        for good in ["127.0.0.1:19530", "https://localhost:1", "https://[::1]:19530/"] {
            assert!(endpoint(good, true).is_ok(), "{good}");
        }
        let error = endpoint("http://localhost:1", true).unwrap_err();
        assert!(error.message.ends_with("give https://host:port"), "{error}");
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_the_address() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Client::connect(&address).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains(&address), "{error}");
    }
}

//! TLS of connections to servers of one kind.

use crate::certificate::{Version, identity, provider, roots};
use crate::files::{Source, TrustError};
use crate::watched::{Found, Watch, Watched};
use http::Uri;
use hyper_util::rt::TokioIo;
use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{io::AsyncBufReadExt as _, net::TcpStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, CertificateError, ClientConfig, RootCertStore,
        pki_types::{InvalidDnsNameError, ServerName},
    },
};
use tower::Service;

/// The files of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// Authorities of servers; `None`: those of the system.
    pub ca: Option<Source>,
    /// Certificate and key that are shown to servers that ask for one.
    pub identity: Option<(Source, Source)>,
    /// The name that certificates of servers must have; `None`: the host that is connected to.
    pub server_name: Option<String>,
    /// The oldest version that is spoken.
    pub oldest: Version,
}

/// TLS of connections, as its files are now. Clones are the same.
#[derive(Clone)]
pub struct ClientTls(Arc<Inner>);

struct Inner {
    watched: Watched<Loaded>,
    server_name: Option<ServerName<'static>>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    not_after_s: Option<i64>,
}

impl ClientTls {
    /// Reads the files (TR-1). `name_flag` is what the name of servers was given with.
    ///
    /// # Errors
    /// When one of them cannot be used, the key is another certificate's, or the certificate is not valid now.
    pub fn open(files: ClientFiles, name_flag: &'static str, now_s: i64) -> Result<Self, TrustError> {
        let server_name = files.server_name.as_deref().map(server_name).transpose();
        let server_name = server_name.map_err(|_| TrustError {
            flag: name_flag,
            why: "this is no name of a server; give a host name or an IP address".to_owned(),
        })?;
        let of_identity = files.identity.iter().flat_map(|(cert, key)| [cert, key]);
        let sources = of_identity.chain(&files.ca).cloned().collect();
        let watched = Watched::open(sources, now_s, move |contents, now_s| load(&files, contents, now_s))?;
        Ok(Self(Arc::new(Inner { watched, server_name })))
    }

    /// What has to be looked at again.
    #[must_use]
    pub fn watch(&self) -> Arc<dyn Watch> {
        Arc::clone(&self.0) as Arc<dyn Watch>
    }

    /// What makes connections for HTTP/2.
    #[must_use]
    pub fn connector(&self) -> Connector {
        Connector(self.clone())
    }

    async fn connect(&self, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = match &self.0.server_name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(io::Error::other)?,
        };
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        stream.set_nodelay(true)?;
        let config = Arc::clone(&self.0.watched.current().config);
        let mut stream = TlsConnector::from(config).connect(name, stream).await.map_err(explained)?;
        self.wait_for_the_verdict(&mut stream).await.map_err(explained)?;
        Ok(stream)
    }

    /// In TLS 1.3 the handshake of a client is over before the server has looked at its certificate. What a server of HTTP/2
    /// sends of itself comes after it: whoever waits for that knows that no call was sent to one who refuses.
    async fn wait_for_the_verdict(&self, stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
        match tokio::time::timeout(VERDICT_MAX, stream.fill_buf()).await {
            Ok(Ok([])) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server closed the connection")),
            Ok(Err(error)) => Err(error),
            // It says nothing of itself: the first call will tell.
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }
}

/// A server that says nothing for so long may be one that waits for the client to begin.
const VERDICT_MAX: Duration = Duration::from_secs(1);

fn server_name(name: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(name.to_owned())
}

/// What TLS says, and what it most often means.
fn explained(error: io::Error) -> io::Error {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    let hint = match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is not of an authority that is trusted"
        }
        Some(AlertReceived(AlertDescription::CertificateRequired)) => "the server demands a certificate",
        Some(AlertReceived(AlertDescription::UnknownCA | AlertDescription::BadCertificate)) => {
            "the server does not trust the certificate that it was shown"
        }
        Some(InvalidMessage(_)) => "is it TLS that is spoken at this port?",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error} ({hint})"))
}

fn load(files: &ClientFiles, contents: &[Vec<u8>], now_s: i64) -> Result<Loaded, TrustError> {
    let (of_identity, of_ca) = contents.split_at(if files.identity.is_some() { 2 } else { 0 });
    let roots = match (&files.ca, of_ca.first()) {
        (Some(source), Some(pem)) => roots(source, pem)?,
        _ => Arc::new(of_the_system()),
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(files.oldest.and_newer())
        .map_err(|error| TrustError { flag: "TLS", why: error.to_string() })?
        .with_root_certificates(roots);
    let (mut config, not_after_s) = match (&files.identity, of_identity) {
        (Some((cert, key)), [chain_pem, key_pem]) => {
            let identity = identity((cert, chain_pem), (key, key_pem), now_s)?;
            (config.with_client_cert_resolver(identity.key), Some(identity.not_after_s))
        }
        _ => (config.with_no_client_auth(), None),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Loaded { config: Arc::new(config), not_after_s })
}

/// Where the system has none, every server is one of an unknown authority.
fn of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

impl Watch for Inner {
    fn look(&self, now_s: i64) -> Found {
        self.watched.look(now_s)
    }

    fn not_after_s(&self) -> Option<i64> {
        self.watched.current().not_after_s
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.0.server_name).finish_non_exhaustive()
    }
}

/// Connects to the host and port of a URI, with what the files say at that moment.
#[derive(Clone, Debug)]
pub struct Connector(ClientTls);

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.0.clone();
        Box::pin(async move { tls.connect(&uri).await.map(TokioIo::new) })
    }
}

//! TLS of a listener.

use crate::certificate::{Version, identity, provider, roots};
use crate::files::{Source, TrustError};
use crate::watched::{Found, Watch, Watched};
use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, server::WebPkiClientVerifier},
};

/// A connection whose client has shown what was demanded of it.
pub type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// A client that does not finish its handshake in time is gone, or no client.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes at the same time; further connections wait in the kernel.
const HANDSHAKES_MAX: usize = 256;
/// After the system refused a connection, for example because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What is spoken over TLS; both sides agree on it in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Http2,
    /// Probes and people.
    Http1,
}

/// The files of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate of this machine, and those between it and the authority, in PEM.
    pub cert: Source,
    /// Its private key, in PEM.
    pub key: Source,
    /// Authorities of clients. Where it is given, a client without a certificate of theirs is not let in.
    pub client_ca: Option<Source>,
    /// The oldest version that is spoken.
    pub oldest: Version,
}

/// TLS of a listener, as its files are now. Clones are the same.
#[derive(Clone)]
pub struct ServerTls(Arc<Inner>);

struct Inner {
    watched: Watched<Loaded>,
    demands_certificates: bool,
}

struct Loaded {
    config: Arc<ServerConfig>,
    not_after_s: i64,
}

impl ServerTls {
    /// Reads the files (TR-1).
    ///
    /// # Errors
    /// When one of them cannot be used, the key is another certificate's, or the certificate is not valid now.
    pub fn open(files: ServerFiles, protocol: Protocol, now_s: i64) -> Result<Self, TrustError> {
        let demands_certificates = files.client_ca.is_some();
        let sources = [&files.cert, &files.key].into_iter().chain(&files.client_ca).cloned().collect();
        let watched = Watched::open(sources, now_s, move |contents, now_s| load(&files, protocol, contents, now_s))?;
        Ok(Self(Arc::new(Inner { watched, demands_certificates })))
    }

    /// True when clients without a certificate are not let in.
    #[must_use]
    pub fn demands_certificates(&self) -> bool {
        self.0.demands_certificates
    }

    /// What has to be looked at again.
    #[must_use]
    pub fn watch(&self) -> Arc<dyn Watch> {
        Arc::clone(&self.0) as Arc<dyn Watch>
    }
}

fn load(files: &ServerFiles, protocol: Protocol, contents: &[Vec<u8>], now_s: i64) -> Result<Loaded, TrustError> {
    let [chain, key, ca @ ..] = contents else { return Err(files.cert.wrong("was not read")) };
    let identity = identity((&files.cert, chain), (&files.key, key), now_s)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(files.oldest.and_newer())
        .map_err(|error| files.cert.wrong(error))?;
    let config = match (&files.client_ca, ca.first()) {
        (Some(source), Some(pem)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(source, pem)?, provider());
            config.with_client_cert_verifier(verifier.build().map_err(|error| source.wrong(error))?)
        }
        _ => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(identity.key);
    config.alpn_protocols = match protocol {
        Protocol::Http2 => vec![b"h2".to_vec()],
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
    };
    Ok(Loaded { config: Arc::new(config), not_after_s: identity.not_after_s })
}

impl Watch for Inner {
    fn look(&self, now_s: i64) -> Found {
        self.watched.look(now_s)
    }

    fn not_after_s(&self) -> Option<i64> {
        Some(self.watched.current().not_after_s)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("demands_certificates", &self.0.demands_certificates).finish_non_exhaustive()
    }
}

/// Takes connections and does their handshakes, many at a time: a client that is slow or silent holds up nobody.
#[derive(Debug)]
pub struct TlsListener {
    listener: TcpListener,
    tls: ServerTls,
    handshakes: JoinSet<Option<(TlsStream, SocketAddr)>>,
}

impl TlsListener {
    /// Speaks TLS on this listener.
    #[must_use]
    pub fn new(listener: TcpListener, tls: ServerTls) -> Self {
        Self { listener, tls, handshakes: JoinSet::new() }
    }

    /// The next connection whose handshake was done. Cancelling loses none.
    pub async fn accept(&mut self) -> (TlsStream, SocketAddr) {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = ended {
                        return connection;
                    }
                }
                accepted = self.listener.accept(), if self.handshakes.len() < HANDSHAKES_MAX => match accepted {
                    Ok((stream, peer)) => self.begin(stream, peer),
                    Err(error) if is_of_the_client(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "could not take a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system said.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn begin(&mut self, stream: TcpStream, peer: SocketAddr) {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls.0.watched.current().config));
        self.handshakes.spawn(async move {
            // Without it every answer of more than one segment waits 40 ms for the client.
            let _ = stream.set_nodelay(true);
            let why = match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => return Some((stream, peer)),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no handshake within {} s", HANDSHAKE_MAX.as_secs()),
            };
            metrics::counter!("elanus_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%peer, why, "a TLS connection was refused");
            None
        });
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

//! Which bus, and how it is reached.

use crate::bus::DELIVERIES_MAX;
use crate::{EventBus, JetStreamBus, LocalBus};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

/// Where a bus is. Never shows what is in the URL beside hosts and ports.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum BusUrl {
    /// `local:`, inside this process.
    #[default]
    Local,
    /// `nats://HOST:PORT`, or several of one NATS cluster with commas between them. `tls://` insists on TLS.
    Nats(Vec<url::Url>),
}

impl BusUrl {
    /// True for a bus on the network.
    #[must_use]
    pub fn is_nats(&self) -> bool {
        matches!(self, Self::Nats(_))
    }

    /// Hosts and ports, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Local => "local:".to_owned(),
            Self::Nats(servers) => servers.iter().map(shown).collect::<Vec<_>>().join(","),
        }
    }

    fn has_login(&self) -> bool {
        match self {
            Self::Local => false,
            Self::Nats(servers) => servers.iter().any(|url| !url.username().is_empty() || url.password().is_some()),
        }
    }
}

fn shown(url: &url::Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl FromStr for BusUrl {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        if text.eq_ignore_ascii_case("local:") {
            return Ok(Self::Local);
        }
        let servers = text.split(',').map(|one| {
            let url = url::Url::parse(one.trim()).map_err(|_| OpenError::Invalid)?;
            match url.scheme() {
                "nats" | "tls" => {}
                "local" => return Err(OpenError::Invalid),
                scheme => return Err(OpenError::Unsupported { scheme: scheme.to_owned() }),
            }
            let host = url.host_str().is_some_and(|host| !host.is_empty());
            let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
            if host && bare { Ok(url) } else { Err(OpenError::Invalid) }
        });
        Ok(Self::Nats(servers.collect::<Result<_, _>>()?))
    }
}

/// Who this is, for the server. Never shown.
#[derive(Clone, Default)]
pub enum Login {
    /// Nobody in particular, or what the URL says.
    #[default]
    None,
    /// A user with a password.
    User {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// A token.
    Token(String),
    /// A credentials file of NATS: a JWT with its key.
    Credentials(PathBuf),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::User { .. } => "User(hidden)",
            Self::Token(_) => "Token(hidden)",
            Self::Credentials(_) => "Credentials(hidden)",
        })
    }
}

/// TLS of the connection. It is used when one of the files is given, when the URL is `tls://`, or when the server asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates (PEM) to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// Certificate (PEM) of this process and its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// What a stream keeps. Whoever publishes makes the streams so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events are kept for so long.
    pub age_max: Duration,
    /// Bytes of all events that are kept; the oldest ones go first. Dead letters have as many again.
    pub bytes_max: u64,
    /// Servers of the NATS cluster that keep each event.
    pub replicas: u8,
    /// An event is given to a consumer so often before it is put aside.
    pub deliveries_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            age_max: Duration::from_secs(24 * 3_600),
            bytes_max: 1 << 30,
            replicas: 1,
            deliveries_max: DELIVERIES_MAX,
        }
    }
}

/// Which bus, and how it is reached.
#[derive(Clone, Debug, Default)]
pub struct BusConfig {
    /// Where it is.
    pub url: BusUrl,
    /// Who this is.
    pub login: Login,
    /// TLS of the connection.
    pub tls: Tls,
    /// What streams keep.
    pub limits: Limits,
}

/// Why there is no bus. Texts never repeat the URL: it may have secrets in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A bus that this build cannot talk to.
    #[error("{scheme}:// event buses are not supported by this build; use nats://HOST:PORT or local:")]
    Unsupported {
        /// The URL's scheme.
        scheme: String,
    },
    /// Not a URL, or one with parts that have no meaning here.
    #[error("the event bus URL is not valid; use nats://HOST:PORT, several with commas, or local:")]
    Invalid,
    /// User and password, or something else, in two places.
    #[error("the event bus is told twice who this is: in its URL and beside it; say it once")]
    TwoLogins,
    /// Settings of a bus on the network for one that is not.
    #[error("user, token, credentials and certificates are for a NATS server: give its URL, nats://HOST:PORT")]
    LocalWithLogin,
    /// The client refused its options.
    #[error("the client of the event bus could not be made: {why}")]
    Client {
        /// What it said.
        why: String,
    },
    /// A file that was named is not what it should be.
    #[error("{what}: cannot use {}: {why}", path.display())]
    File {
        /// What it should be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl BusConfig {
    /// Refuses what can be known to be wrong without a server. Reads the files that are named.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), OpenError> {
        let says_who = !matches!(self.login, Login::None);
        if !self.url.is_nats() && (says_who || self.tls != Tls::default()) {
            return Err(OpenError::LocalWithLogin);
        }
        if self.url.has_login() && says_who {
            return Err(OpenError::TwoLogins);
        }
        if let Login::Credentials(path) = &self.login {
            is_pem("credentials", path)?;
        }
        if let Some(path) = &self.tls.ca {
            is_pem("certificates to trust", path)?;
        }
        if let Some((certificate, key)) = &self.tls.own {
            is_pem("own certificate", certificate)?;
            is_pem("own key", key)?;
        }
        Ok(())
    }
}

fn is_pem(what: &'static str, path: &Path) -> Result<(), OpenError> {
    let wrong = |why: String| OpenError::File { what, path: path.to_owned(), why };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    if text.windows(10).any(|part| part == b"-----BEGIN") {
        Ok(())
    } else {
        Err(wrong("there is no -----BEGIN in it".to_owned()))
    }
}

/// Opens a bus. One inside the process is a bus of its own with every call. One on the network is connected to in the
/// background, now or when the server is there; `cluster` is whose events they are, `name` who asks, for the server's lists.
///
/// # Errors
/// When the configuration cannot be right. Never because the server is away.
pub async fn open(config: &BusConfig, cluster: &str, name: &str) -> Result<Arc<dyn EventBus>, OpenError> {
    config.check()?;
    match &config.url {
        BusUrl::Local => Ok(Arc::new(LocalBus::new())),
        BusUrl::Nats(servers) => Ok(Arc::new(JetStreamBus::open(config, servers, cluster, name).await?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_that_cannot_be_opened_says_what_can_and_no_secret() {
        let text = |url: &str| url.parse::<BusUrl>().unwrap_err().to_string();
        let unsupported = "kafka:// event buses are not supported by this build; use nats://HOST:PORT or local:";
        assert_eq!(text("kafka://user:secret@host"), unsupported);
        for url in
            ["", "local", "local:x", "local://host", "nats:", "nats://", "nats://h/x", "nats://h?secret", "nats://a,b"]
        {
            assert!(text(url).starts_with("the event bus URL is not valid"), "{url:?}");
        }
    }

    #[test]
    fn several_servers_are_one_bus_and_are_shown_without_secrets() {
        let url: BusUrl = "nats://user:secret@a:4222, tls://b".parse().unwrap();
        assert_eq!((url.shown().as_str(), url.is_nats()), ("nats://a:4222,tls://b", true));
        assert!(!format!("{url:?}").contains("secret"));
        assert_eq!("local:".parse::<BusUrl>().unwrap(), BusUrl::Local);
        let login = Login::User { user: "u".to_owned(), password: "secret".to_owned() };
        let config = BusConfig { url, login, ..BusConfig::default() };
        assert!(!format!("{config:?}").contains("secret"));
        assert!(matches!(config.check(), Err(OpenError::TwoLogins)));
    }

    #[test]
    fn what_is_named_is_there_and_is_what_it_should_be() {
        let url: BusUrl = "nats://a".parse().unwrap();
        let with = |login, tls| BusConfig { url: url.clone(), login, tls, ..BusConfig::default() }.check();
        with(Login::None, Tls::default()).unwrap();
        let absent = PathBuf::from("/no/such.pem");
        let tls = Tls { ca: Some(absent.clone()), own: None };
        let error = with(Login::None, tls).unwrap_err().to_string();
        assert!(error.starts_with("certificates to trust: cannot use /no/such.pem"), "{error}");
        assert!(with(Login::Credentials(absent.clone()), Tls::default()).is_err());
        let no_pem = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let tls = Tls { ca: None, own: Some((no_pem.clone(), no_pem)) };
        assert!(with(Login::None, tls).unwrap_err().to_string().contains("no -----BEGIN"));
        let local = BusConfig { login: Login::Token("secret".to_owned()), ..BusConfig::default() };
        assert!(matches!(local.check(), Err(OpenError::LocalWithLogin)));
    }
}

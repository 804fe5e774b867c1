//! Whom a process lets in and whom it talks to: what flags say, and what is in the files that they name.

use super::error::StartError;
use elanus_proto::transport::Dial;
use elanus_runtime::{Reload, management::Management};
use elanus_trust::{ClientFiles, ClientTls, Protocol, ServerFiles, ServerTls, Source, Tokens, TrustError, Watch};
use elanus_types::Clock;
use std::{fmt, sync::Arc};

/// What the command line says.
#[derive(Clone, Debug)]
pub(crate) struct Demands {
    /// Of --listen.
    pub(super) listen: Option<ServerFiles>,
    /// Of --management.
    pub(super) management: ManagementTls,
    /// Of connections to other services.
    pub(super) services: Option<ClientFiles>,
    /// What services show each other.
    pub(super) tokens: Option<Shown>,
    /// Only other services call --listen: they must show a token, where there are any.
    pub(super) is_internal: bool,
}

/// TLS of the management port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ManagementTls {
    Off,
    On(ServerFiles),
}

/// Where tokens come from.
#[derive(Clone)]
pub(crate) enum Shown {
    /// Flag, and what it says.
    Given(&'static str, String),
    InFile(Source),
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(flag, _) => write!(f, "{flag} (hidden)"),
            Self::InFile(source) => source.fmt(f),
        }
    }
}

/// What is in force.
#[derive(Clone, Debug)]
pub(crate) struct Security {
    /// Of --listen.
    pub(super) listen: Option<ServerTls>,
    /// Of --management.
    pub(super) management: Option<ServerTls>,
    /// How other services are called.
    pub(super) dial: Dial,
    /// What calls of --listen must show.
    pub(super) demanded: Option<Tokens>,
    /// What must be shown to change something at --management, unless a certificate was.
    demanded_to_change: Option<Tokens>,
    watched: WatchList,
}

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hints {
    /// `http` or `https`, of --listen.
    pub(super) scheme: &'static str,
    /// `http` or `https`, of --management.
    pub(super) management: &'static str,
    /// Further arguments of pymilvus' `MilvusClient`.
    pub(super) options: &'static str,
}

#[derive(Clone, Default)]
struct WatchList(Vec<(&'static str, Arc<dyn Watch>)>);

impl fmt::Debug for WatchList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(of, _)| of)).finish()
    }
}

impl From<TrustError> for StartError {
    fn from(error: TrustError) -> Self {
        Self::Usage(error.into())
    }
}

impl Security {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub(super) fn read(demands: Demands, now_ms: i64) -> Result<Self, StartError> {
        let Demands { listen, management, services, tokens, is_internal } = demands;
        let now_s = now_ms.div_euclid(1_000);
        let mut watched = WatchList::default();
        let listen = listen.map(|files| ServerTls::open(files, Protocol::Http2, now_s)).transpose()?;
        watched.0.extend(listen.iter().map(|tls| ("listen", tls.watch())));
        let management = match management {
            ManagementTls::Off => None,
            ManagementTls::On(files) => Some(ServerTls::open(files, Protocol::Http1, now_s)?),
        };
        watched.0.extend(management.iter().map(|tls| ("management", tls.watch())));
        let services = services.map(|files| ClientTls::open(files, "--services-tls-server-name", now_s)).transpose()?;
        watched.0.extend(services.iter().map(|tls| ("services", tls.watch())));
        let tokens = match tokens {
            Some(Shown::Given(flag, text)) => Some(Tokens::given(flag, &text)?),
            Some(Shown::InFile(source)) => Some(Tokens::in_file(source)?),
            None => None,
        };
        watched.0.extend(tokens.iter().filter_map(Tokens::watch).map(|watch| ("tokens", watch)));
        let has_shown = management.as_ref().is_some_and(ServerTls::demands_certificates);
        Ok(Self {
            listen,
            management,
            dial: Dial::new(services, tokens.clone()),
            demanded: tokens.clone().filter(|_| is_internal),
            demanded_to_change: tokens.filter(|_| !has_shown),
            watched,
        })
    }

    /// Reads them again as long as the process lives, and tells in its health what a person must look at.
    pub(super) fn watch(&self, management: Management, clock: Arc<dyn Clock>) -> Management {
        let management = management.demand(self.demanded_to_change.clone());
        if self.watched.0.is_empty() {
            return management;
        }
        let reload = Reload::new(clock, self.watched.0.clone());
        management.background().spawn(reload.clone());
        management.watch("certificates", move || {
            let concern = reload.concern();
            Box::pin(async move { concern })
        })
    }

    /// What people are told who want to connect.
    pub(super) fn hints(&self) -> Hints {
        let [scheme, management] =
            [&self.listen, &self.management].map(|tls| if tls.is_some() { "https" } else { "http" });
        let options = match &self.listen {
            None => "",
            Some(tls) if tls.demands_certificates() => {
                r#", ca_pem_path="ca.pem", client_pem_path="me.pem", client_key_path="me.key""#
            }
            Some(_) => r#", server_pem_path="ca.pem""#,
        };
        Hints { scheme, management, options }
    }

    /// For the log: who is let in.
    pub(super) fn summary(&self) -> String {
        let listen = match &self.listen {
            None => "not encrypted",
            Some(tls) if tls.demands_certificates() => "TLS, clients must have a certificate",
            Some(_) => "TLS, clients need no certificate",
        };
        let token = if self.demanded.is_some() { ", calls must have a token" } else { "" };
        format!("{listen}{token}")
    }
}

//! Certificates and tokens. Files are not looked at here.

use crate::services::error::StartError;
use crate::services::security::{Demands, ManagementTls, Shown};
use anyhow::anyhow;
use clap::{Args, ValueEnum};
use elanus_trust::{ClientFiles, ServerFiles, Source, Version};
use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

/// Of every service.
#[derive(Clone, Debug, Args)]
pub(in crate::services) struct TrustArgs {
    /// The management port speaks TLS, with the certificate of --listen; mutual: it also demands certificates, which probes of
    /// Kubernetes do not have
    #[arg(long, value_name = "MODE", env = "ELANUS_MANAGEMENT_TLS", default_value = "off")]
    management_tls: Mode,
    /// Oldest version of TLS that is spoken
    #[arg(long, value_name = "VERSION", env = "ELANUS_TLS_MIN_VERSION", default_value = "1.2")]
    tls_min_version: MinVersion,
    /// Tokens that the services of a cluster show each other, separated by commas: the first is shown, all are accepted.
    /// Better in the environment or in a file, where others do not see them
    #[arg(long, value_name = "TOKEN,…", env = "ELANUS_SERVICES_TOKEN", hide_env_values = true)]
    services_token: Option<Secret>,
    /// File of these tokens, one a line; it is read again when it changes
    #[arg(long, value_name = "FILE", env = "ELANUS_SERVICES_TOKEN_FILE")]
    services_token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Off,
    On,
    Mutual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MinVersion {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

impl From<MinVersion> for Version {
    fn from(version: MinVersion) -> Self {
        match version {
            MinVersion::Tls12 => Self::Tls12,
            MinVersion::Tls13 => Self::Tls13,
        }
    }
}

/// A text that is not shown.
#[derive(Clone)]
struct Secret(String);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl TrustArgs {
    fn tokens(&self) -> Result<Option<Shown>, StartError> {
        match (&self.services_token, &self.services_token_file) {
            (Some(_), Some(_)) => Err(usage("--services-token: give it, or --services-token-file, not both")),
            (Some(Secret(text)), None) => Ok(Some(Shown::Given("--services-token", text.clone()))),
            (None, Some(path)) => Ok(Some(Shown::InFile(Source::new("--services-token-file", path)))),
            (None, None) => Ok(None),
        }
    }

    /// The management port has the certificate of the listener.
    fn management(&self, listen: Option<&ServerFiles>, cert: &str, ca: &str) -> Result<ManagementTls, StartError> {
        if self.management_tls == Mode::Off {
            return Ok(ManagementTls::Off);
        }
        let files = listen.ok_or_else(|| usage(&format!("--management-tls: give {cert}, whose certificate it has")))?;
        match self.management_tls {
            Mode::Mutual if files.client_ca.is_none() => {
                Err(usage(&format!("--management-tls: mutual needs {ca}, the authority of those who are let in")))
            }
            Mode::Mutual => Ok(ManagementTls::On(files.clone())),
            _ => Ok(ManagementTls::On(ServerFiles { client_ca: None, ..files.clone() })),
        }
    }

    fn demands(
        &self,
        listen: Option<ServerFiles>,
        services: Option<ClientFiles>,
        [cert, ca]: [&str; 2],
    ) -> Result<Demands, StartError> {
        let management = self.management(listen.as_ref(), cert, ca)?;
        Ok(Demands { listen, management, services, tokens: self.tokens()?, is_internal: false })
    }
}

/// Of a listener that clients connect to.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::services) struct TlsArgs {
    /// Certificate of --listen (PEM, with those between it and the authority): it speaks TLS
    #[arg(long, value_name = "FILE", env = "ELANUS_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// Private key of it (PEM)
    #[arg(long, value_name = "FILE", env = "ELANUS_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Authorities (PEM) whose certificates clients must have: others are not let in
    #[arg(long, value_name = "FILE", env = "ELANUS_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,
}

impl TlsArgs {
    fn files(&self, oldest: Version) -> Result<Option<ServerFiles>, StartError> {
        let client_ca = self.tls_client_ca.as_ref().map(|path| Source::new("--tls-client-ca", path));
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                let (cert, key) = (Source::new("--tls-cert", cert), Source::new("--tls-key", key));
                Ok(Some(ServerFiles { cert, key, client_ca, oldest }))
            }
            (Some(_), None) => Err(usage("--tls-key: give the private key of --tls-cert")),
            (None, Some(_)) => Err(usage("--tls-cert: give the certificate of --tls-key")),
            (None, None) if client_ca.is_some() => {
                Err(usage("--tls-client-ca: give --tls-cert and --tls-key, too: without TLS there are no certificates"))
            }
            (None, None) => Ok(None),
        }
    }

    /// Of a process that calls no other one.
    pub(in crate::services) fn demands(&self, trust: &TrustArgs) -> Result<Demands, StartError> {
        trust.demands(self.files(trust.tls_min_version.into())?, None, OF_CLIENTS)
    }
}

/// For texts: the certificate of the listener, and the authority of those who are let in.
const OF_CLIENTS: [&str; 2] = ["--tls-cert", "--tls-client-ca"];
const OF_SERVICES: [&str; 2] = ["--services-tls-cert", "--services-tls-ca"];

/// Of connections between services. Both sides show certificates: all three are given, or none.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::services) struct ServicesTlsArgs {
    /// Certificate (PEM) that this process shows to other services, as a client and as a server: connections between services
    /// are encrypted, and nobody else is let in
    #[arg(long, value_name = "FILE", env = "ELANUS_SERVICES_TLS_CERT")]
    services_tls_cert: Option<PathBuf>,
    /// Private key of it (PEM)
    #[arg(long, value_name = "FILE", env = "ELANUS_SERVICES_TLS_KEY")]
    services_tls_key: Option<PathBuf>,
    /// Authorities (PEM) of the certificates of services
    #[arg(long, value_name = "FILE", env = "ELANUS_SERVICES_TLS_CA")]
    services_tls_ca: Option<PathBuf>,
    /// Name that the certificates of all services have [default: host or IP of the address that is called]
    #[arg(long, value_name = "NAME", env = "ELANUS_SERVICES_TLS_SERVER_NAME")]
    services_tls_server_name: Option<String>,
}

impl ServicesTlsArgs {
    fn files(&self, oldest: Version) -> Result<Option<(ServerFiles, ClientFiles)>, StartError> {
        let given = [
            ("--services-tls-cert", &self.services_tls_cert),
            ("--services-tls-key", &self.services_tls_key),
            ("--services-tls-ca", &self.services_tls_ca),
        ];
        if given.iter().all(|(_, path)| path.is_none()) {
            return match self.services_tls_server_name {
                Some(_) => Err(usage("--services-tls-server-name: give --services-tls-cert, -key and -ca, too")),
                None => Ok(None),
            };
        }
        let sources = given.map(|(flag, path)| match path {
            Some(path) => Ok(Source::new(flag, path)),
            None => Err(usage(&format!("{flag}: give --services-tls-cert, -key and -ca: all three, or none"))),
        });
        let [cert, key, ca] = sources;
        let (cert, key, ca) = (cert?, key?, ca?);
        let client = ClientFiles {
            ca: Some(ca.clone()),
            identity: Some((cert.clone(), key.clone())),
            server_name: self.services_tls_server_name.clone(),
            oldest,
        };
        Ok(Some((ServerFiles { cert, key, client_ca: Some(ca), oldest }, client)))
    }

    /// Of a process that only services call.
    pub(in crate::services) fn demands(&self, trust: &TrustArgs) -> Result<Demands, StartError> {
        let (listen, services) = self.files(trust.tls_min_version.into())?.unzip();
        Ok(Demands { is_internal: true, ..trust.demands(listen, services, OF_SERVICES)? })
    }

    /// Of a process that calls services, and that clients call.
    pub(in crate::services) fn demands_behind(&self, tls: &TlsArgs, trust: &TrustArgs) -> Result<Demands, StartError> {
        let oldest = trust.tls_min_version.into();
        let services = self.files(oldest)?.map(|(_, client)| client);
        trust.demands(tls.files(oldest)?, services, OF_CLIENTS)
    }
}

fn usage(text: &str) -> StartError {
    StartError::Usage(anyhow!("{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        tls: TlsArgs,
        #[command(flatten)]
        services: ServicesTlsArgs,
    }

    fn parse(flags: &str) -> Cli {
        Cli::try_parse_from(std::iter::once("x").chain(flags.split_whitespace())).unwrap()
    }

    fn proxy(flags: &str) -> Result<Demands, String> {
        let cli = parse(flags);
        cli.services.demands_behind(&cli.tls, &cli.trust).map_err(|error| format!("{:#}", error.into_error()))
    }

    const ALL: &str = "--services-tls-cert c --services-tls-key k --services-tls-ca a";

    #[test]
    fn half_of_it_is_refused_with_what_is_missing() {
        for (flags, says) in [
            ("--tls-cert c", "--tls-key: give the private key"),
            ("--tls-key k", "--tls-cert: give the certificate"),
            ("--tls-client-ca a", "--tls-client-ca: give --tls-cert"),
            ("--services-tls-cert c", "--services-tls-key: give"),
            ("--services-tls-cert c --services-tls-key k", "--services-tls-ca: give"),
            ("--services-tls-ca a", "--services-tls-cert: give"),
            ("--services-tls-server-name n", "--services-tls-server-name: give"),
            ("--management-tls on", "--management-tls: give --tls-cert"),
            ("--management-tls mutual --tls-cert c --tls-key k", "--management-tls: mutual needs --tls-client-ca"),
            ("--services-token t --services-token-file f", "--services-token: give it, or"),
        ] {
            let error = proxy(flags).unwrap_err();
            assert!(error.starts_with(says), "{flags}: {error}");
        }
        let cli = parse("--management-tls on");
        let error = cli.services.demands(&cli.trust).unwrap_err().into_error().to_string();
        assert!(error.contains("--services-tls-cert"), "{error}");
    }

    #[test]
    fn a_proxy_has_two_sides_and_other_services_have_one() {
        let found = proxy(&format!("{ALL} --tls-cert x --tls-key y --tls-min-version 1.3")).unwrap();
        let (listen, services) = (found.listen.unwrap(), found.services.unwrap());
        assert_eq!((listen.cert.path.to_str(), listen.client_ca, listen.oldest), (Some("x"), None, Version::Tls13));
        assert_eq!(services.identity.unwrap().0.path.to_str(), Some("c"));
        assert!(!found.is_internal && found.tokens.is_none());

        let cli = parse(&format!("{ALL} --management-tls on --services-token 0123456789abcdef"));
        let found = cli.services.demands(&cli.trust).unwrap();
        let listen = found.listen.unwrap();
        assert_eq!((listen.client_ca.unwrap().path.to_str(), found.is_internal), (Some("a"), true));
        assert!(matches!(found.management, ManagementTls::On(ServerFiles { client_ca: None, .. })));
        assert!(!format!("{:?} {:?}", found.tokens, cli.trust).contains("0123456789abcdef"));
    }
}

//! Whom `elanus ctl` trusts, and what it shows. Environment variables of its own: those of a server on the same machine are
//! about something else.

use super::{Stop, stop};
use clap::Args;
use elanus_client::ErrorKind;
use elanus_trust::{ClientFiles, ClientTls, Source, Version};
use elanus_types::{Clock as _, SystemClock};
use std::path::PathBuf;

#[derive(Debug, Default, Args)]
pub(super) struct TlsArgs {
    /// Authorities (PEM) to trust for https:// [default: those of the system]
    #[arg(long, value_name = "FILE", env = "ELANUS_CTL_TLS_CA", global = true)]
    tls_ca: Option<PathBuf>,
    /// Certificate (PEM) to show to a server that demands one
    #[arg(long, value_name = "FILE", env = "ELANUS_CTL_TLS_CERT", global = true)]
    tls_cert: Option<PathBuf>,
    /// Private key of it (PEM)
    #[arg(long, value_name = "FILE", env = "ELANUS_CTL_TLS_KEY", global = true)]
    tls_key: Option<PathBuf>,
    /// Name that the certificate of the server has [default: the host of --addr]
    #[arg(long, value_name = "NAME", env = "ELANUS_CTL_TLS_SERVER_NAME", global = true)]
    tls_server_name: Option<String>,
}

impl TlsArgs {
    /// For https://, or where a flag asks for it.
    pub(super) fn open(&self, address: &str) -> Result<Option<ClientTls>, Stop> {
        let Self { tls_ca, tls_cert, tls_key, tls_server_name } = self;
        let asked = tls_ca.is_some() || tls_cert.is_some() || tls_key.is_some() || tls_server_name.is_some();
        if !asked && !address.starts_with("https://") {
            return Ok(None);
        }
        let wrong = |text: String| stop(ErrorKind::Invalid, text);
        let identity = match (tls_cert, tls_key) {
            (Some(cert), Some(key)) => Some((Source::new("--tls-cert", cert), Source::new("--tls-key", key))),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("--tls-key: give the private key of --tls-cert".to_owned())),
            (None, Some(_)) => return Err(wrong("--tls-cert: give the certificate of --tls-key".to_owned())),
        };
        let ca = tls_ca.as_ref().map(|path| Source::new("--tls-ca", path));
        let files = ClientFiles { ca, identity, server_name: tls_server_name.clone(), oldest: Version::default() };
        let opened = ClientTls::open(files, "--tls-server-name", SystemClock.now_ms().div_euclid(1_000));
        opened.map(Some).map_err(|error| wrong(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_asked_for_by_the_address_or_a_flag() {
        let none = TlsArgs::default();
        assert!(none.open("http://h:1").unwrap().is_none() && none.open("h:1").unwrap().is_none());
        assert!(none.open("https://h:1").unwrap().is_some());
        let wrong = |args: TlsArgs, says: &str| match args.open("https://h:1") {
            Err(Stop::Client(error)) => {
                assert_eq!(error.kind, ErrorKind::Invalid);
                assert!(error.message.starts_with(says), "{error}");
            }
            other => panic!("{says}: {other:?}"),
        };
        wrong(TlsArgs { tls_cert: Some("c".into()), ..TlsArgs::default() }, "--tls-key: give");
        wrong(TlsArgs { tls_key: Some("k".into()), ..TlsArgs::default() }, "--tls-cert: give");
        wrong(TlsArgs { tls_ca: Some("/no/such".into()), ..TlsArgs::default() }, "--tls-ca: /no/such: cannot be read");
        wrong(
            TlsArgs { tls_server_name: Some("a b".into()), ..TlsArgs::default() },
            "--tls-server-name: this is no name",
        );
    }
}

//! Certificates and keys as they are in files.

use crate::files::{Source, TrustError};
use std::sync::Arc;
use tokio_rustls::rustls::{
    RootCertStore, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use x509_cert::{Certificate, der::Decode as _};

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.2 and 1.3.
    #[default]
    Tls12,
    /// 1.3 alone.
    Tls13,
}

impl Version {
    pub(crate) fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        match self {
            Self::Tls12 => BOTH,
            Self::Tls13 => BOTH.split_at(1).0,
        }
    }
}

/// The one library behind all of TLS here. Named each time: a process-wide default could be another one.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A chain with its key, as files have them.
pub(crate) struct Identity {
    pub(crate) key: Arc<SingleCertAndKey>,
    /// The end of the first certificate of the chain, in seconds since 1970.
    pub(crate) not_after_s: i64,
}

/// Reads a chain and its key (TR-2).
pub(crate) fn identity(
    (chain_source, chain): (&Source, &[u8]),
    (key_source, key): (&Source, &[u8]),
    now_s: i64,
) -> Result<Identity, TrustError> {
    let chain = certificates(chain_source, chain)?;
    let (not_before_s, not_after_s) = validity(chain_source, &chain[0])?;
    if now_s >= not_after_s {
        let days = (now_s - not_after_s) / 86_400;
        return Err(chain_source.wrong(format!("the certificate ended {days} days ago; issue a new one")));
    }
    if now_s < not_before_s {
        return Err(chain_source.wrong("the certificate is not valid yet; is the clock of this machine right?"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        key_source.wrong("has no private key in PEM (-----BEGIN PRIVATE KEY-----, without a passphrase)")
    })?;
    let key = provider().key_provider.load_private_key(key).map_err(|_| {
        key_source.wrong("the private key is of a kind that is not supported; use ECDSA P-256 or P-384, Ed25519 or RSA")
    })?;
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .map_err(|_| key_source.wrong(format!("is not the key of the certificate {}", chain_source.path.display())))?;
    Ok(Identity { key: Arc::new(SingleCertAndKey::from(certified)), not_after_s })
}

/// Authorities that are trusted.
pub(crate) fn roots(source: &Source, pem: &[u8]) -> Result<Arc<RootCertStore>, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(source, pem)? {
        roots
            .add(certificate)
            .map_err(|error| source.wrong(format!("has a certificate that cannot be used: {error}")))?;
    }
    Ok(Arc::new(roots))
}

/// One at least.
fn certificates(source: &Source, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| source.wrong(format!("is not PEM: {error}")))?;
    if found.is_empty() {
        return Err(source.wrong("has no certificate in PEM (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

/// Begin and end, in seconds since 1970.
fn validity(source: &Source, certificate: &CertificateDer<'_>) -> Result<(i64, i64), TrustError> {
    let parsed = Certificate::from_der(certificate)
        .map_err(|error| source.wrong(format!("the first certificate cannot be read: {error}")))?;
    let validity = parsed.tbs_certificate().validity();
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Ok((seconds(validity.not_before), seconds(validity.not_after)))
}

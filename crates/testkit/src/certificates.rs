//! Certificates for tests: an authority of a test's own, and what it issues, as files. Gone with this value.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// See the module.
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl Pair {
    /// Puts another pair into the files of this one.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn replace_by(&self, other: &Pair) -> Result<()> {
        fs::copy(&other.cert, &self.cert)?;
        fs::copy(&other.key, &self.key)?;
        Ok(())
    }
}

impl Authority {
    /// A new one, which nobody trusts yet.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        // Two of them are told apart by their names.
        params.distinguished_name.push(DnType::CommonName, format!("authority {:x}", rand::random::<u64>()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let dir = TempDir::with_prefix("elanus-certificates-")?;
        fs::write(dir.path().join("ca.pem"), certificate.pem())?;
        Ok(Self { dir, issuer: Issuer::new(params, key) })
    }

    /// Its own certificate, for those who trust it.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A file in its directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Issues a certificate for this machine: `localhost`, `127.0.0.1`.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn issue(&self, name: &str) -> Result<Pair> {
        self.issue_for(name, &["localhost", "127.0.0.1"], 2099)
    }

    /// Issues a certificate for these hosts, which ends with the first day of this year.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn issue_for(&self, name: &str, hosts: &[&str], end_year: i32) -> Result<Pair> {
        let mut params = CertificateParams::new(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(end_year, 1, 1));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pair = Pair { cert: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) };
        fs::write(&pair.cert, certificate.pem())?;
        fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }
}

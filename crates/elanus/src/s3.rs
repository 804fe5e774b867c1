//! Settings of an S3 object store, and the credentials that it is asked with.
//!
//! Keys are never part of a URL and never printed. Without `--s3-access-key` they are looked for where AWS programs look:
//! `AWS_ACCESS_KEY_ID`, a web identity token, a profile, the role of the container or of the machine.

use anyhow::{Context as _, Result, anyhow};
use aws_config::{
    BehaviorVersion, Region, environment::region::EnvironmentVariableRegionProvider, meta::region::RegionProviderChain,
    profile::region::ProfileFileRegionProvider,
};
use clap::{Args, ValueEnum};
use elanus_objects::{
    S3Config, S3Location,
    s3::{AddressStyle, S3Limits, http_client},
};
use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};
use url::Url;

const REGION: &str = "us-east-1";

/// How to reach a bucket.
#[derive(Clone, Debug, Args)]
pub(crate) struct S3Args {
    /// S3 store other than AWS: http://HOST:PORT or https://HOST
    #[arg(long = "s3-endpoint", value_name = "URL", env = "ELANUS_S3_ENDPOINT", global = true, value_parser = endpoint)]
    endpoint: Option<String>,
    /// Region of the bucket [default: AWS_REGION, the profile's, or us-east-1]
    #[arg(long = "s3-region", value_name = "REGION", env = "ELANUS_S3_REGION", global = true)]
    region: Option<String>,
    /// Where a request names the bucket; auto: in the path when there is an endpoint, in the host name for AWS
    #[arg(
        long = "s3-address-style",
        value_name = "STYLE",
        env = "ELANUS_S3_ADDRESS_STYLE",
        global = true,
        default_value = "auto"
    )]
    style: Style,
    /// Certificates (PEM) to trust beside the system's
    #[arg(long = "s3-ca", value_name = "FILE", env = "ELANUS_S3_CA", global = true)]
    ca: Option<PathBuf>,
    /// Access key [default: where AWS programs look, AWS_ACCESS_KEY_ID first]
    #[arg(
        long = "s3-access-key",
        value_name = "KEY",
        env = "ELANUS_S3_ACCESS_KEY",
        global = true,
        hide_env_values = true,
        requires = "secret_key"
    )]
    access_key: Option<Secret>,
    /// Secret key of it; better in the environment, where others do not see it
    #[arg(
        long = "s3-secret-key",
        value_name = "SECRET",
        env = "ELANUS_S3_SECRET_KEY",
        global = true,
        hide_env_values = true,
        requires = "access_key"
    )]
    secret_key: Option<Secret>,
    /// Requests to the bucket under way at the same time
    #[arg(long = "s3-requests-max", value_name = "N", env = "ELANUS_S3_REQUESTS_MAX", global = true, default_value = "128", value_parser = clap::value_parser!(u16).range(1..))]
    requests_max: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Style {
    Auto,
    Path,
    VirtualHost,
}

/// A text that is not shown.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// For whom it is meant.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

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

/// As without any flag.
#[cfg(test)]
impl Default for S3Args {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            style: Style::Auto,
            ca: None,
            access_key: None,
            secret_key: None,
            requests_max: 128,
        }
    }
}

impl S3Args {
    /// Everything that the store must know. Reads the CA file, and what AWS programs read.
    pub(crate) async fn config(&self, location: S3Location) -> Result<S3Config> {
        let ca_pem = match &self.ca {
            Some(path) => {
                Some(std::fs::read(path).with_context(|| format!("--s3-ca: cannot read {}", path.display()))?)
            }
            None => None,
        };
        let limits = S3Limits { requests_max: self.requests_max.into(), ..S3Limits::default() };
        let http = http_client(ca_pem.as_deref(), limits).context("--s3-ca")?;
        // Not the machine's own region: to ask for it is a request to an address that only clouds have.
        let region = RegionProviderChain::first_try(self.region.clone().map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(Region::new(REGION));
        let aws = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone()).region(region).load().await;
        let endpoint = self.endpoint.clone().or_else(|| aws.endpoint_url().map(str::to_owned));
        let mut config = match (&self.access_key, &self.secret_key) {
            (Some(access), Some(secret)) => {
                S3Config::new(location, endpoint, S3Config::static_credentials(&access.0, &secret.0, None))
            }
            _ => {
                let found = aws.credentials_provider();
                let found = found
                    .ok_or_else(|| anyhow!("give --s3-access-key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"))?;
                S3Config::new(location, endpoint, found)
            }
        };
        config.region = aws.region().map_or_else(|| REGION.to_owned(), ToString::to_string);
        match self.style {
            Style::Auto => {}
            Style::Path => config.style = AddressStyle::Path,
            Style::VirtualHost => config.style = AddressStyle::VirtualHost,
        }
        config.limits = limits;
        config.http = Some(http);
        Ok(config)
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let parsed = Url::parse(text).map_err(|error| format!("{error}; for example https://s3.example.com:9000"))?;
    let plain = matches!(parsed.scheme(), "http" | "https") && parsed.path() == "/" && parsed.query().is_none();
    if plain && parsed.username().is_empty() && parsed.password().is_none() {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err("give http:// or https://, a host and a port, and nothing else".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        s3: S3Args,
    }

    fn parse(flags: &[&str]) -> Result<S3Args, String> {
        let flags = std::iter::once("x").chain(flags.iter().copied());
        Cli::try_parse_from(flags).map(|cli| cli.s3).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn flags_make_a_config() {
        let flags =
            ["--s3-endpoint", "http://127.0.0.1:9000/", "--s3-access-key", "AKSECRET", "--s3-secret-key", "SECRET"];
        let args = parse(&[&flags[..], &["--s3-region", "eu-central-1", "--s3-requests-max", "7"]].concat()).unwrap();
        assert!(!format!("{args:?}").contains("SECRET"), "{args:?}");
        let location: S3Location = "s3://bucket/root".parse().unwrap();
        let config = args.config(location.clone()).await.unwrap();
        assert_eq!((config.endpoint.as_deref(), config.style), (Some("http://127.0.0.1:9000"), AddressStyle::Path));
        assert_eq!((config.region.as_str(), config.limits.requests_max), ("eu-central-1", 7));
        let style = parse(&[&flags[..], &["--s3-address-style", "virtual-host"]].concat()).unwrap();
        assert_eq!(style.config(location).await.unwrap().style, AddressStyle::VirtualHost);
    }

    #[tokio::test]
    async fn a_wrong_setting_is_refused_without_its_secret() {
        for endpoint in
            ["127.0.0.1:9000", "ftp://host", "http://user:SECRET@host", "http://host/bucket", "http://host?a=1"]
        {
            let error = parse(&["--s3-endpoint", endpoint]).unwrap_err();
            assert!(error.contains("--s3-endpoint"), "{error}");
        }
        assert!(parse(&["--s3-access-key", "AK"]).unwrap_err().contains("--s3-secret-key"));
        assert!(parse(&["--s3-requests-max", "0"]).is_err());
        let missing = parse(&["--s3-ca", "/no/such/file"]).unwrap().config("s3://bucket".parse().unwrap()).await;
        assert!(format!("{:#}", missing.unwrap_err()).contains("/no/such/file"));
    }
}

//! Where an S3 bucket is and how to talk to it. Read from nowhere: the program fills it in.

use crate::OpenError;
use aws_sdk_s3::config::{Credentials, ProvideCredentials, SharedCredentialsProvider, SharedHttpClient};
use elanus_types::ObjectKey;
use std::{fmt, str::FromStr, time::Duration};
use url::Url;

/// Longest root path: with the longest key it makes the longest name that S3 takes (1,024 bytes).
const ROOT_LEN_MAX: usize = 255;
/// S3 refuses uploads of more parts.
pub(super) const PARTS_MAX: u64 = 10_000;

/// `s3://bucket/root/path`: a bucket and the folder in it that everything is below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket.
    pub bucket: String,
    /// `None`: the whole bucket.
    pub root: Option<ObjectKey>,
}

/// How the bucket's name gets into a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressStyle {
    /// `https://endpoint/bucket/key`: what most stores other than AWS want.
    Path,
    /// `https://bucket.endpoint/key`: what AWS wants.
    VirtualHost,
}

/// Sizes and numbers that bound what the store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct S3Limits {
    /// Requests under way at the same time, of all calls together.
    pub requests_max: usize,
    /// Longer objects are put in parts.
    pub put_bytes_max: u64,
    /// Length of a part of a put; S3 takes no less than 5 MiB.
    pub put_part_bytes: u64,
    /// Longer objects are copied in parts.
    pub copy_bytes_max: u64,
    /// Length of a part of a copy; more where the object would have too many parts otherwise.
    pub copy_part_bytes: u64,
    /// Parts of one object under way at the same time.
    pub parts_at_once: usize,
    /// Attempts of one request, with growing, random pauses.
    pub attempts_max: u32,
    /// Until a connection stands.
    pub connect_max: Duration,
    /// One attempt of a request whose body is at most a part.
    pub attempt_max: Duration,
    /// One attempt of a request that makes the store copy bytes.
    pub copy_attempt_max: Duration,
}

/// Everything that [`super::S3Store`] must know.
#[derive(Clone)]
pub struct S3Config {
    /// Bucket and root path.
    pub location: S3Location,
    /// The region that requests are signed for; stores other than AWS mostly take any.
    pub region: String,
    /// `None`: AWS, in the region.
    pub endpoint: Option<String>,
    /// Where the bucket's name stands.
    pub style: AddressStyle,
    /// Who asks.
    pub credentials: SharedCredentialsProvider,
    /// Certificates in PEM that are trusted beside those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// What bounds it.
    pub limits: S3Limits,
    /// Another way to send requests, for tests.
    pub http: Option<SharedHttpClient>,
}

impl Default for S3Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            requests_max: 128,
            put_bytes_max: 32 * MIB,
            put_part_bytes: 16 * MIB,
            copy_bytes_max: 256 * MIB,
            copy_part_bytes: 128 * MIB,
            parts_at_once: 8,
            attempts_max: 6,
            connect_max: Duration::from_secs(5),
            attempt_max: Duration::from_secs(60),
            copy_attempt_max: Duration::from_secs(300),
        }
    }
}

impl S3Config {
    /// A bucket of AWS, or of the store at `endpoint`.
    pub fn new(location: S3Location, endpoint: Option<String>, credentials: impl ProvideCredentials + 'static) -> Self {
        let style = if endpoint.is_some() { AddressStyle::Path } else { AddressStyle::VirtualHost };
        Self {
            location,
            region: "us-east-1".to_owned(),
            endpoint,
            style,
            credentials: SharedCredentialsProvider::new(credentials),
            ca_pem: None,
            limits: S3Limits::default(),
            http: None,
        }
    }

    /// Credentials that never change.
    #[must_use]
    pub fn static_credentials(access_key: &str, secret_key: &str, session_token: Option<String>) -> Credentials {
        Credentials::new(access_key, secret_key, session_token, None, "elanus configuration")
    }
}

/// Without the credentials: not even who they are of.
impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("location", &self.location)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("style", &self.style)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Some(root) => write!(f, "s3://{}/{root}", self.bucket),
            None => write!(f, "s3://{}", self.bucket),
        }
    }
}

impl FromStr for S3Location {
    type Err = OpenError;

    fn from_str(url: &str) -> Result<Self, OpenError> {
        let invalid = |why: &str| OpenError::Invalid { why: why.to_owned() };
        let parsed = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
        if parsed.scheme() != "s3" {
            return Err(OpenError::Unsupported { scheme: parsed.scheme().to_owned() });
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(invalid("keys do not belong into it: give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
        }
        if parsed.port().is_some() || parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(invalid("s3:// has no port, no '?' and no '#'; the endpoint is a setting of its own"));
        }
        let bucket = parsed.host_str().unwrap_or_default().to_owned();
        if !is_bucket(&bucket) {
            return Err(invalid("it names no bucket (3 to 63 small letters, digits, '-' and '.')"));
        }
        let path = parsed.path().strip_prefix('/').unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        let root = match path {
            "" => None,
            path if path.len() > ROOT_LEN_MAX => return Err(invalid("the root path is longer than 255 bytes")),
            path => Some(ObjectKey::parse(path).map_err(|error| invalid(&format!("the root path {error}")))?),
        };
        Ok(Self { bucket, root })
    }
}

fn is_bucket(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_bucket_and_a_root_path() {
        let parse = |url: &str| S3Location::from_str(url).unwrap();
        assert_eq!(parse("s3://my-bucket"), S3Location { bucket: "my-bucket".to_owned(), root: None });
        assert_eq!(parse("s3://my-bucket/"), parse("s3://my-bucket"));
        assert_eq!(parse("s3://b.1x/root/path/").to_string(), "s3://b.1x/root/path");
    }

    #[test]
    fn a_url_that_is_wrong_is_refused_without_its_secrets() {
        for (url, says) in [
            ("s3://", "names no bucket"),
            ("s3:///root", "names no bucket"),
            ("s3://ab/root", "names no bucket"),
            ("s3://bucket_name/root", "names no bucket"),
            ("s3://secret:secret@bucket/root", "AWS_ACCESS_KEY_ID"),
            ("s3://secret@bucket/root", "AWS_ACCESS_KEY_ID"),
            ("s3://bucket:9000/root", "the endpoint is a setting of its own"),
            ("s3://bucket/root?secret=1", "no '?'"),
            ("s3://bucket//root", "the root path"),
            ("s3://bucket/ro%20ot", "the root path"),
        ] {
            let error = S3Location::from_str(url).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("secret"), "{url}: {error}");
        }
        let long = format!("s3://bucket/{}", "a".repeat(256));
        assert!(S3Location::from_str(&long).unwrap_err().to_string().contains("longer than 255"));
    }

    #[test]
    fn a_config_shows_no_credentials() {
        let key = S3Config::static_credentials("AKIDSECRET", "SECRET", Some("TOKENSECRET".to_owned()));
        let config = S3Config::new("s3://bucket/root".parse().unwrap(), None, key);
        assert!(!format!("{config:?}").contains("SECRET"), "{config:?}");
    }
}

//! The connection to one bucket: client, limits, and the way from keys to names in the bucket and back.

use super::{
    config::{AddressStyle, S3Config, S3Limits},
    failure,
};
use crate::{Error, OpenError, Result};
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, ConfigBag, Intercept, Region, ResponseChecksumValidation, RuntimeComponents, SharedHttpClient,
        StalledStreamProtectionConfig,
        http::HttpResponse,
        interceptors::{
            BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef, InterceptorContext,
        },
        retry::{ClassifyRetry, ClientRateLimiter, RetryAction, RetryConfig, RetryPartition, TokenBucket},
        timeout::TimeoutConfig,
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
    primitives::{DateTime, DateTimeFormat},
};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_types::retry::RetrySpec;
use elanus_types::{Checksum, ObjectKey};
use std::{
    error::Error as StdError,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};

const IDLE_MAX: Duration = Duration::from_secs(60);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

pub(super) struct Bucket {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) limits: S3Limits,
    /// Empty, or the root path with a slash at its end.
    root: String,
    permits: Semaphore,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("bucket", &self.name).field("root", &self.root).finish_non_exhaustive()
    }
}

impl Bucket {
    pub(super) fn new(config: S3Config) -> Result<Self, OpenError> {
        let limits = config.limits;
        let http = match config.http {
            Some(http) => http,
            None => http_client(config.ca_pem.as_deref(), limits)?,
        };
        // The limiter's default is shared by all stores of the process: one that is slow would slow down the others.
        let partition = RetryPartition::custom("elanus-objects")
            .token_bucket(TokenBucket::default())
            .client_rate_limiter(ClientRateLimiter::default())
            .build();
        // Without 2.1, a request that was answered 503 waits until the limiter would give it ten tokens: ten seconds after
        // every short 503 of a store that is asked little.
        let retry = RetryConfig::adaptive()
            .with_retry_spec(RetrySpec::v2_1())
            .with_max_attempts(limits.attempts_max)
            .with_initial_backoff(BACKOFF_FIRST)
            .with_max_backoff(BACKOFF_MAX);
        let mut settings = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region))
            .credentials_provider(config.credentials)
            .force_path_style(config.style == AddressStyle::Path)
            .http_client(http)
            .retry_config(retry)
            .retry_partition(partition)
            .retry_classifier(Conflicts)
            .interceptor(Again)
            .timeout_config(timeouts(limits, limits.attempt_max))
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().build())
            // Whoever reads knows the checksum from the metadata and compares; once is enough.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        settings.set_endpoint_url(config.endpoint);
        Ok(Self {
            client: Client::from_conf(settings.build()),
            name: config.location.bucket,
            root: config.location.root.map_or_else(String::new, |root| format!("{root}/")),
            limits,
            permits: Semaphore::new(limits.requests_max),
        })
    }

    /// What S3 calls this object.
    pub(super) fn name_of(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.root)
    }

    /// What the names of all objects in this folder begin with.
    pub(super) fn prefix_of(&self, folder: Option<&ObjectKey>) -> String {
        folder.map_or_else(|| self.root.clone(), |folder| format!("{}{folder}/", self.root))
    }

    /// The root path, level by level.
    pub(super) fn levels(&self) -> impl Iterator<Item = &str> {
        self.root.split('/').filter(|level| !level.is_empty())
    }

    /// `None` for what is no object of ours: another root path, a name that is no key.
    pub(super) fn key_of(&self, name: &str) -> Option<ObjectKey> {
        match ObjectKey::parse(name.strip_prefix(&self.root)?) {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::warn!(%error, "something in the object store is not an object");
                None
            }
        }
    }

    /// Held while a request is under way, until its body was read.
    pub(super) async fn permit(&self) -> SemaphorePermit<'_> {
        self.permits.acquire().await.expect("the semaphore is never closed")
    }

    /// Settings of a request that makes the store move bytes before it answers.
    pub(super) fn patient(&self) -> aws_sdk_s3::config::Builder {
        aws_sdk_s3::Config::builder().timeout_config(timeouts(self.limits, self.limits.copy_attempt_max))
    }

    /// What a failed request means to the caller.
    pub(super) fn failed<E>(&self, attempt: String, key: &ObjectKey, error: SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        failure::error_of(attempt, &self.name, Some(key), error)
    }
}

fn timeouts(limits: S3Limits, attempt_max: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(limits.connect_max)
        .read_timeout(attempt_max)
        .operation_attempt_timeout(attempt_max)
        .build()
}

/// One pool of connections; they are kept open and used again. `ca_pem`: certificates to trust beside the system's.
///
/// # Errors
/// When the certificates cannot be read.
pub fn http_client(ca_pem: Option<&[u8]>, limits: S3Limits) -> Result<SharedHttpClient, OpenError> {
    let mut trust = TrustStore::default();
    if let Some(pem) = ca_pem {
        trust.add_pem_certificate(pem);
    }
    let context = TlsContext::builder().with_trust_store(trust).build();
    let context = context.map_err(|error| OpenError::Trust { why: error.to_string() })?;
    Ok(aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(limits.requests_max)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https())
}

/// S3 answers 409 where conditional writes meet, and wants the request again.
#[derive(Debug)]
struct Conflicts;

impl ClassifyRetry for Conflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response().map(|response| response.status().as_u16()) {
            Some(409) => RetryAction::transient_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "conflicts"
    }
}

/// Tells of attempts that are made again: the SDK does that by itself.
#[derive(Debug)]
struct Again;

impl Intercept for Again {
    fn name(&self) -> &'static str {
        "again"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let attempt = settings.load::<RequestAttempts>().map_or(1, RequestAttempts::attempts);
        if attempt > 1 {
            elanus_trace::event!(attempt, "the request is sent again");
            metrics::counter!("elanus_objects_requests_repeated_total").increment(1);
        }
        Ok(())
    }
}

/// The store's clock at an answer, from its `Date` header.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerClock(Arc<AtomicI64>);

impl ServerClock {
    /// Milliseconds since 1970; `None` when the answer had no date.
    pub(super) fn now_ms(&self) -> Option<i64> {
        Some(self.0.load(Ordering::SeqCst)).filter(|ms| *ms != 0)
    }
}

impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "server clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _settings: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        if let Some(ms) = date.and_then(|date| date.to_millis().ok()) {
            self.0.store(ms, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// As S3 writes it: the eight bytes, most significant first, in base 64.
pub(super) fn encode(checksum: Checksum) -> String {
    aws_smithy_types::base64::encode(checksum.0.to_be_bytes())
}

/// `None` for a text that is no CRC-64.
pub(super) fn decode(text: &str) -> Option<Checksum> {
    let bytes = aws_smithy_types::base64::decode(text).ok()?;
    bytes.try_into().ok().map(|bytes| Checksum(u64::from_be_bytes(bytes)))
}

/// S3 tells times to the second in one answer and to the millisecond in another.
pub(super) fn seconds(time: &DateTime) -> i64 {
    time.secs() * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_written_as_s3_does() {
        let sum = Checksum(0xae8b_1486_0a79_9888);
        assert_eq!(encode(sum), "rosUhgp5mIg=");
        assert_eq!(decode("rosUhgp5mIg="), Some(sum));
        for bad in ["", "rosUhgp5", "rosUhgp5mIg=-2", "?"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}

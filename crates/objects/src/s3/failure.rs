//! From an answer of the store to an error that says what to do.
//!
//! Texts have what the store said, and never a header, a signature or a key: `SdkError` itself has all of them and is
//! dropped here.

use crate::Error;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use elanus_types::ObjectKey;
use std::{error::Error as StdError, fmt};

/// A document that names the rights.
const RIGHTS: &str = "see \"Objects on S3\" in docs/operations.md for the rights that it needs";

/// What the store answered, and what to do.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    code: String,
    message: String,
    request: Option<String>,
    hint: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answered {} {}", self.status, self.code)?;
        if !self.message.is_empty() {
            write!(f, " ({})", self.message.trim_end_matches('.'))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        if let Some(request) = &self.request {
            write!(f, " [request {request}]")?;
        }
        Ok(())
    }
}

impl StdError for Answer {}

/// The request did not reach the store, or its answer did not arrive.
#[derive(Debug)]
struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Unreachable {}

/// Status and code of an answer that the store gave.
pub(super) fn code_of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<(u16, &str)> {
    match error {
        SdkError::ServiceError(answer) => {
            Some((answer.raw().status().as_u16(), answer.err().code().unwrap_or_default()))
        }
        _ => None,
    }
}

/// The condition of a conditional write did not hold.
pub(super) fn is_precondition<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(code_of(error), Some((412, _) | (_, "PreconditionFailed")))
}

/// The store does not know this request, or this condition on it.
pub(super) fn is_not_implemented<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(code_of(error), Some((501, _) | (_, "NotImplemented")))
}

/// What this error means to the caller. `key` is the object that is absent when the store says so.
pub(super) fn error_of<E>(
    attempt: String,
    bucket: &str,
    key: Option<&ObjectKey>,
    error: SdkError<E, HttpResponse>,
) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let request = error.raw_response().and_then(|raw| raw.request_id().map(str::to_owned));
    match &error {
        SdkError::ServiceError(answer) => {
            let (code, message) = (answer.err().code().unwrap_or_default(), answer.err().message().unwrap_or_default());
            classify(attempt, bucket, key, answer.raw().status().as_u16(), code, message, request)
        }
        SdkError::ConstructionFailure(_) => Error::refused(attempt, Unreachable(chain(&error))),
        SdkError::DispatchFailure(failure) if failure.as_connector_error().is_some_and(|e| e.is_user()) => {
            Error::refused(attempt, Unreachable(chain(&error)))
        }
        _ if no_credentials(&error) => Error::Denied {
            attempt,
            source: Unreachable(format!(
                "there are no credentials; give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({})",
                chain(&error)
            ))
            .into(),
        },
        _ => Error::transient(attempt, Unreachable(chain(&error))),
    }
}

/// One object of a batch that the store did not delete.
pub(super) fn of_batch(attempt: String, bucket: &str, key: Option<&ObjectKey>, code: &str, message: &str) -> Error {
    let status = match code {
        "AccessDenied" => 403,
        "InternalError" => 500,
        "SlowDown" | "ServiceUnavailable" => 503,
        _ => 400,
    };
    classify(attempt, bucket, key, status, code, message, None)
}

fn classify(
    attempt: String,
    bucket: &str,
    key: Option<&ObjectKey>,
    status: u16,
    code: &str,
    message: &str,
    request: Option<String>,
) -> Error {
    let hint = hint(status, code, bucket);
    let source = Answer { status, code: code.to_owned(), message: message.to_owned(), request, hint };
    match (status, code) {
        (_, "NoSuchBucket") => Error::Denied { attempt, source: source.into() },
        (_, "NoSuchKey") | (404, "" | "NotFound") => match key {
            Some(key) => Error::NotFound { key: key.clone() },
            None => Error::refused(attempt, source),
        },
        (_, "QuotaExceeded" | "XMinioStorageFull" | "StorageFull") | (507, _) => {
            Error::Full { attempt, source: source.into() }
        }
        // The body did not arrive as it was sent, or too slowly.
        (_, "BadDigest" | "RequestTimeout" | "IncompleteBody" | "XAmzContentChecksumMismatch") => {
            Error::transient(attempt, source)
        }
        // A clock that is wrong is set, and a token that ran out is renewed, without this process.
        (_, "RequestTimeTooSkewed" | "ExpiredToken" | "TokenRefreshRequired") => Error::transient(attempt, source),
        (301 | 307 | 401 | 403, _) | (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            Error::Denied { attempt, source: source.into() }
        }
        (408 | 409 | 425 | 429, _) => Error::transient(attempt, source),
        (501, _) => Error::refused(attempt, source),
        (500.., _) => Error::transient(attempt, source),
        _ => Error::refused(attempt, source),
    }
}

fn hint(status: u16, code: &str, bucket: &str) -> Option<String> {
    let text = match (status, code) {
        (_, "NoSuchBucket") => format!("create the bucket {bucket}, or correct the URL of the object store"),
        (_, "InvalidAccessKeyId") => {
            "the store does not know the access key: check AWS_ACCESS_KEY_ID and the endpoint".to_owned()
        }
        (_, "SignatureDoesNotMatch") => "check AWS_SECRET_ACCESS_KEY".to_owned(),
        (_, "RequestTimeTooSkewed") => "set the clock of this machine".to_owned(),
        (_, "ExpiredToken" | "TokenRefreshRequired") => "renew the session token".to_owned(),
        (301 | 307, _) | (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            format!("the bucket {bucket} is in another region: give its region, and no endpoint of another one")
        }
        (401 | 403, _) => format!("the access key may not do this in the bucket {bucket}; {RIGHTS}"),
        (501, _) => "the store cannot do this".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// What went wrong, from the outside in, without what repeats itself.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

fn no_credentials(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<aws_credential_types::provider::error::CredentialsError>() {
            return true;
        }
        next = error.source();
    }
    false
}

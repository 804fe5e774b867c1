//! Why a call did not do what was asked, by what the caller can do about it.

use crate::connect::innermost;
use elanus_proto::{common, convert::failure_from_grpc};
use elanus_types::{Code, Failure};

/// Result of every call.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// Why a call did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// What the caller can do.
    pub kind: ErrorKind,
    /// The server's code; `None` when no server answered.
    pub code: Option<Code>,
    /// What was attempted and why it failed.
    pub message: String,
}

/// What the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was named does not exist: give another name.
    NotFound,
    /// Something is in the way, such as a pin or a taken name: remove it or choose another name.
    Conflict,
    /// A value is wrong: change it.
    Invalid,
    /// The server is away or busy: try again. For writes it is not known whether they were done.
    Unavailable,
    /// The job ended without success; nothing is left of it.
    JobFailed,
    /// The server does not serve this call.
    Unsupported,
    /// Anything else: a person must look.
    Other,
}

impl ClientError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into() }
    }
}

impl From<Failure> for ClientError {
    fn from(failure: Failure) -> Self {
        Self { kind: kind(failure.code, &failure.message), code: Some(failure.code), message: failure.message }
    }
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        if !status.details().is_empty() {
            return failure_from_grpc(status).into();
        }
        // The connection broke, or was cut by a server that wants to be talked to otherwise.
        if let Some(broke) = std::error::Error::source(&status).filter(|source| source.is::<tonic::transport::Error>())
        {
            let message = format!(
                "the connection broke: {}; is it http:// or https:// that the server speaks?",
                innermost(broke)
            );
            return Self::new(ErrorKind::Unavailable, message);
        }
        let text = status.message();
        match status.code() {
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => {
                Self::new(ErrorKind::Unavailable, format!("the server did not answer: {text}"))
            }
            tonic::Code::Unimplemented => Self::new(
                ErrorKind::Unsupported,
                format!("the server does not serve this call; is it elanus, and of this version? {text}"),
            ),
            code => Self::new(ErrorKind::Other, format!("the call failed ({code}): {text}")),
        }
    }
}

/// The status that Milvus calls carry in their answers.
pub(crate) fn check(status: Option<common::Status>) -> Result<()> {
    let status = status.ok_or_else(|| ClientError::new(ErrorKind::Other, "the server's answer has no status"))?;
    Ok(status.into_result()?)
}

/// Milvus gives "wrong value" and "name taken" one number; the text tells them apart.
fn kind(code: Code, message: &str) -> ErrorKind {
    let in_the_way = ["already exist", "duplicate", "belongs to a restore job", "not empty", "associated aliases"];
    match code {
        Code::CollectionNotFound
        | Code::PartitionNotFound
        | Code::IndexNotFound
        | Code::DatabaseNotFound
        | Code::AliasNotFound
        | Code::SnapshotNotFound => ErrorKind::NotFound,
        Code::SnapshotPinned | Code::NameConflict | Code::IndexDuplicate => ErrorKind::Conflict,
        Code::AliasDuplicate | Code::CollectionLimit | Code::DatabaseLimit => ErrorKind::Conflict,
        Code::ParameterInvalid | Code::Unexpected if in_the_way.iter().any(|text| message.contains(text)) => {
            ErrorKind::Conflict
        }
        Code::ParameterInvalid | Code::ParameterMissing | Code::ParameterTooLarge | Code::DatabaseName => {
            ErrorKind::Invalid
        }
        Code::NotReady | Code::RateLimit => ErrorKind::Unavailable,
        Code::JobFailed if message.contains("not found") => ErrorKind::NotFound,
        Code::JobFailed => ErrorKind::JobFailed,
        Code::Unimplemented => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::convert::failure_to_grpc;

    #[test]
    fn a_failure_tells_what_can_be_done() {
        for (code, message, expected) in [
            (2600, "snapshot not found[snapshot=a]", ErrorKind::NotFound),
            (100, "collection not found[collection=a]", ErrorKind::NotFound),
            (2101, "restore job not found: jobID=7", ErrorKind::NotFound),
            (2101, "restore job 7 failed", ErrorKind::JobFailed),
            (2601, "snapshot is pinned[snapshot=a]", ErrorKind::Conflict),
            (1100, "snapshot name a already exists in collection 1", ErrorKind::Conflict),
            (1100, "create duplicate collection with different parameters, collection: a", ErrorKind::Conflict),
            (1100, "the snapshot name is empty", ErrorKind::Invalid),
            (1, "the metadata store did not answer", ErrorKind::Unavailable),
            (5, "x", ErrorKind::Other),
        ] {
            let failure = Failure::new(Code::from_number(code), message);
            let in_answer = check(Some(failure.clone().into())).unwrap_err();
            let as_status = ClientError::from(failure_to_grpc(failure));
            assert_eq!((in_answer.kind, in_answer.code), (expected, as_status.code), "{code} {message}");
            // As in Milvus, some say at their end what kind of error they are.
            assert!(as_status.kind == expected && in_answer.message.starts_with(&as_status.message), "{in_answer:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_a_server_that_is_away() {
        // Takes connections and closes them, as one does that expects something else than HTTP/2.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let client = crate::Client::connect(&address).await.unwrap();
        let asked = elanus_proto::milvus::GetVersionRequest::default();
        let error = client.write(client.milvus.clone().get_version(asked)).await.unwrap_err();
        assert_eq!((error.kind, error.code), (ErrorKind::Unavailable, None), "{error}");
    }

    #[test]
    fn a_server_that_is_away_has_no_code() {
        let error = ClientError::from(tonic::Status::unavailable("connection refused"));
        assert_eq!((error.kind, error.code), (ErrorKind::Unavailable, None));
        assert_eq!(check(None).unwrap_err().kind, ErrorKind::Other);
        assert_eq!(check(Some(common::Status::default())), Ok(()));
    }
}

//! A [`Failure`] as Milvus clients read it (`common.Status`) and as services pass it on (a gRPC status that carries one).

use crate::common;
use bytes::Bytes;
use elanus_types::{Code, Failure};
use prost::Message as _;

/// The status of a call that did what was asked.
#[must_use]
pub fn success() -> common::Status {
    common::Status::default()
}

/// Milvus says last what kind of failure it is, and tests compare that, too.
fn as_in_milvus(Failure { code, message }: Failure) -> String {
    const KIND: &str = "invalid parameter";
    if code != Code::ParameterInvalid || message.contains(KIND) { message } else { format!("{message}: {KIND}") }
}

impl From<Failure> for common::Status {
    /// Sets the new and the old code: a client takes either for an error, but reads only one of them.
    fn from(failure: Failure) -> Self {
        let code = failure.code;
        let message = as_in_milvus(failure);
        let mut status = Self {
            error_code: code.legacy_number(),
            code: code.number(),
            retriable: code.retriable() && !code.is_input(),
            detail: message.clone(),
            reason: message,
            ..Self::default()
        };
        if code.is_input() {
            status.extra_info.insert("is_input_error".to_owned(), "true".to_owned());
        }
        status
    }
}

impl common::Status {
    /// `Ok` for a success, else the failure that this status tells.
    ///
    /// # Errors
    /// When the status is not a success.
    pub fn into_result(self) -> Result<(), Failure> {
        if self.code == 0 && self.error_code == 0 {
            return Ok(());
        }
        Err(Failure::new(Code::from_number(self.code), self.reason))
    }
}

/// Longest text that a failure keeps on its way between services, in bytes: it travels in a header, and headers have limits.
const TEXT_BYTES_MAX: usize = 6 << 10;

/// A failure for a call between services. The code arrives unchanged, and so does the text, up to a few KiB.
#[must_use]
pub fn failure_to_grpc(failure: Failure) -> tonic::Status {
    let grpc = match failure.code {
        Code::NotReady => tonic::Code::Unavailable,
        Code::RateLimit => tonic::Code::ResourceExhausted,
        Code::Unimplemented => tonic::Code::Unimplemented,
        Code::SnapshotPinned | Code::CollectionNotLoaded | Code::PartitionNotLoaded => tonic::Code::FailedPrecondition,
        Code::CollectionNotFound
        | Code::PartitionNotFound
        | Code::IndexNotFound
        | Code::DatabaseNotFound
        | Code::AliasNotFound
        | Code::SnapshotNotFound => tonic::Code::NotFound,
        code if code.is_input() => tonic::Code::InvalidArgument,
        _ => tonic::Code::Internal,
    };
    let Failure { code, mut message } = failure;
    message.truncate(message.floor_char_boundary(TEXT_BYTES_MAX));
    let short = message.chars().take(100).collect::<String>();
    let details = common::Status { code: code.number(), reason: message, ..common::Status::default() };
    tonic::Status::with_details(grpc, short, Bytes::from(details.encode_to_vec()))
}

/// What a call between services failed with. A status that did not come from a service of Elanus is the transport's.
#[must_use]
pub fn failure_from_grpc(status: tonic::Status) -> Failure {
    if !status.details().is_empty()
        && let Ok(inner) = common::Status::decode(status.details())
        && let Err(failure) = inner.into_result()
    {
        return failure;
    }
    let code = match status.code() {
        tonic::Code::Unavailable | tonic::Code::Cancelled | tonic::Code::DeadlineExceeded => Code::NotReady,
        tonic::Code::Unimplemented => Code::Unimplemented,
        tonic::Code::ResourceExhausted | tonic::Code::OutOfRange => Code::ParameterTooLarge,
        _ => Code::Internal,
    };
    Failure::new(code, format!("a call between services failed ({}): {}", status.code(), status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_both_codes_to_a_client() {
        let status = common::Status::from(Failure::invalid("the name is empty"));
        assert_eq!((status.code, status.error_code, status.retriable), (1100, 5, false));
        let text = "the name is empty: invalid parameter";
        assert_eq!((status.reason.as_str(), status.detail.as_str()), (text, text));
        let status = common::Status::from(Failure::invalid("the name: invalid parameter[expected=one][actual=none]"));
        assert_eq!(status.reason, "the name: invalid parameter[expected=one][actual=none]", "said once");
        assert_eq!(status.extra_info["is_input_error"], "true");

        let status = common::Status::from(Failure::new(Code::NotReady, "starting"));
        assert_eq!((status.code, status.retriable, status.extra_info.len()), (1, true, 0));
        assert_eq!(success().into_result(), Ok(()));
    }

    #[test]
    fn a_failure_passes_between_services_unchanged() {
        for number in [
            1, 5, 8, 10, 100, 101, 109, 200, 201, 700, 702, 800, 801, 802, 1100, 1101, 1102, 1600, 1601, 1602, 2101,
            2600, 2601,
        ] {
            let failure = Failure::new(Code::from_number(number), "ä ".repeat(2_000));
            assert_eq!(failure_from_grpc(failure_to_grpc(failure.clone())), failure);
        }
        let long = failure_from_grpc(failure_to_grpc(Failure::invalid("ä".repeat(100_000))));
        assert_eq!((long.code, long.message.len()), (Code::ParameterInvalid, TEXT_BYTES_MAX));
    }

    #[test]
    fn a_failure_of_the_transport_says_what_the_caller_can_do() {
        let away = failure_from_grpc(tonic::Status::unavailable("connection refused"));
        assert_eq!(away.code, Code::NotReady);
        assert!(away.message.contains("connection refused"));
        assert_eq!(failure_from_grpc(tonic::Status::unknown("x")).code, Code::Internal);
    }
}

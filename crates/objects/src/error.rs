//! What can go wrong, by what the caller can do about it.

use crate::{Expected, Found};
use elanus_types::{Code, Failure, ObjectKey};
use std::{error::Error as StdError, io};

/// The answer of a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync>;

/// Why an object store did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such object.
    #[error("there is no object {key}")]
    NotFound {
        /// The key that was asked for.
        key: ObjectKey,
    },
    /// The key is taken by other bytes, which stay.
    #[error("object {key} exists with other content")]
    Exists {
        /// The key that was to be created.
        key: ObjectKey,
    },
    /// A conditional write met other content than it expected, or none: nothing was changed.
    #[error("object {key} was changed by somebody else")]
    Conflict {
        /// The key that was to be replaced or removed.
        key: ObjectKey,
    },
    /// The store does not let this process do that: an operator must look.
    #[error("not allowed to {attempt}")]
    Denied {
        /// What was attempted.
        attempt: String,
        /// Why not.
        source: Source,
    },
    /// The store is full.
    #[error("no space left to {attempt}")]
    Full {
        /// What was attempted.
        attempt: String,
        /// What the store said.
        source: Source,
    },
    /// It did not work this time. It may have been done all the same.
    #[error("could not {attempt}")]
    Transient {
        /// What was attempted.
        attempt: String,
        /// What happened.
        source: Source,
    },
    /// This request can never be served: a name that the store cannot hold, a range beyond the end.
    #[error("impossible to {attempt}")]
    Refused {
        /// What was attempted.
        attempt: String,
        /// Why it cannot be done.
        source: Source,
    },
    /// Objects of a batch that were not deleted, or that may not be; all others of the batch are.
    #[error("{} objects were not deleted", keys.len())]
    Undeleted {
        /// Their keys.
        keys: Vec<ObjectKey>,
        /// Why the first of them was not.
        source: Box<Error>,
    },
    /// An object is not what the metadata says.
    #[error("object {key} is damaged: expected {expected}, found {found}")]
    Corrupt {
        /// The damaged object.
        key: ObjectKey,
        /// What the metadata says.
        expected: Expected,
        /// What is there.
        found: Found,
    },
}

/// May the same call be made again?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It will give the same answer.
    Never,
    /// After a while.
    After,
}

impl Error {
    /// Which kind of error, as metrics name it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Exists { .. } => "exists",
            Self::Conflict { .. } => "conflict",
            Self::Denied { .. } => "denied",
            Self::Full { .. } => "full",
            Self::Transient { .. } => "transient",
            Self::Refused { .. } => "refused",
            Self::Undeleted { .. } => "undeleted",
            Self::Corrupt { .. } => "corrupt",
        }
    }

    /// May the same call be made again?
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Undeleted { source, .. } => source.retry(),
            Self::Full { .. } | Self::Transient { .. } => Retry::After,
            Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Conflict { .. }
            | Self::Denied { .. }
            | Self::Refused { .. }
            | Self::Corrupt { .. } => Retry::Never,
        }
    }

    /// What happened to one object, where this tells about several.
    #[must_use]
    pub fn reason(&self) -> &Self {
        match self {
            Self::Undeleted { source, .. } => source.reason(),
            one => one,
        }
    }

    /// The answer of a store that attempted to delete every object and could not delete these.
    ///
    /// # Errors
    /// [`Error::Undeleted`] when there are any.
    pub(crate) fn undeleted(failed: impl IntoIterator<Item = (ObjectKey, Self)>) -> Result<()> {
        let (keys, errors): (Vec<_>, Vec<_>) = failed.into_iter().unzip();
        errors.into_iter().next().map_or(Ok(()), |first| Err(Self::Undeleted { keys, source: Box::new(first) }))
    }

    pub(crate) fn transient(attempt: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Transient { attempt: attempt.into(), source: source.into() }
    }

    pub(crate) fn refused(attempt: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Refused { attempt: attempt.into(), source: source.into() }
    }

    /// An error of the `object_store` crate about `key`.
    pub(crate) fn from_store(attempt: String, key: &ObjectKey, source: object_store::Error) -> Self {
        use object_store::Error as E;
        match source {
            E::NotFound { .. } => Self::NotFound { key: key.clone() },
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Self::Denied { attempt, source: source.into() },
            E::InvalidPath { .. } | E::NotSupported { .. } | E::NotImplemented { .. } => Self::refused(attempt, source),
            _ => Self::from_chain(attempt, source.into()),
        }
    }

    /// An error of the file system, by the `io::Error` in its chain.
    pub(crate) fn from_chain(attempt: String, source: Source) -> Self {
        use io::ErrorKind as K;
        match io_kind(source.as_ref()) {
            Some(K::PermissionDenied | K::ReadOnlyFilesystem) => Self::Denied { attempt, source },
            Some(K::StorageFull | K::QuotaExceeded) => Self::Full { attempt, source },
            // `AlreadyExists`: a folder is needed where an object is.
            Some(
                K::InvalidFilename
                | K::AlreadyExists
                | K::NotADirectory
                | K::IsADirectory
                | K::Unsupported
                | K::FileTooLarge,
            ) => Self::Refused { attempt, source },
            _ => Self::Transient { attempt, source },
        }
    }
}

impl From<Error> for Failure {
    /// What a user is told: the whole chain, and whether waiting helps.
    fn from(error: Error) -> Self {
        let code = match error.reason() {
            Error::Transient { .. } => Code::NotReady,
            Error::Full { .. } => Code::DiskFull,
            _ => Code::Internal,
        };
        let advice = match error.reason() {
            Error::Full { .. } => "; make room in the object store, then repeat the request",
            Error::Denied { .. } => "; give elanus the right to do that in the object store, then repeat the request",
            _ => "",
        };
        let mut text = error.to_string();
        let mut source = StdError::source(&error);
        while let Some(inner) = source {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            source = inner.source();
        }
        text.push_str(advice);
        Failure::new(code, text)
    }
}

/// The kind of the first `io::Error` in a chain.
pub(crate) fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_file_system_says_whether_waiting_helps() {
        use io::ErrorKind as K;
        let retry = |kind: io::ErrorKind| Error::from_chain("put a".to_owned(), io::Error::from(kind).into()).retry();
        for kind in [K::PermissionDenied, K::ReadOnlyFilesystem, K::InvalidFilename] {
            assert_eq!(retry(kind), Retry::Never, "{kind:?}");
        }
        for kind in [K::StorageFull, K::QuotaExceeded, K::Other, K::TimedOut] {
            assert_eq!(retry(kind), Retry::After, "{kind:?}");
        }
    }

    #[test]
    fn a_full_disk_is_recognised_below_other_errors() {
        let error =
            object_store::Error::Generic { store: "x", source: Box::new(io::Error::from(io::ErrorKind::StorageFull)) };
        let error = Error::from_store("put a".to_owned(), &ObjectKey::parse("a").unwrap(), error);
        assert!(matches!(error, Error::Full { .. }), "{error:?}");
    }

    #[test]
    fn a_full_or_read_only_store_is_told_with_what_to_do() {
        let failure =
            |kind: io::ErrorKind| Failure::from(Error::from_chain("put a".to_owned(), io::Error::from(kind).into()));
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let failure = failure(full);
            assert_eq!((failure.code.number(), failure.code.retriable()), (7, false));
            assert!(failure.message.starts_with("no space left to put a: ") && failure.message.contains("make room"));
        }
        for denied in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem] {
            let failure = failure(denied);
            assert_eq!((failure.code.number(), failure.code.retriable()), (5, false));
            assert!(failure.message.contains("give elanus the right"), "{failure}");
        }
        assert!(failure(io::ErrorKind::TimedOut).code.retriable());
    }
}

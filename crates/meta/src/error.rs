//! Why the metadata store did not do something, by what the caller can do about it.

use elanus_types::{Code, Failure};

/// Result of everything in this crate.
pub type Result<T, E = MetaError> = std::result::Result<T, E>;

/// Why the metadata store did not do something.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// A rule of the catalog was broken by the request; nothing changed. The failure goes to the user as it is.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The caller lost its ownership (epoch, generation, lease) and must stop.
    #[error("{what} is owned by somebody else now")]
    Fenced {
        /// What was lost.
        what: &'static str,
    },
    /// What the request builds on was given up meanwhile; nothing was applied. It may be made without that.
    #[error("{what} was released meanwhile")]
    Released {
        /// What is gone.
        what: &'static str,
    },
    /// The store was away or busy; nothing was applied. The same call may succeed later.
    #[error("the metadata store did not answer")]
    Unavailable(#[source] sqlx::Error),
    /// The store's disk is full; nothing was applied. The same call may succeed when there is room.
    #[error("the disk of the metadata store is full: make room there, then repeat the request")]
    Full(#[source] sqlx::Error),
    /// The connection broke while committing: the transaction may have been applied. Repeat only what is idempotent.
    #[error("the metadata store did not say whether it committed")]
    CommitUnknown(#[source] sqlx::Error),
    /// A row that no version of Elanus writes, or a statement that does not fit the schema. A person must look.
    #[error("the metadata is damaged: {0}")]
    Corrupt(String),
    /// The store was written by a newer version of Elanus; nothing was touched.
    #[error("the metadata has schema version {found}, this program knows up to {known}: use the newer elanus")]
    Newer {
        /// Version in the store.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// The store is empty, or must be migrated before this program can use it; nothing was touched.
    #[error(
        "the metadata has schema version {found}, this program needs {known}: run elanus migrate --meta URL, with the URL \
         of this metadata"
    )]
    Older {
        /// Version in the store; 0: it is empty.
        found: i64,
        /// Version of this program.
        known: i64,
    },
    /// The URL names no store that this program has.
    #[error("{0}")]
    BadUrl(String),
}

impl From<sqlx::Error> for MetaError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::RowNotFound => Self::Corrupt(error.to_string()),
            other => crate::db::statement_failed(other),
        }
    }
}

impl From<MetaError> for Failure {
    fn from(error: MetaError) -> Self {
        let chain = chain(&error);
        match error {
            MetaError::Refused(failure) => failure,
            MetaError::Fenced { .. } | MetaError::Released { .. } | MetaError::Unavailable(_) => {
                Failure::new(Code::NotReady, chain)
            }
            MetaError::Full(_) => Failure::new(Code::DiskFull, chain),
            MetaError::CommitUnknown(_)
            | MetaError::Corrupt(_)
            | MetaError::Newer { .. }
            | MetaError::Older { .. }
            | MetaError::BadUrl(_) => Failure::internal(chain),
        }
    }
}

/// The error with its sources, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

//! What a caller is told when something could not be done.

use std::fmt;

/// Milvus error codes that Elanus answers with. The numbers are wire contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A service is starting or away; try again.
    NotReady,
    /// Something failed that the caller did not cause.
    Internal,
    /// A disk is full: somebody must make room; nothing was done.
    DiskFull,
    /// Too many requests; pymilvus waits and tries again.
    RateLimit,
    /// Writes are denied here, and will be.
    WriteDenied,
    /// A call or an option that Elanus does not serve.
    Unimplemented,
    /// No such collection.
    CollectionNotFound,
    /// The collection must be loaded before it is read.
    CollectionNotLoaded,
    /// The database has as many collections as it may have.
    CollectionLimit,
    /// The schema changed under the client.
    SchemaMismatch,
    /// No such partition.
    PartitionNotFound,
    /// The partition must be loaded before it is read.
    PartitionNotLoaded,
    /// No such resource group.
    ResourceGroupNotFound,
    /// No such index.
    IndexNotFound,
    /// An index with this name exists with other parameters.
    IndexDuplicate,
    /// No such database.
    DatabaseNotFound,
    /// There are as many databases as there may be.
    DatabaseLimit,
    /// A name that no database can have.
    DatabaseName,
    /// A value in the request is wrong.
    ParameterInvalid,
    /// A value that the request needs is absent.
    ParameterMissing,
    /// A value or a message is over its limit.
    ParameterTooLarge,
    /// A password that does not belong to the user.
    NotAuthenticated,
    /// Nobody may do this, whatever its rights.
    NotPermitted,
    /// A name that no group of privileges can have.
    GroupName,
    /// No such alias.
    AliasNotFound,
    /// The name belongs to an alias or, for an alias, to a collection.
    NameConflict,
    /// The alias is one of another collection.
    AliasDuplicate,
    /// A job failed or is not known.
    JobFailed,
    /// No such snapshot.
    SnapshotNotFound,
    /// The snapshot has live pins.
    SnapshotPinned,
    /// A refusal for which Milvus has no number: mostly a name that is taken, or a thing that is in use.
    Unexpected,
}

impl Code {
    /// The number in `Status.code`.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::NotReady => 1,
            Self::Internal => 5,
            Self::DiskFull => 7,
            Self::RateLimit => 8,
            Self::WriteDenied => 9,
            Self::Unimplemented => 10,
            Self::CollectionNotFound => 100,
            Self::CollectionNotLoaded => 101,
            Self::CollectionLimit => 102,
            Self::SchemaMismatch => 109,
            Self::PartitionNotFound => 200,
            Self::PartitionNotLoaded => 201,
            Self::ResourceGroupNotFound => 300,
            Self::IndexNotFound => 700,
            Self::IndexDuplicate => 702,
            Self::DatabaseNotFound => 800,
            Self::DatabaseLimit => 801,
            Self::DatabaseName => 802,
            Self::ParameterInvalid => 1100,
            Self::ParameterMissing => 1101,
            Self::ParameterTooLarge => 1102,
            Self::NotAuthenticated => 1400,
            Self::NotPermitted => 1401,
            Self::GroupName => 1402,
            Self::AliasNotFound => 1600,
            Self::NameConflict => 1601,
            Self::AliasDuplicate => 1602,
            Self::JobFailed => 2101,
            Self::SnapshotNotFound => 2600,
            Self::SnapshotPinned => 2601,
            Self::Unexpected => 65535,
        }
    }

    /// The code with this number; [`Code::Unexpected`] for one that Elanus does not use.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        ALL.into_iter().find(|code| code.number() == number).unwrap_or(Self::Unexpected)
    }

    /// The number in the deprecated `Status.error_code`, which old clients read.
    #[must_use]
    pub fn legacy_number(self) -> i32 {
        match self {
            Self::NotReady => 56,
            Self::CollectionNotFound => 4,
            Self::ParameterInvalid | Self::ParameterMissing | Self::ParameterTooLarge => 5,
            Self::IndexNotFound => 25,
            Self::RateLimit => 49,
            Self::WriteDenied => 50,
            Self::SchemaMismatch => 62,
            _ => 1,
        }
    }

    /// True when the same request may succeed later.
    #[must_use]
    pub fn retriable(self) -> bool {
        matches!(self, Self::NotReady | Self::RateLimit)
    }

    /// True when the request itself is wrong: `extra_info["is_input_error"]`.
    #[must_use]
    pub fn is_input(self) -> bool {
        matches!(
            self,
            Self::ParameterInvalid
                | Self::ParameterMissing
                | Self::ParameterTooLarge
                | Self::CollectionNotFound
                | Self::PartitionNotFound
                | Self::IndexNotFound
                | Self::DatabaseNotFound
                | Self::DatabaseName
                | Self::SchemaMismatch
        )
    }
}

const ALL: [Code; 31] = [
    Code::NotReady,
    Code::Internal,
    Code::DiskFull,
    Code::RateLimit,
    Code::WriteDenied,
    Code::Unimplemented,
    Code::CollectionNotFound,
    Code::CollectionNotLoaded,
    Code::CollectionLimit,
    Code::SchemaMismatch,
    Code::PartitionNotFound,
    Code::PartitionNotLoaded,
    Code::ResourceGroupNotFound,
    Code::IndexNotFound,
    Code::IndexDuplicate,
    Code::DatabaseNotFound,
    Code::DatabaseLimit,
    Code::DatabaseName,
    Code::ParameterInvalid,
    Code::ParameterMissing,
    Code::ParameterTooLarge,
    Code::NotAuthenticated,
    Code::NotPermitted,
    Code::GroupName,
    Code::AliasNotFound,
    Code::NameConflict,
    Code::AliasDuplicate,
    Code::JobFailed,
    Code::SnapshotNotFound,
    Code::SnapshotPinned,
    Code::Unexpected,
];

/// A refusal or an error as the user sees it: the Milvus code and a text that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// What kind of failure, as Milvus numbers it.
    pub code: Code,
    /// What was attempted, why it failed, what to do. Lower case, no full stop, no secrets.
    pub message: String,
}

impl Failure {
    /// A failure with its text.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// 1100: a value in the request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::ParameterInvalid, message)
    }

    /// 1101: a value is absent.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(Code::ParameterMissing, message)
    }

    /// 5: something failed that the caller did not cause.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The same failure with an outer context in front, joined as Milvus does.
    #[must_use]
    pub fn context(self, outer: impl fmt::Display) -> Self {
        Self { code: self.code, message: format!("{outer}: {}", self.message) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_number() {
        for code in ALL {
            assert_eq!(Code::from_number(code.number()), code);
        }
    }
}

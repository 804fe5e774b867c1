//! Why a service did not start or did not go on, and the exit code of it.

use elanus_meta::MetaError;
use elanus_objects::{RootError, ownership};
use elanus_runtime::grpc::BindError;

/// Why the process did not start or did not go on, by what has to change.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The command line.
    Usage(anyhow::Error),
    /// The environment: an address, a directory, a version. Nothing was touched.
    Refused(anyhow::Error),
    /// A person must look.
    Failed(anyhow::Error),
}

impl StartError {
    /// The numbers that `--help` promises.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
        }
    }

    pub(super) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Usage(error) | Self::Refused(error) | Self::Failed(error) => error,
        }
    }

    pub(super) fn error(&self) -> &anyhow::Error {
        match self {
            Self::Usage(error) | Self::Refused(error) | Self::Failed(error) => error,
        }
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<RootError> for StartError {
    fn from(error: RootError) -> Self {
        match error {
            RootError::Io { .. } => Self::Failed(error.into()),
            _ => Self::Refused(error.into()),
        }
    }
}

impl From<ownership::StartError> for StartError {
    fn from(error: ownership::StartError) -> Self {
        match error {
            ownership::StartError::Refused { .. } => Self::Refused(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<MetaError> for StartError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Newer { .. } | MetaError::Older { .. } | MetaError::Refused(_) => Self::Refused(error.into()),
            MetaError::BadUrl(_) => Self::Usage(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_change_decides_the_exit_code() {
        let path = || "/d".into();
        assert_eq!(StartError::from(RootError::InUse { path: path() }).exit_code(), 3);
        assert_eq!(StartError::from(RootError::Foreign { path: path() }).exit_code(), 3);
        assert_eq!(StartError::from(MetaError::Newer { found: 9, known: 1 }).exit_code(), 3);
        assert_eq!(StartError::from(MetaError::Older { found: 1, known: 9 }).exit_code(), 3);
        assert_eq!(StartError::from(MetaError::BadUrl(String::new())).exit_code(), 2);
        assert_eq!(StartError::from(MetaError::Corrupt(String::new())).exit_code(), 1);
    }
}

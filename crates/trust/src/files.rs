//! Files that were named by flags, and what is wrong with them.

use std::{fmt, fs, path::PathBuf};

/// Longest file that is read, in bytes: a bundle of all public authorities has a fifth of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file, and the flag that named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// With dashes, for texts: `--tls-cert`.
    pub flag: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

/// What is wrong with a file, or with a value. Begins with the flag; never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {why}")]
pub struct TrustError {
    /// With dashes.
    pub flag: &'static str,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl Source {
    /// A file that this flag named.
    #[must_use]
    pub fn new(flag: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { flag, path: path.into() }
    }

    pub(crate) fn wrong(&self, why: impl fmt::Display) -> TrustError {
        TrustError { flag: self.flag, why: format!("{}: {why}", self.path.display()) }
    }

    pub(crate) fn read(&self) -> Result<Vec<u8>, TrustError> {
        let size = fs::metadata(&self.path).map_err(|error| self.wrong(format!("cannot be read: {error}")))?.len();
        if size > FILE_BYTES_MAX {
            return Err(self.wrong("is longer than 1 MiB; this is no such file"));
        }
        fs::read(&self.path).map_err(|error| self.wrong(format!("cannot be read: {error}")))
    }
}

//! What can go wrong with a snapshot's objects, by what the caller can do about it.

use crate::FORMAT_VERSION;
use elanus_types::{FileSetId, SegmentId};

/// Why an object of a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A newer Elanus wrote it: read it with that.
    #[error("{what} has format version {found}, and this version of Elanus reads up to {FORMAT_VERSION}")]
    TooNew {
        /// What was read.
        what: &'static str,
        /// Its version.
        found: u32,
    },
    /// The bytes are not what they should be: nothing but another copy of them can help.
    #[error("cannot read {what}")]
    Damaged {
        /// What they should be.
        what: &'static str,
        /// What the reader says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object is not the one that the metadata names.
    #[error("{key} has {found}, and its snapshot says {wanted}")]
    Mismatch {
        /// The object.
        key: String,
        /// Its size or checksum.
        found: String,
        /// The size or checksum that it was written with.
        wanted: String,
    },
    /// The manifests contradict each other: one is missing, or there twice, or in the wrong place.
    #[error("file set {file_set_id} of segment {segment_id} is {what}")]
    Fold {
        /// The segment.
        segment_id: SegmentId,
        /// The file set.
        file_set_id: FileSetId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The values contradict themselves: a bug of the writer.
    #[error("cannot write {what}")]
    Write {
        /// What they should become.
        what: &'static str,
        /// What the writer says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn damaged(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Damaged { what, source: source.into() }
    }

    pub(crate) fn write(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Write { what, source: source.into() }
    }
}

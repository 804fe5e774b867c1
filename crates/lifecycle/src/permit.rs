//! The proof that an object may be deleted.
//!
//! An object store takes permits, never keys. Only [`FileSet::permits`](crate::FileSet::permits) gives them, and only
//! for a file set that is `Deleting`. There must never be another way to make one.

use elanus_types::{FileSetId, ObjectKey};

/// Proof that the file set of one object was claimed for deletion. Used up by the deletion, therefore not `Clone`.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct DeletePermit {
    key: ObjectKey,
    file_set: FileSetId,
}

impl DeletePermit {
    pub(crate) fn new(key: ObjectKey, file_set: FileSetId) -> Self {
        Self { key, file_set }
    }

    /// The object that may be deleted.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The file set that the object belongs to.
    #[must_use]
    pub fn file_set(&self) -> FileSetId {
        self.file_set
    }
}

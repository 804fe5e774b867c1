//! The proof that an object may be deleted.
//!
//! An object store takes permits, never keys. A permit is made from the row of a file set that was claimed, with the keys
//! of that row, and in no other way: nothing outside of this file can make one.
//!
//! ```compile_fail
//! use elanus_types::{FileSetId, ObjectKey};
//! let key = ObjectKey::parse("a/b").unwrap();
//! let permit = elanus_lifecycle::DeletePermit { key, file_set: FileSetId(1) };
//! ```
//!
//! ```compile_fail
//! use elanus_types::{FileSetId, ObjectKey};
//! let permit = elanus_lifecycle::DeletePermit::new(ObjectKey::parse("a/b").unwrap(), FileSetId(1));
//! ```
//!
//! A permit is used up by the deletion:
//!
//! ```compile_fail
//! fn twice(permit: elanus_lifecycle::DeletePermit) -> [elanus_lifecycle::DeletePermit; 2] {
//!     [permit.clone(), permit]
//! }
//! ```
//!
//! Stepping a file set to `Deleting` gives none:
//!
//! ```compile_fail
//! use elanus_types::{FileSetId, ObjectKey};
//! fn mine(claimed: &elanus_lifecycle::FileSet, key: ObjectKey) {
//!     let permits = claimed.permits(FileSetId(1), vec![key]);
//! }
//! ```
//!
//! [`ClaimedRow::read`] is for the claim in `elanus-meta` alone; the lints of the workspace refuse it everywhere else.

use crate::CorruptRow;
use crate::file_set::{Columns, FileSet, State};
use elanus_types::{FileSetId, ObjectKey};

/// Proof that the file set of one object was claimed for deletion. Used up by the deletion, therefore not `Clone`.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct DeletePermit {
    key: ObjectKey,
    file_set: FileSetId,
}

impl DeletePermit {
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

/// The row of a claimed file set with its keys, as they stand in the metadata after the claim was committed.
#[derive(Debug)]
#[must_use]
pub struct ClaimedRow {
    id: FileSetId,
    keys: Vec<ObjectKey>,
}

impl ClaimedRow {
    /// Takes a row; `None` unless it is `Deleting` (FS-1).
    ///
    /// # Errors
    /// When the row is corrupt: then nothing of it is deleted.
    pub fn read(id: FileSetId, columns: &Columns, keys: Vec<ObjectKey>) -> Result<Option<Self>, CorruptRow> {
        let file_set = FileSet::from_columns(columns)?;
        Ok((*file_set.state() == State::Deleting).then_some(Self { id, keys }))
    }

    /// One permit an object.
    pub fn permits(self) -> impl Iterator<Item = DeletePermit> {
        let file_set = self.id;
        self.keys.into_iter().map(move |key| DeletePermit { key, file_set })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "what it takes is tested here")]
    fn row(state: &str) -> Result<Option<ClaimedRow>, CorruptRow> {
        let columns = Columns { state: state.to_owned(), claimed_ever: true, ..Columns::default() };
        ClaimedRow::read(FileSetId(7), &columns, vec![ObjectKey::parse("a/b").unwrap()])
    }

    #[test]
    fn fs_1_permits_name_the_keys_and_the_file_set_of_a_row_that_is_deleting() {
        let permits: Vec<DeletePermit> = row("deleting").unwrap().unwrap().permits().collect();
        assert_eq!(permits.len(), 1);
        assert_eq!((permits[0].key().as_str(), permits[0].file_set()), ("a/b", FileSetId(7)));
        assert!(row("gone").unwrap().is_none());
        assert!(row("live").is_err());
    }
}

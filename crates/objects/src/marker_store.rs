//! The few objects that change: what lies below `_elanus/` of a root path, read and written with conditions.
//!
//! Everything else in a store is created once and never changed ([`crate::ObjectStore`]). Nothing of a collection may ever
//! be kept here. The promises are numbered in [`suite`], where they are tested.
//!
//! An etag names one content of one object. It is valid again when the same bytes are written again, so whoever depends on
//! "nobody wrote since" puts a nonce into every write.

mod local;
mod memory;
#[doc(hidden)]
pub mod suite;

pub use local::LocalMarkers;
pub use memory::MemoryMarkers;

use crate::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_types::ObjectKey;
use std::fmt;

/// The folder of everything that is about the root path itself and not about a collection.
pub const FOLDER: &str = "_elanus";
/// The only folder in which something may be removed.
pub const PROBE_FOLDER: &str = "_elanus/probe";
/// Names that one listing gives at most.
pub const LIST_MAX: usize = 1_000;

/// What the store calls one content of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Etag(pub String);

/// An object as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// All of it.
    pub bytes: Bytes,
    /// Of these bytes.
    pub etag: Etag,
    /// The store's clock at this answer, milliseconds since 1970.
    pub store_ms: i64,
}

/// A write that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Of the bytes that were written.
    pub etag: Etag,
    /// The store's clock at this answer, milliseconds since 1970.
    pub store_ms: i64,
}

/// Small objects below `_elanus/` with conditional writes. What a write answered is durable.
///
/// A call that returned [`Error::Transient`] may have been done. Then a repeat of `create` is `Exists` and a repeat of
/// `replace` is `Conflict`: read, and look for your own nonce.
#[async_trait]
pub trait MarkerStore: Send + Sync + fmt::Debug {
    /// The object, or `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Denied`] without the right to get, [`Error::Transient`] when the store is away.
    async fn read(&self, key: &ObjectKey) -> Result<Option<Versioned>>;

    /// Creates an object (S3: `If-None-Match: *`). A repeat with the same bytes is [`Error::Exists`] too.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one, which stays; [`Error::Denied`] without the right to put.
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Written>;

    /// Replaces the content that `expected` names (S3: `If-Match`).
    ///
    /// # Errors
    /// [`Error::Conflict`] when the object has another content or is absent; nothing is changed then.
    async fn replace(&self, key: &ObjectKey, bytes: Bytes, expected: &Etag) -> Result<Written>;

    /// Removes an object below [`PROBE_FOLDER`] (S3: `If-Match`, where the store has it for deletes). An absent one is
    /// success.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it has another content, [`Error::Refused`] for any other key, before the store is asked;
    /// [`Error::Denied`] without the right to delete.
    async fn remove(&self, key: &ObjectKey, expected: &Etag) -> Result<()>;

    /// The names directly in a folder, sorted, [`LIST_MAX`] at most; those of folders end in `/`. A folder that is absent is
    /// empty.
    ///
    /// `folder` is relative to the root path, without a slash at either end: `""` is the root itself, `"a/b"` is below it,
    /// `"../_elanus"` and `"../../_elanus"` are beside the folders above it. Above the top of the store everything is
    /// empty.
    ///
    /// # Errors
    /// [`Error::Denied`] without the right to list there, [`Error::Refused`] for a path that is not of this form.
    async fn list(&self, folder: &str) -> Result<Vec<String>>;
}

/// Checks the form of a folder that is to be listed: how many levels above the root it starts, and the path from there.
///
/// # Errors
/// [`Error::Refused`].
pub fn split_folder(folder: &str) -> Result<(usize, &str)> {
    let (mut above, mut rest) = (0, folder);
    while let Some(next) = rest.strip_prefix("../") {
        (above, rest) = (above + 1, next);
    }
    if rest == ".." {
        (above, rest) = (above + 1, "");
    }
    // Folders of others may have any name but these.
    let parts_are_names = rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if parts_are_names && !folder.ends_with('/') {
        return Ok((above, rest));
    }
    Err(Error::refused(format!("list {folder:?}"), "it is not a folder relative to the root path"))
}

/// Refuses to remove anything but what a probe made.
///
/// # Errors
/// [`Error::Refused`].
pub fn only_probes(key: &ObjectKey) -> Result<()> {
    if key.as_str().strip_prefix(PROBE_FOLDER).is_some_and(|rest| rest.starts_with('/')) {
        return Ok(());
    }
    Err(Error::refused(format!("remove {key}"), format!("only objects below {PROBE_FOLDER}/ may be removed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_relative_to_the_root() {
        for (folder, expected) in [
            ("", (0, "")),
            ("a", (0, "a")),
            ("a b/ü", (0, "a b/ü")),
            ("..", (1, "")),
            ("../_elanus", (1, "_elanus")),
            ("../../a/b", (2, "a/b")),
        ] {
            assert_eq!(split_folder(folder).unwrap(), expected, "{folder}");
        }
        for bad in ["/", "/a", "a/", "a//b", "a/../b", "../a/..", ".", "../", "a/."] {
            assert!(matches!(split_folder(bad), Err(Error::Refused { .. })), "{bad}");
        }
    }

    #[test]
    fn only_what_a_probe_made_is_removed() {
        only_probes(&ObjectKey::parse("_elanus/probe/x").unwrap()).unwrap();
        for kept in ["_elanus/owner.json", "_elanus/probe", "_elanus/probes/x", "a/_elanus/probe/x"] {
            only_probes(&ObjectKey::parse(kept).unwrap()).unwrap_err();
        }
    }
}

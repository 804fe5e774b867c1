//! The contract of every object store. Its promises are numbered in [`crate::suite`], where they are tested.
//!
//! One promise no test can show: **what `put` and `copy` answered survives a power failure**. File and directory
//! entries are on stable storage before the answer, also when the answer is "it was there already".

use crate::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_types::{Checksum, ObjectKey};
use futures::stream::BoxStream;
use std::{fmt, ops::Range};

/// What a store says about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub size: u64,
    /// When its bytes were written, by the store's clock. Milliseconds since 1970. A copy in a local directory is a
    /// further name of the same bytes and has their time.
    pub modified_ms: i64,
}

/// What the metadata says about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Length in bytes.
    pub size: u64,
    /// CRC-64/NVME of all bytes.
    pub checksum: Checksum,
}

/// What was found instead of [`Expected`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Length in bytes.
    pub size: u64,
    /// CRC-64/NVME of all bytes; `None` when the length was wrong already.
    pub checksum: Option<Checksum>,
}

/// CRC-64/NVME of these bytes.
#[must_use]
pub fn checksum_of(bytes: &[u8]) -> Checksum {
    let mut digest = crc64fast_nvme::Digest::new();
    digest.write(bytes);
    Checksum(digest.sum64())
}

impl Expected {
    /// What the metadata should say about an object of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { size: bytes.len() as u64, checksum: checksum_of(bytes) }
    }

    /// Checks the bytes that were read from `key`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when they are not the expected ones.
    pub fn verify(self, key: &ObjectKey, bytes: &[u8]) -> Result<()> {
        self.verify_size(key, bytes.len() as u64)?;
        let checksum = checksum_of(bytes);
        if checksum == self.checksum {
            return Ok(());
        }
        Err(Error::Corrupt {
            key: key.clone(),
            expected: self,
            found: Found { size: self.size, checksum: Some(checksum) },
        })
    }

    pub(crate) fn verify_size(self, key: &ObjectKey, size: u64) -> Result<()> {
        if size == self.size {
            return Ok(());
        }
        Err(Error::Corrupt { key: key.clone(), expected: self, found: Found { size, checksum: None } })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes with CRC-64 {}", self.size, self.checksum)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.checksum {
            Some(checksum) => write!(f, "{} bytes with CRC-64 {checksum}", self.size),
            None => write!(f, "{} bytes", self.size),
        }
    }
}

/// Unfinished writes that one call names at most.
pub const STALE_UPLOADS_MAX: usize = 1_000;

/// A write that was begun and not ended. It is no object: no call shows it, but it takes space. Made by
/// [`ObjectStore::stale_uploads`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleUpload {
    /// The object that it would have become.
    pub key: ObjectKey,
    /// When it was begun, or last written to, by the store's clock. Milliseconds since 1970.
    pub begun_ms: i64,
    /// What the store calls it.
    pub(crate) id: String,
}

/// A store of immutable objects. Every call may be repeated after any error: a repeat of what was done is success.
///
/// Dropping the future of a call does not stop it: it may still take effect.
///
/// No method has a default: a store around another one would forget to pass it on.
#[async_trait]
pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// Creates an object, durably. An object with the same bytes under this key is success (a repeat).
    ///
    /// # Errors
    /// [`Error::Exists`] when the key has other bytes; these stay.
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo>;

    /// All bytes of an object.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    async fn get(&self, key: &ObjectKey) -> Result<Bytes>;

    /// Exactly the bytes of this range; an empty range is answered without a look at the object.
    ///
    /// # Errors
    /// [`Error::NotFound`], and [`Error::Refused`] when the object ends before the range does.
    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes>;

    /// Size and time of an object.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo>;

    /// Creates `to` with the bytes of `from`, durably, without moving them through this process. An object of the
    /// expected size under `to` is success (a repeat), also when `from` is gone.
    ///
    /// Stores that can check the checksum at no cost do; a local directory gives the same bytes a second name.
    ///
    /// # Errors
    /// [`Error::NotFound`] for `from`, [`Error::Corrupt`] when `from` has another size, [`Error::Exists`] when `to` has.
    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo>;

    /// CRC-64/NVME of an object, in bounded memory.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum>;

    /// The objects in this folder and the folders below it, in no order; of the whole store for `None`. What is created
    /// or deleted meanwhile may be in it or not. After an error nothing follows and the listing is incomplete.
    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>>;

    /// The objects in this folder and the folders below it whose keys come after `after`, in the order of their keys, at
    /// most `limit` of them. Fewer are the rest. What is created or deleted meanwhile may be in it or not.
    ///
    /// One request where a store lists in order, and memory for one page in any case.
    ///
    /// # Errors
    /// When the listing fails: then nothing is known about any object.
    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>>;

    /// Deletes the objects of these permits; an absent object is success. All are attempted.
    ///
    /// # Errors
    /// [`Error::Undeleted`] names the objects that may still be there; all others are deleted. After any other error nothing
    /// is known. The file sets stay `Deleting` and are reclaimed.
    async fn delete(&self, permits: Vec<DeletePermit>) -> Result<()>;

    /// Writes that were begun in this folder before this time and are not ended: those of a process that died, or of one
    /// that is very slow. [`STALE_UPLOADS_MAX`] at most; when these are aborted, the next call gives the next ones.
    ///
    /// None in a store whose writes are done or not begun.
    ///
    /// # Errors
    /// When the store cannot be listed.
    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>>;

    /// Forgets an unfinished write and gives back its space; an absent one is success. No object is touched. If it was still
    /// being written, that write fails and its object is not created: choose the time of [`ObjectStore::stale_uploads`] so
    /// that this does not happen.
    ///
    /// # Errors
    /// When the store does not do it; the upload stays.
    async fn abort_upload(&self, upload: StaleUpload) -> Result<()>;
}

//! Snapshots as they lie in the bucket: metadata object, manifests, every checksum compared. Needs no metadata store.

use elanus_manifest::{ManifestEntry, SnapshotMetadata, decode_manifest, decode_metadata, fold, verify};
use elanus_objects::{Error as ObjectError, ObjectStore, checksum_of};
use elanus_types::{Checksum, Failure, ObjectKey};
use futures::{StreamExt as _, TryStreamExt as _, stream};

const READS_AT_ONCE: usize = 8;

/// A snapshot that was read from the bucket.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Of the metadata object.
    pub(crate) key: ObjectKey,
    pub(crate) size: u64,
    pub(crate) checksum: Checksum,
    pub(crate) metadata: SnapshotMetadata,
}

/// Why a snapshot cannot be read: the store is away, or what is there is wrong.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It may be read later.
    Away(Failure),
    /// An object is absent, damaged, or of a newer version.
    Wrong(String),
}

impl From<ObjectError> for Unreadable {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::NotFound { .. } => Self::Wrong(error.to_string()),
            _ => Self::Away(error.into()),
        }
    }
}

impl From<elanus_manifest::Error> for Unreadable {
    fn from(error: elanus_manifest::Error) -> Self {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        Self::Wrong(format!("{error}{source}"))
    }
}

/// Reads the metadata object of a snapshot.
pub(crate) async fn metadata(objects: &dyn ObjectStore, key: &ObjectKey) -> Result<Stored, Unreadable> {
    let bytes = objects.get(key).await?;
    let metadata = decode_metadata(&bytes).map_err(|error| match Unreadable::from(error) {
        Unreadable::Wrong(why) => Unreadable::Wrong(format!("{key}: {why}")),
        away => away,
    })?;
    Ok(Stored { key: key.clone(), size: bytes.len() as u64, checksum: checksum_of(&bytes), metadata })
}

/// The memberships of a snapshot, in the order of segment and file set, from all of its manifests.
pub(crate) async fn entries(objects: &dyn ObjectStore, stored: &Stored) -> Result<Vec<ManifestEntry>, Unreadable> {
    let manifests: Vec<Vec<ManifestEntry>> = stream::iter(stored.metadata.manifests.clone())
        .map(|manifest| async move {
            let bytes = objects.get(&manifest.key).await?;
            verify(&bytes, &manifest)?;
            Ok::<_, Unreadable>(decode_manifest(&bytes)?)
        })
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(fold(manifests.into_iter())?)
}

//! The one JSON document of a snapshot. It is written after everything that it names, so whoever finds it has a whole snapshot.

use crate::entry::words;
use crate::{Error, FORMAT_VERSION, FileKind, ManifestEntry, Status};
use elanus_types::schema::CollectionDefinition;
use elanus_types::{Checksum, CollectionId, ObjectKey, SnapshotId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

const WHAT: &str = "snapshot metadata";

/// What a snapshot is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotMetadata {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The snapshot itself.
    pub snapshot: SnapshotInfo,
    /// The collection as it was, but for its rows.
    pub definition: CollectionDefinition,
    /// What lists its files, in the order in which they are folded.
    pub manifests: Vec<ManifestRef>,
    /// Sums over the folded manifests.
    pub totals: Totals,
}

/// A snapshot's names and times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// What the user called it.
    pub name: String,
    /// Free text.
    pub description: String,
    /// The collection that it is of.
    pub collection_id: CollectionId,
    /// That collection's name at the time.
    pub collection_name: String,
    /// The name of that collection's database.
    pub database_name: String,
    /// Other names that the collection had when this was written. No facts: a restore gives none of them, a rebuild of lost
    /// metadata does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Settings of the database when this was written, for a rebuild as well.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub database_properties: BTreeMap<String, String>,
    /// Everything added until then and not removed until then is in the snapshot.
    pub create_ts: Timestamp,
    /// The same for people: [`created_at`] of `create_ts`.
    pub created_at: String,
    /// Nothing is written before the snapshot is whole.
    pub state: SnapshotState,
}

words! {
    /// The state of a snapshot that has metadata.
    SnapshotState {
        /// All of it is there.
        Committed = "committed",
    }
}

/// Where a manifest is, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRef {
    /// Its object.
    pub key: ObjectKey,
    /// In bytes.
    pub size: u64,
    /// Of all its bytes.
    pub checksum: Checksum,
    /// File sets that came.
    pub entries_added: u64,
    /// File sets that went.
    pub entries_removed: u64,
    /// Files of those that came.
    pub files: u64,
    /// Rows to insert of those that came.
    pub rows: u64,
    /// Sizes of the files of those that came.
    pub bytes: u64,
}

/// How much a snapshot has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Rows in files to insert, also those that a delete hides.
    pub rows: u64,
    /// Sizes of all files.
    pub bytes: u64,
    /// Files of all kinds.
    pub files: u64,
    /// Segments.
    pub segments: u64,
}

impl Totals {
    /// Sums over entries that are there; what was removed is left out.
    #[must_use]
    pub fn of(entries: &[ManifestEntry]) -> Self {
        let mut totals = Self::default();
        let mut segments = BTreeSet::new();
        for entry in entries.iter().filter(|entry| entry.status == Status::Added) {
            segments.insert(entry.segment_id);
            if entry.kind == FileKind::Insert {
                totals.rows = totals.rows.saturating_add(entry.rows);
            }
            totals.files = totals.files.saturating_add(entry.files.len() as u64);
            totals.bytes = entry.files.iter().fold(totals.bytes, |sum, file| sum.saturating_add(file.size));
        }
        totals.segments = segments.len() as u64;
        totals
    }

    /// With what came and without what went, of which segments are counted apart: what comes may be in a segment that is
    /// there. `None` when more would go than there is.
    pub(crate) fn after(&self, added: &Self, removed: &Self, segments: i64) -> Option<Self> {
        let sum = |before: u64, added: u64, removed: u64| before.checked_add(added)?.checked_sub(removed);
        Some(Self {
            rows: sum(self.rows, added.rows, removed.rows)?,
            bytes: sum(self.bytes, added.bytes, removed.bytes)?,
            files: sum(self.files, added.files, removed.files)?,
            segments: self.segments.checked_add_signed(segments)?,
        })
    }
}

impl ManifestRef {
    /// What the metadata says of a manifest with these bytes and these entries.
    #[must_use]
    pub fn describe(key: ObjectKey, bytes: &[u8], entries: &[ManifestEntry]) -> Self {
        let Totals { rows, bytes: files_bytes, files, .. } = Totals::of(entries);
        let added = entries.iter().filter(|entry| entry.status == Status::Added).count();
        Self {
            key,
            size: bytes.len() as u64,
            checksum: checksum(bytes),
            entries_added: added as u64,
            entries_removed: (entries.len() - added) as u64,
            files,
            rows,
            bytes: files_bytes,
        }
    }
}

fn checksum(bytes: &[u8]) -> Checksum {
    let mut digest = crc64fast_nvme::Digest::new();
    digest.write(bytes);
    Checksum(digest.sum64())
}

/// That these are the bytes that the metadata names.
///
/// # Errors
/// When their size or checksum is another.
pub fn verify(bytes: &[u8], manifest: &ManifestRef) -> Result<(), Error> {
    let mismatch = |found, wanted| Err(Error::Mismatch { key: manifest.key.to_string(), found, wanted });
    if bytes.len() as u64 != manifest.size {
        return mismatch(format!("{} bytes", bytes.len()), format!("{} bytes", manifest.size));
    }
    let found = checksum(bytes);
    if found != manifest.checksum {
        return mismatch(format!("checksum {found}"), format!("checksum {}", manifest.checksum));
    }
    Ok(())
}

/// The physical part of a timestamp in the form of RFC 3339, UTC, with milliseconds.
#[must_use]
pub fn created_at(ts: Timestamp) -> String {
    let since = Duration::from_millis(u64::try_from(ts.ms()).unwrap_or(0));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// Writes the metadata of a snapshot, indented for people.
///
/// # Errors
/// When it is not of this format version, or its two times are not the same.
pub fn encode_metadata(metadata: &SnapshotMetadata) -> Result<Vec<u8>, Error> {
    if metadata.format_version != FORMAT_VERSION {
        return Err(Error::write(
            WHAT,
            format!("format version {} instead of {FORMAT_VERSION}", metadata.format_version),
        ));
    }
    if metadata.snapshot.created_at != created_at(metadata.snapshot.create_ts) {
        return Err(Error::write(WHAT, "created_at is not the time of create_ts"));
    }
    serde_json::to_vec_pretty(metadata).map_err(|e| Error::write(WHAT, e))
}

/// Reads the metadata of a snapshot. Fields that this version does not know are ignored.
///
/// # Errors
/// When the bytes are no such document, or one of a newer format.
pub fn decode_metadata(bytes: &[u8]) -> Result<SnapshotMetadata, Error> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    // By itself first: what a newer format has may not be readable at all.
    let version: Version = serde_json::from_slice(bytes).map_err(|e| Error::damaged(WHAT, e))?;
    if version.format_version > FORMAT_VERSION {
        return Err(Error::TooNew { what: WHAT, found: version.format_version });
    }
    serde_json::from_slice(bytes).map_err(|e| Error::damaged(WHAT, e))
}

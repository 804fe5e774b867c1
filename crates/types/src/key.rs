//! The name of an object in the store.

use crate::{CollectionId, FieldId, FileSetId, PartitionId, SegmentId, SnapshotId};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Longest key that every store takes (S3: 1,024 bytes with the root path; the rest is left for the root).
const LEN_MAX: usize = 768;

/// A key relative to the root path, normalised once: non-empty segments of `[A-Za-z0-9._-]`, joined by `/`,
/// none of them `.` or `..`, never with a leading or trailing slash.
///
/// There is no way to join two keys, so a base path cannot be joined twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ObjectKey(String);

/// Why a text is no object key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an object key: {why}")]
pub struct InvalidKey {
    text: String,
    why: &'static str,
}

impl ObjectKey {
    /// Checks and takes a key.
    ///
    /// # Errors
    /// When the text is not in the one normal form.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let refuse = |why| Err(InvalidKey { text: text.chars().take(128).collect(), why });
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > LEN_MAX {
            return refuse("it is too long");
        }
        for part in text.split('/') {
            if part.is_empty() || part == "." || part == ".." {
                return refuse("a path segment is empty, '.' or '..'");
            }
            if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
                return refuse("it has a character other than letters, digits, '.', '_' and '-'");
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as text, relative to the root path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ObjectKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.0
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

/// Makes the keys of one cluster. The only place that knows the layout of the bucket (docs/architecture.md, object layout).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpace {
    cluster: String,
}

/// The last part of a key: never given twice, ordered by time, not to be guessed.
#[derive(Clone, Copy, Debug)]
pub struct FileName {
    /// The file set that the object belongs to.
    pub file_set: FileSetId,
    /// Position of the object in its file set.
    pub ordinal: usize,
    /// Random bits: metadata restored from a backup may give an id again, not a key.
    pub random: u32,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}-{:08x}", self.file_set.0, self.ordinal, self.random)
    }
}

impl FileName {
    /// The file name of a key of the layout, whatever its ending and whatever stands before it.
    #[must_use]
    pub fn of(key: &ObjectKey) -> Option<Self> {
        let name = key.as_str().rsplit('/').next()?;
        let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
        let mut parts = stem.rsplitn(4, '-');
        let (random, ordinal, file_set) = (parts.next()?, parts.next()?, parts.next()?);
        if random.len() != 8 || file_set.len() != 16 {
            return None;
        }
        Some(Self {
            file_set: FileSetId(i64::from_str_radix(file_set, 16).ok().filter(|id| *id > 0)?),
            ordinal: ordinal.parse().ok()?,
            random: u32::from_str_radix(random, 16).ok()?,
        })
    }
}

/// Of which field an object is an index, in whichever cluster's folder it is; `None` for any other object.
#[must_use]
pub fn indexed_field(key: &ObjectKey) -> Option<FieldId> {
    let mut parts = key.as_str().rsplit('/');
    let (_file, field) = (parts.next()?, parts.next()?);
    let is_index = parts.nth(3) == Some("index_files");
    field.parse().ok().map(FieldId).filter(|_| is_index)
}

/// Where a file of a segment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentPlace {
    /// Collection.
    pub collection: CollectionId,
    /// Partition, or [`PartitionId::ALL`] for deletes of every partition.
    pub partition: PartitionId,
    /// Segment.
    pub segment: SegmentId,
}

impl KeySpace {
    /// Keys of the cluster with this id (a UUID).
    ///
    /// # Errors
    /// When the id cannot be part of a key.
    pub fn new(cluster: &str) -> Result<Self, InvalidKey> {
        ObjectKey::parse(cluster)?;
        Ok(Self { cluster: cluster.to_owned() })
    }

    /// Id of the cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The folder that holds everything of this cluster but the owner's marker.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.cluster
    }

    /// True for a key of this cluster.
    #[must_use]
    pub fn owns(&self, key: &ObjectKey) -> bool {
        key.as_str().strip_prefix(&self.cluster).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Rows of a segment: one column group of one batch.
    #[must_use]
    pub fn insert_log(&self, place: SegmentPlace, group: usize, file: FileName) -> ObjectKey {
        let SegmentPlace { collection, partition, segment } = place;
        self.key(format_args!("insert_log/{collection}/{partition}/{segment}/{group}/{file}.parquet"))
    }

    /// Deletes of a segment.
    #[must_use]
    pub fn delta_log(&self, place: SegmentPlace, file: FileName) -> ObjectKey {
        let SegmentPlace { collection, partition, segment } = place;
        if partition == PartitionId::ALL {
            return self.key(format_args!("delta_log/{collection}/all/{segment}/{file}.parquet"));
        }
        self.key(format_args!("delta_log/{collection}/{partition}/{segment}/{file}.parquet"))
    }

    /// An index of one field of one file of rows. The field is part of the key: whoever knows the object knows what it is of.
    #[must_use]
    pub fn index_file(&self, place: SegmentPlace, field: FieldId, file: FileName) -> ObjectKey {
        let SegmentPlace { collection, partition, segment } = place;
        self.key(format_args!("index_files/{collection}/{partition}/{segment}/{field}/{file}.vamana"))
    }

    /// The self-describing root of a snapshot.
    #[must_use]
    pub fn snapshot_metadata(&self, collection: CollectionId, snapshot: SnapshotId, file: FileName) -> ObjectKey {
        self.key(format_args!("snapshots/{collection}/metadata/{snapshot}-{file}.json"))
    }

    /// Of which snapshot an object is the self-describing root; `None` for any other object.
    #[must_use]
    pub fn snapshot_of(&self, key: &ObjectKey) -> Option<(CollectionId, SnapshotId)> {
        let rest = key.as_str().strip_prefix(&self.cluster)?.strip_prefix("/snapshots/")?;
        let (collection, rest) = rest.split_once("/metadata/")?;
        let (snapshot, file) = rest.split_once('-')?;
        let is_root = !file.contains('/') && file.ends_with(".json");
        let ids = (CollectionId(collection.parse().ok()?), SnapshotId(snapshot.parse().ok()?));
        is_root.then_some(ids)
    }

    /// The greatest id of the layout in a key: of a file set, or of what it belongs to.
    #[must_use]
    pub fn greatest_id(&self, key: &ObjectKey) -> i64 {
        let below = key.as_str().strip_prefix(&self.cluster).unwrap_or(key.as_str());
        let parts = below.split(['/', '-']).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
        let numbers = parts.filter_map(|part| part.parse().ok());
        // The file's own id has leading zeros, and is no decimal number.
        let owners = numbers.filter(|id: &i64| *id < i64::MAX).max().unwrap_or(0);
        FileName::of(key).map_or(0, |file| file.file_set.0).max(owners)
    }

    /// A manifest, possibly shared by several snapshots.
    #[must_use]
    pub fn manifest(&self, collection: CollectionId, file: FileName) -> ObjectKey {
        self.key(format_args!("snapshots/{collection}/manifests/{file}.avro"))
    }

    fn key(&self, rest: fmt::Arguments<'_>) -> ObjectKey {
        ObjectKey(format!("{}/{rest}", self.cluster))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_normal_form_is_a_key() {
        for good in ["a", "a/b", "_elanus/owner.json", "0-1/insert_log/1/2/3/0/x.parquet"] {
            assert_eq!(ObjectKey::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "/a", "a/", "a//b", "a/../b", ".", "..", "a b", "a\\b", "ä", "a\0"] {
            assert!(ObjectKey::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ObjectKey::parse(&"a".repeat(LEN_MAX + 1)).is_err());
    }

    #[test]
    fn made_keys_are_in_the_normal_form_and_owned() {
        let keys = KeySpace::new("0190-uuid").unwrap();
        let file = FileName { file_set: FileSetId(7), ordinal: 0, random: 9 };
        let place = SegmentPlace { collection: CollectionId(1), partition: PartitionId::ALL, segment: SegmentId(3) };
        for key in [
            keys.insert_log(place, 0, file),
            keys.delta_log(place, file),
            keys.snapshot_metadata(CollectionId(1), SnapshotId(2), file),
            keys.manifest(CollectionId(1), file),
            keys.index_file(place, FieldId(100), file),
        ] {
            assert_eq!(ObjectKey::parse(key.as_str()).as_ref(), Ok(&key));
            assert!(keys.owns(&key));
        }
        assert_eq!(indexed_field(&keys.index_file(place, FieldId(100), file)), Some(FieldId(100)));
        for other in
            [keys.insert_log(place, 0, file), keys.delta_log(place, file), keys.manifest(CollectionId(1), file)]
        {
            assert_eq!(indexed_field(&other), None);
        }
        let root = keys.snapshot_metadata(CollectionId(1), SnapshotId(2), file);
        assert_eq!(keys.snapshot_of(&root), Some((CollectionId(1), SnapshotId(2))));
        assert_eq!(keys.snapshot_of(&keys.manifest(CollectionId(1), file)), None);
        let place = SegmentPlace { collection: CollectionId(1), partition: PartitionId(9), segment: SegmentId(3) };
        for key in [keys.insert_log(place, 0, file), keys.manifest(CollectionId(1), file), root] {
            let found = FileName::of(&key).unwrap();
            assert_eq!((found.file_set, found.ordinal, found.random), (file.file_set, file.ordinal, file.random));
        }
        assert_eq!(keys.greatest_id(&keys.insert_log(place, 0, file)), 9);
        assert_eq!(keys.greatest_id(&keys.insert_log(place, 0, FileName { file_set: FileSetId(700), ..file })), 700);
        assert!(!keys.owns(&ObjectKey::parse("0190-uuid2/a").unwrap()), "a sibling with the same beginning");
        assert!(KeySpace::new("../other").is_err());
    }

    proptest! {
        #[test]
        fn a_key_never_leaves_the_root(text in ".{0,40}") {
            if let Ok(key) = ObjectKey::parse(&text) {
                prop_assert!(key.as_str().split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}

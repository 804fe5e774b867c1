//! One entry of a manifest. Its fields and those of the Avro schema are the same; a test compares them.

use elanus_types::{Checksum, FileSetId, ObjectKey, PartitionId, SegmentId, Shard, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Words that stand in the files as texts, because every reader of Avro and JSON knows texts.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub enum $name {
            $($(#[$word_doc])* $variant,)*
        }

        impl $name {
            /// Every word.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word in the files.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let word = Self::ALL.iter().copied().find(|word| word.as_str() == text);
                word.ok_or_else(|| format!("{text:?} is not a {} that this version knows", stringify!($name)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What happened to the file set since the manifest before.
    Status {
        /// It came.
        Added = "added",
        /// It went.
        Removed = "removed",
    }
}

words! {
    /// Where the file set stands in its segment.
    Level {
        /// Deletes, which hide older rows of other files.
        L0 = "l0",
        /// Rows and what was built from them.
        L1 = "l1",
    }
}

words! {
    /// What a file holds.
    FileKind {
        /// Rows.
        Insert = "insert",
        /// Deleted primary keys.
        Delete = "delete",
        /// An index of rows.
        Index = "index",
    }
}

/// One file set that came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Came or went.
    pub status: Status,
    /// The segment that has the file set.
    pub segment_id: SegmentId,
    /// The partition of the segment; [`PartitionId::ALL`] for deletes in all of them.
    pub partition_id: PartitionId,
    /// The shard of the segment.
    pub shard: Shard,
    /// Deletes are `l0`, all else is `l1`.
    pub level: Level,
    /// The files that come and go together.
    pub file_set_id: FileSetId,
    /// What the file set is for.
    pub kind: FileKind,
    /// Added to the offsets in the files it gives the timestamps of the rows.
    pub base_ts: Timestamp,
    /// Since when the collection has the file set.
    pub added_ts: Timestamp,
    /// Rows, or deletes, in the file set.
    #[serde(with = "long")]
    pub rows: u64,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// The smallest primary key as text, where it is known.
    pub key_min: Option<String>,
    /// The largest primary key as text, where it is known.
    pub key_max: Option<String>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Where it is.
    pub key: ObjectKey,
    /// In bytes.
    #[serde(with = "long")]
    pub size: u64,
    /// Of all its bytes.
    pub checksum: Checksum,
    /// What it holds.
    pub kind: FileKind,
}

/// Avro's widest integer is signed.
mod long {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(i64::try_from(*value).map_err(ser::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        u64::try_from(i64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

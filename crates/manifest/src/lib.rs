//! What a snapshot writes to the bucket. Never touches an object store, a clock or the metadata store: bytes in, bytes out.
//!
//! * [`metadata`]: one JSON document per snapshot, written last: what the collection was, and which manifests list its files.
//! * [`avro`]: manifests, Avro object container files that say which file sets came and went since the manifest before.
//! * [`chain`]: which manifests a new snapshot shares with an earlier one, and what it adds to them.
//! * [`fold`]: the file sets of a snapshot from its manifests in order.
//!
//! Both are read without Elanus: field names are words, ids are numbers, checksums are CRC-64/NVME in hexadecimal.
//! Formats only grow: a reader ignores what it does not know, and refuses a format version above its own.

pub mod avro;
pub mod chain;
pub mod entry;
mod error;
pub mod fold;
pub mod metadata;

pub use avro::{decode_manifest, encode_manifest};
pub use chain::{Chain, Changes, Limits};
pub use entry::{FileEntry, FileKind, Level, ManifestEntry, Status};
pub use error::Error;
pub use fold::fold;
pub use metadata::{
    ManifestRef, SnapshotInfo, SnapshotMetadata, SnapshotState, Totals, created_at, decode_metadata, encode_metadata,
    verify,
};

/// The format version that this code writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

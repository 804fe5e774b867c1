//! What a snapshot writes to the bucket, from what the metadata says. Pure.

use elanus_manifest::{
    FORMAT_VERSION, FileEntry, Level, ManifestEntry, ManifestRef, SnapshotInfo, SnapshotMetadata, SnapshotState,
    Status, Totals, created_at, encode_manifest, encode_metadata,
};
use elanus_meta::model::{CollectionRecord, FileKind, FileRecord, SnapshotRecord};
use elanus_types::schema::CollectionDefinition;
use elanus_types::{Failure, ObjectKey};

/// Entries of one manifest: what one reader takes at once.
const ENTRIES_MAX: usize = 8_192;

/// Everything but the keys, which are registered once the number of manifests is known.
#[derive(Debug)]
pub(super) struct Rendered {
    /// Bytes of each manifest.
    pub(super) manifests: Vec<Vec<u8>>,
    entries: Vec<Vec<ManifestEntry>>,
    snapshot: SnapshotInfo,
    definition: CollectionDefinition,
    pub(super) totals: Totals,
}

/// Encodes the manifests of a snapshot: every file that the collection had at its timestamp.
pub(super) fn render(
    collection: &CollectionRecord,
    snapshot: &SnapshotRecord,
    definition: CollectionDefinition,
    files: &[FileRecord],
) -> Result<Rendered, Failure> {
    let entries: Vec<ManifestEntry> = files.iter().map(entry).collect::<Result<_, _>>()?;
    let totals = Totals::of(&entries);
    let entries: Vec<Vec<ManifestEntry>> = entries.chunks(ENTRIES_MAX).map(<[_]>::to_vec).collect();
    let manifests = entries.iter().map(|chunk| encode_manifest(chunk).map_err(damaged)).collect::<Result<_, _>>()?;
    let snapshot = SnapshotInfo {
        id: snapshot.id,
        name: snapshot.name.clone(),
        description: snapshot.description.clone(),
        collection_id: collection.id,
        collection_name: collection.name.clone(),
        database_name: collection.database.clone(),
        create_ts: snapshot.create_ts,
        created_at: created_at(snapshot.create_ts),
        state: SnapshotState::Committed,
    };
    Ok(Rendered { manifests, entries, snapshot, definition, totals })
}

impl Rendered {
    /// The metadata object, once the manifests have their keys.
    pub(super) fn metadata(&self, keys: &[ObjectKey]) -> Result<Vec<u8>, Failure> {
        let manifests = keys
            .iter()
            .zip(&self.manifests)
            .zip(&self.entries)
            .map(|((key, bytes), entries)| ManifestRef::describe(key.clone(), bytes, entries))
            .collect();
        let metadata = SnapshotMetadata {
            format_version: FORMAT_VERSION,
            snapshot: self.snapshot.clone(),
            definition: self.definition.clone(),
            manifests,
            totals: self.totals,
        };
        encode_metadata(&metadata).map_err(damaged)
    }
}

fn entry(file: &FileRecord) -> Result<ManifestEntry, Failure> {
    let (kind, level) = match file.kind {
        FileKind::Insert => (elanus_manifest::FileKind::Insert, Level::L1),
        FileKind::Index => (elanus_manifest::FileKind::Index, Level::L1),
        FileKind::Delete => (elanus_manifest::FileKind::Delete, Level::L0),
        FileKind::Manifest => {
            return Err(Failure::internal("a manifest is a member of a segment: the metadata is damaged"));
        }
    };
    let files = file
        .objects
        .iter()
        .map(|object| FileEntry { key: object.key.clone(), size: object.size, checksum: object.checksum, kind })
        .collect();
    Ok(ManifestEntry {
        status: Status::Added,
        segment_id: file.segment,
        partition_id: file.partition,
        shard: file.shard,
        level,
        file_set_id: file.file_set,
        kind,
        base_ts: file.base_ts,
        added_ts: file.added_ts,
        rows: file.rows,
        files,
        key_min: None,
        key_max: None,
    })
}

fn damaged(error: elanus_manifest::Error) -> Failure {
    Failure::internal(format!("the snapshot's manifests cannot be written: {error}"))
}

//! What a snapshot writes to the bucket, from what the metadata says. Pure.

use elanus_manifest::{
    Chain, Changes, FORMAT_VERSION, FileEntry, Level, Limits, ManifestEntry, ManifestRef, SnapshotInfo,
    SnapshotMetadata, SnapshotState, Status, Totals, created_at, encode_manifest, encode_metadata,
};
use elanus_meta::model::{
    self, CollectionRecord, FileKind, FileRecord, ManifestRecord, MembershipChanges, SnapshotBase, SnapshotRecord,
    StoredObject,
};
use elanus_types::schema::CollectionDefinition;
use elanus_types::{Failure, FileSetId, ObjectKey};

/// The manifests of a snapshot that lists every file in manifests of its own.
pub(super) fn anew(files: &[FileRecord]) -> Result<Chain, Failure> {
    Ok(Chain::anew(&entries(files)?, Limits::default()))
}

/// The manifests of a snapshot that says only what changed since its base; `None` when it must list everything.
pub(super) fn extend(base: &SnapshotBase, changes: &MembershipChanges) -> Result<Option<Chain>, Failure> {
    let shared: Vec<ManifestRef> = base.manifests.iter().map(reference).collect();
    let model::Totals { rows, files, bytes, segments } = base.totals;
    let changes =
        Changes { added: entries(&changes.added)?, removed: entries(&changes.removed)?, segments: changes.segments };
    Ok(Chain::extend(&shared, Totals { rows, files, bytes, segments }, changes, Limits::default()))
}

/// Everything but the keys, which are registered once the number of manifests is known.
#[derive(Debug)]
pub(super) struct Rendered {
    chain: Chain,
    /// Bytes of each manifest to be written.
    pub(super) manifests: Vec<Vec<u8>>,
    snapshot: SnapshotInfo,
    definition: CollectionDefinition,
}

/// Encodes the manifests that a snapshot writes.
pub(super) fn render(
    collection: &CollectionRecord,
    snapshot: &SnapshotRecord,
    definition: CollectionDefinition,
    chain: Chain,
) -> Result<Rendered, Failure> {
    let encoded = chain.written.iter().map(|entries| encode_manifest(entries).map_err(damaged));
    let manifests = encoded.collect::<Result<_, _>>()?;
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
    Ok(Rendered { chain, manifests, snapshot, definition })
}

impl Rendered {
    pub(super) fn totals(&self) -> model::Totals {
        let Totals { rows, bytes, files, segments } = self.chain.totals;
        model::Totals { rows, files, bytes, segments }
    }

    /// What the metadata says of the manifests to be written, once they have their keys.
    pub(super) fn records(&self, places: &[(FileSetId, ObjectKey)]) -> Vec<ManifestRecord> {
        places
            .iter()
            .zip(&self.manifests)
            .zip(&self.chain.written)
            .map(|(((file_set, key), bytes), entries)| {
                record(*file_set, ManifestRef::describe(key.clone(), bytes, entries))
            })
            .collect()
    }

    /// The metadata object.
    pub(super) fn metadata(&self, written: &[ManifestRecord]) -> Result<Vec<u8>, Failure> {
        let metadata = SnapshotMetadata {
            format_version: FORMAT_VERSION,
            snapshot: self.snapshot.clone(),
            definition: self.definition.clone(),
            manifests: self.chain.shared.iter().cloned().chain(written.iter().map(reference)).collect(),
            totals: self.chain.totals,
        };
        encode_metadata(&metadata).map_err(damaged)
    }
}

fn reference(record: &ManifestRecord) -> ManifestRef {
    let StoredObject { key, size, checksum } = record.object.clone();
    let ManifestRecord { entries_added, entries_removed, files, rows, bytes, .. } = *record;
    ManifestRef { key, size, checksum, entries_added, entries_removed, files, rows, bytes }
}

fn record(file_set: FileSetId, manifest: ManifestRef) -> ManifestRecord {
    let ManifestRef { key, size, checksum, entries_added, entries_removed, files, rows, bytes } = manifest;
    let object = StoredObject { key, size, checksum };
    ManifestRecord { file_set, object, entries_added, entries_removed, files, rows, bytes }
}

fn entries(files: &[FileRecord]) -> Result<Vec<ManifestEntry>, Failure> {
    files.iter().map(entry).collect()
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

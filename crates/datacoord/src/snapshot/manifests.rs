//! What a snapshot writes to the bucket, from what the metadata says. Pure.

use elanus_manifest::{
    Chain, Changes, FORMAT_VERSION, FileEntry, Level, Limits, ManifestEntry, ManifestRef, SnapshotInfo,
    SnapshotMetadata, SnapshotState, Status, Totals, created_at, encode_manifest, encode_metadata,
};
use elanus_meta::Names;
use elanus_meta::model::{
    self, CollectionRecord, FileKind, FileRecord, ManifestRecord, MembershipChanges, SnapshotBase, SnapshotRecord,
    StoredObject,
};
use elanus_types::schema::CollectionDefinition;
use elanus_types::{Failure, FileSetId, ObjectKey};

/// Entries of one manifest of a snapshot that lists every file in manifests of its own.
pub(super) fn entries_max() -> usize {
    Limits::default().entries_max
}

/// The manifests of a snapshot that says only what changed since its base; `None` when it must list everything.
pub(super) fn extend(base: &SnapshotBase, changes: &MembershipChanges) -> Result<Option<Chain>, Failure> {
    let shared: Vec<ManifestRef> = base.manifests.iter().map(reference).collect();
    let model::Totals { rows, files, bytes, segments } = base.totals;
    let changes =
        Changes { added: entries(&changes.added)?, removed: entries(&changes.removed)?, segments: changes.segments };
    Ok(Chain::extend(&shared, Totals { rows, files, bytes, segments }, changes, Limits::default()))
}

/// How many files the manifests of a base list.
pub(super) fn listed(base: &SnapshotBase) -> u64 {
    base.manifests.iter().map(|one| one.entries_added.saturating_sub(one.entries_removed)).sum()
}

/// The metadata object, but for the manifests that are still to be written.
#[derive(Debug)]
pub(super) struct Document {
    shared: Vec<ManifestRef>,
    snapshot: SnapshotInfo,
    definition: CollectionDefinition,
}

impl Document {
    /// Of a snapshot that shares these manifests with an earlier one.
    pub(super) fn of(
        collection: &CollectionRecord,
        snapshot: &SnapshotRecord,
        definition: CollectionDefinition,
        names: Names,
        shared: Vec<ManifestRef>,
    ) -> Self {
        let snapshot = SnapshotInfo {
            id: snapshot.id,
            name: snapshot.name.clone(),
            description: snapshot.description.clone(),
            collection_id: collection.id,
            collection_name: collection.name.clone(),
            database_name: collection.database.clone(),
            aliases: names.aliases,
            database_properties: names.database_properties,
            create_ts: snapshot.create_ts,
            created_at: created_at(snapshot.create_ts),
            state: SnapshotState::Committed,
        };
        Self { shared, snapshot, definition }
    }

    /// The bytes, once everything else is written.
    pub(super) fn encode(self, written: &[ManifestRecord], totals: model::Totals) -> Result<Vec<u8>, Failure> {
        let model::Totals { rows, files, bytes, segments } = totals;
        let metadata = SnapshotMetadata {
            format_version: FORMAT_VERSION,
            snapshot: self.snapshot,
            definition: self.definition,
            manifests: self.shared.into_iter().chain(written.iter().map(reference)).collect(),
            totals: Totals { rows, bytes, files, segments },
        };
        encode_metadata(&metadata).map_err(damaged)
    }
}

pub(super) fn totals_of(totals: Totals) -> model::Totals {
    let Totals { rows, bytes, files, segments } = totals;
    model::Totals { rows, files, bytes, segments }
}

/// What all manifests of a snapshot that shares none hold.
pub(super) fn totals(written: &[ManifestRecord], segments: u64) -> model::Totals {
    let sum = |of: fn(&ManifestRecord) -> u64| written.iter().map(of).fold(0, u64::saturating_add);
    model::Totals { rows: sum(|one| one.rows), files: sum(|one| one.files), bytes: sum(|one| one.bytes), segments }
}

/// One manifest: its bytes, and what the metadata say of it.
pub(super) fn encode(
    file_set: FileSetId,
    key: ObjectKey,
    entries: &[ManifestEntry],
) -> Result<(Vec<u8>, ManifestRecord), Failure> {
    let bytes = encode_manifest(entries).map_err(damaged)?;
    let described = record(file_set, ManifestRef::describe(key, &bytes, entries));
    Ok((bytes, described))
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

pub(super) fn entries(files: &[FileRecord]) -> Result<Vec<ManifestEntry>, Failure> {
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

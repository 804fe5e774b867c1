//! Create: `Pending` pins the timestamp, the manifests are written, `Committed` shows the snapshot.
//!
//! A snapshot writes what changed since the newest one before it and shares that one's manifests; only where there is none,
//! or its manifests have become many, it lists every file. Where that is much, the create is answered first (`Accepted`),
//! so that none waits for the size of its collection; the manifests follow, see `late`.
//!
//! A failure on the way leaves nothing visible: the snapshot goes to `Deleting`, its objects are abandoned intents (S-2).

use super::manifests::{self, Document};
use crate::Parts;
use bytes::Bytes;
use elanus_manifest::{Chain, ManifestEntry};
use elanus_meta::model::{
    CollectionRecord, Created, ManifestRecord, Members, NewSnapshot, SnapshotBase, SnapshotFiles, SnapshotRecord,
    SnapshotStatus, StoredObject,
};
use elanus_meta::{MetaError, while_renewing};
use elanus_objects::{ObjectInfo, checksum_of};
use elanus_proto::datacoord::CreateSnapshotRequest;
use elanus_trace::{Instrument as _, Span};
use elanus_types::{Failure, FileSetId, ObjectKey, SnapshotId};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use std::time::{Duration, Instant};

/// Manifests that are encoded and written at the same time; no more of them are in memory.
const MANIFESTS_AT_ONCE: usize = 4;
/// How often a repeated request looks whether the first one has ended, and for how long.
const JOIN_EVERY: Duration = Duration::from_millis(20);
const JOIN_MAX: Duration = Duration::from_secs(120);

/// Creates a snapshot of everything that was acknowledged before; returns when it is shown.
pub(crate) async fn create(
    parts: &Parts,
    collection: CollectionRecord,
    request: CreateSnapshotRequest,
) -> Result<SnapshotRecord, Failure> {
    let now_ms = parts.now_ms();
    let protected_until_ms = match request.compaction_protection_seconds {
        0 => 0,
        seconds => now_ms.saturating_add(seconds.saturating_mul(1_000)),
    };
    let new = NewSnapshot {
        collection: collection.id,
        name: request.name,
        description: request.description,
        owner: parts.node.clone(),
        lease_until_ms: now_ms + parts.config.snapshot_lease_ms,
        compaction_protected_until_ms: protected_until_ms,
        idempotency_key: (!request.idempotency_key.is_empty()).then_some(request.idempotency_key),
    };
    let pinned = parts.coordinator.create_snapshot(new).instrument(elanus_trace::inner!("datacoord.snapshot.pin"));
    match pinned.await? {
        Created::Joined(snapshot) => joined(parts, snapshot.id).await,
        Created::New(snapshot) => {
            // On its own: a client that goes away does not leave a half-made snapshot behind.
            let (parts, step) = (parts.clone(), Span::current());
            elanus_trace::note("elanus.snapshot_id", snapshot.id.0);
            tokio::spawn(async move { complete(&parts, &collection, &snapshot).await }.instrument(step))
                .await
                .map_err(|e| Failure::internal(format!("writing the snapshot was cut off: {e}")))?
        }
    }
}

/// Makes a pending snapshot one that is shown; one that cannot be completed is given up.
pub(crate) async fn complete(
    parts: &Parts,
    collection: &CollectionRecord,
    snapshot: &SnapshotRecord,
) -> Result<SnapshotRecord, Failure> {
    let started = Instant::now();
    let written = keeping_lease(parts, snapshot.id, show(parts, collection, snapshot)).await;
    let ended = match &written {
        Ok(record) if record.state == SnapshotStatus::Accepted => "accepted",
        Ok(_) => "committed",
        Err(_) => "failed",
    };
    metrics::histogram!("elanus_datacoord_snapshot_duration_seconds", "ended" => ended)
        .record(started.elapsed().as_secs_f64());
    if let Err(failure) = &written {
        tracing::warn!(snapshot = %snapshot.id, %failure, "a snapshot could not be completed");
        if let Err(error) = parts.coordinator.fail_snapshot(snapshot.id).await {
            tracing::warn!(snapshot = %snapshot.id, %error, "it waits for the end of its lease");
        }
        parts.background.activate(crate::background::SWEEP);
    }
    written
}

async fn show(
    parts: &Parts,
    collection: &CollectionRecord,
    snapshot: &SnapshotRecord,
) -> Result<SnapshotRecord, Failure> {
    if let Some(plan) = plan(parts, snapshot, parts.config.snapshot_entries_max).await? {
        return write_planned(parts, collection, snapshot, plan).await;
    }
    let accepted = parts.coordinator.accept_snapshot(snapshot.id, &parts.node).await?;
    parts.background.activate(crate::background::SNAPSHOT_WRITE);
    Ok(accepted)
}

/// Writes the manifests of a snapshot, however many, and commits it. The caller keeps the lease.
pub(super) async fn write(
    parts: &Parts,
    collection: &CollectionRecord,
    snapshot: &SnapshotRecord,
) -> Result<SnapshotRecord, Failure> {
    let plan = plan(parts, snapshot, u32::MAX).await?.ok_or_else(|| Failure::internal("it has more files than fit"))?;
    write_planned(parts, collection, snapshot, plan).await
}

/// What a snapshot writes.
enum Plan {
    /// What changed since the one before it, whose manifests it shares.
    Changes(SnapshotBase, Chain),
    /// All that there is, read page by page as it is written.
    Everything,
}

/// `None` when that is more than `entries_max` entries; then it has cost no more than to count so far.
async fn plan(parts: &Parts, snapshot: &SnapshotRecord, entries_max: u32) -> Result<Option<Plan>, Failure> {
    let meta = parts.meta();
    let changed = meta.changed_since_base(snapshot, entries_max.saturating_add(1)).await?;
    if changed > u64::from(entries_max) {
        return Ok(None);
    }
    if let Some((base, changes)) = meta.changes_since_base(snapshot).await? {
        if let Some(chain) = manifests::extend(&base, &changes)? {
            return Ok(Some(Plan::Changes(base, chain)));
        }
        if manifests::listed(&base) + changed > u64::from(entries_max) {
            return Ok(None);
        }
    }
    Ok(Some(Plan::Everything))
}

async fn write_planned(
    parts: &Parts,
    collection: &CollectionRecord,
    snapshot: &SnapshotRecord,
    plan: Plan,
) -> Result<SnapshotRecord, Failure> {
    if let Some(committed) = store(parts, collection, snapshot, plan).await? {
        return Ok(committed);
    }
    tracing::info!(snapshot = %snapshot.id, "its base was dropped meanwhile: everything is written anew");
    let committed = store(parts, collection, snapshot, Plan::Everything).await?;
    committed.ok_or_else(|| Failure::internal("a snapshot that builds on no other one was told that it is gone"))
}

/// Writes the objects of a snapshot and commits it; `None` when the manifests of its base are no longer kept.
async fn store(
    parts: &Parts,
    collection: &CollectionRecord,
    snapshot: &SnapshotRecord,
    plan: Plan,
) -> Result<Option<SnapshotRecord>, Failure> {
    let definition = parts.meta().definition_at(collection.id, snapshot.create_ts).await?;
    let names = parts.meta().names_of(collection.id).await?;
    let (base, shared, manifests, metadata, totals) = match plan {
        Plan::Changes(base, Chain { shared, written, totals }) => {
            let (keys, metadata) = keys(parts, snapshot, written.len()).await?;
            let manifests = write_manifests(parts, keys, stream::iter(written.into_iter().map(Ok))).await?;
            (Some(base), shared, manifests, metadata, manifests::totals_of(totals))
        }
        Plan::Everything => {
            let Members { file_sets, segments } = parts.meta().members_at(collection.id, snapshot.create_ts).await?;
            let pages = usize::try_from(file_sets).unwrap_or(usize::MAX).div_ceil(manifests::entries_max());
            let (keys, metadata) = keys(parts, snapshot, pages).await?;
            let manifests = write_manifests(parts, keys, everything(parts, snapshot)).await?;
            let listed: u64 = manifests.iter().map(|manifest| manifest.entries_added).sum();
            if listed != file_sets {
                return Err(Failure::internal(format!("{listed} of {file_sets} file sets are listed")));
            }
            let totals = manifests::totals(&manifests, segments);
            (None, Vec::new(), manifests, metadata, totals)
        }
    };
    elanus_trace::note("elanus.files", signed(totals.files));
    elanus_trace::note("elanus.bytes", signed(totals.bytes));
    elanus_trace::note("elanus.rows", signed(totals.rows));
    let document = Document::of(collection, snapshot, definition, names, shared);
    let encoded = document.encode(&manifests, totals)?;
    // Last, and with its final state: whoever finds it finds everything that it names.
    let (file_set, key) = metadata;
    let object = StoredObject { key, size: encoded.len() as u64, checksum: checksum_of(&encoded) };
    let step = elanus_trace::inner!("datacoord.snapshot.metadata");
    put(parts, object.key.clone(), encoded).instrument(step).await?;
    let files = SnapshotFiles { base, manifests, metadata: (file_set, object) };
    let step = elanus_trace::inner!("datacoord.snapshot.commit");
    match parts.coordinator.commit_snapshot(snapshot.id, &parts.node, &files, totals).instrument(step).await {
        Err(MetaError::Released { .. }) => Ok(None),
        committed => Ok(Some(committed?)),
    }
}

/// A file set and its only key.
type Key = (FileSetId, ObjectKey);

/// Where so many manifests and the metadata are to be written.
async fn keys(parts: &Parts, snapshot: &SnapshotRecord, manifests: usize) -> Result<(Vec<Key>, Key), Failure> {
    let lease_until_ms = parts.now_ms() + parts.config.snapshot_lease_ms;
    let plan = parts.coordinator.begin_snapshot_files(snapshot.id, &parts.node, lease_until_ms, manifests).await?;
    Ok((plan.manifests, plan.metadata))
}

/// All file sets of a snapshot, as the entries of a manifest each. No more than a few pages are in memory.
fn everything(parts: &Parts, snapshot: &SnapshotRecord) -> impl Stream<Item = Result<Vec<ManifestEntry>, Failure>> {
    let (collection, at, limit) = (snapshot.collection, snapshot.create_ts, manifests::entries_max());
    stream::try_unfold(None, move |last| async move {
        let mut page = parts.meta().files_page(collection, at, last.as_ref(), limit).await?;
        let entries = manifests::entries(&page)?;
        Ok(page.pop().map(|last| (entries, Some(last))))
    })
}

/// Writes manifests beside each other; what they became, in their order.
async fn write_manifests(
    parts: &Parts,
    keys: Vec<Key>,
    entries: impl Stream<Item = Result<Vec<ManifestEntry>, Failure>>,
) -> Result<Vec<ManifestRecord>, Failure> {
    let step = elanus_trace::inner!("datacoord.snapshot.manifests", elanus.manifests = keys.len());
    // As many as there are keys, and not begun on more: a page that is being read and that nobody waits for would hold its
    // connection for as long as the others are written.
    entries
        .take(keys.len())
        .zip(stream::iter(keys))
        .map(|(entries, (file_set, key))| async move { write_manifest(parts, file_set, key, entries?).await })
        .buffered(MANIFESTS_AT_ONCE)
        .try_collect()
        .instrument(step)
        .await
}

/// Encodes a manifest beside the others, and writes it.
async fn write_manifest(
    parts: &Parts,
    file_set: FileSetId,
    key: ObjectKey,
    entries: Vec<ManifestEntry>,
) -> Result<ManifestRecord, Failure> {
    let (bytes, record) = blocking(move || manifests::encode(file_set, key, &entries)).await?;
    put(parts, record.object.key.clone(), bytes).await?;
    Ok(record)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

async fn put(parts: &Parts, key: ObjectKey, bytes: Vec<u8>) -> Result<ObjectInfo, Failure> {
    Ok(parts.objects.put(&key, Bytes::from(bytes)).await?)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Failure::internal(format!("encoding the manifests failed: {e}")))?
}

/// Runs `work` while the lease of the snapshot's writer is renewed.
pub(super) async fn keeping_lease<T>(parts: &Parts, snapshot: SnapshotId, work: impl Future<Output = T>) -> T {
    let every = Duration::from_millis(u64::try_from(parts.config.snapshot_lease_ms / 3).unwrap_or(1).max(1));
    let renew = || async {
        let until_ms = parts.now_ms() + parts.config.snapshot_lease_ms;
        parts.coordinator.heartbeat_snapshot(snapshot, &parts.node, until_ms).await.map(drop)
    };
    // A lost lease is found out by the commit, which is refused then.
    while_renewing(every, "the lease of a snapshot", renew, work).await
}

/// Waits for the end of the create that this request repeats.
async fn joined(parts: &Parts, snapshot: SnapshotId) -> Result<SnapshotRecord, Failure> {
    let waiting = async {
        loop {
            match parts.meta().snapshot_by_id(snapshot).await? {
                Some(record) if record.state.is_shown() => return Ok(record),
                Some(record) if record.state == SnapshotStatus::Pending => tokio::time::sleep(JOIN_EVERY).await,
                _ => {
                    return Err(Failure::internal(
                        "the snapshot could not be completed; nothing of it is left, try again",
                    ));
                }
            }
        }
    };
    tokio::time::timeout(JOIN_MAX, waiting).await.unwrap_or_else(|_| {
        Err(Failure::new(elanus_types::Code::NotReady, "the same snapshot is still being written; ask for it later"))
    })
}

//! Copies against stores that refuse.

use super::*;
use crate::tasks::gate::Gate;
use crate::tasks::limit::Bounds;
use crate::tasks::store::pause;
use async_trait::async_trait;
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_meta::model::StoredObject;
use elanus_objects::{Fault, FaultyStore, MemoryStore, ObjectInfo, Plan, StaleUpload, checksum_of};
use elanus_types::{Checksum, ManualClock, ObjectKey};
use futures::stream::BoxStream;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const ROWS: &[u8] = b"rows";
const BOUNDS: Bounds = Bounds { min: 1, first: 16, max: 64 };

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at_ms(1))
}

async fn source() -> Arc<MemoryStore> {
    let inner = Arc::new(MemoryStore::new(clock()));
    inner.put(&key("c/a"), Bytes::from_static(ROWS)).await.unwrap();
    inner
}

async fn faulty(plan: Plan) -> FaultyStore {
    FaultyStore::new(source().await, plan)
}

fn file(target: &str, checksum: Checksum) -> CopyFile {
    CopyFile { source: StoredObject { key: key("c/a"), size: 4, checksum }, target: key(target) }
}

fn lease() -> Lease {
    Lease::from_now(clock(), 1_000, CancellationToken::new())
}

async fn copy(objects: &dyn ObjectStore, lease: &Lease, file: &CopyFile) -> Option<Result<(), Error>> {
    copy_one(&Way { objects, gate: &Gate::new(BOUNDS), lease }, file).await
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_is_tried_again_and_a_damaged_source_is_not() {
    let flaky = faulty(Plan::none().at_effect(1, Fault::ErrorBefore).at_effect(2, Fault::ErrorAfter)).await;
    copy(&flaky, &lease(), &file("c/b", checksum_of(ROWS))).await.unwrap().unwrap();
    assert_eq!(flaky.get(&key("c/b")).await.unwrap(), Bytes::from_static(ROWS));

    let sound = faulty(Plan::none()).await;
    let damaged = copy(&sound, &lease(), &file("c/b", Checksum(1))).await.unwrap().unwrap_err();
    assert!(matches!(damaged, Error::Corrupt { .. }), "{damaged}");
    assert_eq!(sound.effects(), 1, "a damaged source is not tried again");
}

#[tokio::test]
async fn cw_3_a_claim_that_was_stopped_or_whose_lease_is_over_writes_nothing() {
    let stopped = lease();
    stopped.stop();
    let late_clock = clock();
    let late = Lease::from_now(late_clock.clone(), 1_000, CancellationToken::new());
    late_clock.advance_ms(1_000);
    for lease in [stopped, late] {
        let store = faulty(Plan::none()).await;
        assert!(copy(&store, &lease, &file("c/b", checksum_of(ROWS))).await.is_none());
        assert_eq!(store.effects(), 0);
    }
}

#[test]
fn a_pause_is_any_time_up_to_a_bound_that_doubles() {
    let most = |attempt| pause(attempt, 1.0).as_millis();
    assert_eq!([1, 2, 3, 7, 8, 99, u32::MAX].map(most), [100, 200, 400, 6_400, 10_000, 10_000, 10_000]);
    assert_eq!(pause(3, 0.0), Duration::ZERO);
    assert_eq!(pause(3, 0.25), Duration::from_millis(100));
}

/// Refuses, as S3 does with 503 SlowDown, what comes while `bears` calls are under way. A call takes a while.
#[derive(Debug)]
struct Throttled {
    inner: Arc<MemoryStore>,
    bears: AtomicUsize,
    busy: AtomicUsize,
    refused: AtomicUsize,
    /// Calls under way, by copy.
    seen: Mutex<Vec<usize>>,
}

const CALL: Duration = Duration::from_millis(10);

impl Throttled {
    async fn at(bears: usize) -> Self {
        Self { inner: source().await, bears: bears.into(), busy: 0.into(), refused: 0.into(), seen: Mutex::default() }
    }
}

#[async_trait]
impl ObjectStore for Throttled {
    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo, Error> {
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(CALL).await;
        self.busy.fetch_sub(1, Ordering::SeqCst);
        self.seen.lock().unwrap().push(busy);
        if busy > self.bears.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Error::Transient { attempt: format!("copy {from}"), source: "503 SlowDown".into() });
        }
        self.inner.copy(from, to, expected).await
    }

    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo, Error> {
        self.inner.put(key, bytes).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, Error> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, Error> {
        self.inner.head(key).await
    }

    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum, Error> {
        self.inner.checksum(key).await
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo, Error>> {
        self.inner.list(folder)
    }

    async fn list_page(
        &self,
        folder: &ObjectKey,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectInfo>, Error> {
        self.inner.list_page(folder, after, limit).await
    }

    async fn delete(&self, permits: Vec<DeletePermit>) -> Result<(), Error> {
        self.inner.delete(permits).await
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>, Error> {
        self.inner.stale_uploads(folder, before_ms).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<(), Error> {
        self.inner.abort_upload(upload).await
    }
}

/// Copies so many files from `first` on; how many succeeded, and how long it took in calls.
async fn copy_many(store: &Throttled, gate: &Gate, files: Range<usize>) -> (usize, u128) {
    let lease = lease();
    let way = &Way { objects: store, gate, lease: &lease };
    let began = tokio::time::Instant::now();
    let files: Vec<_> = files.map(|n| file(&format!("c/copy-{n}"), checksum_of(ROWS))).collect();
    let copies = stream::iter(&files).map(|file| copy_one(way, file)).buffer_unordered(BOUNDS.max);
    let done = copies.filter(|copied| futures::future::ready(matches!(copied, Some(Ok(()))))).count().await;
    (done, began.elapsed().as_millis() / CALL.as_millis())
}

#[tokio::test(start_paused = true)]
async fn al_a_store_that_is_overloaded_is_spared_and_used_again_when_it_has_recovered() {
    let store = Throttled::at(8).await;
    let gate = Gate::new(BOUNDS);
    let (done, _) = copy_many(&store, &gate, 0..2_000).await;
    assert_eq!(done, 2_000, "every file arrives although the store refuses");
    let refused = store.refused.load(Ordering::SeqCst);
    assert!(refused > 0 && refused < 600, "{refused} of 2,000 copies were refused");
    assert!(gate.limit() <= 16, "the store bears 8, {} are let pass", gate.limit());

    // Recovered: the limit rises to its bound, nothing is refused, and as many copies are under way.
    store.bears.store(usize::MAX, Ordering::SeqCst);
    let (done, _) = copy_many(&store, &gate, 2_000..6_000).await;
    assert_eq!((done, store.refused.load(Ordering::SeqCst), gate.limit()), (4_000, refused, BOUNDS.max));
    store.seen.lock().unwrap().clear();
    let (done, calls) = copy_many(&store, &gate, 6_000..7_280).await;
    assert_eq!((done, calls), (1_280, 20), "64 at a time");
    assert_eq!(store.seen.lock().unwrap().iter().max(), Some(&BOUNDS.max), "AL-1");
}

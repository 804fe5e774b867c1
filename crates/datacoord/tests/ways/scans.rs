//! OR-1 to OR-5: orphans in the bucket, and live objects that are gone from it.

use crate::world::effects::Effects;
use crate::world::{Owner, World, by_name};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_datacoord::Bucket;
use elanus_datacoord::background::{GC_RELEASE, GC_SCAN, SWEEP};
use elanus_meta::scans::{OrphanRecord, ScanRecord, ScanState};
use elanus_objects::{
    Error, Expected, Fault, FaultyStore, LocalStore, ObjectInfo, ObjectStore, Plan, Result, S3Config, S3Location,
    S3Store, StaleUpload,
};
use elanus_proto::admin::allow_orphans_request::What;
use elanus_proto::admin::{AllowOrphansRequest, ReconcileRequest, ScrubRequest, StartScanRequest};
use elanus_runtime::Background;
use elanus_testkit::{S3Server, S3User};
use elanus_types::{Checksum, Clock as _, ObjectKey, SystemClock};
use futures::stream::BoxStream;
use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const HOUR_MS: i64 = 3_600_000;

type Process = crate::world::Process;

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(&format!("5e1f0e6c-test/{text}")).unwrap()
}

/// Runs a scan now; as it ended.
async fn scan(process: &mut Process) -> ScanRecord {
    let id = process.coord.start_scan(StartScanRequest {}).await.unwrap().into_inner().id;
    process.background.activate_and_wait(GC_SCAN).await;
    let scans = process.meta.scans(10).await.unwrap();
    scans.into_iter().find(|scan| scan.id == id).unwrap()
}

async fn orphans(process: &Process) -> Vec<OrphanRecord> {
    process.meta.orphans(None, 1_000).await.unwrap()
}

async fn allow(process: &mut Process, what: What) -> i64 {
    let request = AllowOrphansRequest { what: Some(what) };
    process.coord.allow_orphans(request).await.unwrap().into_inner().objects
}

async fn is_there(world: &World, key: &ObjectKey) -> bool {
    match world.store.head(key).await {
        Ok(_) => true,
        Err(Error::NotFound { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn or_2_and_3_an_orphan_is_deleted_when_two_scans_saw_it_and_it_is_old() {
    let mut world = World::new();
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("docs").await.unwrap();
    process.upsert("docs", &[1, 2]).await.unwrap();
    process.snapshot("docs", "s").await.unwrap();
    let orphan = key("insert_log/1/2/3/0/x.parquet");
    world.store.put(&orphan, Bytes::from_static(b"x")).await.unwrap();

    let first = scan(&mut process).await;
    assert_eq!((first.state, first.counts.unknown, first.counts.orphans), (ScanState::Complete, 1, 0));
    assert!(first.counts.listed > 4 && first.counts.missing == 0, "{first:?}");
    world.clock.advance_ms(8 * 24 * HOUR_MS);
    scan(&mut process).await;
    process.background.activate_and_wait(SWEEP).await;
    assert!(is_there(&world, &orphan).await, "OR-3: no row ever mentioned it");
    assert_eq!(orphans(&process).await[0].queued_as, None);

    assert_eq!(allow(&mut process, What::UnknownKey(orphan.to_string())).await, 1);
    process.background.activate_and_wait(GC_SCAN).await;
    assert!(orphans(&process).await[0].queued_as.is_some());
    process.background.activate_and_wait(SWEEP).await;
    assert!(!is_there(&world, &orphan).await);

    // It comes again, as a late write does: now a tombstone knows it, and nobody needs to be asked.
    world.store.put(&orphan, Bytes::from_static(b"xy")).await.unwrap();
    let third = scan(&mut process).await;
    assert_eq!((third.counts.unknown, third.counts.orphans), (0, 1));
    world.clock.advance_ms(23 * HOUR_MS);
    scan(&mut process).await;
    assert_eq!(orphans(&process).await[0].queued_as, None, "OR-2: not yet a day between the scans");
    world.clock.advance_ms(2 * HOUR_MS);
    scan(&mut process).await;
    assert_eq!(orphans(&process).await[0].queued_as, None, "OR-2: not yet a week old");
    world.clock.advance_ms(7 * 24 * HOUR_MS);
    process.background.activate_and_wait(GC_SCAN).await;
    process.background.activate_and_wait(SWEEP).await;
    assert!(!is_there(&world, &orphan).await);
    let last = scan(&mut process).await;
    assert_eq!((last.counts.orphans, orphans(&process).await.len()), (0, 0));
    process.scrub().await;
    process.end().await;
}

/// A store that does not answer some of its reads.
fn tired(reads: &[u64]) -> Plan {
    reads.iter().fold(Plan::none(), |plan, n| plan.at_read(*n, Fault::ErrorBefore))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_fails_is_asked_for_again_and_the_scan_goes_on_from_there() {
    let mut world = World::new();
    world.config.scan_page_keys = 2;
    let store = world.store.clone();
    for n in 0..7 {
        store.put(&key(&format!("insert_log/{n}")), Bytes::from_static(b"x")).await.unwrap();
    }
    // The first page twice, the third one three times: a walk has four tries for each.
    world.store = Arc::new(FaultyStore::new(store, tired(&[1, 2, 5, 6, 7])));
    let mut process = world.start(Effects::none()).await.unwrap();
    let before = world.requests();
    let complete = scan(&mut process).await;
    assert_eq!((complete.state, complete.counts.unknown, complete.counts.pages), (ScanState::Complete, 7, 4));
    assert_eq!(world.requests() - before, 4 + 5 + 1, "pages, those that failed, the list of unfinished writes");
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn or_1_ranges_side_by_side_see_what_one_walk_sees() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    world.store = Arc::new(LocalStore::open(folder.path()).unwrap());
    world.config.scan_page_keys = 3;
    // Its requests would be counted.
    world.config.compaction.automatic = false;
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("docs").await.unwrap();
    for n in 0..20 {
        process.upsert("docs", &[n]).await.unwrap();
    }
    process.snapshot("docs", "s").await.unwrap();
    // Before, among and after the keys that are known; and one of these is gone.
    for text in ["a", "delta_log/0", "insert_log/0/x", "insert_log/999/x", "snapshots/zz", "zz/1", "zz/2"] {
        world.store.put(&key(text), Bytes::from_static(b"x")).await.unwrap();
    }
    let known = process.meta.known_objects(None, 1_000).await.unwrap();
    assert!(known.len() > 30, "{}", known.len());
    std::fs::remove_file(folder.path().join(known[11].key.as_str())).unwrap();
    process.end().await;

    let mut found = vec![];
    // One walk; a few ranges; more ranges than pages, all at once.
    for (shard_keys, at_once) in [(u64::MAX, 1), (7, 2), (1, 64)] {
        (world.config.scan_shard_keys, world.config.scan_shards_at_once) = (shard_keys, at_once);
        let mut process = world.start(Effects::none()).await.unwrap();
        let before = world.requests();
        let seen = scan(&mut process).await;
        let requests = world.requests() - before;
        let counts = elanus_meta::scans::ScanCounts { pages: 0, ..seen.counts };
        let keys: BTreeSet<_> = orphans(&process).await.into_iter().map(|found| found.orphan.key).collect();
        assert_eq!((counts.missing, counts.unknown, keys.len()), (1, 7, 7));
        let ranges = known.len() as u64 / shard_keys.min(known.len() as u64);
        // At most a page more for each range, and a look at what is missing.
        let pages = (known.len() as u64 + 7) / 3 + 1;
        assert!(requests <= pages + ranges + 2, "{requests} requests in {ranges} ranges");
        assert!(seen.message.contains(known[11].key.as_str()), "{}", seen.message);
        found.push((counts, keys));
        process.end().await;
    }
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn or_1_a_scan_that_fails_has_seen_nothing() {
    let mut world = World::new();
    let store = world.store.clone();
    world.store = Arc::new(FaultyStore::new(store.clone(), tired(&[1, 2, 3, 4])));
    let mut process = world.start(Effects::none()).await.unwrap();
    store.put(&key("insert_log/x"), Bytes::from_static(b"x")).await.unwrap();
    let failed = scan(&mut process).await;
    assert_eq!(failed.state, ScanState::Discarded, "{failed:?}");
    assert!(orphans(&process).await.iter().all(|orphan| orphan.first_ms.is_none()));
    let complete = scan(&mut process).await;
    assert_eq!((complete.state, complete.counts.unknown), (ScanState::Complete, 1));
    assert_eq!(orphans(&process).await[0].scans, 1);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn or_1_a_scan_of_an_earlier_coordinator_counts_for_nothing() {
    let mut world = World::new();
    let process = world.start(Effects::none()).await.unwrap();
    let coordinator = process.meta.take_over(&elanus_types::NodeId("old".into())).await.unwrap();
    coordinator.request_scan().await.unwrap();
    let begun = coordinator.begin_scan(i64::MAX).await.unwrap().unwrap();
    let newer = process.meta.take_over(&elanus_types::NodeId("new".into())).await.unwrap();
    let counts = begun.counts;
    coordinator.complete_scan(begun.id, &counts, "").await.unwrap_err();
    newer.complete_scan(begun.id, &counts, "").await.unwrap_err();
    assert_eq!(newer.begin_scan(i64::MAX).await.unwrap(), None);
    assert_eq!(process.meta.scans(1).await.unwrap()[0].state, ScanState::Discarded);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g_1_a_live_object_that_is_gone_stops_all_deleting_until_it_is_back() {
    let mut world = World::new();
    let folder = tempfile::tempdir().unwrap();
    world.store = Arc::new(LocalStore::open(folder.path()).unwrap());
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("docs").await.unwrap();
    process.upsert("docs", &[1, 2]).await.unwrap();
    let known = process.meta.known_objects(None, 1_000).await.unwrap();
    let lost = known.iter().find(|object| object.file_set_state == "live").unwrap().key.clone();
    let bytes = world.store.get(&lost).await.unwrap();
    std::fs::remove_file(folder.path().join(lost.as_str())).unwrap();

    let found = scan(&mut process).await;
    assert_eq!(found.counts.missing, 1);
    assert!(found.message.contains(lost.as_str()), "{}", found.message);
    assert_eq!(process.meta.delete_freezes().await.unwrap().len(), 1);

    // An object of another size is not whole either.
    std::fs::write(folder.path().join(lost.as_str()), &bytes[1..]).unwrap();
    let told = process.coord.reconcile(ReconcileRequest::default()).await.unwrap().into_inner();
    assert_eq!((told.missing_num, told.damaged), (0, vec![lost.to_string()]));
    std::fs::remove_file(folder.path().join(lost.as_str())).unwrap();

    // A reconcile says what is lost, and goes on only when somebody accepts it.
    let request = ReconcileRequest::default();
    let told = process.coord.reconcile(request).await.unwrap().into_inner();
    assert_eq!((told.missing, told.applied), (vec![lost.to_string()], false));
    let apply = ReconcileRequest { apply: true, ..ReconcileRequest::default() };
    let told = process.coord.reconcile(apply).await.unwrap().into_inner();
    assert!(!told.applied && told.frozen.starts_with("deletes are frozen by scan: 1 live objects"), "{told:?}");
    assert_eq!(process.meta.delete_freezes().await.unwrap().len(), 1);
    let accept = ReconcileRequest { accept_missing: true, ..apply };
    let told = process.coord.reconcile(accept).await.unwrap().into_inner();
    assert!(told.applied && told.frozen.is_empty() && told.ended[0].source == "scan", "{told:?}");
    assert!(process.meta.delete_freezes().await.unwrap().is_empty());

    scan(&mut process).await;
    assert_eq!(process.meta.delete_freezes().await.unwrap().len(), 1);
    world.store.put(&lost, bytes).await.unwrap();
    assert_eq!(scan(&mut process).await.counts.missing, 0);
    assert!(process.meta.delete_freezes().await.unwrap().is_empty());
    process.scrub().await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconcile_keeps_what_the_restored_metadata_do_not_know() {
    let mut world = World::new();
    let mut process = world.start(Effects::none()).await.unwrap();
    let later = key("insert_log/1/2/3/0/later.parquet");
    world.store.put(&later, Bytes::from_static(b"x")).await.unwrap();
    let quarantine_ms = 30 * 24 * HOUR_MS;
    let apply = ReconcileRequest { apply: true, accept_missing: false, quarantine_ms };
    let told = process.coord.reconcile(apply).await.unwrap().into_inner();
    assert_eq!((told.unknown_num, told.unknown, told.applied), (1, vec![later.to_string()], true));
    scan(&mut process).await;
    world.clock.advance_ms(8 * 24 * HOUR_MS);
    scan(&mut process).await;
    assert_eq!(allow(&mut process, What::AllUnknown(true)).await, 1);
    process.background.activate_and_wait(GC_SCAN).await;
    assert_eq!(orphans(&process).await[0].queued_as, None, "it is in quarantine");
    world.clock.advance_ms(quarantine_ms);
    process.background.activate_and_wait(GC_SCAN).await;
    process.background.activate_and_wait(SWEEP).await;
    assert!(!is_there(&world, &later).await);
    process.end().await;
}

/// Counts the pages and the longest one; and forgets of which folder unfinished writes were asked for.
#[derive(Debug)]
struct Pages {
    inner: Arc<dyn ObjectStore>,
    pages: AtomicUsize,
    longest: AtomicUsize,
    /// Its sweep runs once after a page was listed, or before a checksum is taken.
    after_page: Mutex<Option<Background>>,
    before_checksum: Mutex<Option<Background>>,
}

async fn sweep_once(of: &Mutex<Option<Background>>) {
    let background = of.lock().unwrap().take();
    if let Some(background) = background {
        assert!(background.activate_and_wait(SWEEP).await.handled > 0);
    }
}

impl Pages {
    fn over(inner: Arc<dyn ObjectStore>) -> Self {
        let (pages, longest) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { inner, pages, longest, after_page: Mutex::default(), before_checksum: Mutex::default() }
    }
}

#[async_trait]
impl ObjectStore for Pages {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        self.inner.put(key, bytes).await
    }
    async fn get(&self, key: &ObjectKey) -> Result<Bytes> {
        self.inner.get(key).await
    }
    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
        self.inner.get_range(key, range).await
    }
    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo> {
        self.inner.head(key).await
    }
    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        self.inner.copy(from, to, expected).await
    }
    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum> {
        sweep_once(&self.before_checksum).await;
        self.inner.checksum(key).await
    }
    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
        self.longest.store(usize::MAX, Ordering::SeqCst);
        self.inner.list(folder)
    }
    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>> {
        let page = self.inner.list_page(folder, after, limit).await?;
        self.pages.fetch_add(1, Ordering::SeqCst);
        self.longest.fetch_max(page.len(), Ordering::SeqCst);
        sweep_once(&self.after_page).await;
        Ok(page)
    }
    async fn delete(&self, permits: Vec<elanus_lifecycle::DeletePermit>) -> Result<()> {
        self.inner.delete(permits).await
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
        let (_, all) = (folder, None);
        self.inner.stale_uploads(all, before_ms).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<()> {
        self.inner.abort_upload(upload).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn or_4_a_bucket_full_of_orphans_is_scanned_in_flat_memory_and_held() {
    const OBJECTS: usize = 100_000;
    let mut world = World::new();
    let store = Arc::new(Pages::over(world.store.clone()));
    for n in 0..OBJECTS {
        store.put(&key(&format!("insert_log/1/2/{n:06}")), Bytes::new()).await.unwrap();
    }
    store.put(&ObjectKey::parse("another-cluster/insert_log/1").unwrap(), Bytes::new()).await.unwrap();
    world.store = store.clone();
    let mut process = world.start(Effects::none()).await.unwrap();
    let first = scan(&mut process).await;
    assert_eq!((first.counts.listed, first.counts.unknown), (OBJECTS as u64, OBJECTS as u64), "G-3");
    assert_eq!(store.longest.load(Ordering::SeqCst), 1_000);
    assert_eq!(store.pages.load(Ordering::SeqCst), OBJECTS / 1_000 + 1);
    assert!(first.held);

    // Allowed, old enough, seen twice: and still held.
    world.clock.advance_ms(8 * 24 * HOUR_MS);
    assert_eq!(allow(&mut process, What::UnknownKey(key("insert_log/1/2/000000").to_string())).await, 1);
    let second = scan(&mut process).await;
    assert_eq!(orphans(&process).await[0].queued_as, None);
    assert_eq!(allow(&mut process, What::AcceptScan(second.id)).await, OBJECTS as i64);
    process.background.activate_and_wait(GC_SCAN).await;
    let queued = orphans(&process).await.into_iter().filter(|orphan| orphan.queued_as.is_some()).count();
    assert_eq!(queued, 1);
    let level = ScrubRequest { level: "metadata".to_owned(), ..ScrubRequest::default() };
    let report = process.coord.scrub(level).await.unwrap().into_inner();
    assert!(report.findings.is_empty(), "{report:?}");
    process.end().await;
}

const DAY_MS: i64 = 24 * HOUR_MS;
const OWN_OLD: &str = "5e1f0e6c-test/insert_log/1/a#1";
const OWN_YOUNG: &str = "5e1f0e6c-test/insert_log/1/b#2";
const FOREIGN_OLD: &str = "5e1f0e6c-test2/insert_log/1/c#3";

/// A folder with what processes leave there that die while they write.
struct Left {
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
}

impl Left {
    fn at(now_ms: i64, own_olds: usize) -> Self {
        let mut left = Self { folder: tempfile::tempdir().unwrap(), files: Vec::new() };
        left.file(OWN_YOUNG, now_ms - 6 * DAY_MS);
        left.file(FOREIGN_OLD, now_ms - 8 * DAY_MS);
        for n in 0..own_olds {
            left.file(&format!("{OWN_OLD}{n}"), now_ms - 8 * DAY_MS);
        }
        left
    }

    fn file(&mut self, name: &str, modified_ms: i64) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_millis(modified_ms.unsigned_abs());
        File::create(&path).unwrap().set_modified(modified).unwrap();
        self.files.push(path);
    }

    fn store(&self) -> Arc<LocalStore> {
        Arc::new(LocalStore::open(self.folder.path()).unwrap())
    }

    fn names(&self) -> BTreeSet<&str> {
        let there = self.files.iter().filter(|path| path.exists());
        there.map(|path: &PathBuf| path.strip_prefix(self.folder.path()).ok().and_then(Path::to_str).unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_aborts_old_unfinished_writes_in_its_own_namespace_and_tells_how_many() {
    let mut world = World::new();
    let left = Left::at(world.clock.now_ms(), 20);
    world.store = left.store();
    let mut process = world.start(Effects::none()).await.unwrap();
    let found = scan(&mut process).await;
    assert_eq!((found.state, found.message.as_str()), (ScanState::Complete, "20 unfinished writes were aborted"));
    assert_eq!(left.names(), [OWN_YOUNG, FOREIGN_OLD].into());
    let audit = process.meta.gc_audit(None, None, 1).await.unwrap();
    assert_eq!((audit[0].actor.as_str(), audit[0].action.as_str()), ("scan", "abort uploads"));
    assert!(audit[0].detail.starts_with("20 unfinished writes"), "{audit:?}");
    let again = scan(&mut process).await;
    assert_eq!((again.state, again.message.as_str()), (ScanState::Complete, ""));
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_writes_stay_when_anything_fails_or_holds_deletes_back_and_the_scan_counts() {
    let mut world = World::new();
    let left = Left::at(world.clock.now_ms(), 1);
    let all = left.names().len();
    // Reads: a page and the list of writes for each scan.
    let plan = Plan::none().at_read(2, Fault::ErrorBefore).at_effect(1, Fault::ErrorBefore);
    world.store = Arc::new(FaultyStore::new(left.store(), plan));
    let owner = Arc::new(Owner::default());
    let guard: Arc<dyn elanus_datacoord::DeleteGuard> = owner.clone();
    let mut process = world.start_with(Effects::none(), |objects| Bucket { objects, guard }).await.unwrap();
    let tells = async |process: &mut Process, what: &str| {
        let found = scan(process).await;
        assert_eq!(found.state, ScanState::Complete);
        assert!(found.message.contains(what), "{what}: {}", found.message);
        assert_eq!(left.names().len(), all, "{what}");
    };
    tells(&mut process, "injected: error before the effect").await;
    tells(&mut process, "another cluster owns the root path").await;
    owner.0.store(true, Ordering::SeqCst);
    tells(&mut process, "0 of 1 unfinished writes were aborted, then one failed").await;

    let coordinator = process.meta.take_over(&elanus_types::NodeId("other".into())).await.unwrap();
    coordinator.pause_gc(None, world.clock.now_ms() + HOUR_MS, "me").await.unwrap();
    process.end().await;
    let mut process = world.start(Effects::none()).await.unwrap();
    tells(&mut process, "1 unfinished writes stay: deletes are paused").await;
    world.clock.advance_ms(2 * HOUR_MS);
    assert_eq!(scan(&mut process).await.message, "1 unfinished writes were aborted");
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g_3_a_store_that_names_writes_of_others_makes_the_scan_abort_none() {
    let mut world = World::new();
    let left = Left::at(world.clock.now_ms(), 1);
    let all = left.names().len();
    world.store = Arc::new(Pages::over(left.store()));
    let mut process = world.start(Effects::none()).await.unwrap();
    let found = scan(&mut process).await;
    assert!(found.message.contains("5e1f0e6c-test2/insert_log/1/c"), "{}", found.message);
    assert_eq!((found.state, left.names().len()), (ScanState::Complete, all));
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_of_a_bucket_aborts_old_uploads_in_its_own_namespace() {
    let server = S3Server::shared().await.unwrap();
    let (access, secret) = S3User::Writer.keys();
    let root = Some(ObjectKey::parse("some/root").unwrap());
    let location = S3Location { bucket: server.bucket().await.unwrap(), root };
    let credentials = S3Config::static_credentials(access, secret, None);
    let store = S3Store::new(S3Config::new(location, Some(server.endpoint()), credentials)).unwrap();
    let foreign = ObjectKey::parse("5e1f0e6c-test2/insert_log/1/c").unwrap();
    for upload in [key("insert_log/1/a"), key("insert_log/1/b"), foreign.clone()] {
        store.leave_upload(&upload).await.unwrap();
    }
    let store = Arc::new(store);
    let mut world = World::new();
    world.store = store.clone();
    world.clock.advance_ms(SystemClock.now_ms() - world.clock.now_ms() + 6 * DAY_MS);
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("docs").await.unwrap();
    process.upsert("docs", &[1, 2]).await.unwrap();
    let young = scan(&mut process).await;
    assert_eq!((young.state, young.message.as_str()), (ScanState::Complete, ""));
    assert!(young.counts.listed > 1 && young.counts.unknown == 0 && young.counts.missing == 0, "{young:?}");
    world.clock.advance_ms(2 * DAY_MS);
    assert_eq!(scan(&mut process).await.message, "2 unfinished writes were aborted");
    let uploads = store.stale_uploads(None, i64::MAX).await.unwrap();
    assert_eq!(uploads.into_iter().map(|upload| upload.key).collect::<Vec<_>>(), [foreign]);
    process.scrub().await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_calls_nothing_missing_or_unknown_that_the_collector_deletes_meanwhile() {
    for after_page in [true, false] {
        let mut world = World::new();
        world.config.trash_retention_ms = 0;
        world.config.gc_drop_tolerance_ms = 1_000;
        let store = Arc::new(Pages::over(world.store.clone()));
        world.store = store.clone();
        let mut process = world.start(Effects::none()).await.unwrap();
        process.create_collection("docs").await.unwrap();
        process.upsert("docs", &[1, 2, 3]).await.unwrap();
        process.coord.drop_collection(by_name("docs")).await.unwrap();
        while process.background.activate_and_wait(GC_RELEASE).await.handled > 0 {}
        // The round that the release woke is over before anything is due.
        process.background.activate_and_wait(SWEEP).await;
        world.clock.advance_ms(1_000);
        let when = if after_page { &store.after_page } else { &store.before_checksum };
        *when.lock().unwrap() = Some(process.background.clone());
        process.scrub().await;
        assert!(when.lock().unwrap().is_none(), "it was deleted meanwhile");
        process.end().await;
    }
}

//! Clusters that meet at one root path in memory: what each is told, and what the marker says afterwards.

use super::{
    Freeze, MetaView, Ownership, Refusal, RootMeta, Site, StartError, Tenant,
    marker::{FormerObjects, Marker, Term},
    operator,
    start::{Floor, Mirror, Taken, start},
};
use crate::{
    Error, Etag, MarkerStore, MemoryMarkers, MemoryStore, ObjectStore, OwnedStore, Result, Versioned, Written, suite,
};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_types::{Clock, Epoch, Failure, ManualClock, NodeId, ObjectKey, RootHold};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use uuid::Uuid;

const MARKER: &str = "r/_elanus/owner.json";

/// Metadata in memory; a copy of it is a backup.
#[derive(Debug)]
struct FakeMeta {
    view: Mutex<MetaView>,
    calls: AtomicU64,
}

/// Above nothing.
const NO_MARKER: Floor = Floor { epoch: Epoch(0), hwm: Some(0) };

impl FakeMeta {
    fn new(cluster: u128) -> Arc<Self> {
        let cluster_id = Uuid::from_u128(cluster);
        let (starts, hold, location) = (BTreeMap::new(), None, None);
        Self::at(MetaView { cluster_id, epoch: Epoch(0), hwm: 1, starts, hold, location, marker_epoch: Epoch(0) })
    }

    fn backup(&self) -> Arc<Self> {
        Self::at(self.now())
    }

    fn at(view: MetaView) -> Arc<Self> {
        Arc::new(Self { view: Mutex::new(view), calls: AtomicU64::new(0) })
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn asked(&self) -> MutexGuard<'_, MetaView> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.view.lock().unwrap()
    }

    fn now(&self) -> MetaView {
        self.view.lock().unwrap().clone()
    }

    fn take(&self, floor: Floor, hold: Option<RootHold>) -> Taken {
        let mut view = self.asked();
        view.epoch = Epoch(view.epoch.max(floor.epoch).0 + 1);
        if let Some(floor) = floor.hwm {
            view.hwm = view.hwm.max(floor) + 1;
        }
        view.hold = hold.or(view.hold);
        let term = Term::new(view.epoch);
        view.starts.insert(term.epoch, term.start_id.clone());
        Taken { term, hwm: view.hwm }
    }
}

#[async_trait]
impl RootMeta for FakeMeta {
    async fn view(&self) -> Result<MetaView, Failure> {
        Ok(self.now())
    }

    async fn take_over(&self, floor: Floor, hold: Option<RootHold>) -> Result<Taken, Failure> {
        Ok(self.take(floor, hold))
    }

    async fn next_term(&self, epoch: Epoch) -> Result<Option<Taken>, Failure> {
        if self.now().epoch != epoch {
            return Ok(None);
        }
        Ok(Some(self.take(NO_MARKER, None)))
    }

    async fn raise(&self, epoch: Epoch, _etag: Option<&Etag>) -> Result<Option<i64>, Failure> {
        let mut view = self.asked();
        if view.epoch != epoch {
            return Ok(None);
        }
        view.hwm += 1;
        Ok(Some(view.hwm))
    }

    async fn mirror(&self, mirror: &Mirror) -> Result<(), Failure> {
        let mut view = self.asked();
        (view.location, view.hold) = (Some(mirror.location.clone()), mirror.hold);
        view.marker_epoch = mirror.epoch;
        Ok(())
    }
}

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    ignores_conditions: bool,
    denies: &'static str,
    away: bool,
    clock_ahead_ms: i64,
}

/// A store of markers with faults that a test changes as it goes.
#[derive(Clone, Debug)]
struct FaultyMarkers {
    inner: MemoryMarkers,
    faults: Arc<Mutex<Faults>>,
    requests: Arc<AtomicU64>,
}

impl FaultyMarkers {
    fn faults(&self, verb: &'static str) -> Result<Faults> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let faults = *self.faults.lock().unwrap();
        if faults.away {
            return Err(Error::transient(verb, "503 slow down"));
        }
        if faults.denies == verb {
            return Err(Error::Denied { attempt: verb.to_owned(), source: "403 AccessDenied".into() });
        }
        Ok(faults)
    }

    async fn current(&self, key: &ObjectKey) -> Option<Etag> {
        self.inner.read(key).await.unwrap().map(|found| found.etag)
    }
}

#[async_trait]
impl MarkerStore for FaultyMarkers {
    async fn read(&self, key: &ObjectKey) -> Result<Option<Versioned>> {
        self.faults("get")?;
        self.inner.read(key).await
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Written> {
        let faults = self.faults("put")?;
        let written = match self.current(key).await {
            Some(etag) if faults.ignores_conditions => self.inner.replace(key, bytes, &etag).await?,
            _ => self.inner.create(key, bytes).await?,
        };
        Ok(Written { store_ms: written.store_ms + faults.clock_ahead_ms, ..written })
    }

    async fn replace(&self, key: &ObjectKey, bytes: Bytes, expected: &Etag) -> Result<Written> {
        let faults = self.faults("put")?;
        if faults.ignores_conditions {
            return self.create(key, bytes).await;
        }
        let written = self.inner.replace(key, bytes, expected).await?;
        Ok(Written { store_ms: written.store_ms + faults.clock_ahead_ms, ..written })
    }

    async fn remove(&self, key: &ObjectKey, expected: &Etag) -> Result<()> {
        let faults = self.faults("delete")?;
        match self.current(key).await {
            Some(etag) if faults.ignores_conditions => self.inner.remove(key, &etag).await,
            _ => self.inner.remove(key, expected).await,
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.faults("list")?;
        self.inner.list(folder).await
    }
}

/// One bucket.
struct World {
    store: FaultyMarkers,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
        let inner = MemoryMarkers::new(clock.clone(), "r");
        Self { store: FaultyMarkers { inner, faults: Arc::default(), requests: Arc::default() }, clock }
    }

    fn with(faults: Faults) -> Self {
        let world = Self::new();
        world.set(faults);
        world
    }

    fn set(&self, faults: Faults) {
        *self.store.faults.lock().unwrap() = faults;
    }

    fn site(&self) -> Site {
        self.site_at("r")
    }

    fn site_at(&self, root: &str) -> Site {
        let store = FaultyMarkers { inner: self.store.inner.at(root), ..self.store.clone() };
        Site {
            store: Arc::new(store),
            location: format!("memory://{root}"),
            beside: vec!["meta.db".to_owned()],
            clock: self.clock.clone(),
        }
    }

    async fn start(&self, meta: &Arc<FakeMeta>) -> Result<Ownership, StartError> {
        start(&self.site(), meta.clone(), &NodeId("node".to_owned())).await
    }

    async fn refused(&self, meta: &Arc<FakeMeta>) -> Refusal {
        let (before, marker) = (meta.now(), self.store.inner.list("").await.unwrap());
        match self.start(meta).await {
            Err(StartError::Refused { refusal, .. }) => {
                assert_eq!(meta.now(), before, "OW-1");
                assert_eq!(self.store.inner.list("").await.unwrap(), marker, "OW-1");
                refusal
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    async fn marker(&self) -> Marker {
        let found = self.store.inner.read(&Marker::key()).await.unwrap().unwrap();
        Marker::read(&found.bytes).unwrap()
    }

    fn requests(&self) -> u64 {
        self.store.requests.load(Ordering::SeqCst)
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance_ms(seconds * 1_000);
    }
}

async fn freeze_of(ownership: &Ownership) -> &'static str {
    match ownership.confirm_for_delete().await {
        Ok(()) => "none",
        Err(frozen) => frozen.why.label(),
    }
}

#[tokio::test]
async fn an_empty_root_is_taken_renewed_and_taken_again_by_the_next_process() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let first = world.start(&meta).await.unwrap();
    assert_eq!((freeze_of(&first).await, first.may_write()), ("none", Ok(())));
    let (marker, nonce) = (world.marker().await, world.marker().await.nonce);
    assert_eq!((marker.epoch, marker.cluster_id, marker.hold), (Epoch(1), Uuid::from_u128(1), None));
    assert!(marker.capabilities.conditional_writes() && marker.capabilities.conditional_remove);
    assert!(world.store.inner.list("_elanus/probe").await.unwrap().is_empty(), "probes are removed");
    world.pass(10);
    first.renew().await.unwrap();
    let marker = world.marker().await;
    assert_eq!((marker.meta_hwm, marker.renewed_ms), (meta.now().hwm, world.clock.now_ms()));
    assert_ne!(marker.nonce, nonce, "OW-8");

    let second = world.start(&meta).await.unwrap();
    assert_eq!((second.epoch(), freeze_of(&second).await), (Epoch(2), "none"));
    world.pass(10);
    assert_eq!(first.renew().await.unwrap_err().label(), "fenced", "OW-4");
    second.renew().await.unwrap();
}

#[tokio::test]
async fn ow_1_another_cluster_is_refused_and_told_who_owns_it() {
    let world = World::new();
    let (owner, other) = (FakeMeta::new(1), FakeMeta::new(2));
    let ownership = world.start(&owner).await.unwrap();
    for _ in 0..2 {
        let refusal = world.refused(&other).await;
        assert!(
            matches!(&refusal, Refusal::AnotherCluster(marker) if marker.cluster_id == Uuid::from_u128(1)),
            "{refusal:?}"
        );
        // Never by expiry.
        world.pass(1_000_000);
    }
    assert_eq!(freeze_of(&ownership).await, "none", "it looks for itself after the long silence");
}

#[tokio::test]
async fn ow_1_what_others_left_there_refuses_and_is_shared_only_when_that_was_said() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    world.store.inner.put_foreign("r/files/insert_log/1/2/3/4", b"milvus");
    assert_eq!(world.refused(&meta).await, Refusal::NotEmpty);
    operator::init(&world.site(), &*meta, false).await.unwrap_err();
    operator::init(&world.site(), &*meta, true).await.unwrap();
    let ownership = world.start(&meta).await.unwrap();
    assert_eq!(freeze_of(&ownership).await, "none");
    operator::init(&world.site(), &*meta, true).await.unwrap_err();
}

#[tokio::test]
async fn the_own_metadata_and_the_rests_of_a_killed_start_are_not_foreign() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    for rest in ["r/meta.db", "r/_elanus/lock", "r/_elanus/probe/1-x", "r/lost+found/x"] {
        world.store.inner.put_foreign(rest, b"x");
    }
    world.start(&meta).await.unwrap();
    assert!(world.store.inner.list("_elanus/probe").await.unwrap().is_empty(), "old probes are removed");
}

#[tokio::test]
async fn ow_5_a_marker_that_goes_missing_stops_deletes_only_until_it_is_repaired() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    world.store.inner.remove_foreign(MARKER);
    world.store.inner.put_foreign("r/00000000-0000-0000-0000-000000000001/x", b"mine");
    for _ in 0..10 {
        world.pass(10);
        assert_eq!(ownership.renew().await, Err(Freeze::MarkerMissing));
        assert_eq!((freeze_of(&ownership).await, ownership.may_write()), ("marker_missing", Ok(())));
    }
    // Also over a restart.
    let restarted = world.start(&meta).await.unwrap();
    assert_eq!((freeze_of(&restarted).await, restarted.may_write()), ("marker_missing", Ok(())));
    operator::repair(&world.site(), &*meta).await.unwrap();
    world.pass(10);
    restarted.renew().await.unwrap();
    assert_eq!(freeze_of(&restarted).await, "none");
    assert_eq!(world.marker().await.meta_hwm, meta.now().hwm);
    operator::repair(&world.site(), &*meta).await.unwrap_err();
}

#[tokio::test]
async fn ow_5_a_damaged_marker_stops_deletes_and_can_be_repaired() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    world.start(&meta).await.unwrap();
    world.store.inner.put_foreign(MARKER, b"{");
    let ownership = world.start(&meta).await.unwrap();
    assert_eq!(freeze_of(&ownership).await, "unreadable");
    assert!(matches!(world.refused(&FakeMeta::new(2)).await, Refusal::Unreadable { .. }));
    operator::repair(&world.site(), &*FakeMeta::new(2)).await.unwrap_err();
    operator::repair(&world.site(), &*meta).await.unwrap();
    assert_eq!(freeze_of(&ownership).await, "none", "it looks for itself");
}

#[tokio::test]
async fn metadata_from_yesterday_deletes_nothing_until_it_is_released() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    let yesterday = meta.backup();
    ownership.renew().await.unwrap();
    // The same epoch, and nothing was done but one renewal.
    let restored = world.start(&yesterday).await.unwrap();
    assert_eq!((freeze_of(&restored).await, restored.may_write()), ("restored", Ok(())));
    assert_eq!(world.marker().await.hold, Some(RootHold::Restored));
    assert_eq!(ownership.renew().await.unwrap_err().label(), "fenced", "the old process");

    // OW-7: not forgotten by a restart, although the metadata has caught up.
    let restored = world.start(&yesterday).await.unwrap();
    assert_eq!(freeze_of(&restored).await, "restored");
    // Nor when the marker is gone as well.
    world.store.inner.remove_foreign(MARKER);
    operator::repair(&world.site(), &*yesterday).await.unwrap();
    let restored = world.start(&yesterday).await.unwrap();
    assert_eq!(freeze_of(&restored).await, "restored");

    operator::release_restored(&world.site(), &*yesterday).await.unwrap();
    world.pass(10);
    restored.renew().await.unwrap();
    assert_eq!(freeze_of(&restored).await, "none");
    assert_eq!(yesterday.now().hold, None);
    assert_eq!(freeze_of(&world.start(&yesterday).await.unwrap()).await, "none", "the counter is above the marker's");
}

#[tokio::test]
async fn ow_9_a_backup_from_before_a_claim_is_behind_as_soon_as_the_claim_is_confirmed() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    ownership.renew().await.unwrap();
    // Younger than the last renewal; the process dies before the next.
    let young = meta.backup();
    ownership.mark().await.unwrap(); // what a sweep does between claim and delete
    let restored = world.start(&young).await.unwrap();
    assert_eq!(freeze_of(&restored).await, "restored");
}

#[tokio::test]
async fn ow_10_a_process_that_died_between_metadata_and_marker_is_no_backup() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    // Raised for a renewal, and for starts, whose markers were never written.
    meta.raise(ownership.epoch(), None).await.unwrap().unwrap();
    meta.take(NO_MARKER, None);
    meta.take(NO_MARKER, None);
    let restarted = world.start(&meta).await.unwrap();
    assert_eq!((freeze_of(&restarted).await, restarted.epoch()), ("none", Epoch(4)));
    // One of these markers comes late, from a process that sleeps.
    let late = meta.take(NO_MARKER, None);
    meta.take(NO_MARKER, None);
    let marker = world.marker().await.renewed(&late.term, late.hwm, "late", 1);
    let etag = world.store.inner.read(&Marker::key()).await.unwrap().unwrap().etag;
    world.store.inner.replace(&Marker::key(), marker.to_bytes(), &etag).await.unwrap();
    let restarted = world.start(&meta).await.unwrap();
    assert_eq!(freeze_of(&restarted).await, "none");
}

#[tokio::test]
async fn ow_10_a_backup_that_starts_while_the_store_is_away_is_still_known_as_one() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let original = world.start(&meta).await.unwrap();
    let backup = meta.backup();
    original.mark().await.unwrap();
    // Starts and renewals that cannot see the marker must not catch up with it.
    world.set(Faults { away: true, ..Faults::default() });
    for _ in 0..3 {
        let blind = world.start(&backup).await.unwrap();
        blind.renew().await.unwrap_err();
        assert_ne!(freeze_of(&blind).await, "none");
    }
    let last = world.start(&backup).await.unwrap();
    world.set(Faults::default());
    last.renew().await.unwrap();
    assert_eq!((freeze_of(&last).await, backup.now().hold), ("restored", Some(RootHold::Restored)));
    // The hold was remembered before the counter was raised.
    assert_eq!(freeze_of(&world.start(&backup).await.unwrap()).await, "restored");
}

#[tokio::test]
async fn ow_10_the_second_of_two_copies_deletes_nothing_whatever_its_numbers_say() {
    // Numbers of the original went on while the store was away, so that they are above those of the copy that starts first.
    let (world, original) = (World::new(), FakeMeta::new(1));
    world.start(&original).await.unwrap();
    let copy = original.backup();
    for _ in 0..3 {
        original.take(NO_MARKER, None);
    }
    let by_copy = world.start(&copy).await.unwrap();
    assert_eq!(freeze_of(&by_copy).await, "none", "the one that starts first is the cluster");
    let view = original.now();
    let marker = world.marker().await;
    assert!(view.epoch > marker.epoch && view.hwm > marker.meta_hwm, "the numbers tell nothing");
    let by_original = world.start(&original).await.unwrap();
    assert_eq!((freeze_of(&by_original).await, by_original.may_write()), ("restored", Ok(())));
    by_copy.renew().await.unwrap_err();
    assert_eq!(freeze_of(&by_copy).await, "fenced");

    // Both at once, the store away: who writes second finds a marker of its own epoch that it did not write.
    let world = World::new();
    let original = FakeMeta::new(1);
    world.start(&original).await.unwrap();
    let copy = original.backup();
    world.set(Faults { away: true, ..Faults::default() });
    let (first, second) = (world.start(&original).await.unwrap(), world.start(&copy).await.unwrap());
    world.set(Faults::default());
    assert_eq!(first.epoch(), second.epoch());
    first.renew().await.unwrap();
    let fenced = second.renew().await.unwrap_err();
    assert!(fenced.to_string().contains("another copy of this cluster's metadata"), "{fenced}");
    assert_eq!((freeze_of(&first).await, freeze_of(&second).await), ("none", "fenced"));
}

#[tokio::test]
async fn a_reconciliation_ends_the_hold_under_a_new_epoch_and_can_be_repeated() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    let yesterday = meta.backup();
    ownership.renew().await.unwrap();
    let restored = world.start(&yesterday).await.unwrap();
    let copy = yesterday.backup();
    world.set(Faults { away: true, ..Faults::default() });
    restored.reconciled().await.unwrap_err();
    world.set(Faults::default());
    assert_eq!((freeze_of(&restored).await, yesterday.now().hold), ("restored", Some(RootHold::Restored)));
    let before = restored.epoch();
    let told = restored.reconciled().await.unwrap();
    assert_eq!((told.ended, told.epoch), (Some(RootHold::Restored), Epoch(before.0 + 1)));
    assert_eq!((freeze_of(&restored).await, yesterday.now().hold, restored.epoch()), ("none", None, told.epoch));
    assert_eq!((world.marker().await.epoch, world.marker().await.hold), (told.epoch, None));
    let again = restored.reconciled().await.unwrap();
    assert_eq!((again.ended, again.epoch), (None, Epoch(told.epoch.0 + 1)));
    restored.renew().await.unwrap();
    // The same backup, restored once more, was reconciled by nobody.
    let once_more = world.start(&copy).await.unwrap();
    assert_eq!(freeze_of(&once_more).await, "restored");
    assert_eq!(restored.reconciled().await.unwrap_err().why.label(), "fenced");
    // Nor is a quarantine ended by it.
    let (world, other) = (World::new(), FakeMeta::new(2));
    world.start(&FakeMeta::new(1)).await.unwrap();
    let owner = (Uuid::from_u128(1), world.marker().await.epoch);
    operator::take(&world.site(), &*other, owner, "x").await.unwrap();
    let taken = world.start(&other).await.unwrap();
    assert_eq!(taken.reconciled().await.unwrap().ended, None);
    assert_eq!(freeze_of(&taken).await, "quarantined");
}

#[tokio::test]
async fn a_renewal_is_one_request_to_the_store_and_one_to_the_metadata() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    let (requests, calls) = (world.requests(), meta.calls());
    for n in 1..=3 {
        ownership.renew().await.unwrap();
        assert_eq!((world.requests() - requests, meta.calls() - calls), (n, n));
    }
}

#[tokio::test]
async fn a_restored_epoch_is_noticed_too_and_ow_6_the_epoch_does_not_fall() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    world.start(&meta).await.unwrap();
    let yesterday = meta.backup();
    for _ in 0..5 {
        world.start(&meta).await.unwrap();
    }
    let restored = world.start(&yesterday).await.unwrap();
    assert_eq!((freeze_of(&restored).await, restored.epoch()), ("restored", Epoch(7)));
}

#[tokio::test]
async fn ow_4_a_takeover_fences_the_old_owner_and_deletes_nothing_until_somebody_decides() {
    let world = World::new();
    let (old, new) = (FakeMeta::new(1), FakeMeta::new(2));
    let ownership = world.start(&old).await.unwrap();
    let expected = (Uuid::from_u128(1), Epoch(1));
    for wrong in [(Uuid::from_u128(3), Epoch(1)), (Uuid::from_u128(1), Epoch(2))] {
        operator::take(&world.site(), &*new, wrong, "x").await.unwrap_err();
    }
    operator::take(&world.site(), &*old, expected, "x").await.unwrap_err();
    operator::take(&world.site(), &*new, expected, "the machine burnt").await.unwrap();
    assert_eq!(ownership.may_write(), Ok(()), "it does not know yet");
    world.pass(10);
    ownership.renew().await.unwrap_err();
    assert!(ownership.fenced().await.contains("00000000-0000-0000-0000-000000000002"));
    assert_eq!(freeze_of(&ownership).await, "fenced");
    assert!(
        ownership.may_write().unwrap_err().to_string().starts_with("writes are off: the root path is now owned by")
    );

    let taken = world.start(&new).await.unwrap();
    assert_eq!((freeze_of(&taken).await, taken.may_write()), ("quarantined", Ok(())));
    assert!(taken.epoch() > ownership.epoch(), "OW-6");
    assert!(matches!(world.refused(&old).await, Refusal::AnotherCluster(_)));
    operator::decide(&world.site(), &*new, None, FormerObjects::LeftForeign).await.unwrap();
    world.pass(10);
    taken.renew().await.unwrap();
    assert_eq!(freeze_of(&taken).await, "none");
    let former = &world.marker().await.former_owners[0];
    assert_eq!((former.cluster_id, former.objects), (Uuid::from_u128(1), FormerObjects::LeftForeign));
    assert_eq!(former.reason, "the machine burnt");
    operator::decide(&world.site(), &*new, None, FormerObjects::Adopted).await.unwrap_err();
    operator::decide(&world.site(), &*new, Some(Uuid::from_u128(1)), FormerObjects::Adopted).await.unwrap();
}

#[tokio::test]
async fn ow_2_ow_3_silence_of_the_store_stops_deletes_after_30_seconds_and_writes_after_60() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    world.set(Faults { away: true, ..Faults::default() });
    for (seconds, deletes, writes) in
        [(30, "none", true), (1, "not_confirmed", true), (29, "not_confirmed", true), (1, "not_confirmed", false)]
    {
        world.pass(seconds);
        assert_eq!((freeze_of(&ownership).await, ownership.may_write().is_ok()), (deletes, writes), "{seconds}");
    }
    let restarted = world.start(&meta).await.unwrap();
    assert_eq!((freeze_of(&restarted).await, restarted.may_write()), ("unreadable", Ok(())), "OW-5");
    world.set(Faults::default());
    assert_eq!((freeze_of(&restarted).await, restarted.may_write()), ("none", Ok(())));
    let never = FakeMeta::new(2);
    world.set(Faults { away: true, ..Faults::default() });
    assert!(matches!(world.refused(&never).await, Refusal::Unreadable { .. }));
}

#[tokio::test]
async fn a_store_that_was_away_at_the_start_may_know_that_the_metadata_is_from_yesterday() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    let yesterday = meta.backup();
    ownership.renew().await.unwrap();
    world.set(Faults { away: true, ..Faults::default() });
    let restored = world.start(&yesterday).await.unwrap();
    world.set(Faults::default());
    assert_eq!(freeze_of(&restored).await, "restored");
}

#[tokio::test]
async fn a_clock_that_went_back_confirms_nothing() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    world.set(Faults { away: true, ..Faults::default() });
    world.pass(-1);
    assert_eq!((freeze_of(&ownership).await, ownership.may_write().is_ok()), ("not_confirmed", false));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found_by_the_next_look() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    // Written by this very process, and the answer never came.
    let lost = world.marker().await.renewed(&world.marker().await.term(), 1, "node", 1);
    let etag = world.store.inner.read(&Marker::key()).await.unwrap().unwrap().etag;
    world.store.inner.replace(&Marker::key(), lost.to_bytes(), &etag).await.unwrap();
    ownership.renew().await.unwrap();
    assert_eq!(freeze_of(&ownership).await, "none");
}

#[tokio::test]
async fn missing_rights_are_named_at_the_start() {
    for right in ["put", "get", "list", "delete"] {
        let world = World::with(Faults { denies: right, ..Faults::default() });
        let refused = world.start(&FakeMeta::new(1)).await.unwrap_err().to_string();
        assert!(refused.contains("AccessDenied"), "{right}: {refused}");
        match right {
            "put" | "delete" => assert!(refused.contains(&format!("the credential may not {right}")), "{refused}"),
            _ => assert!(refused.contains("cannot be read"), "{refused}"),
        }
        // An owner that lost a right is told as well.
        let (world, meta) = (World::new(), FakeMeta::new(1));
        world.start(&meta).await.unwrap();
        world.set(Faults { denies: right, ..Faults::default() });
        match world.start(&meta).await {
            Err(error) => assert!(error.to_string().contains(&format!("the credential may not {right}")), "{error}"),
            Ok(ownership) => panic!("{right}: {ownership:?}"),
        }
    }
}

#[tokio::test]
async fn clock_skew_stops_deletes_until_it_is_gone() {
    for (ahead_ms, expected) in [(59_000, "none"), (-59_000, "none"), (61_000, "clock_skew"), (-61_000, "clock_skew")] {
        let world = World::with(Faults { clock_ahead_ms: ahead_ms, ..Faults::default() });
        let ownership = world.start(&FakeMeta::new(1)).await.unwrap();
        assert_eq!(freeze_of(&ownership).await, expected, "{ahead_ms}");
        assert_eq!(ownership.may_write(), Ok(()));
        world.set(Faults::default());
        ownership.renew().await.unwrap();
        assert_eq!(freeze_of(&ownership).await, "none");
    }
}

#[tokio::test]
async fn a_store_that_lies_about_conditions_is_noticed_and_claim_files_keep_a_second_cluster_away() {
    let world = World::with(Faults { ignores_conditions: true, ..Faults::default() });
    let (owner, other) = (FakeMeta::new(1), FakeMeta::new(2));
    let ownership = world.start(&owner).await.unwrap();
    let capabilities = ownership.status().capabilities;
    assert!(
        !capabilities.conditional_create && !capabilities.conditional_replace && !capabilities.conditional_writes()
    );
    world.pass(10);
    ownership.renew().await.unwrap();
    assert!(matches!(world.refused(&other).await, Refusal::AnotherCluster(_)));

    // The marker is gone: the claim is still there.
    world.store.inner.remove_foreign(MARKER);
    assert!(matches!(world.start(&other).await, Err(StartError::Refused { refusal: Refusal::Claimed { .. }, .. })));
    // And the owner sees that somebody else wants it.
    ownership.renew().await.unwrap_err();
    assert_ne!(freeze_of(&ownership).await, "none");
}

#[tokio::test]
async fn a_root_path_in_another_one_is_refused_from_both_sides() {
    let world = World::new();
    start(&world.site_at("a/b"), FakeMeta::new(1), &NodeId("n".to_owned())).await.unwrap();
    for inner in ["a/b/c", "a/b/c/d/e", "a", ""] {
        let refused = start(&world.site_at(inner), FakeMeta::new(2), &NodeId("n".to_owned())).await.unwrap_err();
        assert!(refused.to_string().contains("overlaps") || inner.len() < 2, "{inner}: {refused}");
        let into = operator::init(&world.site_at(inner), &*FakeMeta::new(2), true).await.unwrap_err();
        assert!(into.to_string().contains("overlaps"), "{inner}: {into}");
    }
    for beside in ["a/c", "a/bb", "b"] {
        start(&world.site_at(beside), FakeMeta::new(2), &NodeId("n".to_owned())).await.unwrap();
    }
}

#[tokio::test]
async fn an_empty_place_is_refused_when_the_metadata_belongs_elsewhere() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    world.start(&meta).await.unwrap();
    let wrong = start(&world.site_at("other"), meta.clone(), &NodeId("n".to_owned())).await.unwrap_err();
    assert!(wrong.to_string().contains("memory://r"), "{wrong}");
}

#[expect(clippy::disallowed_methods, reason = "tests of stores have no metadata")]
#[tokio::test]
async fn an_owned_store_writes_and_deletes_only_as_the_owner() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let ownership = world.start(&meta).await.unwrap();
    let inner = Arc::new(MemoryStore::new(world.clock.clone()));
    let store = OwnedStore::new(inner.clone(), ownership.clone());
    let key = |name: &str| ObjectKey::parse(name).unwrap();
    store.put(&key("a"), Bytes::from_static(b"1")).await.unwrap();
    let expected = crate::Expected::of(b"1");
    operator::take(&world.site(), &*FakeMeta::new(2), (Uuid::from_u128(1), Epoch(1)), "x").await.unwrap();
    ownership.renew().await.unwrap_err();
    let refused = [
        store.put(&key("b"), Bytes::new()).await.map(drop),
        store.copy(&key("a"), &key("b"), expected).await.map(drop),
        store.delete(suite::permits(&[key("a")])).await,
    ];
    for refused in refused {
        assert!(matches!(&refused, Err(Error::Transient { .. })), "{refused:?}");
    }
    assert_eq!(store.get(&key("a")).await.unwrap(), "1", "reads go on");
    inner.head(&key("b")).await.unwrap_err();
}

#[expect(clippy::disallowed_methods, reason = "tests of stores have no metadata")]
#[tokio::test]
async fn a_store_to_read_is_read_and_nothing_else() {
    let inner = Arc::new(MemoryStore::new(World::new().clock));
    let key = |name: &str| ObjectKey::parse(name).unwrap();
    inner.put(&key("a"), Bytes::from_static(b"1")).await.unwrap();
    let store = OwnedStore::to_read(inner.clone());
    let refused = [
        store.put(&key("b"), Bytes::new()).await.map(drop),
        store.copy(&key("a"), &key("b"), crate::Expected::of(b"1")).await.map(drop),
        store.delete(suite::permits(&[key("a")])).await,
    ];
    for refused in refused {
        assert!(matches!(&refused, Err(Error::Refused { .. })), "{refused:?}");
    }
    assert_eq!(store.get(&key("a")).await.unwrap(), "1");
    inner.head(&key("b")).await.unwrap_err();
}

#[tokio::test]
async fn an_owned_store_keeps_every_promise() {
    for promise in suite::PROMISES {
        let (world, meta) = (World::new(), FakeMeta::new(1));
        let ownership = world.start(&meta).await.unwrap();
        let inner = Arc::new(MemoryStore::new(world.clock.clone()));
        promise.check(Arc::new(OwnedStore::new(inner, ownership))).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "tests of stores have no metadata")]
#[tokio::test]
async fn ow_11_a_tenant_writes_once_the_coordinator_owns_the_place_and_deletes_nothing() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let tenant = Tenant::enter(&world.site(), meta.clone()).await.unwrap();
    assert!(tenant.may_write().unwrap_err().to_string().contains("elanus datacoord"), "nobody owns it yet");
    let inner = Arc::new(MemoryStore::new(world.clock.clone()));
    let store = OwnedStore::new(inner, tenant.clone());
    store.put(&ObjectKey::parse("early").unwrap(), Bytes::new()).await.unwrap_err();
    let _owner = world.start(&meta).await.unwrap();
    // It looks again for whoever wants to write, not only from time to time.
    let key = ObjectKey::parse("a").unwrap();
    store.put(&key, Bytes::from_static(b"1")).await.unwrap();
    let refused = store.delete(suite::permits(std::slice::from_ref(&key))).await.unwrap_err();
    assert!(matches!(refused, Error::Transient { .. }), "{refused:?}");

    world.clock.advance_ms(60_001);
    assert!(tenant.may_write().is_err(), "OW-3: the store said nothing for a minute");
    tenant.look().await.unwrap();
    let _later = world.start(&meta).await.unwrap();
    tenant.look().await.unwrap();
    assert!(tenant.may_write().is_ok(), "a later coordinator of the same cluster");
}

#[tokio::test]
async fn ow_11_a_tenant_ends_when_another_cluster_takes_the_root_path() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let owner = world.start(&meta).await.unwrap();
    let tenant = Tenant::enter(&world.site(), meta.clone()).await.unwrap();
    let expected = (Uuid::from_u128(1), owner.epoch());
    operator::take(&world.site(), &*FakeMeta::new(2), expected, "x").await.unwrap();
    tenant.look().await.unwrap_err();
    assert!(tenant.fenced().await.contains("cluster 00000000-0000-0000-0000-000000000002"));
    assert!(matches!(tenant.may_write().unwrap_err().why, Freeze::Fenced { .. }));
    let refused = Tenant::enter(&world.site(), meta).await.unwrap_err();
    assert!(matches!(refused, StartError::Refused { refusal: Refusal::AnotherCluster(_), .. }), "{refused}");
}

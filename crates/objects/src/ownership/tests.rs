//! Clusters that meet at one root path in memory: what each is told, and what the marker says afterwards.

use super::{
    Freeze, MetaView, Ownership, Refusal, RootMeta, Site, StartError, Tenant,
    marker::{FormerObjects, Marker},
    operator,
    start::{Mirror, Taken, start},
};
use crate::{
    Error, Etag, MarkerStore, MemoryMarkers, MemoryStore, ObjectStore, OwnedStore, Result, Versioned, Written, suite,
};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_types::{Clock, Epoch, Failure, ManualClock, NodeId, ObjectKey, RootHold};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

const MARKER: &str = "r/_elanus/owner.json";

/// Metadata in memory; a copy of it is a backup.
#[derive(Debug)]
struct FakeMeta(Mutex<MetaView>);

impl FakeMeta {
    fn new(cluster: u128) -> Arc<Self> {
        let cluster_id = Uuid::from_u128(cluster);
        let (hold, location) = (None, None);
        let view = MetaView { cluster_id, epoch: Epoch(0), hwm: 1, hold, location, marker_epoch: Epoch(0) };
        Arc::new(Self(Mutex::new(view)))
    }

    fn backup(&self) -> Arc<Self> {
        Arc::new(Self(Mutex::new(self.now())))
    }

    fn now(&self) -> MetaView {
        self.0.lock().unwrap().clone()
    }

    fn work(&self) {
        self.0.lock().unwrap().hwm += 10;
    }
}

#[async_trait]
impl RootMeta for FakeMeta {
    async fn view(&self) -> Result<MetaView, Failure> {
        Ok(self.now())
    }

    async fn take_over(&self, floor: Epoch, hold: Option<RootHold>) -> Result<Taken, Failure> {
        let mut view = self.0.lock().unwrap();
        view.epoch = Epoch(view.epoch.max(floor).0 + 1);
        view.hold = hold.or(view.hold);
        Ok(Taken { epoch: view.epoch, hwm: view.hwm })
    }

    async fn high_water(&self, epoch: Epoch) -> Result<Option<i64>, Failure> {
        let view = self.0.lock().unwrap();
        Ok((view.epoch == epoch).then_some(view.hwm))
    }

    async fn mirror(&self, mirror: &Mirror) -> Result<(), Failure> {
        let mut view = self.0.lock().unwrap();
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
}

impl FaultyMarkers {
    fn faults(&self, verb: &'static str) -> Result<Faults> {
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
        Self { store: FaultyMarkers { inner, faults: Arc::default() }, clock }
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
        let store = FaultyMarkers { inner: self.store.inner.at(root), faults: Arc::clone(&self.store.faults) };
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
    meta.work();
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
    meta.work();
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
    meta.work();
    ownership.renew().await.unwrap();
    // The same epoch, but ids that it never gave.
    let restored = world.start(&yesterday).await.unwrap();
    assert_eq!((freeze_of(&restored).await, restored.may_write()), ("restored", Ok(())));
    assert_eq!(world.marker().await.hold, Some(RootHold::Restored));
    assert_eq!(ownership.renew().await.unwrap_err().label(), "fenced", "the old process");

    // OW-7: not forgotten by a restart, although the metadata has caught up.
    yesterday.work();
    yesterday.work();
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
    world.set(Faults { away: true, ..Faults::default() });
    restored.release(RootHold::Restored).await.unwrap_err();
    assert_eq!(freeze_of(&restored).await, "restored", "it was not written");
    world.set(Faults::default());
    restored.release(RootHold::Restored).await.unwrap();
    assert_eq!((freeze_of(&restored).await, yesterday.now().hold), ("none", None));
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
    meta.work();
    ownership.renew().await.unwrap();
    world.set(Faults { away: true, ..Faults::default() });
    let restored = world.start(&yesterday).await.unwrap();
    yesterday.work();
    yesterday.work();
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
    let lost = world.marker().await.renewed(Epoch(1), 1, "node", 1);
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
async fn ow_9_a_tenant_writes_once_the_coordinator_owns_the_place_and_deletes_nothing() {
    let (world, meta) = (World::new(), FakeMeta::new(1));
    let tenant = Tenant::enter(&world.site(), meta.clone()).await.unwrap();
    assert!(tenant.may_write().unwrap_err().to_string().contains("elanus datacoord"), "nobody owns it yet");
    let _owner = world.start(&meta).await.unwrap();
    tenant.look().await.unwrap();
    let inner = Arc::new(MemoryStore::new(world.clock.clone()));
    let store = OwnedStore::new(inner, tenant.clone());
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
async fn ow_9_a_tenant_ends_when_another_cluster_takes_the_root_path() {
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

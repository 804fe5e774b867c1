//! An object store that fails on purpose. Same plan, same calls: same faults, in whatever order the calls run.
//!
//! *Effects* are the calls that change something: a put, a copy, each object of a delete, the abort of an unfinished upload.
//! The others are *reads*. Both are counted from 1, so that a test can cut a run after effect n, for all n.

use crate::{Error, Expected, ObjectInfo, ObjectStore, Result, StaleUpload};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_lifecycle::DeletePermit;
use elanus_types::{Checksum, ObjectKey};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error, and nothing was done.
    ErrorBefore,
    /// An error, although it was done.
    ErrorAfter,
    /// It takes this long, then it is done.
    Delay(Duration),
    /// The process dies before it was done: the hook runs, and every call from then on is an error without effect.
    KillBefore,
    /// The process dies after it was done, before it hears the answer.
    KillAfter,
}

/// Which calls go wrong.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    effects: BTreeMap<u64, Fault>,
    reads: BTreeMap<u64, Fault>,
    chance: Option<Chance>,
}

/// Faults by chance. What happens to the k-th call of one kind on one key depends on nothing but the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chance {
    /// Another seed, other faults.
    pub seed: u64,
    /// [`Fault::ErrorBefore`], of 1,000 calls.
    pub before_per_mille: u16,
    /// [`Fault::ErrorAfter`], of 1,000 calls.
    pub after_per_mille: u16,
    /// [`Fault::Delay`], of 1,000 calls.
    pub delay_per_mille: u16,
    /// The longest delay.
    pub delay_max: Duration,
}

impl Plan {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Faults by chance.
    #[must_use]
    pub fn seeded(chance: Chance) -> Self {
        Self { chance: Some(chance), ..Self::default() }
    }

    /// In addition: this fault at the n-th effect, counted from 1.
    #[must_use]
    pub fn at_effect(mut self, n: u64, fault: Fault) -> Self {
        self.effects.insert(n, fault);
        self
    }

    /// In addition: this fault at the n-th read, counted from 1.
    #[must_use]
    pub fn at_read(mut self, n: u64, fault: Fault) -> Self {
        self.reads.insert(n, fault);
        self
    }
}

/// An object store with a plan of faults.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<State>,
}

struct State {
    plan: Plan,
    on_kill: Box<dyn Fn() + Send + Sync>,
    dead: AtomicBool,
    effects: AtomicU64,
    reads: AtomicU64,
    calls: Mutex<HashMap<(Op, String), u64>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("plan", &self.plan).field("dead", &self.dead).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Op {
    Put,
    Copy,
    Delete,
    Get,
    Head,
    Checksum,
    List,
    Abort,
    Uploads,
}

impl FaultyStore {
    /// `inner` with the faults of `plan`. A restart after a kill is a new one around the same `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, plan: Plan) -> Self {
        Self::with_kill_hook(inner, plan, || {})
    }

    /// Like [`FaultyStore::new`]; `on_kill` runs once, when a kill of the plan is reached.
    #[must_use]
    pub fn with_kill_hook(inner: Arc<dyn ObjectStore>, plan: Plan, on_kill: impl Fn() + Send + Sync + 'static) -> Self {
        let state = State {
            plan,
            on_kill: Box::new(on_kill),
            dead: AtomicBool::new(false),
            effects: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            calls: Mutex::default(),
        };
        Self { inner, state: Arc::new(state) }
    }

    /// Number of effects so far.
    #[must_use]
    pub fn effects(&self) -> u64 {
        self.state.effects.load(Ordering::SeqCst)
    }

    /// True after a kill of the plan.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state.is_dead()
    }
}

impl State {
    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    async fn call<T>(&self, op: Op, target: &str, run: impl Future<Output = Result<T>>) -> Result<T> {
        let injected = |what: &'static str| Error::transient(format!("{op:?} {target}").to_lowercase(), what);
        if self.is_dead() {
            return Err(injected("injected: the process is dead"));
        }
        let fault = self.draw(op, target);
        match fault {
            Some(Fault::ErrorBefore) => return Err(injected("injected: error before the effect")),
            Some(Fault::KillBefore) => {
                self.kill();
                return Err(injected("injected: killed before the effect"));
            }
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::ErrorAfter | Fault::KillAfter) | None => {}
        }
        if self.is_dead() {
            return Err(injected("injected: killed before the effect"));
        }
        let answer = run.await;
        match fault {
            Some(Fault::ErrorAfter) => return Err(injected("injected: error after the effect")),
            Some(Fault::KillAfter) => self.kill(),
            Some(Fault::ErrorBefore | Fault::KillBefore | Fault::Delay(_)) | None => {}
        }
        if self.is_dead() {
            return Err(injected("injected: killed after the effect"));
        }
        answer
    }

    fn kill(&self) {
        if !self.dead.swap(true, Ordering::SeqCst) {
            (self.on_kill)();
        }
    }

    fn draw(&self, op: Op, target: &str) -> Option<Fault> {
        let (counter, script) = match op {
            Op::Put | Op::Copy | Op::Delete | Op::Abort => (&self.effects, &self.plan.effects),
            Op::Get | Op::Head | Op::Checksum | Op::List | Op::Uploads => (&self.reads, &self.plan.reads),
        };
        let n = counter.fetch_add(1, Ordering::SeqCst) + 1;
        let scripted = script.get(&n).copied();
        scripted.or_else(|| self.plan.chance?.draw(op, target, self.count(op, target)))
    }

    /// How often this call was made on this target, with this time.
    fn count(&self, op: Op, target: &str) -> u64 {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry((op, target.to_owned())).or_default();
        *count += 1;
        *count
    }
}

impl Chance {
    fn draw(self, op: Op, target: &str, nth: u64) -> Option<Fault> {
        let mut mixed = mix(self.seed ^ mix(op as u64) ^ mix(nth).rotate_left(17));
        for byte in target.bytes() {
            mixed = mix(mixed ^ u64::from(byte));
        }
        let before = u64::from(self.before_per_mille);
        let after = before + u64::from(self.after_per_mille);
        let delay = after + u64::from(self.delay_per_mille);
        match mixed % 1_000 {
            point if point < before => Some(Fault::ErrorBefore),
            point if point < after => Some(Fault::ErrorAfter),
            point if point < delay => {
                let thousandths = u32::try_from(mix(mixed) % 1_000 + 1).expect("at most 1,000");
                Some(Fault::Delay(self.delay_max * thousandths / 1_000))
            }
            _ => None,
        }
    }
}

/// Spreads a number over all 64 bits: add an odd constant, then multiply and shift until every bit depends on every bit.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        self.state.call(Op::Put, key.as_str(), self.inner.put(key, bytes)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes> {
        self.state.call(Op::Get, key.as_str(), self.inner.get(key)).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
        self.state.call(Op::Get, key.as_str(), self.inner.get_range(key, range)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo> {
        self.state.call(Op::Head, key.as_str(), self.inner.head(key)).await
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        self.state.call(Op::Copy, to.as_str(), self.inner.copy(from, to, expected)).await
    }

    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum> {
        self.state.call(Op::Checksum, key.as_str(), self.inner.checksum(key)).await
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
        let state = Arc::clone(&self.state);
        let target = folder.map_or_else(String::new, ObjectKey::to_string);
        let listed = self.inner.list(folder);
        let opened = async move { state.call(Op::List, &target, async { Ok(listed) }).await };
        stream::once(opened).try_flatten().boxed()
    }

    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>> {
        self.state.call(Op::List, folder.as_str(), self.inner.list_page(folder, after, limit)).await
    }

    async fn delete(&self, permits: Vec<DeletePermit>) -> Result<()> {
        let mut failed = Vec::new();
        for permit in permits {
            let key = permit.key().clone();
            let deleted = self.state.call(Op::Delete, key.as_str(), self.inner.delete(vec![permit])).await;
            failed.extend(deleted.err().map(|error| (key, error)));
        }
        Error::undeleted(failed)
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
        let target = folder.map_or_else(String::new, ObjectKey::to_string);
        self.state.call(Op::Uploads, &target, self.inner.stale_uploads(folder, before_ms)).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<()> {
        let target = upload.key.to_string();
        self.state.call(Op::Abort, &target, self.inner.abort_upload(upload)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, Retry, suite};
    use elanus_types::ManualClock;

    fn key(text: &str) -> ObjectKey {
        ObjectKey::parse(text).unwrap()
    }

    fn memory() -> Arc<dyn ObjectStore> {
        Arc::new(MemoryStore::new(Arc::new(ManualClock::at_ms(1_000))))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_plan_without_faults_keeps_every_promise() {
        for promise in suite::PROMISES {
            promise.check(Arc::new(FaultyStore::new(memory(), Plan::none()))).await;
        }
    }

    #[tokio::test]
    async fn an_error_before_has_no_effect_and_an_error_after_has() {
        let plan = Plan::none().at_effect(1, Fault::ErrorBefore).at_effect(2, Fault::ErrorAfter);
        let inner = memory();
        let store = FaultyStore::new(Arc::clone(&inner), plan);
        let error = store.put(&key("a"), Bytes::from_static(b"1")).await.unwrap_err();
        assert_eq!(error.retry(), Retry::After);
        inner.head(&key("a")).await.unwrap_err();
        store.put(&key("a"), Bytes::from_static(b"1")).await.unwrap_err();
        inner.head(&key("a")).await.unwrap();
        store.put(&key("a"), Bytes::from_static(b"1")).await.unwrap();
        assert_eq!(store.effects(), 3);
    }

    #[tokio::test]
    async fn a_killed_process_does_nothing_more() {
        for (fault, done) in [(Fault::KillBefore, false), (Fault::KillAfter, true)] {
            let kills = Arc::new(AtomicU64::new(0));
            let hook = Arc::clone(&kills);
            let inner = memory();
            let plan = Plan::none().at_effect(2, fault);
            let store = FaultyStore::with_kill_hook(Arc::clone(&inner), plan, move || {
                hook.fetch_add(1, Ordering::SeqCst);
            });
            store.put(&key("a"), Bytes::new()).await.unwrap();
            store.put(&key("b"), Bytes::new()).await.unwrap_err();
            store.put(&key("c"), Bytes::new()).await.unwrap_err();
            store.head(&key("a")).await.unwrap_err();
            assert!(store.is_dead());
            assert_eq!(kills.load(Ordering::SeqCst), 1);
            assert_eq!(inner.head(&key("b")).await.is_ok(), done);
            inner.head(&key("c")).await.unwrap_err();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "tests of stores have no metadata")]
    #[tokio::test]
    async fn a_delete_can_fail_in_the_middle() {
        let inner = memory();
        for name in ["a", "b", "c"] {
            inner.put(&key(name), Bytes::new()).await.unwrap();
        }
        let store = FaultyStore::new(Arc::clone(&inner), Plan::none().at_effect(2, Fault::ErrorBefore));
        let error = store.delete(suite::permits(&[key("a"), key("b"), key("c")])).await.unwrap_err();
        assert!(matches!(&error, Error::Undeleted { keys, .. } if *keys == [key("b")]), "{error:?}");
        let left: Vec<_> = inner.list(None).map(|info| info.unwrap().key).collect().await;
        assert_eq!(left, [key("b")]);
    }

    #[tokio::test]
    async fn the_same_seed_gives_the_same_faults_in_any_order() {
        let chance = |seed| Chance {
            seed,
            before_per_mille: 200,
            after_per_mille: 200,
            delay_per_mille: 200,
            delay_max: Duration::from_micros(100),
        };
        let run = async |seed, names: Vec<u32>| {
            let store = FaultyStore::new(memory(), Plan::seeded(chance(seed)));
            let mut answers = BTreeMap::new();
            for name in names {
                let answer = store.put(&key(&name.to_string()), Bytes::new()).await;
                answers.insert(name, answer.map_err(|error| format!("{error:?}")));
            }
            answers
        };
        let forth = run(7, (0..200).collect()).await;
        assert_eq!(forth, run(7, (0..200).rev().collect()).await);
        assert_ne!(forth, run(8, (0..200).collect()).await);
        let failed = forth.values().filter(|answer| answer.is_err()).count();
        assert!((40..120).contains(&failed), "{failed} of 200");
    }

    #[tokio::test]
    async fn a_listing_can_fail() {
        let store = FaultyStore::new(memory(), Plan::none().at_read(1, Fault::ErrorAfter));
        let listed: Vec<_> = store.list(None).collect().await;
        assert!(matches!(listed[..], [Err(Error::Transient { .. })]), "{listed:?}");
        assert_eq!(store.list(None).count().await, 0);
    }
}

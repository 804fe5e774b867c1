//! Which view a read gets. The newest view of every collection that is read is kept, and a few views of the past.
//!
//! A read at "now" asks the metadata for the collection's clock. When it stands where the newest view is, that is the
//! answer; else what changed is asked for and only new files are fetched. Reads that need the same refresh share it. A
//! refresh that fails changes nothing. A read never waits for a refresh that it does not need.

use crate::cache::FileCache;
use crate::cpu::Cpu;
use crate::view::{Added, Expiry, View, member};
use elanus_meta::Meta;
use elanus_meta::model::{CollectionView, FileKind, FileRecord};
use elanus_types::{Code, CollectionId, Failure, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, Semaphore};

/// Views of the past that are kept, those that were read last: reads inside a snapshot and the pages of one long read
/// ask for the same one again.
const PAST_MAX: usize = 4;
/// Views of the past that are made at a time: each holds the keys of all its files.
const PAST_BUILDS_MAX: usize = 2;

/// The views of a query node.
#[derive(Debug)]
pub(crate) struct Views {
    meta: Meta,
    cache: Arc<FileCache>,
    cpu: Cpu,
    loads_max: usize,
    idle_ms_max: i64,
    followed: Mutex<HashMap<CollectionId, Arc<Followed>>>,
    /// The one that was read last comes first.
    past: Mutex<VecDeque<Past>>,
    past_builds: Semaphore,
}

/// A view of the past, made once for all who ask for it at a time.
#[derive(Debug)]
struct Past {
    collection: CollectionId,
    ts: Timestamp,
    read_ms: i64,
    view: Arc<OnceCell<Arc<View>>>,
}

/// A collection that is read.
#[derive(Debug, Default)]
struct Followed {
    newest: Mutex<Option<Arc<View>>>,
    refresh: Arc<tokio::sync::Mutex<()>>,
    /// How many refreshes have failed, and why the last one did.
    failed: Mutex<(u64, Option<Failure>)>,
    read_ms: AtomicI64,
}

impl Views {
    pub(crate) fn new(meta: Meta, cache: Arc<FileCache>, cpu: Cpu, loads_max: usize, idle_ms_max: i64) -> Self {
        let (followed, past) = (Mutex::default(), Mutex::default());
        let past_builds = Semaphore::new(PAST_BUILDS_MAX);
        Self { meta, cache, cpu, loads_max: loads_max.max(1), idle_ms_max, followed, past, past_builds }
    }

    /// The view that a read at `read_ts` sees, without the rows that had expired then; 0 is now. A timestamp that no commit has
    /// reached yet is now, too.
    ///
    /// # Errors
    /// 100 when the collection is not there at that time; when its files cannot be read.
    pub(crate) async fn at(&self, collection: CollectionId, read_ts: u64) -> Result<Arc<View>, Failure> {
        let view = self.committed_at(collection, read_ts).await?;
        // The end of the last millisecond: what is committed from now on is later, where clocks agree.
        let now = Timestamp(Timestamp::from_ms(self.meta.clock().now_ms()).0 - 1).max(view.ts);
        let at = i64::try_from(read_ts).ok().filter(|ts| *ts > 0).map_or(now, |ts| Timestamp(ts).min(now));
        let expired_before = view.expiry.before(at);
        if !view.has_rows_before(expired_before) {
            return Ok(view);
        }
        self.cpu.run(move || Ok(Arc::new(view.without_rows_before(expired_before, at)))).await
    }

    /// The view at `read_ts`, also with rows that have expired.
    async fn committed_at(&self, collection: CollectionId, read_ts: u64) -> Result<Arc<View>, Failure> {
        let wanted = i64::try_from(read_ts).map_or(Timestamp(i64::MAX), Timestamp);
        let last = self.meta.last_ts(collection).await?;
        self.forget_idle();
        let Some(last) = last else {
            lock(&self.followed).remove(&collection);
            if read_ts == 0 {
                return Err(not_found(collection));
            }
            return self.past(collection, wanted, None).await;
        };
        let followed = self.follow(collection);
        if read_ts == 0 || wanted >= last {
            let view = self.newest(collection, &followed, last, "read").await?;
            // What was committed since must not be seen by a read of a given time.
            if read_ts == 0 || view.ts <= wanted {
                return Ok(view);
            }
        }
        let newest = lock(&followed.newest).clone();
        self.past(collection, wanted, newest).await
    }

    /// Brings the newest view up to date for the next read, when the collection is read at all. That nobody reads it is no
    /// less true for that: a view that is only kept fresh is forgotten as any other. True when there was something to do.
    ///
    /// # Errors
    /// When its files cannot be read; the next read tries again.
    pub(crate) async fn hear(&self, collection: CollectionId) -> Result<bool, Failure> {
        self.forget_idle();
        let Some(followed) = lock(&self.followed).get(&collection).map(Arc::clone) else { return Ok(false) };
        let Some(last) = self.meta.last_ts(collection).await? else {
            lock(&self.followed).remove(&collection);
            return Ok(true);
        };
        let before = lock(&followed.newest).as_ref().map(|view| view.ts);
        // Nobody waits for a first view: a read that failed to make one is not repeated without being asked.
        if before.is_none_or(|ts| ts >= last) {
            return Ok(false);
        }
        self.newest(collection, &followed, last, "event").await?;
        Ok(true)
    }

    /// What is read, for who lost events.
    pub(crate) fn followed(&self) -> Vec<CollectionId> {
        lock(&self.followed).keys().copied().collect()
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Timestamps of the views that are kept.
    pub(crate) fn kept(&self) -> Vec<(CollectionId, Timestamp)> {
        self.forget_idle();
        let mut kept: Vec<_> = lock(&self.past).iter().map(|one| (one.collection, one.ts)).collect();
        let followed: Vec<_> = lock(&self.followed).iter().map(|(id, one)| (*id, Arc::clone(one))).collect();
        kept.extend(followed.iter().filter_map(|(id, one)| Some((*id, lock(&one.newest).as_ref()?.ts))));
        kept
    }

    fn forget_idle(&self) {
        let idle_since = self.meta.clock().now_ms().saturating_sub(self.idle_ms_max);
        lock(&self.followed).retain(|_, one| one.read_ms.load(Ordering::Relaxed) >= idle_since);
        lock(&self.past).retain(|one| one.read_ms >= idle_since);
    }

    fn follow(&self, collection: CollectionId) -> Arc<Followed> {
        let mut followed = lock(&self.followed);
        let one = followed.entry(collection).or_default();
        one.read_ms.store(self.meta.clock().now_ms(), Ordering::Relaxed);
        Arc::clone(one)
    }

    /// The newest view, at `last` or later; `by` is who wants it, for metrics.
    async fn newest(
        &self,
        id: CollectionId,
        followed: &Arc<Followed>,
        last: Timestamp,
        by: &'static str,
    ) -> Result<Arc<View>, Failure> {
        let up_to_date = || lock(&followed.newest).clone().filter(|view| view.ts >= last);
        if let Some(view) = up_to_date() {
            return Ok(view);
        }
        let failed_before = lock(&followed.failed).0;
        let guard = Arc::clone(&followed.refresh).lock_owned().await;
        if let Some(view) = up_to_date() {
            return Ok(view);
        }
        if let (failed, Some(failure)) = &*lock(&followed.failed)
            && *failed > failed_before
        {
            return Err(failure.clone());
        }
        match self.refresh(id, followed, guard).await {
            Ok(view) => {
                metrics::counter!("elanus_querynode_view_refreshes_total", "by" => by).increment(1);
                Ok(view)
            }
            Err(failure) => {
                let mut failed = lock(&followed.failed);
                *failed = (failed.0 + 1, Some(failure.clone()));
                Err(failure)
            }
        }
    }

    async fn refresh(
        &self,
        id: CollectionId,
        followed: &Arc<Followed>,
        guard: tokio::sync::OwnedMutexGuard<()>,
    ) -> Result<Arc<View>, Failure> {
        let newest = lock(&followed.newest).clone();
        let changes = match &newest {
            Some(view) => Some(self.meta.changes(id, view.ts).await?.ok_or_else(|| not_found(id))?),
            None => None,
        };
        let (before, ts, to_read, removed) = match (&newest, changes) {
            (Some(view), Some(changes)) if !changes.redefined => {
                let mut to_read = changes.added;
                to_read.extend(view.logs_to_read_again(&changes.removed));
                (Arc::clone(view), changes.ts, to_read, changes.removed)
            }
            // The first view, or another schema: made anew.
            _ => {
                let CollectionView { ts, schema, aging, ttl_s, files, .. } = self.meta.view(id, None).await?;
                (Arc::new(View::empty(id, Arc::new(schema), Expiry { aging, ttl_s }, None)), ts, files, Vec::new())
            }
        };
        let added = self.read(&before, to_read, newest.as_deref()).await?;
        let followed = Arc::clone(followed);
        let next = move || {
            let view = Arc::new(before.next(ts, added, &removed));
            *lock(&followed.newest) = Some(Arc::clone(&view));
            drop(guard);
            Ok(view)
        };
        self.cpu.run(next).await
    }

    async fn past(&self, id: CollectionId, ts: Timestamp, newest: Option<Arc<View>>) -> Result<Arc<View>, Failure> {
        if let Some(view) = newest.iter().find(|view| view.ts == ts) {
            return Ok(Arc::clone(view));
        }
        // Of those who wait here one makes the view; when that one fails or goes away, the next one tries.
        self.remembered(id, ts).get_or_try_init(|| self.build(id, ts, newest)).await.cloned()
    }

    /// The place of a view of the past, as the one that was read last.
    fn remembered(&self, collection: CollectionId, ts: Timestamp) -> Arc<OnceCell<Arc<View>>> {
        let read_ms = self.meta.clock().now_ms();
        let mut past = lock(&self.past);
        let known = past.iter().position(|one| one.collection == collection && one.ts == ts);
        let view = known.and_then(|at| past.remove(at)).map(|one| one.view).unwrap_or_default();
        past.push_front(Past { collection, ts, read_ms, view: Arc::clone(&view) });
        past.truncate(PAST_MAX);
        view
    }

    async fn build(&self, id: CollectionId, ts: Timestamp, newest: Option<Arc<View>>) -> Result<Arc<View>, Failure> {
        let permit = self.past_builds.acquire().await;
        let _permit = permit.map_err(|_| Failure::internal("this query node was closed"))?;
        let CollectionView { ts, schema, aging, ttl_s, files, .. } = self.meta.view(id, Some(ts)).await?;
        let empty = View::empty(id, Arc::new(schema), Expiry { aging, ttl_s }, Some(ts));
        let added = self.read(&empty, files, newest.as_deref()).await?;
        self.cpu.run(move || Ok(Arc::new(empty.next(ts, added, &[])))).await
    }

    /// What `view` needs of these files; keys that `known` has are not read again.
    async fn read(&self, view: &View, files: Vec<FileRecord>, known: Option<&View>) -> Result<Vec<Added>, Failure> {
        let schema = &view.schema;
        let read = |record: FileRecord| async move {
            Ok::<_, Failure>(match record.kind {
                FileKind::Insert => {
                    let keys = match known.and_then(|known| known.file(member(&record))) {
                        Some(file) => Arc::clone(&file.keys),
                        None => Arc::clone(&self.cache.rows(schema, &record).await?.keys),
                    };
                    Some(Added::Rows(record, keys))
                }
                FileKind::Delete => {
                    let deletes = self.cache.deletes(schema, &record).await?;
                    Some(Added::Deletes(record, deletes))
                }
                FileKind::Index => Some(Added::Index(record)),
                FileKind::Manifest => None,
            })
        };
        let added = stream::iter(files).map(read).buffer_unordered(self.loads_max);
        added.try_filter_map(|added| async move { Ok(added) }).try_collect().await
    }
}

fn not_found(collection: CollectionId) -> Failure {
    Failure::new(Code::CollectionNotFound, format!("collection not found[collection={collection}]"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

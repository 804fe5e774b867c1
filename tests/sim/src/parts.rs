//! The shared parts of the system as one process sees them: each effect waits for its turn, and goes wrong as the turn says.

use crate::turns::{DELETE, Dead, Fate, Kind, ProcessId, Turn, Turns};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_events::{Envelope, Error as BusError, EventBus, Kind as EventKind, LocalBus, Subscription};
use elanus_lifecycle::DeletePermit;
use elanus_meta::{CommitHook, Meta, MetaError, Result as MetaResult};
use elanus_objects::{Error, Expected, ObjectInfo, ObjectStore, Result, StaleUpload};
use elanus_types::{Checksum, FileSetId, ObjectKey};
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The metadata store of a process. One transaction runs at a time, so that its fate is known by its process.
#[derive(Debug)]
pub(crate) struct Transactions {
    turns: Turns,
    process: ProcessId,
    fate: Mutex<Fate>,
}

impl Transactions {
    pub(crate) fn new(turns: Turns, process: ProcessId) -> Self {
        Self { turns, process, fate: Mutex::new(Fate::Well) }
    }

    fn fate(&self) -> Fate {
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn away(what: &'static str) -> MetaError {
    MetaError::Unavailable(sqlx_io(what))
}

fn sqlx_io<E: From<io::Error>>(what: &'static str) -> E {
    io::Error::other(what).into()
}

impl CommitHook for Transactions {
    fn turn(&self) -> futures::future::BoxFuture<'_, MetaResult<elanus_meta::Turn>> {
        Box::pin(async {
            let turn = self.turns.turn(self.process, Kind::Transaction).await.map_err(|Dead| away("dead"))?;
            match turn.fate {
                Fate::ErrorBefore => return Err(away("injected: before")),
                Fate::DeathBefore => {
                    self.turns.kill(self.process, "before a transaction");
                    return Err(away("dead"));
                }
                fate => *self.fate.lock().unwrap_or_else(PoisonError::into_inner) = fate,
            }
            Ok(elanus_meta::Turn::until_dropped(turn))
        })
    }

    fn before(&self) -> MetaResult<()> {
        match self.fate() {
            _ if self.turns.is_dead(self.process) => Err(away("dead")),
            Fate::ErrorAtCommit => Err(away("injected: at the commit")),
            Fate::DeathAtCommit => {
                self.turns.kill(self.process, "at a commit");
                Err(away("dead"))
            }
            _ => Ok(()),
        }
    }

    fn after(&self) -> MetaResult<()> {
        match self.fate() {
            Fate::ErrorAfter => Err(MetaError::CommitUnknown(sqlx_io("injected: after the commit"))),
            Fate::DeathAfter => {
                self.turns.kill(self.process, "after a commit");
                Err(MetaError::CommitUnknown(sqlx_io("dead")))
            }
            _ => Ok(()),
        }
    }

    fn random(&self) -> u32 {
        self.turns.random() as u32
    }
}

/// A request that its sender was told had failed arrives after this time at the latest, in milliseconds.
pub(crate) const LATE_MS: u64 = 60_000;

/// What deletes are compared with.
#[derive(Debug)]
pub(crate) struct Witness {
    /// The metadata, read without turns.
    pub(crate) meta: Meta,
    /// Its requests arrive late. It never dies.
    pub(crate) network: ProcessId,
    /// File sets of which an object was to be deleted.
    ended: Mutex<BTreeSet<FileSetId>>,
}

impl Witness {
    pub(crate) fn new(meta: Meta, network: ProcessId) -> Self {
        Self { meta, network, ended: Mutex::default() }
    }

    pub(crate) fn ended(&self) -> MutexGuard<'_, BTreeSet<FileSetId>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// I2, I4, I5: when a delete arrives nothing needs the object, and nothing ever will again. Called within a turn.
    async fn look(&self, turns: &Turns, permit: &DeletePermit) {
        self.ended().insert(permit.file_set());
        match self.meta.gc_why(permit.key()).await {
            // Its rows were forgotten.
            Ok(None) => {}
            Ok(Some(why)) if why.refs == 0 && ["deleting", "gone"].contains(&why.state.as_str()) => {}
            // An orphan that was queued anew has another file set.
            Ok(Some(why)) if why.refs == 0 && why.file_set != permit.file_set() => {}
            Ok(Some(why)) => turns.break_off(&format!("I4: {} is deleted, and is needed: {why:?}", permit.key())),
            Err(error) => turns.break_off(&format!("the witness cannot read: {error}")),
        }
    }
}

/// The object store of a process.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) turns: Turns,
    pub(crate) process: ProcessId,
    pub(crate) witness: Arc<Witness>,
}

fn failed(what: &'static str) -> Error {
    Error::Transient { attempt: "reach the object store".to_owned(), source: what.into() }
}

impl Objects {
    async fn call<T>(&self, kind: Kind, run: impl Future<Output = Result<T>>) -> Result<T> {
        let turn: Turn = self.turns.turn(self.process, kind).await.map_err(|Dead| failed("dead"))?;
        self.within(turn, run).await
    }

    async fn within<T>(&self, turn: Turn, run: impl Future<Output = Result<T>>) -> Result<T> {
        match turn.fate {
            Fate::ErrorBefore | Fate::ErrorAtCommit => return Err(failed("injected: before")),
            Fate::DeathBefore | Fate::DeathAtCommit => {
                self.turns.kill(self.process, "before a call of the object store");
                return Err(failed("dead"));
            }
            Fate::Well | Fate::ErrorAfter | Fate::DeathAfter => {}
        }
        let done = run.await;
        match turn.fate {
            Fate::ErrorAfter => Err(failed("injected: after")),
            Fate::DeathAfter => {
                self.turns.kill(self.process, "after a call of the object store");
                Err(failed("dead"))
            }
            _ => done,
        }
    }

    async fn read<T>(&self, what: &str, key: &ObjectKey, run: impl Future<Output = Result<T>>) -> Result<T> {
        self.call(Kind::Read(format!("{what} {key}")), run).await
    }

    /// Does a request later, of which its sender was told that it failed.
    fn late(&self, what: String, done: impl Future<Output = ()> + Send + 'static) {
        self.turns.met("fault: a request to the object store arrives late");
        let (turns, network) = (self.turns.clone(), self.witness.network);
        let after = Duration::from_millis(turns.random() % LATE_MS);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            // What goes wrong with it went wrong already.
            if let Ok(_turn) = turns.turn(network, Kind::Write(what)).await {
                done.await;
            }
        });
    }

    /// True when a request that fails is late instead of lost.
    fn is_late(&self, fate: Fate) -> bool {
        fate == Fate::ErrorBefore && self.turns.random().is_multiple_of(2)
    }

    async fn put_or_late(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        let what = format!("put {key}");
        let turn = self.turns.turn(self.process, Kind::Write(what.clone())).await.map_err(|Dead| failed("dead"))?;
        if self.is_late(turn.fate) {
            let (this, key) = (self.clone(), key.clone());
            self.late(what, async move {
                this.turns.wrote_late(key.as_str());
                // What another attempt wrote meanwhile stays.
                let _ = this.inner.put(&key, bytes).await;
            });
            return Err(failed("injected: late"));
        }
        let written = async {
            self.turns.wrote(self.process, key.as_str());
            self.inner.put(key, bytes).await
        };
        self.within(turn, written).await
    }

    async fn delete_or_late(&self, permit: DeletePermit) -> Result<()> {
        let what = format!("{DELETE} {}", permit.key());
        let turn = self.turns.turn(self.process, Kind::Write(what.clone())).await.map_err(|Dead| failed("dead"))?;
        let (this, late) = (self.clone(), self.is_late(turn.fate));
        let deleted = async move {
            this.witness.look(&this.turns, &permit).await;
            this.turns.met("an object is deleted");
            this.inner.delete(vec![permit]).await
        };
        if late {
            self.late(what, async move { drop(deleted.await) });
            return Err(failed("injected: late"));
        }
        self.within(turn, deleted).await
    }

    async fn write<T>(&self, what: &str, key: &ObjectKey, run: impl Future<Output = Result<T>>) -> Result<T> {
        let written = async {
            self.turns.wrote(self.process, key.as_str());
            run.await
        };
        self.call(Kind::Write(format!("{what} {key}")), written).await
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectInfo> {
        self.put_or_late(key, bytes).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes> {
        self.read("get", key, self.inner.get(key)).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes> {
        self.read("get", key, self.inner.get_range(key, range)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo> {
        self.read("head", key, self.inner.head(key)).await
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> Result<ObjectInfo> {
        self.write("copy to", to, self.inner.copy(from, to, expected)).await
    }

    async fn checksum(&self, key: &ObjectKey) -> Result<Checksum> {
        self.read("checksum", key, self.inner.checksum(key)).await
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectInfo>> {
        let (this, folder) = (self.clone(), folder.cloned());
        let opened = async move {
            this.call(Kind::Read("list".to_owned()), async { Ok(this.inner.list(folder.as_ref())) }).await
        };
        stream::once(opened).try_flatten().boxed()
    }

    async fn list_page(&self, folder: &ObjectKey, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectInfo>> {
        self.read("list", folder, self.inner.list_page(folder, after, limit)).await
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> Result<Vec<StaleUpload>> {
        let listed = self.inner.stale_uploads(folder, before_ms);
        self.call(Kind::Read("list uploads".to_owned()), listed).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> Result<()> {
        let key = upload.key.clone();
        self.write("abort the upload of", &key, self.inner.abort_upload(upload)).await
    }

    async fn delete(&self, mut permits: Vec<DeletePermit>) -> Result<()> {
        permits.sort_by(|a, b| a.key().cmp(b.key()));
        let mut first_error = Ok(());
        for permit in permits {
            let deleted = self.delete_or_late(permit).await;
            first_error = first_error.and(deleted);
        }
        first_error
    }
}

/// The bus of all processes: what it is given is lost, late, or comes twice.
#[derive(Debug)]
pub(crate) struct Bus {
    pub(crate) inner: Arc<LocalBus>,
    pub(crate) turns: Turns,
}

#[async_trait]
impl EventBus for Bus {
    async fn publish(&self, envelope: Envelope) -> std::result::Result<(), BusError> {
        match self.turns.random() % 10 {
            0 | 1 => self.turns.met("fault: an event is lost"),
            2 => {
                self.turns.met("fault: an event comes twice");
                self.inner.publish(envelope.clone()).await?;
                self.inner.publish(envelope).await?;
            }
            3 | 4 => {
                self.turns.met("fault: an event is late, behind others");
                let (inner, late) = (Arc::clone(&self.inner), Duration::from_millis(self.turns.random() % 5_000));
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    let _ = inner.publish(envelope).await;
                });
            }
            _ => self.inner.publish(envelope).await?,
        }
        Ok(())
    }

    async fn subscribe(&self, kinds: &[EventKind]) -> std::result::Result<Subscription, BusError> {
        self.inner.subscribe(kinds).await
    }
}

//! The shared parts of the system as one process sees them: each effect waits for its turn, and goes wrong as the turn says.

use crate::turns::{Dead, Fate, Kind, ProcessId, Turn, Turns};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_events::{Envelope, Error as BusError, EventBus, Kind as EventKind, LocalBus, Subscription};
use elanus_lifecycle::DeletePermit;
use elanus_meta::{CommitHook, MetaError, Result as MetaResult};
use elanus_objects::{Error, Expected, ObjectInfo, ObjectStore, Result, StaleUpload};
use elanus_types::{Checksum, ObjectKey};
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
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

/// The object store of a process.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) turns: Turns,
    pub(crate) process: ProcessId,
}

fn failed(what: &'static str) -> Error {
    Error::Transient { attempt: "reach the object store".to_owned(), source: what.into() }
}

impl Objects {
    async fn call<T>(&self, kind: Kind, run: impl Future<Output = Result<T>>) -> Result<T> {
        let turn: Turn = self.turns.turn(self.process, kind).await.map_err(|Dead| failed("dead"))?;
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
        self.write("put", key, self.inner.put(key, bytes)).await
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
        let (inner, folder) = (Arc::clone(&self.inner), folder.cloned());
        let this = Self { inner: Arc::clone(&inner), turns: self.turns.clone(), process: self.process };
        let opened =
            async move { this.call(Kind::Read("list".to_owned()), async { Ok(inner.list(folder.as_ref())) }).await };
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
            let key = permit.key().clone();
            let deleted = self.write("delete", &key, self.inner.delete(vec![permit])).await;
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

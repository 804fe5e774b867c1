//! A cluster of processes, and what operators are told of it.

use elanus_scenarios::milvus::{CallError, Milvus};
use elanus_testkit::{Postgres, S3Server, S3User, Server, elanus, wait_for};
use elanus_types::Code;
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};
use tempfile::TempDir;

/// How long anything may take that takes seconds.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The stores of a cluster, and what its processes are told about them.
pub(crate) struct Cluster {
    pub(crate) postgres: Postgres,
    _directory: Option<TempDir>,
    settings: Vec<(String, String)>,
}

impl Cluster {
    /// Objects in a directory that all processes share.
    pub(crate) fn on_a_directory() -> Self {
        let (postgres, directory) = (Postgres::start().unwrap(), TempDir::with_prefix("elanus-shared-").unwrap());
        let objects = format!("file://{}", directory.path().join("objects").display());
        let settings = vec![("ELANUS_META".to_owned(), postgres.url()), ("ELANUS_OBJECTS".to_owned(), objects)];
        Self { postgres, _directory: Some(directory), settings }
    }

    /// Objects in a bucket.
    pub(crate) async fn on_s3() -> Self {
        let postgres = Postgres::start().unwrap();
        let s3 = S3Server::shared().await.unwrap();
        let bucket = s3.bucket().await.unwrap();
        let mut settings = s3.settings(&bucket, "some/root", S3User::Writer);
        settings.push(("ELANUS_META".to_owned(), postgres.url()));
        Self { postgres, _directory: None, settings }
    }

    /// The same cluster; all its processes have this in their environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) async fn migrate(&self) {
        let ended = elanus(["migrate", "--meta", &self.postgres.url()]).await.unwrap();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }

    pub(crate) async fn service(&self, service: &'static str) -> Server {
        self.service_with(service, &[]).await
    }

    pub(crate) async fn service_with(&self, service: &'static str, flags: &[&str]) -> Server {
        self.try_service(service, flags).await.unwrap()
    }

    pub(crate) async fn try_service(&self, service: &'static str, flags: &[&str]) -> anyhow::Result<Server> {
        Server::start_service(service, flags, self.settings.clone()).await
    }

    /// What `elanus ctl status` says from the metadata, whoever is away.
    pub(crate) async fn status(&self) -> Value {
        let url = self.postgres.url();
        let ended = elanus(["ctl", "status", "--meta", &url, "--output", "json"]).await.unwrap();
        let status: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
        let all_is_there = status["missing"].as_array().unwrap().is_empty();
        assert_eq!(ended.code, Some(i32::from(!all_is_there)), "{ended:?}");
        status
    }

    /// Waits until a coordinator with another epoch than this one is active; its epoch.
    pub(crate) async fn active_after(&self, epoch: i64) -> i64 {
        wait_for("an active coordinator", SOON, async || {
            let status = self.status().await;
            let active = status["services"].as_array().unwrap().iter().find(|service| service["state"] == "active");
            match active.and_then(|active| active["epoch"].as_i64()).filter(|found| *found > epoch) {
                Some(found) => Ok(found),
                None => Err(format!("{status:#}")),
            }
        })
        .await
    }
}

/// One line of `elanus ctl` through a proxy, which succeeds.
pub(crate) async fn ctl(proxy: &Server, line: &str) -> String {
    let address = proxy.url();
    let ended = elanus(["ctl", "--addr", &address].into_iter().chain(line.split(' '))).await.unwrap();
    assert_eq!(ended.code, Some(0), "elanus ctl {line}: {ended:?}");
    ended.stdout
}

/// Repeats a call that can be repeated until it is answered.
pub(crate) async fn persist<T>(what: &str, mut call: impl AsyncFnMut() -> Result<T, CallError>) -> T {
    wait_for(what, SOON, async || match call().await {
        Ok(done) => Ok(done),
        Err(CallError::Refused(failure)) if !matches!(failure.code, Code::NotReady | Code::Internal) => {
            panic!("{what}: {failure}")
        }
        Err(away) => Err(away),
    })
    .await
}

/// What was sent, by what was answered.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) acknowledged: BTreeSet<i64>,
    /// Refused before anything was done: not there.
    pub(crate) refused: BTreeSet<i64>,
    /// May be there or not.
    pub(crate) unknown: BTreeSet<i64>,
}

impl Sent {
    pub(crate) fn note(&mut self, id: i64, answer: Result<(), CallError>) {
        match answer {
            Ok(()) => self.acknowledged.insert(id),
            Err(CallError::Refused(failure)) if failure.code == Code::NotReady => self.refused.insert(id),
            Err(CallError::Refused(failure)) if failure.code != Code::Internal => panic!("{id}: {failure}"),
            Err(_) => self.unknown.insert(id),
        };
    }

    /// Every acknowledged row is there, and none that was refused (D-1).
    pub(crate) async fn check(&self, milvus: &Milvus, collection: &str) {
        let found = persist("reading everything", async || milvus.query(collection, "id > 0").await).await;
        let found: BTreeSet<i64> = found.into_iter().map(|row| row.id).collect();
        let lost: Vec<_> = self.acknowledged.difference(&found).collect();
        let extra: Vec<_> =
            found.iter().filter(|id| !self.acknowledged.contains(id) && !self.unknown.contains(id)).collect();
        assert!(lost.is_empty() && extra.is_empty(), "lost {lost:?}, not acknowledged {extra:?}");
    }
}

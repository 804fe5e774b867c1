//! What is asked of whatever serves the Milvus API at an address: standalone, a proxy of many, a container.
//!
//! A scenario finds no collections and leaves none.

use crate::rust_client;
use anyhow::{Result, anyhow, bail};
use elanus_client::Client;
use elanus_proto::milvus::{DescribeCollectionRequest, DropAliasRequest, DropCollectionRequest};
use elanus_scenarios::{file, milvus::Milvus};
use elanus_testkit::{elanus, python};
use futures::{FutureExt as _, future::LocalBoxFuture};
use std::{any::Any, panic::AssertUnwindSafe};

/// One of them.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// As `--filter` looks for it.
    pub name: &'static str,
    run: fn(String) -> LocalBoxFuture<'static, Result<()>>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

/// All of them, in the order in which they are run.
pub const SCENARIOS: [Scenario; 13] = [
    Scenario { name: "pymilvus quick_start", run: |url| script("quick_start.py", url) },
    Scenario { name: "pymilvus schema", run: |url| script("schema.py", url) },
    Scenario { name: "pymilvus types_query", run: |url| script("types_query.py", url) },
    Scenario { name: "pymilvus search", run: |url| script("search.py", url) },
    Scenario { name: "pymilvus reading", run: |url| script("reading.py", url) },
    Scenario { name: "pymilvus snapshots", run: |url| script("snapshots.py", url) },
    Scenario { name: "pymilvus compaction", run: |url| script("compaction.py", url) },
    Scenario { name: "pymilvus errors", run: |url| script("errors.py", url) },
    Scenario { name: "pymilvus catalog", run: |url| script("catalog.py", url) },
    Scenario { name: "pymilvus changing", run: |url| script("changing.py", url) },
    Scenario { name: "pymilvus on_s3", run: |url| Box::pin(clone_and_copy(url)) },
    Scenario { name: "rust client writes_and_reads", run: |url| Box::pin(writes_and_reads(url)) },
    Scenario { name: "rust client snapshots", run: |url| Box::pin(snapshots(url)) },
];

/// Scripts in `tests/python` that are no scenario here, and why.
pub const EXCLUDED: [(&str, &str); 15] = [
    ("fill_for_reading.py", "the files that it writes are read in the data directory of a standalone server"),
    ("gc.py", "it looks for files in the data directory, and the server must collect what is dropped at once"),
    ("indexes.py", "it looks for files in the data directory, and asks the management address what was built"),
    ("newer_metadata.py", "it writes into the SQLite file of a stopped server"),
    ("every_type.py", "it reads the snapshots in the data directory"),
    ("read_snapshot.py", "it reads the data directory"),
    ("upgrade.py", "it checks what earlier programs left in their data directories"),
    ("rebuild.py", "between its halves the metadata of a stopped server is deleted"),
    ("secure.py", "it is given certificates, which this stack has none of"),
    ("security.py", "it needs a server that asks for users, and reads its log"),
    ("follow_events.py", "it waits for the events of a test that makes them"),
    ("deploying.py", "it is what those that begin with deploy have in common"),
    ("deploy_compose.py", "it reads files and asks no server"),
    ("deploy_kubernetes.py", "it reads files and asks no server"),
    ("deploy_metrics.py", "it reads files and asks no server"),
];

impl Scenario {
    /// Runs it; a failure, also a panic, with what it said.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run(&self, url: &str) -> Result<()> {
        // An assertion that does not hold ends this scenario alone.
        let ended = AssertUnwindSafe((self.run)(url.to_owned())).catch_unwind().await;
        ended.unwrap_or_else(|panic| Err(anyhow!("{}", said(panic.as_ref()))))
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked")
}

fn script(name: &'static str, url: String) -> LocalBoxFuture<'static, Result<()>> {
    Box::pin(async move { python(&file("python").join(name), &[&url]).await.map(drop) })
}

async fn writes_and_reads(url: String) -> Result<()> {
    rust_client::writes_and_reads(&url).await;
    Ok(())
}

async fn snapshots(url: String) -> Result<()> {
    rust_client::snapshots(&url).await;
    Ok(())
}

/// Both modes of a restore, asked for on the command line.
async fn clone_and_copy(url: String) -> Result<()> {
    let phase = async |name: &str| python(&file("python/on_s3.py"), &[&url, name]).await.map(drop);
    phase("fill").await?;
    ctl(&url, "snapshot restore docs before cloned --mode clone --wait").await?;
    ctl(&url, "snapshot restore docs before copied --mode copy --wait").await?;
    phase("check").await?;
    phase("drop").await?;
    Ok(Milvus::at(&url).drop_collection("copied").await?)
}

/// Drops whatever a scenario that failed has left.
///
/// # Errors
/// When the server does not answer, or does not let it go.
pub async fn reset(url: &str) -> Result<()> {
    let client = Client::connect(url).await?;
    let mut milvus = Milvus::at(url).raw();
    for database in client.databases().list().await? {
        let inside = Client::builder(url).database(&database).connect().await?;
        for collection in inside.collections().list().await? {
            let (db_name, collection_name) = (database.clone(), collection.name.clone());
            let described = DescribeCollectionRequest { db_name, collection_name, ..Default::default() };
            for alias in milvus.describe_collection(described).await?.into_inner().aliases {
                milvus.drop_alias(DropAliasRequest { db_name: database.clone(), alias, ..Default::default() }).await?;
            }
            let (db_name, collection_name) = (database.clone(), collection.name);
            milvus.drop_collection(DropCollectionRequest { db_name, collection_name, ..Default::default() }).await?;
        }
        if database != "default" {
            client.databases().drop(&database).await?;
        }
    }
    Ok(())
}

/// One line of `elanus ctl` that succeeds; what it printed.
///
/// # Errors
/// When it does not.
pub async fn ctl(url: &str, line: &str) -> Result<String> {
    let ended = elanus(["ctl", "--addr", url].into_iter().chain(line.split(' '))).await?;
    if ended.code != Some(0) {
        bail!("elanus ctl {line} ended with {:?}:\n{}{}", ended.code, ended.stdout, ended.stderr);
    }
    Ok(ended.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_is_a_scenario_or_says_why_not() {
        let scripts = std::fs::read_dir(file("python")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut forgotten: Vec<String> = scripts.map(|name| name.into_string().unwrap()).collect();
        forgotten.retain(|name| name.ends_with(".py") && name != "harness.py");
        assert!(forgotten.len() > 10);
        forgotten.retain(|name| {
            let scenario = format!("pymilvus {}", name.trim_end_matches(".py"));
            let excluded = EXCLUDED.iter().any(|(excluded, _)| excluded == name);
            let included = SCENARIOS.iter().any(|found| found.name == scenario);
            assert!(!(excluded && included), "{name} is both");
            !excluded && !included
        });
        assert!(forgotten.is_empty(), "add to SCENARIOS or EXCLUDED: {forgotten:?}");
    }

    #[tokio::test]
    async fn a_scenario_that_panics_has_failed_with_what_it_said() {
        let panics = Scenario { name: "x", run: |url| Box::pin(async move { panic!("not at {url}") }) };
        assert_eq!(panics.run("home").await.unwrap_err().to_string(), "not at home");
    }
}

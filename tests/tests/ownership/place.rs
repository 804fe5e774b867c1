//! Where the stories play: a root path in a local directory or in a bucket, and the clusters that are given it.

use elanus_objects::{Error, ObjectStore as _, S3Config, S3Location, S3Store};
use elanus_scenarios::{milvus::Milvus, rows::Row};
use elanus_testkit::{Ended, S3Server, S3User, Server, elanus, wait_for};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

pub(crate) const MARKER: &str = "_elanus/owner.json";
/// What is dropped is deleted within some rounds of the collector.
const DELETED_MAX: Duration = Duration::from_secs(60);
const GETS_AT_ONCE: usize = 16;

/// Objects by name with their bytes.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A root path.
#[derive(Clone)]
pub(crate) enum Ground {
    Directory(PathBuf),
    Bucket { server: &'static S3Server, bucket: String, root: String },
}

impl Ground {
    /// The root path at `path` in this one.
    pub(crate) fn below(&self, path: &str) -> Self {
        match self {
            Self::Directory(root) => Self::Directory(root.join(path)),
            Self::Bucket { server, bucket, root } => {
                Self::Bucket { server, bucket: bucket.clone(), root: format!("{root}/{path}") }
            }
        }
    }

    pub(crate) fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }

    /// What a command is told to use it.
    fn flags(&self) -> Vec<String> {
        match self {
            Self::Directory(root) => vec!["--objects".to_owned(), format!("file://{}", root.display())],
            Self::Bucket { server, bucket, root } => server.flags(bucket, root, S3User::Writer),
        }
    }

    /// Everything below it, also the marker. What is deleted meanwhile may be missing.
    pub(crate) async fn everything(&self) -> Files {
        let mut files = Files::new();
        match self {
            Self::Directory(root) => contents(root, root, &mut files),
            Self::Bucket { server, bucket, root } => {
                let store = store(server, bucket);
                let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
                let keys = listed.into_iter().map(|info| info.key);
                let gets = keys.map(async |key| match store.get(&key).await {
                    Ok(bytes) => Some((key.to_string(), bytes.to_vec())),
                    Err(Error::NotFound { .. }) => None,
                    Err(error) => panic!("{error}"),
                });
                let got: Vec<_> = stream::iter(gets).buffer_unordered(GETS_AT_ONCE).collect().await;
                for (name, bytes) in got.into_iter().flatten() {
                    if let Some(name) = name.strip_prefix(&format!("{root}/")) {
                        files.insert(name.to_owned(), bytes);
                    }
                }
            }
        }
        files
    }

    /// Every object, but not what a running process keeps below `_elanus`.
    pub(crate) async fn files(&self) -> Files {
        let mut files = self.everything().await;
        files.retain(|name, _| !name.starts_with("_elanus/"));
        files
    }

    /// Somebody else's object, whose content is its name.
    pub(crate) async fn write(&self, name: &str) {
        match self {
            Self::Directory(root) => {
                let path = root.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, name).unwrap();
            }
            Self::Bucket { server, bucket, root } => {
                server.write(bucket, &format!("{root}/{name}"), name).await.unwrap();
            }
        }
    }

    pub(crate) async fn remove_marker(&self) {
        match self {
            Self::Directory(root) => fs::remove_file(root.join(MARKER)).unwrap(),
            Self::Bucket { server, bucket, root } => {
                server.remove(bucket, &format!("{root}/{MARKER}")).await.unwrap();
            }
        }
    }

    pub(crate) async fn marker(&self) -> Value {
        serde_json::from_slice(&self.everything().await[MARKER]).unwrap()
    }

    /// Another place with the same objects under the same names.
    pub(crate) async fn copy(&self) -> Self {
        match self {
            Self::Directory(root) => {
                let to = root.with_extension("copy");
                copy_tree(root, &to);
                Self::Directory(to)
            }
            Self::Bucket { server, bucket, root } => {
                let to = server.bucket().await.unwrap();
                let (source, target) = (store(server, bucket), store(server, &to));
                let listed: Vec<_> = source.list(None).try_collect().await.unwrap();
                for info in listed {
                    target.put(&info.key, source.get(&info.key).await.unwrap()).await.unwrap();
                }
                Self::Bucket { server, bucket: to, root: root.clone() }
            }
        }
    }
}

/// All of a bucket.
fn store(server: &S3Server, bucket: &str) -> S3Store {
    let (access, secret) = S3User::Writer.keys();
    let location = S3Location { bucket: bucket.to_owned(), root: None };
    let credentials = S3Config::static_credentials(access, secret, None);
    S3Store::new(S3Config::new(location, Some(server.endpoint()), credentials)).unwrap()
}

fn contents(root: &Path, dir: &Path, files: &mut Files) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(root, &path, files);
        } else if let Ok(bytes) = fs::read(&path) {
            files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), bytes);
        }
    }
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// A root path that several clusters are given, each with metadata of its own.
pub(crate) struct Place {
    /// The data directories; and the root path, where that is one.
    pub(crate) home: TempDir,
    /// The root path is in here.
    pub(crate) above: Ground,
    pub(crate) root: Ground,
}

impl Place {
    pub(crate) fn directory() -> Self {
        let home = TempDir::with_prefix("elanus-root-").unwrap();
        let above = Ground::Directory(home.path().to_owned());
        Self { root: above.below("bucket"), above, home }
    }

    pub(crate) async fn bucket() -> Self {
        let home = TempDir::with_prefix("elanus-root-").unwrap();
        let server = S3Server::shared().await.unwrap();
        let bucket = server.bucket().await.unwrap();
        let above = Ground::Bucket { server, bucket, root: "some".to_owned() };
        Self { root: above.below("bucket"), above, home }
    }

    pub(crate) fn cluster(&self, name: &str) -> Cluster {
        self.cluster_at(name, &self.root)
    }

    pub(crate) fn cluster_at(&self, name: &str, root: &Ground) -> Cluster {
        Cluster { data: self.home.path().join(name), root: root.clone() }
    }
}

/// One cluster: its data directory, which holds its metadata.
pub(crate) struct Cluster {
    pub(crate) data: PathBuf,
    pub(crate) root: Ground,
}

impl Cluster {
    /// What is dropped is garbage at once.
    pub(crate) async fn start(&self) -> Server {
        self.start_with(&["--gc-drop-tolerance", "0", "--trash-retention", "0"]).await
    }

    pub(crate) fn flags(&self) -> Vec<String> {
        self.root.flags()
    }

    pub(crate) async fn start_with(&self, more: &[&str]) -> Server {
        let flags = self.root.flags();
        let first = ["--gc-first-run-pause", "0"];
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).chain(first).collect();
        Server::start_in_with(&self.data, &flags).await.unwrap()
    }

    /// A command without a server.
    pub(crate) async fn ctl(&self, line: &[&str], rest: &[&str]) -> Ended {
        let flags = self.root.flags();
        let flags = flags.iter().map(String::as_str);
        let json = ["ctl", "--output", "json"].into_iter();
        elanus(json.chain(line.iter().copied()).chain(flags).chain(rest.iter().copied())).await.unwrap()
    }

    /// A start that is refused: its exit code is 3, and this is what it says.
    pub(crate) async fn refused(&self) -> String {
        let nowhere = "127.0.0.1:0";
        let (flags, data) = (self.root.flags(), self.data.to_str().unwrap());
        let line = ["standalone", "--data", data, "--listen", nowhere, "--management", nowhere];
        let ended = elanus(line.into_iter().chain(flags.iter().map(String::as_str))).await.unwrap();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{}", ended.stderr);
        ended.stderr
    }

    pub(crate) async fn root(&self, line: &[&str]) -> Ended {
        self.ctl(&["root", "--data", self.data.to_str().unwrap()], line).await
    }

    pub(crate) async fn root_done(&self, line: &[&str]) -> Value {
        let ended = self.root(line).await;
        assert_eq!(ended.code, Some(0), "{line:?}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    pub(crate) async fn root_fails(&self, line: &[&str], code: i32, says: &str) {
        let ended = self.root(line).await;
        assert_eq!(ended.code, Some(code), "{line:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{line:?}: {}", ended.stderr);
    }

    /// Takes the root path from its owner, who is told by the marker.
    pub(crate) async fn takes_over(&self) {
        let marker = self.root.marker().await;
        let (owner, epoch) = (marker["cluster_id"].as_str().unwrap(), marker["epoch"].to_string());
        let line = ["takeover", "--expect-cluster", owner, "--expect-epoch", &epoch, "--reason", "burnt", "--yes"];
        self.root_done(&line).await;
    }

    /// What `root show` says, whatever its exit code.
    pub(crate) async fn show(&self) -> Value {
        serde_json::from_str(&self.root(&["show"]).await.stdout).unwrap()
    }

    /// The owner's objects are as they were, all of them.
    pub(crate) async fn assert_whole(&self) {
        let mut server = self.start().await;
        scrubbed_clean(&server).await;
        server.terminate().await.unwrap();
    }

    /// What was dropped is deleted, and with it not one object of anybody else.
    pub(crate) async fn collects_nothing_but_its_own(&self) {
        let mut server = self.start().await;
        collects(&server, &self.root).await;
        server.terminate().await.unwrap();
    }
}

pub(crate) async fn scrubbed_clean(server: &Server) {
    let scrubbed = elanus(["ctl", "--addr", &server.url(), "scrub", "--checksums"]).await.unwrap();
    assert_eq!(scrubbed.code, Some(0), "{scrubbed:?}");
}

async fn gc_run(server: &Server) -> Ended {
    elanus(["ctl", "--addr", &server.url(), "gc", "run"]).await.unwrap()
}

/// A collection with a snapshot: what must not be lost.
pub(crate) async fn work(server: &Server) {
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("kept").await.unwrap();
    milvus.insert("kept", &ROWS).await.unwrap();
    milvus.create_snapshot("kept", "first").await.unwrap();
}

pub(crate) const ROWS: [Row; 3] = [Row { id: 1, version: 1 }, Row { id: 2, version: 1 }, Row { id: 3, version: 1 }];

/// Drops a collection with a snapshot; the objects that nothing needs now.
async fn litter(server: &Server, root: &Ground) -> Files {
    let before = root.files().await;
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("litter").await.unwrap();
    milvus.insert("litter", &ROWS).await.unwrap();
    let mut litter = root.files().await;
    litter.retain(|name, _| !before.contains_key(name));
    assert!(!litter.is_empty());
    milvus.drop_collection("litter").await.unwrap();
    litter
}

/// The collector deletes: all of its litter goes. What must be there is for the story to know: what was dropped before
/// goes as well.
pub(crate) async fn collects(server: &Server, root: &Ground) {
    let litter = litter(server, root).await;
    wait_for("the litter to be deleted", DELETED_MAX, async || {
        let told = gc_run(server).await;
        let files = root.files().await;
        let left = litter.keys().find(|name| files.contains_key(*name));
        left.map_or(Ok(()), |left| Err(format!("{left} is there: {told:?}")))
    })
    .await;
}

/// The collector is asked to delete, says why it does not, and not even the litter goes.
pub(crate) async fn collects_nothing(server: &Server, root: &Ground) {
    let mut before = root.files().await;
    before.append(&mut litter(server, root).await);
    for _ in 0..2 {
        let told = gc_run(server).await;
        assert!(format!("{told:?}").contains("deletes are frozen"), "{told:?}");
    }
    assert_superset(&root.files().await, &before);
}

pub(crate) fn assert_superset(now: &Files, before: &Files) {
    for (name, bytes) in before {
        assert!(now.get(name) == Some(bytes), "{name} was changed or is gone");
    }
}

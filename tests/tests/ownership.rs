//! The accident, replayed: two real processes with different metadata on one root path. Not one file of the other is
//! deleted, changed or added to, and what the operator is told says what happened.
//!
//! Every story is told to a [`Place`]: a local directory, where the lock of a running process is in the way of a second one
//! as well, so that the stories also copy the directory, take its marker away, and go back to yesterday's metadata.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_scenarios::{milvus::Milvus, rows::Row};
use elanus_testkit::{Ended, Server, elanus, wait_for};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// A fenced process notices within one renewal.
const FENCED_MAX: Duration = Duration::from_secs(60);

/// A root path that several clusters are given, each with metadata of its own.
struct Place {
    home: TempDir,
}

/// One cluster: its data directory, which holds its metadata.
struct Cluster {
    data: PathBuf,
    objects: String,
}

impl Place {
    fn new() -> Self {
        Self { home: TempDir::with_prefix("elanus-root-").unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("bucket")
    }

    fn cluster(&self, name: &str) -> Cluster {
        self.cluster_at(name, &self.root())
    }

    fn cluster_at(&self, name: &str, root: &Path) -> Cluster {
        Cluster { data: self.home.path().join(name), objects: format!("file://{}", root.display()) }
    }

    /// Every object below the root path with its bytes; not what a running process keeps below `_elanus`.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        contents(&self.root(), &self.root(), &mut files);
        files.retain(|name, _| !name.starts_with("_elanus/"));
        files
    }

    /// Everything, also the marker.
    fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        contents(&self.root(), &self.root(), &mut files);
        files
    }

    fn marker(&self) -> PathBuf {
        self.root().join("_elanus/owner.json")
    }

    fn marker_json(&self) -> Value {
        serde_json::from_slice(&fs::read(self.marker()).unwrap()).unwrap()
    }
}

fn contents(root: &Path, dir: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            // A staging file may be gone by now.
            files.insert(name, fs::read(&path).unwrap_or_default());
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
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

impl Cluster {
    async fn start(&self) -> Server {
        Server::start_in_with(&self.data, &["--objects", &self.objects]).await.unwrap()
    }

    /// A start that is refused: its exit code is 3, and this is what it says.
    async fn refused(&self) -> String {
        let nowhere = "127.0.0.1:0";
        let data = self.data.to_str().unwrap();
        let flags = ["--data", data, "--objects", &self.objects, "--listen", nowhere, "--management", nowhere];
        let ended = elanus(["standalone"].iter().chain(&flags)).await.unwrap();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{}", ended.stderr);
        ended.stderr
    }

    async fn root(&self, line: &[&str]) -> Ended {
        let places =
            ["ctl", "--output", "json", "root", "--data", self.data.to_str().unwrap(), "--objects", &self.objects];
        elanus(places.iter().chain(line)).await.unwrap()
    }

    async fn root_done(&self, line: &[&str]) -> Value {
        let ended = self.root(line).await;
        assert_eq!(ended.code, Some(0), "{line:?}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    async fn root_fails(&self, line: &[&str], code: i32, says: &str) {
        let ended = self.root(line).await;
        assert_eq!(ended.code, Some(code), "{line:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{line:?}: {}", ended.stderr);
    }

    /// What `root show` says, whatever its exit code.
    async fn show(&self) -> Value {
        serde_json::from_str(&self.root(&["show"]).await.stdout).unwrap()
    }
}

/// Writes, drops and writes again, so that there is something that is wanted and something that is garbage.
async fn work(server: &Server) {
    let milvus = Milvus::at(&server.url());
    for name in ["kept", "dropped"] {
        milvus.create_collection(name).await.unwrap();
        for version in 0..3 {
            let rows: Vec<Row> = (0..10).map(|id| Row { id, version }).collect();
            milvus.insert(name, &rows).await.unwrap();
        }
    }
    server.client().await.unwrap().snapshots().create("kept", "first").send().await.unwrap();
    milvus.drop_collection("dropped").await.unwrap();
}

/// The owner's objects are as they were, all of them.
async fn assert_whole(cluster: &Cluster) {
    let server = cluster.start().await;
    let scrubbed = elanus(["ctl", "--addr", &server.url(), "scrub", "--checksums"]).await.unwrap();
    assert_eq!(scrubbed.code, Some(0), "{scrubbed:?}");
}

fn is_superset(now: &BTreeMap<String, Vec<u8>>, before: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in before {
        assert!(now.get(name) == Some(bytes), "{name} was changed or is gone");
    }
}

#[tokio::test]
async fn a_second_cluster_is_refused_while_the_first_one_runs_and_after_it() {
    let place = Place::new();
    let (one, two) = (place.cluster("one"), place.cluster("two"));
    let mut server = one.start().await;
    work(&server).await;
    let before = place.files();
    assert!(before.len() >= 4, "{:?}", before.keys());
    let owner = place.marker_json()["cluster_id"].as_str().unwrap().to_owned();
    let told = two.refused().await;
    for part in ["belongs to another cluster", &owner, "last renewed", "elanus ctl root takeover --expect-cluster"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(place.files(), before);

    server.terminate().await.unwrap();
    let before = place.everything();
    assert!(two.refused().await.contains(&owner), "never by expiry");
    assert_eq!(place.everything(), before, "nothing was touched");
    assert!(!two.data.exists(), "nor made");
    two.root_fails(&["init", "--into-nonempty"], 5, "has an owner").await;
    let shown = two.show().await;
    assert_eq!((&shown["outcome"], &shown["marker"]["cluster_id"]), (&"refused".into(), &owner.clone().into()));
    assert_eq!(place.everything(), before);
    assert_whole(&one).await;
}

#[tokio::test]
async fn a_forced_takeover_stops_the_old_owner_and_touches_none_of_its_files() {
    let place = Place::new();
    let (one, two) = (place.cluster("one"), place.cluster("two"));
    let mut old = one.start().await;
    work(&old).await;
    let before = place.files();
    let owner = place.marker_json()["cluster_id"].as_str().unwrap().to_owned();
    let epoch = place.marker_json()["epoch"].to_string();
    let takeover = |epoch: &str| {
        ["takeover", "--expect-cluster", &owner, "--expect-epoch", epoch, "--reason", "the old one burnt"]
            .map(str::to_owned)
    };
    let run = async |epoch: &str, more: &[&str]| {
        let line = takeover(epoch);
        two.root(&line.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>()).await
    };
    assert_eq!(run("99", &["--yes"]).await.code, Some(5), "another epoch");
    assert_eq!(run(&epoch, &[]).await.code, Some(2), "nobody can be asked");
    assert_eq!(run(&epoch, &["--dry-run"]).await.code, Some(0));
    assert_eq!(place.marker_json()["cluster_id"], owner.as_str());
    assert!(!two.data.exists());
    let taken = run(&epoch, &["--yes"]).await;
    assert_eq!(taken.code, Some(0), "{taken:?}");

    // The old owner finds out by itself, says so, and ends.
    let code = wait_for("the old owner to end", FENCED_MAX, async || old.ended_with().ok_or("it runs")).await;
    assert_eq!(code, Some(1), "{}", old.log());
    let new_owner = place.marker_json()["cluster_id"].as_str().unwrap().to_owned();
    assert!(old.log().contains(&format!("is now owned by cluster {new_owner}")), "{}", old.log());
    assert!(one.refused().await.contains(&new_owner));

    let mut new = two.start().await;
    work(&new).await;
    assert!(new.log().contains("deletes are off: the root path was taken from another cluster"), "{}", new.log());
    is_superset(&place.files(), &before);
    let decided = two.root_done(&["leave-foreign"]).await;
    assert_eq!(decided["marker"]["former_owners"][0]["objects"], "left_foreign");
    new.terminate().await.unwrap();
    assert_eq!(two.show().await["outcome"], "owner");
    assert_whole(&two).await;
    is_superset(&place.files(), &before);

    // And back again, with everything that the first one had.
    let epoch = place.marker_json()["epoch"].to_string();
    let back =
        ["takeover", "--expect-cluster", &new_owner, "--expect-epoch", &epoch, "--reason", "found again", "--yes"];
    one.root_done(&back).await;
    one.root_done(&["leave-foreign"]).await;
    assert_whole(&one).await;
    is_superset(&place.files(), &before);
}

#[tokio::test]
async fn a_marker_that_was_deleted_stops_deletes_and_lets_no_second_cluster_in() {
    let place = Place::new();
    let (one, two) = (place.cluster("one"), place.cluster("two"));
    let mut server = one.start().await;
    work(&server).await;
    server.terminate().await.unwrap();
    let before = place.files();
    fs::remove_file(place.marker()).unwrap();
    assert!(two.refused().await.contains("it is not empty and was not made by elanus, or its marker is gone"));
    two.root_fails(&["repair"], 4, "no metadata").await;

    server.restart().await.unwrap();
    assert!(
        server.log().contains("deletes are off: the owner's marker _elanus/owner.json is gone"),
        "{}",
        server.log()
    );
    let rows = [Row { id: 77, version: 1 }];
    Milvus::at(&server.url()).insert("kept", &rows).await.unwrap();
    assert_eq!(one.show().await["outcome"], "marker_missing");
    is_superset(&place.files(), &before);
    let repaired = one.root_done(&["repair"]).await;
    assert_eq!(repaired["marker"]["hold"], Value::Null);
    one.root_fails(&["repair"], 5, "nothing to repair").await;
    server.terminate().await.unwrap();
    assert_whole(&one).await;
}

#[tokio::test]
async fn metadata_from_yesterday_deletes_nothing_until_it_is_released() {
    let place = Place::new();
    let one = place.cluster("one");
    let mut server = one.start().await;
    work(&server).await;
    server.terminate().await.unwrap();
    let yesterday = place.home.path().join("yesterday");
    copy_tree(&one.data, &yesterday);
    server.restart().await.unwrap();
    let rows = [Row { id: 77, version: 1 }];
    Milvus::at(&server.url()).insert("kept", &rows).await.unwrap();
    server.terminate().await.unwrap();
    let before = place.files();

    let restored = Cluster { data: yesterday, objects: one.objects.clone() };
    assert_eq!(restored.show().await["outcome"], "restored");
    let mut server = restored.start().await;
    assert!(server.log().contains("the metadata was restored from a backup"), "{}", server.log());
    // What only the lost metadata knew is unknown, and stays.
    let scrubbed = elanus(["ctl", "--addr", &server.url(), "--output", "json", "scrub"]).await.unwrap();
    assert_eq!(scrubbed.code, Some(1), "{scrubbed:?}");
    is_superset(&place.files(), &before);
    server.terminate().await.unwrap();
    assert_eq!(restored.show().await["outcome"], "restored", "also after a restart");
    restored.root_fails(&["repair", "--metadata-is-complete"], 2, "nobody can be asked").await;
    restored.root_done(&["repair", "--metadata-is-complete", "--yes"]).await;
    assert_eq!(restored.show().await["outcome"], "owner");
    let server = restored.start().await;
    assert!(Milvus::at(&server.url()).insert("kept", &rows).await.is_ok());
    is_superset(&place.files(), &before);
}

#[tokio::test]
async fn a_bucket_that_another_system_fills_is_refused_and_shared_only_when_that_is_said() {
    let place = Place::new();
    let one = place.cluster("one");
    for name in
        ["files/insert_log/1/2/3/100/7", "files/delta_log/1/2/3/8", "files/index_files/9/1/2/3/IVF", "notes.txt"]
    {
        let path = place.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let before = place.everything();
    assert!(one.refused().await.contains("elanus ctl root init --into-nonempty"));
    one.root_fails(&["init"], 5, "--into-nonempty").await;
    one.root_done(&["init", "--into-nonempty", "--dry-run"]).await;
    assert_eq!(place.everything(), before, "nothing was touched");
    one.root_done(&["init", "--into-nonempty"]).await;
    let mut server = one.start().await;
    work(&server).await;
    server.terminate().await.unwrap();
    assert_whole(&one).await;
    is_superset(&place.everything(), &before);
}

#[tokio::test]
async fn a_copied_bucket_with_other_metadata_is_refused_and_with_its_own_is_another_place() {
    let place = Place::new();
    let one = place.cluster("one");
    let mut server = one.start().await;
    work(&server).await;
    server.terminate().await.unwrap();
    let (copy, before) = (place.home.path().join("copy"), place.everything());
    copy_tree(&place.root(), &copy);
    let other = place.cluster_at("other", &copy);
    assert!(other.refused().await.contains("belongs to another cluster"));

    let data = place.home.path().join("data-copy");
    copy_tree(&one.data, &data);
    let twin = Cluster { data, objects: format!("file://{}", copy.display()) };
    let mut server = twin.start().await;
    work_again(&server).await;
    server.terminate().await.unwrap();
    assert_eq!(place.everything(), before, "the original is another place");
    assert_whole(&twin).await;
    assert_whole(&one).await;

    // The copied metadata on the original: it is from the past, or a second process; never a reason to delete.
    let mut server = one.start().await;
    work_again(&server).await;
    server.terminate().await.unwrap();
    let before = place.files();
    let stray = Cluster { data: twin.data.clone(), objects: one.objects.clone() };
    let mut server = stray.start().await;
    server.terminate().await.unwrap();
    is_superset(&place.files(), &before);
}

async fn work_again(server: &Server) {
    let milvus = Milvus::at(&server.url());
    milvus.create_collection("more").await.unwrap();
    milvus.insert("more", &[Row { id: 1, version: 1 }]).await.unwrap();
    milvus.drop_collection("more").await.unwrap();
}

#[tokio::test]
async fn a_root_path_in_another_one_is_refused() {
    let place = Place::new();
    let mut server = place.cluster("one").start().await;
    let inner = place.cluster_at("inner", &place.root().join("inner"));
    assert!(inner.refused().await.contains("../_elanus/owner.json"));
    server.terminate().await.unwrap();
    let outer = place.cluster_at("outer-data", place.home.path());
    outer.root_fails(&["init", "--into-nonempty"], 5, "bucket/_elanus/owner.json").await;
    assert!(!place.root().join("inner").exists());
}

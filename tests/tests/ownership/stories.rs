//! The stories, wherever they play.

use crate::place::{Cluster, Place, assert_superset, collects, collects_nothing, copy_tree, scrubbed_clean, work};
use elanus_scenarios::{milvus::Milvus, rows::Row};
use elanus_testkit::{Server, Signal, elanus, wait_for};
use serde_json::Value;
use std::time::Duration;

/// A fenced process notices within one renewal.
const FENCED_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn a_second_cluster_is_refused_while_the_first_one_runs_and_after_it(place: Place) {
    let (one, two) = (place.cluster("one"), place.cluster("two"));
    let mut server = one.start().await;
    work(&server).await;
    collects(&server, &place.root).await;
    let before = place.root.files().await;
    assert!(before.len() >= 3, "{:?}", before.keys());
    let owner = place.root.marker().await["cluster_id"].as_str().unwrap().to_owned();
    let told = two.refused().await;
    for part in ["belongs to another cluster", &owner, "last renewed", "elanus ctl root takeover --expect-cluster"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(place.root.files().await, before);

    server.terminate().await.unwrap();
    let before = place.root.everything().await;
    assert!(two.refused().await.contains(&owner), "never by expiry");
    assert_eq!(place.root.everything().await, before, "nothing was touched");
    assert!(!two.data.exists(), "nor made");
    two.root_fails(&["init", "--into-nonempty"], 5, "has an owner").await;
    let shown = two.show().await;
    assert_eq!((&shown["outcome"], &shown["marker"]["cluster_id"]), (&"refused".into(), &owner.clone().into()));
    assert_eq!(place.root.everything().await, before);
    one.assert_whole().await;
}

pub(crate) async fn a_forced_takeover_stops_the_old_owner_and_touches_none_of_its_files(place: Place) {
    let (one, two) = (place.cluster("one"), place.cluster("two"));
    let mut old = one.start().await;
    work(&old).await;
    collects(&old, &place.root).await;
    let before = place.root.files().await;
    let marker = place.root.marker().await;
    let (owner, epoch) = (marker["cluster_id"].as_str().unwrap().to_owned(), marker["epoch"].to_string());
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
    assert_eq!(place.root.marker().await["cluster_id"], owner.as_str());
    assert!(!two.data.exists());
    let taken = run(&epoch, &["--yes"]).await;
    assert_eq!(taken.code, Some(0), "{taken:?}");

    // The old owner finds out by itself, says so, and ends.
    let code = wait_for("the old owner to end", FENCED_MAX, async || old.ended_with().ok_or("it runs")).await;
    assert_eq!(code, Some(1), "{}", old.log());
    let new_owner = place.root.marker().await["cluster_id"].as_str().unwrap().to_owned();
    assert!(old.log().contains(&format!("is now owned by cluster {new_owner}")), "{}", old.log());
    assert!(one.refused().await.contains(&new_owner));

    let mut new = two.start().await;
    work(&new).await;
    assert!(new.log().contains("deletes are off: the root path was taken from another cluster"), "{}", new.log());
    collects_nothing(&new, &place.root).await;
    assert_superset(&place.root.files().await, &before);
    let decided = two.root_done(&["leave-foreign"]).await;
    assert_eq!(decided["marker"]["former_owners"][0]["objects"], "left_foreign");
    new.terminate().await.unwrap();
    assert_eq!(two.show().await["outcome"], "owner");
    two.collects_nothing_but_its_own().await;
    two.assert_whole().await;
    let both = place.root.files().await;
    assert_superset(&both, &before);

    // And back again, with everything that the first one had.
    let epoch = place.root.marker().await["epoch"].to_string();
    let back =
        ["takeover", "--expect-cluster", &new_owner, "--expect-epoch", &epoch, "--reason", "found again", "--yes"];
    one.root_done(&back).await;
    one.root_done(&["leave-foreign"]).await;
    one.collects_nothing_but_its_own().await;
    one.assert_whole().await;
    assert_superset(&place.root.files().await, &both);
}

pub(crate) async fn a_marker_that_was_deleted_stops_deletes_and_lets_no_second_cluster_in(place: Place) {
    let (one, two) = (place.cluster("one"), place.cluster("two"));
    let mut server = one.start().await;
    work(&server).await;
    collects(&server, &place.root).await;
    server.terminate().await.unwrap();
    let before = place.root.files().await;
    place.root.remove_marker().await;
    assert!(two.refused().await.contains("it is not empty and was not made by elanus, or its marker is gone"));
    two.root_fails(&["repair"], 4, "no metadata").await;

    server.restart().await.unwrap();
    assert!(
        server.log().contains("deletes are off: the owner's marker _elanus/owner.json is gone"),
        "{}",
        server.log()
    );
    Milvus::at(&server.url()).insert("kept", &[Row { id: 77, version: 1 }]).await.unwrap();
    collects_nothing(&server, &place.root).await;
    assert_eq!(one.show().await["outcome"], "marker_missing");
    assert_superset(&place.root.files().await, &before);
    let repaired = one.root_done(&["repair"]).await;
    assert_eq!(repaired["marker"]["hold"], Value::Null);
    one.root_fails(&["repair"], 5, "nothing to repair").await;
    server.terminate().await.unwrap();
    one.collects_nothing_but_its_own().await;
    one.assert_whole().await;
    assert_superset(&place.root.files().await, &before);
}

pub(crate) async fn metadata_from_yesterday_deletes_nothing_until_it_is_reconciled(place: Place) {
    let one = place.cluster("one");
    let mut server = one.start().await;
    work(&server).await;
    collects(&server, &place.root).await;
    server.terminate().await.unwrap();
    let yesterday = place.home.path().join("yesterday");
    copy_tree(&one.data, &yesterday);
    server.restart().await.unwrap();
    let rows = [Row { id: 77, version: 1 }];
    let milvus = Milvus::at(&server.url());
    milvus.insert("kept", &rows).await.unwrap();
    milvus.create_collection("of_today").await.unwrap();
    milvus.insert("of_today", &rows).await.unwrap();
    server.terminate().await.unwrap();
    let before = place.root.files().await;

    let restored = Cluster { data: yesterday, root: place.root.clone() };
    assert_eq!(restored.show().await["outcome"], "restored");
    let mut server = restored.start().await;
    for part in ["the metadata is from the past", "the metadata was restored from a backup"] {
        assert!(server.log().contains(part), "{part}: {}", server.log());
    }
    collects_nothing(&server, &place.root).await;
    // What only the lost metadata knew is unknown, and stays.
    let scrubbed = elanus(["ctl", "--addr", &server.url(), "--output", "json", "scrub"]).await.unwrap();
    assert_eq!(scrubbed.code, Some(1), "{scrubbed:?}");
    assert_superset(&place.root.files().await, &before);
    server.kill9().unwrap();
    assert_eq!(restored.show().await["outcome"], "restored", "also after a restart");
    server.restart().await.unwrap();

    let told = reconcile(&server, 0, &[]).await;
    let epoch = told["epoch"].as_i64().unwrap();
    assert_eq!((&told["applied"], &told["missing_num"]), (&false.into(), &0.into()), "{told}");
    assert!(told["frozen"].as_str().unwrap().contains("restored from a backup") && told["unknown_num"] != 0, "{told}");
    collects_nothing(&server, &place.root).await;
    let told = reconcile(&server, 0, &["--apply", "--yes"]).await;
    assert_eq!((&told["applied"], &told["frozen"]), (&true.into(), &Value::Null), "{told}");
    assert_eq!((&told["epoch"], &told["ended"][0]["source"]), (&(epoch + 1).into(), &"root path".into()), "{told}");
    assert_eq!(place.root.marker().await["epoch"], epoch + 1);
    assert!(Milvus::at(&server.url()).insert("kept", &rows).await.is_ok(), "it goes on under the new epoch");
    collects(&server, &place.root).await;
    let again = reconcile(&server, 0, &["--apply", "--yes"]).await;
    assert_eq!((&again["applied"], &again["ended"]), (&true.into(), &Value::Array(vec![])), "{again}");
    server.kill9().unwrap();
    assert_eq!(restored.show().await["outcome"], "owner");
    assert_superset(&place.root.files().await, &before);
    // What was written today, by metadata that are gone, is there and belongs to nobody.
    restored.collects_nothing_but_its_own().await;
    assert_superset(&place.root.files().await, &before);
    one.root_fails(&["repair", "--metadata-is-complete", "--yes"], 5, "not held").await;
}

/// `gc reconcile`: what it says, when it ends with this code.
pub(crate) async fn reconcile(server: &Server, code: i32, rest: &[&str]) -> Value {
    let (url, line) = (server.url(), ["gc", "reconcile"]);
    let ended = elanus(["ctl", "--addr", &url, "--output", "json"].iter().chain(&line).chain(rest)).await.unwrap();
    assert_eq!(ended.code, Some(code), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

pub(crate) async fn a_backup_of_a_running_server_is_known_as_one_from_the_first_deletion_on(place: Place) {
    let one = place.cluster("one");
    let mut server = one.start().await;
    work(&server).await;
    // A backup that is younger than the last renewal, as a rule; the server dies before the next one, as a rule.
    let young = place.home.path().join("young");
    server.signal(Signal::Stop).unwrap();
    copy_tree(&one.data, &young);
    server.signal(Signal::Continue).unwrap();
    collects(&server, &place.root).await;
    server.kill9().unwrap();
    let before = place.root.files().await;

    let restored = Cluster { data: young, root: place.root.clone() };
    assert_eq!(restored.show().await["outcome"], "restored");
    let mut server = restored.start().await;
    assert!(server.log().contains("the metadata is from the past"), "{}", server.log());
    collects_nothing(&server, &place.root).await;
    assert_superset(&place.root.files().await, &before);
    server.terminate().await.unwrap();
    // The original is the copy now.
    assert_eq!(one.show().await["outcome"], "restored");
}

pub(crate) async fn two_copies_of_the_metadata_are_told_apart_whatever_their_numbers_say(place: Place) {
    let one = place.cluster("one");
    let mut original = one.start().await;
    work(&original).await;
    original.terminate().await.unwrap();
    let copied = place.home.path().join("copied");
    copy_tree(&one.data, &copied);
    let copy = Cluster { data: copied, root: place.root.clone() };
    original.restart().await.unwrap();
    if place.root.is_directory() {
        assert!(copy.refused().await.contains("is in use by another elanus process"));
        original.terminate().await.unwrap();
    }
    // In a bucket nothing but the marker tells that the other one runs: the second one takes over, and deletes nothing.
    let mut second = copy.start().await;
    assert!(
        second.log().contains("deletes are off: the owner's marker was written by other metadata"),
        "{}",
        second.log()
    );
    if !place.root.is_directory() {
        let ended = wait_for("the original to end", FENCED_MAX, async || original.ended_with().ok_or("it runs")).await;
        assert_eq!(ended, Some(1), "{}", original.log());
        assert!(original.log().contains("is now owned by a later process of this cluster"), "{}", original.log());
    }
    collects_nothing(&second, &place.root).await;
    second.terminate().await.unwrap();
    let before = place.root.files().await;

    // Somebody decides for the original. Its epochs are above those of the copy, and the other way round in the end.
    let mut original = one.start().await;
    collects_nothing(&original, &place.root).await;
    reconcile(&original, 0, &["--apply", "--yes"]).await;
    collects(&original, &place.root).await;
    // What the copy wrote is unknown to it, and stays.
    let url = original.url();
    let scrubbed = elanus(["ctl", "--addr", &url, "--output", "json", "scrub", "--checksums"]).await.unwrap();
    let scrubbed: Value = serde_json::from_str(&scrubbed.stdout).unwrap();
    let none = Value::Array(vec![]);
    assert_eq!((&scrubbed["missing"], &scrubbed["damaged"]), (&none, &none), "{scrubbed}");
    original.terminate().await.unwrap();
    for _ in 0..2 {
        let mut second = copy.start().await;
        collects_nothing(&second, &place.root).await;
        second.terminate().await.unwrap();
    }
    assert_superset(&place.root.files().await, &before);
}

pub(crate) async fn a_bucket_that_another_system_fills_is_refused_and_shared_only_when_that_is_said(place: Place) {
    let one = place.cluster("one");
    for name in
        ["files/insert_log/1/2/3/100/7", "files/delta_log/1/2/3/8", "files/index_files/9/1/2/3/IVF", "notes.txt"]
    {
        place.root.write(name).await;
    }
    let before = place.root.everything().await;
    assert_eq!(before.len(), 4);
    assert!(one.refused().await.contains("elanus ctl root init --into-nonempty"));
    one.root_fails(&["init"], 5, "--into-nonempty").await;
    one.root_done(&["init", "--into-nonempty", "--dry-run"]).await;
    assert_eq!(place.root.everything().await, before, "nothing was touched");
    one.root_done(&["init", "--into-nonempty"]).await;
    let mut server = one.start().await;
    work(&server).await;
    collects(&server, &place.root).await;
    scrubbed_clean(&server).await;
    server.terminate().await.unwrap();
    assert_superset(&place.root.everything().await, &before);
}

pub(crate) async fn a_copied_bucket_with_other_metadata_is_refused_and_with_its_own_is_another_place(place: Place) {
    let one = place.cluster("one");
    let mut server = one.start().await;
    work(&server).await;
    collects(&server, &place.root).await;
    server.terminate().await.unwrap();
    let (copy, before) = (place.root.copy().await, place.root.everything().await);
    assert_eq!(copy.everything().await, before);
    let other = place.cluster_at("other", &copy);
    assert!(other.refused().await.contains("belongs to another cluster"));

    let data = place.home.path().join("data-copy");
    copy_tree(&one.data, &data);
    let twin = Cluster { data, root: copy };
    twin.collects_nothing_but_its_own().await;
    assert_eq!(place.root.everything().await, before, "the original is another place");
    twin.assert_whole().await;
    one.assert_whole().await;

    // The copied metadata on the original: it is from the past, or a second process; never a reason to delete.
    one.collects_nothing_but_its_own().await;
    let before = place.root.files().await;
    let stray = Cluster { data: twin.data.clone(), root: place.root.clone() };
    let mut server = stray.start().await;
    assert!(
        server.log().contains("deletes are off: the owner's marker was written by other metadata"),
        "{}",
        server.log()
    );
    collects_nothing(&server, &place.root).await;
    server.terminate().await.unwrap();
    assert_superset(&place.root.files().await, &before);
}

pub(crate) async fn a_root_path_in_another_one_is_refused(place: Place) {
    let mut server = place.cluster("one").start().await;
    let inner = place.cluster_at("inner", &place.root.below("inner"));
    assert!(inner.refused().await.contains("../_elanus/owner.json"));
    server.terminate().await.unwrap();
    let outer = place.cluster_at("outer-data", &place.above);
    outer.root_fails(&["init", "--into-nonempty"], 5, "bucket/_elanus/owner.json").await;
    assert!(!place.root.everything().await.keys().any(|name| name.starts_with("inner")));
}

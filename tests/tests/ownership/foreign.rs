//! What becomes of objects that belong to somebody else now: they are deleted when an operator types the name, and read by
//! whoever has the metadata.

use crate::place::{Place, ROWS, assert_superset, collects, scrubbed_clean, work};
use elanus_scenarios::milvus::Milvus;
use elanus_testkit::{Server, elanus, get, wait_for};
use serde_json::Value;
use std::time::Duration;

const PURGED_MAX: Duration = Duration::from_secs(60);
/// Known to nobody.
const STRANGER: &str = "5e1f0e6c-0000-4000-8000-000000000001";

async fn purge(server: &Server, code: i32, rest: &[&str]) -> (Value, String) {
    let (url, line) = (server.url(), ["root", "purge-namespace"]);
    let ended = elanus(["ctl", "--addr", &url, "--output", "json"].iter().chain(&line).chain(rest)).await.unwrap();
    assert_eq!(ended.code, Some(code), "{rest:?}: {ended:?}");
    (serde_json::from_str(&ended.stdout).unwrap_or_default(), ended.stderr)
}

async fn gc(server: &Server, line: &[&str]) -> Value {
    let url = server.url();
    let ended = elanus(["ctl", "--addr", &url, "--output", "json", "gc"].iter().chain(line)).await.unwrap();
    assert_eq!(ended.code, Some(0), "{line:?}: {ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

pub(crate) async fn g_3_the_folder_of_a_former_owner_is_emptied_and_not_one_byte_beside_it(place: Place) {
    let (one, two) = (place.cluster("one"), place.cluster("two"));
    let mut server = one.start().await;
    work(&server).await;
    server.terminate().await.unwrap();
    let former = place.root.marker().await["cluster_id"].as_str().unwrap().to_owned();
    two.takes_over().await;
    let own = place.root.marker().await["cluster_id"].as_str().unwrap().to_owned();
    // Whose names begin alike, and who has nothing to do with it.
    for name in [format!("{former}0/x"), format!("{former}-a/x"), format!("files/{former}/x"), format!("{STRANGER}/x")]
    {
        place.root.write(&name).await;
    }
    let mut server = two.start().await;
    work(&server).await;
    let before = place.root.files().await;
    let is_former = |name: &str| name.starts_with(&format!("{former}/"));
    let (objects, bytes) = before
        .iter()
        .filter(|(name, _)| is_former(name))
        .fold((0u64, 0), |(objects, bytes), (_, content)| (objects + 1, bytes + content.len()));
    assert!(objects >= 3, "{:?}", before.keys());

    for (cluster, says) in [
        (former.as_str(), "run `elanus ctl root leave-foreign` first"),
        (&own, "its folder is never emptied"),
        (STRANGER, "was not taken from that cluster"),
    ] {
        for rest in [&[cluster][..], &[cluster, "--confirm", cluster]] {
            let (_, told) = purge(&server, 2, rest).await;
            assert!(told.contains(says), "{told}");
        }
    }
    two.root_done(&["leave-foreign"]).await;
    let (told, _) = purge(&server, 0, &[&former]).await;
    assert_eq!((&told["objects"], &told["bytes"], &told["dry_run"]), (&objects.into(), &bytes.into(), &true.into()));
    let examples = told["examples"].as_array().unwrap();
    assert!(examples.iter().all(|key| is_former(key.as_str().unwrap())) && !examples.is_empty(), "{told}");
    assert_eq!(told["reason"], "burnt");
    purge(&server, 2, &[&former, "--confirm", STRANGER]).await;
    purge(&server, 4, &[&former, "--progress"]).await;
    assert_superset(&place.root.files().await, &before);

    // It stands in the queue while somebody pauses the collector, also when the process is killed.
    let ticket = gc(&server, &["pause"]).await["ticket"].to_string();
    purge(&server, 0, &[&former, "--confirm", &former, "--no-wait"]).await;
    wait_for("the first page to be queued", PURGED_MAX, async || {
        let (told, _) = purge(&server, 0, &[&former, "--progress"]).await;
        if told["waiting"] == objects { Ok(()) } else { Err(told) }
    })
    .await;
    let (told, _) = purge(&server, 1, &[&former, "--confirm", &former]).await;
    assert!(told["frozen"].as_str().unwrap().contains("deletes are paused"), "{told}");
    server.kill9().unwrap();
    assert_superset(&place.root.files().await, &before);
    server.restart().await.unwrap();
    gc(&server, &["resume", &ticket]).await;
    // It goes on by itself.
    let told = wait_for("the folder to be empty", PURGED_MAX, async || {
        let (told, _) = purge(&server, 0, &[&former, "--progress"]).await;
        if told["state"] == "complete" { Ok(told) } else { Err(told) }
    })
    .await;
    assert_eq!((&told["objects"], &told["bytes"]), (&objects.into(), &bytes.into()));

    let after = place.root.files().await;
    let mut kept = before.clone();
    kept.retain(|name, _| !is_former(name));
    assert_superset(&after, &kept);
    assert_eq!(after.keys().find(|name| is_former(name)), None, "all of it is gone");
    let deleted = before.keys().find(|name| is_former(name)).unwrap();
    let audit = gc(&server, &["audit", "--key", deleted]).await;
    let actions: Vec<&str> = audit.as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["gone", "claim"], "{audit}");
    // Again it finds nothing, and the cluster is well.
    let (told, _) = purge(&server, 0, &[&former, "--confirm", &former]).await;
    assert_eq!((&told["state"], &told["objects"]), (&"complete".into(), &0.into()));
    collects(&server, &place.root).await;
    scrubbed_clean(&server).await;
    server.terminate().await.unwrap();
    assert_superset(&place.root.files().await, &kept);
    assert!(one.refused().await.contains(&own));
}

pub(crate) async fn a_root_path_that_is_somebody_elses_is_read_and_not_touched(place: Place) {
    let (one, two) = (place.cluster("one"), place.cluster("two"));
    let mut server = one.start().await;
    work(&server).await;
    Milvus::at(&server.url()).load("kept").await.unwrap();
    server.terminate().await.unwrap();
    two.takes_over().await;
    two.root_done(&["leave-foreign"]).await;
    assert!(one.refused().await.contains("belongs to another cluster"));
    let before = place.root.everything().await;

    let mut server = one.start_with(&["--read-only"]).await;
    let milvus = Milvus::at(&server.url());
    let mut rows = milvus.query("kept", "id >= 0").await.unwrap();
    rows.sort_unstable();
    assert_eq!(rows, ROWS);
    assert_eq!(milvus.snapshots("kept").await.unwrap(), ["first"]);
    let url = server.url();
    let counted =
        elanus(["ctl", "--addr", &url, "--output", "json", "snapshot", "count", "kept", "first"]).await.unwrap();
    assert!(counted.code == Some(0) && counted.stdout.contains('3'), "{counted:?}");
    for refused in [
        format!("{:?}", milvus.insert("kept", &ROWS).await.unwrap_err()),
        format!("{:?}", milvus.create_collection("new").await.unwrap_err()),
        format!("{:?}", milvus.create_snapshot("kept", "second").await.unwrap_err()),
        format!("{:?}", milvus.drop_collection("kept").await.unwrap_err()),
    ] {
        assert!(refused.contains("this server only reads"), "{refused}");
    }
    for line in [&["gc", "run"][..], &["gc", "reconcile", "--apply", "--yes"], &["root", "purge-namespace", STRANGER]] {
        elanus(["ctl", "--addr", &url].iter().chain(line)).await.unwrap();
    }
    let (status, health) = get(server.management(), "/healthz").await.unwrap();
    assert!(status == 200 && health.contains("this process only reads"), "{health}");
    let (_, metrics) = get(server.management(), "/metrics").await.unwrap();
    assert!(metrics.contains("elanus_root_state{state=\"foreign\"} 1\n"), "{metrics}");
    server.terminate().await.unwrap();
    assert_eq!(place.root.everything().await, before, "not one byte, also not of the marker");
    let mut owner = two.start().await;
    let (_, metrics) = get(owner.management(), "/metrics").await.unwrap();
    for line in
        ["elanus_root_state{state=\"owner\"} 1\n", "elanus_root_state{state=\"foreign\"} 0\n", "elanus_root_epoch "]
    {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    owner.terminate().await.unwrap();

    // Nor is anything made where there is nothing to read.
    let nobody = place.cluster("nobody");
    let flags = nobody.flags();
    let line = [
        "standalone",
        "--read-only",
        "--data",
        nobody.data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--management",
        "127.0.0.1:0",
    ];
    let ended = elanus(line.into_iter().chain(flags.iter().map(String::as_str))).await.unwrap();
    assert!(ended.code == Some(3) && ended.stderr.contains("there is no metadata at this place"), "{ended:?}");
    assert!(!nobody.data.exists());
}

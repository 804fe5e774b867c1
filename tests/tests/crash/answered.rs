//! A create that is answered before the files are listed: what was answered is not lost, however little of the listing was
//! done when the process died.

use elanus_client::{RestoreMode, ScrubReport};
use elanus_scenarios::milvus::{Milvus, completed};
use elanus_scenarios::rows::Row;
use elanus_testkit::{Server, wait_for};
use std::path::Path;
use std::time::Duration;

/// More than a create lists before it answers: a file each.
const FILES: i64 = 300;
/// Kills, until one of them struck before the listing was done.
const KILLS_MAX: usize = 12;
const DONE_MAX: Duration = Duration::from_secs(60);

#[tokio::test]
async fn s_1_a_snapshot_that_was_answered_before_its_files_were_listed_survives_kill_9() {
    let mut server = Server::start_with(&["--auto-compaction", "false"]).await.unwrap();
    let milvus = Milvus::at(&server.url());
    let mut unlisted = 0;
    for n in 0..KILLS_MAX {
        let name = format!("docs_{n}");
        milvus.create_collection(&name).await.unwrap();
        let rows: Vec<Row> = (0..FILES).map(|id| Row { id, version: 1 }).collect();
        for row in &rows {
            milvus.insert(&name, &[*row]).await.unwrap();
        }
        let before = listed(server.data());
        milvus.create_snapshot(&name, "kept").await.unwrap();
        server.kill9().unwrap();
        unlisted += usize::from(listed(server.data()) == before);
        server.restart().await.unwrap();

        assert_eq!(milvus.snapshots(&name).await.unwrap(), ["kept"]);
        for mode in RestoreMode::ALL {
            let target = format!("{name}_{mode}");
            let job = milvus.restore(&name, "kept", &target, mode).await.unwrap();
            wait_for("the restore", DONE_MAX, async || match completed(&milvus.job(job).await.unwrap()) {
                Ok(true) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
            milvus.load(&target).await.unwrap();
            let mut found = milvus.query(&target, "id >= 0").await.unwrap();
            found.sort_unstable();
            assert_eq!(found, rows, "{target}");
            milvus.drop_collection(&target).await.unwrap();
        }
        wait_for("the listing", DONE_MAX, async || match listed(server.data()) > before {
            true => Ok(()),
            false => Err("no metadata object"),
        })
        .await;
        let ScrubReport { missing, damaged, unknown, orphans, .. } =
            milvus.operator().scrub().checksums(true).send().await.unwrap();
        assert!(missing.is_empty() && damaged.is_empty(), "{missing:?} {damaged:?}");
        assert!(unknown.is_empty() && orphans.is_empty(), "{unknown:?} {orphans:?}");
        if unlisted > 0 {
            eprintln!("{unlisted} of {} kills struck before the listing was done", n + 1);
            return server.terminate().await.unwrap();
        }
    }
    panic!("no kill struck before the listing was done: nothing was shown");
}

/// Metadata objects of snapshots: the last thing that a listing writes.
fn listed(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| match path.is_dir() {
            true => listed(&path),
            false => usize::from(path.components().any(|part| part.as_os_str() == "snapshots") && is_json(&path)),
        })
        .sum()
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

//! How fast a copy of many small files is: a figure for people, not a promise. Run with
//! `cargo test --package elanus-datacoord --test speed -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "it measures, and says what it measured")]

#[allow(dead_code, reason = "every test uses its part of the world")]
mod world;

use bytes::Bytes;
use elanus_datacoord::DataCoordConfig;
use elanus_meta::model::{FileKind, FilePlace, WrittenFile};
use elanus_objects::{LocalStore, checksum_of};
use elanus_types::{NodeId, RestoreMode, Shard};
use futures::{StreamExt as _, stream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use world::World;
use world::effects::Effects;

const FILE_SETS: usize = 10_000;
const COMMIT: usize = 500;
const BYTES: usize = 1_024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn a_copy_of_ten_thousand_small_files_on_a_local_directory() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    world.config = DataCoordConfig::default();
    world.store = Arc::new(LocalStore::open(folder.path()).unwrap());
    let mut process = world.start(Effects::none()).await.unwrap();
    process.create_collection("source").await.unwrap();
    let source = process.collection("source").await.unwrap();
    let (owner, store) = (NodeId("writer".to_owned()), &world.store);
    let place = FilePlace { partition: source.partitions[0].id, shard: Shard(0), kind: FileKind::Insert };
    let began = Instant::now();
    for _ in 0..FILE_SETS / COMMIT {
        let planned = process.meta.begin_write(source.id, &owner, i64::MAX, &[place; COMMIT]).await.unwrap();
        let write = async |planned: elanus_meta::model::PlannedFile| {
            let bytes: Vec<u8> = planned.file_set.0.to_le_bytes().into_iter().cycle().take(BYTES).collect();
            let checksum = checksum_of(&bytes);
            let size = bytes.len() as u64;
            store.put(&planned.key, Bytes::from(bytes)).await.unwrap();
            WrittenFile { planned, place, rows: 1, size, checksum }
        };
        let files: Vec<_> = stream::iter(planned).map(write).buffer_unordered(64).collect().await;
        process.meta.commit_write(source.id, &owner, 1, &files).await.unwrap();
    }
    println!("{FILE_SETS} file sets written in {:?}", began.elapsed());
    process.snapshot("source", "s").await.unwrap();

    for target in ["first", "second", "third"] {
        let began = Instant::now();
        process.restore("source", "s", target, RestoreMode::Copy).await.unwrap();
        let job = loop {
            let job = process.job(target).await.unwrap();
            if job.ended_ms > 0 || job.state == "completed" || job.state == "failed" {
                break job;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let took = began.elapsed();
        assert_eq!((job.state.as_str(), job.files_done), ("completed", FILE_SETS as i64), "{job:?}");
        println!(
            "{target}: {} files copied and published in {took:?}: {:.0} files/s",
            job.files_done,
            FILE_SETS as f64 / took.as_secs_f64()
        );
    }
    process.end().await;
}

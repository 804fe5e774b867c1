//! Work goes where there is room for it.

use crate::cluster::Cluster;
use crate::world::effects::Effects;
use elanus_types::Clock as _;

fn workers(at_work: &std::collections::BTreeMap<String, usize>) -> Vec<(&str, usize)> {
    at_work.iter().map(|(name, tasks)| (name.as_str(), *tasks)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_comes_gets_work_and_one_that_goes_gives_it_back() {
    let cluster = Cluster::new();
    let mut coord = cluster.coord("coord", Effects::none()).await.unwrap();
    let first = cluster.worker("a", 1, &coord, Effects::none()).await;
    coord.filled(&first).await;
    first.copies.set_open(false);
    coord.copying("target").await;
    let has = async |expected: &[(&str, usize)]| workers(&coord.at_work().await) == expected;
    cluster.until(&[&coord], &[&first], "a has a task", async || has(&[("a", 1)]).await).await;

    let second = cluster.worker("b", 2, &coord, Effects::none()).await;
    second.copies.set_open(false);
    let all = [&first, &second];
    cluster.until(&[&coord], &all, "b has two", async || has(&[("a", 1), ("b", 2)]).await).await;

    // The first one ends while it copies: nothing waits for its lease.
    let began_ms = cluster.clock.now_ms();
    let ends = tokio::spawn({
        first.copies.set_open(true);
        first.drain()
    });
    ends.await.unwrap();
    assert_eq!(coord.calls.meta.workers().await.unwrap().len(), 1, "nobody gives it work any more");
    second.copies.set_open(true);
    cluster.until_settled(&coord, &[&second]).await;
    assert!(cluster.clock.now_ms() - began_ms < cluster.config.copy_lease_ms, "no lease ran out");
    coord.assert_restored("target").await;
    coord.calls.scrub().await;
    second.drain().await;
    coord.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_share_the_workers_and_none_waits_for_the_end_of_another() {
    let mut cluster = Cluster::new();
    cluster.config.copy_task_files_max = 1;
    let mut coord = cluster.coord("coord", Effects::none()).await.unwrap();
    let worker = cluster.worker("a", 4, &coord, Effects::none()).await;
    coord.filled(&worker).await;
    worker.copies.set_open(false);
    let mut jobs = vec![];
    for target in ["one", "two"] {
        jobs.push(coord.copying(target).await.job_id);
    }
    let meta = coord.calls.meta.clone();
    let by_job = async || {
        let tasks = meta.in_progress_tasks().await.unwrap();
        jobs.iter().map(|job| tasks.iter().filter(|task| task.job.0 == *job).count()).collect::<Vec<_>>()
    };
    // The first job had all slots before the second one was there; each slot that is free goes to whom has less.
    worker.copies.set_open(true);
    cluster
        .until(&[&coord], &[&worker], "both end", async || {
            let tasks = by_job().await;
            assert!(tasks.iter().sum::<usize>() <= 4, "TU-1: {tasks:?}");
            meta.open_jobs().await.unwrap().is_empty()
        })
        .await;
    for target in ["one", "two"] {
        coord.assert_restored(target).await;
    }
    coord.calls.scrub().await;
    worker.drain().await;
    coord.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_worker_a_copy_waits_and_a_clone_does_not() {
    let cluster = Cluster::new();
    let mut coord = cluster.coord("coord", Effects::none()).await.unwrap();
    let writer = cluster.worker("writer", 0, &coord, Effects::none()).await;
    coord.filled(&writer).await;
    coord.copying("copied").await;
    coord.calls.restore("source", "s", "cloned", elanus_types::RestoreMode::Clone).await.unwrap();
    let meta = coord.calls.meta.clone();
    cluster
        .until(&[&coord], &[&writer], "the clone is there", async || meta.open_jobs().await.unwrap().len() == 1)
        .await;
    assert!(coord.collection_exists("cloned").await && !coord.collection_exists("copied").await);
    let worker = cluster.worker("b", 1, &coord, Effects::none()).await;
    cluster.until_settled(&coord, &[&writer, &worker]).await;
    coord.assert_restored("copied").await;
    worker.drain().await;
    writer.drain().await;
    coord.end().await;
}

//! Work goes where there is room for it.

use crate::cluster::Cluster;
use crate::world::effects::Effects;
use elanus_meta::model::TaskOwner;
use elanus_types::JobId;

fn workers(at_work: &std::collections::BTreeMap<String, usize>) -> Vec<(&str, usize)> {
    at_work.iter().map(|(name, tasks)| (name.as_str(), *tasks)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_comes_gets_work_and_one_that_goes_gives_it_back() {
    let mut cluster = Cluster::new();
    cluster.tick_ms = 5;
    cluster.copies_at_once_max = 1;
    let mut coord = cluster.coord("coord", Effects::none()).await.unwrap();
    let first = cluster.worker("a", 1, &coord, Effects::none()).await;
    coord.filled(&first).await;
    first.copies.set_open(false);
    let job = coord.copying("target").await.job_id;
    let has = async |expected: &[(&str, usize)]| workers(&coord.at_work().await) == expected;
    cluster.until(&[&coord], &[&first], "a has a task", async || has(&[("a", 1)]).await).await;

    let second = cluster.worker("b", 2, &coord, Effects::none()).await;
    second.copies.set_open(false);
    let all = [&first, &second];
    cluster.until(&[&coord], &all, "b has two", async || has(&[("a", 1), ("b", 2)]).await).await;

    // The first one ends while it copies its first file: it begins no other, and nothing waits for its lease.
    let copies = first.copies.clone();
    let ends = tokio::spawn(first.drain());
    let meta = coord.calls.meta.clone();
    let one_left = async || meta.workers().await.unwrap().len() == 1;
    cluster.until(&[], &[&second], "nobody gives it work any more", one_left).await;
    copies.set_open(true);
    ends.await.unwrap();
    second.copies.set_open(true);
    cluster.until_settled(&coord, &[&second]).await;
    let history = coord.calls.meta.job_history(JobId(job), 1_000).await.unwrap();
    let times = |event: &str| history.iter().filter(|(_, line)| line.event == event).count();
    assert_eq!((times("give_back"), times("lease_expired")), (1, 0), "{history:?}");
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
        jobs.iter()
            .map(|job| tasks.iter().filter(|task| task.owner == TaskOwner::Job(JobId(*job))).count())
            .collect::<Vec<_>>()
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

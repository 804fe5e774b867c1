//! Two coordinators and two workers that each believe they are the only one: nothing is written twice, and the loser
//! stops.

use crate::cluster::{Cluster, Coord};
use crate::world::effects::Effects;
use elanus_datacoord::background::{COORDINATOR_WATCH, RESTORE_CHECK, TASK_SCHEDULE};
use elanus_types::Code;
use std::time::Duration;

const WAIT_MAX: Duration = Duration::from_secs(30);

/// Every object that something needs was written once, and what else is in the bucket was written by a claim that was lost,
/// to keys of its own: `late` objects.
async fn assert_nothing_twice(cluster: &Cluster, coord: &mut Coord, late: usize) {
    assert_eq!(coord.of_lost_claims().await, late);
    let objects = coord.calls.meta.known_objects(None, 10_000).await.unwrap();
    let written = cluster.written.lock().unwrap().clone();
    for (key, times) in &written {
        assert_eq!(*times, 1, "{key}");
        assert!(objects.iter().any(|object| object.key == *key), "{key} was registered before it was written");
    }
    for object in objects.iter().filter(|object| object.file_set_state == "live") {
        assert!(written.contains_key(&object.key), "{object:?}");
    }
}

/// It was told, its background tasks have ended, and it changes nothing any more.
async fn assert_stopped(coord: &mut Coord) {
    tokio::time::timeout(WAIT_MAX, coord.datacoord.fenced()).await.expect("the coordinator knows that it is fenced");
    for task in [RESTORE_CHECK, TASK_SCHEDULE, COORDINATOR_WATCH] {
        let ends = async { while !coord.background.activate_and_wait(task).await.text.contains("has stopped") {} };
        tokio::time::timeout(WAIT_MAX, ends).await.unwrap_or_else(|_| panic!("{task} goes on"));
    }
    let failure = coord.calls.create_collection("of_the_loser").await.unwrap_err();
    assert_eq!(failure.code, Code::NotReady, "clients try again, elsewhere: {failure}");
    assert!(failure.message.contains("owned by somebody else"), "{failure}");
    assert!(!coord.collection_exists("of_the_loser").await);
}

async fn a_coordinator_that_wakes_up_after_its_successor_took_over_changes_nothing_and_stops(cluster: Cluster) {
    let mut first = cluster.coord("first", Effects::none()).await.unwrap();
    let a = cluster.worker("a", 2, &first, Effects::none()).await;
    first.filled(&a).await;
    // It has given tasks to its worker, and stalls before the worker hears of it.
    first.to_workers.set_open(false);
    first.copying("target").await;
    let given = async || first.at_work().await.values().sum::<usize>() == 2;
    let rounds = tokio::spawn({
        let background = first.background.clone();
        async move { while !background.activate_and_wait(RESTORE_CHECK).await.text.contains("stopped") {} }
    });
    cluster.until(&[], &[&a], "two tasks are given", given).await;

    // Its successor has a worker of its own, and takes the tasks when their leases are over.
    let mut second = cluster.coord("second", Effects::none()).await.unwrap();
    let b = cluster.worker("b", 2, &second, Effects::none()).await;
    cluster.clock.advance_ms(cluster.config.copy_lease_ms);
    cluster.until_settled(&second, &[&b]).await;
    second.assert_restored("target").await;

    // The first one wakes up: what it tells its worker has no effect, for the worker asks before it writes.
    first.to_workers.set_open(true);
    assert_stopped(&mut first).await;
    rounds.await.unwrap();
    second.assert_restored("target").await;
    assert_nothing_twice(&cluster, &mut second, 0).await;
    a.drain().await;
    assert_nothing_twice(&cluster, &mut second, 0).await;
    b.drain().await;
    first.end().await;
    second.end().await;
}

async fn a_worker_that_wakes_up_after_its_task_was_given_away_stops_and_its_copies_are_of_no_use(cluster: Cluster) {
    let mut first = cluster.coord("first", Effects::none()).await.unwrap();
    let a = cluster.worker("a", 1, &first, Effects::none()).await;
    first.filled(&a).await;
    a.copies.set_open(false);
    first.copying("target").await;
    let has_one = async || first.at_work().await == [("a".to_owned(), 1)].into();
    cluster.until(&[&first], &[&a], "a has a task", has_one).await;
    let stalled = first.calls.meta.in_progress_tasks().await.unwrap()[0].clone();
    let before = cluster.written.lock().unwrap().len();

    // Coordinator and worker are both replaced while they stall; each of them lives.
    let mut second = cluster.coord("second", Effects::none()).await.unwrap();
    let b = cluster.worker("b", 2, &second, Effects::none()).await;
    cluster.clock.advance_ms(cluster.config.copy_lease_ms);
    cluster.until_settled(&second, &[&b]).await;
    second.assert_restored("target").await;
    let history = second.calls.meta.history("copy_task", stalled.id.0).await.unwrap();
    assert!(history.iter().any(|line| line.event == "lease_expired"), "{history:?}");
    let needed = cluster.written.lock().unwrap().len() - before;

    // It wakes up within a call to the store, which cannot be taken back; it begins no other.
    a.copies.set_open(true);
    a.follow(&second);
    a.drain().await;
    let late = cluster.written.lock().unwrap().len() - before - needed;
    assert!(late <= 4, "{late} copies that were under way: the files of one task");
    second.assert_restored("target").await;
    assert_nothing_twice(&cluster, &mut second, late).await;
    assert_stopped(&mut first).await;
    b.drain().await;
    first.end().await;
    second.end().await;
}

async fn tk_7_an_order_that_arrives_when_its_task_has_ended_copies_nothing_again(cluster: Cluster) {
    let mut coord = cluster.coord("coord", Effects::none()).await.unwrap();
    let a = cluster.worker("a", 1, &coord, Effects::none()).await;
    coord.filled(&a).await;
    a.copies.set_open(false);
    coord.copying("target").await;
    let has_one = async || coord.at_work().await == [("a".to_owned(), 1)].into();
    cluster.until(&[&coord], &[&a], "a has a task", has_one).await;
    let task = coord.calls.meta.in_progress_tasks().await.unwrap()[0].clone();
    a.copies.set_open(true);
    cluster.until_settled(&coord, &[&a]).await;

    // Of a coordinator that was stopped while it sent it, or from a network that held it back.
    a.ordered(coord.order(&task).await).await;
    assert_nothing_twice(&cluster, &mut coord, 0).await;
    a.drain().await;
    coord.end().await;
}

async fn two_coordinators_that_both_work_on_one_job_end_it_once(cluster: Cluster) {
    let mut first = cluster.coord("first", Effects::none()).await.unwrap();
    let a = cluster.worker("a", 1, &first, Effects::none()).await;
    first.filled(&a).await;
    a.copies.set_open(false);
    first.copying("target").await;
    let has_one = async || first.at_work().await == [("a".to_owned(), 1)].into();
    cluster.until(&[&first], &[&a], "a has a task", has_one).await;

    // The worker keeps its task, and goes on with it under the new coordinator.
    let mut second = cluster.coord("second", Effects::none()).await.unwrap();
    let b = cluster.worker("b", 1, &second, Effects::none()).await;
    a.follow(&second);
    a.copies.set_open(true);
    let meta = second.calls.meta.clone();
    let over = async || meta.open_jobs().await.unwrap().is_empty();
    cluster.until(&[&first, &second], &[&a, &b], "the job is over", over).await;
    second.assert_restored("target").await;
    assert_stopped(&mut first).await;
    let job = second.calls.job("target").await.unwrap();
    let history = meta.history("restore_job", job.job_id).await.unwrap();
    let states: Vec<_> = history.iter().map(|line| line.to_state.as_str()).collect();
    assert_eq!(states, ["pending", "copying", "publishing", "completed"], "each step was taken once");
    assert_nothing_twice(&cluster, &mut second, 0).await;
    a.drain().await;
    b.drain().await;
    first.end().await;
    second.end().await;
}

/// Makes a test of each on SQLite and on PostgreSQL.
macro_rules! on_every_store {
    ($($promise:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    super::$promise(crate::cluster::Cluster::new()).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    super::$promise(crate::cluster::Cluster::on_postgres().await).await;
                }
            )*
        }
    };
}

on_every_store! {
    a_coordinator_that_wakes_up_after_its_successor_took_over_changes_nothing_and_stops,
    a_worker_that_wakes_up_after_its_task_was_given_away_stops_and_its_copies_are_of_no_use,
    two_coordinators_that_both_work_on_one_job_end_it_once,
    tk_7_an_order_that_arrives_when_its_task_has_ended_copies_nothing_again,
}

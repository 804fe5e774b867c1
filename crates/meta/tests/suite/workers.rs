//! The registry of workers, and coordinators that were taken over from.

use crate::restoring::{claim_all, clone_of, filled, number, submit, submit_new};
use crate::store::{Store, assert_fenced, node};
use elanus_meta::model::{Answer, TaskMessage, WorkerRecord};
use elanus_meta::{Begun, NewRollback};

fn worker(name: &str, slots: usize, lease_until_ms: i64) -> WorkerRecord {
    WorkerRecord { node: node(name), address: format!("{name}:1"), slots, lease_until_ms }
}

async fn wk_1_2_a_worker_is_there_for_as_long_as_it_says_so(store: Store) {
    let now = store.meta.clock().now_ms();
    let (a, b) = (worker("a", 2, now + 100), worker("b", 3, now + 200));
    for one in [&b, &a, &a] {
        store.meta.heartbeat_worker(one).await.unwrap();
    }
    assert_eq!(store.meta.workers().await.unwrap(), [a.clone(), b.clone()]);
    assert_eq!(store.coordinator.forget_workers().await.unwrap(), []);

    store.meta.heartbeat_worker(&worker("a", 5, now + 50)).await.unwrap();
    assert_eq!(store.meta.workers().await.unwrap()[0], worker("a", 5, now + 100), "no lease is shortened");
    store.clock.advance_ms(100);
    assert_eq!(store.meta.workers().await.unwrap(), std::slice::from_ref(&b));
    assert_eq!(store.coordinator.forget_workers().await.unwrap(), [node("a")]);
    let back = worker("a", 5, now + 300);
    store.meta.heartbeat_worker(&back).await.unwrap();
    assert_eq!(store.meta.workers().await.unwrap(), [back, b]);
    store.meta.remove_worker(&node("a")).await.unwrap();
    store.meta.remove_worker(&node("unknown")).await.unwrap();
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM workers").await, 1);
}

async fn tk_4_a_claim_that_is_given_back_may_be_had_by_another_at_once(store: Store) {
    let (books, _) = filled(&store).await;
    let id = submit(&store.coordinator, books, "copy").await.id;
    store.coordinator.plan_job(id, crate::restoring::BOUNDS).await.unwrap();
    let given = claim_all(&store.coordinator, "n1").await.unwrap();
    let owner = node("n1");
    for task in &given {
        let report = |message| store.coordinator.report_task(task.task, task.generation, &owner, message);
        assert_eq!(report(TaskMessage::GivenBack).await.unwrap(), Answer::Accepted);
        assert_eq!(report(TaskMessage::GivenBack).await.unwrap(), Answer::Fenced, "it is not its any more");
        assert_eq!(report(TaskMessage::Finished).await.unwrap(), Answer::Fenced);
    }
    let again = claim_all(&store.coordinator, "n2").await.unwrap();
    assert_eq!(again.len(), given.len(), "nobody waits");
    assert!(again.iter().zip(&given).all(|(new, old)| new.files[0].target != old.files[0].target));
    assert!(store.meta.in_progress_tasks().await.unwrap().iter().all(|task| task.attempt == 1));
}

async fn a_coordinator_that_was_taken_over_from_learns_it_by_asking_and_by_writing(store: Store) {
    let (books, _) = filled(&store).await;
    let (idle, busy) = (store.coordinator.clone(), store.meta.take_over(&node("second")).await.unwrap());
    busy.prove().await.unwrap();
    assert!(!idle.is_fenced(), "nobody told it yet");
    assert_fenced(idle.prove().await);
    assert!(idle.is_fenced() && store.coordinator.is_fenced(), "and all its clones know");
    idle.fenced().await;

    let third = store.meta.take_over(&node("third")).await.unwrap();
    assert_fenced(busy.submit_restore(clone_of(books, "twin")).await);
    assert!(busy.is_fenced() && !third.is_fenced());
    submit_new(&third, clone_of(books, "twin")).await;
}

async fn a_take_over_lets_writes_go_on_that_waited_for_a_rollback_of_a_dead_coordinator(store: Store) {
    let (books, _) = filled(&store).await;
    let now = store.meta.clock().now_ms();
    let new = NewRollback {
        collection: books,
        snapshot_name: "s".to_owned(),
        owner: node("coordinator"),
        lease_until_ms: now + 30_000,
        held_until_ms: now + 10_000,
    };
    let begun = store.coordinator.begin_rollback(new).await.unwrap();
    let Begun::New { snapshot, safety } = begun else { panic!("{begun:?}") };
    let partition = store.record(books).await.unwrap().partitions[0].id;
    let waits = store.meta.begin_write(books, &node("w1"), now + 60_000, &[crate::store::rows_of(partition)]).await;
    assert_eq!(crate::store::refusal(waits).0, 8);

    store.meta.take_over(&node("second")).await.unwrap();
    store.insert(books, partition).await;
    assert_fenced(store.coordinator.commit_rollback(books, snapshot.id, safety.id).await);
}

on_every_store! {
    wk_1_2_a_worker_is_there_for_as_long_as_it_says_so,
    tk_4_a_claim_that_is_given_back_may_be_had_by_another_at_once,
    a_coordinator_that_was_taken_over_from_learns_it_by_asking_and_by_writing,
    a_take_over_lets_writes_go_on_that_waited_for_a_rollback_of_a_dead_coordinator,
}

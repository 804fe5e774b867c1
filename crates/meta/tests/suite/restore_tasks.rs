//! Claims: who may say what about a copy task, and when another may try.

use crate::restoring::{
    BOUNDS, LEASE_MS, assert_quiet, claim_all, content, damage, filled, finish_all, job, round, run, submit, sweep,
};
use crate::store::{Store, node};
use elanus_meta::model::{Answer, FileError, TaskMessage, TaskOwner};
use elanus_types::Generation;

/// A job of which one worker has every task.
async fn copying(store: &Store, worker: &str) -> (elanus_types::JobId, Vec<elanus_meta::model::Assignment>) {
    let (books, _) = filled(store).await;
    let id = submit(&store.coordinator, books, "copy").await.id;
    store.coordinator.plan_job(id, BOUNDS).await.unwrap();
    (id, claim_all(&store.coordinator, worker).await.unwrap())
}

async fn a_claim_is_given_once(store: Store) {
    let (books, _) = filled(&store).await;
    let id = submit(&store.coordinator, books, "copy").await.id;
    store.coordinator.plan_job(id, BOUNDS).await.unwrap();
    let task = &store.meta.pending_tasks(1).await.unwrap()[0];
    let claim = |worker: &'static str| {
        let (coordinator, id, generation) = (store.coordinator.clone(), task.id, task.generation);
        tokio::spawn(async move { coordinator.claim_task(id, generation, &node(worker), i64::MAX).await })
    };
    let mut given = vec![];
    for attempt in ["n1", "n2", "n3"].map(claim) {
        given.extend(attempt.await.unwrap().unwrap());
    }
    assert_eq!(given.len(), 1);
    let dispatched_again = store.coordinator.assignment(task.id).await.unwrap().unwrap();
    assert_eq!((dispatched_again.generation, dispatched_again.files), (given[0].generation, given[0].files.clone()));
    for file in &given[0].files {
        assert_ne!(file.source.key, file.target);
        assert!(store.meta.keys().owns(&file.target));
    }
}

async fn a_message_of_an_older_claim_changes_nothing(store: Store) {
    let (id, given) = copying(&store, "n1").await;
    let coordinator = &store.coordinator;
    let task = &given[0];
    let say = async |generation, worker, message| {
        coordinator.report_task(task.task, generation, &node(worker), message).await.unwrap()
    };
    let heartbeat = |lease_until_ms| TaskMessage::Heartbeat { files_done: 1, bytes_done: 1, lease_until_ms };
    assert_eq!(say(Generation(0), "n1", TaskMessage::Finished).await, Answer::Fenced, "nobody's claim");
    assert_eq!(say(task.generation, "n2", TaskMessage::Finished).await, Answer::Fenced, "another's claim");
    assert_eq!(say(task.generation, "n1", heartbeat(0)).await, Answer::Accepted);

    store.clock.advance_ms(LEASE_MS);
    let revoked = coordinator.expire_tasks().await.unwrap();
    assert_eq!(revoked.len(), given.len());
    assert!(revoked.iter().any(|one| (one.task, one.generation) == (task.task, task.generation)));
    for message in [
        heartbeat(i64::MAX),
        TaskMessage::Finished,
        TaskMessage::FailedPermanent { reason: String::new(), files: vec![] },
    ] {
        assert_eq!(say(task.generation, "n1", message).await, Answer::Fenced);
    }
    assert_eq!(store.meta.task_counts(id).await.unwrap().pending, 4);
    assert_eq!(coordinator.expire_tasks().await.unwrap(), []);
}

async fn a_worker_that_is_lost_is_replaced_with_new_keys_and_its_own_are_deleted(store: Store) {
    let (id, lost) = copying(&store, "n1").await;
    let coordinator = &store.coordinator;
    store.clock.advance_ms(LEASE_MS);
    coordinator.expire_tasks().await.unwrap();
    assert_eq!(claim_all(coordinator, "n2").await.unwrap().len(), 0, "it rests first");
    store.clock.advance_ms(1_000);
    let again = claim_all(coordinator, "n2").await.unwrap();
    assert_eq!(again.len(), lost.len());
    for (old, new) in lost.iter().zip(&again) {
        assert_eq!(old.task, new.task);
        assert!(new.generation > old.generation);
        for (old, new) in old.files.iter().zip(&new.files) {
            assert_eq!(old.source, new.source);
            assert_ne!(old.target, new.target);
        }
    }
    assert_eq!(sweep(coordinator).await.unwrap(), 10, "one file set a file of the lost claims");
    finish_all(coordinator).await.unwrap();
    let done = run(coordinator, id).await;
    assert_eq!(done.state.label(), "completed");
    let source = store.meta.snapshot_by_id(done.snapshot).await.unwrap().unwrap();
    assert_eq!(
        content(&store.meta, done.target, None).await,
        content(&store.meta, done.source, Some(source.create_ts)).await
    );
    assert_quiet(&store.url).await;
}

async fn a_report_that_comes_twice_is_accepted_twice(store: Store) {
    let (id, given) = copying(&store, "n1").await;
    for _ in 0..2 {
        for task in &given {
            let answer = store
                .coordinator
                .report_task(task.task, task.generation, &node("n1"), TaskMessage::Finished)
                .await
                .unwrap();
            assert_eq!(answer, Answer::Accepted);
        }
    }
    assert_eq!(store.meta.task_counts(id).await.unwrap().completed, 4);
}

async fn progress_never_falls_and_is_whole_only_at_the_end(store: Store) {
    let (id, given) = copying(&store, "n1").await;
    let coordinator = &store.coordinator;
    let mut shown = vec![0];
    let mut attempts = 0;
    for task in &given {
        let worker = node("n1");
        let bytes_done = task.files.iter().map(|file| file.source.size).sum::<u64>() * 9;
        let lease_until_ms = store.meta.clock().now_ms() + LEASE_MS;
        let message = TaskMessage::Heartbeat { files_done: 99, bytes_done, lease_until_ms };
        coordinator.report_task(task.task, task.generation, &worker, message).await.unwrap();
        shown.push(job(&store.meta, id).await.percent);
        let failed = TaskMessage::FailedTransient { reason: "store overloaded".to_owned(), files: vec![] };
        coordinator.report_task(task.task, task.generation, &worker, failed).await.unwrap();
        shown.push(job(&store.meta, id).await.percent);
    }
    store.clock.advance_ms(1_000);
    while !round(coordinator, id, "n2").await.unwrap() {
        shown.push(job(&store.meta, id).await.percent);
        attempts += 1;
        assert!(attempts < 10);
    }
    assert!(shown.is_sorted(), "{shown:?}");
    assert_eq!(shown.iter().filter(|percent| **percent == 100).count(), 1, "{shown:?}");
}

async fn a_task_that_fails_again_and_again_fails_with_its_last_reason(store: Store) {
    let (id, given) = copying(&store, "n1").await;
    let coordinator = &store.coordinator;
    let mut attempts = 0;
    let permanent = TaskMessage::FailedPermanent { reason: "checksum differs".to_owned(), files: vec![] };
    coordinator.report_task(given[1].task, given[1].generation, &node("n1"), permanent).await.unwrap();
    while store.meta.task_counts(id).await.unwrap().failed < 2 {
        let task = coordinator.assignment(given[0].task).await.unwrap().unwrap();
        attempts += 1;
        let failed = TaskMessage::FailedTransient { reason: format!("time-out {attempts}"), files: vec![] };
        coordinator.report_task(task.task, task.generation, &node("n1"), failed).await.unwrap();
        assert_eq!(coordinator.assignment(task.task).await.unwrap().map(|task| task.task), None);
        store.clock.advance_ms(60_000);
        claim_all(coordinator, "n1").await.unwrap();
    }
    let reasons = store.meta.failed_task_reasons(id, 10).await.unwrap();
    assert_eq!(reasons, [format!("time-out {attempts}"), "checksum differs".to_owned()]);
    let failing = coordinator.fail_job(id, &reasons[0]).await.unwrap();
    assert_eq!(failing.len(), 2, "the others are stopped");
    assert_eq!(store.meta.failed_task_reasons(id, 10).await.unwrap().len(), 2, "being stopped is no failure");
    assert_eq!(job(&store.meta, id).await.reason.as_deref(), Some(reasons[0].as_str()));
}

async fn what_went_wrong_is_kept_by_file_also_when_it_was_tried_again(store: Store) {
    let (id, given) = copying(&store, "n1").await;
    let coordinator = &store.coordinator;
    let file = |key: &str| FileError { key: key.to_owned(), reason: "checksum differs".to_owned() };
    for (task, message) in given.iter().zip([
        TaskMessage::FailedTransient { reason: "both".to_owned(), files: vec![file("a"), file("b")] },
        TaskMessage::FailedPermanent { reason: "access denied".to_owned(), files: vec![] },
    ]) {
        coordinator.report_task(task.task, task.generation, &node("n1"), message).await.unwrap();
    }
    store.clock.advance_ms(LEASE_MS);
    coordinator.expire_tasks().await.unwrap();
    let errors = store.meta.job_errors(id, 100).await.unwrap();
    let told: Vec<_> = errors
        .iter()
        .map(|e| (e.task, e.generation, e.task_state.as_str(), e.key.as_deref(), e.reason.as_str()))
        .collect();
    let silent = "the worker fell silent or was lost";
    let first = given[0].generation;
    assert_eq!(
        told,
        [
            (given[0].task, first, "pending", Some("a"), "checksum differs"),
            (given[0].task, first, "pending", Some("b"), "checksum differs"),
            (given[1].task, first, "failed", None, "access denied"),
            (given[2].task, first, "pending", None, silent),
            (given[3].task, first, "pending", None, silent),
        ]
    );
    assert_eq!(store.meta.job_errors(id, 2).await.unwrap(), errors[3..], "the newest");

    let history = store.meta.job_history(id, 100).await.unwrap();
    let of =
        |task| history.iter().filter(|line| line.0 == task).map(|line| line.1.to_state.as_str()).collect::<Vec<_>>();
    assert_eq!(of(None), ["pending", "copying"]);
    assert_eq!(of(Some(given[1].task)), ["in_progress", "failed"]);
    assert_eq!(store.meta.job_history(id, 3).await.unwrap(), history[history.len() - 3..], "the newest");
    coordinator.cancel_job(id).await.unwrap();
    store.clock.advance_ms(LEASE_MS);
    run(coordinator, id).await;
    coordinator.remove_finished_jobs(i64::MAX, 10).await.unwrap();
    assert_eq!(store.meta.job_errors(id, 100).await.unwrap(), []);
    assert_eq!(store.meta.job_history(id, 100).await.unwrap().len(), 4, "the job's own lines stay");
}

async fn o_1_a_large_job_does_not_keep_a_small_one_waiting(store: Store) {
    let (books, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    let large = submit(coordinator, books, "large").await.id;
    let small = submit(coordinator, books, "small").await.id;
    for id in [large, small] {
        coordinator.plan_job(id, BOUNDS).await.unwrap();
    }
    let turns = |limit| {
        let meta = store.meta.clone();
        async move { meta.pending_tasks(limit).await.unwrap().iter().map(|task| task.owner).collect::<Vec<_>>() }
    };
    assert_eq!(turns(4).await, [large, small, large, small].map(TaskOwner::Job));
    assert_eq!(turns(100).await.len(), 8);
    damage(&store.url, "UPDATE copy_tasks SET message = 'x' WHERE task_id = (SELECT MIN(task_id) FROM copy_tasks)")
        .await;
    assert_eq!(turns(100).await.len(), 7, "a damaged row hides no other");
}

async fn what_a_dead_process_had_is_free_at_the_next_start(store: Store) {
    let (id, given) = copying(&store, "n1").await;
    let (coordinator, books) = (&store.coordinator, job(&store.meta, id).await.source);
    let default = store.record(books).await.unwrap().partitions[0].id;
    let unfinished = store.begin(books, &[crate::store::rows_of(default)]).await;
    coordinator.create_snapshot(crate::restoring::new_snapshot(books, "t", crate::store::LATER_MS)).await.unwrap();
    let alive = [node("n1"), node("w1"), node("writer")];
    assert_eq!(coordinator.expire_other_owners(&alive).await.unwrap(), 0);
    assert!(store.is_intent(&unfinished[0]).await);
    assert_eq!(coordinator.expire_other_owners(&[]).await.unwrap(), 4 + 1 + 1, "tasks, snapshot, intent");
    assert_eq!(store.meta.snapshot(books, "t").await.unwrap(), None);
    assert!(!store.is_intent(&unfinished[0]).await);
    let again = claim_all(coordinator, "n2").await.unwrap();
    assert_eq!(again.len(), given.len(), "at once: a lost node is no failed attempt");
    assert_eq!(run(coordinator, id).await.state.label(), "completed");
}

on_every_store!(
    a_claim_is_given_once,
    a_message_of_an_older_claim_changes_nothing,
    a_worker_that_is_lost_is_replaced_with_new_keys_and_its_own_are_deleted,
    a_report_that_comes_twice_is_accepted_twice,
    progress_never_falls_and_is_whole_only_at_the_end,
    a_task_that_fails_again_and_again_fails_with_its_last_reason,
    what_went_wrong_is_kept_by_file_also_when_it_was_tried_again,
    o_1_a_large_job_does_not_keep_a_small_one_waiting,
    what_a_dead_process_had_is_free_at_the_next_start,
);

//! Restores that fail or are cancelled, coordinators that lost their office, and processes that die at any commit.

use crate::restoring::{
    BOUNDS, DiesAt, LEASE_MS, assert_nothing_left, assert_quiet, by_name, claim_all, code, content, damage, files_of,
    filled, finish_all, job, new_restore, new_snapshot, number, round, run, submit, sweep,
};
use crate::store::{CLUSTER, Copied, LATER_MS, START_MS, Store, assert_fenced, new_collection, node};
use elanus_meta::model::{CleanUp, Created, NewRestore, RestoreOptions, TaskMessage, Totals};
use elanus_meta::{Coordinator, Meta, MetaError, Result};
use elanus_types::{CollectionId, FileSetId, Generation, JobId, ManualClock, PinId, RestoreMode, Timestamp};
use std::sync::Arc;

async fn r_2_a_job_that_is_cancelled_at_any_stage_leaves_nothing(store: Store) {
    let (books, record) = filled(&store).await;
    let coordinator = &store.coordinator;
    for stage in 0..5 {
        let id = submit(coordinator, books, "copy").await.id;
        if stage > 0 {
            coordinator.plan_job(id, BOUNDS).await.unwrap();
        }
        if stage > 1 {
            claim_all(coordinator, "n1").await.unwrap();
        }
        if stage > 2 {
            let task = &store.meta.in_progress_tasks().await.unwrap()[0];
            coordinator.report_task(task.id, task.generation, &node("n1"), TaskMessage::Finished).await.unwrap();
        }
        if stage > 3 {
            finish_all(coordinator).await.unwrap();
        }
        let in_progress = store.meta.task_counts(id).await.unwrap().in_progress;
        let (cancelled, revoked) = coordinator.cancel_job(id).await.unwrap();
        assert_eq!(
            (cancelled.state.label(), cancelled.reason.as_deref()),
            ("failing", Some("cancelled")),
            "stage {stage}"
        );
        assert_eq!(revoked.len() as u64, in_progress, "stage {stage}");
        assert_eq!(coordinator.cancel_job(id).await.unwrap().1, [], "again");
        assert!(store.meta.pending_tasks(10).await.unwrap().is_empty());

        let first = coordinator.clean_up_job(id).await.unwrap();
        assert_eq!(first == CleanUp::Done, stage < 2, "stage {stage}: {first:?}");
        submit_and_forget(coordinator, books).await;
        sweep(coordinator).await.unwrap();
        if in_progress > 0 {
            let waiting = coordinator.clean_up_job(id).await.unwrap();
            assert!(matches!(waiting, CleanUp::Waiting(_)), "stage {stage}: its worker may still be sending");
        }
        store.clock.advance_ms(LEASE_MS);
        sweep(coordinator).await.unwrap();
        for _ in 0..2 {
            assert_eq!(coordinator.clean_up_job(id).await.unwrap(), CleanUp::Done, "stage {stage}");
        }
        assert_eq!(job(&store.meta, id).await.state.label(), "failed");
        assert_nothing_left(&store, "copy").await;
        assert_eq!(store.meta.pins(record.id).await.unwrap(), []);
    }
}

/// The target's name is free: a job that takes it, and is cancelled before it made any file.
async fn submit_and_forget(coordinator: &Coordinator, source: CollectionId) {
    let id = submit(coordinator, source, "copy").await.id;
    coordinator.cancel_job(id).await.unwrap();
    assert_eq!(coordinator.clean_up_job(id).await.unwrap(), CleanUp::Done);
}

async fn r_1_a_copy_that_is_not_what_the_snapshot_says_is_never_published(store: Store) {
    let (books, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    for (n, sql) in [
        "UPDATE objects SET checksum = '00' WHERE object_key IN (SELECT o.object_key FROM objects o JOIN file_sets f \
         ON f.file_set_id = o.file_set_id WHERE f.job_id IS NOT NULL AND f.state = 'intent' LIMIT 1)",
        "UPDATE objects SET size_bytes = NULL WHERE object_key IN (SELECT o.object_key FROM objects o JOIN file_sets f \
         ON f.file_set_id = o.file_set_id WHERE f.job_id IS NOT NULL AND f.state = 'intent' LIMIT 1)",
        "UPDATE file_sets SET state = 'queued', owner = NULL, lease_until_ms = NULL, not_before_ms = 0, \
         reason = 'abandoned' WHERE file_set_id IN \
         (SELECT file_set_id FROM file_sets WHERE job_id IS NOT NULL AND state = 'intent' LIMIT 1)",
        "UPDATE copy_items SET target_file_set_id = NULL WHERE source_file_set_id = \
         (SELECT MIN(source_file_set_id) FROM copy_items)",
        "DELETE FROM copy_items WHERE source_file_set_id = (SELECT MIN(source_file_set_id) FROM copy_items)",
    ]
    .into_iter()
    .enumerate()
    {
        let id = submit(coordinator, books, "copy").await.id;
        coordinator.plan_job(id, BOUNDS).await.unwrap();
        claim_all(coordinator, "n1").await.unwrap();
        finish_all(coordinator).await.unwrap();
        damage(&store.url, sql).await;
        coordinator.publish_job(id).await.unwrap();
        let failing = job(&store.meta, id).await;
        assert_eq!(failing.state.label(), "failing", "case {n}");
        assert!(failing.reason.as_ref().unwrap().contains("what the snapshot says"), "case {n}: {failing:?}");
        assert_eq!(run(coordinator, id).await.state.label(), "failed", "case {n}");
        assert_nothing_left(&store, "copy").await;
    }
}

async fn what_is_claimed_for_deletion_stays_claimed_until_it_is_gone(store: Store) {
    let (books, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    let id = submit(coordinator, books, "copy").await.id;
    coordinator.plan_job(id, BOUNDS).await.unwrap();
    let given = claim_all(coordinator, "n1").await.unwrap();
    coordinator.fail_job(id, "no").await.unwrap();
    coordinator.clean_up_job(id).await.unwrap();
    assert!(coordinator.claim_abandoned(100).await.unwrap().is_empty(), "not before the lease is over");
    store.clock.advance_ms(LEASE_MS);
    let keys = |claimed: &[elanus_meta::Claimed]| {
        let mut keys: Vec<_> = claimed.iter().flat_map(|one| &one.permits).map(|permit| permit.key().clone()).collect();
        keys.sort();
        keys
    };
    let mut planned: Vec<_> = given.iter().flat_map(|task| &task.files).map(|file| file.target.clone()).collect();
    planned.sort();
    let claimed = coordinator.claim_abandoned(100).await.unwrap();
    assert_eq!(keys(&claimed), planned);
    assert_eq!(keys(&coordinator.claim_abandoned(100).await.unwrap()), planned, "a sweeper died");
    let known = store.meta.known_objects(None, 1_000).await.unwrap();
    assert!(
        known
            .iter()
            .filter(|object| planned.contains(&object.key))
            .all(|object| { object.abandoned && object.file_set_state == "deleting" })
    );
    let live = known.iter().find(|object| object.file_set_state == "live").unwrap();
    assert!(!live.abandoned && live.size.is_some() && live.checksum.is_some());
    let after = store.meta.known_objects(Some(&known[0].key), 1_000).await.unwrap();
    assert_eq!(after, known[1..]);
    let ids: Vec<FileSetId> = claimed.iter().map(|one| one.file_set).collect();
    for _ in 0..2 {
        coordinator.mark_gone(&ids).await.unwrap();
    }
    assert!(coordinator.claim_abandoned(100).await.unwrap().is_empty());
    let history = store.meta.history("file_set", ids[0].0).await.unwrap();
    assert_eq!(history.iter().map(|line| line.event.as_str()).collect::<Vec<_>>(), ["claim", "objects_gone"]);
    assert_eq!(coordinator.clean_up_job(id).await.unwrap(), CleanUp::Done);
}

async fn the_intents_of_a_lost_writer_are_deleted_and_no_others(store: Store) {
    let books = store.collection("books").await;
    let place = [crate::store::rows_of(books.partitions[0].id)];
    store.insert(books.id, books.partitions[0].id).await;
    let lost = store.meta.begin_write(books.id, &node("w2"), START_MS + 10, &place).await.unwrap();
    let kept = store.begin(books.id, &place).await;
    store.clock.advance_ms(9);
    assert_eq!(store.coordinator.expire_intents(10).await.unwrap(), 0);
    store.clock.advance_ms(1);
    assert_eq!(store.coordinator.expire_intents(10).await.unwrap(), 1);
    let claimed = store.coordinator.claim_abandoned(10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].file_set, claimed[0].permits[0].key()), (lost[0].file_set, &lost[0].key));
    assert!(store.is_intent(&kept[0]).await);
    let unclaimed = store.coordinator.mark_gone(&[kept[0].planned.file_set]).await;
    assert!(matches!(unclaimed, Err(MetaError::Corrupt(_))), "{unclaimed:?}");
}

async fn a_coordinator_that_was_replaced_is_fenced_in_everything_it_does(store: Store) {
    let (books, record) = filled(&store).await;
    let old = store.coordinator.clone();
    let id = submit(&old, books, "copy").await.id;
    old.plan_job(id, BOUNDS).await.unwrap();
    let given = claim_all(&old, "n1").await.unwrap();
    let (task, generation) = (given[0].task, given[0].generation);
    let pending = old.create_snapshot(new_snapshot(books, "t", START_MS)).await.unwrap();
    let Created::New(pending) = pending else { panic!("{pending:?}") };
    let plan = old.begin_snapshot_files(pending.id, &node("writer"), START_MS, 0).await.unwrap();
    let new = store.meta.take_over(&node("new")).await.unwrap();
    store.clock.advance_ms(LEASE_MS);
    let writer = node("writer");

    assert_fenced(old.create_snapshot(new_snapshot(books, "u", LATER_MS)).await);
    assert_fenced(old.heartbeat_snapshot(pending.id, &writer, LATER_MS).await);
    assert_fenced(old.begin_snapshot_files(pending.id, &writer, LATER_MS, 1).await);
    assert_fenced(old.commit_snapshot(pending.id, &writer, &files_of(plan), Totals::default()).await);
    assert_fenced(old.fail_snapshot(pending.id).await);
    assert_fenced(old.drop_snapshot(books, "s").await);
    assert_fenced(old.expire_snapshots().await);
    assert_fenced(old.pin_snapshot(books, "s", "ada", 0).await);
    assert_fenced(old.unpin(PinId(1)).await);
    assert_fenced(old.expire_pins().await);
    assert_fenced(old.submit_restore(new_restore(books, "copy2")).await);
    assert_fenced(old.publish_job(id).await);
    assert_fenced(old.fail_job(id, "no").await);
    assert_fenced(old.cancel_job(id).await);
    assert_fenced(old.clean_up_job(id).await);
    assert_fenced(old.remove_finished_jobs(i64::MAX, 1).await);
    assert_fenced(old.claim_task(task, generation, &node("n1"), LATER_MS).await);
    assert_fenced(old.report_task(task, generation, &node("n1"), TaskMessage::Finished).await);
    assert_fenced(old.expire_tasks().await);
    assert_fenced(old.expire_intents(1).await);
    assert_fenced(old.expire_other_owners(&[]).await);
    assert_fenced(old.claim_abandoned(1).await);
    assert_fenced(old.mark_gone(&[FileSetId(1)]).await);
    assert_fenced(old.create_collection(new_collection("other")).await);
    let unplanned = submit(&new, books, "copy2").await.id;
    assert_fenced(old.plan_job(unplanned, BOUNDS).await);
    assert_fenced(old.clone_job(unplanned).await);

    assert_eq!(store.meta.snapshot_by_id(record.id).await.unwrap(), Some(record_with_pins(&store, record, 2).await));
    assert_eq!(job(&store.meta, id).await.state.label(), "copying");
    assert_eq!(store.meta.task_counts(id).await.unwrap().in_progress, 4);
    store.clock.advance_ms(60_000);
    new.expire_tasks().await.unwrap();
    store.clock.advance_ms(60_000);
    assert_eq!(run(&new, id).await.state.label(), "completed", "the next coordinator goes on");
}

async fn record_with_pins(
    store: &Store,
    record: elanus_meta::model::SnapshotRecord,
    live_pins: u32,
) -> elanus_meta::model::SnapshotRecord {
    assert_eq!(store.meta.pins(record.id).await.unwrap().len(), live_pins as usize);
    elanus_meta::model::SnapshotRecord { live_pins, ..record }
}

/// One life of all processes: submits as a client does that got no answer, then rounds until the job is over.
async fn live(meta: &Meta, clock: &ManualClock, wish: &NewRestore, worker: &str, cancel: bool) -> Result<JobId> {
    let coordinator = meta.take_over(&node("coordinator")).await?;
    let known = meta.jobs(None, Some("copy")).await?.pop();
    let id = match known {
        Some(job) if job.state.label() != "pending" => job.id,
        _ => match coordinator.submit_restore(wish.clone()).await? {
            Created::New(job) | Created::Joined(job) => job.id,
        },
    };
    for _ in 0..20 {
        let pending = meta.pending_tasks(3).await?;
        if cancel && !pending.is_empty() {
            for task in &pending {
                coordinator.claim_task(task.id, task.generation, &node(worker), meta.clock().now_ms()).await?;
            }
            let task = &pending[0];
            coordinator.report_task(task.id, task.generation.next(), &node(worker), TaskMessage::Finished).await?;
            coordinator.cancel_job(id).await?;
        }
        if round(&coordinator, id, worker).await? {
            sweep(&coordinator).await?;
            return Ok(id);
        }
        clock.advance_ms(1_000);
    }
    panic!("not over: {:?}", job(meta, id).await);
}

/// A restore in a copy of `template`, whose process dies around commit `n` and is started again; whether it died.
async fn dies_and_goes_on(
    template: &Store,
    (wish, at): (&NewRestore, Timestamp),
    dies: Arc<DiesAt>,
    (same_worker, cancel): (bool, bool),
) -> bool {
    let Copied { url, .. } = &template.copied();
    let clock = Arc::new(ManualClock::at_ms(START_MS + 1_000));
    let meta = Meta::open(url, CLUSTER, clock.clone()).await.unwrap();
    let mortal = meta.clone().with_commit_hook(dies.clone());
    let first = live(&mortal, &clock, wish, "n1", cancel).await;
    let died = first.is_err();
    if !same_worker {
        clock.advance_ms(2 * LEASE_MS);
    }
    let id = live(&meta, &clock, wish, "n2", cancel).await.unwrap();
    let last = job(&meta, id).await;
    let case = format!("{dies:?}, same worker {same_worker}, cancel {cancel}: {last:?}");
    if cancel {
        assert_eq!(last.state.label(), "failed", "{case}");
        assert_eq!(by_name(&meta, "copy").await, None, "{case}");
        assert_eq!(number(url, "SELECT COUNT(*) FROM collections").await, 1, "{case}");
    } else {
        assert_eq!((last.state.label(), last.percent), ("completed", 100), "{case}");
        let copied = content(&meta, by_name(&meta, "copy").await.unwrap(), None).await;
        assert_eq!(copied, content(&meta, wish.source, Some(at)).await, "{case}");
        assert_eq!(number(url, "SELECT COUNT(*) FROM collections").await, 2, "{case}");
    }
    assert_quiet(url).await;
    meta.close().await;
    died
}

async fn dies_at_every_commit(store: Store, mode: RestoreMode, cancel: bool) {
    let (books, record) = filled(&store).await;
    store.meta.close().await;
    let wish = NewRestore { options: RestoreOptions::whole(mode), ..new_restore(books, "copy") };
    // Taking over, submitting, and what follows.
    let commits_min = if mode == RestoreMode::Clone { 2 } else { 10 };
    for applied in [false, true] {
        for same_worker in [false, true] {
            let mut n = 0;
            let dies = |n| DiesAt::commit(n, applied);
            while dies_and_goes_on(&store, (&wish, record.create_ts), dies(n), (same_worker, cancel)).await {
                n += 1;
            }
            assert!(n > commits_min, "{n} commits");
        }
    }
}

async fn r_3_a_restore_that_dies_around_any_commit_ends_as_if_it_had_not(store: Store) {
    dies_at_every_commit(store, RestoreMode::Copy, false).await;
}

async fn r_3_a_clone_that_dies_around_any_commit_ends_as_if_it_had_not(store: Store) {
    dies_at_every_commit(store, RestoreMode::Clone, false).await;
}

async fn r_2_a_cancelled_restore_that_dies_around_any_commit_leaves_nothing(store: Store) {
    dies_at_every_commit(store, RestoreMode::Copy, true).await;
}

async fn an_unknown_job_or_task_is_told_so(store: Store) {
    let coordinator = &store.coordinator;
    let id = JobId(4711);
    for code in [
        code(coordinator.plan_job(id, BOUNDS).await),
        code(coordinator.publish_job(id).await),
        code(coordinator.clone_job(id).await),
        code(coordinator.fail_job(id, "no").await),
        code(coordinator.cancel_job(id).await),
        code(coordinator.clean_up_job(id).await),
    ] {
        assert_eq!(code, 2101);
    }
    let task = elanus_types::TaskId(4711);
    let answer = coordinator.report_task(task, Generation(1), &node("n1"), TaskMessage::Finished).await.unwrap();
    assert_eq!(answer, elanus_meta::model::Answer::Fenced);
    assert!(coordinator.claim_task(task, Generation(0), &node("n1"), LATER_MS).await.unwrap().is_none());
}

on_every_store!(
    r_2_a_job_that_is_cancelled_at_any_stage_leaves_nothing,
    r_1_a_copy_that_is_not_what_the_snapshot_says_is_never_published,
    what_is_claimed_for_deletion_stays_claimed_until_it_is_gone,
    the_intents_of_a_lost_writer_are_deleted_and_no_others,
    a_coordinator_that_was_replaced_is_fenced_in_everything_it_does,
    r_3_a_restore_that_dies_around_any_commit_ends_as_if_it_had_not,
    r_3_a_clone_that_dies_around_any_commit_ends_as_if_it_had_not,
    r_2_a_cancelled_restore_that_dies_around_any_commit_leaves_nothing,
    an_unknown_job_or_task_is_told_so,
);

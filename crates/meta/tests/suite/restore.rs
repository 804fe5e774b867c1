//! Restores that go well, and what is asked of them on the way.

use crate::restoring::{
    BOUNDS, assert_quiet, by_name, claim_all, code, content, filled, finish_all, job, new_restore, number, round, run,
    snapshot, submit,
};
use crate::store::{LATER_MS, Store, new_collection, refusal, rows_of};
use elanus_meta::model::{CollectionKey, Created, FileKind, NewRestore, TaskBounds};

async fn r_4_the_target_equals_the_source_as_of_the_snapshot(store: Store) {
    let (books, snapshot) = filled(&store).await;
    let submitted = submit(&store.coordinator, books, "copy").await;
    let done = run(&store.coordinator, submitted.id).await;
    assert_eq!((done.state.label(), done.percent, done.reason), ("completed", 100, None));
    assert_eq!((done.files_done, done.bytes_done), (done.files_total, done.bytes_total));
    assert_eq!(done.target, submitted.target);

    let source = content(&store.meta, books, Some(snapshot.create_ts)).await;
    assert_eq!(content(&store.meta, done.target, None).await, source);
    let target = store.record(done.target).await.unwrap();
    assert_eq!(by_name(&store.meta, "copy").await, Some(target.id));
    assert!(target.last_ts > snapshot.create_ts, "its clock begins after its rows");
    assert_eq!((target.created_ts, target.updated_ts), (target.last_ts, target.last_ts));
    assert!(!target.loaded);
    let names: Vec<_> = target.partitions.iter().map(|partition| partition.name.as_str()).collect();
    assert_eq!(names, ["_default", "old"]);
    let view = store.meta.view(target.id, None).await.unwrap();
    for file in &view.files {
        let part = match file.kind {
            FileKind::Insert => format!("/insert_log/{}/{}/{}/0/", target.id, file.partition, file.segment),
            _ => format!("/delta_log/{}/", target.id),
        };
        assert!(file.objects.iter().all(|object| object.key.as_str().contains(&part)), "{file:?}");
    }
    assert_quiet(&store.url).await;
    assert!(store.coordinator.drop_snapshot(books, "s").await.unwrap(), "its pin ended with the job");
}

async fn a_restored_collection_is_written_and_restored_like_any_other(store: Store) {
    let (books, _) = filled(&store).await;
    let first = submit(&store.coordinator, books, "copy").await;
    let copy = run(&store.coordinator, first.id).await.target;
    let default = store.record(copy).await.unwrap().partitions[0].id;
    let files = store.begin(copy, &[rows_of(default)]).await;
    store.commit(copy, &files).await.unwrap();
    let snapshot = snapshot(&store.coordinator, copy, "s").await;
    let second = submit(&store.coordinator, copy, "copy2").await;
    let second = run(&store.coordinator, second.id).await.target;
    let source = content(&store.meta, copy, Some(snapshot.create_ts)).await;
    assert_eq!(content(&store.meta, second, None).await, source);
    assert_quiet(&store.url).await;
}

async fn r_1_nothing_of_the_target_is_visible_before_it_is_published(store: Store) {
    let (books, snapshot) = filled(&store).await;
    let coordinator = &store.coordinator;
    let id = submit(coordinator, books, "copy").await.id;
    let mut states = vec![];
    loop {
        let job = job(&store.meta, id).await;
        states.push(job.state.label());
        if job.state.label() == "completed" {
            break;
        }
        assert_eq!(by_name(&store.meta, "copy").await, None);
        assert_eq!(store.meta.collection(&CollectionKey::Id(job.target)).await.unwrap(), None);
        assert_eq!(store.meta.collections("default").await.unwrap().len(), 1);
        assert_eq!(store.meta.last_ts(job.target).await.unwrap(), None);
        assert_eq!(code(store.meta.view(job.target, None).await), 100);
        assert_eq!(code(store.meta.view(job.target, Some(snapshot.create_ts)).await), 100);
        assert_eq!(code(store.meta.statistics(job.target, &[]).await), 100);
        assert_eq!(code(coordinator.create_collection(new_collection("copy")).await), 1100, "its name is reserved");
        coordinator.drop_collection(job.target).await.unwrap();
        round(coordinator, id, "n1").await.unwrap();
    }
    assert_eq!(states, ["pending", "copying", "completed"]);
    let definition = store.record(job(&store.meta, id).await.target).await.unwrap();
    assert_eq!(code(store.meta.view(definition.id, Some(snapshot.create_ts)).await), 100, "it was not there then");
}

async fn an_empty_snapshot_is_restored(store: Store) {
    let books = store.collection("books").await;
    let taken = snapshot(&store.coordinator, books.id, "s").await;
    let id = submit(&store.coordinator, books.id, "copy").await.id;
    store.coordinator.plan_job(id, BOUNDS).await.unwrap();
    assert_eq!(job(&store.meta, id).await.state.label(), "publishing");
    let done = run(&store.coordinator, id).await;
    assert_eq!((done.state.label(), done.percent, done.files_total), ("completed", 100, 0));
    let source = content(&store.meta, books.id, Some(taken.create_ts)).await;
    assert_eq!(content(&store.meta, done.target, None).await, source);
}

async fn a_submit_that_cannot_be_served_says_why_and_changes_nothing(store: Store) {
    let (books, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    let with = |change: fn(&mut NewRestore)| {
        let mut new = new_restore(books, "copy");
        change(&mut new);
        new
    };
    let mut refuse = vec![];
    for new in [
        with(|new| new.snapshot_name = "t".to_owned()),
        with(|new| new.target_database = "nowhere".to_owned()),
        with(|new| new.target_name = "books".to_owned()),
    ] {
        refuse.push(refusal(coordinator.submit_restore(new).await));
    }
    let taken = |name| format!("create duplicate collection with different parameters, collection: {name}");
    assert_eq!(
        refuse,
        [
            (2600, format!("collection {books}: snapshot not found[snapshot=t]")),
            (800, "database not found[database=nowhere]".to_owned()),
            (1100, taken("books")),
        ]
    );
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM restore_jobs").await, 0);
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM pins").await, 0);

    snapshot(coordinator, books, "t").await;
    let first = submit(coordinator, books, "copy").await;
    match coordinator.submit_restore(new_restore(books, "copy")).await.unwrap() {
        Created::Joined(job) => assert_eq!(job, first, "the same request again"),
        Created::New(job) => panic!("{job:?}"),
    }
    let other = coordinator.submit_restore(with(|new| new.snapshot_name = "t".to_owned())).await;
    assert_eq!(refusal(other), (1100, taken("copy")), "reserved by another job");
    coordinator.cancel_job(first.id).await.unwrap();
    let failing = coordinator.submit_restore(new_restore(books, "copy")).await;
    assert_eq!(refusal(failing), (1100, taken("copy")), "nobody joins a job that is failing");
}

async fn a_job_goes_on_when_its_source_is_dropped(store: Store) {
    let (books, snapshot) = filled(&store).await;
    let source = content(&store.meta, books, Some(snapshot.create_ts)).await;
    let id = submit(&store.coordinator, books, "copy").await.id;
    store.coordinator.drop_collection(books).await.unwrap();
    let done = run(&store.coordinator, id).await;
    assert_eq!(done.state.label(), "completed");
    assert_eq!(content(&store.meta, done.target, None).await, source);
}

async fn a_plan_keeps_its_bounds_and_is_made_once(store: Store) {
    let (books, _) = filled(&store).await;
    let id = submit(&store.coordinator, books, "copy").await.id;
    for _ in 0..2 {
        store.coordinator.plan_job(id, TaskBounds { files_max: 4, bytes_max: u64::MAX }).await.unwrap();
    }
    assert_eq!(store.meta.task_counts(id).await.unwrap().pending, 3, "ten files by four");
    let planned = job(&store.meta, id).await;
    assert_eq!((planned.files_total, planned.bytes_total, planned.percent), (10, 10_000, 0));
    let tasks = claim_all(&store.coordinator, "n1").await.unwrap();
    assert_eq!(tasks.iter().map(|task| task.files.len()).collect::<Vec<_>>(), [4, 4, 2]);
}

async fn a_restore_of_more_files_than_a_statement_holds_is_complete(store: Store) {
    let books = store.collection("books").await;
    let files = store.begin(books.id, &vec![rows_of(books.partitions[0].id); 700]).await;
    store.commit(books.id, &files).await.unwrap();
    let snapshot = snapshot(&store.coordinator, books.id, "s").await;
    let id = submit(&store.coordinator, books.id, "copy").await.id;
    store.coordinator.plan_job(id, TaskBounds { files_max: 600, bytes_max: u64::MAX }).await.unwrap();
    assert_eq!(store.meta.task_counts(id).await.unwrap().pending, 2);
    let done = run(&store.coordinator, id).await;
    assert_eq!((done.state.label(), done.files_done), ("completed", 700));
    let source = content(&store.meta, books.id, Some(snapshot.create_ts)).await;
    assert_eq!(content(&store.meta, done.target, None).await, source);
}

async fn nothing_is_published_before_the_last_task_is_done(store: Store) {
    let (books, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    let id = submit(coordinator, books, "copy").await.id;
    coordinator.publish_job(id).await.unwrap();
    coordinator.plan_job(id, BOUNDS).await.unwrap();
    coordinator.publish_job(id).await.unwrap();
    let one = &store.meta.pending_tasks(1).await.unwrap()[0];
    claim_all(coordinator, "n1").await.unwrap();
    coordinator.publish_job(id).await.unwrap();
    assert_eq!(job(&store.meta, id).await.state.label(), "copying");
    finish_all(coordinator).await.unwrap();
    let counts = store.meta.task_counts(id).await.unwrap();
    assert_eq!((counts.completed, counts.pending), (4, 0));
    assert_eq!(job(&store.meta, id).await.percent, 99, "100 is kept for the end");
    for _ in 0..2 {
        coordinator.publish_job(id).await.unwrap();
    }
    assert_eq!(job(&store.meta, id).await.state.label(), "completed");
    assert_eq!(coordinator.assignment(one.id).await.unwrap().map(|task| task.task), None);
    let text = refusal(coordinator.cancel_job(id).await);
    assert_eq!(text, (1100, "the restore job is being published or is over".to_owned()));
    assert_eq!(coordinator.fail_job(id, "too late").await.unwrap(), []);
    assert_eq!(code(coordinator.clean_up_job(id).await), 1100);
    assert_eq!(job(&store.meta, id).await.state.label(), "completed");
}

async fn jobs_are_listed_by_target_and_removed_when_they_are_old(store: Store) {
    let (books, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    let first = submit(coordinator, books, "copy").await.id;
    let second = submit(coordinator, books, "copy2").await.id;
    let ids = |jobs: Vec<elanus_meta::model::JobRecord>| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    let meta = &store.meta;
    assert_eq!(ids(meta.jobs(None, None).await.unwrap()), [first, second]);
    assert_eq!(ids(meta.jobs(Some("default"), Some("copy2")).await.unwrap()), [second]);
    assert_eq!(ids(meta.jobs(Some("nowhere"), None).await.unwrap()), []);
    run(coordinator, first).await;
    assert_eq!(ids(meta.open_jobs().await.unwrap()), [second]);
    assert_eq!(coordinator.remove_finished_jobs(LATER_MS, 10).await.unwrap(), 1);
    assert_eq!(ids(meta.jobs(None, None).await.unwrap()), [second]);
    assert_eq!(refusal(coordinator.cancel_job(first).await), (2101, format!("restore job not found: jobID={first}")));
    assert!(by_name(meta, "copy").await.is_some(), "what it made stays");
    let history = meta.history("restore_job", first.0).await.unwrap();
    let states: Vec<_> = history.iter().map(|line| line.to_state.as_str()).collect();
    assert_eq!(states, ["pending", "copying", "publishing", "completed"]);
}

on_every_store!(
    r_4_the_target_equals_the_source_as_of_the_snapshot,
    a_restored_collection_is_written_and_restored_like_any_other,
    r_1_nothing_of_the_target_is_visible_before_it_is_published,
    an_empty_snapshot_is_restored,
    a_submit_that_cannot_be_served_says_why_and_changes_nothing,
    a_job_goes_on_when_its_source_is_dropped,
    a_plan_keeps_its_bounds_and_is_made_once,
    a_restore_of_more_files_than_a_statement_holds_is_complete,
    nothing_is_published_before_the_last_task_is_done,
    jobs_are_listed_by_target_and_removed_when_they_are_old,
);

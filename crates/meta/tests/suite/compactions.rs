//! Compactions: from a plan to the file that takes the place of others.

use crate::restoring::{assert_quiet, clone_of, filled, new_restore, new_snapshot, number, run, snapshot, submit_new};
use crate::rollback::roll_back;
use crate::store::{LATER_MS, START_MS, Store, assert_fenced, deletes_of, node, refusal, rows_of, written};
use elanus_meta::model::{
    Answer, CompactedFile, CompactionRecord, FileKind, FilePlace, NewCompaction, NewSnapshot, TaskMessage, TaskOwner,
    TaskRecord,
};
use elanus_meta::{MetaError, Progress};
use elanus_types::{Checksum, CollectionId, FileSetId, Generation, PartitionId, SegmentId, Shard, TaskId, Timestamp};
use std::collections::BTreeSet;

/// Writes one file; its membership and time.
async fn write(store: &Store, collection: CollectionId, place: FilePlace) -> ((SegmentId, FileSetId), Timestamp) {
    store.clock.advance_ms(5);
    let planned = store.meta.begin_write(collection, &node("w1"), LATER_MS, &[place]).await.unwrap();
    let files = written(&[place], planned, 10);
    let ts = store.commit(collection, &files).await.unwrap();
    ((files[0].planned.segment, files[0].planned.file_set), ts)
}

/// A collection with three files of rows and its default partition.
pub(crate) async fn three(store: &Store) -> (CollectionId, PartitionId, Vec<(SegmentId, FileSetId)>) {
    let books = store.collection("books").await;
    let (id, partition) = (books.id, books.partitions[0].id);
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(write(store, id, rows_of(partition)).await.0);
    }
    (id, partition, members)
}

pub(crate) fn of(partition: PartitionId, inputs: &[(SegmentId, FileSetId)]) -> NewCompaction {
    let files = inputs.len() as u64;
    NewCompaction { partition, shard: Shard(0), inputs: inputs.to_vec(), rows: files * 10, bytes: files * 1_000 }
}

pub(crate) async fn plan(store: &Store, collection: CollectionId, task: NewCompaction) {
    assert_eq!(store.coordinator.plan_compactions(collection, &[task]).await.unwrap(), 1);
}

async fn pending(store: &Store) -> TaskRecord {
    store.meta.pending_tasks(10).await.unwrap().remove(0)
}

/// Claims the one that waits, as `n1`; `None` when it is void.
pub(crate) async fn claim(store: &Store) -> Option<(TaskId, Generation)> {
    let task = pending(store).await;
    assert!(matches!(task.owner, TaskOwner::Collection(_)), "{task:?}");
    let claimed = store.coordinator.claim_task(task.id, task.generation, &node("n1"), LATER_MS).await.unwrap();
    claimed.map(|claimed| {
        assert_eq!((claimed.task, claimed.owner, claimed.files.len()), (task.id, task.owner, 0));
        (claimed.task, claimed.generation)
    })
}

pub(crate) async fn say(store: &Store, (task, generation): (TaskId, Generation), message: TaskMessage) -> Answer {
    store.coordinator.report_task(task, generation, &node("n1"), message).await.unwrap()
}

pub(crate) fn left(rows: u64) -> TaskMessage {
    TaskMessage::Compacted(Some(CompactedFile { rows, size: rows * 50, checksum: Checksum(9) }))
}

async fn last(store: &Store) -> CompactionRecord {
    store.meta.compactions(None, 10).await.unwrap().pop().unwrap()
}

async fn is_void(store: &Store) -> bool {
    let last = last(store).await;
    (last.state, last.reason.as_deref()) == ("failed", Some("aborted"))
}

async fn compact(store: &Store, collection: CollectionId, partition: PartitionId, inputs: &[(SegmentId, FileSetId)]) {
    plan(store, collection, of(partition, inputs)).await;
    let claimed = claim(store).await.expect("the inputs hold");
    assert_eq!(say(store, claimed, left(7)).await, Answer::Accepted);
    assert_eq!(last(store).await.state, "completed");
}

async fn cp_1_2_the_new_file_takes_the_place_of_the_inputs_and_snapshots_stay(store: Store) {
    let (id, partition, members) = three(&store).await;
    let (log, _) = write(&store, id, deletes_of(PartitionId::ALL)).await;
    let taken = snapshot(&store.coordinator, id, "before").await;
    let (dropped, taken) = (taken.id, taken.create_ts);
    let before = store.meta.view(id, Some(taken)).await.unwrap();
    let first_ts = before.files.iter().map(|file| file.base_ts).min().unwrap();

    plan(&store, id, of(partition, &members)).await;
    let claimed = claim(&store).await.unwrap();
    let work = store.meta.compaction_work(claimed.0, claimed.1, &node("n1")).await.unwrap().unwrap();
    assert_eq!(work.inputs.iter().map(|file| (file.segment, file.file_set)).collect::<Vec<_>>(), members);
    assert_eq!(work.logs.iter().map(|file| (file.segment, file.file_set)).collect::<Vec<_>>(), [log]);
    assert_eq!((work.base_ts, work.view_ts), (first_ts, store.meta.last_ts(id).await.unwrap().unwrap()));
    assert_eq!(work.schema, store.record(id).await.unwrap().definition.schema);
    for (generation, worker) in [(Generation(9), "n1"), (claimed.1, "n2")] {
        assert!(store.meta.compaction_work(claimed.0, generation, &node(worker)).await.unwrap().is_none());
    }
    let later = write(&store, id, rows_of(partition)).await.0;
    let follower = store.meta.last_ts(id).await.unwrap().unwrap();
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted);
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted, "a repeat");

    let now = store.meta.view(id, None).await.unwrap();
    let rows: Vec<_> = now.files.iter().filter(|file| file.kind == FileKind::Insert).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let new = rows.iter().find(|file| file.file_set != later.1).unwrap();
    assert_eq!((new.base_ts, new.rows, new.partition, new.shard), (first_ts, 7, partition, Shard(0)));
    assert_eq!((&new.objects[0].key, new.objects[0].size, new.added_ts), (&work.target, 350, now.ts));
    assert_eq!(store.meta.view(id, Some(taken)).await.unwrap(), before, "S-1");
    let changes = store.meta.changes(id, follower).await.unwrap().unwrap();
    assert_eq!((changes.added.len(), changes.removed, changes.redefined), (1, members.clone(), false));
    let record = last(&store).await;
    assert_eq!((record.files, record.rows, record.rows_left, record.bytes_left), (3, 30, Some(7), Some(350)));
    assert_quiet(&store.url).await;
    let wrong = "SELECT COUNT(*) FROM segments s WHERE (state = 'dropped') = EXISTS (SELECT 1 FROM memberships m \
                 WHERE m.segment_id = s.segment_id AND m.removed_ts = 9223372036854775807)";
    assert_eq!(number(&store.url, wrong).await, 0, "dropped segments are those without files");

    // The snapshot keeps the inputs; without it they go.
    let queued = "SELECT COUNT(*) FROM file_sets WHERE kind = 'insert' AND state = 'queued'";
    assert_eq!(number(&store.url, queued).await, 0);
    store.coordinator.drop_snapshot(id, "before").await.unwrap();
    while let Progress::More(_) = store.coordinator.release_snapshot(dropped, 100).await.unwrap() {}
    assert_eq!(number(&store.url, queued).await, 3, "G-2");
}

async fn without_a_snapshot_the_inputs_are_queued_at_once(store: Store) {
    let (id, partition, members) = three(&store).await;
    compact(&store, id, partition, &members).await;
    let queued = "SELECT COUNT(*) FROM file_sets WHERE kind = 'insert' AND state = 'queued' AND covered = 1";
    assert_eq!(number(&store.url, queued).await, 3);
    assert_quiet(&store.url).await;
}

async fn cp_1_where_no_row_is_left_there_is_no_file(store: Store) {
    let (id, partition, members) = three(&store).await;
    plan(&store, id, of(partition, &members)).await;
    let claimed = claim(&store).await.unwrap();
    assert_eq!(say(&store, claimed, TaskMessage::Compacted(None)).await, Answer::Accepted);
    assert!(store.members(id, None).await.is_empty());
    let record = last(&store).await;
    assert_eq!((record.state, record.rows_left, record.target), ("completed", Some(0), None));
    let planned = "SELECT COUNT(*) FROM file_sets WHERE state = 'intent'";
    assert_eq!(number(&store.url, planned).await, 0, "the file that was not written is abandoned");
    assert_quiet(&store.url).await;
}

async fn cp_3_what_changed_since_the_claim_makes_it_void(store: Store) {
    let (id, partition, members) = three(&store).await;
    snapshot(&store.coordinator, id, "bare").await;
    let unchanged = async |what: &str| {
        let view = store.meta.view(id, None).await.unwrap();
        assert!(is_void(&store).await, "{what}");
        assert_eq!(number(&store.url, "SELECT COUNT(*) FROM file_sets WHERE state = 'intent'").await, 0, "{what}");
        assert_quiet(&store.url).await;
        view
    };

    // A delete that was applied leaves by a rollback; the inputs hold.
    write(&store, id, deletes_of(PartitionId::ALL)).await;
    snapshot(&store.coordinator, id, "deleted").await;
    plan(&store, id, of(partition, &members)).await;
    let claimed = claim(&store).await.unwrap();
    roll_back(&store, id, "bare").await;
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted, "the worker need not know");
    let view = unchanged("a delete left").await;
    assert_eq!(
        view.files.iter().map(|file| file.file_set).collect::<Vec<_>>(),
        members.iter().map(|m| m.1).collect::<Vec<_>>()
    );

    // A delete that was not there comes back.
    plan(&store, id, of(partition, &members)).await;
    let claimed = claim(&store).await.unwrap();
    roll_back(&store, id, "deleted").await;
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted);
    unchanged("a delete came back").await;

    // A later delete is none of its business.
    plan(&store, id, of(partition, &members)).await;
    let claimed = claim(&store).await.unwrap();
    write(&store, id, deletes_of(PartitionId::ALL)).await;
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted);
    assert_eq!(last(&store).await.state, "completed");

    // The definition.
    let member =
        store.meta.view(id, None).await.unwrap().files.iter().find(|f| f.kind == FileKind::Insert).cloned().unwrap();
    let inputs = [(member.segment, member.file_set)];
    plan(&store, id, of(partition, &inputs)).await;
    let claimed = claim(&store).await.unwrap();
    store.clock.advance_ms(5);
    roll_back(&store, id, "bare").await;
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted);
    unchanged("the input left").await;

    // The collection.
    let inputs: Vec<_> =
        store.meta.view(id, None).await.unwrap().files.iter().map(|f| (f.segment, f.file_set)).collect();
    plan(&store, id, of(partition, &inputs)).await;
    let claimed = claim(&store).await.unwrap();
    store.coordinator.drop_collection(id).await.unwrap();
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted);
    assert!(is_void(&store).await);
}

async fn cp_3_a_void_one_is_not_even_claimed(store: Store) {
    let (id, partition, members) = three(&store).await;
    plan(&store, id, of(partition, &members)).await;
    store.coordinator.drop_collection(id).await.unwrap();
    assert_eq!(claim(&store).await, None);
    assert!(is_void(&store).await);
    assert!(store.meta.pending_tasks(10).await.unwrap().is_empty());
}

async fn cp_3_pd_4_nothing_joins_a_partition_that_was_dropped_since_the_claim(store: Store) {
    let id = store.collection("books").await.id;
    let partition = store.coordinator.create_partition(id, "p").await.unwrap().id;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(write(&store, id, rows_of(partition)).await.0);
    }
    plan(&store, id, of(partition, &members)).await;
    let claimed = claim(&store).await.unwrap();
    // The rows of its memberships do not say so yet.
    store.coordinator.drop_partition(id, "p").await.unwrap();
    assert_eq!(store.meta.compaction_view(id).await.unwrap().members, []);
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted);
    assert!(is_void(&store).await);
    assert_eq!(store.meta.view(id, None).await.unwrap().files, []);
}

async fn cp_4_what_a_snapshot_protects_from_compaction_is_no_input(store: Store) {
    let (id, partition, members) = three(&store).await;
    let asking = NewSnapshot { compaction_protected_until_ms: START_MS + 60_000, ..new_snapshot(id, "asks", LATER_MS) };
    // Also one that is not complete yet, and one that came after the claim.
    plan(&store, id, of(partition, &members)).await;
    let claimed = claim(&store).await.unwrap();
    store.coordinator.create_snapshot(asking).await.unwrap();
    let after = write(&store, id, rows_of(partition)).await.0;
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted);
    assert!(is_void(&store).await);
    let view = store.meta.compaction_view(id).await.unwrap();
    let protected = |member: (SegmentId, FileSetId)| {
        let found = view.members.iter().find(|one| (one.segment, one.file_set) == member).unwrap();
        view.protected_ts.is_some_and(|ts| found.added_ts <= ts)
    };
    assert_eq!((protected(members[0]), protected(members[2]), protected(after)), (true, true, false));
    plan(&store, id, of(partition, &members)).await;
    assert_eq!(claim(&store).await, None);

    store.clock.advance_ms(60_000);
    assert_eq!(store.meta.compaction_view(id).await.unwrap().protected_ts, None);
    compact(&store, id, partition, &members).await;
}

async fn tk_2_a_claim_that_was_lost_publishes_nothing(store: Store) {
    let (id, partition, members) = three(&store).await;
    plan(&store, id, of(partition, &members)).await;
    let task = pending(&store).await;
    let until = store.meta.clock().now_ms() + 1_000;
    let first = store.coordinator.claim_task(task.id, task.generation, &node("n1"), until).await.unwrap().unwrap();
    let lost = (first.task, first.generation);
    let old = store.meta.compaction_work(lost.0, lost.1, &node("n1")).await.unwrap().unwrap();
    let beat = TaskMessage::Heartbeat { files_done: 1, bytes_done: 1, lease_until_ms: until + 1_000 };
    assert_eq!(say(&store, lost, beat.clone()).await, Answer::Accepted);
    store.clock.advance_ms(1_500);
    assert!(store.coordinator.expire_tasks().await.unwrap().is_empty(), "the heartbeat renewed the lease");
    assert_eq!(store.coordinator.expire_intents(10).await.unwrap(), 0, "of its file, too");
    store.clock.advance_ms(1_000);
    let revoked = store.coordinator.expire_tasks().await.unwrap();
    assert_eq!(revoked.iter().map(|one| (one.task, one.generation)).collect::<Vec<_>>(), [lost]);
    assert_eq!(say(&store, lost, beat).await, Answer::Fenced);
    assert_eq!(say(&store, lost, left(7)).await, Answer::Fenced);

    store.clock.advance_ms(60_000);
    let again = claim(&store).await.unwrap();
    let new = store.meta.compaction_work(again.0, again.1, &node("n1")).await.unwrap().unwrap();
    assert_ne!(new.target, old.target, "each claim has a key of its own");
    assert_eq!(say(&store, lost, left(7)).await, Answer::Fenced);
    assert_eq!(say(&store, again, left(7)).await, Answer::Accepted);
    assert_eq!(store.members(id, None).await.len(), 1);
    assert_quiet(&store.url).await;
}

async fn o_1_a_failed_one_is_tried_again_and_rests_when_it_cannot_succeed(store: Store) {
    let (id, partition, members) = three(&store).await;
    plan(&store, id, of(partition, &members[..2])).await;
    let busy = |view: &elanus_meta::model::CompactionView| {
        view.members.iter().map(|one| (one.busy, one.failed)).collect::<Vec<_>>()
    };
    let view = store.meta.compaction_view(id).await.unwrap();
    assert_eq!(busy(&view), [(true, false), (true, false), (false, false)]);
    assert_eq!(
        store.coordinator.plan_compactions(id, &[of(partition, &members[1..])]).await.unwrap(),
        0,
        "it is taken"
    );

    let claimed = claim(&store).await.unwrap();
    let failed = TaskMessage::FailedTransient { reason: "slow down".to_owned(), files: vec![] };
    assert_eq!(say(&store, claimed, failed).await, Answer::Accepted);
    assert!(store.meta.pending_tasks(10).await.unwrap().is_empty(), "TK-4: it rests");
    store.clock.advance_ms(60_000);
    let claimed = claim(&store).await.unwrap();
    let failed = TaskMessage::FailedPermanent { reason: "damaged".to_owned(), files: vec![] };
    assert_eq!(say(&store, claimed, failed).await, Answer::Accepted);
    let record = last(&store).await;
    assert_eq!((record.state, record.reason.as_deref()), ("failed", Some("damaged")));
    let view = store.meta.compaction_view(id).await.unwrap();
    assert_eq!(busy(&view), [(false, true), (false, true), (false, false)]);
    store.clock.advance_ms(3_600_000);
    assert_eq!(busy(&store.meta.compaction_view(id).await.unwrap())[0], (false, false));
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM file_sets WHERE state = 'intent'").await, 0);
    assert_quiet(&store.url).await;

    assert_eq!(store.coordinator.forget_compactions(store.meta.clock().now_ms(), 10).await.unwrap(), 1);
    assert!(store.meta.compactions(Some(id), 10).await.unwrap().is_empty());
}

async fn a_worker_says_what_its_task_is_about(store: Store) {
    let (id, partition, members) = three(&store).await;
    plan(&store, id, of(partition, &members)).await;
    let (task, generation) = claim(&store).await.unwrap();
    let n1 = node("n1");
    let report = |message| store.coordinator.report_task(task, generation, &n1, message);
    assert_eq!(refusal(report(TaskMessage::Finished).await).0, 1100);
    for wrong in [left(31), left(0)] {
        assert!(
            matches!(report(wrong).await, Err(MetaError::Corrupt(_))),
            "more rows than there were, or a file of none"
        );
    }
    assert_eq!(report(left(30)).await.unwrap(), Answer::Accepted);
    assert_eq!(report(left(30)).await.unwrap(), Answer::Accepted);
    let unknown = store.coordinator.report_task(TaskId(4_711), generation, &node("n1"), left(1)).await.unwrap();
    assert_eq!(unknown, Answer::Fenced);
    let older = store.coordinator.clone();
    store.meta.take_over(&node("newer")).await.unwrap();
    assert_fenced(older.plan_compactions(id, &[of(partition, &members)]).await);
}

async fn while_a_rollback_holds_the_collection_nothing_is_published(store: Store) {
    let (id, partition, members) = three(&store).await;
    snapshot(&store.coordinator, id, "s").await;
    plan(&store, id, of(partition, &members)).await;
    let (task, generation) = claim(&store).await.unwrap();
    let held_until = store.meta.clock().now_ms() + 1_000;
    store.coordinator.hold_writes(id, held_until).await.unwrap();
    assert_eq!(refusal(store.coordinator.report_task(task, generation, &node("n1"), left(7)).await).0, 8);
    assert!(store.meta.compaction_view(id).await.unwrap().waits_for.is_some());
    store.clock.advance_ms(1_000);
    assert_eq!(say(&store, (task, generation), left(7)).await, Answer::Accepted);
    assert_eq!(last(&store).await.state, "completed");
}

async fn cp_5_a_log_ends_when_nothing_needs_it_and_nothing_came_since(store: Store) {
    let (id, partition, members) = three(&store).await;
    let (log, _) = write(&store, id, deletes_of(PartitionId::ALL)).await;
    snapshot(&store.coordinator, id, "needs").await;
    compact(&store, id, partition, &members).await;
    let as_of = store.meta.last_ts(id).await.unwrap().unwrap();
    let view = store.meta.compaction_view(id).await.unwrap();
    let rows = view.members.iter().find(|one| one.kind == FileKind::Insert).unwrap();
    assert!(rows.deletes_before_ts.is_some_and(|ts| ts > rows.base_ts), "{rows:?}");

    // What comes back by a rollback needs it again.
    roll_back(&store, id, "needs").await;
    assert_eq!(store.coordinator.end_delete_logs(id, as_of, &[log]).await.unwrap(), 0);
    let inputs: Vec<_> = store.meta.view(id, None).await.unwrap().files;
    let inputs: Vec<_> =
        inputs.iter().filter(|f| f.kind == FileKind::Insert).map(|f| (f.segment, f.file_set)).collect();
    compact(&store, id, partition, &inputs).await;
    let as_of = store.meta.last_ts(id).await.unwrap().unwrap();
    let log = store.meta.view(id, None).await.unwrap();
    let log = log.files.iter().find(|f| f.kind == FileKind::Delete).map(|f| (f.segment, f.file_set)).unwrap();
    assert_eq!(store.coordinator.end_delete_logs(id, as_of, &[log]).await.unwrap(), 1);
    assert_eq!(store.coordinator.end_delete_logs(id, as_of, &[log]).await.unwrap(), 0, "a repeat");
    assert_eq!(store.members(id, None).await.len(), 1);
    assert_quiet(&store.url).await;
}

async fn what_was_applied_is_known_of_clones_copies_and_what_a_rollback_brings_back(store: Store) {
    let (id, partition, members) = three(&store).await;
    compact(&store, id, partition, &members).await;
    let applied = async |id| {
        let view = store.meta.compaction_view(id).await.unwrap();
        view.members
            .iter()
            .filter(|one| one.kind == FileKind::Insert)
            .map(|one| one.deletes_before_ts)
            .collect::<Vec<_>>()
    };
    let known = applied(id).await;
    assert!(matches!(known.as_slice(), [Some(_)]), "{known:?}");
    snapshot(&store.coordinator, id, "s").await;
    for new in [clone_of(id, "cloned"), new_restore(id, "copied")] {
        let job = submit_new(&store.coordinator, new).await;
        let done = run(&store.coordinator, job.id).await;
        assert_eq!(done.state.label(), "completed", "{done:?}");
        assert_eq!(applied(done.target).await, known, "{}", done.target_name);
    }
    let inputs: Vec<_> =
        store.meta.view(id, None).await.unwrap().files.iter().map(|f| (f.segment, f.file_set)).collect();
    compact(&store, id, partition, &inputs).await;
    assert_ne!(applied(id).await, known);
    roll_back(&store, id, "s").await;
    assert_eq!(applied(id).await, known);
    assert_quiet(&store.url).await;
}

async fn a_user_learns_what_was_asked_for(store: Store) {
    let (id, partition, members) = three(&store).await;
    plan(&store, id, of(partition, &members[..2])).await;
    let taken = store.coordinator.submit_compaction(id, &[of(partition, &members)]).await.unwrap();
    assert_eq!(taken, None, "the policy was first");
    let job = store.coordinator.submit_compaction(id, &[]).await.unwrap().unwrap();
    let told = store.meta.compaction_job(job).await.unwrap().unwrap();
    assert_eq!(
        told.tasks.iter().map(|task| task.state).collect::<Vec<_>>(),
        ["pending"],
        "what is under way belongs to it"
    );
    assert_eq!(
        told.tasks[0].sources,
        [members[0].0].into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
    let claimed = claim(&store).await.unwrap();
    say(&store, claimed, left(7)).await;
    let told = store.meta.compaction_job(job).await.unwrap().unwrap();
    assert_eq!((told.tasks[0].state, told.tasks[0].job), ("completed", Some(job)));
    let target = store.meta.view(id, None).await.unwrap().files.iter().map(|f| f.segment).max();
    assert_eq!(told.tasks[0].target, target);
    assert_eq!(refusal(store.coordinator.submit_compaction(CollectionId(4_711), &[]).await).0, 100);
    assert!(store.meta.compaction_job(elanus_types::JobId(4_711)).await.unwrap().is_none());
}

async fn compactions_and_copies_are_tasks_of_one_scheduler(store: Store) {
    let (id, _) = filled(&store).await;
    let view = store.meta.view(id, None).await.unwrap();
    let file = view.files.iter().find(|f| f.kind == FileKind::Insert).unwrap();
    let task = NewCompaction { shard: file.shard, ..of(file.partition, &[(file.segment, file.file_set)]) };
    plan(&store, id, task).await;
    let job = submit_new(&store.coordinator, new_restore(id, "copied")).await;
    store.coordinator.plan_job(job.id, crate::restoring::BOUNDS).await.unwrap();
    let owners: Vec<TaskOwner> = store.meta.pending_tasks(1).await.unwrap().iter().map(|task| task.owner).collect();
    assert_eq!(owners, [TaskOwner::Job(job.id), TaskOwner::Collection(id)], "so many of each kind");
    for task in store.meta.pending_tasks(10).await.unwrap() {
        let claimed =
            store.coordinator.claim_task(task.id, task.generation, &node("n1"), LATER_MS).await.unwrap().unwrap();
        let again = store.coordinator.assignment(task.id).await.unwrap().unwrap();
        assert_eq!((again.generation, again.owner, again.files), (claimed.generation, task.owner, claimed.files));
    }
    assert!(store.meta.in_progress_tasks().await.unwrap().len() >= 2);
    // The node is dead.
    store.coordinator.expire_other_owners(&[node("n2")]).await.unwrap();
    assert!(store.meta.in_progress_tasks().await.unwrap().is_empty());
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM file_sets WHERE state = 'intent'").await, 0);
}

on_every_store!(
    cp_1_2_the_new_file_takes_the_place_of_the_inputs_and_snapshots_stay,
    without_a_snapshot_the_inputs_are_queued_at_once,
    cp_1_where_no_row_is_left_there_is_no_file,
    cp_3_what_changed_since_the_claim_makes_it_void,
    cp_3_a_void_one_is_not_even_claimed,
    cp_3_pd_4_nothing_joins_a_partition_that_was_dropped_since_the_claim,
    cp_4_what_a_snapshot_protects_from_compaction_is_no_input,
    tk_2_a_claim_that_was_lost_publishes_nothing,
    o_1_a_failed_one_is_tried_again_and_rests_when_it_cannot_succeed,
    a_worker_says_what_its_task_is_about,
    while_a_rollback_holds_the_collection_nothing_is_published,
    cp_5_a_log_ends_when_nothing_needs_it_and_nothing_came_since,
    what_was_applied_is_known_of_clones_copies_and_what_a_rollback_brings_back,
    a_user_learns_what_was_asked_for,
    compactions_and_copies_are_tasks_of_one_scheduler,
);

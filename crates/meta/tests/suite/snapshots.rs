//! Snapshots and pins.

use crate::restoring::{
    DiesAt, assert_quiet, code, files_of, filled, new_restore, new_snapshot, number, snapshot, submit, sweep,
};
use crate::store::{LATER_MS, START_MS, Store, assert_fenced, node, refusal, rows_of};
use elanus_meta::model::{Answer, CollectionKey, Created, NewSnapshot, SnapshotStatus, Totals};
use elanus_types::PinId;

async fn s_1_a_snapshot_holds_exactly_the_commits_before_it(store: Store) {
    let books = store.collection("books").await;
    let default = books.partitions[0].id;
    let (first, _) = store.insert(books.id, default).await;
    let begun = store.begin(books.id, &[rows_of(default)]).await;
    let snapshot = snapshot(&store.coordinator, books.id, "s").await;
    let late = store.commit(books.id, &begun).await.unwrap();
    store.insert(books.id, default).await;
    assert!(late > snapshot.create_ts, "begun before the cut, committed after it");
    assert_eq!(store.members(books.id, Some(snapshot.create_ts)).await, [first].into());
    assert_eq!(store.members(books.id, None).await.len(), 3);
    store.coordinator.drop_collection(books.id).await.unwrap();
    assert_eq!(store.members(books.id, Some(snapshot.create_ts)).await, [first].into(), "for ever");
}

async fn s_3_of_concurrent_creates_of_one_name_exactly_one_wins(store: Store) {
    let books = store.collection("books").await;
    let create = |n: i32| {
        let coordinator = store.coordinator.clone();
        let mut new = new_snapshot(books.id, "s", LATER_MS);
        new.description = format!("attempt {n}");
        tokio::spawn(async move { coordinator.create_snapshot(new).await })
    };
    let mut won = 0;
    for attempt in (0..8).map(create).collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(Created::New(_)) => won += 1,
            other => {
                let (code, text) = refusal(other);
                assert_eq!(code, 1100);
                assert_eq!(text, format!("snapshot name s already exists in collection {}", books.id));
            }
        }
    }
    assert_eq!(won, 1);
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM snapshots").await, 1);
}

async fn s_2_the_same_create_again_joins_the_first_one(store: Store) {
    let books = store.collection("books").await;
    let new = |key: Option<&str>| {
        let mut new = new_snapshot(books.id, "s", LATER_MS);
        new.idempotency_key = key.map(str::to_owned);
        new
    };
    let first = store.coordinator.create_snapshot(new(Some("call-1"))).await.unwrap();
    let Created::New(first) = first else { panic!("{first:?}") };
    let again = store.coordinator.create_snapshot(new(Some("call-1"))).await.unwrap();
    let Created::Joined(again) = again else { panic!("{again:?}") };
    assert_eq!(again, first);
    for other in [None, Some("call-2")] {
        assert_eq!(code(store.coordinator.create_snapshot(new(other)).await), 1100, "S-3: another request");
    }
    let plan = store.coordinator.begin_snapshot_files(first.id, &node("writer"), LATER_MS, 0).await.unwrap();
    let files = files_of(plan);
    store.coordinator.commit_snapshot(first.id, &node("writer"), &files, Totals::default()).await.unwrap();
    let again = store.coordinator.create_snapshot(new(Some("call-1"))).await.unwrap();
    let Created::Joined(again) = again else { panic!("{again:?}") };
    assert_eq!((again.id, again.state), (first.id, SnapshotStatus::Committed), "its answer was lost");
}

async fn s_2_a_commit_whose_answer_was_lost_is_repeated_and_not_undone(store: Store) {
    let books = store.collection("books").await;
    let writer = node("writer");
    let coordinator = &store.coordinator;
    let created = coordinator.create_snapshot(new_snapshot(books.id, "s", LATER_MS)).await.unwrap();
    let Created::New(created) = created else { panic!("{created:?}") };
    let unused = coordinator.begin_snapshot_files(created.id, &writer, LATER_MS, 3).await.unwrap();
    let plan = coordinator.begin_snapshot_files(created.id, &writer, LATER_MS, 2).await.unwrap();
    assert_fenced(coordinator.begin_snapshot_files(created.id, &node("other"), LATER_MS, 1).await);
    let files = files_of(plan);
    let totals = Totals { rows: 1, files: 2, bytes: 3, segments: 4 };
    assert_fenced(coordinator.commit_snapshot(created.id, &node("other"), &files, totals).await);
    let committed = coordinator.commit_snapshot(created.id, &writer, &files, totals).await.unwrap();
    assert_eq!(coordinator.commit_snapshot(created.id, &writer, &files, totals).await.unwrap(), committed);
    coordinator.fail_snapshot(created.id).await.unwrap();
    assert_eq!(store.meta.snapshot(books.id, "s").await.unwrap(), Some(committed.clone()));
    assert_eq!((committed.state, committed.totals), (SnapshotStatus::Committed, totals));
    assert_eq!(committed.metadata_key.as_ref(), Some(&files.metadata.1.key));
    assert_eq!(store.meta.snapshot_manifests(created.id).await.unwrap(), files.manifests);
    let others = files_of(unused);
    assert_fenced(coordinator.commit_snapshot(created.id, &writer, &others, totals).await);
    assert_eq!(sweep(coordinator).await.unwrap(), 4, "what was planned and not used");
}

async fn s_2_a_create_that_failed_leaves_nothing_visible_and_its_name_free(store: Store) {
    let books = store.collection("books").await;
    let coordinator = &store.coordinator;
    let created = coordinator.create_snapshot(new_snapshot(books.id, "s", LATER_MS)).await.unwrap();
    let Created::New(created) = created else { panic!("{created:?}") };
    let plan = coordinator.begin_snapshot_files(created.id, &node("writer"), LATER_MS, 1).await.unwrap();
    for _ in 0..2 {
        coordinator.fail_snapshot(created.id).await.unwrap();
    }
    assert_eq!(store.meta.snapshot(books.id, "s").await.unwrap(), None);
    assert_eq!(store.meta.snapshots(books.id).await.unwrap(), []);
    let late = coordinator.commit_snapshot(created.id, &node("writer"), &files_of(plan), Totals::default()).await;
    assert_fenced(late);
    assert_eq!(sweep(coordinator).await.unwrap(), 2);
    let next = snapshot(coordinator, books.id, "s").await;
    assert!(next.create_ts > created.create_ts);
    let history = store.meta.history("snapshot", created.id.0).await.unwrap();
    let told: Vec<_> = history.iter().map(|line| (line.event.as_str(), line.to_state.as_str())).collect();
    assert_eq!(told, [("create", "pending"), ("write_failed", "deleting")]);
}

async fn a_writer_is_believed_as_long_as_it_is_heard_of(store: Store) {
    let books = store.collection("books").await;
    let coordinator = &store.coordinator;
    let created = coordinator.create_snapshot(new_snapshot(books.id, "s", START_MS + 10)).await.unwrap();
    let Created::New(created) = created else { panic!("{created:?}") };
    let writer = node("writer");
    coordinator.begin_snapshot_files(created.id, &writer, START_MS + 10, 1).await.unwrap();
    let heartbeat = async |by| coordinator.heartbeat_snapshot(created.id, &node(by), START_MS + 30).await.unwrap();
    assert_eq!(heartbeat("writer").await, Answer::Accepted);
    assert_eq!(heartbeat("other").await, Answer::Fenced);
    store.clock.advance_ms(20);
    assert_eq!(coordinator.expire_snapshots().await.unwrap(), []);
    assert_eq!(coordinator.expire_intents(10).await.unwrap(), 0, "its files are as safe as itself");
    store.clock.advance_ms(10);
    assert_eq!(coordinator.expire_snapshots().await.unwrap(), [created.id]);
    assert_eq!(heartbeat("writer").await, Answer::Fenced);
    assert_eq!(sweep(coordinator).await.unwrap(), 2);
    assert_eq!(coordinator.expire_snapshots().await.unwrap(), []);
}

async fn a_pinned_snapshot_is_not_dropped_until_its_pin_has_ended(store: Store) {
    let (books, record) = filled(&store).await;
    let coordinator = &store.coordinator;
    let pin = coordinator.pin_snapshot(books, "s", "ada", 10).await.unwrap();
    let for_ever = coordinator.pin_snapshot(books, "s", "bob", 0).await.unwrap();
    assert_eq!(store.meta.pins(record.id).await.unwrap(), [pin.clone(), for_ever.clone()]);
    assert_eq!(store.meta.snapshot(books, "s").await.unwrap().unwrap().live_pins, 2);
    let refused = (2601, "active pins exist, unpin before dropping: snapshot is pinned[snapshot=s]".to_owned());
    assert_eq!(refusal(coordinator.drop_snapshot(books, "s").await), refused);
    for id in [for_ever.id, for_ever.id, PinId(4711)] {
        coordinator.unpin(id).await.unwrap();
    }
    assert_eq!(refusal(coordinator.drop_snapshot(books, "s").await), refused);
    store.clock.advance_ms(10_000);
    assert_eq!(store.meta.pins(record.id).await.unwrap(), []);
    assert!(coordinator.drop_snapshot(books, "s").await.unwrap(), "an ended pin keeps nothing");
    assert!(!coordinator.drop_snapshot(books, "s").await.unwrap());
    assert_eq!(coordinator.expire_pins().await.unwrap(), 1);
    assert_eq!(coordinator.expire_pins().await.unwrap(), 0);
    assert_eq!(code(coordinator.pin_snapshot(books, "s", "ada", 1).await), 2600);
    assert_eq!(sweep(coordinator).await.unwrap(), 0, "a drop releases nothing that was live");
}

async fn only_a_committed_snapshot_is_pinned(store: Store) {
    let books = store.collection("books").await;
    store.coordinator.create_snapshot(new_snapshot(books.id, "s", LATER_MS)).await.unwrap();
    let (code, text) = refusal(store.coordinator.pin_snapshot(books.id, "s", "ada", 1).await);
    assert_eq!((code, text), (2600, format!("collection {}: snapshot not found[snapshot=s]", books.id)));
    assert!(store.coordinator.drop_snapshot(books.id, "s").await.unwrap(), "a pending one may be dropped");
}

async fn the_pin_of_a_job_ends_only_with_the_job(store: Store) {
    let (books, record) = filled(&store).await;
    let job = submit(&store.coordinator, books, "copy").await;
    let pins = store.meta.pins(record.id).await.unwrap();
    assert_eq!((pins.len(), pins[0].job), (1, Some(job.id)));
    assert_eq!(refusal(store.coordinator.unpin(pins[0].id).await).0, 1100);
    store.clock.advance_ms(LATER_MS);
    assert_eq!(store.coordinator.expire_pins().await.unwrap(), 0);
    assert_eq!(code(store.coordinator.drop_snapshot(books, "s").await), 2601);
}

async fn the_snapshots_of_a_dropped_collection_are_not_reached(store: Store) {
    let (books, record) = filled(&store).await;
    let coordinator = &store.coordinator;
    coordinator.drop_collection(books).await.unwrap();
    for code in [
        code(store.meta.snapshots(books).await),
        code(store.meta.snapshot(books, "s").await),
        code(coordinator.drop_snapshot(books, "s").await),
        code(coordinator.pin_snapshot(books, "s", "ada", 1).await),
        code(coordinator.create_snapshot(new_snapshot(books, "t", LATER_MS)).await),
        code(coordinator.submit_restore(new_restore(books, "copy")).await),
    ] {
        assert_eq!(code, 100);
    }
    assert_eq!(store.meta.snapshot_by_id(record.id).await.unwrap(), Some(record));
}

async fn a_snapshot_that_is_dropped_while_it_is_written_loses_its_files_after_the_lease(store: Store) {
    let books = store.collection("books").await;
    let coordinator = &store.coordinator;
    let created = coordinator.create_snapshot(new_snapshot(books.id, "s", START_MS + 10)).await.unwrap();
    let Created::New(created) = created else { panic!("{created:?}") };
    let writer = node("writer");
    coordinator.begin_snapshot_files(created.id, &writer, START_MS + 50, 0).await.unwrap();
    assert!(coordinator.drop_snapshot(books.id, "s").await.unwrap());
    assert_eq!(sweep(coordinator).await.unwrap(), 0, "its writer may still be sending");
    store.clock.advance_ms(50);
    assert_eq!(sweep(coordinator).await.unwrap(), 1);
}

async fn s_1_s_2_an_accepted_snapshot_is_as_good_as_a_committed_one_and_is_never_given_up(store: Store) {
    let books = store.collection("books").await;
    let (member, _) = store.insert(books.id, books.partitions[0].id).await;
    let (coordinator, writer) = (&store.coordinator, node("writer"));
    let created = coordinator.create_snapshot(new_snapshot(books.id, "s", LATER_MS)).await.unwrap();
    let Created::New(created) = created else { panic!("{created:?}") };
    assert_eq!(store.meta.changed_since_base(&created, 10).await.unwrap(), 1);
    assert_eq!(store.meta.changed_since_base(&created, 0).await.unwrap(), 0, "it counts no further");
    let lost = coordinator.begin_snapshot_files(created.id, &writer, LATER_MS, 1).await.unwrap();
    assert_fenced(coordinator.accept_snapshot(created.id, &node("other")).await);
    let accepted = coordinator.accept_snapshot(created.id, &writer).await.unwrap();
    assert_eq!((accepted.state, accepted.metadata_key.clone()), (SnapshotStatus::Accepted, None));
    assert_eq!(coordinator.accept_snapshot(created.id, &writer).await.unwrap(), accepted);

    assert_eq!(store.meta.snapshots(books.id).await.unwrap(), std::slice::from_ref(&accepted));
    let pin = coordinator.pin_snapshot(books.id, "s", "ada", 0).await.unwrap();
    assert_eq!(code(coordinator.drop_snapshot(books.id, "s").await), 2601);
    coordinator.unpin(pin.id).await.unwrap();
    assert_eq!(code(coordinator.create_snapshot(new_snapshot(books.id, "s", LATER_MS)).await), 1100, "S-3");
    let job = submit(coordinator, books.id, "twin").await;
    assert_eq!(job.snapshot, created.id);

    // Whoever was to write it is gone, and so is everybody after.
    coordinator.fail_snapshot(created.id).await.unwrap();
    coordinator.expire_other_owners(&[]).await.unwrap();
    for (n, by) in ["w1", "w2"].into_iter().enumerate() {
        let until_ms = START_MS + 10 * (n as i64 + 1);
        assert_eq!(store.meta.accepted_snapshots(10).await.unwrap().len(), 1);
        assert!(coordinator.claim_snapshot(created.id, &node(by), until_ms).await.unwrap().is_some());
        assert!(coordinator.claim_snapshot(created.id, &node("w3"), until_ms).await.unwrap().is_none(), "SN-6");
        assert_eq!(store.meta.accepted_snapshots(10).await.unwrap(), [], "somebody is at it");
        store.clock.advance_ms(10);
        assert_eq!(coordinator.expire_snapshots().await.unwrap(), []);
    }
    // Where a lock proves that its holder is dead, a lease is over at once.
    assert!(coordinator.claim_snapshot(created.id, &node("w3"), LATER_MS).await.unwrap().is_some());
    coordinator.expire_other_owners(&[node("w3")]).await.unwrap();
    assert!(coordinator.claim_snapshot(created.id, &node("w2"), START_MS + 50).await.unwrap().is_none());
    coordinator.expire_other_owners(&[]).await.unwrap();
    assert!(coordinator.claim_snapshot(created.id, &node("w2"), START_MS + 50).await.unwrap().is_some());
    let plan = coordinator.begin_snapshot_files(created.id, &node("w2"), START_MS + 50, 1).await.unwrap();
    assert_fenced(coordinator.begin_snapshot_files(created.id, &node("w1"), START_MS + 50, 1).await);
    assert_fenced(coordinator.commit_snapshot(created.id, &writer, &files_of(lost), Totals::default()).await);
    let committed =
        coordinator.commit_snapshot(created.id, &node("w2"), &files_of(plan), Totals::default()).await.unwrap();
    assert_eq!((committed.state, committed.create_ts), (SnapshotStatus::Committed, created.create_ts));
    assert_eq!(store.meta.accepted_snapshots(10).await.unwrap(), []);
    assert!(coordinator.claim_snapshot(created.id, &node("w3"), LATER_MS).await.unwrap().is_none());
    assert_eq!(store.members(books.id, Some(created.create_ts)).await, [member].into());
    assert_eq!(sweep(coordinator).await.unwrap(), 2, "what the first writer planned");
}

async fn an_accepted_snapshot_is_dropped_like_any_other(store: Store) {
    let books = store.collection("books").await;
    let coordinator = &store.coordinator;
    let accept = async |name: &str| {
        let created = coordinator.create_snapshot(new_snapshot(books.id, name, LATER_MS)).await.unwrap();
        let Created::New(created) = created else { panic!("{created:?}") };
        coordinator.accept_snapshot(created.id, &node("writer")).await.unwrap()
    };
    let (first, second) = (accept("first").await, accept("second").await);
    let of_both: Vec<_> = store.meta.accepted_snapshots(10).await.unwrap().iter().map(|one| one.id).collect();
    assert_eq!(of_both, [first.id, second.id], "oldest first");
    assert!(coordinator.drop_snapshot(books.id, "first").await.unwrap());
    assert_eq!(store.meta.snapshots(books.id).await.unwrap(), [second]);
    coordinator.drop_collection(books.id).await.unwrap();
    assert_eq!(store.meta.accepted_snapshots(10).await.unwrap(), [], "nobody writes for what is dropped");
}

/// One attempt of a writer's process, which may die.
async fn attempt(store: &Store, meta: &elanus_meta::Meta, writer: &str) -> elanus_meta::Result<()> {
    let books = CollectionKey::Name { database: "default".to_owned(), name: "books".to_owned() };
    let books = meta.collection(&books).await?.unwrap().id;
    let coordinator = meta.take_over(&node("coordinator")).await?;
    coordinator.expire_snapshots().await?;
    let lease_until_ms = store.meta.clock().now_ms() + 10;
    let mut new = NewSnapshot { owner: node(writer), ..new_snapshot(books, "s", lease_until_ms) };
    new.idempotency_key = Some("the same call".to_owned());
    let created = match coordinator.create_snapshot(new).await? {
        Created::Joined(record) if record.state == SnapshotStatus::Committed => return Ok(()),
        Created::New(record) | Created::Joined(record) => record,
    };
    let plan = coordinator.begin_snapshot_files(created.id, &node(writer), lease_until_ms, 2).await?;
    coordinator.heartbeat_snapshot(created.id, &node(writer), lease_until_ms + 1).await?;
    let files = files_of(plan);
    coordinator.commit_snapshot(created.id, &node(writer), &files, Totals::default()).await.map(|_| ())
}

async fn s_2_a_create_that_dies_around_any_commit_is_repeated(store: Store) {
    let (mut deaths, coordinator) = (0, &store.coordinator);
    let books = store.collection("books").await.id;
    for (applied, same_process) in [(false, false), (false, true), (true, false), (true, true)] {
        for n in 0.. {
            let mortal = store.meta.clone().with_commit_hook(DiesAt::commit(n, applied));
            let first = attempt(&store, &mortal, "w1").await;
            store.clock.advance_ms(if same_process { 0 } else { 11 });
            let second = attempt(&store, &store.meta, if same_process { "w1" } else { "w2" }).await;
            second.unwrap();
            let last = store.meta.take_over(&node("last")).await.unwrap();
            assert_eq!(store.meta.snapshots(books).await.unwrap().len(), 1);
            sweep(&last).await.unwrap();
            assert_quiet(&store.url).await;
            let unfinished = "SELECT COUNT(*) FROM file_sets WHERE state NOT IN ('live', 'gone')";
            assert_eq!(number(&store.url, unfinished).await, 0);
            assert!(last.drop_snapshot(books, "s").await.unwrap());
            if first.is_ok() {
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths >= 4 * 5, "{deaths}");
    assert_fenced(coordinator.expire_pins().await);
}

on_every_store!(
    s_2_a_create_that_dies_around_any_commit_is_repeated,
    s_1_a_snapshot_holds_exactly_the_commits_before_it,
    s_3_of_concurrent_creates_of_one_name_exactly_one_wins,
    s_2_the_same_create_again_joins_the_first_one,
    s_2_a_commit_whose_answer_was_lost_is_repeated_and_not_undone,
    s_2_a_create_that_failed_leaves_nothing_visible_and_its_name_free,
    s_1_s_2_an_accepted_snapshot_is_as_good_as_a_committed_one_and_is_never_given_up,
    an_accepted_snapshot_is_dropped_like_any_other,
    a_writer_is_believed_as_long_as_it_is_heard_of,
    a_pinned_snapshot_is_not_dropped_until_its_pin_has_ended,
    only_a_committed_snapshot_is_pinned,
    the_pin_of_a_job_ends_only_with_the_job,
    the_snapshots_of_a_dropped_collection_are_not_reached,
    a_snapshot_that_is_dropped_while_it_is_written_loses_its_files_after_the_lease,
);

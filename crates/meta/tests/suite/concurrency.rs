//! Many at once: the order of timestamps is the order of commits, and names are given once.

use crate::store::{LATER_MS, Store, deletes_of, new_collection, node, refusal, rows_of, written};
use elanus_meta::model::CollectionKey;
use elanus_types::{CollectionId, FieldId, FileSetId, PartitionId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

/// What a writer saw of one commit: moments of a common counter before and after it.
struct Acknowledged {
    began: u64,
    ended: u64,
    base: Timestamp,
    requests: u32,
    files: Vec<FileSetId>,
}

/// Lets writers commit `rounds` times each, all at once, and whatever `meanwhile` does beside them.
async fn write_at_once(store: &Store, writers: u32, rounds: u32) -> (CollectionId, Vec<Acknowledged>, Vec<Seen>) {
    let collection = store.collection("books").await;
    let (id, partition) = (collection.id, collection.partitions[0].id);
    let moments = Arc::new(AtomicU64::new(0));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (meta, moments, acknowledged) = (store.meta.clone(), moments.clone(), acknowledged.clone());
        tasks.spawn(async move {
            let owner = node(&format!("w{writer}"));
            for round in 0..rounds {
                let requests = 1 + (writer + round) % 4;
                let places = [rows_of(partition), deletes_of(PartitionId::ALL)];
                let planned = meta.begin_write(id, &owner, LATER_MS, &places).await.unwrap();
                let files = written(&places, planned, u64::from(requests));
                let began = moments.fetch_add(1, Ordering::SeqCst);
                let base = meta.commit_write(id, &owner, requests, &files).await.unwrap();
                let ended = moments.fetch_add(1, Ordering::SeqCst);
                let files = files.iter().map(|file| file.planned.file_set).collect();
                acknowledged.lock().unwrap().push(Acknowledged { began, ended, base, requests, files });
            }
        });
    }
    let meta = store.meta.clone();
    let counter = moments.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while matches!(stopped.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty)) {
            let began = counter.fetch_add(1, Ordering::SeqCst);
            let view = meta.view(id, None).await.unwrap();
            let ended = counter.fetch_add(1, Ordering::SeqCst);
            let files = view.files.iter().map(|file| file.file_set).collect();
            seen.push(Seen { began, ended, ts: view.ts, files });
        }
        seen
    });
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    stop.send(()).unwrap();
    let seen = reader.await.unwrap();
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    (id, acknowledged, seen)
}

/// A view that was read while others wrote.
struct Seen {
    began: u64,
    ended: u64,
    ts: Timestamp,
    files: BTreeSet<FileSetId>,
}

async fn s_1_timestamps_of_concurrent_commits_rise_in_commit_order(store: Store) {
    let (_, mut commits, _) = write_at_once(&store, 8, 12).await;
    assert_eq!(commits.len(), 96);
    commits.sort_by_key(|commit| commit.base);
    for pair in commits.windows(2) {
        let (first, second) = (&pair[0], &pair[1]);
        assert!(first.base.0 + i64::from(first.requests) <= second.base.0, "every request has a time of its own");
    }
    for (n, later) in commits.iter().enumerate() {
        for earlier in &commits[..n] {
            assert!(earlier.began < later.ended, "a commit was acknowledged before an older one began");
        }
    }
}

async fn s_1_a_view_has_exactly_the_commits_up_to_its_time(store: Store) {
    let (id, commits, seen) = write_at_once(&store, 6, 10).await;
    assert!(!seen.is_empty());
    for view in seen {
        let up_to: BTreeSet<FileSetId> =
            commits.iter().filter(|commit| commit.base <= view.ts).flat_map(|commit| commit.files.clone()).collect();
        assert_eq!(view.files, up_to);
        assert_eq!(store.members(id, Some(view.ts)).await, up_to, "the same later");
        for commit in &commits {
            assert!(commit.ended > view.began || commit.base <= view.ts, "acknowledged before the read began");
            assert!(commit.began < view.ended || commit.base > view.ts, "begun after the read ended");
        }
    }
}

async fn one_of_many_equal_creates_makes_the_collection_and_the_others_get_it(store: Store) {
    let mut tasks = JoinSet::new();
    for _ in 0..12 {
        let coordinator = store.coordinator.clone();
        tasks.spawn(async move { coordinator.create_collection(new_collection("books")).await.unwrap() });
    }
    let created = tasks.join_all().await;
    assert_eq!(store.meta.collections("default").await.unwrap(), created[..1]);
    assert!(created.iter().all(|one| *one == created[0]));
}

async fn one_of_many_different_creates_wins_and_the_others_are_refused(store: Store) {
    let mut tasks = JoinSet::new();
    for shards_num in 1..=12 {
        let coordinator = store.coordinator.clone();
        tasks.spawn(async move {
            let mut new = new_collection("books");
            new.definition.shards_num = shards_num;
            coordinator.create_collection(new).await
        });
    }
    let (won, lost): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 11));
    for result in lost {
        assert_eq!(refusal(result).0, 1100);
    }
    assert_eq!(store.meta.collections("default").await.unwrap().len(), 1);
}

async fn one_of_many_creates_of_a_partition_makes_it(store: Store) {
    let collection = store.collection("books").await.id;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let coordinator = store.coordinator.clone();
        tasks.spawn(async move { coordinator.create_partition(collection, "p").await.unwrap() });
    }
    let created = tasks.join_all().await;
    assert!(created.iter().all(|one| *one == created[0]));
    assert_eq!(store.record(collection).await.unwrap().partitions.len(), 2);
}

async fn ids_are_never_given_twice_also_when_the_clock_goes_back(store: Store) {
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let (meta, clock) = (store.meta.clone(), store.clock.clone());
        tasks.spawn(async move {
            let mut given = Vec::new();
            for _ in 0..8 {
                let first = meta.allocate_ids(n + 1).await.unwrap();
                given.extend(first..=first + i64::from(n));
                clock.advance_ms(if n % 2 == 0 { 5 } else { -7 });
            }
            given
        });
    }
    let given: Vec<i64> = tasks.join_all().await.concat();
    assert!(given.iter().all(|id| *id > 0));
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
}

/// Services call from tasks of their own; the compiler checks it here.
async fn every_call_can_be_made_from_any_thread(store: Store) {
    fn sendable<T>(call: impl Future<Output = T> + Send) {
        drop(call);
    }
    let (meta, coordinator, id) = (&store.meta, &store.coordinator, CollectionId(1));
    sendable(meta.collection(&CollectionKey::Id(id)));
    sendable(meta.collections("default"));
    sendable(meta.definition_at(id, Timestamp::ZERO));
    sendable(meta.statistics(id, &[]));
    sendable(meta.last_ts(id));
    sendable(meta.view(id, None));
    sendable(meta.changes(id, Timestamp::ZERO));
    sendable(meta.begin_write(id, &node("n"), 0, &[]));
    sendable(meta.commit_write(id, &node("n"), 1, &[]));
    sendable(meta.abandon(&node("n"), &[], ""));
    sendable(meta.renew(&node("n"), &[], 0));
    sendable(meta.outbox_woken());
    sendable(meta.next_events(1));
    sendable(meta.delete_events(&[]));
    sendable(coordinator.create_collection(new_collection("books")));
    sendable(coordinator.drop_collection(id));
    sendable(coordinator.create_partition(id, "p"));
    sendable(coordinator.drop_partition(id, "p"));
    sendable(coordinator.create_index(id, FieldId(1), "i", BTreeMap::new()));
    sendable(coordinator.drop_index(id, "i"));
    sendable(coordinator.set_loaded(id, &[], true));
    sendable(coordinator.seal_segments(id));
}

on_every_store!(
    every_call_can_be_made_from_any_thread,
    s_1_timestamps_of_concurrent_commits_rise_in_commit_order,
    s_1_a_view_has_exactly_the_commits_up_to_its_time,
    one_of_many_equal_creates_makes_the_collection_and_the_others_get_it,
    one_of_many_different_creates_wins_and_the_others_are_refused,
    one_of_many_creates_of_a_partition_makes_it,
    ids_are_never_given_twice_also_when_the_clock_goes_back,
);

//! Transactions that really run at the same time, as they do on a server: whatever the order, what holds after each of
//! them alone holds after all of them.

use crate::restoring::{
    BOUNDS, LEASE_MS, assert_quiet, filled, job, new_restore, new_snapshot, number, round, snapshot, submit,
};
use crate::store::{CLUSTER, LATER_MS, Store, new_collection, node, rows_of, written};
use elanus_meta::model::{Created, NewCollection, NewRestore, NewSnapshot, TaskMessage};
use elanus_meta::{Coordinator, Meta, MetaError, Result};
use elanus_types::{CollectionId, FieldId, JobId, PartitionId};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// As many as the store has connections that write.
const AT_ONCE: usize = 16;

type Deed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Does everything at once.
async fn at_once(deeds: Vec<Deed>) {
    let start = Arc::new(Barrier::new(deeds.len()));
    let mut tasks = JoinSet::new();
    for deed in deeds {
        let start = start.clone();
        tasks.spawn(async move {
            start.wait().await;
            deed.await;
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// What came of a call that a rule may refuse, or that may have come too late; nothing else may happen.
#[track_caller]
fn settled<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(MetaError::Refused(_) | MetaError::Fenced { .. }) => None,
        Err(error) => panic!("neither done nor refused: {error:?}"),
    }
}

/// What must hold at any time.
async fn assert_sound(url: &str) {
    for (what, sql) in [
        (
            "names that are held twice",
            "SELECT COUNT(*) FROM (SELECT name FROM (SELECT database_id, name FROM collections WHERE state <> 'dropped' \
             UNION ALL SELECT database_id, name FROM aliases) held GROUP BY database_id, name HAVING COUNT(*) > 1) twice",
        ),
        (
            "aliases of collections that are not there, or elsewhere",
            "SELECT COUNT(*) FROM aliases a LEFT JOIN collections c ON c.collection_id = a.collection_id \
             AND c.database_id = a.database_id AND c.state = 'live' WHERE c.collection_id IS NULL",
        ),
        (
            "collections in databases that were dropped",
            "SELECT COUNT(*) FROM collections c JOIN databases d ON d.database_id = c.database_id \
             WHERE d.dropped_ms IS NOT NULL AND c.state <> 'dropped'",
        ),
        (
            "names of snapshots that are held twice",
            "SELECT COUNT(*) FROM (SELECT name FROM snapshots WHERE state <> 'deleting' GROUP BY collection_id, name \
             HAVING COUNT(*) > 1) twice",
        ),
        (
            "pins of snapshots that are not committed",
            "SELECT COUNT(*) FROM pins p LEFT JOIN snapshots s ON s.snapshot_id = p.snapshot_id \
             WHERE s.state IS NULL OR s.state <> 'committed'",
        ),
        (
            "jobs that are open without their pin and their target",
            "SELECT COUNT(*) FROM restore_jobs j WHERE j.state IN ('pending', 'copying', 'publishing') AND \
             ((SELECT COUNT(*) FROM pins p WHERE p.job_id = j.job_id) <> 1 OR \
              (SELECT COUNT(*) FROM collections c WHERE c.job_id = j.job_id) <> 1)",
        ),
        (
            "file sets that are referenced otherwise than they say",
            "SELECT COUNT(*) FROM file_sets f WHERE refs <> CASE WHEN state = 'live' THEN \
             (SELECT COUNT(*) FROM memberships m WHERE m.file_set_id = f.file_set_id) + \
             (SELECT COUNT(*) FROM snapshot_file_sets s WHERE s.file_set_id = f.file_set_id) ELSE 0 END",
        ),
        (
            "members that are not live",
            "SELECT COUNT(*) FROM memberships m JOIN file_sets f ON f.file_set_id = m.file_set_id \
             WHERE f.state <> 'live'",
        ),
        (
            "segments that count otherwise than their members",
            "SELECT COUNT(*) FROM segments s WHERE s.state <> 'dropped' AND s.rows_num <> \
             (SELECT COALESCE(SUM(m.rows_num), 0) FROM memberships m WHERE m.segment_id = s.segment_id) \
             AND EXISTS (SELECT 1 FROM collections c WHERE c.collection_id = s.collection_id AND c.state = 'live')",
        ),
        (
            "facts after the clock of their collection",
            "SELECT COUNT(*) FROM memberships m JOIN collections c ON c.collection_id = m.collection_id \
             WHERE m.added_ts > c.last_ts",
        ),
    ] {
        assert_eq!(number(url, sql).await, 0, "{what}");
    }
}

async fn s_3_one_of_sixteen_creates_of_a_snapshot_wins_again_and_again(store: Store) {
    let books = store.collection("books").await.id;
    for n in 0..12 {
        let won = Arc::new(Mutex::new(Vec::new()));
        let deeds = (0..AT_ONCE).map(|owner| {
            let (coordinator, won) = (store.coordinator.clone(), won.clone());
            Box::pin(async move {
                let new = new_snapshot(books, &format!("s{n}"), LATER_MS);
                let new = NewSnapshot { owner: node(&format!("w{owner}")), ..new };
                match settled(coordinator.create_snapshot(new).await) {
                    Some(Created::New(record)) => won.lock().unwrap().push(record.id),
                    Some(Created::Joined(record)) => panic!("joined {record:?}"),
                    None => {}
                }
            }) as Deed
        });
        at_once(deeds.collect()).await;
        let won = won.lock().unwrap().clone();
        assert_eq!(won.len(), 1, "round {n}");
        assert_sound(&store.url).await;
        store.coordinator.fail_snapshot(won[0]).await.unwrap();
    }
}

async fn a_name_is_given_once_to_creates_and_restores(store: Store) {
    let (books, _) = filled(&store).await;
    for n in 0..10 {
        let winners = Arc::new(Mutex::new(BTreeSet::new()));
        let deeds = (0..AT_ONCE).map(|k| {
            let (coordinator, winners) = (store.coordinator.clone(), winners.clone());
            Box::pin(async move {
                let won = if k % 2 == 0 {
                    let mut new = new_collection("copy");
                    new.definition.shards_num = 1 + i32::try_from(k % 4).unwrap();
                    settled(coordinator.create_collection(new).await).map(|record| record.id)
                } else {
                    match settled(coordinator.submit_restore(new_restore(books, "copy")).await) {
                        Some(Created::New(job) | Created::Joined(job)) => Some(job.target),
                        None => None,
                    }
                };
                winners.lock().unwrap().extend(won);
            }) as Deed
        });
        at_once(deeds.collect()).await;
        let winners = winners.lock().unwrap().clone();
        assert_eq!(winners.len(), 1, "round {n}: {winners:?}");
        assert_sound(&store.url).await;
        let winner = *winners.first().unwrap();
        for open in store.meta.open_jobs().await.unwrap() {
            store.coordinator.cancel_job(open.id).await.unwrap();
            over(&store, open.id).await;
        }
        store.coordinator.drop_collection(winner).await.unwrap();
    }
    assert_quiet(&store.url).await;
}

async fn a_name_is_given_once_to_creates_renames_aliases_and_restores_whatever_is_dropped(store: Store) {
    let (books, _) = filled(&store).await;
    let coordinator = &store.coordinator;
    for _ in 0..10 {
        let other = store.collection("other").await.id;
        coordinator.create_database("shop", &BTreeMap::new()).await.unwrap();
        let deeds = (0..AT_ONCE).map(|k| {
            let c = coordinator.clone();
            Box::pin(async move {
                let new = || NewCollection { database: "shop".to_owned(), ..new_collection("name") };
                let into = || NewRestore { target_database: "shop".to_owned(), ..new_restore(books, "name") };
                match k % 8 {
                    0 => drop(settled(c.create_collection(new()).await)),
                    1 => drop(settled(c.rename_collection(other, "shop", "name").await)),
                    2 => drop(settled(c.submit_restore(into()).await)),
                    3 => drop(settled(c.create_alias("shop", "name", "name").await)),
                    4 => drop(settled(c.create_alias("default", "alias", "other").await)),
                    5 => drop(settled(c.drop_collection(other).await)),
                    6 => drop(settled(c.drop_database("shop").await)),
                    _ => {
                        settled(c.create_database("shop", &BTreeMap::new()).await);
                        settled(c.create_collection(new_collection("alias")).await);
                    }
                }
            }) as Deed
        });
        at_once(deeds.collect()).await;
        assert_sound(&store.url).await;
        for open in store.meta.open_jobs().await.unwrap() {
            coordinator.cancel_job(open.id).await.unwrap();
            over(&store, open.id).await;
        }
        settled(coordinator.drop_alias("default", "alias").await);
        for database in ["default", "shop"] {
            for left in settled(store.meta.collections(database).await).into_iter().flatten() {
                if left.id != books {
                    coordinator.drop_collection(left.id).await.unwrap();
                }
            }
        }
        settled(coordinator.drop_database("shop").await);
        assert_sound(&store.url).await;
    }
}

/// Lets rounds pass until a job is over.
async fn over(store: &Store, id: JobId) {
    for _ in 0..40 {
        if round(&store.coordinator, id, "last").await.unwrap() {
            return;
        }
        store.clock.advance_ms(LEASE_MS);
    }
    panic!("not over: {:?}", job(&store.meta, id).await);
}

async fn write(meta: Meta, collection: CollectionId, partition: PartitionId, owner: String) {
    let owner = node(&owner);
    for _ in 0..4 {
        let places = [rows_of(partition)];
        let Some(planned) = settled(meta.begin_write(collection, &owner, LATER_MS, &places).await) else { return };
        let ids: Vec<_> = planned.iter().map(|file| file.file_set).collect();
        let files = written(&places, planned, 10);
        settled(meta.renew(&owner, &ids, LATER_MS + 1).await);
        if settled(meta.commit_write(collection, &owner, 2, &files).await).is_none() {
            settled(meta.abandon(&owner, &ids, "refused").await);
            return;
        }
    }
}

/// A round of the sweeper beside everything else.
async fn sweep_once(coordinator: &Coordinator) {
    if let Some(claimed) = settled(coordinator.claim_abandoned(10).await) {
        let ids: Vec<_> = claimed.iter().map(|one| one.file_set).collect();
        settled(coordinator.mark_gone(&ids).await);
    }
}

async fn what_users_do_at_once_leaves_no_pin_without_its_snapshot_and_no_file_without_its_owner(store: Store) {
    for n in 0..8 {
        let (meta, coordinator) = (&store.meta, &store.coordinator);
        let source = store.collection(&format!("books{n}")).await;
        let (id, default) = (source.id, source.partitions[0].id);
        let old = coordinator.create_partition(id, "old").await.unwrap().id;
        store.insert(id, default).await;
        store.insert(id, old).await;
        snapshot(coordinator, id, "s").await;
        let mut deeds: Vec<Deed> = vec![];
        for (writer, partition) in [default, default, old, old].into_iter().enumerate() {
            deeds.push(Box::pin(write(meta.clone(), id, partition, format!("w{}", writer / 2))));
        }
        for _ in 0..2 {
            let c = coordinator.clone();
            deeds.push(Box::pin(async move {
                settled(c.drop_snapshot(id, "s").await);
            }));
            let c = coordinator.clone();
            deeds.push(Box::pin(async move {
                if let Some(pin) = settled(c.pin_snapshot(id, "s", "user", 0).await) {
                    settled(c.unpin(pin.id).await);
                }
                settled(c.pin_snapshot(id, "s", "keeper", 0).await);
                settled(c.expire_pins().await);
            }));
            let c = coordinator.clone();
            deeds.push(Box::pin(async move {
                settled(c.submit_restore(new_restore(id, "copy")).await);
            }));
            let c = coordinator.clone();
            deeds.push(Box::pin(async move {
                settled(c.seal_segments(id).await);
                settled(c.create_index(id, FieldId(101), "i", BTreeMap::new()).await);
                settled(c.set_loaded(id, &[], true).await);
                settled(c.create_partition(id, "new").await);
            }));
        }
        let c = coordinator.clone();
        deeds.push(Box::pin(async move {
            settled(c.drop_partition(id, "old").await);
        }));
        let c = coordinator.clone();
        deeds.push(Box::pin(async move {
            for _ in 0..3 {
                settled(c.expire_intents(10).await);
                sweep_once(&c).await;
            }
        }));
        let (c, m) = (coordinator.clone(), meta.clone());
        deeds.push(Box::pin(async move {
            // The end comes once the others are under way.
            while m.last_ts(id).await.unwrap() == Some(source.last_ts) {
                tokio::task::yield_now().await;
            }
            if n % 2 == 0 {
                settled(c.drop_collection(id).await);
            }
        }));
        at_once(deeds).await;
        assert_sound(&store.url).await;
        for open in meta.open_jobs().await.unwrap() {
            over(&store, open.id).await;
            assert_eq!(job(meta, open.id).await.state.label(), "completed");
            coordinator.drop_collection(open.target).await.unwrap();
        }
        assert_sound(&store.url).await;
        assert_quiet(&store.url).await;
    }
}

/// A worker's process: takes tasks and says that they are done, again and again.
async fn work(coordinator: Coordinator, worker: String) {
    let (meta, worker) = (coordinator.meta(), node(&worker));
    for _ in 0..6 {
        let lease_until_ms = meta.clock().now_ms() + LEASE_MS;
        for task in meta.pending_tasks(100).await.unwrap() {
            settled(coordinator.claim_task(task.id, task.generation, &worker, lease_until_ms).await);
        }
        for task in meta.in_progress_tasks().await.unwrap() {
            let half = TaskMessage::Heartbeat { files_done: 1, bytes_done: 1, lease_until_ms };
            for message in [half, TaskMessage::Finished] {
                settled(coordinator.report_task(task.id, task.generation, &worker, message).await);
            }
        }
    }
}

async fn r_1_and_r_2_hold_when_workers_cancels_and_publishers_race(store: Store) {
    let (books, _) = filled(&store).await;
    let mut ends = BTreeSet::new();
    for n in 0..10 {
        let id = submit(&store.coordinator, books, "copy").await.id;
        let mut deeds: Vec<Deed> = vec![];
        for worker in 0..3 {
            deeds.push(Box::pin(work(store.coordinator.clone(), format!("n{worker}"))));
        }
        for _ in 0..2 {
            let c = store.coordinator.clone();
            deeds.push(Box::pin(async move {
                settled(c.plan_job(id, BOUNDS).await);
                for _ in 0..20 {
                    settled(c.publish_job(id).await);
                }
            }));
        }
        let (c, clock) = (store.coordinator.clone(), store.clock.clone());
        deeds.push(Box::pin(async move {
            for _ in 0..3 {
                clock.advance_ms(LEASE_MS);
                settled(c.expire_tasks().await);
                sweep_once(&c).await;
            }
        }));
        let c = store.coordinator.clone();
        deeds.push(Box::pin(async move {
            for _ in 0..n {
                tokio::task::yield_now().await;
                settled(c.meta().task_counts(id).await);
            }
            settled(c.cancel_job(id).await);
            settled(c.clean_up_job(id).await);
        }));
        at_once(deeds).await;
        assert_sound(&store.url).await;
        over(&store, id).await;
        let last = job(&store.meta, id).await;
        ends.insert(last.state.label());
        if last.state.label() == "completed" {
            store.coordinator.drop_collection(last.target).await.unwrap();
        }
        assert_sound(&store.url).await;
        assert_quiet(&store.url).await;
    }
    assert!(ends.contains("failed"), "{ends:?}");
}

async fn a_coordinator_that_is_replaced_while_it_works_does_nothing_afterwards(store: Store) {
    let other = Meta::open(&store.url, CLUSTER, store.clock.clone()).await.unwrap();
    for n in 0..6 {
        let old = store.meta.take_over(&node("old")).await.unwrap();
        let done = Arc::new(Mutex::new(BTreeSet::new()));
        let mut deeds: Vec<Deed> = vec![];
        for k in 0..8 {
            let (old, done) = (old.clone(), done.clone());
            deeds.push(Box::pin(async move {
                for i in 0.. {
                    match old.create_collection(new_collection(&format!("c{n}_{k}_{i}"))).await {
                        Ok(record) => done.lock().unwrap().insert(record.id),
                        Err(MetaError::Fenced { .. }) => return,
                        Err(error) => panic!("{error:?}"),
                    };
                }
            }));
        }
        let (meta, seen) = (other.clone(), done.clone());
        let ids = async |meta: &Meta| -> BTreeSet<CollectionId> {
            meta.collections("default").await.unwrap().iter().map(|record| record.id).collect()
        };
        let at_take_over = Arc::new(Mutex::new(BTreeSet::new()));
        let at = at_take_over.clone();
        deeds.push(Box::pin(async move {
            while seen.lock().unwrap().len() < 12 {
                tokio::task::yield_now().await;
            }
            meta.take_over(&node("new")).await.unwrap();
            let records = meta.collections("default").await.unwrap();
            *at.lock().unwrap() = records.iter().map(|record| record.id).collect();
        }));
        at_once(deeds).await;
        let at_take_over = at_take_over.lock().unwrap().clone();
        assert_eq!(ids(&store.meta).await, at_take_over, "something was created after the take-over");
        assert!(done.lock().unwrap().is_subset(&at_take_over), "what was acknowledged is there");
    }
    other.close().await;
}

async fn two_processes_never_get_the_same_ids(store: Store) {
    let other = Meta::open(&store.url, CLUSTER, store.clock.clone()).await.unwrap();
    let given = Arc::new(Mutex::new(Vec::new()));
    let deeds = (0..AT_ONCE).map(|n| {
        let (meta, given) = (if n % 2 == 0 { store.meta.clone() } else { other.clone() }, given.clone());
        Box::pin(async move {
            for count in 1..20 {
                let first = meta.allocate_ids(count).await.unwrap();
                given.lock().unwrap().extend(first..first + i64::from(count));
            }
        }) as Deed
    });
    at_once(deeds.collect()).await;
    let given = given.lock().unwrap().clone();
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
    other.close().await;
}

on_every_store!(
    s_3_one_of_sixteen_creates_of_a_snapshot_wins_again_and_again,
    a_name_is_given_once_to_creates_and_restores,
    a_name_is_given_once_to_creates_renames_aliases_and_restores_whatever_is_dropped,
    what_users_do_at_once_leaves_no_pin_without_its_snapshot_and_no_file_without_its_owner,
    r_1_and_r_2_hold_when_workers_cancels_and_publishers_race,
    a_coordinator_that_is_replaced_while_it_works_does_nothing_afterwards,
    two_processes_never_get_the_same_ids,
);

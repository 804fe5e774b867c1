//! The registry of services, the coordinator's lease, and coordinators that were taken over from.

use crate::restoring::{claim_all, clone_of, damage, filled, number, submit, submit_new};
use crate::store::{START_MS, Store, assert_fenced, node};
use elanus_meta::model::{Answer, ServiceKind, ServiceRecord, TaskMessage};
use elanus_meta::{Begun, COORDINATION_LEASE_MS, NewRollback};
use elanus_types::Epoch;

pub(crate) fn service(name: &str, slots: usize, lease_until_ms: i64) -> ServiceRecord {
    ServiceRecord {
        node: node(name),
        kind: ServiceKind::DataNode,
        address: format!("{name}:1"),
        management: String::new(),
        version: "1.2.3".to_owned(),
        epoch: Epoch(0),
        slots,
        lease_until_ms,
        started_ms: START_MS,
    }
}

async fn wk_1_2_a_service_is_there_for_as_long_as_it_says_so(store: Store) {
    let now = store.meta.clock().now_ms();
    let (a, b) = (service("a", 2, now + 100), service("b", 3, now + 200));
    for one in [&b, &a, &a] {
        store.meta.heartbeat_service(one).await.unwrap();
    }
    assert_eq!(store.meta.services().await.unwrap(), [a.clone(), b.clone()]);
    assert_eq!(store.coordinator.forget_services(0).await.unwrap(), []);

    store.meta.heartbeat_service(&service("a", 5, now + 50)).await.unwrap();
    assert_eq!(store.meta.services().await.unwrap()[0], service("a", 5, now + 100), "no lease is shortened");
    store.clock.advance_ms(100);
    assert_eq!(store.meta.services().await.unwrap(), std::slice::from_ref(&b));
    assert_eq!(store.coordinator.forget_services(1).await.unwrap(), [], "operators are told for a while");
    assert_eq!(store.meta.cluster_status().await.unwrap().services.len(), 2);
    assert_eq!(store.coordinator.forget_services(0).await.unwrap(), [node("a")]);
    let back = ServiceRecord { started_ms: now + 100, ..service("a", 5, now + 300) };
    store.meta.heartbeat_service(&back).await.unwrap();
    assert_eq!(store.meta.services().await.unwrap(), [back, b]);
    store.meta.remove_service(&node("a")).await.unwrap();
    store.meta.remove_service(&node("unknown")).await.unwrap();
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM workers").await, 1);
}

async fn wk_2_nobody_gives_work_to_a_process_that_a_lock_proves_dead(store: Store) {
    let lease_until_ms = store.meta.clock().now_ms() + 100;
    for name in ["dead", "me"] {
        store.meta.heartbeat_service(&service(name, 1, lease_until_ms)).await.unwrap();
    }
    store.coordinator.expire_other_owners(&[node("me")]).await.unwrap();
    assert_eq!(store.meta.services().await.unwrap(), [service("me", 1, lease_until_ms)]);
}

async fn wk_1_only_services_that_copy_are_given_copies(store: Store) {
    let lease_until_ms = store.meta.clock().now_ms() + 100;
    for kind in ServiceKind::ALL {
        let one = ServiceRecord { kind, ..service(kind.label(), 1, lease_until_ms) };
        store.meta.heartbeat_service(&one).await.unwrap();
    }
    let workers = store.meta.workers().await.unwrap();
    let workers: Vec<&str> = workers.iter().map(|worker| worker.node.0.as_str()).collect();
    assert_eq!(workers, ["datanode", "standalone"]);
    assert_eq!(store.meta.services().await.unwrap().len(), ServiceKind::ALL.len());
}

async fn wk_3_a_service_of_a_kind_that_only_a_newer_program_knows_hides_no_other(store: Store) {
    let now = store.meta.clock().now_ms();
    let (known, newer) = (service("a", 2, now + 100), service("b", 2, now + 100));
    for one in [&known, &newer] {
        store.meta.heartbeat_service(one).await.unwrap();
    }
    // As the migration of that program would have allowed it.
    if store.url.starts_with("postgres") {
        damage(&store.url, "ALTER TABLE workers DROP CONSTRAINT workers_kind_check").await;
        damage(&store.url, "UPDATE workers SET kind = 'indexnode' WHERE node_id = 'b'").await;
    } else {
        let sql = "PRAGMA ignore_check_constraints = ON; UPDATE workers SET kind = 'indexnode' WHERE node_id = 'b'";
        damage(&store.url, sql).await;
    }
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM workers WHERE kind = 'indexnode'").await, 1);
    assert_eq!(store.meta.services().await.unwrap(), std::slice::from_ref(&known));
    assert_eq!(store.meta.workers().await.unwrap().len(), 1);
    assert_eq!(store.meta.cluster_status().await.unwrap().services, [known]);
}

async fn co_2_of_two_that_wait_one_takes_over(store: Store) {
    let (a, b) = (node("a"), node("b"));
    let seen = store.meta.coordination().await.unwrap();
    assert!(!seen.is_free(), "CO-3: a new epoch comes with a lease");
    assert!(store.meta.claim_coordination(&a, seen.beat).await.unwrap());
    assert!(!store.meta.claim_coordination(&b, seen.beat).await.unwrap(), "another one was faster");
    let claimed = store.meta.coordination().await.unwrap();
    assert_eq!((claimed.holder, claimed.epoch), (a, store.coordinator.epoch()), "who claims has no epoch yet");
    store.coordinator.prove().await.unwrap();
}

async fn co_1_the_lease_is_renewed_given_back_and_lost_with_the_epoch(store: Store) {
    let (me, other) = (node("me"), node("other"));
    let coordinator = store.meta.take_over(&me).await.unwrap();
    let begun = store.meta.coordination().await.unwrap();
    assert_eq!((&begun.holder, begun.epoch), (&me, coordinator.epoch()));
    store.clock.advance_ms(1_000);
    let until_ms = coordinator.renew_coordination(&me).await.unwrap().unwrap();
    let renewed = store.meta.coordination().await.unwrap();
    assert!(renewed.beat > begun.beat && renewed.lease_until_ms == until_ms && until_ms > begun.lease_until_ms);

    assert!(store.meta.claim_coordination(&other, renewed.beat).await.unwrap());
    assert_eq!(coordinator.renew_coordination(&me).await.unwrap(), None, "another one is about to take over");
    store.clock.advance_ms(COORDINATION_LEASE_MS);
    assert!(coordinator.renew_coordination(&me).await.unwrap().is_some(), "and did not");
    coordinator.release_coordination(&me).await.unwrap();
    assert!(store.meta.coordination().await.unwrap().is_free());

    let _next = store.meta.take_over(&other).await.unwrap();
    assert_fenced(coordinator.renew_coordination(&me).await);
    assert_fenced(coordinator.release_coordination(&me).await);
    assert_eq!(store.meta.coordination().await.unwrap().holder, other);
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
    wk_1_2_a_service_is_there_for_as_long_as_it_says_so,
    wk_2_nobody_gives_work_to_a_process_that_a_lock_proves_dead,
    wk_1_only_services_that_copy_are_given_copies,
    wk_3_a_service_of_a_kind_that_only_a_newer_program_knows_hides_no_other,
    co_2_of_two_that_wait_one_takes_over,
    co_1_the_lease_is_renewed_given_back_and_lost_with_the_epoch,
    tk_4_a_claim_that_is_given_back_may_be_had_by_another_at_once,
    a_coordinator_that_was_taken_over_from_learns_it_by_asking_and_by_writing,
    a_take_over_lets_writes_go_on_that_waited_for_a_rollback_of_a_dead_coordinator,
}

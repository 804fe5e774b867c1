//! When rows expire, in what a snapshot was brought back to, and in what a compaction leaves.

use crate::compactions::{claim, left, of, plan, say, three};
use crate::restoring::{clone_of, new_restore, run, snapshot, submit_new};
use crate::rollback::roll_back;
use crate::store::{Store, node, refusal};
use elanus_meta::model::{Answer, RestoreOptions};
use elanus_types::aging::TTL_PROPERTY;
use elanus_types::{Aging, CollectionId, RestoreMode, Timestamp};

async fn live_for(store: &Store, id: CollectionId, ttl_s: &str) {
    let set = |definition: &mut elanus_types::schema::CollectionDefinition| {
        definition.properties.insert(TTL_PROPERTY.to_owned(), ttl_s.to_owned());
        Ok(())
    };
    store.coordinator.alter_collection(id, set).await.unwrap();
}

fn before(ts: Timestamp, s: i64) -> Timestamp {
    Timestamp::from_ms(ts.ms() - s * 1_000)
}

async fn rows_age_from_the_restore_in_either_mode_unless_asked_otherwise(store: Store) {
    let (id, ..) = three(&store).await;
    live_for(&store, id, "60").await;
    store.clock.advance_ms(100_000);
    let then = snapshot(&store.coordinator, id, "s").await.create_ts;
    store.clock.advance_ms(1_000_000);
    for (name, mode) in [("clone", RestoreMode::Clone), ("copy", RestoreMode::Copy)] {
        let restored = run(
            &store.coordinator,
            submit_new(
                &store.coordinator,
                match mode {
                    RestoreMode::Clone => clone_of(id, name),
                    _ => new_restore(id, name),
                },
            )
            .await
            .id,
        )
        .await;
        assert_eq!(restored.state.label(), "completed");
        let view = store.meta.view(restored.target, None).await.unwrap();
        let expected = Aging { from_ts: view.ts, expired_before_ts: before(then, 60) };
        assert_eq!((view.aging, view.ttl_s), (expected, Some(60)), "{name}");
        let source = store.meta.definition_at(id, then).await.unwrap();
        let target = store.meta.definition_at(restored.target, view.ts).await.unwrap();
        assert_eq!((target.properties, target.schema), (source.properties, source.schema), "{name}");

        let mut keeps = new_restore(id, &format!("{name}_as_written"));
        keeps.options = RestoreOptions { keeps_ages: true, ..RestoreOptions::whole(mode) };
        let kept = run(&store.coordinator, submit_new(&store.coordinator, keeps.clone()).await.id).await;
        assert!(kept.options.keeps_ages);
        let view = store.meta.view(kept.target, None).await.unwrap();
        assert_eq!(view.aging, Aging { from_ts: Timestamp::ZERO, expired_before_ts: before(then, 60) });
    }
    // Another wish for the same name is another restore.
    let pending = submit_new(&store.coordinator, clone_of(id, "pending")).await;
    let mut other = clone_of(id, "pending");
    other.options.keeps_ages = true;
    assert_eq!(refusal(store.coordinator.submit_restore(other).await).0, 1100);
    run(&store.coordinator, pending.id).await;
}

async fn without_a_time_to_live_nothing_is_noted(store: Store) {
    let (id, ..) = three(&store).await;
    snapshot(&store.coordinator, id, "s").await;
    let restored = run(&store.coordinator, submit_new(&store.coordinator, clone_of(id, "c")).await.id).await;
    assert_eq!(store.meta.view(restored.target, None).await.unwrap().aging, Aging::default());
    roll_back(&store, id, "s").await;
    assert_eq!(store.meta.view(id, None).await.unwrap().aging, Aging::default());
}

async fn a_rollback_with_a_time_to_live_is_another_version_and_the_snapshot_keeps_its_own(store: Store) {
    let (id, ..) = three(&store).await;
    live_for(&store, id, "60").await;
    let then = snapshot(&store.coordinator, id, "s").await.create_ts;
    store.clock.advance_ms(1_000_000);
    let now = roll_back(&store, id, "s").await.ts;
    let view = store.meta.view(id, None).await.unwrap();
    assert_eq!(view.aging, Aging { from_ts: now, expired_before_ts: before(then, 60) });
    assert_eq!(store.meta.view(id, Some(then)).await.unwrap().aging, Aging::default());
    // What is changed later keeps it.
    let aging = store.meta.view(id, None).await.unwrap().aging;
    live_for(&store, id, "70").await;
    let view = store.meta.view(id, None).await.unwrap();
    assert_eq!((view.aging, view.ttl_s), (aging, Some(70)));
}

async fn cp_1_a_claim_fixes_what_has_expired_and_the_new_file_counts_from_there(store: Store) {
    let (id, partition, members) = three(&store).await;
    live_for(&store, id, "60").await;
    store.clock.advance_ms(65_000);
    let view = store.meta.compaction_view(id).await.unwrap();
    let expired_before = before(store.meta.now_ts().await.unwrap(), 60);
    assert_eq!((view.expired_before, view.expires), (expired_before, true));
    plan(&store, id, of(partition, &members)).await;
    let claimed = claim(&store).await.unwrap();
    store.clock.advance_ms(1_000);
    let work = store.meta.compaction_work(claimed.0, claimed.1, &node("n1")).await.unwrap().unwrap();
    assert_eq!((work.expired_before, work.base_ts), (expired_before, expired_before));
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted);
    let files = store.meta.view(id, None).await.unwrap().files;
    assert_eq!(files.iter().map(|file| file.base_ts).collect::<Vec<_>>(), [expired_before]);
}

async fn cp_3_another_time_to_live_since_the_claim_makes_it_void(store: Store) {
    let (id, partition, members) = three(&store).await;
    live_for(&store, id, "60").await;
    store.clock.advance_ms(65_000);
    plan(&store, id, of(partition, &members)).await;
    let claimed = claim(&store).await.unwrap();
    live_for(&store, id, "6000").await;
    assert_eq!(say(&store, claimed, left(7)).await, Answer::Accepted);
    assert_eq!(store.members(id, None).await.len(), 3, "nothing is lost");
}

on_every_store!(
    rows_age_from_the_restore_in_either_mode_unless_asked_otherwise,
    without_a_time_to_live_nothing_is_noted,
    a_rollback_with_a_time_to_live_is_another_version_and_the_snapshot_keeps_its_own,
    cp_1_a_claim_fixes_what_has_expired_and_the_new_file_counts_from_there,
    cp_3_another_time_to_live_since_the_claim_makes_it_void,
);

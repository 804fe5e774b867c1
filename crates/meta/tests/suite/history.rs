//! Random histories: every past is found again, and changes lead from every past to the present.

use crate::store::{Store, deletes_of, node, rows_of, written};
use elanus_meta::model::{CollectionView, FilePlace, ViewChanges};
use elanus_types::schema::CollectionDefinition;
use elanus_types::{CollectionId, PartitionId, Shard};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// The files of a view after changes.
fn applied(mut view: CollectionView, changes: ViewChanges) -> CollectionView {
    assert!(changes.ts >= view.ts);
    let before = view.files.len();
    view.files.retain(|file| !changes.removed.contains(&(file.segment, file.file_set)));
    assert_eq!(before - view.files.len(), changes.removed.len(), "only what was there ends");
    for added in changes.added {
        assert!(!view.files.iter().any(|file| file.file_set == added.file_set), "only what was not there comes");
        view.files.push(added);
    }
    view.files.sort_by_key(|file| (file.segment, file.file_set));
    view.ts = changes.ts;
    view
}

async fn one_step(store: &Store, id: CollectionId, chance: &mut StdRng) {
    let partitions = store.record(id).await.unwrap().partitions;
    match chance.random_range(0..20) {
        0..12 => {
            let places: Vec<FilePlace> = (0..chance.random_range(1..4))
                .map(|_| {
                    let partition = partitions.choose(chance).unwrap().id;
                    let place = match chance.random_range(0..4) {
                        0 => deletes_of(PartitionId::ALL),
                        1 => deletes_of(partition),
                        _ => rows_of(partition),
                    };
                    FilePlace { shard: Shard(chance.random_range(0..2)), ..place }
                })
                .collect();
            let owner = node(if chance.random_bool(0.5) { "w1" } else { "w2" });
            let planned = store.meta.begin_write(id, &owner, i64::MAX, &places).await.unwrap();
            let files = written(&places, planned, chance.random_range(1..400_000));
            if chance.random_bool(0.2) {
                store.coordinator.seal_segments(id).await.unwrap();
            }
            if chance.random_bool(0.9) {
                store.meta.commit_write(id, &owner, chance.random_range(1..9), &files).await.unwrap();
            } else {
                let file_sets: Vec<_> = files.iter().map(|file| file.planned.file_set).collect();
                store.meta.abandon(&owner, &file_sets, "tested").await.unwrap();
            }
        }
        12..14 => drop(store.coordinator.seal_segments(id).await.unwrap()),
        14..17 => {
            let name = format!("p{}", chance.random_range(0..4));
            store.coordinator.create_partition(id, &name).await.unwrap();
        }
        _ => {
            if let Some(partition) = partitions[1..].choose(chance) {
                store.coordinator.drop_partition(id, &partition.name).await.unwrap();
            }
        }
    }
    store.clock.advance_ms(chance.random_range(-2..4));
}

async fn s_1_changes_lead_from_every_past_to_the_present(store: Store) {
    for seed in 0..6 {
        let mut chance = StdRng::seed_from_u64(seed);
        let id = store.collection(&format!("c{seed}")).await.id;
        let mut past: Vec<(CollectionView, CollectionDefinition)> = Vec::new();
        let mut cache = store.meta.view(id, None).await.unwrap();
        for _ in 0..40 {
            one_step(&store, id, &mut chance).await;
            let now = store.meta.view(id, None).await.unwrap();
            if chance.random_bool(0.5) {
                let changes = store.meta.changes(id, cache.ts).await.unwrap().unwrap();
                cache = applied(cache, changes);
                assert_eq!((cache.ts, &cache.files), (now.ts, &now.files), "seed {seed}");
            }
            past.push((now, store.record(id).await.unwrap().definition));
        }
        let now = store.meta.view(id, None).await.unwrap();
        for (view, _) in &past {
            let changes = store.meta.changes(id, view.ts).await.unwrap().unwrap();
            assert_eq!(applied(view.clone(), changes).files, now.files, "seed {seed}");
        }
        store.coordinator.drop_collection(id).await.unwrap();
        for (view, definition) in past {
            assert_eq!(store.meta.view(id, Some(view.ts)).await.unwrap(), view, "seed {seed}");
            assert_eq!(store.meta.definition_at(id, view.ts).await.unwrap(), definition, "seed {seed}");
        }
    }
}

on_every_store!(s_1_changes_lead_from_every_past_to_the_present);

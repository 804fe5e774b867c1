//! A process that dies, or a store that does not answer, around a commit.

use crate::store::{Store, new_collection, node, rows_of};
use elanus_meta::{CommitHook, MetaError, Result};
use std::sync::Arc;

/// Fails every commit, before or after it is applied.
#[derive(Debug)]
struct Fails {
    applied: bool,
}

impl Fails {
    fn unless(good: bool) -> Result<()> {
        if good { Ok(()) } else { Err(MetaError::Corrupt("injected".to_owned())) }
    }
}

impl CommitHook for Fails {
    fn before(&self) -> Result<()> {
        Self::unless(self.applied)
    }

    fn after(&self) -> Result<()> {
        Self::unless(!self.applied)
    }
}

async fn a_write_that_dies_before_its_commit_shows_nothing_and_can_be_done_again(store: Store) {
    let collection = store.collection("books").await;
    let dying = store.meta.clone().with_commit_hook(Arc::new(Fails { applied: false }));
    let place = rows_of(collection.partitions[0].id);
    dying.begin_write(collection.id, &node("w1"), 0, &[place]).await.unwrap_err();
    let files = store.begin(collection.id, &[place]).await;
    dying.commit_write(collection.id, &node("w1"), 1, &files).await.unwrap_err();
    assert_eq!(store.members(collection.id, None).await.len(), 0);
    assert_eq!(store.meta.last_ts(collection.id).await.unwrap(), Some(collection.last_ts));
    store.commit(collection.id, &files).await.unwrap();
}

async fn d_1_a_write_whose_answer_is_lost_is_asked_again(store: Store) {
    let collection = store.collection("books").await;
    let deaf = store.meta.clone().with_commit_hook(Arc::new(Fails { applied: true }));
    let files = store.begin(collection.id, &[rows_of(collection.partitions[0].id)]).await;
    deaf.commit_write(collection.id, &node("w1"), 1, &files).await.unwrap_err();
    let ts = store.commit(collection.id, &files).await.unwrap();
    let view = store.meta.view(collection.id, None).await.unwrap();
    assert_eq!((view.files.len(), view.files[0].added_ts, view.ts), (1, ts, ts));
}

async fn a_create_whose_answer_is_lost_is_asked_again(store: Store) {
    let deaf = store.meta.clone().with_commit_hook(Arc::new(Fails { applied: true }));
    deaf.take_over(&node("deaf")).await.unwrap_err();
    let coordinator = store.meta.take_over(&node("next")).await.unwrap();
    let created = coordinator.create_collection(new_collection("books")).await.unwrap();
    assert_eq!(coordinator.create_collection(new_collection("books")).await.unwrap(), created);
}

async fn a_call_that_is_given_up_half_way_holds_nothing(store: Store) {
    let collection = store.collection("books").await;
    let place = rows_of(collection.partitions[0].id);
    let places = [place];
    for polls in 0..40 {
        let mut call = Box::pin(store.begin(collection.id, &places));
        for _ in 0..polls {
            if done_after_a_turn(&mut call).await {
                break;
            }
        }
        drop(call);
    }
    store.insert(collection.id, place.partition).await;
    assert_eq!(store.members(collection.id, None).await.len(), 1);
}

/// Lets a future run until it waits once; whether it is done.
async fn done_after_a_turn<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::select! {
        biased;
        _ = future => true,
        () = tokio::task::yield_now() => false,
    }
}

on_every_store!(
    a_write_that_dies_before_its_commit_shows_nothing_and_can_be_done_again,
    d_1_a_write_whose_answer_is_lost_is_asked_again,
    a_create_whose_answer_is_lost_is_asked_again,
    a_call_that_is_given_up_half_way_holds_nothing,
);

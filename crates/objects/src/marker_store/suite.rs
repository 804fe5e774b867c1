//! The promises of [`MarkerStore`] as tests. Every implementation runs all of [`PROMISES`], each on an empty store whose root
//! path is two levels below a folder with a foreign `_elanus/owner.json`: `top/_elanus/owner.json` and `top/middle/root`.
//!
//! MK-1  What was created is read back with its etag, until it is replaced.
//! MK-2  A create never changes an object: also a repeat of the same bytes is `Exists`.
//! MK-3  A replace with a stale etag, or of an absent object, is `Conflict` and changes nothing.
//! MK-4  Of writes that meet, exactly one wins.
//! MK-5  Only below the probe folder is anything removed; what is absent is success.
//! MK-6  A listing has the names directly in a folder, those of folders with a slash; also above the root path.

use super::{Etag, MarkerStore};
use crate::{Error, Result, suite::promises};
use bytes::Bytes;
use elanus_types::ObjectKey;
use futures::{
    FutureExt,
    future::{self, BoxFuture},
};
use std::{fmt, sync::Arc};

type Store = Arc<dyn MarkerStore>;

promises! {
    mk_1_what_was_written_is_read_back,
    mk_2_a_create_never_changes_an_object,
    mk_3_a_stale_replace_changes_nothing,
    mk_4_of_writes_that_meet_one_wins,
    mk_5_only_probes_are_removed,
    mk_6_a_listing_has_the_names_of_a_folder,
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).expect("the suite's keys are keys")
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

async fn assert_content(store: &Store, name: &str, content: &str, etag: &Etag) {
    let found = store.read(&key(name)).await.expect("a read succeeds").expect("the object is there");
    assert_eq!((found.bytes, &found.etag), (bytes(content), etag), "{name}");
    assert!(found.store_ms > 0);
}

fn assert_conflict<T: fmt::Debug>(answer: &Result<T>) {
    assert!(matches!(answer, Err(Error::Conflict { .. })), "{answer:?}");
}

async fn mk_1_what_was_written_is_read_back(store: Store) {
    for name in ["_elanus/owner.json", "_elanus/probe/a/b"] {
        assert_eq!(store.read(&key(name)).await.expect("a read succeeds"), None);
        let first = store.create(&key(name), bytes("1")).await.expect("a create succeeds");
        assert!(first.store_ms > 0);
        assert_content(&store, name, "1", &first.etag).await;
        let second = store.replace(&key(name), bytes("two"), &first.etag).await.expect("a replace succeeds");
        assert_ne!(first.etag, second.etag);
        assert_content(&store, name, "two", &second.etag).await;
    }
}

async fn mk_2_a_create_never_changes_an_object(store: Store) {
    let first = store.create(&key("_elanus/a"), bytes("1")).await.expect("a create succeeds");
    for other in ["1", "2", ""] {
        let answer = store.create(&key("_elanus/a"), bytes(other)).await;
        assert!(matches!(answer, Err(Error::Exists { .. })), "{answer:?}");
    }
    assert_content(&store, "_elanus/a", "1", &first.etag).await;
}

async fn mk_3_a_stale_replace_changes_nothing(store: Store) {
    let first = store.create(&key("_elanus/a"), bytes("1")).await.expect("a create succeeds");
    let second = store.replace(&key("_elanus/a"), bytes("2"), &first.etag).await.expect("a replace succeeds");
    assert_conflict(&store.replace(&key("_elanus/a"), bytes("3"), &first.etag).await);
    assert_content(&store, "_elanus/a", "2", &second.etag).await;
    assert_conflict(&store.replace(&key("_elanus/absent"), bytes("3"), &first.etag).await);
    assert_eq!(store.read(&key("_elanus/absent")).await.expect("a read succeeds"), None);
}

async fn mk_4_of_writes_that_meet_one_wins(store: Store) {
    let all = |write: fn(Store, u8, Etag) -> BoxFuture<'static, Result<()>>, etag: &Etag| {
        let runs = (0..8_u8).map(|n| tokio::spawn(write(Arc::clone(&store), n, etag.clone())));
        future::join_all(runs.collect::<Vec<_>>())
    };
    let wins = |answers: Vec<Result<Result<()>, tokio::task::JoinError>>| {
        let answers = answers.into_iter().map(|answer| answer.expect("a write does not panic"));
        answers.filter(Result::is_ok).count()
    };
    let create = |store: Store, n: u8, _| {
        async move { store.create(&key("_elanus/a"), Bytes::from(vec![n; 100])).await.map(drop) }.boxed()
    };
    assert_eq!(wins(all(create, &Etag(String::new())).await), 1);
    let created = store.read(&key("_elanus/a")).await.expect("a read succeeds").expect("one create won");
    let replace = |store: Store, n: u8, etag: Etag| {
        async move { store.replace(&key("_elanus/a"), Bytes::from(vec![n; 200]), &etag).await.map(drop) }.boxed()
    };
    assert_eq!(wins(all(replace, &created.etag).await), 1);
    let replaced = store.read(&key("_elanus/a")).await.expect("a read succeeds").expect("the object stays");
    assert_eq!(replaced.bytes.len(), 200);
}

async fn mk_5_only_probes_are_removed(store: Store) {
    let kept = store.create(&key("_elanus/owner.json"), bytes("1")).await.expect("a create succeeds");
    let refused = store.remove(&key("_elanus/owner.json"), &kept.etag).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_content(&store, "_elanus/owner.json", "1", &kept.etag).await;

    let probe = key("_elanus/probe/x");
    let made = store.create(&probe, bytes("1")).await.expect("a create succeeds");
    store.remove(&probe, &made.etag).await.expect("a remove succeeds");
    assert_eq!(store.read(&probe).await.expect("a read succeeds"), None);
    store.remove(&probe, &made.etag).await.expect("a repeated remove succeeds");
}

async fn mk_6_a_listing_has_the_names_of_a_folder(store: Store) {
    for folder in ["", "_elanus", "no/such/folder"] {
        assert!(store.list(folder).await.expect("a listing succeeds").is_empty(), "{folder}");
    }
    for name in ["_elanus/b", "_elanus/probe/1", "_elanus/probe/2", "_elanus/probe.x"] {
        store.create(&key(name), bytes("1")).await.expect("a create succeeds");
    }
    let list = async |folder: &str| {
        let mut names = store.list(folder).await.expect("a listing succeeds");
        names.retain(|name| name != "marker.lock"); // Of the local directory.
        names
    };
    assert_eq!(list("").await, ["_elanus/"]);
    assert_eq!(list("_elanus").await, ["b", "probe.x", "probe/"]);
    assert_eq!(list("_elanus/probe").await, ["1", "2"]);
    assert_eq!(list("..").await, ["root/"]);
    assert!(list("../_elanus").await.is_empty());
    assert_eq!(list("../../_elanus").await, ["owner.json"]);
    assert!(list("../..").await.contains(&"middle/".to_owned()));
    assert!(list(&vec![".."; 40].join("/")).await.is_empty(), "above the top of the store");
    let refused = store.list("a/../b").await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_that_is_written_is_checked() {
        let source = include_str!("suite.rs");
        let documented = source.lines().filter(|line| line.starts_with("//! MK-")).count();
        let written = source.lines().filter(|line| line.starts_with("async fn mk_")).count();
        assert_eq!((documented, written), (PROMISES.len(), PROMISES.len()));
        for (n, promise) in PROMISES.iter().enumerate() {
            assert!(promise.name.starts_with(&format!("mk_{}_", n + 1)), "{promise:?}");
        }
    }
}

//! The promises of [`ObjectStore`] as tests. Every implementation runs all of [`PROMISES`], each on an empty store.
//!
//! OS-1   What was put is read back, whatever its size.
//! OS-2   A repeated put is success and changes nothing.
//! OS-3   A put never changes an object: other bytes are `Exists`.
//! OS-4   Reading or copying what is not there is `NotFound` and names the key.
//! OS-5   A range is answered exactly, or refused when the object is shorter.
//! OS-6   The checksum is the CRC-64/NVME of all bytes.
//! OS-7   A copy has the bytes of its source and outlives it.
//! OS-8   A repeated copy is success, also when the source is gone; a copy never changes an object.
//! OS-9   A source that is not what the metadata says is `Corrupt` and is not copied.
//! OS-10  A listing has the objects of the folder, all of them, and of no folder whose name only begins the same.
//! OS-11  A delete removes the objects of its permits and no others; what is absent is success.
//! OS-12  Of puts that meet, one content wins, whole; who brought this content is told success, the others `Exists`.
//! OS-13  Pages of a listing are in the order of the keys, none is longer than asked, and together they are the listing.

use crate::{Error, Expected, ObjectStore, checksum_of};
use bytes::Bytes;
use elanus_lifecycle::{ClaimPolicy, DeletePermit, FileSet, Step, file_set::Event};
use elanus_types::{Checksum, FileSetId, NodeId, ObjectKey};
use futures::{
    FutureExt, TryStreamExt,
    future::{self, BoxFuture},
};
use std::{fmt, sync::Arc};

type Store = Arc<dyn ObjectStore>;

/// One promise of a store of the kind `S`.
pub struct Promise<S = Store> {
    /// `os_N_` or the like, and what is promised.
    pub name: &'static str,
    pub(crate) run: fn(S) -> BoxFuture<'static, ()>,
}

impl<S: fmt::Debug> Promise<S> {
    /// Panics when `store`, which is empty, does not keep the promise.
    pub async fn check(&self, store: S) {
        tracing::info!(promise = self.name, ?store, "checking");
        (self.run)(store).await;
    }
}

impl<S> fmt::Debug for Promise<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! promises {
    ($($name:ident,)*) => {
        /// All promises, in the order of their numbers.
        pub const PROMISES: &[$crate::suite::Promise<Store>] =
            &[$($crate::suite::Promise { name: stringify!($name), run: |store| $name(store).boxed() },)*];
    };
}
pub(crate) use promises;

promises! {
    os_1_what_was_put_is_read_back,
    os_2_a_repeated_put_is_success,
    os_3_a_put_never_changes_an_object,
    os_4_what_is_absent_is_not_found,
    os_5_a_range_is_exact_or_refused,
    os_6_the_checksum_is_crc64_nvme,
    os_7_a_copy_outlives_its_source,
    os_8_a_repeated_copy_is_success,
    os_9_a_damaged_source_is_not_copied,
    os_10_a_listing_has_exactly_the_folder,
    os_11_a_delete_removes_exactly_its_permits,
    os_12_of_puts_that_meet_one_content_wins,
    os_13_pages_are_the_listing_in_order,
}

/// Permits for these objects, through the one way that gives them.
#[must_use]
pub fn permits(keys: &[ObjectKey]) -> Vec<DeletePermit> {
    let claim = Event::Claim { now_ms: 0, policy: ClaimPolicy::AbandonedOnly };
    let mut file_set = FileSet::intent(NodeId("suite".to_owned()), 0);
    for event in [Event::Abandon { not_before_ms: 0 }, claim] {
        file_set = match file_set.step(&event) {
            Step::Move(next, _) => next,
            other => panic!("{event:?} was answered with {other:?}"),
        };
    }
    let permits = file_set.permits(FileSetId(1), keys.to_vec());
    permits.expect("a claimed file set gives permits")
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).expect("the suite's keys are keys")
}

/// Bytes of every value, in an order that shows when a part is missing or comes twice.
fn pattern(len: usize) -> Bytes {
    (0..len).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}

async fn put(store: &Store, name: &str, bytes: &Bytes) {
    let info = store.put(&key(name), bytes.clone()).await.expect("a put succeeds");
    assert_eq!((info.key, info.size), (key(name), bytes.len() as u64));
}

async fn assert_bytes(store: &Store, name: &str, bytes: &Bytes) {
    let found = store.get(&key(name)).await.expect("a get succeeds");
    assert!(found == *bytes, "{name}: {} bytes, expected {}", found.len(), bytes.len());
}

async fn keys(store: &Store, folder: Option<&str>) -> Vec<String> {
    let infos: Vec<_> = store.list(folder.map(key).as_ref()).try_collect().await.expect("a listing succeeds");
    let mut keys: Vec<_> = infos.into_iter().map(|info| info.key.to_string()).collect();
    keys.sort();
    keys
}

fn assert_exists<T: fmt::Debug>(answer: Result<T, Error>, name: &str) {
    assert!(matches!(&answer, Err(Error::Exists { key: found }) if *found == key(name)), "{answer:?}");
}

fn assert_not_found<T: fmt::Debug>(answer: Result<T, Error>, name: &str) {
    assert!(matches!(&answer, Err(Error::NotFound { key: found }) if *found == key(name)), "{answer:?}");
}

async fn os_1_what_was_put_is_read_back(store: Store) {
    for (name, len) in [("empty", 0), ("a/one", 1), ("a/b/c/large.parquet", 3_000_001)] {
        let bytes = pattern(len);
        put(&store, name, &bytes).await;
        assert_bytes(&store, name, &bytes).await;
        let info = store.head(&key(name)).await.expect("a head succeeds");
        assert_eq!((info.key, info.size), (key(name), len as u64));
        assert!(info.modified_ms > 0);
    }
}

async fn os_2_a_repeated_put_is_success(store: Store) {
    let bytes = pattern(10_000);
    put(&store, "a/b", &bytes).await;
    let before = store.head(&key("a/b")).await.expect("a head succeeds");
    put(&store, "a/b", &bytes).await;
    assert_eq!(store.head(&key("a/b")).await.expect("a head succeeds"), before);
    assert_bytes(&store, "a/b", &bytes).await;
}

async fn os_3_a_put_never_changes_an_object(store: Store) {
    let first = Bytes::from_static(b"first");
    put(&store, "a/b", &first).await;
    for other in ["other", "longer than first", ""] {
        assert_exists(store.put(&key("a/b"), Bytes::from(other)).await, "a/b");
        assert_bytes(&store, "a/b", &first).await;
    }
}

async fn os_4_what_is_absent_is_not_found(store: Store) {
    put(&store, "a/b", &pattern(3)).await;
    // The last one is a folder, which is not an object.
    for name in ["x", "a/x", "a"] {
        let absent = key(name);
        assert_not_found(store.get(&absent).await, name);
        assert_not_found(store.get_range(&absent, 0..1).await, name);
        assert_not_found(store.head(&absent).await, name);
        assert_not_found(store.copy(&absent, &key("to"), Expected::of(b"")).await, name);
    }
    for name in ["x", "a/x"] {
        assert_not_found(store.checksum(&key(name)).await, name);
    }
}

async fn os_5_a_range_is_exact_or_refused(store: Store) {
    let bytes = pattern(100_000);
    put(&store, "a", &bytes).await;
    for (start, end) in [(0, 1), (0, 100_000), (99_999, 100_000), (4_095, 70_001), (5, 5)] {
        let found = store.get_range(&key("a"), start as u64..end as u64).await.expect("a range succeeds");
        assert!(found == bytes.slice(start..end), "{start}..{end}");
    }
    for range in [0..100_001, 99_999..100_001, 100_000..100_001, 200_000..200_001, 0..u64::MAX] {
        let answer = store.get_range(&key("a"), range).await;
        assert!(matches!(answer, Err(Error::Refused { .. })), "{answer:?}");
    }
}

async fn os_6_the_checksum_is_crc64_nvme(store: Store) {
    // The check value of CRC-64/NVME's definition.
    put(&store, "check", &Bytes::from_static(b"123456789")).await;
    let sum = store.checksum(&key("check")).await.expect("a checksum succeeds");
    assert_eq!(sum, Checksum(0xae8b_1486_0a79_9888));
    for (name, len) in [("empty", 0), ("large", 1_000_003)] {
        let bytes = pattern(len);
        put(&store, name, &bytes).await;
        assert_eq!(store.checksum(&key(name)).await.expect("a checksum succeeds"), checksum_of(&bytes));
    }
}

async fn os_7_a_copy_outlives_its_source(store: Store) {
    let bytes = pattern(50_000);
    put(&store, "a/from", &bytes).await;
    let info = store.copy(&key("a/from"), &key("b/c/to"), Expected::of(&bytes)).await.expect("a copy succeeds");
    assert_eq!((info.key, info.size), (key("b/c/to"), 50_000));
    assert_bytes(&store, "a/from", &bytes).await;
    store.delete(permits(&[key("a/from")])).await.expect("a delete succeeds");
    assert_bytes(&store, "b/c/to", &bytes).await;
}

async fn os_8_a_repeated_copy_is_success(store: Store) {
    let (bytes, other) = (pattern(5_000), pattern(4_999));
    put(&store, "from", &bytes).await;
    put(&store, "taken", &other).await;
    let copy = async |to| store.copy(&key("from"), &key(to), Expected::of(&bytes)).await;
    copy("to").await.expect("a copy succeeds");
    copy("to").await.expect("a repeated copy succeeds");
    assert_exists(copy("taken").await, "taken");
    assert_bytes(&store, "taken", &other).await;
    store.delete(permits(&[key("from")])).await.expect("a delete succeeds");
    copy("to").await.expect("a repeated copy succeeds without its source");
    assert_bytes(&store, "to", &bytes).await;
}

async fn os_9_a_damaged_source_is_not_copied(store: Store) {
    put(&store, "from", &pattern(5_000)).await;
    let answer = store.copy(&key("from"), &key("to"), Expected::of(&pattern(6_000))).await;
    match answer {
        Err(Error::Corrupt { key: damaged, found, .. }) => {
            assert_eq!((damaged, found.size), (key("from"), 5_000));
        }
        other => panic!("{other:?}"),
    }
    assert_not_found(store.head(&key("to")).await, "to");
}

async fn os_10_a_listing_has_exactly_the_folder(store: Store) {
    assert!(keys(&store, None).await.is_empty());
    for (n, name) in ["a/x", "a/b/y", "a/b/z", "ab/x", "a.b/x", "c"].into_iter().enumerate() {
        put(&store, name, &pattern(n)).await;
    }
    assert_eq!(keys(&store, None).await, ["a.b/x", "a/b/y", "a/b/z", "a/x", "ab/x", "c"]);
    assert_eq!(keys(&store, Some("a")).await, ["a/b/y", "a/b/z", "a/x"]);
    assert_eq!(keys(&store, Some("a/b")).await, ["a/b/y", "a/b/z"]);
    for nothing in ["no-such-folder", "c", "a/b/y"] {
        assert!(keys(&store, Some(nothing)).await.is_empty(), "{nothing}");
    }
    let infos: Vec<_> = store.list(None).try_collect().await.expect("a listing succeeds");
    for info in infos {
        assert_eq!(store.head(&info.key).await.expect("a head succeeds"), info);
    }
    // More than fits into one page of any store.
    let many = (0..2_500).map(|n| (key(&format!("many/{n}")), Arc::clone(&store)));
    let puts = many.map(|(key, store)| async move { store.put(&key, Bytes::new()).await });
    future::try_join_all(puts).await.expect("puts succeed");
    assert_eq!(keys(&store, Some("many")).await.len(), 2_500);
}

async fn os_11_a_delete_removes_exactly_its_permits(store: Store) {
    for name in ["a/x", "a/y", "a/z", "a/x.more"] {
        put(&store, name, &pattern(3)).await;
    }
    let doomed = [key("a/x"), key("a/absent"), key("no/such/folder"), key("a/z")];
    for _ in 0..2 {
        store.delete(permits(&doomed)).await.expect("a delete succeeds, also when it is repeated");
        assert_eq!(keys(&store, None).await, ["a/x.more", "a/y"]);
    }
    assert_not_found(store.get(&key("a/x")).await, "a/x");
    store.delete(Vec::new()).await.expect("a delete of nothing succeeds");
}

async fn os_12_of_puts_that_meet_one_content_wins(store: Store) {
    let contents: Vec<_> = (0..4_u8).map(|n| Bytes::from(vec![n; 200_000])).collect();
    let puts = (0..16).map(|n| {
        let (store, bytes) = (Arc::clone(&store), contents[n % 4].clone());
        tokio::spawn(async move {
            let answer = store.put(&key("a/b"), bytes.clone()).await;
            (answer, bytes, store.get(&key("a/b")).await)
        })
    });
    let answers = future::join_all(puts.collect::<Vec<_>>()).await;
    let winner = store.get(&key("a/b")).await.expect("one put won");
    assert!(contents.contains(&winner));
    for answer in answers {
        let (answer, bytes, read) = answer.expect("a put does not panic");
        assert!(read.expect("after a put there is an object") == winner);
        match answer {
            Ok(_) => assert!(bytes == winner),
            Err(Error::Exists { .. }) => assert!(bytes != winner),
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn os_13_pages_are_the_listing_in_order(store: Store) {
    let names =
        ["c/a", "c/a-b/c", "c/a.b", "c/d/e/f", "c/d/e/g", "c/d/ee/f", "c/d0", "c/z", "c-d/a", "c.d", "c0/a", "b/z"];
    for name in names {
        put(&store, name, &pattern(3)).await;
    }
    let mut expected = keys(&store, Some("c")).await;
    expected.sort();
    assert_eq!(expected.len(), 8);
    for limit in [1, 2, 3, 8, 100] {
        let mut pages: Vec<String> = Vec::new();
        loop {
            let after = pages.last().map(|last| key(last));
            let page = store.list_page(&key("c"), after.as_ref(), limit).await.expect("a listing succeeds");
            assert!(page.len() <= limit);
            let is_last = page.len() < limit;
            assert!(page.iter().all(|info| info.size == 3));
            pages.extend(page.into_iter().map(|info| info.key.to_string()));
            if is_last {
                break;
            }
        }
        assert_eq!(pages, expected, "pages of {limit}");
    }
    assert!(store.list_page(&key("nothing"), None, 10).await.expect("a listing succeeds").is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_that_is_written_is_checked() {
        let source = include_str!("suite.rs");
        let documented = source.lines().filter(|line| line.starts_with("//! OS-")).count();
        let written = source.lines().filter(|line| line.starts_with("async fn os_")).count();
        assert_eq!((documented, written), (PROMISES.len(), PROMISES.len()));
        for (n, promise) in PROMISES.iter().enumerate() {
            assert!(promise.name.starts_with(&format!("os_{}_", n + 1)), "{promise:?}");
        }
    }
}

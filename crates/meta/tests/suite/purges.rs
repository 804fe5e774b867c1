//! Emptying the folder of a former owner of the root path.

use crate::store::{CLUSTER, Store};
use elanus_meta::{MetaError, Room};
use elanus_types::ObjectKey;

const FORMER: &str = "5e1f0e6c-0000-4000-8000-000000000001";

fn page(names: &[&str]) -> Vec<(ObjectKey, u64)> {
    names.iter().map(|name| (ObjectKey::parse(&format!("{FORMER}/{name}")).unwrap(), 10)).collect()
}

/// What a sweep does, but for the objects.
async fn sweep(store: &Store) -> Vec<String> {
    let claimed = store.coordinator.claim_unneeded(Room::Any(100)).await.unwrap();
    let keys = claimed.permits.iter().map(|permit| permit.key().to_string()).collect();
    store.coordinator.mark_gone(claimed.claim).await.unwrap();
    keys
}

async fn pu_1_no_key_outside_of_that_folder_is_queued_and_never_the_own_one(store: Store) {
    let own = store.coordinator.begin_purge(CLUSTER, "me").await;
    assert!(matches!(own, Err(MetaError::Refused(_))), "{own:?}");
    store.coordinator.begin_purge(FORMER, "me").await.unwrap();
    for key in [format!("{FORMER}0/x"), format!("{FORMER}-a/x"), format!("{CLUSTER}/x"), FORMER.to_owned()] {
        let key = ObjectKey::parse(&key).unwrap();
        let mixed: Vec<_> = page(&["a"]).into_iter().chain([(key, 1)]).collect();
        let refused = store.coordinator.queue_purge(FORMER, &mixed).await;
        assert!(matches!(refused, Err(MetaError::Refused(_))), "{refused:?}");
    }
    assert_eq!(store.meta.purge(FORMER).await.unwrap().unwrap().objects, 0);
    assert!(sweep(&store).await.is_empty());
}

async fn pu_2_pu_3_page_by_page_until_the_listing_is_empty_from_the_beginning(store: Store) {
    assert_eq!(store.meta.running_purge().await.unwrap(), None);
    assert!(!store.coordinator.queue_purge(FORMER, &page(&["a"])).await.unwrap(), "nobody wants it");
    store.coordinator.begin_purge(FORMER, "me").await.unwrap();
    assert!(store.coordinator.queue_purge(FORMER, &page(&["a", "b"])).await.unwrap());
    let running = store.meta.running_purge().await.unwrap().unwrap();
    assert_eq!((running.objects, running.bytes, running.waiting), (2, 20, 2));
    assert!(running.after.unwrap().as_str().ends_with("/b"));
    assert!(!store.coordinator.queue_purge(FORMER, &page(&["c"])).await.unwrap(), "the page before is not gone");
    assert!(!store.coordinator.end_purge(FORMER).await.unwrap());
    store.coordinator.begin_purge(FORMER, "somebody else").await.unwrap();
    assert_eq!(store.meta.purge(FORMER).await.unwrap().unwrap().objects, 2, "it is the same one");

    assert_eq!(sweep(&store).await.len(), 2);
    assert_eq!(store.meta.known_objects(None, 10).await.unwrap().len(), 2, "tombstones");
    assert!(store.coordinator.queue_purge(FORMER, &page(&["c"])).await.unwrap());
    let known = store.meta.known_objects(None, 10).await.unwrap();
    assert_eq!(known.iter().map(|one| one.key.to_string()).collect::<Vec<_>>(), [format!("{FORMER}/c")], "PU-3");
    sweep(&store).await;
    assert!(!store.coordinator.end_purge(FORMER).await.unwrap(), "once more from the beginning");
    assert_eq!(store.meta.running_purge().await.unwrap().unwrap().after, None);
    assert!(store.meta.known_objects(None, 10).await.unwrap().is_empty());
    assert!(store.coordinator.end_purge(FORMER).await.unwrap());
    let ended = store.meta.purge(FORMER).await.unwrap().unwrap();
    assert_eq!((ended.objects, ended.bytes, ended.waiting, ended.ended_ms.is_some()), (3, 30, 0, true));
    assert_eq!(store.meta.running_purge().await.unwrap(), None);
    let actions = store.meta.gc_audit(None, None, 100).await.unwrap();
    for (action, lines) in [("purge", 1), ("claim", 3), ("gone", 3), ("purged", 1)] {
        assert_eq!(actions.iter().filter(|line| line.action == action).count(), lines, "{action}");
    }
    store.coordinator.begin_purge(FORMER, "me").await.unwrap();
    let again = store.meta.running_purge().await.unwrap().unwrap();
    assert_eq!((again.objects, again.ended_ms), (0, None));
}

on_every_store!(
    pu_1_no_key_outside_of_that_folder_is_queued_and_never_the_own_one,
    pu_2_pu_3_page_by_page_until_the_listing_is_empty_from_the_beginning,
);

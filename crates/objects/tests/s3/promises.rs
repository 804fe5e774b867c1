//! All promises of every object store and of every marker store.

use crate::world::{config, key, small_parts, store};
use bytes::Bytes;
use elanus_objects::{MarkerStore as _, marker_store, suite};
use std::sync::Arc;

/// Every promise is kept below a root path; those that depend on it, in a whole bucket as well.
const IN_A_WHOLE_BUCKET: [&str; 4] = ["os_1_", "os_4_", "os_7_", "os_11_"];

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_bucket_keeps_the_promises_that_depend_on_the_root_path() {
    let wanted = |name: &str| IN_A_WHOLE_BUCKET.iter().any(|start| name.starts_with(start));
    for promise in suite::PROMISES.iter().filter(|promise| wanted(promise.name)) {
        promise.check(Arc::new(store(config(None).await))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_path_in_a_bucket_keeps_every_promise_and_sees_nothing_beside_it() {
    for promise in suite::PROMISES {
        let mut config = config(Some("some/root")).await;
        for beside in ["some/root2", "some"] {
            let mut config = config.clone();
            config.location.root = Some(key(beside));
            let marker = store(config).markers();
            marker.create(&key("a/b"), Bytes::from_static(b"not mine")).await.unwrap();
        }
        config.limits = small_parts();
        promise.check(Arc::new(store(config))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn markers_in_a_bucket_keep_every_promise() {
    for promise in marker_store::suite::PROMISES {
        let mut config = config(Some("top")).await;
        let above = store(config.clone()).markers();
        above.create(&key("_elanus/owner.json"), Bytes::from_static(b"above")).await.unwrap();
        config.location.root = Some(key("top/middle/root"));
        promise.check(Arc::new(store(config).markers())).await;
    }
}

//! What is special about objects in S3: parts, checksums that the store keeps, uploads that nobody ended, secrets.

use crate::{
    flaky::flaky,
    world::{config, key, pattern, small_parts, store},
};
use bytes::Bytes;
use elanus_objects::{Error, Expected, ObjectStore, S3Config, S3Store, StaleUpload, checksum_of, suite::permits};
use futures::TryStreamExt as _;
use std::{
    io::Write,
    sync::{Arc, Mutex},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_long_object_is_put_copied_and_read_in_parts() {
    let (mut config, requests) = flaky(config(Some("root")).await);
    config.limits = small_parts();
    let store = store(config);
    let bytes = Bytes::from(pattern((11 << 20) + 1));
    let (from, to) = (key("a/from"), key("b/to"));
    store.put(&from, bytes.clone()).await.unwrap();
    store.put(&from, bytes.clone()).await.unwrap();
    let other = Bytes::from(pattern((11 << 20) + 2));
    assert!(matches!(store.put(&from, other).await, Err(Error::Exists { .. })));

    let before = requests.seen().len();
    let expected = Expected::of(&bytes);
    let copied = store.copy(&from, &to, expected).await.unwrap();
    assert_eq!((copied.key, copied.size), (to.clone(), bytes.len() as u64));
    let seen = requests.seen();
    let gets = seen[before..].iter().filter(|request| request.starts_with("GET")).count();
    assert_eq!(gets, 0, "a copy moves no bytes through this process: {seen:?}");
    store.copy(&from, &to, expected).await.unwrap();

    let before = requests.seen().len();
    assert_eq!(store.checksum(&to).await.unwrap(), checksum_of(&bytes));
    assert_eq!(requests.seen().len(), before + 1, "the store keeps the checksum");
    assert!(store.get(&to).await.unwrap() == bytes);
    assert!(store.stale_uploads(None, i64::MAX).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_other_bytes_of_the_same_length_is_refused() {
    let store = store(config(None).await);
    store.put(&key("from"), Bytes::from_static(b"right")).await.unwrap();
    let wrong = store.copy(&key("from"), &key("to"), Expected::of(b"wrong")).await;
    assert!(matches!(wrong, Err(Error::Corrupt { .. })), "{wrong:?}");
    assert!(matches!(store.head(&key("to")).await, Err(Error::NotFound { .. })));
}

/// Begins an upload and sends nothing more, as a process that dies does.
async fn begin_upload(config: &S3Config, name: &str) {
    let client = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .credentials_provider(config.credentials.clone())
            .endpoint_url(config.endpoint.clone().unwrap())
            .force_path_style(true)
            .http_client(elanus_objects::s3::http_client(None, config.limits).unwrap())
            .build(),
    );
    client.create_multipart_upload().bucket(&config.location.bucket).key(name).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_4_uploads_that_nobody_ended_are_found_by_age_and_aborted() {
    let config = config(Some("root")).await;
    for name in ["root/own/a", "root/own/b", "root/other/c", "root2/own/d"] {
        begin_upload(&config, name).await;
    }
    let store = store(config);
    store.put(&key("own/done"), Bytes::from_static(b"1")).await.unwrap();
    let stale = async |store: &S3Store, before_ms| {
        let mut found = store.stale_uploads(Some(&key("own")), before_ms).await.unwrap();
        found.sort_by_key(|upload| upload.key.clone());
        found
    };
    let names = |found: &[StaleUpload]| found.iter().map(|upload| upload.key.to_string()).collect::<Vec<_>>();
    let found = stale(&store, i64::MAX).await;
    assert_eq!(names(&found), ["own/a", "own/b"]);
    assert!(stale(&store, found[0].begun_ms).await.is_empty(), "not yet old enough");
    assert!(store.list(None).try_collect::<Vec<_>>().await.unwrap().len() == 1, "an upload is no object");
    for _ in 0..2 {
        store.abort_upload(found[0].clone()).await.unwrap();
        assert_eq!(names(&stale(&store, i64::MAX).await), ["own/b"]);
    }
    assert_eq!(store.stale_uploads(None, i64::MAX).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_3_more_keys_than_one_request_takes_are_deleted() {
    let (config, requests) = flaky(config(None).await);
    let store = store(config);
    store.put(&key("keep"), Bytes::new()).await.unwrap();
    store.put(&key("n/1500"), Bytes::new()).await.unwrap();
    let before = requests.seen().len();
    let doomed: Vec<_> = (0..2_001).map(|n| key(&format!("n/{n}"))).collect();
    store.delete(permits(&doomed)).await.unwrap();
    assert_eq!(requests.seen().len(), before + 3);
    let left: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert_eq!(left.len(), 1);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// On this thread alone: the log of the other tests is not looked at.
#[tokio::test]
async fn s3_5_no_secret_is_in_the_log_or_in_debug() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || written.clone())
        .finish();
    let mut config = config(None).await;
    let guard = tracing::subscriber::set_default(subscriber);
    let good = store(config.clone());
    good.put(&key("a"), Bytes::from_static(b"1")).await.unwrap();
    good.list(None).try_collect::<Vec<_>>().await.unwrap();
    let token = Some("the-secret-token".to_owned());
    let wrong = S3Config::static_credentials("AKWRITER", "the-secret-is-wrong", token);
    config.credentials = elanus_objects::s3::SharedCredentialsProvider::new(wrong);
    let bad = store(config.clone());
    let error = bad.put(&key("b"), Bytes::from_static(b"1")).await.unwrap_err();
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("put_object") || log.contains("PutObject"), "the log was taken: {} bytes", log.len());
    for text in [log, format!("{error:?}"), format!("{good:?} {bad:?} {config:?}")] {
        let shown = text.lines().find(|line| line.contains("the-secret"));
        assert!(shown.is_none(), "a line has a secret: {:.2000}", shown.unwrap_or_default());
    }
}

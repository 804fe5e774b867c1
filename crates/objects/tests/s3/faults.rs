//! What happens when the network, the store or its operator do not play along.

use crate::{
    flaky::{Happening, flaky},
    world::{config, config_of, key, pattern, small_parts, store},
};
use bytes::Bytes;
use elanus_objects::{
    Error, Expected, MarkerStore as _, ObjectStore as _, Retry, S3Config, S3Location, suite::permits,
};
use elanus_testkit::{S3Server, S3User};
use futures::TryStreamExt as _;
use std::time::Duration;

const HELLO: Bytes = Bytes::from_static(b"hello");

#[track_caller]
fn assert_denied<T: std::fmt::Debug>(answer: Result<T, Error>, says: &str) {
    let error = answer.unwrap_err();
    assert!(matches!(error.reason(), Error::Denied { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    let text = elanus_types::Failure::from(error).message;
    assert!(text.contains(says) && !text.contains("the-secret"), "{text}");
}

/// Every call of the contract, each with a fault at its first request: the store may be asked again, and is.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_for_now_is_sent_again_whether_it_was_done_or_not() {
    for happening in [Happening::ErrorAfter, Happening::Cut] {
        let (mut config, faults) = flaky(config(None).await);
        config.limits = small_parts();
        let store = store(config);
        let bytes = Bytes::from(pattern(11 << 20));
        let hit = async || {
            assert_eq!(faults.take(), 0, "{happening:?} was used");
            faults.put(1, happening);
        };
        faults.put(1, happening);
        store.put(&key("small"), HELLO).await.unwrap();
        hit().await;
        assert_eq!(store.get(&key("small")).await.unwrap(), HELLO);
        hit().await;
        assert_eq!(store.get_range(&key("small"), 1..3).await.unwrap(), "el");
        hit().await;
        store.copy(&key("small"), &key("copy"), Expected::of(&HELLO)).await.unwrap();
        hit().await;
        store.put(&key("large"), bytes.clone()).await.unwrap();
        hit().await;
        store.copy(&key("large"), &key("large-copy"), Expected::of(&bytes)).await.unwrap();
        hit().await;
        assert_eq!(store.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 4);
        hit().await;
        store.delete(permits(&[key("small"), key("copy")])).await.unwrap();
        hit().await;
        assert!(store.get(&key("large-copy")).await.unwrap() == bytes);
        let left: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert_eq!(left.len(), 2);
        // The upload whose begin was not heard of.
        assert_eq!(store.stale_uploads(None, i64::MAX).await.unwrap().len(), 1, "{happening:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_6_a_key_that_the_answer_to_a_delete_does_not_name_is_looked_for() {
    let (config, faults) = flaky(config(None).await);
    let store = store(config);
    let names = [key("a"), key("b")];
    for name in &names {
        store.put(name, HELLO).await.unwrap();
    }
    faults.put(1, Happening::Silent);
    let error = store.delete(permits(&names)).await.unwrap_err();
    let Error::Undeleted { keys, source } = &error else { panic!("{error:?}") };
    assert_eq!((keys.as_slice(), source.retry()), (names.as_slice(), Retry::After), "{error:?}");
    for name in &names {
        assert_eq!(store.get(name).await.unwrap(), HELLO);
    }
    faults.put(1, Happening::SilentAfter);
    store.delete(permits(&names)).await.unwrap();
    assert_eq!(faults.take(), 0);
    assert!(store.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_too_much_to_do_is_asked_again() {
    for happening in [Happening::SlowDownBefore, Happening::SlowDownAfter] {
        let (config, faults) = flaky(config(None).await);
        let store = store(config);
        faults.put(1, happening);
        store.put(&key("a"), HELLO).await.unwrap();
        assert_eq!(faults.take(), 0);
        assert_eq!(store.get(&key("a")).await.unwrap(), HELLO);
    }
}

/// The n-th request of an upload and of a copy in parts fails once, for every n.
#[tokio::test(flavor = "multi_thread")]
async fn s3_4_a_fault_at_any_request_of_a_long_object_leaves_the_object_or_nothing() {
    let bytes = Bytes::from(pattern(11 << 20));
    for happening in [Happening::ErrorAfter, Happening::Refuse] {
        for n in 1.. {
            let (mut config, faults) = flaky(config(None).await);
            config.limits = small_parts();
            let store = store(config);
            faults.put(n, happening);
            let put = store.put(&key("large"), bytes.clone()).await;
            let reached = faults.take() == 0;
            assert_eq!(
                put.is_ok(),
                !reached || happening == Happening::ErrorAfter,
                "request {n}: {put:?}, {:?}",
                faults.seen()
            );
            match store.get(&key("large")).await {
                Ok(found) => assert!(found == bytes, "request {n}: a part of it"),
                Err(Error::NotFound { .. }) => assert!(put.is_err(), "request {n}: {put:?}"),
                Err(other) => panic!("request {n}: {other:?}"),
            }
            // An upload whose begin was not heard of is left for the scan.
            let unheard = usize::from(n == 1 && happening == Happening::ErrorAfter);
            assert_eq!(store.stale_uploads(None, i64::MAX).await.unwrap().len(), unheard, "request {n}");
            if !reached {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_taken_up() {
    let (config, faults) = flaky(config(None).await);
    let store = store(config);
    let bytes = Bytes::from(pattern(3 << 20));
    store.put(&key("a"), bytes.clone()).await.unwrap();
    faults.put(1, Happening::CutBody);
    assert!(store.get(&key("a")).await.unwrap() == bytes);
    assert_eq!(faults.take(), 0);
    faults.put(1, Happening::CutBody);
    assert!(store.get_range(&key("a"), 7..2_000_000).await.unwrap() == bytes.slice(7..2_000_000));
    assert_eq!(faults.take(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_too_much_to_do_for_long_is_a_transient_error() {
    let (mut config, faults) = flaky(config(None).await);
    config.limits.attempts_max = 2;
    let store = store(config);
    faults.always(Happening::SlowDownBefore);
    let error = store.put(&key("a"), HELLO).await.unwrap_err();
    assert!(matches!(error, Error::Transient { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::After);
    assert!(elanus_types::Failure::from(error).message.contains("503 SlowDown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_told_so() {
    let (mut config, faults) = flaky(config(None).await);
    config.limits.attempts_max = 2;
    let store = store(config);
    faults.always(Happening::Full);
    let error = store.put(&key("a"), HELLO).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_conditions_on_copies_is_looked_at_first() {
    let (config, faults) = flaky(config(None).await);
    let store = store(config);
    store.put(&key("from"), HELLO).await.unwrap();
    store.put(&key("taken"), Bytes::from_static(b"longer")).await.unwrap();
    faults.always(Happening::NoConditionalCopy);
    store.copy(&key("from"), &key("to"), Expected::of(&HELLO)).await.unwrap();
    assert_eq!(store.get(&key("to")).await.unwrap(), HELLO);
    let taken = store.copy(&key("from"), &key("taken"), Expected::of(&HELLO)).await;
    assert!(matches!(taken, Err(Error::Exists { .. })), "{taken:?}");
    assert_eq!(store.get(&key("taken")).await.unwrap(), "longer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_is_written_once_so_that_nobody_takes_its_own_write_for_another_s() {
    let (config, faults) = flaky(config(None).await);
    let markers = store(config).markers();
    faults.put(1, Happening::SlowDownAfter);
    let error = markers.create(&key("_elanus/a"), HELLO).await.unwrap_err();
    assert!(matches!(error, Error::Transient { .. }), "{error:?}");
    let found = markers.read(&key("_elanus/a")).await.unwrap().unwrap();
    faults.put(1, Happening::SlowDownAfter);
    let error = markers.replace(&key("_elanus/a"), HELLO, &found.etag).await.unwrap_err();
    assert!(matches!(error, Error::Transient { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_write_is_told_which_rights_it_needs() {
    let server = S3Server::shared().await.unwrap();
    let bucket = server.bucket().await.unwrap();
    let writer = store(config_of(server, &bucket, None, S3User::Writer));
    writer.put(&key("a"), HELLO).await.unwrap();
    let mut config = config_of(server, &bucket, None, S3User::Reader);
    config.limits = small_parts();
    let reader = store(config);
    assert_eq!(reader.get(&key("a")).await.unwrap(), HELLO);
    assert_eq!(reader.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    let rights = "Objects on S3";
    assert_denied(reader.put(&key("b"), HELLO).await, rights);
    assert_denied(reader.put(&key("b"), Bytes::from(pattern(7 << 20))).await, rights);
    assert_denied(reader.copy(&key("a"), &key("b"), Expected::of(&HELLO)).await, rights);
    assert_denied(reader.delete(permits(&[key("a")])).await, rights);
    assert_denied(reader.markers().create(&key("_elanus/a"), HELLO).await, rights);
    assert_eq!(writer.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 1, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_named_and_not_shown() {
    let (access, _) = S3User::Writer.keys();
    let mut config = config(None).await;
    let with = |config: &S3Config, access: &str| {
        let mut config = config.clone();
        let key = S3Config::static_credentials(access, "the-secret-is-wrong", None);
        config.credentials = elanus_objects::s3::SharedCredentialsProvider::new(key);
        store(config)
    };
    assert_denied(with(&config, access).put(&key("a"), HELLO).await, "check AWS_SECRET_ACCESS_KEY");
    assert_denied(with(&config, access).get(&key("a")).await, "check AWS_SECRET_ACCESS_KEY");
    assert_denied(with(&config, access).head(&key("a")).await, "Objects on S3");
    assert_denied(with(&config, "AKNOBODY").get(&key("a")).await, "check AWS_ACCESS_KEY_ID");
    config.credentials = elanus_objects::s3::SharedCredentialsProvider::new(NoCredentials);
    assert_denied(store(config).get(&key("a")).await, "give AWS_ACCESS_KEY_ID");
}

#[derive(Debug)]
struct NoCredentials;

impl aws_credential_types::provider::ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let none = aws_credential_types::provider::error::CredentialsError::not_loaded("no source has any");
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(none))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_not_an_object_that_is_not_there() {
    let server = S3Server::shared().await.unwrap();
    let store = store(config_of(server, "no-such-bucket", Some("root"), S3User::Writer));
    let says = "create the bucket no-such-bucket";
    assert_denied(store.put(&key("a"), HELLO).await, says);
    assert_denied(store.get(&key("a")).await, says);
    assert_denied(store.head(&key("a")).await, says);
    assert_denied(store.checksum(&key("a")).await, says);
    assert_denied(store.copy(&key("a"), &key("b"), Expected::of(&HELLO)).await, says);
    assert_denied(store.list(None).try_collect::<Vec<_>>().await, says);
    assert_denied(store.delete(permits(&[key("a")])).await, says);
    assert_denied(store.markers().read(&key("_elanus/a")).await, says);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_down_is_a_transient_error_and_ends_in_time() {
    let port = elanus_testkit::free_port().unwrap();
    let mut config = config(None).await;
    config.endpoint = Some(format!("http://127.0.0.1:{port}"));
    config.limits.attempts_max = 2;
    let error = store(config).get(&key("a")).await.unwrap_err();
    assert!(matches!(error, Error::Transient { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_never_answers_is_a_transient_error_and_ends_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(None).await;
    config.endpoint = Some(format!("http://{}", silent.local_addr().unwrap()));
    config.limits.attempts_max = 2;
    config.limits.attempt_max = Duration::from_millis(200);
    let error = store(config).get(&key("a")).await.unwrap_err();
    assert!(matches!(error, Error::Transient { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_region_and_a_redirect_say_what_to_set() {
    let (config, faults) = flaky(config(None).await);
    let store = store(config);
    faults.always(Happening::OtherRegion);
    assert_denied(store.put(&key("a"), HELLO).await, "is in another region");
    assert_denied(store.head(&key("a")).await, "is in another region");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_said_and_may_be_set() {
    let (mut config, faults) = flaky(config(None).await);
    config.limits.attempts_max = 2;
    faults.always(Happening::Skewed);
    let error = store(config).put(&key("a"), HELLO).await.unwrap_err();
    assert!(matches!(error, Error::Transient { .. }), "{error:?}");
    assert!(elanus_types::Failure::from(error).message.contains("set the clock of this machine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_has_what_it_answered() {
    let server = S3Server::start().await.unwrap();
    let bucket = server.bucket().await.unwrap();
    let mut config = config_of(&server, &bucket, None, S3User::Writer);
    config.limits.attempts_max = 1;
    let store = store(config);
    store.put(&key("a"), HELLO).await.unwrap();
    server.kill9().unwrap();
    let error = store.get(&key("a")).await.unwrap_err();
    assert!(matches!(error, Error::Transient { .. }), "{error:?}");
    server.restart().await.unwrap();
    assert_eq!(store.get(&key("a")).await.unwrap(), HELLO);
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_host_style_puts_the_bucket_into_the_host_name() {
    let (mut config, faults) = flaky(config(None).await);
    config.style = elanus_objects::s3::AddressStyle::VirtualHost;
    config.location = S3Location { bucket: "my-bucket".to_owned(), root: Some(key("root")) };
    config.endpoint = Some("http://s3.example.com".to_owned());
    config.limits.attempts_max = 1;
    faults.always(Happening::Refuse);
    let _refused = store(config).get(&key("a/b")).await;
    assert_eq!(faults.seen().last().unwrap(), "GET http://my-bucket.s3.example.com/root/a/b");
}

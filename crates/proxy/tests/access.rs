//! The door of a proxy in front of services that stand still: who is let in, and what does not depend on the metadata store.
//! What users may, is tried with pymilvus in `tests/python/security.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with tests of other things")]
mod fakes;

use elanus_proto::{
    admin::admin_client::AdminClient,
    datacoord as dc,
    milvus::{self as m, milvus_service_client::MilvusServiceClient},
    transport::{Channel, admin_client, admin_server, milvus_client, milvus_server},
};
use elanus_proxy::Guarded;
use fakes::Fakes;
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use prost_reflect::DescriptorPool;
use std::time::{Duration, Instant};
use tonic::{Code, Status, body::Body};
use tower::Service as _;

/// `root:Milvus` and `plain:Milvus`, as clients send them.
const ROOT: &str = "cm9vdDpNaWx2dXM=";
const PLAIN: &str = "cGxhaW46TWlsdnVz";
/// Of the password Milvus.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$ZWxhbnVzLnJvb3Quc2FsdA$Krz8QULXL80W5+4F3gI/FSZLOIBw5980FWKslXw+0zI";
/// Of another one.
const OTHER_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$ZWxhbnVzLnJvb3Quc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn state(version: i64, hash: &str) -> dc::SecurityState {
    let user = |name: &str| dc::SecurityUser {
        name: name.to_owned(),
        password_hash: hash.to_owned(),
        ..dc::SecurityUser::default()
    };
    dc::SecurityState { version, users: vec![user("plain"), user("root")], ..dc::SecurityState::default() }
}

fn secured() -> Fakes {
    let fakes = Fakes::default();
    fakes.seen().security = Some(state(1, HASH));
    fakes
}

fn client(fakes: &Fakes, token: &'static str) -> MilvusServiceClient<Channel> {
    let proxy = fakes.proxy().with_authorization();
    let channel = Channel::in_process(Guarded::new(milvus_server(proxy.clone()), proxy));
    milvus_client(channel.showing(AUTHORIZATION, HeaderValue::from_static(token)))
}

fn operator(fakes: &Fakes, token: &'static str) -> Channel {
    let proxy = fakes.proxy().with_authorization();
    let channel = Channel::in_process(Guarded::new(admin_server(proxy.clone()), proxy));
    channel.showing(AUTHORIZATION, HeaderValue::from_static(token))
}

async fn version(client: &MilvusServiceClient<Channel>) -> Result<String, Code> {
    let answer = client.clone().get_version(m::GetVersionRequest::default()).await;
    answer.map(|answer| answer.into_inner().version).map_err(|status| status.code())
}

#[tokio::test]
async fn ac_2_a_call_that_came_past_the_door_is_not_answered() {
    let proxy = secured().proxy().with_authorization();
    let open = milvus_client(Channel::in_process(milvus_server(proxy)));
    assert_eq!(version(&open).await, Err(Code::Unauthenticated));
    let forged = Channel::in_process(milvus_server(secured().proxy().with_authorization()));
    let forged = forged.showing(HeaderName::from_static("identity"), HeaderValue::from_static("root"));
    assert_eq!(version(&milvus_client(forged)).await, Err(Code::Unauthenticated));
}

#[tokio::test]
async fn ac_1_the_message_of_a_stranger_is_not_read() {
    struct Never;
    impl http_body::Body for Never {
        type Data = bytes::Bytes;
        type Error = Status;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            panic!("it was read")
        }
    }
    let fakes = secured();
    let proxy = fakes.proxy().with_authorization();
    let mut server = Guarded::new(milvus_server(proxy.clone()), proxy);
    for token in [None, Some("x"), Some("cm9vdDp3cm9uZw==")] {
        let mut request =
            http::Request::post("/milvus.proto.milvus.MilvusService/Insert").body(Body::new(Never)).unwrap();
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static(token));
        }
        let response = server.call(request).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::Unauthenticated, "{token:?}");
    }
}

#[tokio::test]
async fn ac_4_another_proxy_hears_of_a_new_password_within_seconds() {
    let fakes = secured();
    let root = client(&fakes, ROOT);
    assert!(version(&root).await.is_ok());
    fakes.seen().security = Some(state(2, OTHER_HASH));
    let begun = Instant::now();
    while version(&root).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it still lets the old one in");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(version(&root).await, Err(Code::Unauthenticated));
    // What is asked costs one row where nothing changed.
    assert!(fakes.seen().security_asked < 1_000);
}

#[tokio::test]
async fn without_the_coordinator_nobody_is_let_in_and_clients_try_again() {
    let fakes = Fakes::default();
    assert_eq!(version(&client(&fakes, ROOT)).await, Err(Code::Unavailable));
}

#[tokio::test]
async fn a_password_is_compared_once_and_not_with_every_call() {
    let root = client(&secured(), ROOT);
    assert!(version(&root).await.is_ok());
    let begun = Instant::now();
    for _ in 0..300 {
        assert!(version(&root).await.is_ok());
    }
    // Comparing takes ten milliseconds and more.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn ac_2_no_call_for_operators_is_answered_to_a_stranger_or_to_whom_it_is_not_allowed() {
    let fakes = secured();
    let pool = DescriptorPool::decode(elanus_proto::FILE_DESCRIPTOR_SET).unwrap();
    let service = pool.get_service_by_name("elanus.admin.v1.Admin").unwrap();
    let mut calls = 0;
    for method in service.methods() {
        let path = format!("/elanus.admin.v1.Admin/{}", method.name());
        for (token, expected) in [("x", Code::Unauthenticated), (PLAIN, Code::PermissionDenied)] {
            let status = empty_call(operator(&fakes, token), &path).await;
            assert_eq!(status.as_ref().map(Status::code), Some(expected), "{path}: {status:?}");
        }
        calls += 1;
    }
    assert!(calls > 20);
    let mut root: AdminClient<Channel> = admin_client(operator(&fakes, ROOT));
    let answer = root.get_status(elanus_proto::admin::StatusRequest::default()).await.unwrap_err();
    assert!(answer.message().contains("the proxy asked for get_status"), "{answer}");
}

/// A message without anything in it.
async fn empty_call(mut channel: Channel, path: &str) -> Option<Status> {
    let body = Body::new(http_body_util::Full::new(bytes::Bytes::from_static(&[0, 0, 0, 0, 0])));
    let mut request = http::Request::post(path).body(body).unwrap();
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    let response = channel.call(request).await.unwrap();
    Status::from_header_map(response.headers())
}

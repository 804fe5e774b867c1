//! Tokens between services.

use crate::world::{Served, call, serve, write};
use elanus_proto::transport::{Channel, Dial};
use elanus_runtime::grpc::GrpcConfig;
use elanus_trust::{Found, Source, Tokens};
use tonic::codegen::http;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceExt as _;

const OLD: &str = "0123456789abcdef-old";
const NEW: &str = "0123456789abcdef-new";

fn tokens(text: &str) -> Tokens {
    Tokens::given("--services-token", text).unwrap()
}

async fn demanding(text: &str) -> Served {
    serve(GrpcConfig { tokens: Some(tokens(text)), ..GrpcConfig::default() }).await
}

#[tokio::test]
async fn a_call_without_a_token_is_refused_and_told_what_to_do() {
    let served = demanding(OLD).await;
    let with = |text: &str| Dial::new(None, Some(tokens(text)));
    assert_eq!(call(&with(OLD), "localhost", &served).await, Ok(()));
    for (dial, says) in [(Dial::default(), "the call has none: give"), (with(NEW), "with a token in common")] {
        let error = call(&dial, "localhost", &served).await.unwrap_err();
        assert!(error.starts_with("Unauthenticated") && error.contains(says), "{error}");
        assert!(error.contains("--services-token-file") && !error.contains("0123456789"), "{error}");
    }
    // A server that demands none is not told off by one that has some.
    let open = serve(GrpcConfig::default()).await;
    assert!(call(&Dial::default(), "localhost", &open).await.is_ok());
}

#[tokio::test]
async fn tokens_are_changed_without_a_break() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), OLD).unwrap();
    let shown = Tokens::in_file(Source::new("--services-token-file", file.path())).unwrap();
    let dial = Dial::new(None, Some(shown.clone()));
    // One connection through all of it.
    let (before, both, after) = (demanding(OLD).await, demanding(&format!("{NEW},{OLD}")).await, demanding(NEW).await);
    let channel = |served: &Served| dial.to(&format!("localhost:{}", served.port)).unwrap();
    let (before, both, after) = (channel(&before), channel(&both), channel(&after));
    assert!(write(before.clone()).await.is_ok() && write(both.clone()).await.is_ok());
    assert!(write(after.clone()).await.is_err());
    std::fs::write(file.path(), format!("{NEW}\n{OLD}\n")).unwrap();
    assert_eq!(shown.watch().unwrap().look(0), Found::Changed);
    assert!(write(both).await.is_ok() && write(after).await.is_ok());
    assert!(write(before).await.is_err());
}

async fn grpc_code(channel: Channel, path: &str) -> String {
    let request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::empty())
        .unwrap();
    let answer = channel.oneshot(request).await.unwrap();
    answer.headers().get("grpc-status").map_or(String::new(), |code| code.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn health_and_reflection_need_none_and_everything_else_does() {
    let served = demanding(OLD).await;
    let channel = Channel::to(&format!("localhost:{}", served.port)).unwrap();
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status, 1);
    const UNAUTHENTICATED: &str = "16";
    for path in ["/elanus.datanode.v1.DataNode/Write", "/elanus.datanode.v1.DataNode/NoSuchCall", "/no.such/Call", "/"]
    {
        assert_eq!(grpc_code(channel.clone(), path).await, UNAUTHENTICATED, "{path}");
    }
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    assert_ne!(grpc_code(channel, reflection).await, UNAUTHENTICATED);
}

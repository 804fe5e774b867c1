//! What is told of a call between services: the client's side. The server's is in `elanus_runtime::served`.

use crate::convert::failure_from_grpc;
use crate::transport::{Channel, ChannelError};
use elanus_trace::{Instrument as _, Span};
use elanus_types::Failure;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::{Status, body::Body};
use tower::Service;

/// Service and method of a path, `/elanus.datacoord.v1.DataCoord/CreateSnapshot`.
#[must_use]
pub fn service_and_method(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    path.split_once('/').unwrap_or((path, ""))
}

/// What a gRPC answer failed with. What fails after its first message is not seen: no call of Elanus does.
#[must_use]
pub fn failure_of(response: &http::Response<Body>) -> Option<(tonic::Code, Failure)> {
    let status = Status::from_header_map(response.headers())?;
    (status.code() != tonic::Code::Ok).then(|| (status.code(), failure_from_grpc(status)))
}

/// Tells a span how its call ended.
pub fn tell(span: &Span, code: tonic::Code, failure: Option<&Failure>) {
    span.record("rpc.grpc.status_code", i32::from(code));
    if let Some(failure) = failure {
        span.record("elanus.code", failure.code.number());
        elanus_trace::span_failed(span, &failure.message);
    }
}

/// A channel whose calls are spans, where a request is traced, and say so to the server.
#[derive(Clone)]
pub(crate) struct Traced(pub(crate) Channel);

impl Service<http::Request<Body>> for Traced {
    type Response = http::Response<Body>;
    type Error = ChannelError;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, ChannelError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if !elanus_trace::is_on() {
            return Box::pin(self.0.call(request));
        }
        let path = request.uri().path();
        let (service, method) = service_and_method(path);
        let span = elanus_trace::inner!(
            "call",
            otel.name = path.trim_start_matches('/'),
            otel.kind = "client",
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = method,
            rpc.grpc.status_code = tracing::field::Empty,
            elanus.code = tracing::field::Empty,
            server.address = tracing::field::Empty,
        );
        elanus_trace::inject(&span, request.headers_mut());
        let answer = span.in_scope(|| self.0.call(request));
        let told = span.clone();
        Box::pin(
            async move {
                let answer = answer.await;
                match &answer {
                    Ok(response) => match failure_of(response) {
                        Some((code, failure)) => tell(&told, code, Some(&failure)),
                        None => tell(&told, tonic::Code::Ok, None),
                    },
                    Err(error) => elanus_trace::span_failed(&told, &error.to_string()),
                }
                answer
            }
            .instrument(span),
        )
    }
}

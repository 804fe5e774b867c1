//! A service as it is served: its calls are counted, and part of the traces of those who call it.
//!
//! Around every generated server once, whether it is reached over the network or inside the process. A call of a service
//! of the cluster that is not part of a trace begins none: services ask each other all day. One from outside does.

use elanus_proto::calls::{failure_of, service_and_method, tell};
use elanus_trace::{Instrument as _, Span};
use futures::future::BoxFuture;
use http::{Request, Response};
use std::{
    convert::Infallible,
    fmt,
    task::{Context, Poll},
    time::Instant,
};
use tonic::{Code, body::Body, server::NamedService};
use tower::Service;

/// A generated server, or what stands for one.
#[derive(Clone)]
pub struct Served<S> {
    inner: S,
    edge: bool,
}

impl<S> Served<S> {
    /// For the other services of the cluster.
    #[must_use]
    pub fn inside(inner: S) -> Self {
        Self { inner, edge: false }
    }

    /// For clients.
    #[must_use]
    pub fn at_the_edge(inner: S) -> Self {
        Self { inner, edge: true }
    }
}

impl<S> fmt::Debug for Served<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("edge", &self.edge).finish_non_exhaustive()
    }
}

impl<S: NamedService> NamedService for Served<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Served<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let (service, method) = service_and_method(path);
        let (service, method) = (short(service).to_owned(), method.to_owned());
        let span = span(path, self.edge, elanus_trace::extract(request.headers()));
        let started = Instant::now();
        let answer = span.in_scope(|| self.inner.call(request));
        let told = span.clone();
        Box::pin(
            async move {
                let response = answer.await?;
                let (code, failure) = match failure_of(&response) {
                    Some((code, failure)) => (code, Some(failure)),
                    None => (Code::Ok, None),
                };
                // What clients are told of failures in the Milvus API is in the answer, and its calls are counted there.
                let is_milvus = service == MILVUS;
                if !is_milvus {
                    // Whoever asks for what is not there does not make new metrics.
                    let method = if code == Code::Unimplemented { "other".to_owned() } else { method };
                    let failed = failure.as_ref().map_or(0, |failure| failure.code.number());
                    count(service, method, failed, started);
                }
                if !told.is_disabled() && (code != Code::Ok || !is_milvus) {
                    tell(&told, code, failure.as_ref());
                }
                Ok(response)
            }
            .instrument(span),
        )
    }
}

const MILVUS: &str = "MilvusService";

/// `elanus.datacoord.v1.DataCoord` without its package.
fn short(service: &str) -> &str {
    service.rsplit_once('.').map_or(service, |(_, name)| name)
}

fn span(path: &str, edge: bool, parent: Option<elanus_trace::Context>) -> Span {
    if !elanus_trace::is_on() || (!edge && parent.is_none()) {
        return Span::none();
    }
    let (service, method) = service_and_method(path);
    let span = elanus_trace::span!(
        "served",
        otel.name = path.trim_start_matches('/'),
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = tracing::field::Empty,
        elanus.code = tracing::field::Empty,
    );
    // Also without one: what is called inside this process is part of what its headers say, and of nothing else.
    elanus_trace::attach(&span, parent.unwrap_or_default());
    span
}

fn count(service: String, method: String, code: i32, started: Instant) {
    let took = started.elapsed().as_secs_f64();
    let (of, by) = (service.clone(), method.clone());
    metrics::counter!("elanus_rpc_calls_total", "code" => code.to_string(), "method" => method, "service" => service)
        .increment(1);
    metrics::histogram!("elanus_rpc_call_duration_seconds", "method" => by, "service" => of).record(took);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_without_its_package() {
        assert_eq!(short("elanus.datacoord.v1.DataCoord"), "DataCoord");
        assert_eq!(short("milvus.proto.milvus.MilvusService"), MILVUS);
        assert_eq!(short("Alone"), "Alone");
        assert_eq!(service_and_method("/a.b.C/Do"), ("a.b.C", "Do"));
        assert_eq!(service_and_method("/odd"), ("odd", ""));
    }
}

//! In front of a coordinator that callers reach over the network: when another one took over, they are sent on to it.
//!
//! What a fenced coordinator answers with UNAVAILABLE was refused by the metadata, for it could not prove its epoch; what
//! an earlier transaction of the same call had begun is given up by the later coordinator, or goes on with the same request
//! there. So the call may be sent to that one as if nothing had been done.

use crate::DataCoord;
use elanus_meta::Coordinator;
use elanus_proto::datacoord::data_coord_server::DataCoordServer;
use elanus_proto::transport::{REFUSED, datacoord_server, refuse};
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use std::convert::Infallible;
use std::task::{Context, Poll};
use tonic::body::Body;
use tower::Service;

const UNAVAILABLE: &str = "14";

#[derive(Clone)]
pub(crate) struct Gate {
    server: DataCoordServer<DataCoord>,
    coordinator: Coordinator,
}

impl Gate {
    pub(crate) fn new(datacoord: DataCoord, coordinator: Coordinator) -> Self {
        Self { server: datacoord_server(datacoord), coordinator }
    }
}

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.coordinator.is_fenced() {
            return Box::pin(std::future::ready(Ok(refuse("another coordinator took over"))));
        }
        let (answer, coordinator) = (self.server.call(request), self.coordinator.clone());
        Box::pin(async move {
            let mut response = answer.await?;
            let unavailable = response.headers().get("grpc-status").is_some_and(|status| status == UNAVAILABLE);
            if unavailable && coordinator.is_fenced() {
                response.headers_mut().insert(REFUSED, HeaderValue::from_static("1"));
            }
            Ok(response)
        })
    }
}

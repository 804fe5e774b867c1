//! A channel to a service that does not exist yet: two services that call each other are built one after the other.
//!
//! Until the service is there, and after it has gone, calls are refused with UNAVAILABLE before anything is done of them:
//! callers try again, here or elsewhere.

use elanus_proto::transport::{Channel, refuse};
use futures::future::BoxFuture;
use http::{Request, Response};
use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt as _};

/// A place for a channel that is filled later. Clones are the same place.
#[derive(Clone, Default)]
pub struct LateChannel(Arc<Mutex<Option<Channel>>>);

impl LateChannel {
    /// An empty place.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What clients are built with, now.
    #[must_use]
    pub fn channel(&self) -> Channel {
        Channel::in_process(self.clone())
    }

    /// From now on calls go to `channel`.
    pub fn set(&self, channel: Channel) {
        self.put(Some(channel));
    }

    /// From now on calls are answered with UNAVAILABLE. Ends the circle of two services that hold each other.
    pub fn clear(&self) {
        self.put(None);
    }

    fn put(&self, channel: Option<Channel>) {
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), channel);
        // Outside the lock: a service may end with it.
        drop(before);
    }
}

impl Service<Request<Body>> for LateChannel {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let channel = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            Ok(match channel {
                Some(channel) => {
                    let answer = channel.oneshot(request).await.map_err(Status::from_error);
                    answer.unwrap_or_else(Status::into_http)
                }
                None => refuse("the service is not there: the process is starting, standing by or stopping"),
            })
        })
    }
}

impl fmt::Debug for LateChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LateChannel")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::{
        datanode::{
            AssignTaskRequest, AssignTaskResponse, DropTaskRequest, DropTaskResponse, WriteRequest, WriteResponse,
            data_node_server::DataNode,
        },
        transport::{datanode_client, datanode_server},
    };
    use tonic::Code;

    struct Answers;

    #[tonic::async_trait]
    impl DataNode for Answers {
        async fn write(&self, _: tonic::Request<WriteRequest>) -> Result<tonic::Response<WriteResponse>, Status> {
            Ok(tonic::Response::new(WriteResponse { timestamp: 7 }))
        }

        async fn assign_task(
            &self,
            _: tonic::Request<AssignTaskRequest>,
        ) -> Result<tonic::Response<AssignTaskResponse>, Status> {
            Err(Status::resource_exhausted("no slot"))
        }

        async fn drop_task(
            &self,
            _: tonic::Request<DropTaskRequest>,
        ) -> Result<tonic::Response<DropTaskResponse>, Status> {
            Ok(tonic::Response::new(DropTaskResponse {}))
        }
    }

    #[tokio::test]
    async fn a_call_is_refused_as_unavailable_until_the_service_is_there_and_after_it_went() {
        let late = LateChannel::new();
        let mut client = datanode_client(late.channel());
        let refused = client.write(WriteRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);

        late.set(Channel::in_process(datanode_server(Answers)));
        let answer = client.write(WriteRequest::default()).await.unwrap();
        assert_eq!(answer.into_inner().timestamp, 7);
        let refused = client.assign_task(AssignTaskRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "the service's own answer");

        late.clear();
        let refused = client.write(WriteRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
    }
}

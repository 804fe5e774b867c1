//! How a service is called: one channel type, whether it runs in the same process or behind a socket.
//!
//! In one process the generated client drives the generated server directly: the same bytes, no socket.
//! The functions at the end are the only places where clients and servers are made, so that both sides keep one limit.

mod dial;

pub use dial::{Dial, TOKEN};

use crate::{
    admin::{admin_client::AdminClient, admin_server::AdminServer},
    datacoord::{data_coord_client::DataCoordClient, data_coord_server::DataCoordServer},
    datanode::{data_node_client::DataNodeClient, data_node_server::DataNodeServer},
    milvus::{milvus_service_client::MilvusServiceClient, milvus_service_server::MilvusServiceServer},
    querynode::{query_node_client::QueryNodeClient, query_node_server::QueryNodeServer},
};
use std::{
    convert::Infallible,
    error::Error,
    fmt,
    task::{Context, Poll},
};
use tonic::body::Body;
use tower::{Service, ServiceExt as _, util::BoxCloneSyncService};

/// Longest message that any service takes or sends, in bytes. Clients insert tens of megabytes in one call.
pub const MESSAGE_BYTES_MAX: usize = 512 << 20;

/// Why a call did not reach its service.
pub type ChannelError = Box<dyn Error + Send + Sync>;

/// Where a generated client sends its calls. Cheap to clone; calls of clones run at the same time.
#[derive(Clone)]
pub struct Channel(BoxCloneSyncService<http::Request<Body>, http::Response<Body>, ChannelError>);

impl Channel {
    /// Calls go to this generated server (or a router of several) in this process.
    pub fn in_process<S>(server: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Self(BoxCloneSyncService::new(server.map_err(|never| match never {})))
    }

    /// Every call shows this.
    #[must_use]
    pub fn showing(self, name: http::HeaderName, value: http::HeaderValue) -> Self {
        Self(BoxCloneSyncService::new(self.map_request(move |mut request: http::Request<_>| {
            request.headers_mut().insert(name.clone(), value.clone());
            request
        })))
    }

    /// As clients have it: the calls of a traced request are part of it, wherever they go.
    fn traced(self) -> Self {
        Self(BoxCloneSyncService::new(crate::calls::Traced(self)))
    }
}

/// On an answer: this process refused the call before it did anything of it, and another one may serve it.
pub const REFUSED: http::HeaderName = http::HeaderName::from_static("elanus-refused");

/// Which collection a call is about. A channel that has several servers to choose from chooses by it; no server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About(pub i64);

/// A request that says which collection it is about.
pub fn about<T>(collection_id: i64, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(About(collection_id));
    request
}

/// A status that says that nothing was done, and that another process may be asked.
#[must_use]
pub fn refuse(why: &str) -> http::Response<Body> {
    let mut response = tonic::Status::unavailable(why).into_http();
    response.headers_mut().insert(REFUSED, http::HeaderValue::from_static("1"));
    response
}

/// True for an error of a call that never left this process: the server could not be connected to.
#[must_use]
pub fn was_not_sent(error: &ChannelError) -> bool {
    let mut error: Option<&(dyn Error + 'static)> = Some(&**error);
    while let Some(inner) = error {
        if inner.is::<tonic::ConnectError>() {
            return true;
        }
        error = inner.source();
    }
    false
}

impl Channel {
    /// Calls go to a server on the network, at `host:port`, as they are: see [`Dial`].
    ///
    /// # Errors
    /// When this is no address.
    pub fn to(address: &str) -> Result<Self, ChannelError> {
        Dial::default().to(address)
    }
}

impl From<tonic::transport::Channel> for Channel {
    fn from(channel: tonic::transport::Channel) -> Self {
        Self(BoxCloneSyncService::new(channel.map_err(ChannelError::from)))
    }
}

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = ChannelError;
    type Future = <BoxCloneSyncService<http::Request<Body>, http::Response<Body>, ChannelError> as Service<
        http::Request<Body>,
    >>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel")
    }
}

macro_rules! ends {
    ($($what:literal: $client_fn:ident -> $client:ident, $server_fn:ident -> $server:ident of $service:path;)*) => {$(
        #[doc = concat!("A client of ", $what, " with the message limit of Elanus.")]
        #[must_use]
        pub fn $client_fn(channel: Channel) -> $client<Channel> {
            $client::new(channel.traced())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        }

        #[doc = concat!("A server of ", $what, " with the message limit of Elanus.")]
        #[must_use]
        pub fn $server_fn<S: $service>(service: S) -> $server<S> {
            $server::new(service)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        }
    )*};
}

ends! {
    "the coordinator": datacoord_client -> DataCoordClient,
        datacoord_server -> DataCoordServer of crate::datacoord::data_coord_server::DataCoord;
    "a data node": datanode_client -> DataNodeClient,
        datanode_server -> DataNodeServer of crate::datanode::data_node_server::DataNode;
    "a query node": querynode_client -> QueryNodeClient,
        querynode_server -> QueryNodeServer of crate::querynode::query_node_server::QueryNode;
    "the Milvus API": milvus_client -> MilvusServiceClient,
        milvus_server -> MilvusServiceServer of crate::milvus::milvus_service_server::MilvusService;
    "the calls for operators": admin_client -> AdminClient,
        admin_server -> AdminServer of crate::admin::admin_server::Admin;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{convert, datanode as dn};
    use bytes::Bytes;
    use elanus_types::{Code, Failure};
    use tonic::{Request, Response, Status, async_trait};

    #[derive(Clone)]
    struct Echo;

    #[async_trait]
    impl dn::data_node_server::DataNode for Echo {
        async fn write(&self, request: Request<dn::WriteRequest>) -> Result<Response<dn::WriteResponse>, Status> {
            let bytes = request.into_inner().rows.iter().map(|rows| rows.arrow_ipc.len() as u64).sum();
            Ok(Response::new(dn::WriteResponse { timestamp: bytes }))
        }

        async fn assign_task(
            &self,
            _: Request<dn::AssignTaskRequest>,
        ) -> Result<Response<dn::AssignTaskResponse>, Status> {
            Err(convert::failure_to_grpc(Failure::new(Code::SnapshotNotFound, "snapshot not found[snapshot=x]")))
        }

        async fn drop_task(&self, _: Request<dn::DropTaskRequest>) -> Result<Response<dn::DropTaskResponse>, Status> {
            Ok(Response::new(dn::DropTaskResponse {}))
        }
    }

    #[tokio::test]
    async fn a_service_in_the_same_process_takes_large_messages_and_tells_its_failures() {
        let channel = Channel::in_process(datanode_server(Echo));
        let mut client = datanode_client(channel.clone());
        let rows = dn::RowBatch { partition_id: 1, arrow_ipc: Bytes::from(vec![7; 40 << 20]) };
        let request = dn::WriteRequest { collection_id: 1, rows: vec![rows], deletes: Vec::new() };
        assert_eq!(client.write(request).await.unwrap().into_inner().timestamp, 40 << 20);

        let refused = datanode_client(channel).assign_task(dn::AssignTaskRequest::default()).await.unwrap_err();
        let failure = convert::failure_from_grpc(refused);
        assert_eq!(failure, Failure::new(Code::SnapshotNotFound, "snapshot not found[snapshot=x]"));
    }
}

//! A data node that only counts, behind a listener of any kind.

use elanus_proto::{
    datanode::{
        AssignTaskRequest, AssignTaskResponse, DropTaskRequest, DropTaskResponse, WriteRequest, WriteResponse,
        data_node_server::DataNode,
    },
    transport::{Channel, Dial, datanode_client, datanode_server},
};
use elanus_runtime::grpc::{self, GrpcConfig};
use elanus_testkit::{Authority, Pair};
use elanus_trust::{ClientFiles, ClientTls, Protocol, ServerFiles, ServerTls, Source, Version};
use elanus_types::{Clock as _, SystemClock};
use std::path::PathBuf;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, service::Routes};

pub(crate) struct Node;

#[tonic::async_trait]
impl DataNode for Node {
    async fn write(&self, request: Request<WriteRequest>) -> Result<Response<WriteResponse>, Status> {
        assert!(request.metadata().get("elanus-services-token").is_none(), "no service sees a token");
        Ok(Response::new(WriteResponse { timestamp: 7 }))
    }

    async fn assign_task(&self, _: Request<AssignTaskRequest>) -> Result<Response<AssignTaskResponse>, Status> {
        Ok(Response::new(AssignTaskResponse::default()))
    }

    async fn drop_task(&self, _: Request<DropTaskRequest>) -> Result<Response<DropTaskResponse>, Status> {
        Ok(Response::new(DropTaskResponse::default()))
    }
}

pub(crate) fn now_s() -> i64 {
    SystemClock.now_ms() / 1_000
}

/// A server; it ends with this value.
pub(crate) struct Served {
    pub(crate) port: u16,
    _stop: DropGuard,
}

pub(crate) async fn serve(config: GrpcConfig) -> Served {
    let listener = grpc::bind(([127, 0, 0, 1], 0).into(), "--listen").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    tokio::spawn(grpc::serve(listener, Routes::new(datanode_server(Node)), config, stop.clone()));
    Served { port, _stop: stop.drop_guard() }
}

pub(crate) async fn serve_tls(tls: &ServerTls) -> Served {
    serve(GrpcConfig { tls: Some(tls.clone()), ..GrpcConfig::default() }).await
}

pub(crate) fn server_files(pair: &Pair, client_ca: Option<PathBuf>) -> ServerFiles {
    ServerFiles {
        cert: Source::new("--tls-cert", &pair.cert),
        key: Source::new("--tls-key", &pair.key),
        client_ca: client_ca.map(|path| Source::new("--tls-client-ca", path)),
        oldest: Version::Tls12,
    }
}

/// With a certificate of this machine; clients must have one of the same authority.
pub(crate) fn mutual(authority: &Authority) -> ServerTls {
    let pair = authority.issue("server").unwrap();
    ServerTls::open(server_files(&pair, Some(authority.ca())), Protocol::Http2, now_s()).unwrap()
}

/// Trusts this authority, and shows this certificate.
pub(crate) fn client(trusted: &Authority, shown: Option<&Pair>, name: Option<&str>) -> ClientTls {
    let identity = shown.map(|pair| (Source::new("--tls-cert", &pair.cert), Source::new("--tls-key", &pair.key)));
    let ca = Some(Source::new("--tls-ca", trusted.ca()));
    let files = ClientFiles { ca, identity, server_name: name.map(str::to_owned), oldest: Version::Tls12 };
    ClientTls::open(files, "--tls-server-name", now_s()).unwrap()
}

pub(crate) fn dial(tls: ClientTls) -> Dial {
    Dial::new(Some(tls), None)
}

/// One write; the text of everything that is wrong.
pub(crate) async fn call(dial: &Dial, host: &str, served: &Served) -> Result<(), String> {
    write(dial.to(&format!("{host}:{}", served.port)).unwrap()).await
}

pub(crate) async fn write(channel: Channel) -> Result<(), String> {
    match datanode_client(channel).write(WriteRequest::default()).await {
        Ok(answer) => {
            assert_eq!(answer.into_inner().timestamp, 7);
            Ok(())
        }
        Err(status) => {
            let mut text = format!("{:?} {}", status.code(), status.message());
            let mut error: Option<&dyn std::error::Error> = std::error::Error::source(&status);
            while let Some(inner) = error {
                text.push_str(&format!(": {inner}"));
                error = inner.source();
            }
            Err(text)
        }
    }
}

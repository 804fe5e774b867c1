//! What clients ask before and between their calls: who is there, is it well, what time is it.

use crate::{
    Proxy,
    backend::{Call, answer},
};
use elanus_proto::{common, datacoord as dc, milvus as m};
use elanus_types::{Failure, Timestamp, schema::DEFAULT_DATABASE};

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) async fn connect(proxy: &Proxy, _: &Call, _: m::ConnectRequest) -> Result<m::ConnectResponse, Failure> {
    Ok(m::ConnectResponse {
        server_info: Some(common::ServerInfo {
            build_tags: format!("elanus-{VERSION}"),
            ..common::ServerInfo::default()
        }),
        // Clients send it back with every call; nothing depends on it.
        identifier: Timestamp::from_ms(proxy.clock.now_ms()).0,
        ..m::ConnectResponse::default()
    })
}

pub(crate) async fn get_version(
    _: &Proxy,
    _: &Call,
    _: m::GetVersionRequest,
) -> Result<m::GetVersionResponse, Failure> {
    Ok(m::GetVersionResponse { version: format!("elanus-{VERSION}"), ..m::GetVersionResponse::default() })
}

/// Healthy when the coordinator answers.
pub(crate) async fn check_health(
    proxy: &Proxy,
    _: &Call,
    _: m::CheckHealthRequest,
) -> Result<m::CheckHealthResponse, Failure> {
    let request = dc::ListCollectionsRequest { db_name: DEFAULT_DATABASE.to_owned() };
    let asked = answer(proxy.datacoord().list_collections(request)).await;
    Ok(m::CheckHealthResponse {
        is_healthy: asked.is_ok(),
        reasons: asked.err().map(|failure| format!("the coordinator does not answer: {failure}")).into_iter().collect(),
        ..m::CheckHealthResponse::default()
    })
}

pub(crate) async fn alloc_timestamp(
    proxy: &Proxy,
    _: &Call,
    _: m::AllocTimestampRequest,
) -> Result<m::AllocTimestampResponse, Failure> {
    let timestamp = answer(proxy.datacoord().allocate_timestamp(dc::Empty {})).await?.timestamp;
    Ok(m::AllocTimestampResponse { timestamp, ..m::AllocTimestampResponse::default() })
}

//! The official Rust client against standalone. `cargo xtask e2e` has it speak to the services.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use elanus_e2e::rust_client;
use elanus_testkit::Server;

#[tokio::test]
async fn the_official_rust_client_writes_and_reads() {
    let server = Server::start().await.unwrap();
    rust_client::writes_and_reads(&server.url()).await;
}

#[tokio::test]
async fn the_official_rust_client_takes_and_restores_snapshots() {
    let server = Server::start().await.unwrap();
    rust_client::snapshots(&server.url()).await;
}

//! The services as processes of their own, on PostgreSQL, NATS and SeaweedFS or a directory that they share, through the real
//! Python client and an independent one: they find each other, come and go, are killed and paused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copies;
mod deaths;
mod encrypted;
mod events;
mod together;
mod world;

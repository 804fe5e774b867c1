//! Promises of the query node: views against a naive model, and the service over a real metadata store.

mod groups;
mod past;
mod service;
mod ttl;
mod views;
mod world;

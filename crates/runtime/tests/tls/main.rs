//! Who gets in and who does not: TLS, certificates and tokens, over real sockets.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod management;
mod pairs;
mod reload;
mod tokens;
mod world;

//! Whom a process talks to: TLS for listeners and connections, and the tokens that services show each other.
//!
//! * [`ServerTls`]: of a listener. [`TlsListener`] does the handshakes, many at a time.
//! * [`ClientTls`]: of connections to one kind of server.
//! * [`Tokens`]: secrets that services share.
//! * [`Watch`]: all three are read from files, and read again when these change.
//!
//! TR-1  A file that cannot be used when a process starts keeps it from starting; one that becomes so later changes nothing:
//!       what was read last stays in force.
//! TR-2  Certificate and key are taken together, or not at all.
//! TR-3  No key and no token is in a text, a log or a `Debug`.
//!
//! Nothing here asks a clock: callers say what time it is, in seconds since 1970. rustls asks its own when it looks at the
//! certificate of a peer.

mod certificate;
mod client;
mod files;
mod secret;
mod server;
mod watched;

pub use certificate::Version;
pub use client::{ClientFiles, ClientTls, Connector};
pub use files::{Source, TrustError};
pub use secret::{TOKEN_BYTES_MIN, Tokens};
pub use server::{Protocol, ServerFiles, ServerTls, TlsListener, TlsStream};
pub use watched::{Found, Watch};

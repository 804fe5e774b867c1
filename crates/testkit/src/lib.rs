//! The elanus program under test: start it, kill it, wait for it.
//!
//! * [`Server`]: one process of the program, from start to kill: `elanus standalone` with its data directory, or another
//!   service.
//! * [`Postgres`]: a PostgreSQL server of a test's own.
//! * [`Nats`]: a NATS server of a test's own.
//! * [`elanus`]: any other command of the program; [`program`]: where it is, for those that do not end by themselves.
//! * [`wait_for`]: the only way to wait in a test: for a level, with a bound and a status text.
//! * [`python`]: runs a script in a Python that has pymilvus.
//! * [`Authority`]: certificates for tests.
//! * [`S3Server`]: an S3 server, for as long as the tests of this process run.
//! * [`OtlpReceiver`]: receives the traces of processes; [`picture`] shows one.
//! * [`Link`]: a TCP connection between two of these that can be cut, delayed and stalled.
//! * [`Mount`]: a file system of a test's own, which can be full.
//! * [`get`]: a page of the management port.
//! * [`Generated`]: a store with very many files.
//! * [`settings`]: what a test run is told from outside.
//!
//! Nothing here knows what is right; that is said in the tests.

mod binary;
mod certificates;
mod generated;
mod http;
mod link;
mod mount;
mod nats;
mod otlp;
mod ports;
mod postgres;
mod python;
mod s3;
mod server;
pub mod settings;
mod wait;

pub use binary::{Ended, NoBinary, elanus, elanus_of, path as program};
pub use certificates::{Authority, Pair};
pub use generated::Generated;
pub use http::get;
pub use link::{Link, Trouble};
pub use mount::Mount;
pub use nats::Nats;
pub use otlp::{OtlpReceiver, ReceivedSpan, picture};
pub use ports::free_port;
use ports::free_port_pair;
pub use postgres::{Postgres, PostgresStop};
pub use python::python;
pub use s3::{S3Server, S3User};
pub use server::{Server, Signal};
pub use wait::wait_for;

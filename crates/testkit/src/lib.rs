//! The elanus program under test: start it, kill it, wait for it.
//!
//! * [`Server`]: one `elanus standalone` with its data directory, from start to kill.
//! * [`elanus`]: any other command of the program; [`program`]: where it is, for those that do not end by themselves.
//! * [`wait_for`]: the only way to wait in a test: for a level, with a bound and a status text.
//! * [`python`]: runs a script in a Python that has pymilvus.
//! * [`get`]: a page of the management port.
//! * [`settings`]: what a test run is told from outside.
//!
//! Nothing here knows what is right; that is said in the tests.

mod binary;
mod http;
mod ports;
mod python;
mod server;
pub mod settings;
mod wait;

pub use binary::{Ended, NoBinary, elanus, path as program};
pub use http::get;
pub use ports::free_port;
pub use python::python;
pub use server::{Server, Signal};
pub use wait::wait_for;

//! Hostile input, from seeds: every request message that is served, and every reader of files.
//!
//! FZ-1  Nothing panics, whatever arrives: not in the task that answers, not in one behind it.
//! FZ-2  Everything ends, and soon.
//! FZ-3  No reader takes more memory than what it was given explains: a length that is written somewhere is not believed.
//! FZ-4  Who is refused has changed nothing, and is told a reason that is his own: never that the server failed.
//!
//! One seed is one run, and gives the same requests and the same bytes. `tests/fuzz.rs` runs some; `cargo xtask fuzz` runs as
//! many as fit into a time.
//!
//! * [`chance`], [`messages`]: bytes and messages that are almost right.
//! * [`requests`]: requests that are right, from which those are made.
//! * [`world`]: the services, in this process. [`calls`]: what is sent to them, and what must hold.
//! * [`files`]: files that are almost right, and their readers.
//! * [`watch`]: panics, memory and time.

pub mod calls;
pub mod chance;
pub mod files;
pub mod messages;
pub mod requests;
pub mod watch;
pub mod world;

/// What was found: the promise, and how to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding(pub String);

//! Every state and every transition in Elanus, as pure functions. No I/O, no clock, no chance.
//!
//! One file per machine. On top of each: its diagram and its numbered invariants; then the states, the events with their
//! senders, the effects, and one `match` over state and event without a wildcard arm. `docs/state-machines.md` is
//! printed from here ([`table::markdown`]).
//!
//! A machine is stored as the columns of one row: `columns()` says what to write, `from_columns` takes nothing that
//! `columns()` could not have written. The transaction that moves a row reads it under a lock, calls `step`, and writes
//! what `step` returned.

mod labels;
mod samples;
#[cfg(test)]
mod walk;

pub mod breaker;
pub mod deletes;
pub mod drivers;
pub mod file_set;
pub mod interval;
pub mod permit;
pub mod pin;
pub mod restore_job;
pub mod segment;
pub mod snapshot;
pub mod step;
pub mod table;
pub mod task;

pub use file_set::{Brake, FileSet};
pub use interval::{Gap, Interval};
pub use permit::{ClaimedRow, DeletePermit};
pub use pin::{Expiry, LivePin, Pin};
pub use restore_job::{Progress, RestoreJob};
pub use segment::Segment;
pub use snapshot::Snapshot;
pub use step::{CorruptRow, Refusal, Step};
pub use task::{Compaction, CopyTask, IndexBuild};

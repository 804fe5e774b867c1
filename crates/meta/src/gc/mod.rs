//! Garbage collection in the metadata: what is released, what waits for deletion, what keeps it, and what is claimed.
//!
//! * [`release`]: dropped snapshots and collections give their references back, in chunks.
//! * [`claim`]: queued → deleting → gone; the only place where permits to delete are made.
//! * [`brakes`]: freeze, pauses, holds, circuit breaker.
//! * [`first_run`]: the program that collects is another one than before.
//! * [`failures`]: objects that could not be deleted.
//! * [`look`]: what waits, why an object is kept, what was done.
//! * [`plans`]: what an operator saw and may apply.
//! * [`readers`]: timestamps that query nodes read at.
//! * [`recount`]: whether references are what the metadata say they are.
//! * [`retention`]: the end of rows that nobody needs.
//! * [`undo`]: a dropped collection comes back from the queue.
//! * [`undrop`]: a dropped snapshot does.

pub(crate) mod audit;
pub(crate) mod brakes;
mod claim;
mod failures;
pub(crate) mod first_run;
mod look;
mod plans;
mod readers;
mod recount;
mod release;
mod retention;
mod undo;
pub(crate) mod undrop;

pub use audit::AuditRecord;
pub use brakes::{HoldRecord, PauseRecord};
pub use claim::{Claimed, Room};
pub use elanus_lifecycle::breaker::Amount;
pub use failures::FailureRecord;
pub use first_run::FirstRun;
pub use look::{BreakerRecord, GcStatus, KeptRecord, WhyRecord};
pub use plans::{PlanItem, PlanRecord};
pub use recount::Recounted;
pub use release::{Progress, Waiting};
pub use retention::{Forgotten, Retention};
pub use undrop::{DroppedSnapshot, WhichDropped};

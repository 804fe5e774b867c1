//! The words of Elanus: what the other crates say to each other. No I/O, no decisions.
//!
//! * [`graph`]: index definitions that a graph of neighbours serves.
//! * [`ids`]: one type per kind of identifier, so that a segment id cannot be given for a collection id.
//! * [`time`]: Milvus hybrid timestamps, intervals, and the clock that every service is given.
//! * [`key`]: the one type that names an object in the store.
//! * [`aging`]: when rows expire.
//! * [`schema`]: collections, fields and indexes as users define them.
//! * [`privilege`]: what users may be allowed to do.
//! * [`restore`]: how a restore makes its target.
//! * [`root`]: why nothing is deleted below a root path.
//! * [`trace`]: which trace the present work belongs to.
//! * [`failure`]: what a caller is told when something could not be done, with the Milvus code.

pub mod aging;
pub mod checksum;
pub mod failure;
pub mod graph;
pub mod ids;
pub mod key;
pub mod privilege;
pub mod restore;
pub mod root;
pub mod schema;
pub mod time;
pub mod trace;

pub use aging::Aging;
pub use checksum::Checksum;
pub use failure::{Code, Failure};
pub use ids::*;
pub use key::ObjectKey;
pub use restore::RestoreMode;
pub use root::RootHold;
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use trace::{current_traceparent, set_traceparent_source};

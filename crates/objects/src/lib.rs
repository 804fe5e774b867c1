//! The object store: where the bytes of segments, deletes, indexes and manifests live.
//!
//! * [`ObjectStore`]: the contract. Objects are created once, never changed, and deleted only with a permit.
//! * [`LocalStore`], [`S3Store`], [`MemoryStore`], [`FaultyStore`]: a directory, a bucket, a map, and any of them with faults
//!   on purpose.
//! * [`CountedStore`]: any of them, with its requests counted.
//! * [`WatchedStore`]: any of them, with metrics and spans of its calls.
//! * [`MarkerStore`]: the few objects that change, below `_elanus/`, with conditional writes.
//! * [`Ownership`]: whose root path it is; asked before anything is deleted or written.
//! * [`LocalRoot`]: the guard of a data directory: one process at a time, never a directory of somebody else.
//! * [`suite`]: the promises of the contract as tests that every implementation runs.
//!
//! Nothing here deletes by prefix, by pattern or because a key is unknown. The one exception are staging files of the
//! local directory, which never were objects (see [`LocalRoot`]).

mod counted;
mod durable;
mod error;
mod faulty;
mod local;
pub mod marker_store;
mod memory;
mod open;
pub mod ownership;
mod root;
pub mod s3;
mod staging;
mod store;
#[doc(hidden)]
pub mod suite;
mod watched;

pub use counted::{CountedStore, Requests};
pub use error::{Error, Result, Retry};
pub use faulty::{Chance, Fault, FaultyStore, Plan};
pub use local::LocalStore;
pub use marker_store::{Etag, LocalMarkers, MarkerStore, MemoryMarkers, Versioned, Written};
pub use memory::MemoryStore;
pub use open::{Location, OpenError};
pub use ownership::{Frozen, OwnedStore, Ownership, Tenant};
pub use root::{LocalRoot, RootError};
pub use s3::{S3Config, S3Location, S3Markers, S3Store};
pub use store::{Expected, Found, ObjectInfo, ObjectStore, STALE_UPLOADS_MAX, StaleUpload, checksum_of};
pub use watched::WatchedStore;

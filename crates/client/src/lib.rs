//! Rust SDK for snapshots, restore jobs and administration.
//!
//! ```no_run
//! # async fn example() -> Result<(), elanus_client::ClientError> {
//! use elanus_client::Client;
//!
//! let client = Client::connect("http://127.0.0.1:19530").await?;
//! let snapshot = client.snapshots().create("docs", "before-import").description("v1").send().await?;
//! let job = client.snapshots().restore("docs", &snapshot.name, "docs_v1").send().await?;
//! client.jobs().wait(job.job_id, |job| eprintln!("{} %", job.progress)).await?;
//! # Ok(()) }
//! ```
//!
//! Reads are repeated when the server is away for a moment; writes never are: only the caller knows whether it wants one twice.

mod call;
mod collections;
mod compactions;
mod connect;
mod databases;
mod error;
mod events;
mod gc;
mod jobs;
mod scans;
mod scrub;
mod security;
mod snapshot_reads;
mod snapshots;
mod status;
mod trash;

pub use collections::Collections;
pub use compactions::Compactions;
pub use connect::{Builder, Client};
pub use databases::Databases;
pub use elanus_proto::admin::{ClusterStatus, Queues, Service};
pub use elanus_proto::admin::{
    CollectionDetail, GcAmount, GcAuditLine, GcDroppedSnapshot, GcHold, GcPause, GcPlan, GcPlanItem, GcRun, GcStatus,
    GcWhy,
};
pub use elanus_proto::admin::{DeleteFreeze, ListScansResponse, Orphan, PurgeNamespaceReport, ReconcileReport, Scan};
pub use elanus_proto::admin::{ScrubFinding, ScrubReport};
pub use elanus_proto::admin::{TailEventsRequest, TailedEvent};
pub use elanus_proto::datacoord::{
    Collection, Compaction, CompactionJob, JobError, JobHistoryLine, Pin, RestoreJob, Rollback, Snapshot, Statistics,
    TrashedCollection,
};
pub use elanus_proto::milvus::QueryResults;
pub use elanus_types::RestoreMode;
pub use error::{ClientError, ErrorKind, Result};
pub use events::Tail;
pub use gc::{Gc, GcCollection};
pub use jobs::{Jobs, ListJobs};
pub use scans::{Allow, Scans};
pub use scrub::Scrub;
pub use security::{Granted, Role, Security, User};
pub use snapshot_reads::QuerySnapshot;
pub use snapshots::{CreateSnapshot, PinSnapshot, RestoreSnapshot, Snapshots};
pub use trash::{InTrash, Trash};

//! The frame of every Elanus process: what a service needs around it to be run, watched and stopped.
//!
//! * [`background`]: loops that drain states of the metadata store, in bounded rounds.
//! * [`relay`]: brings the events of the metadata store to the event bus.
//! * [`grpc`]: the listener, the gRPC server with health and reflection, the bounded end.
//! * [`late`]: a channel to a service that does not exist yet.
//! * [`reload`]: certificates and tokens, read again when they change on disk.
//! * [`router`]: a channel to one of several processes that serve the same.
//! * [`registration`]: this process's place in the registry of services.
//! * [`management`]: health, background tasks and version over HTTP, for operators and probes.
//! * [`metrics`]: numbers for Prometheus, and the list of all of them.
//! * [`telemetry`]: log lines, and where traces go.
//! * [`served`]: a service whose calls are counted and traced.
//! * [`shutdown`]: from signals to one token.
//!
//! Nothing here knows what a service does. Configuration comes as plain values; the program reads flags and environment.

pub mod background;
pub mod grpc;
pub mod late;
pub mod management;
pub mod metrics;
pub mod registration;
pub mod relay;
pub mod reload;
pub mod router;
pub mod served;
pub mod shutdown;
pub mod telemetry;

pub use background::{Background, BackgroundTask, NotQuiet, Report, TaskStatus};
pub use late::LateChannel;
pub use registration::Registration;
pub use reload::Reload;
pub use router::{Router, Target};
pub use served::Served;

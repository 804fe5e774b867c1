//! The event bus. Events wake people up and invalidate caches, nothing else: every service also scans on a timer.
//!
//! The contract ([`EventBus`]) promises so little that no code can lean on it: an event may be lost, late, repeated or
//! reordered. Never decide from an event's payload what the metadata store should be asked, and never delete because of one.
//!
//! * [`LocalBus`]: inside one process.
//! * [`JetStreamBus`]: NATS JetStream, between the processes of a cluster, and for consumers outside of it.
//! * [`BusConfig`]: which of the two, and how.

mod bus;
mod config;
mod envelope;
mod jetstream;
mod local;
#[doc(hidden)]
pub mod suite;

pub use bus::{
    Error, EventBus, Followed, Following, Handler, Item, Published, Start, Subscription, Wanted,
    consume_by_subscription,
};
pub use config::{BusConfig, BusUrl, Limits, Login, OpenError, Tls, open};
pub use envelope::{Envelope, InvalidSubject, Kind, Subject, UnknownKind};
pub use jetstream::JetStreamBus;
pub use local::LocalBus;

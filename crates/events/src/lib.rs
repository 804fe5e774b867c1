//! The event bus. Events wake people up and invalidate caches, nothing else: every service also scans on a timer.
//!
//! The contract ([`EventBus`]) promises so little that no code can lean on it: an event may be lost, late, repeated or
//! reordered. Never decide from an event's payload what the metadata store should be asked, and never delete because of one.

mod bus;
mod envelope;
mod local;
#[doc(hidden)]
pub mod suite;

pub use bus::{Error, EventBus, Item, OpenError, Subscription, open};
pub use envelope::{Envelope, InvalidSubject, Kind, Subject};
pub use local::LocalBus;

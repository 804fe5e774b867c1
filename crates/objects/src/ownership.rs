//! Whose root path this is: one cluster at a time, said by the marker `_elanus/owner.json`.
//!
//! Two clusters that were given the same bucket and root path must not be able to lose a file to each other. The marker
//! alone could not promise that (a forced takeover, a marker that was deleted, a process that sleeps between its look and
//! its delete): that is what the namespace of each cluster is for, below which all its keys are. The marker is there so
//! that the second cluster is refused before it does anything, and so that metadata from the past is noticed.
//!
//! OW-1  Who is refused changes nothing: neither below the root path nor in the metadata.
//! OW-2  Nothing is deleted unless the marker was seen to be this cluster's, with this epoch, in the last 30 seconds.
//! OW-3  Nothing is written when the store has not said for 60 seconds that no other cluster owns the root path.
//! OW-4  Who finds another cluster or a later epoch in the marker is fenced, for ever: it deletes and writes no more.
//! OW-5  A marker that went missing, or cannot be read, stops deletes and nothing else.
//! OW-6  The epoch in the marker never falls, and its counter never does.
//! OW-7  A hold ([`elanus_types::RootHold`]) outlives the process: it is in the marker and in the metadata, and holds when
//!       either has it.
//! OW-8  Every write of the marker has a new nonce, so that an etag is never valid twice.
//! OW-9  Every write of the marker raises the counter of the metadata first, and what was claimed is deleted after such a
//!       write only. So a backup of the metadata from before a claim is behind the marker from the claim on.
//! OW-10 Metadata that is behind the marker, or does not know the start that wrote it, deletes nothing until somebody
//!       reconciles. A process that died between metadata and marker is neither.
//! OW-11 A process of the cluster that is not its coordinator writes under OW-3 and OW-4 as well, and deletes nothing. It
//!       does not write to a copy of the root path, which has an older marker than the metadata remembers.
//!
//! * [`judge`]: what a marker means, as a table. Pure.
//! * [`marker`]: its format.
//! * [`start`]: look, judge, probe, raise the epoch, write the marker.
//! * [`guard`]: the running owner: renewal, [`Ownership::confirm_for_delete`], [`Ownership::may_write`].
//! * [`tenant`]: the other processes of the cluster that write.
//! * [`probe`]: does the store keep the promises on which all this rests?
//! * [`claims`]: the weaker way, for stores without conditional writes.
//! * [`owned_store`]: an object store that asks before it writes or deletes.
//! * [`operator`]: what `elanus ctl root` does to a marker.

pub mod claims;
pub mod guard;
pub mod judge;
pub mod marker;
pub mod operator;
pub mod owned_store;
pub mod probe;
pub mod start;
pub mod tenant;
#[cfg(test)]
mod tests;

pub use guard::{Ownership, Reconciled, Status};
pub use judge::{Doubt, Freeze, Frozen, MetaView, NoPurge, Refusal, Seen, Standing, Verdict, doubt, judge, purgeable};
pub use marker::{FormerOwner, Marker, Term};
pub use owned_store::{OwnedStore, RootGuard};
pub use start::{RootMeta, Site, StartError, look};
pub use tenant::Tenant;

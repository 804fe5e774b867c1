//! Writes of clients become commits: one queue a collection, everything that waits is one group, one commit a group.

mod commit;
mod group;
mod queue;

pub(crate) use group::Write;
pub(crate) use queue::WriteQueues;

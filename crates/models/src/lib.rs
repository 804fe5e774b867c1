//! The protocols that decide what is deleted, as models whose every state is visited.
//!
//! Time is adversarial: a lease, a tolerance or an age may end at any moment, a request may be delayed for ever or sent
//! twice, a process may die between any two steps. What holds here does not depend on clocks.
//!
//! Each model has its protocol, its invariants by number, and its *simplifications*: plausible ways to build less. Every
//! one of them must lose something, within the number of steps that stands beside it. A simplification that no longer
//! fails means that the model has stopped to show why the protocol is as it is.
//!
//! | model | what meets |
//! |---|---|
//! | [`collector`] | writers, references by interval, snapshots, a clone, a reader's lease, queue, sweep, orphan scan; also that everything unreferenced goes in the end |
//! | [`takeover`] | two coordinators, each believing it is the one; a sweep, a stalled writer, a snapshot that is created |
//! | [`ownership`] | two clusters, three processes, one root path: marker, namespace, epoch |
//! | [`restored`] | metadata restored from a backup, or copied, under a marker that knows better |
//!
//! Small in `cargo test`; everything by `cargo xtask model`. The rule by which references are released, on histories that
//! are longer than a model can hold, is compared with an oracle in [`interval`].

pub mod collector;
pub mod interval;
pub mod ownership;
pub mod restored;
pub mod search;
pub mod suite;
pub mod takeover;

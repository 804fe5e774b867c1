//! Index builds: files of rows that are large enough get an index of each field whose definition a graph serves.
//!
//! * [`policy`]: which files, and how far that is. Pure.
//! * `round`: the background task that plans.
//!
//! The work is done by data nodes, as tasks; the metadata publish what they built (`elanus_meta`, IX-1 to IX-5).

pub(crate) mod policy;
mod round;

pub(crate) use round::plan;

/// What is indexed, and how much at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexConfig {
    /// Files with fewer rows get no index: a scan of them takes no longer, and compaction makes larger ones of them.
    pub rows_min: u64,
    /// Index builds that are with workers at the same time.
    pub tasks_max: usize,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self { rows_min: 8_192, tasks_max: 2 }
    }
}

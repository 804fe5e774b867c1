//! Compaction: small files become larger ones, and rows that are deleted go with their files.
//!
//! * [`policy`]: which files, and which together. Pure.
//! * `round`: the background task that plans, and ends delete logs that hide nothing any more.
//!
//! The work is done by data nodes, as tasks; the metadata publish what they wrote (`elanus_meta`, CP-1 to CP-5).

pub(crate) mod policy;
mod round;

pub(crate) use round::{Settled, live, plan};

/// What is compacted, and how much at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionConfig {
    /// Files are compacted without being asked for. Else only on demand.
    pub automatic: bool,
    /// Between two looks at what is there, in seconds.
    pub interval_s: u64,
    /// Bytes of a file that is large enough. What becomes one file has no more bytes.
    pub file_bytes: u64,
    /// Rows of a file that is large enough.
    pub file_rows: u64,
    /// So many files of like size are worth it.
    pub files_min: usize,
    /// Files that become one.
    pub files_max: usize,
    /// Compactions that are with workers at the same time.
    pub tasks_max: usize,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        Self {
            automatic: true,
            interval_s: 30,
            file_bytes: 256 << 20,
            file_rows: 1_000_000,
            files_min: 8,
            files_max: 1_000,
            tasks_max: 2,
        }
    }
}

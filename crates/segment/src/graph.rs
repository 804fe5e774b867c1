//! Indexes of dense vectors: graphs of neighbours (HNSW, Malkov and Yashunin 2016) over the rows of one file.
//!
//! * `build`: from the vectors of a column.
//! * `file`: as bytes. No vectors: a reader has those of the file of rows, and compares with them.
//! * `walk`: the search of one level, for builds and for readers.
//!
//! A graph says which rows may be near; how near they are says whoever searches it. So scores are exact, whatever is missed,
//! and a graph costs its links alone. Its nodes are the rows by their numbers; rows without vector have no links.

mod build;
mod file;
mod walk;

pub use build::build_graph;
pub use walk::Distances;

use crate::Error;
use bytes::Bytes;
use elanus_types::graph::GraphMetric;
use elanus_types::{Checksum, FieldId};
use walk::{Links, Nearest};

const WHAT: &str = "an index of vectors";

/// Of what a graph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphHead {
    /// The field.
    pub field: FieldId,
    /// How it compares.
    pub metric: GraphMetric,
    /// Elements of a vector.
    pub dim: u32,
    /// Rows of the file that it is of.
    pub rows: u32,
    /// Rows that have a vector.
    pub vectors: u32,
}

/// A graph as a file.
#[derive(Clone, Debug)]
pub struct EncodedGraph {
    /// The file.
    pub bytes: Bytes,
    /// Of `bytes`.
    pub checksum: Checksum,
}

/// A graph in memory.
#[derive(Debug)]
pub struct Graph {
    head: GraphHead,
    /// Where every search begins: a node of the top level. None: no row has a vector.
    first: Option<u32>,
    /// The lowest one, which all rows with a vector are on, comes first.
    levels: Vec<Level>,
}

/// One level: the links of each of its nodes, one node after the other.
#[derive(Debug)]
struct Level {
    /// Its nodes, ascending; on the lowest level all rows, and not written down.
    rows: Vec<u32>,
    /// Where the links of each node begin, and after the last one where they end.
    starts: Vec<u32>,
    links: Vec<u32>,
}

impl Graph {
    /// Reads a graph.
    ///
    /// # Errors
    /// When the bytes are no graph, or one that points outside of itself.
    pub fn open(bytes: &[u8]) -> Result<Self, Error> {
        file::decode(bytes).map_err(|why| Error::damaged(WHAT, why))
    }

    /// Of what it is.
    #[must_use]
    pub fn head(&self) -> &GraphHead {
        &self.head
    }

    /// Memory that goes when this is dropped.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let numbers = self.levels.iter().map(|level| level.rows.len() + level.starts.len() + level.links.len());
        numbers.sum::<usize>() * size_of::<u32>()
    }

    /// At most `candidates` rows that are near what `distances` measures from, with their distances, nearest first. Of the
    /// rows that `may` says; the others only show the way.
    pub fn near(
        &self,
        distances: &mut dyn Distances,
        candidates: usize,
        may: Option<&dyn Fn(u32) -> bool>,
    ) -> Vec<(f32, u32)> {
        let Some(first) = self.first.filter(|_| candidates > 0) else { return Vec::new() };
        let mut walk = walk::Walk::new(self.head.rows as usize);
        let mut at = walk.begin(distances, first);
        for level in (1..self.levels.len()).rev() {
            at = walk.nearest_on(self, level, distances, at);
        }
        walk.search(self, 0, distances, &[at], candidates, may)
            .into_iter()
            .map(|Nearest { distance, row }| (distance, row))
            .collect()
    }
}

impl Links for Graph {
    fn of(&self, row: u32, level: usize) -> &[u32] {
        self.levels.get(level).and_then(|level| level.of(row)).unwrap_or_default()
    }
}

impl Level {
    fn of(&self, row: u32) -> Option<&[u32]> {
        let at = if self.rows.is_empty() { row as usize } else { self.rows.binary_search(&row).ok()? };
        let (start, end) = (*self.starts.get(at)?, *self.starts.get(at + 1)?);
        self.links.get(start as usize..end as usize)
    }
}

#[cfg(test)]
mod tests;

//! A graph as bytes, little endian:
//!
//! | part | bytes |
//! |---|---|
//! | `ELANUSG`, version | 8 |
//! | field id | i64 |
//! | metric, three zeros, dim, rows of the file, rows with a vector, first node, levels | 4, u32 × 5 |
//! | each level, the lowest first: number of nodes, number of links, nodes (not on the lowest: all rows), links of each node, links | u32 × 2, u32 each, u16 each, u32 each |
//!
//! What is read points nowhere but into the graph: everything that a search follows is compared with what there is.

use super::{Graph, GraphHead, Level};
use bytes::Bytes;
use elanus_types::FieldId;
use elanus_types::graph::GraphMetric;

/// The last byte is the version.
const MAGIC: &[u8; 8] = b"ELANUSG\x01";
const LEVELS_MAX: u32 = 64;
/// The first node of a graph without any.
const NONE: u32 = u32::MAX;

pub(super) fn encode(graph: &Graph) -> Result<Bytes, String> {
    let GraphHead { field, metric, dim, rows, vectors } = graph.head;
    let mut bytes = Vec::from(MAGIC);
    bytes.extend(field.0.to_le_bytes());
    let metric = GraphMetric::ALL.iter().position(|one| *one == metric).and_then(|at| u8::try_from(at).ok());
    bytes.extend([metric.ok_or("the metric has no number")?, 0, 0, 0]);
    let number = |n: usize| u32::try_from(n).map_err(|_| "the graph is too large".to_owned());
    for n in [dim, rows, vectors, graph.first.unwrap_or(NONE), number(graph.levels.len())?] {
        bytes.extend(n.to_le_bytes());
    }
    for level in &graph.levels {
        bytes.extend(number(level.starts.len() - 1)?.to_le_bytes());
        bytes.extend(number(level.links.len())?.to_le_bytes());
        level.rows.iter().for_each(|row| bytes.extend(row.to_le_bytes()));
        for ends in level.starts.windows(2) {
            let count = u16::try_from(ends[1] - ends[0]).map_err(|_| "a node has too many links".to_owned())?;
            bytes.extend(count.to_le_bytes());
        }
        level.links.iter().for_each(|link| bytes.extend(link.to_le_bytes()));
    }
    Ok(Bytes::from(bytes))
}

/// What is left to read.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, left) = self.0.split_first_chunk::<N>().ok_or("it is cut off")?;
        self.0 = left;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn all<const N: usize>(&mut self, count: u32) -> Result<&'b [[u8; N]], &'static str> {
        let bytes = (count as usize).checked_mul(N).ok_or("it is too large")?;
        let (taken, left) = self.0.split_at_checked(bytes).ok_or("it is cut off")?;
        self.0 = left;
        Ok(taken.as_chunks::<N>().0)
    }

    fn u32s(&mut self, count: u32) -> Result<Vec<u32>, &'static str> {
        Ok(self.all(count)?.iter().map(|n| u32::from_le_bytes(*n)).collect())
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Graph, &'static str> {
    let mut input = Input(bytes);
    if &input.chunk::<8>()? != MAGIC {
        return Err("it has no head that this version knows");
    }
    let field = FieldId(i64::from_le_bytes(input.chunk()?));
    let [metric, 0, 0, 0] = input.chunk::<4>()? else { return Err("its head is wrong") };
    let metric = *GraphMetric::ALL.get(usize::from(metric)).ok_or("it has an unknown metric")?;
    let [dim, rows, vectors, first, levels] = [input.u32()?, input.u32()?, input.u32()?, input.u32()?, input.u32()?];
    let head = GraphHead { field, metric, dim, rows, vectors };
    if levels == 0 || levels > LEVELS_MAX || vectors > rows {
        return Err("its head is wrong");
    }
    let levels = (0..levels).map(|level| decode_level(&mut input, &head, level)).collect::<Result<Vec<_>, _>>()?;
    let first = match first {
        NONE if vectors == 0 => None,
        first if first < rows && vectors > 0 => Some(first),
        _ => return Err("its first node is none"),
    };
    if !input.0.is_empty() {
        return Err("something follows");
    }
    Ok(Graph { head, first, levels })
}

fn decode_level(input: &mut Input<'_>, head: &GraphHead, level: u32) -> Result<Level, &'static str> {
    let (nodes, links) = (input.u32()?, input.u32()?);
    let rows = match level {
        0 if nodes == head.rows => Vec::new(),
        0 => return Err("its lowest level has other nodes than rows"),
        _ => input.u32s(nodes)?,
    };
    if rows.is_sorted_by(|a, b| a < b) && rows.last().is_none_or(|last| *last < head.rows) {
        let counts = input.all::<2>(nodes)?;
        let mut starts = Vec::with_capacity(counts.len() + 1);
        let mut end = 0_u32;
        starts.push(end);
        for count in counts {
            end = end.checked_add(u32::from(u16::from_le_bytes(*count))).ok_or("it is too large")?;
            starts.push(end);
        }
        if end != links {
            return Err("its nodes have other links than it says");
        }
        let links = input.u32s(links)?;
        if links.iter().any(|to| *to >= head.rows) {
            return Err("a link leads to a row that is not there");
        }
        return Ok(Level { rows, starts, links });
    }
    Err("nodes of a level are in disorder, or of rows that are not there")
}

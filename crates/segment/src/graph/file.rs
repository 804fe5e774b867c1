//! A graph as bytes, little endian:
//!
//! | part | bytes |
//! |---|---|
//! | `ELANUSG`, version | 8 |
//! | field id | i64 |
//! | metric, three zeros, dim, rows of the file, rows with a vector, first row, number of links | 4, u32 × 5 |
//! | how many links each row has, the links | u16 each, u32 each |
//!
//! What is read points nowhere but into the graph: everything that a search follows is compared with what there is.

use super::{Flat, GraphHead};
use bytes::Bytes;
use elanus_types::FieldId;
use elanus_types::graph::GraphMetric;

/// The last byte is the version.
const MAGIC: &[u8; 8] = b"ELANUSG\x01";
/// The first row of a graph without any.
const NONE: u32 = u32::MAX;

pub(super) fn encode(head: &GraphHead, graph: &Flat) -> Result<Bytes, String> {
    let GraphHead { field, metric, dim, rows, vectors } = *head;
    let mut bytes = Vec::with_capacity(64 + graph.starts.len() * 2 + graph.links.len() * 4);
    bytes.extend(MAGIC);
    bytes.extend(field.0.to_le_bytes());
    let metric = GraphMetric::ALL.iter().position(|one| *one == metric).and_then(|at| u8::try_from(at).ok());
    bytes.extend([metric.ok_or("the metric has no number")?, 0, 0, 0]);
    let links = u32::try_from(graph.links.len()).map_err(|_| "the graph is too large")?;
    for n in [dim, rows, vectors, graph.first.unwrap_or(NONE), links] {
        bytes.extend(n.to_le_bytes());
    }
    for ends in graph.starts.windows(2) {
        let count = u16::try_from(ends[1] - ends[0]).map_err(|_| "a row has too many links")?;
        bytes.extend(count.to_le_bytes());
    }
    graph.links.iter().for_each(|link| bytes.extend(link.to_le_bytes()));
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
}

pub(super) fn decode(bytes: &[u8]) -> Result<(GraphHead, Flat), &'static str> {
    let mut input = Input(bytes);
    if &input.chunk::<8>()? != MAGIC {
        return Err("it has no head that this version knows");
    }
    let field = FieldId(i64::from_le_bytes(input.chunk()?));
    let [metric, 0, 0, 0] = input.chunk::<4>()? else { return Err("its head is wrong") };
    let metric = *GraphMetric::ALL.get(usize::from(metric)).ok_or("it has an unknown metric")?;
    let [dim, rows, vectors, first, links] = [input.u32()?, input.u32()?, input.u32()?, input.u32()?, input.u32()?];
    if vectors > rows {
        return Err("its head is wrong");
    }
    let first = match first {
        NONE if vectors == 0 => None,
        first if first < rows && vectors > 0 => Some(first),
        _ => return Err("its first row is none"),
    };
    let counts = input.all::<2>(rows)?;
    let mut starts = Vec::with_capacity(counts.len() + 1);
    let mut end = 0_u32;
    starts.push(end);
    for count in counts {
        end = end.checked_add(u32::from(u16::from_le_bytes(*count))).ok_or("it is too large")?;
        starts.push(end);
    }
    if end != links {
        return Err("its rows have other links than it says");
    }
    let links: Vec<u32> = input.all(links)?.iter().map(|row| u32::from_le_bytes(*row)).collect();
    if links.iter().any(|row| *row >= rows) {
        return Err("a link leads to a row that is not there");
    }
    if !input.0.is_empty() {
        return Err("something follows");
    }
    Ok((GraphHead { field, metric, dim, rows, vectors }, Flat { first, starts, links }))
}

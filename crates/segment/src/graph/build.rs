//! Builds a graph, row by row, in the order of the rows and without chance: the same rows give the same file.

use super::walk::{Links, Nearest, Walk};
use super::{EncodedGraph, Graph, GraphHead, Level, WHAT, file};
use crate::vector::widening;
use crate::{Error, checksum, kernel};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use elanus_types::graph::{GraphMetric, GraphSpec};
use elanus_types::schema::{DataType, FieldSchema};

/// More levels than rows could fill.
const LEVELS_MAX: usize = 12;
/// Rows between two questions whether to go on.
const ASK_EVERY: usize = 64;

/// Builds the graph of one column of a file. `None` when `go_on` says no, which is asked again and again.
///
/// # Errors
/// When the column is none of this field.
pub fn build_graph(
    field: &FieldSchema,
    spec: GraphSpec,
    column: &dyn Array,
    go_on: impl Fn() -> bool,
) -> Result<Option<EncodedGraph>, Error> {
    let vectors = Vectors::of(field, spec.metric, column)?;
    let rows = u32::try_from(column.len()).map_err(|_| Error::RowCount { rows: column.len() })?;
    let mut builder =
        Builder { spec, nodes: vec![Vec::new(); column.len()], first: None, walk: Walk::new(column.len()), vectors };
    let mut vectors = 0;
    for row in (0..rows).filter(|row| column.is_valid(*row as usize)) {
        if vectors as usize % ASK_EVERY == 0 && !go_on() {
            return Ok(None);
        }
        builder.add(row);
        vectors += 1;
    }
    let dim = u32::try_from(builder.vectors.dim).map_err(|_| Error::field(&field.name, "it has too many elements"))?;
    let head = GraphHead { field: field.id, metric: spec.metric, dim, rows, vectors };
    let bytes = file::encode(&builder.graph(head)).map_err(|why| Error::write(WHAT, why))?;
    Ok(Some(EncodedGraph { checksum: checksum(&bytes), bytes }))
}

/// The vectors of a column as floats; of length 1 where angles are compared.
struct Vectors {
    metric: GraphMetric,
    dim: usize,
    numbers: Vec<f32>,
}

impl Vectors {
    fn of(field: &FieldSchema, metric: GraphMetric, column: &dyn Array) -> Result<Self, Error> {
        let other = || Error::field(&field.name, "it has no dense vectors, or the column is of another type");
        let dim = field.dim().filter(|dim| *dim > 0).ok_or_else(other)?;
        let mut numbers: Vec<f32> = if field.data_type == DataType::FloatVector {
            let list = column.as_fixed_size_list_opt().ok_or_else(other)?;
            let values = list.values().as_primitive_opt::<Float32Type>().ok_or_else(other)?.values();
            let start = usize::try_from(list.value_offset(0)).map_err(|_| other())?;
            values.get(start..start + list.len() * dim).ok_or_else(other)?.to_vec()
        } else {
            let bytes = column.as_fixed_size_binary_opt().ok_or_else(other)?.value_data();
            match (field.data_type, widening(field.data_type)) {
                (_, Some(widen)) => {
                    let halves = bytes.as_chunks::<2>().0;
                    halves.iter().map(|bits| widen(u16::from_le_bytes(*bits))).collect()
                }
                (DataType::Int8Vector, None) => bytes.iter().map(|byte| f32::from(byte.cast_signed())).collect(),
                _ => return Err(other()),
            }
        };
        if numbers.len() != column.len() * dim {
            return Err(other());
        }
        if metric == GraphMetric::Cosine {
            for vector in numbers.chunks_exact_mut(dim) {
                let norm = kernel::norm(vector);
                if norm > 0.0 {
                    vector.iter_mut().for_each(|number| *number /= norm);
                }
            }
        }
        Ok(Self { metric, dim, numbers })
    }

    fn get(&self, row: u32) -> &[f32] {
        &self.numbers[row as usize * self.dim..(row as usize + 1) * self.dim]
    }

    fn distance(&self, a: u32, b: u32) -> f32 {
        match self.metric {
            GraphMetric::L2 => kernel::squared_distance(self.get(a), self.get(b)),
            GraphMetric::Ip | GraphMetric::Cosine => 0.0 - kernel::inner_product(self.get(a), self.get(b)),
        }
    }
}

/// Links of each node, by level.
type Nodes = Vec<Vec<Vec<u32>>>;

struct Builder {
    spec: GraphSpec,
    nodes: Nodes,
    first: Option<u32>,
    walk: Walk,
    vectors: Vectors,
}

impl Links for Nodes {
    fn of(&self, row: u32, level: usize) -> &[u32] {
        self[row as usize].get(level).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Builder {
    fn add(&mut self, row: u32) {
        let top = level_of(row, self.spec.links);
        self.nodes[row as usize] = vec![Vec::new(); top + 1];
        let Some(first) = self.first else {
            self.first = Some(row);
            return;
        };
        let vectors = &self.vectors;
        let mut distances =
            |rows: &[u32], to: &mut Vec<f32>| to.extend(rows.iter().map(|other| vectors.distance(row, *other)));
        let top_before = self.nodes[first as usize].len() - 1;
        let mut at = self.walk.begin(&mut distances, first);
        for level in (top + 1..=top_before).rev() {
            at = self.walk.nearest_on(&self.nodes, level, &mut distances, at);
        }
        let mut from = vec![at];
        for level in (0..=top.min(top_before)).rev() {
            from = self.walk.search(&self.nodes, level, &mut distances, &from, self.spec.candidates, None);
            let chosen = choose(vectors, &from, self.spec.links);
            for other in &chosen {
                let links = &mut self.nodes[*other as usize][level];
                links.push(row);
                let room = if level == 0 { 2 * self.spec.links } else { self.spec.links };
                if links.len() > room {
                    let near = |to: &u32| Nearest { distance: vectors.distance(*other, *to), row: *to };
                    let mut all: Vec<Nearest> = links.iter().map(near).collect();
                    all.sort_unstable();
                    *links = choose(vectors, &all, room);
                }
            }
            self.nodes[row as usize][level] = chosen;
        }
        if top > top_before {
            self.first = Some(row);
        }
    }

    fn graph(self, head: GraphHead) -> Graph {
        let top = self.nodes.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let levels = (0..top).map(|level| {
            let on = |row: &u32| level == 0 || self.nodes[*row as usize].len() > level;
            let rows: Vec<u32> = (0..head.rows).filter(on).collect();
            let mut starts = vec![0];
            let mut links = Vec::new();
            for row in &rows {
                links.extend_from_slice(self.nodes.of(*row, level));
                starts.push(u32::try_from(links.len()).unwrap_or(u32::MAX));
            }
            Level { rows: if level == 0 { Vec::new() } else { rows }, starts, links }
        });
        Graph { head, first: self.first, levels: levels.collect() }
    }
}

/// Of rows near one row, nearest first, those that it is linked with: each is nearer to it than to any that was chosen
/// before, so that links lead into all directions. What room is left goes to the nearest others.
fn choose(vectors: &Vectors, near: &[Nearest], room: usize) -> Vec<u32> {
    let mut chosen: Vec<u32> = Vec::with_capacity(room);
    let mut others = Vec::new();
    for one in near {
        if chosen.len() >= room {
            break;
        }
        if chosen.iter().all(|other| one.distance <= vectors.distance(one.row, *other)) {
            chosen.push(one.row);
        } else {
            others.push(one.row);
        }
    }
    let left = room - chosen.len();
    chosen.extend(others.into_iter().take(left));
    chosen
}

/// The top level of a row: each level has one of `links` of the rows of the level below.
fn level_of(row: u32, links: usize) -> usize {
    // SplitMix64: the number of a row as evenly distributed bits.
    let mut bits = (u64::from(row) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    let share = ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let level = -share.ln() / (links.max(2) as f64).ln();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and small")]
    (level as usize).min(LEVELS_MAX - 1)
}

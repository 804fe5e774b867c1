//! Builds a graph, row by row, in the order of the rows and without chance: the same rows give the same file.

use super::walk::{Distances, Links, Nodes, Walk, done};
use super::{EncodedGraph, Flat, GraphHead, WHAT, file};
use crate::kernel::{self, Compared};
use crate::vector::widening;
use crate::{Error, checksum};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use diskann::graph::config::{Builder, Config, MaxDegree, PruneKind};
use diskann::graph::glue::{InsertStrategy, PruneAccessor, PruneStrategy};
use diskann::graph::{AdjacencyList, DiskANNIndex, workingset};
use diskann::provider::{DefaultContext, HasId, NeighborAccessor, NeighborAccessorMut, NoopGuard, SetElement};
use diskann::{ANNError, ANNResult};
use elanus_types::graph::{GraphMetric, GraphSpec};
use elanus_types::schema::{DataType, FieldSchema};
use std::sync::{Mutex, PoisonError};

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
    let failed = |why: String| Error::write(WHAT, why);
    let vectors = Vectors::of(field, spec.metric, column)?;
    let count = u32::try_from(column.len()).map_err(|_| Error::RowCount { rows: column.len() })?;
    let dim = u32::try_from(vectors.dim).map_err(|_| Error::field(&field.name, "it has too many elements"))?;
    let rows: Vec<u32> = (0..count).filter(|row| column.is_valid(*row as usize)).collect();
    let first = vectors.middle(&rows);
    let growing = Growing { vectors, first, links: Mutex::new(vec![Vec::new(); column.len()]) };
    let index = DiskANNIndex::new(config(spec).map_err(failed)?, Nodes(growing), None);
    for (at, row) in rows.iter().enumerate() {
        if at % ASK_EVERY == 0 && !go_on() {
            return Ok(None);
        }
        // The first row is there for the others to be linked with.
        if Some(*row) != first {
            done(index.insert(&Insert, &DefaultContext, row, *row)).map_err(|error| failed(error.to_string()))?;
        }
    }
    let vectors = u32::try_from(rows.len()).map_err(|_| Error::RowCount { rows: rows.len() })?;
    let head = GraphHead { field: field.id, metric: spec.metric, dim, rows: count, vectors };
    let bytes = file::encode(&head, &index.provider().0.flat()).map_err(failed)?;
    Ok(Some(EncodedGraph { checksum: checksum(&bytes), bytes }))
}

/// What the library is told of a graph.
pub(super) fn config(spec: GraphSpec) -> Result<Config, String> {
    let kind = match spec.metric {
        // Of vectors of length 1, where squared distances and inner products are in one order.
        GraphMetric::L2 | GraphMetric::Cosine => PruneKind::TriangleInequality,
        GraphMetric::Ip => PruneKind::Occluding,
    };
    let config = Builder::new(spec.degree, MaxDegree::default_slack(), spec.candidates, kind).build();
    config.map_err(|error| error.to_string())
}

/// The vectors of a column as floats; of length 1 where angles are compared.
struct Vectors {
    dim: usize,
    numbers: Vec<f32>,
    compared: Compared,
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
        // Vectors of length 1 are in the order of their angles.
        let compared =
            if metric == GraphMetric::Ip { Compared::by_inner_product(dim) } else { Compared::by_distance(dim) };
        Ok(Self { dim, numbers, compared })
    }

    fn get(&self, row: u32) -> &[f32] {
        &self.numbers[row as usize * self.dim..(row as usize + 1) * self.dim]
    }

    /// The row that is nearest to the mean of these rows.
    fn middle(&self, rows: &[u32]) -> Option<u32> {
        let mut mean = vec![0.0; self.dim];
        let share = 1.0 / rows.len().max(1) as f32;
        for row in rows {
            mean.iter_mut().zip(self.get(*row)).for_each(|(mean, number)| *mean += number * share);
        }
        let distances = rows.iter().map(|row| (kernel::squared_distance(&mean, self.get(*row)), *row));
        distances.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, row)| row)
    }
}

/// A graph while it is built.
struct Growing {
    vectors: Vectors,
    first: Option<u32>,
    /// The library shares this between threads; here is one.
    links: Mutex<Vec<Vec<u32>>>,
}

impl Growing {
    fn with<T>(&self, row: u32, work: impl FnOnce(&mut Vec<u32>) -> T) -> T {
        work(&mut self.links.lock().unwrap_or_else(PoisonError::into_inner)[row as usize])
    }

    fn flat(&self) -> Flat {
        let all = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let mut starts = Vec::with_capacity(all.len() + 1);
        let mut links = Vec::new();
        starts.push(0);
        for of_row in all.iter() {
            links.extend_from_slice(of_row);
            starts.push(u32::try_from(links.len()).unwrap_or(u32::MAX));
        }
        Flat { first: self.first, starts, links }
    }
}

impl Links for Growing {
    fn first(&self) -> Option<u32> {
        self.first
    }

    fn of(&self, row: u32, to: &mut Vec<u32>) {
        self.with(row, |links| to.extend_from_slice(links));
    }
}

impl SetElement<u32> for Nodes<Growing> {
    type SetError = ANNError;

    async fn set_element(&self, _context: &DefaultContext, row: &u32, _same: u32) -> ANNResult<NoopGuard<u32>> {
        Ok(NoopGuard::new(*row))
    }
}

/// Distances from one of the rows.
struct FromRow<'b> {
    vectors: &'b Vectors,
    row: u32,
}

impl Distances for FromRow<'_> {
    fn of(&mut self, rows: &[u32], to: &mut Vec<f32>) {
        let Self { vectors, row } = self;
        let from = vectors.get(*row);
        to.extend(rows.iter().map(|row| vectors.compared.distance(from, vectors.get(*row))));
    }
}

/// How the library takes a row in.
#[derive(Clone, Copy)]
struct Insert;

impl<'a> InsertStrategy<'a, Nodes<Growing>, u32> for Insert {
    type SearchAccessor = Walk<'a, Growing, FromRow<'a>>;
    type SearchAccessorError = ANNError;
    type PruneStrategy = Self;

    fn insert_search_accessor(
        &'a self,
        nodes: &'a Nodes<Growing>,
        _context: &'a DefaultContext,
        row: u32,
    ) -> ANNResult<Self::SearchAccessor> {
        Ok(Walk::new(&nodes.0, FromRow { vectors: &nodes.0.vectors, row }, None))
    }

    fn prune_strategy(&self) -> Self {
        *self
    }
}

impl PruneStrategy<Nodes<Growing>> for Insert {
    type PruneAccessor<'a> = Pruned<'a>;
    type PruneAccessorError = ANNError;

    fn prune_accessor<'a>(
        &'a self,
        nodes: &'a Nodes<Growing>,
        _context: &'a DefaultContext,
        _capacity: usize,
    ) -> ANNResult<Pruned<'a>> {
        Ok(Pruned(&nodes.0))
    }
}

/// Links that the library changes.
#[derive(Clone, Copy)]
struct Pruned<'b>(&'b Growing);

impl HasId for Pruned<'_> {
    type Id = u32;
}

impl NeighborAccessor for Pruned<'_> {
    async fn get_neighbors(&mut self, row: u32, to: &mut AdjacencyList<u32>) -> ANNResult<()> {
        self.0.with(row, |links| to.overwrite_trusted(links));
        Ok(())
    }
}

impl NeighborAccessorMut for Pruned<'_> {
    async fn set_neighbors(&mut self, row: u32, to: &[u32]) -> ANNResult<()> {
        self.0.with(row, |links| to.clone_into(links));
        Ok(())
    }

    async fn append_vector(&mut self, row: u32, to: &[u32]) -> ANNResult<()> {
        self.0.with(row, |links| links.extend_from_slice(to));
        Ok(())
    }
}

impl PruneAccessor for Pruned<'_> {
    type Neighbors<'a>
        = Self
    where
        Self: 'a;
    type ElementRef<'a> = &'a [f32];
    type View<'a>
        = &'a Vectors
    where
        Self: 'a;
    type Distance<'a>
        = Compared
    where
        Self: 'a;

    fn neighbors(&mut self) -> Self {
        *self
    }

    async fn fill<I>(&mut self, _rows: I) -> ANNResult<(&Vectors, Compared)>
    where
        I: ExactSizeIterator<Item = u32> + Clone + Send + Sync,
    {
        Ok((&self.0.vectors, self.0.vectors.compared))
    }
}

impl workingset::View<u32> for &Vectors {
    type ElementRef<'a> = &'a [f32];
    type Element<'a>
        = &'a [f32]
    where
        Self: 'a;

    fn get(&self, row: u32) -> Option<&[f32]> {
        Some(Vectors::get(self, row))
    }
}

//! What the library asks of a graph while it searches: where rows lead to, and how far they are.

use diskann::graph::glue::{
    Accept, Decision, FilteredAccessor, HybridPredicate, Predicate, PredicateMut, Reject, SearchAccessor,
};
use diskann::provider::{DataProvider, DefaultContext, HasId, NoopGuard};
use diskann::{ANNError, ANNResult};
use futures::FutureExt as _;

/// How far rows are from what is searched for.
pub trait Distances: Send + Sync {
    /// Adds the distance of each of these rows to `to`, in their order; less is nearer, NaN is none.
    fn of(&mut self, rows: &[u32], to: &mut Vec<f32>);
}

impl<F: FnMut(&[u32], &mut Vec<f32>) + Send + Sync> Distances for F {
    fn of(&mut self, rows: &[u32], to: &mut Vec<f32>) {
        (*self)(rows, to);
    }
}

/// Which rows may be found; the others only show the way.
pub(super) type May<'q> = Option<&'q (dyn Fn(u32) -> bool + Send + Sync)>;

/// The links of a graph.
pub(super) trait Links: Send + Sync + 'static {
    /// Where every search begins.
    fn first(&self) -> Option<u32>;
    /// Adds the rows that a row leads to.
    fn of(&self, row: u32, to: &mut Vec<u32>);
}

/// Links as the library takes them: a node is a row by its number.
#[derive(Debug)]
pub(super) struct Nodes<L>(pub(super) L);

impl<L: Links> DataProvider for Nodes<L> {
    type Context = DefaultContext;
    type InternalId = u32;
    type ExternalId = u32;
    type Error = ANNError;
    type Guard = NoopGuard<u32>;

    fn to_internal_id(&self, _context: &DefaultContext, row: &u32) -> ANNResult<u32> {
        Ok(*row)
    }

    fn to_external_id(&self, _context: &DefaultContext, row: u32) -> ANNResult<u32> {
        Ok(row)
    }
}

/// Runs what the library made async: nothing here waits, so that it is done at once.
pub(super) fn done<T>(work: impl Future<Output = ANNResult<T>>) -> ANNResult<T> {
    work.now_or_never().unwrap_or_else(|| Err(ANNError::message("it waits for something")))
}

/// One search.
pub(super) struct Walk<'q, L, D> {
    links: &'q L,
    distances: D,
    may: May<'q>,
    led_to: Vec<u32>,
    fresh: Vec<u32>,
    measured: Vec<f32>,
}

impl<'q, L: Links, D: Distances> Walk<'q, L, D> {
    pub(super) fn new(links: &'q L, distances: D, may: May<'q>) -> Self {
        Self { links, distances, may, led_to: Vec::new(), fresh: Vec::new(), measured: Vec::new() }
    }

    fn begin(&mut self) {
        self.fresh.clear();
        self.fresh.extend(self.links.first());
    }

    /// To the rows that these lead to, if they are fresh.
    fn step(&mut self, from: impl Iterator<Item = u32>, mut is_fresh: impl FnMut(u32) -> bool) {
        self.led_to.clear();
        from.for_each(|row| self.links.of(row, &mut self.led_to));
        self.fresh.clear();
        self.fresh.extend(self.led_to.iter().copied().filter(|row| is_fresh(*row)));
    }

    fn measured(&mut self) -> impl Iterator<Item = (u32, f32)> {
        self.measured.clear();
        self.distances.of(&self.fresh, &mut self.measured);
        let both = self.fresh.iter().copied().zip(self.measured.iter().copied());
        both.filter(|(_, distance)| !distance.is_nan())
    }

    fn decided(&mut self) -> impl Iterator<Item = (Decision<u32>, f32)> {
        let may = self.may;
        self.measured().map(move |(row, distance)| {
            let decision = if is_one(may, row) { Accept::new(row).into() } else { Decision::Reject(Reject::new(row)) };
            (decision, distance)
        })
    }
}

fn is_one(may: May<'_>, row: u32) -> bool {
    may.is_none_or(|may| may(row))
}

impl<L: Links, D: Distances> HasId for Walk<'_, L, D> {
    type Id = u32;
}

impl<L: Links, D: Distances> SearchAccessor for Walk<'_, L, D> {
    async fn starting_points(&self) -> ANNResult<Vec<u32>> {
        Ok(self.links.first().into_iter().collect())
    }

    async fn start_point_distances<F: FnMut(u32, f32) + Send>(&mut self, mut found: F) -> ANNResult<()> {
        self.begin();
        self.measured().for_each(|(row, distance)| found(row, distance));
        Ok(())
    }

    async fn expand_beam<I, P, F>(&mut self, rows: I, mut fresh: P, mut found: F) -> ANNResult<()>
    where
        I: Iterator<Item = u32> + Send,
        P: HybridPredicate<u32> + Send + Sync,
        F: FnMut(u32, f32) + Send,
    {
        self.step(rows, |row| fresh.eval_mut(&row));
        self.measured().for_each(|(row, distance)| found(row, distance));
        Ok(())
    }
}

impl<L: Links, D: Distances> FilteredAccessor for Walk<'_, L, D> {
    async fn start_point_distances<F: FnMut(Decision<u32>, f32) + Send>(&mut self, mut found: F) -> ANNResult<()> {
        self.begin();
        self.decided().for_each(|(decision, distance)| found(decision, distance));
        Ok(())
    }

    async fn expand_beam_filtered<I, P, F>(&mut self, rows: I, mut fresh: P, mut found: F) -> ANNResult<()>
    where
        I: Iterator<Item = u32> + Send,
        P: HybridPredicate<u32> + Send + Sync,
        F: FnMut(Decision<u32>, f32) + Send,
    {
        self.step(rows, |row| fresh.eval_mut(&row));
        self.decided().for_each(|(decision, distance)| found(decision, distance));
        Ok(())
    }

    async fn expand_beam_accept_only<I, P, F>(&mut self, rows: I, mut fresh: P, mut found: F) -> ANNResult<()>
    where
        I: Iterator<Item = u32> + Send,
        P: Predicate<u32> + PredicateMut<Accept<u32>> + Send + Sync,
        F: FnMut(Accept<u32>, f32) + Send,
    {
        let may = self.may;
        self.step(rows, |row| fresh.eval(&row) && is_one(may, row) && fresh.eval_mut(&Accept::new(row)));
        self.measured().for_each(|(row, distance)| found(Accept::new(row), distance));
        Ok(())
    }

    async fn num_starting_points(&self) -> ANNResult<usize> {
        Ok(usize::from(self.links.first().is_some()))
    }
}

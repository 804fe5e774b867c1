//! The search of one level of a graph.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// How far rows are from what is searched for.
pub trait Distances {
    /// Adds the distance of each of these rows to `to`, in their order; less is nearer, NaN is none.
    fn of(&mut self, rows: &[u32], to: &mut Vec<f32>);
}

impl<F: FnMut(&[u32], &mut Vec<f32>)> Distances for F {
    fn of(&mut self, rows: &[u32], to: &mut Vec<f32>) {
        (*self)(rows, to);
    }
}

/// The links of a graph.
pub(super) trait Links {
    /// Where a node of a level leads to.
    fn of(&self, row: u32, level: usize) -> &[u32];
}

/// A row with its distance: by distance, then by row, so that the same search finds the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nearest {
    pub(super) distance: f32,
    pub(super) row: u32,
}

impl PartialEq for Nearest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Nearest {}

impl PartialOrd for Nearest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Nearest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.row.cmp(&other.row))
    }
}

/// What searches of one graph need again and again.
pub(super) struct Walk {
    /// A bit a row.
    seen: Vec<u64>,
    /// Rows whose bits are set, to be cleared.
    marked: Vec<u32>,
    fresh: Vec<u32>,
    distances: Vec<f32>,
}

impl Walk {
    pub(super) fn new(rows: usize) -> Self {
        Self { seen: vec![0; rows.div_ceil(64)], marked: Vec::new(), fresh: Vec::new(), distances: Vec::new() }
    }

    /// True when a row was not seen in this search.
    fn see(&mut self, row: u32) -> bool {
        let Some(word) = self.seen.get_mut(row as usize / 64) else { return false };
        let bit = 1 << (row % 64);
        let is_new = *word & bit == 0;
        if is_new {
            *word |= bit;
            self.marked.push(row);
        }
        is_new
    }

    fn forget(&mut self) {
        for row in self.marked.drain(..) {
            if let Some(word) = self.seen.get_mut(row as usize / 64) {
                *word = 0;
            }
        }
    }

    /// Where a search begins.
    pub(super) fn begin(&mut self, distances: &mut dyn Distances, row: u32) -> Nearest {
        self.distances.clear();
        distances.of(&[row], &mut self.distances);
        Nearest { distance: known(self.distances.first().copied()), row }
    }

    /// Goes on to nearer rows of a level for as long as there are any.
    pub(super) fn nearest_on(
        &mut self,
        links: &impl Links,
        level: usize,
        distances: &mut dyn Distances,
        mut at: Nearest,
    ) -> Nearest {
        loop {
            let next = links.of(at.row, level);
            self.distances.clear();
            distances.of(next, &mut self.distances);
            let near = next.iter().zip(&self.distances);
            let best = near.map(|(row, distance)| Nearest { distance: known(Some(*distance)), row: *row }).min();
            match best {
                // Nearer, not just earlier in order: a walk among equals would not end.
                Some(best) if best.distance < at.distance => at = best,
                _ => return at,
            }
        }
    }

    /// The nearest `wanted` rows of a level of those that `may` says, as far as links lead there from `from`; nearest first.
    pub(super) fn search(
        &mut self,
        links: &impl Links,
        level: usize,
        distances: &mut dyn Distances,
        from: &[Nearest],
        wanted: usize,
        may: Option<&dyn Fn(u32) -> bool>,
    ) -> Vec<Nearest> {
        self.forget();
        let is_wanted = |row: u32| may.is_none_or(|may| may(row));
        let mut found: BinaryHeap<Nearest> = BinaryHeap::new();
        let mut open: BinaryHeap<Reverse<Nearest>> = BinaryHeap::new();
        for one in from {
            if self.see(one.row) {
                open.push(Reverse(*one));
                if is_wanted(one.row) {
                    found.push(*one);
                }
            }
        }
        while let Some(Reverse(at)) = open.pop() {
            if found.len() >= wanted && found.peek().is_some_and(|worst| at > *worst) {
                break;
            }
            let mut fresh = std::mem::take(&mut self.fresh);
            fresh.clear();
            fresh.extend(links.of(at.row, level).iter().copied().filter(|row| self.see(*row)));
            self.distances.clear();
            distances.of(&fresh, &mut self.distances);
            for (row, distance) in fresh.iter().zip(&self.distances) {
                let one = Nearest { distance: known(Some(*distance)), row: *row };
                if found.len() >= wanted && found.peek().is_some_and(|worst| one > *worst) {
                    continue;
                }
                open.push(Reverse(one));
                if is_wanted(one.row) {
                    found.push(one);
                    if found.len() > wanted {
                        found.pop();
                    }
                }
            }
            self.fresh = fresh;
        }
        found.into_sorted_vec()
    }
}

/// What is no number is far away.
fn known(distance: Option<f32>) -> f32 {
    distance.filter(|distance| !distance.is_nan()).unwrap_or(f32::INFINITY)
}

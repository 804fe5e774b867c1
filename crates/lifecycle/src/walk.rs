//! Walks through every world that can be reached from a first one. For tests.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// Visits every reachable world once and says how many there are. `next` asserts what must hold and gives the worlds
/// that one more message leads to.
pub(crate) fn every_world<W: Clone + Eq + Hash>(
    start: impl IntoIterator<Item = W>,
    mut next: impl FnMut(&W) -> Vec<W>,
) -> usize {
    let mut queue: VecDeque<W> = start.into_iter().collect();
    let mut seen = HashSet::new();
    while let Some(world) = queue.pop_front() {
        if seen.insert(world.clone()) {
            assert!(seen.len() < 100_000, "the walk has no end");
            queue.extend(next(&world));
        }
    }
    seen.len()
}

//! The first `k` of any number of things by some order, of things with one key only the first, in memory for about `2k`.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::Hash;

/// An order of things that have keys.
pub(crate) trait Ranking {
    /// What is ranked.
    type Item: Copy;
    /// What only one thing of the answer may have.
    type Key: Eq + Hash;
    /// A total order; less is better.
    fn compare(&self, a: &Self::Item, b: &Self::Item) -> Ordering;
    /// The key of a thing.
    fn key(&self, item: &Self::Item) -> Self::Key;
}

/// The best `k` of what was offered. All calls must be given the same ranking.
#[derive(Debug)]
pub(crate) struct TopK<T> {
    k: usize,
    items: Vec<T>,
    /// The k-th best when `items` was tidied last; only better ones can matter.
    bound: Option<T>,
}

impl<T: Copy> TopK<T> {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, items: Vec::new(), bound: None }
    }

    /// Once there are `k` with different keys: the last of them. Nothing after it will be in the answer.
    pub(crate) fn bound(&self) -> Option<T> {
        self.bound
    }

    pub(crate) fn offer<R: Ranking<Item = T>>(&mut self, ranking: &R, item: T) {
        if self.bound.is_some_and(|bound| ranking.compare(&item, &bound) != Ordering::Less) {
            return;
        }
        self.items.push(item);
        if self.items.len() >= self.k.saturating_mul(2).max(64) {
            self.tidy(ranking);
        }
    }

    /// Takes what another selection of the same `k` has.
    pub(crate) fn merge<R: Ranking<Item = T>>(&mut self, ranking: &R, other: Self) {
        for item in other.items {
            self.offer(ranking, item);
        }
        // An early bound spares much work; later ones come with more items.
        if self.bound.is_none() && self.items.len() >= self.k {
            self.tidy(ranking);
        }
    }

    /// At most `k`, best first.
    pub(crate) fn finish<R: Ranking<Item = T>>(mut self, ranking: &R) -> Vec<T> {
        self.tidy(ranking);
        self.items
    }

    /// What is dropped here is worse than one with its key or than `k` with different keys, and so never in the answer.
    fn tidy<R: Ranking<Item = T>>(&mut self, ranking: &R) {
        self.items.sort_unstable_by(|a, b| ranking.compare(a, b));
        let mut seen = HashSet::with_capacity(self.items.len());
        self.items.retain(|item| seen.len() < self.k && seen.insert(ranking.key(item)));
        if self.items.len() == self.k {
            self.bound = self.items.last().copied();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct ByDistance;

    impl Ranking for ByDistance {
        type Item = (u8, u8);
        type Key = u8;
        fn compare(&self, a: &(u8, u8), b: &(u8, u8)) -> Ordering {
            a.cmp(b)
        }
        fn key(&self, item: &(u8, u8)) -> u8 {
            item.1
        }
    }

    proptest! {
        #[test]
        fn top_k_is_the_start_of_the_sorted_list_with_one_of_each_key(
            parts in prop::collection::vec(prop::collection::vec((0_u8..6, any::<u8>()), 0..300), 1..4),
            keys in 1_u8..=255,
            k in 0_usize..40,
        ) {
            let parts: Vec<Vec<(u8, u8)>> =
                parts.into_iter().map(|part| part.into_iter().map(|(d, key)| (d, key % keys)).collect()).collect();
            let mut expected = parts.concat();
            expected.sort_unstable();
            let mut seen = HashSet::new();
            expected.retain(|item| seen.insert(item.1));
            expected.truncate(k);

            let mut all = TopK::new(k);
            for part in parts {
                let mut top = TopK::new(k);
                part.into_iter().for_each(|item| top.offer(&ByDistance, item));
                all.merge(&ByDistance, top);
            }
            prop_assert_eq!(all.finish(&ByDistance), expected);
        }
    }

    #[test]
    fn no_limit_keeps_everything() {
        let mut top = TopK::new(usize::MAX);
        (0..200_u8).rev().for_each(|n| top.offer(&ByDistance, (n, n)));
        assert_eq!(top.finish(&ByDistance).len(), 200);
    }
}

//! Distances between vectors. Those of floats are of the library `diskann-vector`, with the vector instructions that the machine
//! has; those of 16-bit floats are widened first; those of whole numbers and bits are exact until they become a float.

use diskann_vector::DistanceFunction;
use diskann_vector::distance::{Distance, Metric};
use std::cmp::Ordering;
use std::sync::LazyLock;

static SQUARED_DISTANCE: LazyLock<Compared> = LazyLock::new(|| Compared(Distance::new(Metric::L2, None)));
static NEGATED_PRODUCT: LazyLock<Compared> = LazyLock::new(|| Compared(Distance::new(Metric::InnerProduct, None)));

/// A distance between vectors of floats: less is nearer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared(Distance<f32, f32>);

impl Compared {
    /// Squared Euclidean distance of vectors with so many elements.
    pub(crate) fn by_distance(dim: usize) -> Self {
        Self(Distance::new(Metric::L2, Some(dim)))
    }

    /// Inner product of vectors with so many elements, negated.
    pub(crate) fn by_inner_product(dim: usize) -> Self {
        Self(Distance::new(Metric::InnerProduct, Some(dim)))
    }

    pub(crate) fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        self.0.call(a, b)
    }
}

impl DistanceFunction<&[f32], &[f32], f32> for Compared {
    fn evaluate_similarity(&self, a: &[f32], b: &[f32]) -> f32 {
        self.distance(a, b)
    }
}

/// Squared Euclidean distance.
#[inline]
#[must_use]
pub fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    SQUARED_DISTANCE.distance(a, b)
}

/// Inner product.
#[inline]
#[must_use]
pub fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    0.0 - NEGATED_PRODUCT.distance(a, b)
}

/// Euclidean length.
#[inline]
#[must_use]
pub fn norm(a: &[f32]) -> f32 {
    inner_product(a, a).sqrt()
}

/// Cosine of the angle, given both lengths; 0 with a vector of no length.
#[inline]
#[must_use]
pub fn cosine(a: &[f32], b: &[f32], norm_a: f32, norm_b: f32) -> f32 {
    cosine_of(inner_product(a, b), norm_a, norm_b)
}

/// The same, given the inner product.
#[inline]
#[must_use]
pub fn cosine_of(inner_product: f32, norm_a: f32, norm_b: f32) -> f32 {
    // One after the other: the product of two lengths may be out of range where neither is.
    if norm_a == 0.0 || norm_b == 0.0 { 0.0 } else { (inner_product / norm_a / norm_b).clamp(-1.0, 1.0) }
}

/// Squared Euclidean distance of 8-bit integers. Not larger than 32,768 squares of 255, which 32 bits hold.
#[inline]
#[must_use]
pub fn squared_distance_i8(a: &[u8], b: &[u8]) -> f32 {
    sum_i8(a, b, |a, b| (a - b) * (a - b))
}

/// Inner product of 8-bit integers.
#[inline]
#[must_use]
pub fn inner_product_i8(a: &[u8], b: &[u8]) -> f32 {
    sum_i8(a, b, |a, b| a * b)
}

#[inline(always)]
#[expect(clippy::cast_possible_wrap, reason = "the bytes are two's complement")]
fn sum_i8(a: &[u8], b: &[u8], term: impl Fn(i32, i32) -> i32) -> f32 {
    let sum: i32 = a.iter().zip(b).map(|(a, b)| term(i32::from(*a as i8), i32::from(*b as i8))).sum();
    sum as f32
}

/// Bits that differ.
#[inline]
#[must_use]
pub fn hamming(a: &[u8], b: &[u8]) -> f32 {
    let (differ, _) = count_bits(a, b, |a, b| (a ^ b, 0));
    differ as f32
}

/// Of the bits that are set in either, the share that is not set in both; 1 where none is set, as in Milvus.
#[inline]
#[must_use]
pub fn jaccard(a: &[u8], b: &[u8]) -> f32 {
    let (both, either) = count_bits(a, b, |a, b| (a & b, a | b));
    if either == 0 { 1.0 } else { (either - both) as f32 / either as f32 }
}

#[inline(always)]
fn count_bits(a: &[u8], b: &[u8], pair: impl Fn(u64, u64) -> (u64, u64)) -> (u32, u32) {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let words = a_words.iter().zip(b_words).map(|(a, b)| pair(u64::from_le_bytes(*a), u64::from_le_bytes(*b)));
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| pair(u64::from(*a), u64::from(*b)));
    words.chain(rest).fold((0, 0), |(first, second), (a, b)| (first + a.count_ones(), second + b.count_ones()))
}

/// Inner product of sparse vectors, whose places ascend; `None` where no place is in both.
#[inline]
#[must_use]
pub fn inner_product_sparse(a: impl Iterator<Item = (u32, f32)>, b: impl Iterator<Item = (u32, f32)>) -> Option<f32> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    let mut sum = None;
    while let (Some((a_place, a_value)), Some((b_place, b_value))) = (a.peek(), b.peek()) {
        match a_place.cmp(b_place) {
            Ordering::Less => drop(a.next()),
            Ordering::Greater => drop(b.next()),
            Ordering::Equal => {
                sum = Some(sum.unwrap_or(0.0) + f64::from(*a_value) * f64::from(*b_value));
                a.next();
                b.next();
            }
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "scores are 32-bit floats")]
    sum.map(|sum: f64| sum as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn small_whole_numbers_give_exact_distances(pairs in prop::collection::vec((-50_i32..50, -50_i32..50), 0..70)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().map(|(a, b)| (*a as f32, *b as f32)).unzip();
            let squared: i32 = pairs.iter().map(|(a, b)| (a - b) * (a - b)).sum();
            let inner: i32 = pairs.iter().map(|(a, b)| a * b).sum();
            prop_assert_eq!(squared_distance(&a, &b), squared as f32);
            prop_assert_eq!(inner_product(&a, &b), inner as f32);
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_and_bits_give_exact_distances(pairs in prop::collection::vec((any::<u8>(), any::<u8>()), 0..70)) {
            let (a, b): (Vec<u8>, Vec<u8>) = pairs.iter().copied().unzip();
            let signed = |byte: u8| i32::from(byte.cast_signed());
            let squared: i32 = pairs.iter().map(|(a, b)| (signed(*a) - signed(*b)).pow(2)).sum();
            let inner: i32 = pairs.iter().map(|(a, b)| signed(*a) * signed(*b)).sum();
            prop_assert_eq!((squared_distance_i8(&a, &b), inner_product_i8(&a, &b)), (squared as f32, inner as f32));
            let bits = |count: fn(u8, u8) -> u8| pairs.iter().map(|(a, b)| count(*a, *b).count_ones()).sum::<u32>() as f32;
            prop_assert_eq!(hamming(&a, &b), bits(|a, b| a ^ b));
            let (both, either) = (bits(|a, b| a & b), bits(|a, b| a | b));
            prop_assert_eq!(jaccard(&a, &b), if either == 0.0 { 1.0 } else { (either - both) / either });
        }

        #[test]
        fn sparse_vectors_have_the_product_of_dense_ones(
            a in prop::collection::btree_map(0_u32..40, -9_i8..9, 0..20),
            b in prop::collection::btree_map(0_u32..40, -9_i8..9, 0..20),
        ) {
            let entries = |map: &std::collections::BTreeMap<u32, i8>| -> Vec<(u32, f32)> {
                map.iter().map(|(place, value)| (*place, f32::from(*value))).collect()
            };
            let shared: Vec<i32> = a.iter().filter_map(|(at, a)| Some(i32::from(*a) * i32::from(*b.get(at)?))).collect();
            let expected = (!shared.is_empty()).then(|| shared.iter().sum::<i32>() as f32);
            prop_assert_eq!(inner_product_sparse(entries(&a).into_iter(), entries(&b).into_iter()), expected);
        }
    }

    #[test]
    fn the_longest_vectors_of_whole_numbers_do_not_overflow() {
        let (low, high) = (vec![0x80_u8; 32_768], vec![0x7f_u8; 32_768]);
        assert_eq!(squared_distance_i8(&low, &high), (32_768.0_f64 * 255.0 * 255.0) as f32);
        assert_eq!(inner_product_i8(&low, &low), 32_768.0 * 128.0 * 128.0);
    }

    #[test]
    fn a_vector_of_no_length_is_like_nothing() {
        let zero = [0.0; 20];
        let one = [1.0; 20];
        assert_eq!(cosine(&zero, &one, norm(&zero), norm(&one)), 0.0);
        assert_eq!(cosine(&zero, &zero, 0.0, 0.0), 0.0);
        assert!((cosine(&one, &one, norm(&one), norm(&one)) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn long_vectors_have_an_angle() {
        let long = [1e18_f32; 20];
        assert!((cosine(&long, &long, norm(&long), norm(&long)) - 1.0).abs() < 1e-6);
    }
}

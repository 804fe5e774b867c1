//! Distances between vectors of 32-bit floats, written so that the compiler uses vector instructions.

/// Numbers that are added up side by side: a multiple of every vector width.
const LANES: usize = 16;

/// Squared Euclidean distance.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

/// Inner product.
pub(crate) fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| a * b)
}

/// Euclidean length.
pub(crate) fn norm(a: &[f32]) -> f32 {
    inner_product(a, a).sqrt()
}

/// Cosine of the angle, given both lengths; 0 with a vector of no length.
pub(crate) fn cosine(a: &[f32], b: &[f32], norm_a: f32, norm_b: f32) -> f32 {
    // One after the other: the product of two lengths may be out of range where neither is.
    if norm_a == 0.0 || norm_b == 0.0 { 0.0 } else { (inner_product(a, b) / norm_a / norm_b).clamp(-1.0, 1.0) }
}

#[inline(always)]
fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += term(*a, *b);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
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

//! Several lists of hits become one, by the rankers of Milvus. Pure.

use super::options::Options;
use elanus_types::Failure;
use std::{cmp::Ordering, collections::HashMap, f64::consts::PI, hash::Hash};

/// Largest `k` of reciprocal rank fusion, itself not allowed.
const K_MAX: f64 = 16_384.0;

/// How lists become one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ranker {
    /// By the place in each list: the sum of `1 / (k + place)`.
    Reciprocal { k: f64 },
    /// By the scores in each list, each list with its weight.
    Weighted { weights: Vec<f64>, normalized: bool },
}

/// A hit of the one list, and where it is in the many: list and place of its best score there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ranked<K> {
    pub(super) key: K,
    pub(super) score: f32,
    pub(super) list: usize,
    pub(super) place: usize,
}

impl Ranker {
    /// What the parameters of a request say about `lists` lists.
    ///
    /// # Errors
    /// 1100 in the words of Milvus.
    pub(super) fn of(options: &Options, lists: usize) -> Result<Self, Failure> {
        match options.text("strategy").or_else(|| options.text("reranker")).unwrap_or("rrf") {
            "rrf" => {
                let k = match options.text("k") {
                    None => 60.0,
                    Some(text) => {
                        text.parse().map_err(|_| Failure::invalid("The type of rank param k should be float"))?
                    }
                };
                if !(k > 0.0 && k < K_MAX) {
                    return Err(Failure::invalid(format!("The rank params k should be in range (0, {K_MAX})")));
                }
                Ok(Self::Reciprocal { k })
            }
            "weighted" => {
                let text =
                    options.text("weights").ok_or_else(|| Failure::invalid("weights not found in rank_params"))?;
                let weights: Vec<f64> = serde_json::from_str(text)
                    .map_err(|_| Failure::invalid("The weights param should be an array of numbers"))?;
                if weights.len() != lists {
                    return Err(Failure::invalid(format!(
                        "the length of weights param mismatch with ann search requests: \
                         invalid parameter[expected={lists}][actual={}]",
                        weights.len()
                    )));
                }
                if weights.iter().any(|weight| !(0.0..=1.0).contains(weight)) {
                    return Err(Failure::invalid("rank param weight should be in range [0, 1]"));
                }
                let normalized = match options.text("norm_score").unwrap_or("true").to_ascii_lowercase().as_str() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(Failure::invalid("Weighted rerank err, norm_score should been bool type")),
                };
                Ok(Self::Weighted { weights, normalized })
            }
            other => Err(Failure::invalid(format!("unsupported rank type {other}"))),
        }
    }

    /// The one list, best first, ties by key. Each list comes best first, with the metric of its scores.
    pub(super) fn merge<K: Copy + Ord + Hash>(&self, lists: &[(&str, Vec<(K, f32)>)]) -> Vec<Ranked<K>> {
        // Sums of distances are distances: less is better.
        let all_distances = lists.iter().all(|(metric, _)| is_distance(metric));
        let rising = matches!(self, Self::Weighted { normalized: false, .. }) && all_distances;
        let mut sums: HashMap<K, (f64, usize, usize)> = HashMap::new();
        for (list, (metric, hits)) in lists.iter().enumerate() {
            for (place, (key, score)) in hits.iter().enumerate() {
                let part = match self {
                    Self::Reciprocal { k } => 1.0 / (k + place as f64 + 1.0),
                    Self::Weighted { weights, normalized: true } => weights[list] * normal(metric, (*score).into()),
                    Self::Weighted { weights, .. } if rising || !is_distance(metric) => {
                        weights[list] * f64::from(*score)
                    }
                    Self::Weighted { weights, .. } => weights[list] * normal(metric, (*score).into()),
                };
                sums.entry(*key).or_insert((0.0, list, place)).0 += part;
            }
        }
        let ranked =
            sums.into_iter().map(|(key, (score, list, place))| Ranked { key, score: score as f32, list, place });
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_unstable_by(|a, b| {
            let by_score = a.score.total_cmp(&b.score);
            (if rising { by_score } else { by_score.reverse() }).then_with(|| a.key.cmp(&b.key))
        });
        ranked
    }

    /// True where less is better in the merged list.
    pub(super) fn rises(&self, metrics: &[&str]) -> bool {
        matches!(self, Self::Weighted { normalized: false, .. }) && metrics.iter().all(|metric| is_distance(metric))
    }
}

/// How the scores of its hits make the score of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupScore {
    Best,
    Sum,
    Average,
}

impl GroupScore {
    pub(super) fn of(options: &Options) -> Result<Self, Failure> {
        match options.text("rank_group_scorer").unwrap_or("max") {
            "max" => Ok(Self::Best),
            "sum" => Ok(Self::Sum),
            "avg" => Ok(Self::Average),
            other => Err(Failure::invalid(format!("input group scorer type: {other} is not supported!"))),
        }
    }

    /// The hits in groups: `limit` groups after `offset`, best first, each with at most `size` hits; ties as they came.
    pub(super) fn pick<K: Copy, G: Eq + Hash>(
        self,
        hits: &[Ranked<K>],
        group: impl Fn(&Ranked<K>) -> G,
        (offset, limit, size): (usize, usize, usize),
        rising: bool,
    ) -> Vec<Ranked<K>> {
        let mut places: HashMap<G, usize> = HashMap::new();
        let mut groups: Vec<Vec<Ranked<K>>> = Vec::new();
        for hit in hits {
            let place = *places.entry(group(hit)).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Vec::new());
            }
            if groups[place].len() < size {
                groups[place].push(*hit);
            }
        }
        let score = |group: &[Ranked<K>]| {
            let sum: f64 = group.iter().map(|hit| f64::from(hit.score)).sum();
            match self {
                Self::Best => f64::from(group[0].score),
                Self::Sum => sum,
                Self::Average => sum / group.len() as f64,
            }
        };
        groups.sort_by(|a, b| -> Ordering {
            let by_score = score(a).total_cmp(&score(b));
            if rising { by_score } else { by_score.reverse() }
        });
        groups.into_iter().skip(offset).take(limit).flatten().collect()
    }
}

fn is_distance(metric: &str) -> bool {
    !matches!(metric, "IP" | "COSINE" | "BM25")
}

/// A score as a number from 0 to 1, more is better.
fn normal(metric: &str, score: f64) -> f64 {
    match metric {
        "COSINE" => (1.0 + score) * 0.5,
        "IP" => 0.5 + score.atan() / PI,
        "BM25" => 2.0 * score.atan() / PI,
        _ => 1.0 - 2.0 * score.atan() / PI,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_proto::common::KeyValuePair;

    fn options(pairs: &[(&str, &str)]) -> Options {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| KeyValuePair { key: (*k).into(), value: (*v).into() }).collect();
        Options::read(&pairs).unwrap()
    }

    fn merged(ranker: &Ranker, lists: &[(&str, &[(i64, f32)])]) -> Vec<(i64, f32)> {
        let lists: Vec<_> = lists.iter().map(|(metric, hits)| (*metric, hits.to_vec())).collect();
        ranker.merge(&lists).into_iter().map(|hit| (hit.key, hit.score)).collect()
    }

    #[test]
    fn reciprocal_ranks_add_up_and_ties_go_by_key() {
        let ranker = Ranker::of(&options(&[("strategy", "rrf"), ("params", r#"{"k": 1}"#)]), 2).unwrap();
        let found = merged(&ranker, &[("L2", &[(7, 0.0), (5, 1.0)]), ("IP", &[(5, 9.0), (7, 8.0), (1, 7.0)])]);
        let both = (1.0 / 2.0 + 1.0 / 3.0) as f32;
        assert_eq!(found, [(5, both), (7, both), (1, 0.25)]);
    }

    #[test]
    fn weights_meet_scores_that_are_normal_or_as_they_are() {
        let weighted = |norm: &str| {
            let params = format!(r#"{{"weights": [0.5, 1], "norm_score": {norm}}}"#);
            Ranker::of(&options(&[("strategy", "weighted"), ("params", &params)]), 2).unwrap()
        };
        let found = merged(&weighted("true"), &[("COSINE", &[(1, 1.0)]), ("L2", &[(2, 0.0), (1, 1.0)])]);
        assert_eq!(found, [(1, 1.0), (2, 1.0)]);
        let found = merged(&weighted("false"), &[("L2", &[(1, 4.0)]), ("L2", &[(2, 1.0), (1, 1.5)])]);
        assert_eq!(found, [(2, 1.0), (1, 3.5)]);
        let found = merged(&weighted("false"), &[("IP", &[(1, 4.0)]), ("L2", &[(2, 0.0)])]);
        assert_eq!(found, [(1, 2.0), (2, 1.0)]);
    }

    #[test]
    fn groups_are_scored_as_asked() {
        let hit = |key: i64, score: f32| Ranked { key, score, list: 0, place: 0 };
        let hits = [hit(10, 0.9), hit(20, 0.8), hit(21, 0.7), hit(11, 0.1), hit(30, 0.05)];
        let pick = |scorer: &str, window| {
            let scorer = GroupScore::of(&options(&[("rank_group_scorer", scorer)])).unwrap();
            let found = scorer.pick(&hits, |hit| hit.key / 10, window, false);
            found.into_iter().map(|hit| hit.key).collect::<Vec<_>>()
        };
        assert_eq!(pick("max", (0, 2, 2)), [10, 11, 20, 21]);
        assert_eq!(pick("sum", (0, 1, 2)), [20, 21]);
        assert_eq!(pick("avg", (1, 1, 2)), [10, 11]);
        assert_eq!(pick("avg", (0, 9, 1)), [10, 20, 30]);
    }

    #[test]
    fn what_is_no_ranker_is_refused() {
        for (pairs, fragment) in [
            (&[("strategy", "best")][..], "unsupported rank type best"),
            (&[("params", r#"{"k": 0}"#)], "The rank params k should be in range (0, 16384)"),
            (&[("params", r#"{"k": "x"}"#)], "The type of rank param k should be float"),
            (&[("strategy", "weighted")], "weights not found in rank_params"),
            (&[("strategy", "weighted"), ("weights", "1")], "should be an array"),
            (&[("strategy", "weighted"), ("weights", "[1]")], "[expected=2][actual=1]"),
            (&[("strategy", "weighted"), ("weights", "[1, 1.5]")], "weight should be in range [0, 1]"),
            (&[("strategy", "weighted"), ("weights", "[1, 1]"), ("norm_score", "3")], "norm_score should been bool"),
        ] {
            let failure = Ranker::of(&options(pairs), 2).unwrap_err();
            assert!(failure.message.contains(fragment), "{}", failure.message);
        }
        assert!(GroupScore::of(&options(&[("rank_group_scorer", "min")])).is_err());
    }
}

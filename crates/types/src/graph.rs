//! Index definitions that a graph of neighbours (Vamana) serves, and what it is built and searched with. One place, so that
//! who plans, builds, searches and describes means the same.

use crate::schema::{DataType, FieldSchema, IndexInfo};
use std::collections::BTreeMap;

/// What is asked of an index definition.
pub const INDEX_TYPE: &str = "index_type";
/// How vectors are compared.
pub const METRIC_TYPE: &str = "metric_type";

/// Links of a row where the definition says nothing.
const DEGREE: usize = 32;
/// Fewer links than this leave rows that no search finds; more than the other are slower and find nothing more.
const DEGREES: (usize, usize) = (8, 128);
/// Candidates while the graph is built, where the definition says nothing.
const BUILD_CANDIDATES: usize = 64;
/// What a build looks at for one row: at least the first, not more than the other.
const BUILD_CANDIDATES_RANGE: (usize, usize) = (16, 512);
/// Candidates of a search that says nothing; recall is at least 0.95 with them on clustered vectors.
const SEARCH_CANDIDATES: i64 = 100;
/// Candidates that stand for one cell of an inverted file.
const CANDIDATES_A_CELL: i64 = 16;
/// More candidates than this are no search of a graph any more.
const SEARCH_CANDIDATES_MAX: i64 = 1 << 15;

/// Types of indexes that are built as what they say.
const GRAPHS: [&str; 1] = ["DISKANN"];
/// Types of indexes that a graph serves in their place, with at least the same recall.
const SERVED_BY_GRAPHS: [&str; 10] =
    ["AUTOINDEX", "HNSW", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "IVF_RABITQ", "SCANN"];

/// How a graph compares vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GraphMetric {
    /// Squared Euclidean distance.
    L2,
    /// Inner product.
    Ip,
    /// Cosine of the angle.
    Cosine,
}

impl GraphMetric {
    /// Every metric.
    pub const ALL: [Self; 3] = [Self::L2, Self::Ip, Self::Cosine];

    /// Its name in definitions and requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::L2 => "L2",
            Self::Ip => "IP",
            Self::Cosine => "COSINE",
        }
    }

    /// The metric with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }
}

/// A graph that is to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GraphSpec {
    /// How it compares.
    pub metric: GraphMetric,
    /// Links of a row, about.
    pub degree: usize,
    /// Candidates while it is built.
    pub candidates: usize,
}

/// True for a type of index whose structure a graph is, or takes the place of.
#[must_use]
pub fn is_graph_type(index_type: &str) -> bool {
    GRAPHS.contains(&index_type) || SERVED_BY_GRAPHS.contains(&index_type)
}

/// True for a type that promises exactly what is built.
#[must_use]
pub fn is_built_as_named(index_type: &str) -> bool {
    GRAPHS.contains(&index_type)
}

impl GraphSpec {
    /// The graph that serves this definition on this field; `None` where an exact scan does.
    #[must_use]
    pub fn of(field: &FieldSchema, index: &IndexInfo) -> Option<Self> {
        let dense = matches!(
            field.data_type,
            DataType::FloatVector | DataType::Float16Vector | DataType::BFloat16Vector | DataType::Int8Vector
        );
        let params = &index.params;
        if !dense || index.field_id != field.id || !params.get(INDEX_TYPE).is_some_and(|name| is_graph_type(name)) {
            return None;
        }
        let number = |name: &str| params.get(name).and_then(|text| text.parse::<usize>().ok());
        Some(Self {
            metric: GraphMetric::named(params.get(METRIC_TYPE)?)?,
            // HNSW has twice as many links where all rows are.
            degree: number("M")
                .map(|links| links.saturating_mul(2))
                .or(number("max_degree"))
                .unwrap_or(DEGREE)
                .clamp(DEGREES.0, DEGREES.1),
            candidates: number("efConstruction")
                .or(number("search_list_size"))
                .unwrap_or(BUILD_CANDIDATES)
                .clamp(BUILD_CANDIDATES_RANGE.0, BUILD_CANDIDATES_RANGE.1),
        })
    }
}

/// How many candidates a search for `hits` rows looks at in each graph, by the definition's type and the parameters of the
/// search; 0: it is exact.
#[must_use]
pub fn search_candidates<'a>(
    definition: &BTreeMap<String, String>,
    hits: i64,
    param: impl Fn(&str) -> Option<&'a str>,
) -> i64 {
    if !definition.get(INDEX_TYPE).is_some_and(|name| is_graph_type(name)) {
        return 0;
    }
    let number = |name: &str| param(name).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    let cells = number("nprobe").saturating_mul(CANDIDATES_A_CELL);
    let said = [number("ef"), number("search_list"), number("reorder_k"), cells].into_iter().max().unwrap_or(0);
    let wanted = if said > 0 { said } else { SEARCH_CANDIDATES };
    // A search of a graph for all of its candidates finds the last of them badly.
    let least = if number("ef") > 0 { hits } else { hits.saturating_mul(2) };
    wanted.max(least).min(SEARCH_CANDIDATES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FieldId, IndexId};

    fn index(pairs: &[(&str, &str)]) -> IndexInfo {
        let params = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        IndexInfo { id: IndexId(1), name: "i".to_owned(), field_id: FieldId(100), params }
    }

    fn spec(data_type: DataType, pairs: &[(&str, &str)]) -> Option<GraphSpec> {
        GraphSpec::of(&FieldSchema::new(FieldId(100), "v", data_type), &index(pairs))
    }

    #[test]
    fn dense_vectors_under_every_type_but_flat_have_graphs() {
        for name in GRAPHS.iter().chain(&SERVED_BY_GRAPHS) {
            let found = spec(DataType::FloatVector, &[(INDEX_TYPE, name), (METRIC_TYPE, "L2")]);
            assert_eq!(found, Some(GraphSpec { metric: GraphMetric::L2, degree: 32, candidates: 64 }), "{name}");
        }
        for (data_type, name, metric) in [
            (DataType::FloatVector, "FLAT", "L2"),
            (DataType::FloatVector, "HNSW", "HAMMING"),
            (DataType::BinaryVector, "AUTOINDEX", "HAMMING"),
            (DataType::SparseFloatVector, "AUTOINDEX", "IP"),
            (DataType::Int64, "AUTOINDEX", ""),
        ] {
            assert_eq!(spec(data_type, &[(INDEX_TYPE, name), (METRIC_TYPE, metric)]), None, "{name} {metric}");
        }
    }

    #[test]
    fn parameters_of_a_definition_are_kept_within_what_is_of_use() {
        let of = |pairs: &[(&str, &str)]| {
            let all = [&[(INDEX_TYPE, "HNSW"), (METRIC_TYPE, "COSINE")], pairs].concat();
            spec(DataType::Int8Vector, &all).map(|spec| (spec.degree, spec.candidates))
        };
        assert_eq!(of(&[("M", "30"), ("efConstruction", "200")]), Some((60, 200)));
        assert_eq!(of(&[("max_degree", "56"), ("search_list_size", "100")]), Some((56, 100)));
        assert_eq!(of(&[("M", "2048"), ("efConstruction", "1")]), Some((128, 16)));
        assert_eq!(of(&[("M", "x"), ("efConstruction", "2147483647")]), Some((32, 512)));
    }

    #[test]
    fn searches_look_at_enough_candidates_whatever_they_say() {
        let candidates = |name: &str, hits, said: &[(&str, &str)]| {
            let of = |key: &str| said.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
            search_candidates(&index(&[(INDEX_TYPE, name)]).params, hits, of)
        };
        assert_eq!(candidates("FLAT", 10, &[("ef", "10")]), 0);
        assert_eq!(candidates("HNSW", 10, &[]), 100);
        assert_eq!(candidates("HNSW", 500, &[]), 1_000);
        assert_eq!(candidates("HNSW", 10, &[("ef", "30")]), 30);
        assert_eq!(candidates("HNSW", 10, &[("ef", "2147483647")]), 1 << 15);
        assert_eq!(candidates("IVF_FLAT", 10, &[("nprobe", "16")]), 256);
        assert_eq!(candidates("DISKANN", 10, &[("search_list", "40")]), 40);
    }
}

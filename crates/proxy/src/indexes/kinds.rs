//! The index types that programs ask for: what each is for, which parameters it takes, and what serves it here.
//!
//! Ranges and texts are those of Milvus, because programs and their tests read them.

use elanus_types::{
    Failure,
    graph::{is_built_as_named, is_graph_type},
    schema::DataType,
};
use std::collections::BTreeMap;

/// The type of an index that nobody chose.
pub(super) const AUTOINDEX: &str = "AUTOINDEX";

/// Kinds of fields that take the same indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// 32, 16 and 16 bits an element.
    Floats,
    Int8s,
    Bits,
    Sparse,
    Bool,
    Int,
    Float,
    Text,
    Json,
    Array,
}

/// What a parameter may be. Bounds belong to the range unless it is said.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Int(i64, i64),
    /// The end does not belong to it.
    Share(f64, f64),
    AtLeast(f64),
    OneOf(&'static [&'static str]),
}

type Rules = &'static [(&'static str, Rule)];

/// An index type.
#[derive(Debug)]
pub(crate) struct Kind {
    name: &'static str,
    on: &'static [On],
    build: Rules,
    search: Rules,
    /// A search parameter that must not be less than the number of hits.
    at_least_hits: &'static [&'static str],
    /// It promises no structure: searches are exact, or whatever serves them best.
    exact: bool,
}

const I32_MAX: i64 = i32::MAX as i64;
const FLOATS: &[On] = &[On::Floats];
const GRAPH: &[On] = &[On::Floats, On::Int8s];
const NLIST: (&str, Rule) = ("nlist", Rule::Int(1, 65_536));
const NPROBE: (&str, Rule) = ("nprobe", Rule::Int(1, 65_536));
const M: (&str, Rule) = ("M", Rule::Int(2, 2048));
const EF_CONSTRUCTION: (&str, Rule) = ("efConstruction", Rule::Int(1, I32_MAX));
const NBITS: (&str, Rule) = ("nbits", Rule::Int(1, 24));
const PQ_M: (&str, Rule) = ("m", Rule::Int(1, 65_536));
const EF: (&str, Rule) = ("ef", Rule::Int(1, I32_MAX));
const REFINE: (&str, Rule) = ("refine", Rule::OneOf(&["true", "false"]));
const REFINE_K: (&str, Rule) = ("refine_k", Rule::AtLeast(1.0));
const REFINE_TYPE: (&str, Rule) = ("refine_type", Rule::OneOf(&["SQ6", "SQ8", "FP16", "BF16", "FP32", "FLAT"]));
const SQ_TYPE: (&str, Rule) = ("sq_type", Rule::OneOf(&["SQ4U", "SQ6", "SQ8", "BF16", "FP16"]));
const SPARSE_BUILD: Rules = &[
    ("drop_ratio_build", Rule::Share(0.0, 1.0)),
    ("inverted_index_algo", Rule::OneOf(&["TAAT_NAIVE", "DAAT_WAND", "DAAT_MAXSCORE"])),
];
const SPARSE_SEARCH: Rules = &[("drop_ratio_search", Rule::Share(0.0, 1.0))];

const fn kind(name: &'static str, on: &'static [On], build: Rules, search: Rules) -> Kind {
    Kind { name, on, build, search, at_least_hits: &[], exact: false }
}

/// Every index type that is taken.
const KINDS: [Kind; 22] = [
    Kind {
        exact: true,
        ..kind(
            AUTOINDEX,
            &[On::Floats, On::Int8s, On::Bits, On::Sparse, On::Bool, On::Int, On::Float, On::Text, On::Json, On::Array],
            &[],
            &[],
        )
    },
    Kind { exact: true, ..kind("FLAT", FLOATS, &[], &[]) },
    kind("IVF_FLAT", FLOATS, &[NLIST], &[NPROBE]),
    kind("IVF_SQ8", FLOATS, &[NLIST], &[NPROBE]),
    kind("IVF_PQ", FLOATS, &[NLIST, PQ_M, NBITS], &[NPROBE]),
    kind("IVF_RABITQ", FLOATS, &[NLIST, REFINE, REFINE_TYPE], &[NPROBE, REFINE_K]),
    Kind {
        at_least_hits: &["reorder_k"],
        ..kind(
            "SCANN",
            FLOATS,
            &[NLIST, ("with_raw_data", Rule::OneOf(&["true", "false"])), ("sub_dim", Rule::Int(1, 65_536))],
            &[NPROBE, ("reorder_k", Rule::Int(1, I32_MAX))],
        )
    },
    Kind { at_least_hits: &["ef"], ..kind("HNSW", GRAPH, &[M, EF_CONSTRUCTION], &[EF]) },
    Kind {
        at_least_hits: &["ef"],
        ..kind("HNSW_SQ", GRAPH, &[M, EF_CONSTRUCTION, SQ_TYPE, REFINE, REFINE_TYPE], &[EF, REFINE_K])
    },
    Kind {
        at_least_hits: &["ef"],
        ..kind("HNSW_PQ", GRAPH, &[M, EF_CONSTRUCTION, PQ_M, NBITS, REFINE, REFINE_TYPE], &[EF, REFINE_K])
    },
    Kind {
        at_least_hits: &["ef"],
        ..kind(
            "HNSW_PRQ",
            GRAPH,
            &[M, EF_CONSTRUCTION, PQ_M, NBITS, ("nrq", Rule::Int(1, 16)), REFINE, REFINE_TYPE],
            &[EF, REFINE_K],
        )
    },
    Kind {
        at_least_hits: &["search_list"],
        ..kind(
            "DISKANN",
            FLOATS,
            &[("max_degree", Rule::Int(1, 2048)), ("search_list_size", Rule::Int(1, I32_MAX))],
            &[("search_list", Rule::Int(1, I32_MAX))],
        )
    },
    Kind { exact: true, ..kind("BIN_FLAT", &[On::Bits], &[], &[]) },
    kind("BIN_IVF_FLAT", &[On::Bits], &[NLIST], &[NPROBE]),
    kind("SPARSE_INVERTED_INDEX", &[On::Sparse], SPARSE_BUILD, SPARSE_SEARCH),
    kind("SPARSE_WAND", &[On::Sparse], SPARSE_BUILD, SPARSE_SEARCH),
    kind("INVERTED", &[On::Bool, On::Int, On::Float, On::Text, On::Json, On::Array], &[], &[]),
    kind("BITMAP", &[On::Bool, On::Int, On::Text, On::Array], &[("bitmap_cardinality_limit", Rule::Int(1, 1000))], &[]),
    kind("STL_SORT", &[On::Int, On::Float, On::Text], &[], &[]),
    kind("Trie", &[On::Text], &[], &[]),
    kind("TRIE", &[On::Text], &[], &[]),
    kind(
        "NGRAM",
        &[On::Text, On::Json],
        &[("min_gram", Rule::Int(1, I32_MAX)), ("max_gram", Rule::Int(1, I32_MAX))],
        &[],
    ),
];

/// Why a metric is refused.
pub(super) fn no_metric(data_type: DataType, metric: &str) -> String {
    let of = match On::of(data_type) {
        On::Bits => "binary",
        On::Sparse => return format!("only IP is the supported metric type for sparse index, not {metric}"),
        On::Int8s => "int",
        _ => "float",
    };
    format!("{of} vector index does not support metric type: {metric}")
}

/// How Milvus names a type.
pub(crate) fn type_name(data_type: DataType) -> &'static str {
    match data_type.number() {
        1 => "Bool",
        2 => "Int8",
        3 => "Int16",
        4 => "Int32",
        5 => "Int64",
        10 => "Float",
        11 => "Double",
        21 => "VarChar",
        22 => "Array",
        23 => "JSON",
        100 => "BinaryVector",
        101 => "FloatVector",
        102 => "Float16Vector",
        103 => "BFloat16Vector",
        104 => "SparseFloatVector",
        105 => "Int8Vector",
        _ => "None",
    }
}

impl On {
    /// By the numbers of the Milvus API.
    fn of(data_type: DataType) -> Self {
        match data_type.number() {
            1 => Self::Bool,
            2..=5 => Self::Int,
            10 | 11 => Self::Float,
            22 => Self::Array,
            23 => Self::Json,
            100 => Self::Bits,
            104 => Self::Sparse,
            105 => Self::Int8s,
            101..=103 => Self::Floats,
            _ => Self::Text,
        }
    }
}

impl Kind {
    /// The type with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// Names of all types, for documents.
    #[cfg(test)]
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|kind| kind.name)
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn is_for(&self, data_type: DataType) -> bool {
        self.on.contains(&On::of(data_type))
    }

    /// What answers instead of the structure that the name promises; nothing where the promise is kept to the letter.
    pub(super) fn served_by(&self, data_type: DataType) -> Option<&'static str> {
        let has_graph = matches!(On::of(data_type), On::Floats | On::Int8s) && is_graph_type(self.name);
        match data_type.is_vector() {
            _ if self.exact || has_graph && is_built_as_named(self.name) => None,
            true if has_graph => Some("VAMANA"),
            true => Some("exact scan of all rows, recall 1.0"),
            false => Some("scan of the column"),
        }
    }

    /// Refuses parameters of a definition that are out of their ranges; unknown ones are kept and have no effect.
    pub(super) fn check_build(&self, params: &BTreeMap<String, String>) -> Result<(), Failure> {
        for (name, rule) in self.build {
            if let Some(text) = params.get(*name) {
                rule.check(name, text).map_err(invalid_index_params)?;
            }
        }
        Ok(())
    }

    /// Refuses search parameters of this type that are out of their ranges, and those that are too small for `hits`.
    ///
    /// # Errors
    /// 1100 in the words of Milvus.
    pub(crate) fn check_search<'a>(
        &self,
        hits: Option<i64>,
        param: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<(), Failure> {
        for (name, rule) in self.search {
            let Some(text) = param(name) else { continue };
            rule.check(name, text).map_err(|why| Failure::invalid(why).context("failed to search"))?;
            if let Some(hits) = hits
                && self.at_least_hits.contains(name)
                && text.parse().is_ok_and(|value: i64| value < hits)
            {
                let why = format!("{name}({text}) should be larger than k({hits})");
                return Err(Failure::invalid(why).context("failed to search"));
            }
        }
        Ok(())
    }
}

impl Rule {
    fn check(self, name: &str, text: &str) -> Result<(), String> {
        let range = |value: &str, range: String| {
            Err(format!("Out of range in json: param '{name}' ({value}) should be in range {range}"))
        };
        match self {
            Self::Int(min, max) => match text.parse::<i64>() {
                Err(_) => Err(format!("invalid integer value, key: '{name}', value: '{text}': invalid parameter")),
                Ok(value) if (min..=max).contains(&value) => Ok(()),
                Ok(_) => range(text, format!("[{min}, {max}]")),
            },
            Self::Share(min, end) => match text.parse::<f64>() {
                Err(_) => Err(format!("invalid float value, key: '{name}', value: '{text}': invalid parameter")),
                Ok(value) if (min..end).contains(&value) => Ok(()),
                Ok(value) => range(&format!("{value:.6}"), format!("[{min:.6}, {end:.6})")),
            },
            Self::AtLeast(min) => match text.parse::<f64>() {
                Err(_) => Err(format!("invalid float value, key: '{name}', value: '{text}': invalid parameter")),
                Ok(value) if value >= min && value.is_finite() => Ok(()),
                Ok(value) => range(&format!("{value:.6}"), format!("[{min:.6}, inf)")),
            },
            Self::OneOf(names) if names.iter().any(|known| known.eq_ignore_ascii_case(text)) => Ok(()),
            Self::OneOf(names) => {
                Err(format!("param '{name}' ({text}) is not supported, supported: [{}]", names.join(" ")))
            }
        }
    }
}

/// As Milvus ends what it says about parameters of an index.
pub(super) fn invalid_index_params(why: impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("{why}: invalid parameter[expected=valid index params][actual=invalid index params]"))
}

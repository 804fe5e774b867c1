//! Parameters of an index definition: from what a request carries to what is kept, with the checks of Milvus.

use super::kinds::{AUTOINDEX, Kind, invalid_index_params, no_metric, type_name};
use elanus_filter::{Filter, Params};
use elanus_proto::{common::KeyValuePair, convert};
use elanus_types::{
    Code, Failure,
    schema::{CollectionSchema, DataType, FieldSchema},
};
use std::collections::BTreeMap;

/// What a JSON path index takes its values as.
const JSON_CASTS: [&str; 7] = ["BOOL", "DOUBLE", "VARCHAR", "JSON", "ARRAY_BOOL", "ARRAY_DOUBLE", "ARRAY_VARCHAR"];
/// The parameter that names a path into a JSON field.
pub(super) const JSON_PATH: &str = "json_path";
const JSON_CAST: &str = "json_cast_type";
const METRIC: &str = "metric_type";
const TYPE: &str = "index_type";

/// The parameters as they are kept: flat, with index type, metric and JSON path filled in. `named` is what the request
/// calls the field: a key, where it means one of the dynamic field.
pub(super) fn index_params(
    schema: &CollectionSchema,
    field: &FieldSchema,
    named: &str,
    pairs: &[KeyValuePair],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut params = flatten(pairs)?;
    params.retain(|key, value| !(value.is_empty() && [TYPE, METRIC, JSON_PATH].contains(&key.as_str())));
    let name = params.remove(TYPE).unwrap_or_else(|| AUTOINDEX.to_owned());
    let kind = Kind::named(&name).ok_or_else(|| {
        Failure::invalid(format!("invalid parameter[expected=valid index][actual=invalid index type: {name}]"))
    })?;
    if !kind.is_for(field.data_type) {
        return Err(wrong_field(kind, field));
    }
    if kind.name() == "BITMAP" && field.is_primary_key {
        return Err(invalid_index_params("create bitmap index on primary key not supported"));
    }
    kind.check_build(&params)?;
    if let [usual, ..] = field.data_type.metrics() {
        let metric = params.remove(METRIC).unwrap_or_else(|| (*usual).to_owned()).to_ascii_uppercase();
        if !field.data_type.metrics().contains(&metric.as_str()) {
            return Err(invalid_index_params(no_metric(field.data_type, &metric)));
        }
        params.insert(METRIC.to_owned(), metric);
        check_division(field, &params)?;
    } else if field.data_type == DataType::Json {
        json_path(schema, named, &mut params)?;
    }
    if kind.name() == "NGRAM" {
        check_grams(&params)?;
    }
    params.insert(TYPE.to_owned(), name);
    Ok(params)
}

fn wrong_field(kind: &Kind, field: &FieldSchema) -> Failure {
    let ty = type_name(field.data_type);
    let why = match kind.name() {
        _ if field.data_type.is_vector() => format!("data type {ty} can't build with this index {}", kind.name()),
        "INVERTED" => format!("INVERTED are not supported on {ty} field"),
        "BITMAP" => "bitmap index are only supported on bool, int, string and array field".to_owned(),
        "STL_SORT" => "STL_SORT are only supported on numeric, varchar or timestamptz field".to_owned(),
        "Trie" | "TRIE" => "TRIE are only supported on varchar field".to_owned(),
        "NGRAM" => "Ngram index can only be created on VARCHAR or JSON field".to_owned(),
        other => format!("data type {ty} can't build with this index {other}"),
    };
    invalid_index_params(why)
}

/// A product quantizer cuts a vector into `m` pieces of the same length.
fn check_division(field: &FieldSchema, params: &BTreeMap<String, String>) -> Result<(), Failure> {
    let (Some(dim), Some(m)) = (field.dim(), params.get("m").and_then(|m| m.parse::<usize>().ok())) else {
        return Ok(());
    };
    if !dim.is_multiple_of(m) {
        return Err(invalid_index_params(format!(
            "The dimension of the vector (dim) should be a multiple of the number of subquantizers (m). \
             Dimension: {dim}, M: {m}"
        )));
    }
    Ok(())
}

fn check_grams(params: &BTreeMap<String, String>) -> Result<(), Failure> {
    let number = |key| params.get(key).and_then(|text: &String| text.parse::<i64>().ok());
    match (number("min_gram"), number("max_gram")) {
        (Some(min), Some(max)) if min <= max => Ok(()),
        (Some(min), Some(max)) => Err(invalid_index_params(format!(
            "invalid min_gram or max_gram value for Ngram index, min_gram: {min}, max_gram: {max}"
        ))),
        _ => Err(invalid_index_params("Ngram index must specify both min_gram and max_gram")),
    }
}

fn json_path(schema: &CollectionSchema, named: &str, params: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    let Some(cast) = params.get(JSON_CAST) else {
        let text = format!("json index must specify cast type: missing parameter[missing_param={JSON_CAST}]");
        return Err(Failure::new(Code::ParameterMissing, text));
    };
    if !JSON_CASTS.iter().any(|known| known.eq_ignore_ascii_case(cast)) {
        return Err(invalid_index_params(format!("json_cast_type {cast} is not supported")));
    }
    let path = params.entry(JSON_PATH.to_owned()).or_insert_with(|| named.to_owned());
    let known = schema.field(path).is_some_and(|field| field.name == *path);
    if !known && Filter::parse(&format!("exists {path}"), schema, &Params::new()).is_err() {
        return Err(Failure::invalid(format!("cannot parse identifier: {path}")));
    }
    Ok(())
}

/// `params` is a JSON object whose members count as if they stood beside it.
fn flatten(pairs: &[KeyValuePair]) -> Result<BTreeMap<String, String>, Failure> {
    let mut flat = convert::pairs_to_map(pairs);
    let Some(text) = flat.remove("params").filter(|text| !text.trim().is_empty()) else {
        return Ok(flat);
    };
    let nested: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)
        .map_err(|error| Failure::invalid(format!("index params are not a JSON object: {error}")))?;
    for (key, value) in nested {
        let text = match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        flat.entry(key).or_insert(text);
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_types::FieldId;

    fn field(data_type: DataType) -> FieldSchema {
        let mut field = FieldSchema::new(FieldId(101), "f", data_type);
        field.type_params.insert("dim".to_owned(), "12".to_owned());
        field
    }

    fn params(data_type: DataType, pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, Failure> {
        let pairs: Vec<_> =
            pairs.iter().map(|(key, value)| KeyValuePair { key: (*key).into(), value: (*value).into() }).collect();
        let field = field(data_type);
        let schema = CollectionSchema { fields: vec![field.clone()], ..CollectionSchema::default() };
        index_params(&schema, &field, "f", &pairs).map(|map| map.into_iter().collect())
    }

    #[test]
    fn what_is_left_out_is_filled_in_and_nested_params_are_flat() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            params(DataType::FloatVector, &[]).unwrap(),
            [pair("index_type", "AUTOINDEX"), pair("metric_type", "COSINE")]
        );
        assert_eq!(
            params(DataType::FloatVector, &[("params", r#"{"index_type":"HNSW","metric_type":"ip","M":8}"#)]).unwrap(),
            [pair("M", "8"), pair("index_type", "HNSW"), pair("metric_type", "IP")]
        );
        assert_eq!(params(DataType::Int64, &[("index_type", "")]).unwrap(), [pair("index_type", "AUTOINDEX")]);
        assert_eq!(
            params(DataType::Json, &[("index_type", "INVERTED"), ("json_cast_type", "double")]).unwrap(),
            [pair("index_type", "INVERTED"), pair("json_cast_type", "double"), pair("json_path", "f")]
        );
    }

    #[test]
    fn every_type_is_taken_on_its_fields_and_refused_on_others() {
        use DataType::{
            Array, BFloat16Vector, BinaryVector, Bool, Double, Float16Vector, FloatVector, Int8Vector, Int32, Json,
            SparseFloatVector, VarChar,
        };
        let all = [
            Bool,
            Int32,
            Double,
            VarChar,
            Array,
            Json,
            BinaryVector,
            FloatVector,
            Float16Vector,
            BFloat16Vector,
            SparseFloatVector,
            Int8Vector,
        ];
        let others = [("min_gram", "2"), ("max_gram", "3"), ("json_cast_type", "varchar")];
        for name in Kind::names() {
            let taken: &[DataType] = match name {
                AUTOINDEX => &all,
                "INVERTED" => &[Bool, Int32, Double, VarChar, Array, Json],
                "BITMAP" => &[Bool, Int32, VarChar, Array],
                "STL_SORT" => &[Int32, Double, VarChar],
                "Trie" | "TRIE" => &[VarChar],
                "NGRAM" => &[VarChar, Json],
                "BIN_FLAT" | "BIN_IVF_FLAT" => &[BinaryVector],
                "SPARSE_INVERTED_INDEX" | "SPARSE_WAND" => &[SparseFloatVector],
                "HNSW" | "HNSW_SQ" | "HNSW_PQ" | "HNSW_PRQ" => {
                    &[FloatVector, Float16Vector, BFloat16Vector, Int8Vector]
                }
                _ => &[FloatVector, Float16Vector, BFloat16Vector],
            };
            for data_type in all {
                let pairs = [&others[..], &[("index_type", name)]].concat();
                let found = params(data_type, &pairs);
                assert_eq!(found.is_ok(), taken.contains(&data_type), "{name} on {data_type:?}: {found:?}");
            }
        }
        for (data_type, metric) in [(BinaryVector, "HAMMING"), (SparseFloatVector, "IP"), (Int8Vector, "COSINE")] {
            assert!(params(data_type, &[]).unwrap().contains(&("metric_type".to_owned(), metric.to_owned())));
        }
    }

    #[test]
    fn what_is_wrong_is_refused_in_the_words_of_milvus() {
        use DataType::{FloatVector, Int64, Json, VarChar};
        for (data_type, pairs, fragment) in [
            (FloatVector, &[("index_type", "HNS")][..], "[expected=valid index][actual=invalid index type: HNS]"),
            (FloatVector, &[("metric_type", "HAMMING")], "float vector index does not support metric type: HAMMING"),
            (FloatVector, &[("params", "[]")], "not a JSON object"),
            (FloatVector, &[("index_type", "HNSW"), ("M", "1")], "param 'M' (1) should be in range [2, 2048]"),
            (FloatVector, &[("index_type", "HNSW"), ("M", "2049")], "param 'M' (2049) should be in range [2, 2048]"),
            (FloatVector, &[("index_type", "HNSW"), ("M", "True")], "invalid integer value, key: 'M', value: 'True'"),
            (
                FloatVector,
                &[("index_type", "HNSW"), ("efConstruction", "0")],
                "param 'efConstruction' (0) should be in range [1, 2147483647]",
            ),
            (FloatVector, &[("index_type", "IVF_FLAT"), ("nlist", "0")], "param 'nlist' (0) should be in range"),
            (FloatVector, &[("index_type", "IVF_PQ"), ("m", "5")], "should be a multiple of the number of subquant"),
            (
                FloatVector,
                &[("index_type", "IVF_PQ"), ("nbits", "25")],
                "param 'nbits' (25) should be in range [1, 24]",
            ),
            (FloatVector, &[("index_type", "HNSW_SQ"), ("sq_type", "SQ9")], "param 'sq_type' (SQ9) is not supported"),
            (FloatVector, &[("index_type", "BIN_FLAT")], "data type FloatVector can't build with this index BIN_FLAT"),
            (
                DataType::SparseFloatVector,
                &[("metric_type", "COSINE")],
                "only IP is the supported metric type for sparse index",
            ),
            (DataType::BinaryVector, &[("metric_type", "L2")], "binary vector index does not support metric type: L2"),
            (Int64, &[("index_type", "FLAT")], "data type Int64 can't build with this index FLAT"),
            (Int64, &[("index_type", "Trie")], "TRIE are only supported on varchar field"),
            (VarChar, &[("index_type", "BITMAP"), ("bitmap_cardinality_limit", "1001")], "[1, 1000]"),
            (VarChar, &[("index_type", "NGRAM"), ("min_gram", "2")], "must specify both min_gram and max_gram"),
            (Json, &[("index_type", "INVERTED")], "json index must specify cast type"),
            (Json, &[("json_cast_type", "int")], "json_cast_type int is not supported"),
            (Json, &[("json_cast_type", "double"), ("json_path", "f[")], "cannot parse identifier: f["),
            (Json, &[("json_cast_type", "double"), ("json_path", "g['a']")], "cannot parse identifier: g['a']"),
        ] {
            let failure = params(data_type, pairs).unwrap_err();
            assert!(failure.message.contains(fragment), "{}", failure.message);
            assert!(matches!(failure.code, Code::ParameterInvalid | Code::ParameterMissing));
        }
        let key = FieldSchema { is_primary_key: true, ..field(Int64) };
        let pairs = [KeyValuePair { key: "index_type".into(), value: "BITMAP".into() }];
        let failure = index_params(&CollectionSchema::default(), &key, "f", &pairs).unwrap_err();
        assert!(failure.message.contains("bitmap index on primary key"), "{}", failure.message);
    }

    #[test]
    fn search_parameters_are_those_of_the_type() {
        let check = |name: &str, hits, key: &'static str, value: &'static str| {
            Kind::named(name).unwrap().check_search(hits, move |wanted| (wanted == key).then_some(value))
        };
        assert!(check("HNSW", Some(10), "ef", "10").is_ok());
        assert!(check("HNSW", Some(10), "nprobe", "0").is_ok());
        assert!(check("HNSW", None, "ef", "9").is_ok());
        for (name, key, value, fragment) in [
            ("HNSW", "ef", "9", "ef(9) should be larger than k(10)"),
            ("HNSW", "ef", "0", "param 'ef' (0) should be in range [1, 2147483647]"),
            ("HNSW", "ef", "32.0", "invalid integer value, key: 'ef', value: '32.0'"),
            ("IVF_SQ8", "nprobe", "65537", "param 'nprobe' (65537) should be in range [1, 65536]"),
            ("SCANN", "reorder_k", "3", "reorder_k(3) should be larger than k(10)"),
            ("DISKANN", "search_list", "0", "param 'search_list' (0) should be in range"),
            ("SPARSE_WAND", "drop_ratio_search", "1", "(1.000000) should be in range [0.000000, 1.000000)"),
        ] {
            let failure = check(name, Some(10), key, value).unwrap_err();
            assert!(failure.message.contains(fragment), "{}", failure.message);
        }
    }
}

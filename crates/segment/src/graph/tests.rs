use super::*;
use arrow::array::{ArrayRef, FixedSizeBinaryArray, FixedSizeListArray};
use arrow::datatypes::Float32Type;
use elanus_types::graph::GraphSpec;
use elanus_types::schema::{DataType, FieldSchema};
use proptest::prelude::*;
use std::sync::Arc;

const DIM: usize = 16;
const TYPES: [DataType; 4] =
    [DataType::FloatVector, DataType::Float16Vector, DataType::BFloat16Vector, DataType::Int8Vector];

fn field(data_type: DataType) -> FieldSchema {
    let mut field = FieldSchema::new(FieldId(101), "v", data_type);
    field.type_params.insert("dim".to_owned(), DIM.to_string());
    field
}

fn spec(metric: GraphMetric) -> GraphSpec {
    GraphSpec { metric, degree: 32, candidates: 64 }
}

/// A few clusters, always the same. Small whole numbers, which every type holds.
fn vectors(rows: usize) -> Vec<[i8; DIM]> {
    let mut state = 42_u64;
    let mut next = move |range: i8| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i8::try_from((state >> 33) % u64::from(range.unsigned_abs())).unwrap() - range / 2
    };
    let centres: Vec<[i8; DIM]> = (0..20).map(|_| std::array::from_fn(|_| next(100))).collect();
    (0..rows).map(|row| std::array::from_fn(|at| centres[row % 20][at] + next(21))).collect()
}

fn column(data_type: DataType, rows: &[Option<[i8; DIM]>]) -> ArrayRef {
    if data_type == DataType::FloatVector {
        let rows = rows.iter().map(|row| row.map(|row| row.map(|number| Some(f32::from(number)))));
        return Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, DIM as i32));
    }
    let bytes = |row: &[i8; DIM]| -> Vec<u8> {
        let numbers: Vec<f32> = row.iter().map(|number| f32::from(*number)).collect();
        match crate::vector::narrowed(data_type, &numbers) {
            Some(bytes) => bytes.unwrap(),
            None => row.iter().map(|number| number.cast_unsigned()).collect(),
        }
    };
    let rows = rows.iter().map(|row| row.as_ref().map(bytes));
    let width = if data_type == DataType::Int8Vector { DIM } else { 2 * DIM };
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows, width as i32).unwrap())
}

fn built(data_type: DataType, metric: GraphMetric, rows: &[Option<[i8; DIM]>]) -> Bytes {
    let column = column(data_type, rows);
    build_graph(&field(data_type), spec(metric), &column, || true).unwrap().unwrap().bytes
}

fn distance(metric: GraphMetric, a: &[i8; DIM], b: &[i8; DIM]) -> f64 {
    let sum = |term: fn(f64, f64) -> f64| -> f64 { a.iter().zip(b).map(|(a, b)| term((*a).into(), (*b).into())).sum() };
    let dot = sum(|a, b| a * b);
    match metric {
        GraphMetric::L2 => sum(|a, b| (a - b) * (a - b)),
        GraphMetric::Ip => -dot,
        GraphMetric::Cosine => -dot / (sum(|a, _| a * a).sqrt() * sum(|_, b| b * b).sqrt()).max(1e-9),
    }
}

fn near(graph: &Graph, rows: &[[i8; DIM]], query: &[i8; DIM], candidates: usize, may: May<'_>) -> Vec<u32> {
    let metric = graph.head.metric;
    let mut distances = |of: &[u32], to: &mut Vec<f32>| {
        to.extend(of.iter().map(|row| distance(metric, query, &rows[*row as usize]) as f32));
    };
    let found = graph.near(&mut distances, candidates, may).unwrap();
    assert!(found.is_sorted_by(|a, b| a.0 <= b.0) && found.len() <= candidates);
    found.into_iter().map(|(_, row)| row).collect()
}

#[test]
fn the_candidates_have_nearly_all_of_the_nearest_for_every_type_and_metric() {
    let rows = vectors(4_000);
    let some: Vec<_> = rows.iter().copied().map(Some).collect();
    for data_type in TYPES {
        for metric in GraphMetric::ALL {
            let graph = Graph::open(&built(data_type, metric, &some)).unwrap();
            let (mut found, mut wanted) = (0, 0);
            for query in rows.iter().step_by(200) {
                let candidates = near(&graph, &rows, query, 64, None);
                let mut nearest: Vec<_> = rows.iter().map(|row| distance(metric, query, row)).collect();
                nearest.sort_by(f64::total_cmp);
                let bound = nearest[9];
                wanted += 10;
                let hits = candidates.iter().filter(|row| distance(metric, query, &rows[**row as usize]) <= bound);
                found += hits.count().min(10);
            }
            assert!(found * 100 >= wanted * 95, "{data_type:?} {metric:?}: {found} of {wanted}");
        }
    }
}

#[test]
fn only_rows_that_may_be_found_are() {
    let rows = vectors(2_000);
    let some: Vec<_> = rows.iter().copied().map(Some).collect();
    let graph = Graph::open(&built(DataType::FloatVector, GraphMetric::L2, &some)).unwrap();
    let found = near(&graph, &rows, &rows[7], 50, Some(&|row| row % 3 == 0));
    assert!(found.len() > 10 && found.iter().all(|row| row % 3 == 0), "{found:?}");
}

#[test]
fn rows_without_vector_are_not_in_it_and_the_head_says_so() {
    let all = vectors(300);
    let rows: Vec<_> = all.iter().copied().enumerate().map(|(at, row)| (at % 3 > 0).then_some(row)).collect();
    for data_type in TYPES {
        let graph = Graph::open(&built(data_type, GraphMetric::Cosine, &rows)).unwrap();
        let expected = GraphHead { field: FieldId(101), metric: GraphMetric::Cosine, dim: 16, rows: 300, vectors: 200 };
        assert_eq!(*graph.head(), expected);
        let found = near(&graph, &all, &[3; DIM], 1_000, None);
        assert!(found.len() > 190 && found.iter().all(|row| row % 3 > 0), "{}", found.len());
    }
    let none = built(DataType::FloatVector, GraphMetric::L2, &[None, None]);
    assert_eq!(near(&Graph::open(&none).unwrap(), &all, &[1; DIM], 10, None), Vec::<u32>::new());
}

#[test]
fn the_same_rows_give_the_same_file() {
    let some: Vec<_> = vectors(500).into_iter().map(Some).collect();
    let build = || built(DataType::FloatVector, GraphMetric::L2, &some);
    assert_eq!(build(), build());
}

#[test]
fn a_build_that_is_told_to_stop_stops() {
    let some: Vec<_> = vectors(500).into_iter().map(Some).collect();
    let column = column(DataType::FloatVector, &some);
    let stopped = build_graph(&field(DataType::FloatVector), spec(GraphMetric::L2), &column, || false).unwrap();
    assert!(stopped.is_none());
}

#[test]
fn a_column_of_another_type_is_refused() {
    let column = column(DataType::Int8Vector, &[Some([1; DIM])]);
    for data_type in [DataType::FloatVector, DataType::Float16Vector, DataType::Int64] {
        let error = build_graph(&field(data_type), spec(GraphMetric::L2), &column, || true).unwrap_err();
        assert!(matches!(error, Error::Field { .. }), "{data_type:?}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// A graph with any byte changed or cut off is refused, or searched without harm.
    #[test]
    fn damaged_graphs_do_no_harm(at in 0_usize..1_000_000, to in any::<u8>(), cut in any::<bool>()) {
        static GOOD: std::sync::OnceLock<(Vec<[i8; DIM]>, Bytes)> = std::sync::OnceLock::new();
        let (rows, good) = GOOD.get_or_init(|| {
            let rows = vectors(120);
            let some: Vec<_> = rows.iter().copied().map(Some).collect();
            (rows, built(DataType::Int8Vector, GraphMetric::L2, &some))
        });
        let at = at % good.len();
        let mut bytes = good.to_vec();
        if cut { bytes.truncate(at); } else { bytes[at] = to; }
        if let Ok(graph) = Graph::open(&bytes) {
            prop_assert!(!cut);
            let mut measured = |of: &[u32], to: &mut Vec<f32>| {
                to.extend(of.iter().map(|row| rows.get(*row as usize).map_or(0.0, |row| distance(GraphMetric::L2, &[5; DIM], row) as f32)));
            };
            let found = graph.near(&mut measured, 20, None).unwrap();
            prop_assert!(found.iter().all(|(_, row)| *row < graph.head.rows));
        }
    }

    #[test]
    fn what_is_no_graph_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Graph::open(&bytes).is_err());
        let headed = [b"ELANUSG\x01".as_slice(), &bytes].concat();
        prop_assert!(Graph::open(&headed).is_err());
    }
}

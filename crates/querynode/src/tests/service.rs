//! The service over a real metadata store, against a naive model and promise by promise.

use super::world::{Act, DIM, Row, World, ids_of, row};
use crate::QueryConfig;
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use elanus_meta::model::NewCollection;
use elanus_proto::querynode::{QueryRequest, ReadScope, SearchRequest, SearchResponse};
use elanus_proto::schema::template_value::Val;
use elanus_proto::schema::{LongArray, TemplateArrayValue, TemplateValue, template_array_value::Data};
use elanus_types::schema::{CollectionDefinition, DataType, DefaultValue, FieldSchema};
use elanus_types::{Code, FieldId, PartitionId, Timestamp};
use futures::future::join_all;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

fn bytes_of(queries: &[[f32; DIM]]) -> bytes::Bytes {
    queries.iter().flatten().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>().into()
}

fn search(scope: ReadScope, metric: &str, queries: &[[f32; DIM]], limit: i64) -> SearchRequest {
    SearchRequest {
        scope: Some(scope),
        vector_field: "v".to_owned(),
        metric_type: metric.to_owned(),
        queries: bytes_of(queries),
        nq: i64::try_from(queries.len()).unwrap(),
        limit,
        ..SearchRequest::default()
    }
}

fn at(scope: ReadScope, ts: Timestamp) -> ReadScope {
    ReadScope { read_ts: ts.0.try_into().unwrap(), ..scope }
}

fn v(x: i16) -> [f32; DIM] {
    [f32::from(x), 0.0, 0.0]
}

/// All hits as (id, score).
fn hits(answer: &SearchResponse) -> Vec<(i64, f32)> {
    ids_of(&answer.arrow_ipc).into_iter().zip(answer.scores.iter().copied()).collect()
}

/// Rows with the partition and the number of the write that they came with.
type State = Vec<(Row, PartitionId)>;

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, i64, [i8; DIM]),
    Upsert(usize, i64, [i8; DIM]),
    Delete(i64),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Vec<Step>>>> {
    let step = prop_oneof![
        3 => (0_usize..2, 0_i64..15, prop::array::uniform3(-3_i8..4)).prop_map(|(p, id, v)| Step::Insert(p, id, v)),
        2 => (0_usize..2, 0_i64..15, prop::array::uniform3(-3_i8..4)).prop_map(|(p, id, v)| Step::Upsert(p, id, v)),
        2 => (0_i64..15).prop_map(Step::Delete),
    ];
    // A request names a key once, as the proxy sees to it for upserts.
    let request = prop::collection::vec(step, 1..6).prop_map(|mut steps| {
        let mut seen = std::collections::HashSet::new();
        steps.retain(|step| match step {
            Step::Insert(_, id, _) | Step::Upsert(_, id, _) | Step::Delete(id) => seen.insert(*id),
        });
        steps
    });
    prop::collection::vec(prop::collection::vec(request, 1..3), 1..6)
}

fn score(metric: &str, query: [f32; DIM], v: [f32; DIM]) -> f64 {
    let pairs = || query.iter().zip(v).map(|(a, b)| (f64::from(*a), f64::from(b)));
    let inner: f64 = pairs().map(|(a, b)| a * b).sum();
    let length = |v: [f32; DIM]| v.iter().map(|a| f64::from(*a) * f64::from(*a)).sum::<f64>().sqrt();
    match metric {
        "L2" => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
        "IP" => inner,
        _ if length(query) == 0.0 || length(v) == 0.0 => 0.0,
        _ => inner / length(query) / length(v),
    }
}

/// A filter as the model understands it.
type Matches = fn(&Row) -> bool;

async fn check_state(world: &World, ts: Option<Timestamp>, state: &State, partitions: &[PartitionId]) {
    let scope = |filter: &str, parts: &[PartitionId]| {
        let scope = world.scope(filter, &["v", "age"]);
        let scope = ReadScope { partition_ids: parts.iter().map(|id| id.0).collect(), ..scope };
        ts.map_or(scope.clone(), |ts| at(scope, ts))
    };
    let filters: [(&str, Matches); 4] = [
        ("", |_| true),
        ("age > 2 and name is not null", |row| row.age > 2 && row.name.is_some()),
        ("id in [3, 4, 5, 3, 99]", |row| [3, 4, 5].contains(&row.id)),
        ("id >= 5", |row| row.id >= 5),
    ];
    for parts in [&[][..], &partitions[1..]] {
        for (text, matches) in filters {
            let found = state.iter().filter(|(row, part)| matches(row) && (parts.is_empty() || parts.contains(part)));
            let found: Vec<&Row> = found.map(|(row, _)| row).collect();
            assert_eq!(world.count(scope(text, parts)).await, i64::try_from(found.len()).unwrap(), "{text}");

            let mut ids: Vec<i64> = found.iter().map(|row| row.id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(world.ids(scope(text, parts), -1, 0).await, ids, "{text}");
            let page: Vec<i64> = ids.iter().copied().skip(1).take(3).collect();
            assert_eq!(world.ids(scope(text, parts), 3, 1).await, page, "{text}");

            for metric in ["L2", "IP", "COSINE"] {
                check_search(world, scope(text, parts), metric, &found).await;
            }
        }
    }
}

async fn check_search(world: &World, scope: ReadScope, metric: &str, found: &[&Row]) {
    let queries = [[1.0, 2.0, -1.0], [0.0; DIM]];
    let answer = world.search(SearchRequest { offset: 1, ..search(scope, metric, &queries, 4) }).await.unwrap();
    let ids = ids_of(&answer.arrow_ipc);
    let mut start = 0;
    for (query, topk) in queries.iter().zip(&answer.topks) {
        let end = start + usize::try_from(*topk).unwrap();
        // Best score of each key, rounded: a cosine is not exact.
        let mut best: BTreeMap<i64, i64> = BTreeMap::new();
        for (id, v) in found.iter().filter_map(|row| Some((row.id, row.v?))) {
            let distance = score(metric, *query, v) * if metric == "L2" { 1.0 } else { -1.0 };
            let distance = (distance * 1e5).round() as i64;
            best.entry(id).and_modify(|best| *best = distance.min(*best)).or_insert(distance);
        }
        let mut expected: Vec<(i64, i64)> = best.into_iter().map(|(id, distance)| (distance, id)).collect();
        expected.sort_unstable();
        let expected: Vec<(i64, i64)> = expected.into_iter().skip(1).take(4).collect();
        let got = ids[start..end].iter().zip(&answer.scores[start..end]).map(|(id, score)| {
            let distance = f64::from(*score) * if metric == "L2" { 1.0 } else { -1.0 };
            ((distance * 1e5).round() as i64, *id)
        });
        let got: Vec<(i64, i64)> = got.collect();
        if metric == "COSINE" {
            // Equal angles of different lengths may differ in the last bit, and then keys do not break the tie.
            let distances = |hits: &[(i64, i64)]| hits.iter().map(|(distance, _)| *distance).collect::<Vec<_>>();
            assert_eq!(distances(&got), distances(&expected), "{metric}");
        } else {
            assert_eq!(got, expected, "{metric}");
        }
        start = end;
    }
    assert_eq!(start, ids.len());
}

async fn play(writes: Vec<Vec<Vec<Step>>>, cache_bytes_max: usize) {
    let world = World::with(QueryConfig { cache_bytes_max, cpu_concurrency: 2, ..QueryConfig::default() }).await;
    let other = world.coordinator.create_partition(world.collection.id, "other").await.unwrap();
    let partitions = [world.default_partition(), other.id];
    let mut state: State = Vec::new();
    let mut past: Vec<(Timestamp, State)> = Vec::new();
    for (number, requests) in (0_i64..).zip(writes) {
        let mut acts = Vec::new();
        let mut states = Vec::new();
        for steps in requests {
            acts.push(
                steps
                    .iter()
                    .map(|step| {
                        let made = |id: i64, v: [i8; DIM]| Row {
                            age: number,
                            v: (v[0] != 3).then(|| v.map(f32::from)),
                            ..row(id, [0.0; DIM])
                        };
                        match *step {
                            Step::Insert(part, id, v) => Act::Insert(partitions[part], made(id, v)),
                            Step::Upsert(part, id, v) => Act::Upsert(partitions[part], made(id, v)),
                            Step::Delete(id) => Act::Delete(id),
                        }
                    })
                    .collect::<Vec<_>>(),
            );
            for act in acts.last().unwrap() {
                if let Act::Delete(id) | Act::Upsert(_, Row { id, .. }) = act {
                    state.retain(|(row, _)| row.id != *id);
                }
                if let Act::Insert(part, row) | Act::Upsert(part, row) = act {
                    state.push((row.clone(), *part));
                }
            }
            states.push(state.clone());
        }
        let base = world.write(&acts).await;
        past.extend((0..).zip(states).map(|(offset, state)| (Timestamp(base.0 + offset), state)));
        check_state(&world, None, &state, &partitions).await;
    }
    for (ts, state) in past {
        check_state(&world, Some(ts), &state, &partitions).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn reads_now_and_in_the_past_answer_what_the_writes_say(writes in steps(), large in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(play(writes, if large { 1 << 30 } else { 0 }));
    }
}

#[tokio::test]
async fn columns_come_in_the_order_asked_for_and_the_hidden_one_never() {
    let world = World::new().await;
    world.insert([row(2, v(2)), row(1, v(1)), row(3, v(3))]).await;
    let scope = world.scope("", &["v", "name", "id"]);
    let request = QueryRequest { scope: Some(scope), limit: 10, ..QueryRequest::default() };
    let answer = world.query(request).await.unwrap();
    assert_eq!((answer.count, answer.read_ts), (3, u64::try_from(world.last_ts().await.0).unwrap()));
    let batch = elanus_segment::from_ipc(answer.arrow_ipc).unwrap();
    let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["v", "name", "id"]);
    assert_eq!(batch.column(2).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    let texts = batch.column(1).as_string::<i32>();
    assert_eq!((texts.value(0), texts.value(1), texts.is_null(2)), ("name 1", "name 2", true));

    let answer = world.search(search(world.scope("", &["age", "id"]), "L2", &[v(3)], 2)).await.unwrap();
    let batch = elanus_segment::from_ipc(answer.arrow_ipc).unwrap();
    let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "age", "id"]);
    assert_eq!((answer.topks, answer.scores), (vec![2], vec![0.0, 1.0]));

    let hidden = QueryRequest { scope: Some(world.scope("", &["$timestamp"])), limit: 1, ..QueryRequest::default() };
    assert_eq!(world.query(hidden).await.unwrap_err().code, Code::ParameterInvalid);
}

#[tokio::test]
async fn a_collection_without_rows_answers_with_none() {
    let world = World::new().await;
    assert_eq!(world.count(world.scope("", &[])).await, 0);
    assert_eq!(world.ids(world.scope("age == 1", &[]), -1, 0).await, [0_i64; 0]);
    let answer = world.search(search(world.scope("", &["v"]), "COSINE", &[v(1), v(2)], 5)).await.unwrap();
    assert_eq!((answer.topks, answer.scores), (vec![0, 0], vec![]));
    assert_eq!(elanus_segment::from_ipc(answer.arrow_ipc).unwrap().num_columns(), 2);
}

#[tokio::test]
async fn a_query_without_fields_answers_with_its_count() {
    let world = World::new().await;
    world.insert([row(1, v(1)), row(2, v(2))]).await;
    let request = QueryRequest { scope: Some(world.scope("", &[])), limit: 5, ..QueryRequest::default() };
    let answer = world.query(request).await.unwrap();
    assert_eq!(answer.count, 2);
}

#[tokio::test]
async fn of_rows_with_one_key_a_query_shows_the_newest_and_a_search_the_nearest() {
    let world = World::new().await;
    world.insert([Row { age: 1, ..row(7, v(10)) }, row(8, v(12))]).await;
    world.insert([Row { age: 2, ..row(7, v(20)) }]).await;
    let request = QueryRequest { scope: Some(world.scope("", &["age"])), limit: -1, ..QueryRequest::default() };
    assert_eq!(ids_of(&world.query(request).await.unwrap().arrow_ipc), [2, 1], "ages of keys 7 and 8");
    assert_eq!(world.count(world.scope("", &[])).await, 3);
    let answer = world.search(search(world.scope("", &[]), "L2", &[v(11)], 5)).await.unwrap();
    assert_eq!(hits(&answer), [(7, 1.0), (8, 1.0)]);
}

#[tokio::test]
async fn equal_scores_are_ordered_by_key() {
    let world = World::new().await;
    // Several pieces of work, the smallest keys in the last one.
    world.insert((0..80_000).rev().map(|id| row(id, v(1)))).await;
    world.insert((80_000..80_100).map(|id| row(id, v(-1)))).await;
    for metric in ["L2", "IP", "COSINE"] {
        let answer = world.search(search(world.scope("", &[]), metric, &[v(0)], 10)).await.unwrap();
        assert_eq!(ids_of(&answer.arrow_ipc), (0..10).collect::<Vec<i64>>(), "{metric}");
    }
    assert_eq!(world.ids(world.scope("age >= 0", &[]), 10, 0).await, (0..10).collect::<Vec<i64>>());
}

#[tokio::test]
async fn rows_that_are_older_than_a_field_have_its_default_value_and_are_decoded_for_it_once() {
    let world = World::new().await;
    world.insert([row(1, v(1)), row(2, v(2))]).await;
    assert_eq!(world.count(world.scope("age >= 0", &[])).await, 2);
    let before = world.last_ts().await;
    let mut field = FieldSchema::new(FieldId::NONE, "late", DataType::Int32);
    field.default_value = Some(DefaultValue::Int(5));
    let add = |definition: &mut CollectionDefinition| {
        definition.schema.fields.push(field);
        Ok(())
    };
    world.coordinator.alter_collection(world.collection.id, add).await.unwrap();
    assert_eq!(world.ids(world.scope("late == 5", &["late"]), -1, 0).await, [1, 2]);
    let gets = world.gets();
    assert_eq!(world.count(world.scope("late == 5", &[])).await, 2);
    assert_eq!(world.gets(), gets, "the files are in memory with the new field");
    let request = QueryRequest { scope: Some(at(world.scope("late == 5", &[]), before)), ..QueryRequest::default() };
    let refused = world.query(request).await.unwrap_err();
    assert_eq!(refused.code, Code::ParameterInvalid, "there was no such field then");
}

#[tokio::test]
async fn a_range_search_has_one_open_and_one_closed_end() {
    let world = World::new().await;
    world.insert((0_i16..6).map(|id| row(id.into(), v(id)))).await;
    let found = async |metric: &str, query, radius, range_filter| {
        let request = search(world.scope("", &[]), metric, &[query], 10);
        let answer = world.search(SearchRequest { radius, range_filter, ..request }).await.unwrap();
        hits(&answer)
    };
    assert_eq!(found("L2", v(0), Some(9.0), Some(1.0)).await, [(1, 1.0), (2, 4.0)]);
    assert_eq!(found("L2", v(0), Some(1.0), None).await, [(0, 0.0)]);
    assert_eq!(found("IP", v(1), Some(2.0), Some(4.0)).await, [(4, 4.0), (3, 3.0)]);
    assert_eq!(found("IP", v(1), None, Some(1.0)).await, [(1, 1.0), (0, 0.0)]);
    assert_eq!(found("COSINE", v(1), Some(0.5), None).await.len(), 5, "a vector of no length has similarity 0");
}

#[tokio::test]
async fn template_parameters_reach_the_filter() {
    let world = World::new().await;
    world.insert((0_i16..6).map(|id| row(id.into(), v(id)))).await;
    let list = TemplateArrayValue { data: Some(Data::LongData(LongArray { data: vec![4, 2, 9] })) };
    let params = [("keys".to_owned(), TemplateValue { val: Some(Val::ArrayVal(list)) })];
    let scope = ReadScope { filter_params: params.into(), ..world.scope("id in {keys}", &[]) };
    assert_eq!(world.ids(scope, -1, 0).await, [2, 4]);
    let params = [("x".to_owned(), TemplateValue { val: None })];
    let scope = ReadScope { filter_params: params.into(), ..world.scope("id == {x}", &[]) };
    let refused = world.query(QueryRequest { scope: Some(scope), limit: 1, ..QueryRequest::default() }).await;
    assert_eq!(refused.unwrap_err().code, Code::ParameterInvalid);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_refused() {
    let world = World::new().await;
    world.insert([row(1, v(1))]).await;
    let scope = || world.scope("", &["id"]);
    let good = || search(scope(), "L2", &[v(1)], 1);
    let no_number = [f32::NAN, 0.0, 0.0];
    for (bad, why) in [
        (SearchRequest { vector_field: "age".into(), ..good() }, "age is not a vector"),
        (SearchRequest { vector_field: "w".into(), ..good() }, "field w does not exist"),
        (SearchRequest { metric_type: "HAMMING".into(), ..good() }, "HAMMING"),
        (SearchRequest { nq: 2, ..good() }, "dimension mismatch"),
        (SearchRequest { nq: 0, ..good() }, "nq"),
        (SearchRequest { queries: bytes::Bytes::from_static(b"12345678"), ..good() }, "dim 3"),
        (SearchRequest { queries: bytes_of(&[no_number]), ..good() }, "finite"),
        (SearchRequest { limit: 0, ..good() }, "limit"),
        (SearchRequest { limit: -1, ..good() }, "limit"),
        (SearchRequest { offset: -1, ..good() }, "offset"),
        (SearchRequest { scope: Some(world.scope("", &["nope"])), ..good() }, "field nope does not exist"),
        (SearchRequest { scope: Some(world.scope("age >", &[])), ..good() }, "cannot parse expression"),
        (SearchRequest { scope: Some(world.scope("nope == 1", &[])), ..good() }, "nope"),
    ] {
        let failure = world.search(bad).await.unwrap_err();
        assert_eq!(failure.code, Code::ParameterInvalid, "{failure}");
        assert!(failure.message.contains(why), "{failure} says {why}");
    }
    let failure = world.query(QueryRequest::default()).await.unwrap_err();
    assert_eq!(failure.code, Code::ParameterMissing);
    let scope = ReadScope { collection_id: 999, ..scope() };
    let failure = world.query(QueryRequest { scope: Some(scope), ..QueryRequest::default() }).await.unwrap_err();
    assert_eq!(failure.code, Code::CollectionNotFound);
}

#[tokio::test]
async fn a_time_before_or_after_the_collections_life_finds_none() {
    let world = World::new().await;
    let ts = world.insert([row(1, v(1))]).await;
    let early = at(world.scope("", &[]), Timestamp(world.collection.created_ts.0 - 1));
    let early = QueryRequest { scope: Some(early), limit: 1, ..QueryRequest::default() };
    assert_eq!(world.query(early).await.unwrap_err().code, Code::CollectionNotFound);

    world.coordinator.drop_collection(world.collection.id).await.unwrap();
    let now = QueryRequest { scope: Some(world.scope("", &[])), limit: 1, ..QueryRequest::default() };
    assert_eq!(world.query(now).await.unwrap_err().code, Code::CollectionNotFound);
    assert_eq!(world.ids(at(world.scope("", &[]), ts), -1, 0).await, [1], "what is kept can still be read");
}

#[tokio::test]
async fn the_rows_of_a_dropped_partition_are_gone_now_and_there_before() {
    let world = World::new().await;
    let other = world.coordinator.create_partition(world.collection.id, "other").await.unwrap();
    world.insert([row(1, v(1))]).await;
    let before = world.commit([Act::Insert(other.id, row(2, v(2))), Act::Insert(other.id, row(3, v(3)))]).await;
    assert_eq!(world.ids(world.scope("", &[]), -1, 0).await, [1, 2, 3]);
    let scope = ReadScope { partition_ids: vec![other.id.0], ..world.scope("", &[]) };
    assert_eq!(world.ids(scope.clone(), -1, 0).await, [2, 3]);
    world.coordinator.drop_partition(world.collection.id, "other").await.unwrap();
    assert_eq!(world.ids(world.scope("", &[]), -1, 0).await, [1]);
    assert_eq!(world.count(scope.clone()).await, 0);
    assert_eq!(world.ids(at(scope, before), -1, 0).await, [2, 3]);
}

#[tokio::test]
async fn a_read_fetches_only_files_that_are_new() {
    let world = World::new().await;
    for id in 0..5 {
        world.insert([row(id, v(0))]).await;
    }
    assert_eq!(world.count(world.scope("age >= 0", &[])).await, 5);
    assert_eq!(world.gets(), 5);
    world.ids(world.scope("age >= 0", &[]), -1, 0).await;
    assert_eq!(world.gets(), 5, "nothing changed");
    world.commit([Act::Delete(3)]).await;
    assert_eq!(world.ids(world.scope("age >= 0", &[]), -1, 0).await, [0, 1, 2, 4]);
    assert_eq!(world.gets(), 6, "the delete log");
}

#[tokio::test]
async fn a_collection_larger_than_the_cache_is_read_all_the_same() {
    let world = World::with(QueryConfig { cache_bytes_max: 1, cpu_concurrency: 2, ..QueryConfig::default() }).await;
    for part in 0..5 {
        world.insert((part * 100..part * 100 + 100).map(|id| row(id, v(1)))).await;
    }
    for _ in 0..2 {
        assert_eq!(world.ids(world.scope("age >= 0", &[]), -1, 0).await, (0..500).collect::<Vec<i64>>());
    }
    let gets = world.gets();
    assert_eq!(world.count(world.scope("", &[])).await, 500);
    assert_eq!(world.count(world.scope("id in [5, 450, 700]", &[])).await, 2);
    assert_eq!(world.gets(), gets, "keys are enough to count");
}

#[tokio::test]
async fn reads_that_need_one_refresh_share_it() {
    let world = World::new().await;
    for id in 0..3 {
        world.insert([row(id, v(0))]).await;
    }
    let reads = join_all((0..20).map(|_| world.ids(world.scope("", &[]), -1, 0))).await;
    assert!(reads.iter().all(|ids| *ids == [0, 1, 2]));
    assert_eq!(world.gets(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_what_is_known_does_not_wait_for_the_refresh_of_others() {
    let world = World::new().await;
    let known = world.insert([row(1, v(1))]).await;
    assert_eq!(world.ids(world.scope("", &[]), -1, 0).await, [1]);
    world.insert([row(2, v(2))]).await;
    let closed = world.store.gate.acquire_many(1_000).await.unwrap();
    let mut newest = Box::pin(world.ids(world.scope("", &[]), -1, 0));
    assert!(futures::poll!(&mut newest).is_pending());
    assert_eq!(world.ids(at(world.scope("", &[]), known), -1, 0).await, [1]);
    drop(closed);
    assert_eq!(newest.await, [1, 2]);
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_view_before_it() {
    let world = World::new().await;
    let known = world.insert([row(1, v(1))]).await;
    assert_eq!(world.ids(world.scope("", &[]), -1, 0).await, [1]);
    world.insert([row(2, v(2))]).await;
    world.store.away.store(true, Ordering::SeqCst);
    let request = || QueryRequest { scope: Some(world.scope("", &["id"])), limit: -1, ..QueryRequest::default() };
    let failures = join_all((0..5).map(|_| world.query(request()))).await;
    assert!(failures.into_iter().all(|answer| answer.unwrap_err().code == Code::NotReady));
    assert_eq!(world.ids(at(world.scope("", &[]), known), -1, 0).await, [1]);
    world.store.away.store(false, Ordering::SeqCst);
    assert_eq!(world.ids(world.scope("", &[]), -1, 0).await, [1, 2]);
}

#[tokio::test]
async fn a_reader_that_goes_away_does_not_disturb_the_others() {
    let world = World::new().await;
    world.insert([row(1, v(1))]).await;
    let closed = world.store.gate.acquire_many(1_000).await.unwrap();
    let mut gone = Box::pin(world.ids(world.scope("", &[]), -1, 0));
    let mut stays = Box::pin(world.ids(world.scope("", &[]), -1, 0));
    assert!(futures::poll!(&mut gone).is_pending());
    assert!(futures::poll!(&mut stays).is_pending());
    drop(gone);
    drop(closed);
    assert_eq!(stays.await, [1]);
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let world = World::new().await;
    world.insert([row(1, v(1))]).await;
    let files = world.meta.view(world.collection.id, None).await.unwrap().files;
    let key = files[0].objects[0].key.clone();
    world.store.damaged.lock().unwrap().insert(key.clone());
    let request = || QueryRequest { scope: Some(world.scope("", &["id"])), limit: -1, ..QueryRequest::default() };
    let failure = world.query(request()).await.unwrap_err();
    assert_eq!(failure.code, Code::Internal);
    assert!(failure.message.contains(key.as_str()), "{failure}");
    world.store.damaged.lock().unwrap().clear();
    assert_eq!(world.query(request()).await.unwrap().count, 1, "a failure is not remembered");
}

#[tokio::test]
async fn a_collection_that_nobody_reads_is_forgotten() {
    let config = QueryConfig { cache_bytes_max: 0, view_idle_ms_max: 1_000, cpu_concurrency: 2, fetch_concurrency: 2 };
    let mut world = World::with(config).await;
    let definition = world.collection.definition.clone();
    let new = NewCollection { database: "default".to_owned(), name: "other".to_owned(), definition };
    let other = world.coordinator.create_collection(new).await.unwrap();
    let one = world.scope("", &[]);
    world.insert([row(1, v(1))]).await;
    world.collection = other;
    for wait_ms in [0, 900, 1_100] {
        assert_eq!(world.count(one.clone()).await, 1);
        world.clock.advance_ms(wait_ms);
        // Reading new files makes the cache let go of the one that it holds beyond its budget.
        world.insert([row(wait_ms, v(1))]).await;
        world.ids(world.scope("age >= 0", &[]), -1, 0).await;
        let before = world.gets();
        assert_eq!(world.count(one.clone()).await, 1);
        let expected = usize::from(wait_ms > 1_000);
        assert_eq!(world.gets() - before, expected, "after {wait_ms} ms");
    }
}

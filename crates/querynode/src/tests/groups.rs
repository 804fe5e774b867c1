//! Hits in groups against a naive model, and several searches as of one timestamp.

use super::world::{DIM, Row, World, ids_of, row};
use elanus_proto::convert::failure_from_grpc;
use elanus_proto::querynode::query_node_server::QueryNode as _;
use elanus_proto::querynode::{ReadScope, SearchManyRequest, SearchRequest};
use elanus_types::Code;
use proptest::prelude::*;
use tonic::Request;

fn search(scope: ReadScope, queries: &[[f32; DIM]], limit: i64) -> SearchRequest {
    let bytes = queries.iter().flatten().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    SearchRequest {
        scope: Some(scope),
        vector_field: "v".to_owned(),
        metric_type: "L2".to_owned(),
        queries: bytes.into(),
        nq: i64::try_from(queries.len()).unwrap(),
        limit,
        ..SearchRequest::default()
    }
}

fn distance(row: &Row, query: [f32; DIM]) -> f32 {
    row.v.unwrap().iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The groups in the order of their nearest row, of each the nearest rows.
fn expected<G: PartialEq>(
    rows: &[Row],
    query: [f32; DIM],
    group: impl Fn(&Row) -> G,
    (offset, limit, size): (usize, usize, usize),
) -> Vec<i64> {
    let mut rows: Vec<&Row> = rows.iter().filter(|row| row.v.is_some()).collect();
    rows.sort_by(|a, b| distance(a, query).total_cmp(&distance(b, query)).then(a.id.cmp(&b.id)));
    let mut groups: Vec<(G, Vec<i64>)> = Vec::new();
    for row in rows {
        let name = group(row);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, ids)) if ids.len() < size => ids.push(row.id),
            Some(_) => {}
            None => groups.push((name, vec![row.id])),
        }
    }
    groups.into_iter().skip(offset).take(limit).flat_map(|(_, ids)| ids).collect()
}

async fn check_groups(rows: Vec<Row>, (offset, limit, size): (usize, usize, usize)) {
    let world = World::new().await;
    for rows in rows.chunks(17) {
        world.insert(rows.to_vec()).await;
    }
    let queries = [[1.0, 2.0, -1.0], [0.0; DIM]];
    for field in ["age", "name", "id"] {
        let request = SearchRequest {
            offset: i64::try_from(offset).unwrap(),
            group_by_field: field.to_owned(),
            group_size: i64::try_from(size).unwrap(),
            ..search(world.scope("age != 3", &["age"]), &queries, i64::try_from(limit).unwrap())
        };
        let answer = world.search(request).await.unwrap();
        let found: Vec<Row> = rows.iter().filter(|row| row.age != 3).cloned().collect();
        let lists = queries.map(|query| match field {
            "age" => expected(&found, query, |row| row.age, (offset, limit, size)),
            "name" => expected(&found, query, |row| row.name.clone(), (offset, limit, size)),
            _ => expected(&found, query, |row| row.id, (offset, limit, size)),
        });
        assert_eq!(answer.topks, lists.each_ref().map(|list| i64::try_from(list.len()).unwrap()), "{field}");
        assert_eq!(ids_of(&answer.arrow_ipc), lists.concat(), "{field} {offset} {limit} {size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn hits_in_groups_are_what_a_model_says(
        vectors in prop::collection::vec(prop::option::weighted(0.9, prop::array::uniform3(-3_i8..4)), 0..90),
        window in (0_usize..4, 1_usize..9, 1_usize..4),
    ) {
        let rows = (0..).zip(vectors).map(|(id, v)| {
            let mut row = row(id, v.unwrap_or_default().map(f32::from));
            row.v = row.v.filter(|_| v.is_some());
            row
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check_groups(rows.collect(), window));
    }
}

#[tokio::test]
async fn fields_without_groups_are_refused() {
    let world = World::new().await;
    for (field, fragment) in [("v", "unsupported data type"), ("nothing", "does not exist")] {
        let request =
            SearchRequest { group_by_field: field.to_owned(), ..search(world.scope("", &[]), &[[0.0; DIM]], 3) };
        let failure = world.search(request).await.unwrap_err();
        assert_eq!(failure.code, Code::ParameterInvalid);
        assert!(failure.message.contains(fragment), "{}", failure.message);
    }
}

#[tokio::test]
async fn several_searches_see_one_state() {
    let world = World::new().await;
    world.insert([row(1, [1.0, 0.0, 0.0]), row(2, [2.0, 0.0, 0.0])]).await;
    let many = |searches| async {
        let answer = world.node.search_many(Request::new(SearchManyRequest { searches })).await;
        answer.map(tonic::Response::into_inner).map_err(failure_from_grpc)
    };
    let near = search(world.scope("id > 1", &[]), &[[0.0; DIM]], 5);
    let far = search(world.scope("", &["age"]), &[[9.0, 0.0, 0.0]], 5);
    let found = many(vec![near.clone(), far]).await.unwrap();
    let ids: Vec<_> = found.answers.iter().map(|answer| ids_of(&answer.arrow_ipc)).collect();
    assert_eq!(ids, [vec![2], vec![2, 1]]);
    assert_eq!(found.answers[0].read_ts, found.answers[1].read_ts);
    let other = ReadScope { collection_id: 7, ..world.scope("", &[]) };
    assert!(many(vec![near.clone(), search(other, &[[0.0; DIM]], 5)]).await.is_err());
    assert!(many(vec![near, SearchRequest::default()]).await.is_err());
    assert!(many(Vec::new()).await.is_err());
}

//! Looks at what is there, and what they must find.

use crate::model::{State, difference};
use crate::ops::{choose, choose_snapshot};
use crate::world::{Failed, Life, Snapshot, Stage, Told, World, call, partition_of};
use elanus_proto::{common::ConsistencyLevel, milvus::QueryRequest};
use elanus_scenarios::{
    milvus::{CallError, Milvus},
    rows::{FIELDS, from_columns},
};
use rand::rngs::StdRng;
use tonic::metadata::MetadataValue;

/// All rows of a collection, now or inside a snapshot.
pub(crate) async fn rows(milvus: &Milvus, name: &str, snapshot: Option<&str>) -> Result<State, Failed> {
    let mut request = tonic::Request::new(QueryRequest {
        collection_name: name.to_owned(),
        expr: "id >= 0".to_owned(),
        output_fields: FIELDS.map(str::to_owned).to_vec(),
        consistency_level: ConsistencyLevel::Strong.into(),
        ..Default::default()
    });
    if let Some(snapshot) = snapshot {
        let value = MetadataValue::try_from(snapshot).expect("names of this test are plain");
        request.metadata_mut().insert("elanus-snapshot", value);
    }
    let answer = milvus.raw().query(request).await.map_err(|status| CallError::NoAnswer(Box::new(status)))?;
    let answer = answer.into_inner();
    answer.status.unwrap_or_default().into_result().map_err(CallError::Refused)?;
    let mut state = State::new();
    for row in from_columns(answer.fields_data).map_err(CallError::Wrong)? {
        if state.insert(row.id, row.version).is_some() {
            return Err(CallError::Wrong(format!("the key {} is there twice in {name}", row.id)).into());
        }
    }
    Ok(state)
}

/// D-1: reads a collection while others write.
pub(crate) async fn look(world: &World, rng: &mut StdRng) {
    let Some(name) = choose(world, rng, |_| true) else { return };
    let server = world.server(rng).await;
    let began = world.next();
    let answer = call(rng, rows(&server.milvus, &name, None)).await;
    if let Told::Done(found) = world.told(server.id, &format!("query {name}"), answer) {
        let collection = world.collection(&name);
        if let Err(why) = collection.rows.explain_now(began, &found) {
            drop(collection);
            world.broken(format!("D-1: {name}, read from event {began} on by p{}: {why}", server.id));
        }
    }
}

/// S-1: reads inside a snapshot.
pub(crate) async fn look_inside(world: &World, rng: &mut StdRng) {
    let committed = |_: &_, one: &Snapshot| one.stage == Stage::Committed;
    let Some((name, snapshot)) = choose_snapshot(world, rng, committed) else { return };
    let server = world.server(rng).await;
    let began = world.next();
    let answer = call(rng, rows(&server.milvus, &name, Some(&snapshot))).await;
    match world.told(server.id, &format!("query-inside {name}.{snapshot}"), answer) {
        Told::Done(found) => check_inside(world, &name, &snapshot, &found, None),
        Told::Refused(why) => {
            let collection = world.collection(&name);
            let there = collection.life == Life::Live
                && collection.moved < began
                && collection.snapshots.get(&snapshot).is_some_and(|one| one.stage == Stage::Committed);
            drop(collection);
            if there {
                world.broken(format!("S-1: the snapshot {snapshot} of {name} cannot be read: {why}"));
            }
        }
        Told::Unknown => {}
    }
}

/// S-1: what was found in a snapshot, or in one partition of it.
pub(crate) fn check_inside(world: &World, name: &str, snapshot: &str, found: &State, partition: Option<&str>) {
    let belongs = |key: i64| partition.is_none_or(|partition| partition == partition_of(key));
    let mut collection = world.collection(name);
    let rows = collection.rows.only(belongs);
    let Some(one) = collection.snapshots.get_mut(snapshot) else { return };
    let verdict = match (&one.content, one.cut()) {
        (Some(content), _) => {
            let content: State = content.clone().into_iter().filter(|(key, _)| belongs(*key)).collect();
            if content == *found { Ok(()) } else { Err(difference(&content, found)) }
        }
        (None, Some(cut)) => rows.explain(Some(cut), found).map(|_| {
            // From now on it is this, for ever.
            one.content = partition.is_none().then(|| found.clone());
        }),
        (None, None) => Ok(()),
    };
    if let Err(why) = verdict {
        drop(collection);
        world.broken(format!("S-1: {name}.{snapshot}: {why}"));
    }
}

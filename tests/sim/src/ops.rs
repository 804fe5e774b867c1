//! What clients ask for: one function an operation. Each takes its share of the model, calls, and writes down what it was
//! told; what it was not told is left for the next look.

use crate::collector::{collect, detach, hold, lift, pause_deletes, resume_deletes, scan, undo};
use crate::model::{Effect, End, Op, State};
use crate::read::{self, look, look_inside};
use crate::world::{
    Collection, DEFAULT, Failed, Life, ODD, Restore, Snapshot, Stage, Told, World, call, partition_of, pause,
};
use elanus_client::{InTrash, RestoreMode, Rollback};
use elanus_proto::milvus::{CreatePartitionRequest, InsertRequest, UpsertRequest};
use elanus_scenarios::{milvus::CallError, rows, rows::Row};
use futures::FutureExt as _;
use rand::{Rng as _, rngs::StdRng, seq::IteratorRandom as _};
use std::{collections::BTreeMap, panic::AssertUnwindSafe, pin::Pin, rc::Rc, time::Duration};

type Running<'w> = Pin<Box<dyn Future<Output = ()> + 'w>>;
type Operation = for<'w> fn(&'w World, &'w mut StdRng) -> Running<'w>;

/// Live collections at the same time.
const COLLECTIONS_MAX: usize = 4;
/// Snapshots of a collection.
const SNAPSHOTS_MAX: usize = 5;
/// Times that the end of a restore is asked for.
const POLLS_MAX: u32 = 5_000;
/// Longer than a run: a pin whose end is not known ends after it.
pub(crate) const PIN: Duration = Duration::from_secs(86_400);

/// Every operation, and how often it is chosen.
#[rustfmt::skip]
const OPERATIONS: &[(u32, Operation)] = &[
    (30, |w, r| Box::pin(write(w, r))),
    (3,  |w, r| Box::pin(flush(w, r))),
    (10, |w, r| Box::pin(create_snapshot(w, r))),
    (3,  |w, r| Box::pin(drop_snapshot(w, r))),
    (3,  |w, r| Box::pin(pin(w, r))),
    (2,  |w, r| Box::pin(unpin(w, r))),
    (9,  |w, r| Box::pin(restore(w, r))),
    (4,  |w, r| Box::pin(roll_back(w, r))),
    (2,  |w, r| Box::pin(create_collection(w, r))),
    (2,  |w, r| Box::pin(drop_collection(w, r))),
    (4,  |w, r| Box::pin(out_of_trash(w, r))),
    (3,  |w, r| Box::pin(detach(w, r))),
    (6,  |w, r| Box::pin(collect(w, r))),
    (3,  |w, r| Box::pin(scan(w, r))),
    (2,  |w, r| Box::pin(pause_deletes(w, r))),
    (2,  |w, r| Box::pin(resume_deletes(w, r))),
    (3,  |w, r| Box::pin(hold(w, r))),
    (2,  |w, r| Box::pin(lift(w, r))),
    (5,  |w, r| Box::pin(undo(w, r))),
    (8,  |w, r| Box::pin(look(w, r))),
    (8,  |w, r| Box::pin(look_inside(w, r))),
];

/// Does one thing, which counts as running from now on, not from its first turn. A panic ends the run.
pub(crate) fn any(world: Rc<World>, rng: StdRng) -> impl Future<Output = ()> {
    world.running.set(world.running.get() + 1);
    async move {
        if let Err(panic) = AssertUnwindSafe(one(&world, rng)).catch_unwind().await {
            world.turns.break_off(&crate::text(&*panic));
        }
        world.running.set(world.running.get() - 1);
    }
}

async fn one(world: &World, mut rng: StdRng) {
    let total: u32 = OPERATIONS.iter().map(|(weight, _)| weight).sum();
    let mut point = rng.random_range(0..total);
    for (weight, operation) in OPERATIONS {
        if point < *weight {
            return operation(world, &mut rng).await;
        }
        point -= weight;
    }
}

/// A collection with which something can be done.
pub(crate) fn choose(world: &World, rng: &mut StdRng, fits: impl Fn(&Collection) -> bool) -> Option<String> {
    let model = world.model();
    let fitting = model.collections.iter().filter(|(_, collection)| {
        collection.life == Life::Live && collection.ready && !collection.taken && fits(collection)
    });
    fitting.map(|(name, _)| name.clone()).choose(rng)
}

/// A snapshot with which something can be done.
pub(crate) fn choose_snapshot(
    world: &World,
    rng: &mut StdRng,
    fits: impl Fn(&Collection, &Snapshot) -> bool,
) -> Option<(String, String)> {
    let model = world.model();
    let all = model.collections.iter().filter(|(_, collection)| collection.life == Life::Live && collection.ready);
    let all = all.flat_map(|(name, collection)| {
        let snapshots = collection.snapshots.iter().filter(|(_, snapshot)| fits(collection, snapshot));
        snapshots.map(move |(snapshot, _)| (name.clone(), snapshot.clone()))
    });
    all.choose(rng)
}

fn live(world: &World) -> usize {
    let gone = [Life::Gone, Life::Trashed];
    world.model().collections.values().filter(|collection| !gone.contains(&collection.life)).count()
}

/// A collection that nobody was told about yet.
fn new_collection(world: &World, name: &str, base: State) {
    let rows = crate::model::Rows { base, ..Default::default() };
    let life = Life::Doubt(vec![Life::Live, Life::Gone]);
    let collection = Collection { life, rows, taken: true, ..Collection::default() };
    world.model().collections.insert(name.to_owned(), collection);
}

pub(crate) async fn create_collection(world: &World, rng: &mut StdRng) {
    if live(world) >= COLLECTIONS_MAX {
        return;
    }
    let name = format!("c{}", world.next());
    new_collection(world, &name, State::new());
    let server = world.server(rng).await;
    let answer = call(rng, async {
        server.milvus.create_collection(&name).await?;
        add_partition(&server.milvus, &name).await
    });
    let answer = answer.await;
    match world.told(server.id, &format!("create-collection {name}"), answer) {
        Told::Done(()) => {
            let mut collection = world.collection(&name);
            (collection.life, collection.ready, collection.taken) = (Life::Live, true, false);
        }
        Told::Refused(failure) => world.broken(format!("a collection with a new name is refused: {failure}")),
        Told::Unknown => {}
    }
}

pub(crate) async fn add_partition(milvus: &elanus_scenarios::milvus::Milvus, name: &str) -> Result<(), CallError> {
    let request = CreatePartitionRequest {
        collection_name: name.to_owned(),
        partition_name: ODD.to_owned(),
        ..Default::default()
    };
    let status =
        milvus.raw().create_partition(request).await.map_err(|status| CallError::NoAnswer(Box::new(status)))?;
    status.into_inner().into_result().map_err(CallError::Refused)
}

/// Inserts, upserts or deletes a few rows of one partition.
async fn write(world: &World, rng: &mut StdRng) {
    let Some(name) = choose(world, rng, |_| true) else { return };
    let number = world.next();
    let version = number as i64;
    let (keys, kind) = plan(world, rng, &name, version);
    if keys.is_empty() {
        return;
    }
    {
        let mut collection = world.collection(&name);
        collection.rows.locked.extend(keys.keys());
        let effect = Effect::Keys(keys.clone());
        collection.rows.ops.push(Op { number, begin: number, end: End::Open, effect });
    }
    let server = world.server(rng).await;
    let answer = call(rng, send(&server.milvus, &name, &keys, kind)).await;
    let what = format!("{kind} {name} #{number} {:?}", keys.keys().collect::<Vec<_>>());
    // Clients repeat what is answered with a retriable code: it must not have been done.
    let told = world.told_surely(server.id, &what, answer, |code| code.retriable() || code.is_input());
    let event = world.next();
    let mut collection = world.collection(&name);
    let rows = &mut collection.rows;
    match told {
        Told::Done(ts) => {
            let op = rows.ops.iter_mut().find(|op| op.number == number).expect("it is not settled while it runs");
            op.end = End::Acked { event, ts };
        }
        Told::Refused(_) => rows.ops.retain(|op| op.number != number),
        Told::Unknown => return,
    }
    rows.locked.retain(|key| !keys.contains_key(key));
}

fn plan(world: &World, rng: &mut StdRng, name: &str, version: i64) -> (BTreeMap<i64, Option<i64>>, &'static str) {
    let count = rng.random_range(1..=6);
    let parity = rng.random_range(0..2_i64);
    let fresh = (0..count).map(|n| (version * 100 + 2 * n + parity, Some(version)));
    let collection = world.collection(name);
    let known = collection.rows.known();
    let there = known.keys().copied().filter(|key| key % 2 == parity && !collection.rows.locked.contains(key));
    let there: Vec<i64> = there.choose_multiple(rng, count as usize);
    match rng.random_range(0..5) {
        0 | 1 => (fresh.collect(), "insert"),
        2 => (there.into_iter().map(|key| (key, None)).collect(), "delete"),
        _ => (there.into_iter().map(|key| (key, Some(version))).chain(fresh.take(1)).collect(), "upsert"),
    }
}

async fn send(
    milvus: &elanus_scenarios::milvus::Milvus,
    name: &str,
    keys: &BTreeMap<i64, Option<i64>>,
    kind: &str,
) -> Result<u64, CallError> {
    let ids: Vec<i64> = keys.keys().copied().collect();
    let lines: Vec<Row> = keys.iter().filter_map(|(id, v)| v.map(|version| Row { id: *id, version })).collect();
    let (collection_name, partition_name) = (name.to_owned(), partition_of(ids[0]).to_owned());
    let (fields_data, num_rows) = (rows::columns(&lines), lines.len() as u32);
    let answer = match kind {
        "delete" => return milvus.delete(name, &ids).await,
        "insert" => {
            let request =
                InsertRequest { collection_name, partition_name, fields_data, num_rows, ..Default::default() };
            milvus.raw().insert(request).await
        }
        _ => {
            let request =
                UpsertRequest { collection_name, partition_name, fields_data, num_rows, ..Default::default() };
            milvus.raw().upsert(request).await
        }
    };
    let answer = answer.map_err(|status| CallError::NoAnswer(Box::new(status)))?.into_inner();
    answer.status.unwrap_or_default().into_result().map_err(CallError::Refused)?;
    Ok(answer.timestamp)
}

async fn flush(world: &World, rng: &mut StdRng) {
    let Some(name) = choose(world, rng, |_| true) else { return };
    let server = world.server(rng).await;
    let answer = call(rng, server.milvus.flush(&name)).await;
    world.told(server.id, &format!("flush {name}"), answer);
}

/// Takes a snapshot; sometimes two are asked for by one name at the same time (S-3).
async fn create_snapshot(world: &World, rng: &mut StdRng) {
    let few = |collection: &Collection| collection.snapshots.len() < SNAPSHOTS_MAX;
    let Some(name) = choose(world, rng, few) else { return };
    let begin = world.next();
    let snapshot = format!("s{begin}");
    world.collection(&name).snapshots.insert(snapshot.clone(), Snapshot::creating(begin));
    let what = format!("create-snapshot {name}.{snapshot}");
    let server = world.server(rng).await;
    let (mut first_rng, mut second_rng) = (world.rng(), world.rng());
    let first = async {
        let answer = call(&mut first_rng, server.milvus.create_snapshot(&name, &snapshot)).await;
        world.told(server.id, &what, answer)
    };
    let told = if rng.random_ratio(1, 4) {
        let other = world.server(rng).await;
        let second = async {
            let answer = call(&mut second_rng, other.milvus.create_snapshot(&name, &snapshot)).await;
            world.told(other.id, &what, answer)
        };
        match futures::future::join(first, second).await {
            (Told::Done(()), Told::Done(())) => world.broken(format!("S-3: two creates of {snapshot} won")),
            (Told::Done(()), _) | (_, Told::Done(())) => Told::Done(()),
            (Told::Refused(_), Told::Refused(why)) => Told::Refused(why),
            _ => Told::Unknown,
        }
    } else {
        first.await
    };
    let event = world.next();
    match told {
        Told::Done(()) => {
            let answer = call(rng, server.milvus.snapshot_ts(&name, &snapshot)).await;
            let ts = match world.told(server.id, &format!("describe-snapshot {name}.{snapshot}"), answer) {
                Told::Done(ts) => Some(ts),
                _ => None,
            };
            if let Some(one) = world.collection(&name).snapshots.get_mut(&snapshot) {
                one.committed(event, ts);
            }
        }
        Told::Refused(_) => drop(world.collection(&name).snapshots.remove(&snapshot)),
        Told::Unknown => {}
    }
}

async fn drop_snapshot(world: &World, rng: &mut StdRng) {
    let committed = |collection: &Collection, one: &Snapshot| !collection.taken && one.stage == Stage::Committed;
    let Some((name, snapshot)) = choose_snapshot(world, rng, committed) else { return };
    let mut before = None;
    if let Some(one) = world.collection(&name).snapshots.get_mut(&snapshot) {
        one.stage = Stage::Dropping;
        before = Some(one.pins.clone());
    }
    let server = world.server(rng).await;
    let answer = call(rng, server.milvus.drop_snapshot(&name, &snapshot)).await;
    match world.told(server.id, &format!("drop-snapshot {name}.{snapshot}"), answer) {
        Told::Done(()) => {
            let gone = world.collection(&name).snapshots.remove(&snapshot);
            let kept_by = gone.zip(before).map(|(gone, before)| gone.pins.intersection(&before).count());
            if kept_by.is_some_and(|pins| pins > 0) {
                world.broken(format!("a pinned snapshot was dropped: {snapshot}"));
            }
        }
        Told::Refused(_) => {
            if let Some(one) = world.collection(&name).snapshots.get_mut(&snapshot) {
                one.stage = Stage::Committed;
            }
        }
        Told::Unknown => {}
    }
}

async fn pin(world: &World, rng: &mut StdRng) {
    let committed = |_: &Collection, one: &Snapshot| one.stage == Stage::Committed && one.pins.is_empty();
    let Some((name, snapshot)) = choose_snapshot(world, rng, committed) else { return };
    let server = world.server(rng).await;
    let answer = call(rng, server.operator.snapshots().pin(&name, &snapshot).ttl(PIN).send()).await;
    if let Told::Done(pin) = world.told(server.id, &format!("pin {name}.{snapshot}"), answer)
        && let Some(one) = world.collection(&name).snapshots.get_mut(&snapshot)
    {
        one.pins.insert(pin);
    }
}

async fn unpin(world: &World, rng: &mut StdRng) {
    let pinned = |_: &Collection, one: &Snapshot| !one.pins.is_empty();
    let Some((name, snapshot)) = choose_snapshot(world, rng, pinned) else { return };
    let pin = world.collection(&name).snapshots.get_mut(&snapshot).and_then(|one| one.pins.pop_first());
    let Some(pin) = pin else { return };
    let server = world.server(rng).await;
    // However it ends, the pin counts no more; a pin that is left keeps a snapshot too long, which is no loss.
    let answer = call(rng, server.operator.snapshots().unpin(pin)).await;
    world.told(server.id, &format!("unpin {name}.{snapshot}"), answer);
}

/// Restores a snapshot, by copy or clone, whole or one partition, sometimes cancelled; follows the job to its end.
async fn restore(world: &World, rng: &mut StdRng) {
    let committed = |_: &Collection, one: &Snapshot| one.stage == Stage::Committed;
    if live(world) >= COLLECTIONS_MAX + 2 {
        return;
    }
    let Some((source, snapshot)) = choose_snapshot(world, rng, committed) else { return };
    let target = format!("r{}", world.next());
    let mode = if rng.random_bool(0.6) { RestoreMode::Copy } else { RestoreMode::Clone };
    let partition = rng.random_bool(0.2).then(|| if rng.random_bool(0.5) { ODD } else { DEFAULT });
    let cancel_after = rng.random_bool(0.3).then(|| rng.random_range(0..2));
    new_collection(world, &target, State::new());
    let one = Restore { source: source.clone(), snapshot: snapshot.clone(), partition, cancelled: false };
    world.model().restores.insert(target.clone(), one);
    let server = world.server(rng).await;
    let request = server.operator.snapshots().restore(&source, &snapshot, &target).mode(mode);
    let request = match partition {
        Some(partition) => request.partitions(&[partition]),
        None => request,
    };
    let answer = call(rng, request.send()).await;
    let what = format!("restore-{mode} {source}.{snapshot} into {target} {partition:?}");
    match world.told(server.id, &what, answer) {
        Told::Done(job) => follow(world, rng, &target, job.job_id, cancel_after).await,
        Told::Refused(_) => {
            world.model().restores.remove(&target);
            world.collection(&target).life = Life::Gone;
        }
        Told::Unknown => {}
    }
}

/// watches a job until it has ended. The target is not seen before the job has completed, and not after it failed.
pub(crate) async fn follow(world: &World, rng: &mut StdRng, target: &str, job: i64, cancel_after: Option<u32>) {
    let mut progress = 0;
    for poll in 0..POLLS_MAX {
        pause(rng.random_range(5..1_000)).await;
        let server = world.server(rng).await;
        if cancel_after == Some(poll) {
            if let Some(restore) = world.model().restores.get_mut(target) {
                restore.cancelled = true;
            }
            let answer = call(rng, server.operator.jobs().cancel(job)).await;
            world.told(server.id, &format!("cancel {target}"), answer);
        }
        // In this order: what is seen now was published before the job is looked at.
        let looked = call(rng, async {
            let visible = server.milvus.has_collection(target).await?;
            Ok::<_, Failed>((visible, server.operator.jobs().describe(job).await?))
        });
        let Some(Ok((visible, now))) = looked.await else { continue };
        if now.progress < progress {
            world.broken(format!("the progress of {target} fell from {progress} to {}", now.progress));
        }
        progress = now.progress;
        if visible && now.state != "completed" {
            world.broken(format!("R-1: {target} is visible, and its job {now:?}"));
        }
        match now.state.as_str() {
            "completed" => {
                world.turns.met(format!("restore by {}: completed", now.mode));
                world.turns.note(format!("{target} is restored"));
                world.collection(target).life = Life::Live;
                return;
            }
            "failed" => {
                let cancelled = world.model().restores.remove(target).is_some_and(|restore| restore.cancelled);
                let how = if cancelled { "cancelled" } else { "failed" };
                world.turns.met(format!("restore by {}: {how}", now.mode));
                world.turns.note(format!("the restore of {target} {how}: {}", now.reason));
                world.collection(target).life = Life::Gone;
                return;
            }
            _ => {}
        }
    }
    world.broken(format!("R-3: the restore into {target} does not end"));
}

/// Nobody else writes, so that what it takes back is known.
async fn roll_back(world: &World, rng: &mut StdRng) {
    let quiet = |collection: &Collection, one: &Snapshot| {
        let open = collection.rows.ops.iter().any(|op| op.end == End::Open);
        !collection.taken && !open && one.stage == Stage::Committed && one.content.is_some()
    };
    let Some((name, snapshot)) = choose_snapshot(world, rng, quiet) else { return };
    let begin = world.next();
    let before = {
        let mut collection = world.collection(&name);
        collection.taken = true;
        let content = collection.snapshots[&snapshot].content.clone().expect("chosen for it");
        let before = collection.rows.known();
        let op = Op { number: begin, begin, end: End::Open, effect: Effect::All(content) };
        collection.rows.ops.push(op);
        before
    };
    let server = world.server(rng).await;
    let answer = call(rng, server.operator.collections().roll_back(&name, &snapshot)).await;
    let told = world.told(server.id, &format!("rollback {name} to {snapshot}"), answer);
    let event = world.next();
    let mut collection = world.collection(&name);
    match told {
        // A rollback that changes nothing is a repeat of the one before, and has its time and its snapshot.
        Told::Done(done) if is_repeat(&collection, begin, &done) => {
            let content = collection.snapshots.get(&snapshot).and_then(|one| one.content.clone());
            collection.rows.ops.retain(|op| op.number != begin);
            if content.is_some_and(|content| content != before) {
                drop(collection);
                world.broken(format!("a rollback of {name} to {snapshot} changed something, and is told as a repeat"));
            }
        }
        Told::Done(done) => {
            let op = collection.rows.ops.iter_mut().find(|op| op.number == begin).expect("it is not settled meanwhile");
            op.end = End::Acked { event, ts: done.rollback_ts };
            let mut safety = Snapshot::creating(begin);
            safety.committed(event, None);
            safety.content = Some(before);
            collection.snapshots.insert(done.safety_snapshot_name, safety);
        }
        Told::Refused(_) => collection.rows.ops.retain(|op| op.number != begin),
        Told::Unknown => return,
    }
    collection.taken = false;
}

fn is_repeat(collection: &Collection, begin: u64, done: &Rollback) -> bool {
    let earlier = |one: &Snapshot| one.end < begin && one.ts.is_some_and(|ts| ts > done.rollback_ts);
    collection.snapshots.contains_key(&done.safety_snapshot_name) || collection.snapshots.values().any(earlier)
}

async fn drop_collection(world: &World, rng: &mut StdRng) {
    let quiet = |collection: &Collection| collection.rows.ops.iter().all(|op| op.end != End::Open);
    if live(world) < 2 {
        return;
    }
    let Some(name) = choose(world, rng, quiet) else { return };
    {
        let mut collection = world.collection(&name);
        collection.taken = true;
        collection.life = Life::Doubt(vec![Life::Live, Life::Trashed]);
    }
    let server = world.server(rng).await;
    if let Some(Ok(detail)) = call(rng, server.operator.collections().describe(&name)).await {
        world.collection(&name).id = detail.collection.map(|found| found.id);
    }
    let answer = call(rng, async {
        // A hold that comes later may come too late.
        let held = world.collection(&name).held;
        world.collection(&name).held_since_drop = held;
        server.milvus.drop_collection(&name).await
    });
    let answer = answer.await;
    let life = match world.told(server.id, &format!("drop-collection {name}"), answer) {
        Told::Done(()) => Life::Trashed,
        Told::Refused(_) => Life::Live,
        Told::Unknown => return,
    };
    world.settle_life(&name, life);
}

/// Brings a dropped collection back, or makes sure that nobody can.
async fn out_of_trash(world: &World, rng: &mut StdRng) {
    let trashed = {
        let model = world.model();
        let trashed = model.collections.iter().filter(|(_, one)| one.life == Life::Trashed && !one.taken);
        trashed.map(|(name, _)| name.clone()).choose(rng)
    };
    let Some(name) = trashed else { return };
    let (after, verb) = if rng.random_bool(0.7) { (Life::Live, "trash-restore") } else { (Life::Gone, "trash-purge") };
    {
        let mut collection = world.collection(&name);
        collection.taken = true;
        collection.life = Life::Doubt(vec![after.clone(), Life::Trashed]);
    }
    let server = world.server(rng).await;
    let trash = server.operator.trash();
    let answer = call(rng, async {
        match after {
            Life::Live => trash.restore(InTrash::Name(&name), None).await.map(drop),
            _ => trash.purge(InTrash::Name(&name)).await.map(drop),
        }
    });
    let answer = answer.await;
    let life = match world.told(server.id, &format!("{verb} {name}"), answer) {
        Told::Done(()) => after,
        Told::Refused(_) => Life::Trashed,
        Told::Unknown => return,
    };
    world.settle_life(&name, life);
}

/// Makes a restored collection one like any other: loaded, and what it holds known. True when that is done.
pub(crate) async fn adopt(world: &World, rng: &mut StdRng, target: &str) -> bool {
    let server = world.server(rng).await;
    let Some(Ok(())) = call(rng, server.milvus.load(target)).await else { return false };
    let Some(Ok(found)) = call(rng, read::rows(&server.milvus, target, None)).await else { return false };
    let restore = world.model().restores.remove(target);
    if let Some(Restore { source, snapshot, partition, .. }) = restore {
        read::check_inside(world, &source, &snapshot, &found, partition);
    }
    let mut collection = world.collection(target);
    collection.rows.base = found;
    (collection.ready, collection.taken) = (true, false);
    true
}

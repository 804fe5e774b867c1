//! The load: writers, snapshots, restores and flushes beside each other, until the server is gone.

use crate::history::{End, Op, State};
use crate::world::{KEYS, Progress, Restore, Snapshot, World};
use elanus_client::ErrorKind;
use elanus_scenarios::{milvus::CallError, rows::Row};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};
use std::{collections::BTreeMap, rc::Rc};
use tokio::task::JoinSet;

/// Rows that a writer keeps at most, about.
const ROWS: usize = 150;
/// Snapshots that are kept at the same time.
const SNAPSHOTS_MAX: usize = 4;

/// Starts the load of one life of the server. Its tasks end when the server is gone.
pub(crate) fn start(world: &Rc<World>, seed: u64, round: u64) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let mut rng = StdRng::seed_from_u64(seed ^ (round << 32));
    for number in 0..crate::world::WRITERS {
        let (world, rng) = (Rc::clone(world), StdRng::from_rng(&mut rng));
        tasks.spawn_local(async move { gone(write(&world, number, rng).await) });
    }
    let (snapshots, restores, flushes) = (Rc::clone(world), Rc::clone(world), Rc::clone(world));
    let (first, second) = (StdRng::from_rng(&mut rng), StdRng::from_rng(&mut rng));
    tasks.spawn_local(async move { gone(take_snapshots(&snapshots, first, round).await) });
    tasks.spawn_local(async move { gone(restore(&restores, second, round).await) });
    tasks.spawn_local(async move { gone(flush(&flushes).await) });
    tasks
}

/// The only way for a task to end is that the server does not answer any more.
fn gone(error: CallError) {
    assert!(matches!(error, CallError::NoAnswer(_)), "{error}");
}

/// An error that means that the server does not answer.
fn dead() -> CallError {
    CallError::NoAnswer(Box::new(tonic::Status::unavailable("the server was killed")))
}

async fn write(world: &World, number: usize, mut rng: StdRng) -> CallError {
    let mut state = world.writer(number).state();
    loop {
        let begin = world.event();
        let effect = plan(&mut rng, &state, number, begin);
        world.writer(number).begin(Op { begin, end: End::Open, effect: effect.clone() });
        match send(world, &state, &effect).await {
            Ok(ts) => world.writer(number).acked(world.event(), ts),
            Err(error) => return error,
        }
        world.met().writes += 1;
        world.progress.send_modify(|progress| progress.acks += 1);
        for (key, version) in effect {
            match version {
                Some(version) => state.insert(key, version),
                None => state.remove(&key),
            };
        }
    }
}

/// New rows, other versions of rows, or fewer rows. Every request has a version of its own.
fn plan(rng: &mut StdRng, state: &State, number: usize, version: u64) -> BTreeMap<i64, Option<i64>> {
    let version = i64::try_from(version).unwrap();
    let first = i64::try_from(number).unwrap() * KEYS + version * 10;
    let fresh = (first..).take(rng.random_range(1..=8)).map(|key| (key, Some(version)));
    let some = |rng: &mut StdRng, value| {
        let count = rng.random_range(1..=8);
        state.keys().copied().choose_multiple(rng, count).into_iter().map(move |key| (key, value))
    };
    match rng.random_range(0..4) {
        _ if state.len() < 10 => fresh.collect(),
        0 | 1 if state.len() < ROWS => fresh.collect(),
        2 => some(rng, Some(version)).chain(fresh.take(1)).collect(),
        _ => some(rng, None).collect(),
    }
}

/// Inserts when all keys are new, deletes when nothing is written, upserts else.
async fn send(world: &World, state: &State, effect: &BTreeMap<i64, Option<i64>>) -> Result<u64, CallError> {
    let rows: Vec<Row> =
        effect.iter().filter_map(|(id, version)| version.map(|version| Row { id: *id, version })).collect();
    let ids: Vec<i64> = effect.keys().copied().collect();
    if rows.is_empty() {
        world.milvus.delete(&world.collection, &ids).await
    } else if ids.iter().any(|id| state.contains_key(id)) {
        world.milvus.upsert(&world.collection, &rows).await
    } else {
        world.milvus.insert(&world.collection, &rows).await
    }
}

/// Waits until so many more writes were acknowledged.
async fn after(world: &World, acks: u64) -> Result<(), CallError> {
    let mut progress = world.progress.subscribe();
    let until = progress.borrow().acks + acks;
    let reached = |now: &Progress| now.dead || now.acks >= until;
    let now = *progress.wait_for(reached).await.map_err(|_| dead())?;
    if now.dead { Err(dead()) } else { Ok(()) }
}

async fn flush(world: &World) -> CallError {
    loop {
        if let Err(error) = after(world, 25).await {
            return error;
        }
        if let Err(error) = world.milvus.flush(&world.collection).await {
            return error;
        }
    }
}

async fn take_snapshots(world: &World, mut rng: StdRng, round: u64) -> CallError {
    for number in 0.. {
        if let Err(error) = after(world, rng.random_range(3..15)).await {
            return error;
        }
        let kept = world.snapshots().len();
        let done = if kept >= SNAPSHOTS_MAX || kept > 1 && rng.random_bool(0.2) {
            drop_one(world, &mut rng).await
        } else {
            create(world, format!("s{round}_{number}")).await
        };
        if let Err(error) = done {
            return error;
        }
    }
    unreachable!("numbers do not end")
}

async fn create(world: &World, name: String) -> Result<(), CallError> {
    let begin = world.event();
    world.snapshots().insert(name.clone(), Snapshot::Creating { begin });
    world.milvus.create_snapshot(&world.collection, &name).await?;
    let end = world.event();
    world.snapshots().insert(name, Snapshot::Committed { begin, end });
    world.met().snapshots += 1;
    Ok(())
}

async fn drop_one(world: &World, rng: &mut StdRng) -> Result<(), CallError> {
    let of_restores: Vec<String> = world.restores().values().map(|restore| restore.snapshot.clone()).collect();
    let chosen = world.snapshots().keys().filter(|name| !of_restores.contains(name)).cloned().choose(rng);
    let Some(name) = chosen else { return Ok(()) };
    let Some(Snapshot::Committed { begin, end }) = world.snapshots().get(&name).copied() else { return Ok(()) };
    world.snapshots().insert(name.clone(), Snapshot::Dropping { begin, end });
    match world.milvus.drop_snapshot(&world.collection, &name).await {
        Ok(()) => world.snapshots().remove(&name),
        // A restore began meanwhile, and keeps it.
        Err(CallError::Refused(why)) if why.code.number() == 2601 => {
            world.snapshots().insert(name, Snapshot::Committed { begin, end })
        }
        Err(error) => return Err(error),
    };
    Ok(())
}

async fn restore(world: &World, mut rng: StdRng, round: u64) -> CallError {
    for number in 0.. {
        let committed =
            |(name, state): (&String, &Snapshot)| matches!(state, Snapshot::Committed { .. }).then(|| name.clone());
        let chosen = world.snapshots().iter().filter_map(committed).choose(&mut rng);
        let done = match chosen {
            None => after(world, 2).await,
            Some(snapshot) => restore_one(world, snapshot, format!("r{round}_{number}"), rng.random_bool(0.25)).await,
        };
        if let Err(error) = done {
            return error;
        }
    }
    unreachable!("numbers do not end")
}

async fn restore_one(world: &World, snapshot: String, target: String, cancel: bool) -> Result<(), CallError> {
    let asked = Restore { snapshot: snapshot.clone(), job: None, cancelled: false, dropping: false };
    world.restores().insert(target.clone(), asked);
    let job = match world.milvus.restore(&world.collection, &snapshot, &target).await {
        Ok(job) => job,
        // Dropped meanwhile.
        Err(CallError::Refused(why)) if why.code.number() == 2600 => {
            world.restores().remove(&target);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    update(world, &target, |restore| restore.job = Some(job));
    if cancel {
        update(world, &target, |restore| restore.cancelled = true);
        match world.milvus.operator().jobs().cancel(job).await {
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::Unavailable => return Err(dead()),
            // Too late: it completes.
            Err(_) => update(world, &target, |restore| restore.cancelled = false),
        }
    }
    if world.follow(&target, job).await? {
        world.check_rows(&target, &snapshot).await?;
        update(world, &target, |restore| restore.dropping = true);
        world.milvus.drop_collection(&target).await?;
    } else {
        let cancelled = world.restores()[&target].cancelled;
        assert!(cancelled, "restore {job} of {snapshot} into {target} failed, and nobody asked for it");
        assert!(!world.milvus.has_collection(&target).await?, "R-2: the target of a cancelled restore is there");
        world.met().restores_cancelled += 1;
    }
    world.restores().remove(&target);
    Ok(())
}

fn update(world: &World, target: &str, change: impl FnOnce(&mut Restore)) {
    change(world.restores().get_mut(target).expect("it was asked for"));
}

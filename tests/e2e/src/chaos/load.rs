//! The load: writers, snapshots, restores, rollbacks, compactions, drops and a probe beside each other. Each goes on when a
//! call fails as a fault may make it fail; anything else ends the run.

use super::oracle::{Cut, Effect, State};
use super::world::{AGAIN, KEYS, LOAD, PATIENCE, Snapshot, Told, WRITERS, World, count, hash};
use anyhow::{Context as _, Result, bail, ensure};
use elanus_proto::milvus::CreateCollectionRequest;
use elanus_scenarios::{
    milvus::{CallError, Milvus, completed},
    rows::{self, Row},
};
use elanus_types::RestoreMode;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::oneshot,
    task::{JoinSet, LocalSet},
    time::sleep,
};

/// Rows that a writer keeps, about.
const ROWS: usize = 120;
/// Snapshots that are kept at the same time.
const SNAPSHOTS_MAX: usize = 5;
const SHARDS: i32 = 2;
const PROBE: &str = "probe";

/// Creates what the load needs, while nothing is wrong.
///
/// # Errors
/// When the server refuses.
pub async fn prepare(world: &World) -> Result<()> {
    let milvus = world.milvus();
    let schema = prost::Message::encode_to_vec(&rows::schema(LOAD)).into();
    let wide =
        CreateCollectionRequest { collection_name: LOAD.to_owned(), schema, shards_num: SHARDS, ..Default::default() };
    milvus.raw().create_collection(wide).await?;
    milvus.create_index(LOAD).await?;
    milvus.load(LOAD).await?;
    milvus.create_collection(PROBE).await?;
    Ok(())
}

/// The load as it runs, on a thread of its own.
#[derive(Debug)]
pub struct Load(oneshot::Receiver<Result<()>>);

impl Load {
    /// Starts all of it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(world: &Arc<World>, mut rng: StdRng) -> Result<Self> {
        let (world, (ended, load)) = (Arc::clone(world), oneshot::channel());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            let result = runtime.block_on(LocalSet::new().run_until(together(&world, &mut rng)));
            // Nobody listens when the run was given up.
            let _heard = ended.send(result);
        })?;
        Ok(Self(load))
    }

    /// # Errors
    /// What has ended it.
    pub fn goes_on(&mut self) -> Result<()> {
        match self.0.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => Ok(()),
            Err(oneshot::error::TryRecvError::Closed) => bail!("the load panicked"),
            Ok(ended) => ended.and_then(|()| bail!("the load ended before it was told to")),
        }
    }

    /// Lets it end after what it does now.
    ///
    /// # Errors
    /// When a promise was broken.
    pub async fn end(self, world: &World) -> Result<()> {
        world.stop();
        self.0.await.context("the load panicked")?
    }
}

/// Until the world is told to stop, or the first of them meets what must not be.
async fn together(world: &Arc<World>, rng: &mut StdRng) -> Result<()> {
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for number in 0..WRITERS {
        let (world, rng) = (Arc::clone(world), StdRng::from_rng(rng));
        tasks.spawn_local(async move { write(&world, number, rng).await.with_context(|| format!("writer {number}")) });
    }
    for number in 0..2 {
        let (world, rng) = (Arc::clone(world), StdRng::from_rng(rng));
        tasks.spawn_local(async move { restore(&world, number, rng).await.context("restores") });
    }
    let [first, second, third, fourth] = [(); 4].map(|()| (Arc::clone(world), StdRng::from_rng(rng)));
    tasks.spawn_local(async move { snapshots(&first.0, first.1).await.context("snapshots") });
    tasks.spawn_local(async move { rollbacks(&second.0, second.1).await.context("rollbacks") });
    tasks.spawn_local(async move { compactions(&third.0, third.1).await.context("compactions") });
    tasks.spawn_local(async move { drops(&fourth.0, fourth.1).await.context("drops") });
    let probed = Arc::clone(world);
    tasks.spawn_local(async move { probe(&probed).await.context("probe") });
    while let Some(ended) = tasks.join_next().await {
        ended??;
        ensure!(world.stopped(), "a part of the load ended before it was told to");
    }
    Ok(())
}

async fn pause(rng: &mut StdRng, ms: std::ops::Range<u64>) {
    sleep(Duration::from_millis(rng.random_range(ms))).await;
}

async fn write(world: &World, number: usize, mut rng: StdRng) -> Result<()> {
    while !world.stopped() {
        let state = world.writer(number).rows().clone();
        let event = world.event();
        let effect = plan(&mut rng, &state, number, event);
        world.writer(number).begin(event, effect.clone());
        match send(world.milvus(), LOAD, &state, &effect).await {
            Ok(ts) => {
                let event = world.event();
                world.writer(number).acked(event, ts).map_err(anyhow::Error::msg)?;
                count(&world.met.writes);
            }
            Err(error) => match world.told(error)? {
                Told::Refused => {
                    world.writer(number).refused();
                    count(&world.met.refused);
                    sleep(AGAIN).await;
                }
                Told::Unknown => {
                    world.writer(number).lost();
                    count(&world.met.unknown);
                    sleep(AGAIN).await;
                }
            },
        }
        pause(&mut rng, 5..60).await;
    }
    Ok(())
}

/// New rows, other versions of rows, or fewer rows. Every request has a version of its own.
fn plan(rng: &mut StdRng, state: &State, number: usize, event: u64) -> Effect {
    let version = i64::try_from(event).unwrap_or(i64::MAX);
    let first = i64::try_from(number).unwrap_or_default() * KEYS + version * 10;
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
async fn send(milvus: &Milvus, collection: &str, state: &State, effect: &Effect) -> Result<u64, CallError> {
    let rows: Vec<Row> =
        effect.iter().filter_map(|(id, version)| version.map(|version| Row { id: *id, version })).collect();
    let ids: Vec<i64> = effect.keys().copied().collect();
    if rows.is_empty() {
        milvus.delete(collection, &ids).await
    } else if ids.iter().any(|id| state.contains_key(id)) {
        milvus.upsert(collection, &rows).await
    } else {
        milvus.insert(collection, &rows).await
    }
}

async fn snapshots(world: &World, mut rng: StdRng) -> Result<()> {
    for number in 0.. {
        pause(&mut rng, 100..800).await;
        if world.stopped() {
            break;
        }
        let kept = world.snapshots().len();
        if kept >= SNAPSHOTS_MAX || kept > 1 && rng.random_bool(0.2) {
            let chosen = world.snapshots().keys().cloned().choose(&mut rng);
            drop_snapshot(world, &chosen.context("there are some")?).await?;
        } else {
            create_snapshot(world, format!("s{number}")).await?;
        }
    }
    Ok(())
}

async fn create_snapshot(world: &World, name: String) -> Result<()> {
    let begin = world.event();
    let created = world.milvus().create_snapshot(LOAD, &name).await;
    let sure = match created {
        Ok(()) => true,
        Err(error) => match world.told(error)? {
            // S-2: nothing is visible. Should it be seen, it is unexpected.
            Told::Refused => return Ok(()),
            Told::Unknown => false,
        },
    };
    let end = world.event();
    if sure {
        count(&world.met.snapshots);
    } else {
        count(&world.met.unknown);
        // It may still come.
        let cut = Cut { begin, end: u64::MAX, ts: 0 };
        world.unsure().insert(name, cut);
        return Ok(());
    }
    let described = async |milvus: &Milvus| milvus.snapshot_ts(LOAD, &name).await;
    let ts = world.persist(&format!("describing {name}"), described).await?;
    let rows = world.read_inside(&name).await?.with_context(|| format!("S-1: {name} was committed and is gone"))?;
    let cut = Cut { begin, end, ts };
    world.check(&rows, cut, &format!("inside {name}"))?;
    world.snapshots().insert(name, Snapshot { cut, hash: hash(&rows) });
    Ok(())
}

async fn drop_snapshot(world: &World, name: &str) -> Result<()> {
    let Some(known) = world.snapshots().remove(name) else { return Ok(()) };
    match world.milvus().drop_snapshot(LOAD, name).await {
        Ok(()) => count(&world.met.snapshot_drops),
        // A restore uses it.
        Err(CallError::Refused(why)) if why.code.number() == 2601 => {
            world.snapshots().insert(name.to_owned(), known);
        }
        Err(error) => match world.told(error)? {
            Told::Refused => {
                world.snapshots().insert(name.to_owned(), known);
            }
            Told::Unknown => {
                count(&world.met.unknown);
                world.unsure().insert(name.to_owned(), known.cut);
            }
        },
    }
    Ok(())
}

async fn restore(world: &World, number: usize, mut rng: StdRng) -> Result<()> {
    for round in 0.. {
        pause(&mut rng, 50..500).await;
        if world.stopped() {
            break;
        }
        let chosen = world.snapshots().iter().map(|(name, known)| (name.clone(), *known)).choose(&mut rng);
        let Some((name, known)) = chosen else { continue };
        let mode = if rng.random_bool(0.5) { RestoreMode::Copy } else { RestoreMode::Clone };
        restore_one(world, &name, known, &format!("r{number}_{round}"), mode).await?;
    }
    Ok(())
}

/// Restores a snapshot, compares what came back with what must come back, and drops it.
///
/// # Errors
/// When it is anything else, or the job fails.
pub async fn restore_one(world: &World, name: &str, known: Snapshot, target: &str, mode: RestoreMode) -> Result<()> {
    let job = match world.milvus().restore(LOAD, name, target, mode).await {
        Ok(job) => job,
        // Dropped meanwhile.
        Err(CallError::Refused(why)) if why.code.number() == 2600 => return Ok(()),
        Err(error) => {
            if world.told(error)? == Told::Unknown {
                count(&world.met.unknown);
                world.leftovers().push(target.to_owned());
            }
            return Ok(());
        }
    };
    follow(world, job, target).await?;
    world.persist("loading a restored collection", async |milvus| milvus.load(target).await).await?;
    let rows = world.read(target).await?;
    world.check(&rows, known.cut, &format!("{target}, {mode} of {name}"))?;
    ensure!(
        hash(&rows) == known.hash,
        "S-1: {target}, {mode} of {name}, has other rows than the snapshot had when it was taken"
    );
    count(if mode == RestoreMode::Clone { &world.met.clones } else { &world.met.copies });
    drop_collection(world, target).await
}

/// the job completes, whoever dies.
async fn follow(world: &World, job: i64, target: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let now = world.persist(&format!("job {job}"), async |milvus| milvus.job(job).await).await?;
        match completed(&now) {
            Ok(true) => return Ok(()),
            Ok(false) if Instant::now() > until => bail!("R-3: job {job} into {target} is stuck: {now:?}"),
            Ok(false) => sleep(AGAIN).await,
            Err(reason) => bail!("R-3: job {job} into {target} failed: {reason}"),
        }
    }
}

async fn drop_collection(world: &World, name: &str) -> Result<()> {
    match world.milvus().drop_collection(name).await {
        Ok(()) => {
            count(&world.met.drops);
            let has =
                world.persist("looking for a collection", async |milvus| milvus.has_collection(name).await).await?;
            ensure!(!has, "{name} was dropped and is there");
        }
        Err(error) => {
            if world.told(error)? == Told::Unknown {
                count(&world.met.unknown);
            }
            world.leftovers().push(name.to_owned());
        }
    }
    Ok(())
}

/// Collections of one writer each, whose every request is answered; one that was not ends the collection.
async fn rollbacks(world: &World, mut rng: StdRng) -> Result<()> {
    for number in 0.. {
        if world.stopped() {
            break;
        }
        let name = format!("back_{number}");
        if let Err(error) = world.milvus().create_collection(&name).await {
            if world.told(error)? == Told::Unknown {
                count(&world.met.unknown);
            }
            world.leftovers().push(name);
            sleep(AGAIN).await;
            continue;
        }
        let rolled = roll_back(world, &name, &mut rng).await?;
        if let Some(Told::Unknown) = rolled {
            count(&world.met.unknown);
        }
        drop_collection(world, &name).await?;
        pause(&mut rng, 100..600).await;
    }
    Ok(())
}

/// `Some` when a request was not answered, after it was checked that the collection is as before it or as after it.
async fn roll_back(world: &World, name: &str, rng: &mut StdRng) -> Result<Option<Told>> {
    let rows = |ids: std::ops::Range<i64>, version| ids.map(|id| Row { id, version }).collect::<Vec<_>>();
    let size = rng.random_range(5..40);
    let then = rows(0..size, 1);
    let now: Vec<Row> = [rows(0..size / 2, 1), rows(size / 2..size + 5, 2)].concat();
    let milvus = world.milvus().clone();
    if let Err(error) = milvus.insert(name, &then).await {
        return either(world, name, error, &[], &then).await.map(Some);
    }
    if let Err(error) = milvus.create_snapshot(name, "then").await {
        return either(world, name, error, &then, &then).await.map(Some);
    }
    if let Err(error) = milvus.upsert(name, &now[usize::try_from(size / 2)?..]).await {
        return either(world, name, error, &then, &now).await.map(Some);
    }
    if let Err(error) = milvus.operator().collections().roll_back(name, "then").await {
        let error = match error.code {
            Some(code) => CallError::Refused(elanus_types::Failure::new(code, error.message)),
            None => super::world::away(&error.message),
        };
        return either(world, name, error, &now, &then).await.map(Some);
    }
    let found = world.read(name).await?;
    ensure!(found == then, "{name} was rolled back and has {found:?} instead of {then:?}");
    count(&world.met.rollbacks);
    Ok(None)
}

async fn either(world: &World, name: &str, error: CallError, before: &[Row], after: &[Row]) -> Result<Told> {
    let told = world.told(error)?;
    let found = world.read(name).await?;
    ensure!(
        found == before || told == Told::Unknown && found == after,
        "{name}: {found:?} is neither {before:?} nor {after:?}"
    );
    Ok(told)
}

async fn compactions(world: &World, mut rng: StdRng) -> Result<()> {
    while !world.stopped() {
        pause(&mut rng, 1_000..4_000).await;
        let milvus = world.milvus().clone();
        // It may be refused, or lost: nobody who reads or restores sees a difference.
        if milvus.operator().compactions().start(LOAD).await.is_ok() {
            count(&world.met.compactions);
        }
    }
    Ok(())
}

/// Collections that come and go with everything that they have.
async fn drops(world: &World, mut rng: StdRng) -> Result<()> {
    for number in 0.. {
        if world.stopped() {
            break;
        }
        let name = format!("short_{number}");
        let milvus = world.milvus().clone();
        let begun = async {
            milvus.create_collection(&name).await?;
            milvus.insert(&name, &[Row { id: number, version: 1 }]).await?;
            milvus.create_snapshot(&name, "s").await
        };
        match begun.await {
            Ok(()) => drop_collection(world, &name).await?,
            Err(error) => {
                if world.told(error)? == Told::Unknown {
                    count(&world.met.unknown);
                }
                world.leftovers().push(name);
            }
        }
        pause(&mut rng, 300..1_500).await;
    }
    Ok(())
}

/// One write and one read after the other: how long nobody is served.
async fn probe(world: &World) -> Result<()> {
    world.served();
    let mut id = 1;
    for version in 1.. {
        if world.stopped() {
            break;
        }
        // A write without an answer may be done late, over the next one: another row then.
        let row = loop {
            let row = [Row { id, version }];
            world.waits_for("its upsert");
            match world.milvus().upsert(PROBE, &row).await {
                Ok(_) => break row,
                Err(error) => {
                    if world.told(error)? == Told::Unknown {
                        count(&world.met.unknown);
                        id += 1;
                    }
                    ensure!(world.last_served().elapsed() < PATIENCE, "not served for {PATIENCE:?}");
                    sleep(AGAIN).await;
                }
            }
        };
        let filter = format!("id == {id}");
        let read = async |milvus: &Milvus| {
            world.waits_for("its read");
            milvus.query(PROBE, &filter).await
        };
        let found = world.persist("the probe's read", read).await?;
        ensure!(found == row, "D-1: the probe wrote {row:?} and reads {found:?}");
        count(&world.met.reads);
        world.served();
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

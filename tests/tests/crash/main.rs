//! `kill -9` at any instant: what was promised holds when the process is back.
//!
//! Writers, snapshots, restores, cancellations and flushes run beside each other until the process is killed; it is started
//! again on the same directory, sometimes killed once more while it starts, and everything is compared with what the test
//! was told. Six kills; fifty with `ELANUS_TEST_FULL=1`. The seed is printed; `ELANUS_TEST_SEED` sets it. The same
//! seed sends the same requests, but the instants of a kill are never quite the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answered;
mod history;
mod load;
mod settle;
mod world;

use elanus_scenarios::milvus::Milvus;
use elanus_testkit::{Server, settings};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{rc::Rc, time::Duration};
use tokio::{
    task::LocalSet,
    time::{Instant, sleep, timeout},
};
use world::{Met, World};

/// Lives of the server that share a collection; then a new one begins, so that the checks do not grow with the run.
const LIVES: u64 = 4;
/// No life is so slow that this is not reached.
const ACKS_MAX_WAIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn d_1_s_1_s_2_r_1_r_2_r_3_g_2_hold_when_the_process_is_killed_at_any_instant() {
    // One thread for the whole client: what it knows is no shared state.
    LocalSet::new().run_until(kill_and_check()).await;
}

async fn kill_and_check() {
    let seed = settings::seed().unwrap().unwrap_or_else(rand::random);
    eprintln!("ELANUS_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let kills = if settings::full() { 52 } else { 6 };
    // Some snapshots are listed before their create is answered, and some after.
    let mut server = Server::start_with(&["--snapshot-listed-max", "8"]).await.unwrap();
    let milvus = Milvus::at(&server.url());
    let mut world = new_world(&milvus, 0).await;
    let mut met = Vec::new();
    for round in 0..kills {
        if round > 0 && round % LIVES == 0 {
            met.push(end_world(&world).await);
            world = new_world(&milvus, round).await;
        }
        live_and_die(&mut server, &world, &mut rng, seed, round).await;
        let restarted = Instant::now();
        come_back(&mut server, &mut rng).await;
        let ready = restarted.elapsed();
        world.progress.send_modify(|progress| progress.dead = false);
        settle::settle(&world).await;
        eprintln!("kill {round}: back after {ready:?}, checked after {:?}", restarted.elapsed());
    }
    met.push(end_world(&world).await);
    let total = |of: fn(&Met) -> u64| met.iter().map(of).sum::<u64>();
    let vacuous = [total(|met| met.snapshots), total(|met| met.restores), total(|met| met.cut_off.iter().sum())];
    assert!(!vacuous.contains(&0), "a run that met nothing proves nothing: {met:?}");
    server.terminate().await.unwrap();
}

async fn new_world(milvus: &Milvus, number: u64) -> Rc<World> {
    let collection = format!("load_{number}");
    milvus.create_collection(&collection).await.unwrap();
    Rc::new(World::new(milvus.clone(), collection))
}

async fn end_world(world: &Rc<World>) -> Met {
    settle::check_every_snapshot(world).await;
    world.milvus.drop_collection(&world.collection).await.unwrap();
    settle::swept(world).await;
    let met = *world.met();
    eprintln!("{met:?}");
    met
}

/// Runs the load until some writes were acknowledged and a little longer, then kills the process.
async fn live_and_die(server: &mut Server, world: &Rc<World>, rng: &mut StdRng, seed: u64, round: u64) {
    let mut progress = world.progress.subscribe();
    let until = progress.borrow().acks + rng.random_range(10..150);
    let mut load = load::start(world, seed, round);
    tokio::select! {
        reached = timeout(ACKS_MAX_WAIT, progress.wait_for(|now| now.acks >= until)) => {
            drop(reached.expect("the load goes on"));
        }
        Some(ended) = load.join_next() => {
            ended.unwrap();
            server.kill9().unwrap();
            panic!("a part of the load ended before the server was killed");
        }
    }
    // Not a wait for something: the instant of the kill is what the test varies.
    sleep(Duration::from_micros(rng.random_range(0..30_000))).await;
    server.kill9().unwrap();
    world.progress.send_modify(|progress| progress.dead = true);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
}

/// Starts the process again, once in a while only to kill it before it is ready.
async fn come_back(server: &mut Server, rng: &mut StdRng) {
    while rng.random_bool(0.3) {
        server.begin().unwrap();
        sleep(Duration::from_micros(rng.random_range(0..150_000))).await;
        server.kill9().unwrap();
    }
    server.restart().await.unwrap();
}

//! The whole system in one thread, on embedded parts, with faults, from a seed.
//!
//! Proxies, coordinators, data nodes and query nodes of one to three processes over one SQLite file, one object store in
//! memory and one bus. Clients do random things; effects fail, processes die, stand still and overlap, clocks jump, events
//! are lost. In between everything comes to rest, and a model in plain maps says what must be there.
//!
//! * [`turns`]: who goes on next. The same seed gives the same trace.
//! * [`model`]: what was asked and answered, and what may be read after it.
//! * `parts`, `process`: the system, and how its effects go wrong.
//! * `ops`: what clients do. A new operation is one function and one line in its table. `collector`: those about deletes.
//! * `settle`: what must hold.

mod collector;
pub mod model;
mod ops;
mod parts;
mod process;
mod read;
mod settle;
pub mod turns;
mod world;

use process::Process;
use rand::{Rng as _, rngs::StdRng, seq::IteratorRandom as _};
use std::{any::Any, collections::BTreeMap, panic::AssertUnwindSafe, rc::Rc, sync::mpsc, thread, time::Duration};
use tokio::task::LocalSet;
use turns::{Rates, Turns};
use world::{World, pause};

/// Chaos and quiet, so often in one run.
const PHASES: u32 = 3;
/// Operations of one phase.
const OPERATIONS: u32 = 40;
/// Operations at the same time.
const RUNNING_MAX: usize = 8;
/// A run that takes longer than this by the machine's clock hangs.
const HANGS_AFTER: Duration = Duration::from_secs(90);

/// What a run met, and how it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every choice, effect and answer.
    pub trace: Vec<String>,
    /// How often what.
    pub met: BTreeMap<String, u64>,
    /// The promise that was broken, with the reason.
    pub broken: Option<String>,
}

/// Runs the simulation of a seed to its end.
///
/// # Panics
/// When no thread can be started. Promises that are broken are told in the outcome.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let (sender, receiver) = mpsc::channel();
    let (first, turns) = mpsc::channel();
    let named = thread::Builder::new().name(format!("seed {seed}"));
    named.spawn(move || sender.send(run_here(seed, &first))).expect("a thread");
    let ended = receiver.recv_timeout(HANGS_AFTER);
    ended.unwrap_or_else(|error| {
        let turns: Option<Turns> = turns.recv().ok();
        let trace = turns.as_ref().map(Turns::trace).unwrap_or_default();
        let met = turns.as_ref().map(Turns::all_met).unwrap_or_default();
        Outcome { trace, met, broken: Some(format!("the run does not end: {error}")) }
    })
}

fn run_here(seed: u64, began: &mpsc::Sender<Turns>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // Work for other threads ends in the order in which it was given.
        .max_blocking_threads(1)
        .build()
        .expect("a runtime");
    let turns = runtime.block_on(async { Turns::new(seed) });
    let _ = began.send(turns.clone());
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
        LocalSet::new().block_on(&runtime, live(turns.clone()));
    }));
    runtime.shutdown_background();
    let broken = turns.broken().or_else(|| ran.err().map(|panic| text(&*panic)));
    Outcome { trace: turns.trace(), met: turns.all_met(), broken }
}

/// What a panic said.
fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

async fn live(turns: Turns) {
    let world = World::new(&turns);
    let giving = tokio::task::spawn_local(turns.clone().run());
    let mut rng = world.rng();
    begin_process(&world).await;
    ops::create_collection(&world, &mut rng).await;
    for phase in 0..PHASES {
        turns.note(format!("phase {phase}"));
        // The first phase has no faults: what is simple must work.
        if phase > 0 {
            let error = [0, 30, 100, 200].into_iter().choose(&mut rng).unwrap_or_default();
            turns.set_rates(Rates { error, death: rng.random_range(0..15), slow: rng.random_range(0..800) });
        }
        chaos(&world, &mut rng, phase > 0).await;
        settle::settle(&world, &mut rng).await;
    }
    settle::everything_goes(&world).await;
    giving.abort();
    turns.met("runs to the end");
}

async fn chaos(world: &Rc<World>, rng: &mut StdRng, faults: bool) {
    for _ in 0..OPERATIONS {
        pause(rng.random_range(0..400)).await;
        for _ in 0..1_000 {
            world.go_on();
            if world.running.get() < RUNNING_MAX {
                break;
            }
            pause(200).await;
        }
        if faults {
            trouble(world, rng).await;
        }
        tokio::task::spawn_local(ops::any(Rc::clone(world), world.rng()));
    }
}

/// Kills, stops, wakes and starts processes, and moves the clock.
async fn trouble(world: &Rc<World>, rng: &mut StdRng) {
    bury(world).await;
    let alive = world.alive();
    let one = alive.iter().choose(rng).map(|process| process.id);
    match (rng.random_range(0..100), one) {
        (0..3, Some(one)) => {
            world.turns.met("fault: a process is killed");
            world.turns.kill(one, "killed");
        }
        (3..6, Some(one)) if !world.turns.is_stalled(one) => {
            world.turns.met("fault: a process stands still");
            world.turns.stall(one, true);
            let (world, for_ms) = (Rc::clone(world), rng.random_range(1_000..150_000));
            tokio::task::spawn_local(async move {
                pause(for_ms).await;
                world.turns.stall(one, false);
            });
        }
        (6..9, Some(_)) if alive.len() < 3 => {
            world.turns.met("fault: two coordinators overlap");
            begin_process(world).await;
        }
        (9..11, _) => {
            world.turns.met("fault: the clock jumps");
            world.turns.jump_ms(rng.random_range(-2_000..120_000));
        }
        (_, None) => begin_process(world).await,
        _ => {}
    }
}

/// Starts a process that takes over; one that dies while it starts is followed by another.
async fn begin_process(world: &Rc<World>) {
    loop {
        let id = world.turns.add_process();
        let alive: Vec<_> = world.alive().iter().map(|process| process.node.clone()).collect();
        world.turns.note(format!("process {id} starts beside {alive:?}"));
        match Process::start(&world.shared, id, &alive).await {
            Ok(process) => {
                world.turns.met("starts");
                world.processes.borrow_mut().push(Rc::new(process));
                return;
            }
            Err(error) => {
                world.turns.met("starts that failed");
                world.turns.note(format!("process {id} does not start: {error}"));
                world.turns.kill(id, "it did not start");
            }
        }
    }
}

/// Ends what still runs in dead processes, beside everything else.
async fn bury(world: &Rc<World>) {
    for process in world.take_dead() {
        tokio::task::spawn_local(async move { process.bury().await });
    }
}

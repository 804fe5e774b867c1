//! Operations about the collector: rounds of it, its brakes, and the ways back.

use crate::ops::choose;
use crate::read::look;
use crate::world::{Collection, Life, Stage, Told, World, call};
use elanus_client::{Gc, GcCollection};
use rand::{Rng as _, rngs::StdRng, seq::IteratorRandom as _};
use std::time::Duration;

fn gc(process: &crate::process::Process) -> Gc<'_> {
    process.operator.gc().actor("client")
}

/// Gives a collection files of its own, if it shares any. What it holds stays the same.
pub(crate) async fn detach(world: &World, rng: &mut StdRng) {
    let Some(name) = choose(world, rng, |_| true) else { return };
    let server = world.server(rng).await;
    let answer = call(rng, server.operator.collections().detach(&name)).await;
    world.told(server.id, &format!("detach {name}"), answer);
}

/// Compacts what can be compacted of a collection, and sometimes waits for it. What it holds stays the same.
pub(crate) async fn compact(world: &World, rng: &mut StdRng) {
    let Some(name) = choose(world, rng, |_| true) else { return };
    let server = world.server(rng).await;
    let answer = call(rng, server.operator.compactions().start(&name)).await;
    let told = world.told(server.id, &format!("compact {name}"), answer);
    if let Told::Done(job) = told
        && !job.compactions.is_empty()
        && rng.random_bool(0.5)
    {
        let answer = call(rng, server.operator.compactions().wait(job.job_id)).await;
        world.told(server.id, &format!("compaction {}", job.job_id), answer);
        look(world, rng).await;
    }
}

/// Rounds of all duties of the collector, or of one of them, now.
pub(crate) async fn collect(world: &World, rng: &mut StdRng) {
    let server = world.server(rng).await;
    let task = [None, Some("gc.release"), Some("sweep"), Some("gc.recount")].into_iter().choose(rng).flatten();
    let answer = call(rng, gc(&server).run(task)).await;
    world.told(server.id, &format!("gc-run {}", task.unwrap_or("all")), answer);
    look(world, rng).await;
}

/// Wants a scan of the bucket.
pub(crate) async fn scan(world: &World, rng: &mut StdRng) {
    let server = world.server(rng).await;
    let answer = call(rng, server.operator.scans().start()).await;
    world.told(server.id, "scan", answer);
}

pub(crate) async fn pause_deletes(world: &World, rng: &mut StdRng) {
    let of = choose(world, rng, |_| true).filter(|_| rng.random_bool(0.5));
    let server = world.server(rng).await;
    let ttl = Duration::from_secs(rng.random_range(1..60));
    let answer = call(rng, gc(&server).pause(of.as_deref().map(GcCollection::Name), ttl)).await;
    world.told(server.id, &format!("gc-pause {of:?}"), answer);
}

pub(crate) async fn resume_deletes(world: &World, rng: &mut StdRng) {
    let server = world.server(rng).await;
    let answer = call(rng, gc(&server).resume(None)).await;
    world.told(server.id, "gc-resume", answer);
}

/// A hold on a collection, or on one of its snapshots.
pub(crate) async fn hold(world: &World, rng: &mut StdRng) {
    let Some(name) = choose(world, rng, |_| true) else { return };
    let snapshot = {
        let collection = world.collection(&name);
        let committed = collection.snapshots.iter().filter(|(_, one)| one.stage == Stage::Committed);
        committed.map(|(snapshot, _)| snapshot.clone()).choose(rng).filter(|_| rng.random_bool(0.3))
    };
    let server = world.server(rng).await;
    let answer = call(rng, gc(&server).hold(GcCollection::Name(&name), snapshot.as_deref(), "a case")).await;
    if let Told::Done(_) = world.told(server.id, &format!("gc-hold {name} {snapshot:?}"), answer)
        && snapshot.is_none()
        && world.lifting.get() == 0
    {
        world.collection(&name).held = true;
    }
}

/// Lifts all holds.
pub(crate) async fn lift(world: &World, rng: &mut StdRng) {
    let server = world.server(rng).await;
    for collection in world.model().collections.values_mut() {
        (collection.held, collection.held_since_drop) = (false, false);
    }
    world.lifting.set(world.lifting.get() + 1);
    let answer = call(rng, async {
        for hold in gc(&server).holds().await? {
            gc(&server).lift(hold.hold_id).await?;
        }
        Ok::<_, elanus_client::ClientError>(())
    });
    let answer = answer.await;
    world.lifting.set(world.lifting.get() - 1);
    world.told(server.id, "gc-lift", answer);
}

/// Brings a dropped collection back, also a purged one, from the deletion queue.
pub(crate) async fn undo(world: &World, rng: &mut StdRng) {
    let dropped = |one: &Collection| [Life::Gone, Life::Trashed].contains(&one.life) && !one.taken;
    let chosen = {
        let model = world.model();
        let dropped = model.collections.iter().filter(|(_, one)| dropped(one));
        dropped.filter_map(|(name, one)| Some((name.clone(), one.id?))).choose(rng)
    };
    let Some((name, id)) = chosen else { return };
    let before = {
        let mut collection = world.collection(&name);
        collection.taken = true;
        // In the trash, time passes.
        let lives = vec![Life::Live, Life::Trashed, Life::Gone];
        std::mem::replace(&mut collection.life, Life::Doubt(lives))
    };
    let server = world.server(rng).await;
    let answer = call(rng, gc(&server).undo(id, None)).await;
    let life = match world.told(server.id, &format!("gc-undo {name}"), answer) {
        Told::Done(_) => {
            let mut collection = world.collection(&name);
            end_snapshots(&mut collection);
            Life::Live
        }
        Told::Refused(why) => {
            if world.collection(&name).held_since_drop {
                world.broken(format!("a hold does not keep {name}: {why}"));
            }
            before
        }
        Told::Unknown => {
            end_snapshots(&mut world.collection(&name));
            return;
        }
    };
    world.settle_life(&name, life);
}

/// Whether they came back is not known: their end is final, once it has begun.
fn end_snapshots(collection: &mut Collection) {
    let committed = collection.snapshots.values_mut().filter(|one| one.stage == Stage::Committed);
    committed.for_each(|one| one.stage = Stage::Dropping);
}

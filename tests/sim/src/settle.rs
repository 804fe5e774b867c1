//! A quiet phase: faults end, everything comes to rest, every request whose end was not known is settled by a look, and
//! every promise is checked.

use crate::model::End;
use crate::ops::{self, add_partition, adopt, follow};
use crate::process::Process;
use crate::read;
use crate::turns::Rates;
use crate::world::{Life, Stage, World, pause};
use crate::{begin_process, bury};
use elanus_scenarios::milvus::Milvus;
use futures::StreamExt as _;
use rand::rngs::StdRng;
use std::{collections::BTreeSet, rc::Rc};

/// Rounds of five seconds until everything must be at rest.
const ROUNDS_MAX: u32 = 360;
/// Longer than any lease.
const LEASES_MS: u64 = 90_000;

/// Faults end; returns when all promises were checked. The newest process is the only one then.
pub(crate) async fn settle(world: &Rc<World>, rng: &mut StdRng) {
    world.turns.set_rates(Rates::default());
    let all: Vec<Rc<Process>> = world.processes.borrow().clone();
    for process in &all {
        world.turns.stall(process.id, false);
    }
    // Whoever took over last must be there: the others were told that they are not the coordinator.
    if all.last().is_none_or(|newest| world.turns.is_dead(newest.id)) {
        begin_process(world).await;
    }
    until(world, "every request to end", async || match world.running.get() {
        0 => Ok(()),
        running => Err(format!("{running} run")),
    })
    .await;
    let alive = world.alive();
    let (last, older) = alive.split_last().expect("a process was started");
    for process in older {
        world.turns.kill(process.id, "another one is the coordinator");
    }
    bury(world).await;
    end_brakes(world, last).await;
    pause(LEASES_MS).await;
    follow_restores(world, rng, last).await;
    let at_rest = async || {
        let open = last.meta.open_jobs().await.unwrap_or_else(|error| world.broken(error));
        if !open.is_empty() {
            return Err(format!("{open:?}"));
        }
        let clean = scrub(world, last).await;
        is_nothing_left(world, last).await.and(clean)
    };
    until(world, "jobs to end, and everything that nothing needs to be deleted (R-3, G-2)", at_rest).await;
    count_compactions(world, last).await;
    check_ended(world, last).await;
    settle_lives(world, last).await;
    settle_collections(world, last).await;
    check_names(world, last).await;
}

/// Looks again and again; a look that is in vain says why.
async fn until(world: &World, what: &str, reached: impl AsyncFn() -> Result<(), String>) {
    let mut why = String::new();
    for round in 0..ROUNDS_MAX {
        world.go_on();
        world.turns.met("rounds of a settling");
        if round == ROUNDS_MAX / 2 {
            world.turns.met("a settling that takes long");
        }
        match reached().await {
            Ok(()) => return,
            Err(not_yet) => why = not_yet,
        }
        pause(5_000).await;
    }
    world.broken(format!("nothing happens, waiting for {what}: {why}"));
}

/// Nothing keeps deletes any more.
async fn end_brakes(world: &World, process: &Process) {
    let gc = process.operator.gc();
    let ended = async {
        for hold in gc.holds().await? {
            gc.lift(hold.hold_id).await?;
        }
        gc.resume(None).await
    };
    ended.await.unwrap_or_else(|error| world.broken(error));
    for collection in world.model().collections.values_mut() {
        (collection.held, collection.held_since_drop) = (false, false);
    }
}

/// G-2: nothing waits for deletion any more. Nothing has stopped it (a freeze is damage, a breaker that is open a bug here:
/// clients drop what they drop).
async fn is_nothing_left(world: &World, process: &Process) -> Result<(), String> {
    let status = process.operator.gc().status().await.unwrap_or_else(|error| world.broken(error));
    let scans = process.operator.scans().list(1).await.unwrap_or_else(|error| world.broken(error));
    if status.frozen_ms != 0 || !scans.freezes.is_empty() || !status.breakers.is_empty() {
        world.broken(format!("deletes are stopped: {status:?}, {:?}", scans.freezes));
    }
    let none =
        |amount: &Option<elanus_proto::admin::GcAmount>| amount.as_ref().is_none_or(|amount| amount.objects == 0);
    // A pin whose end is not known keeps what is dropped until it ends.
    let released = status.unreleased_snapshots == 0 && status.kept.is_empty();
    if none(&status.waiting) && none(&status.due) && none(&status.deleting) && released {
        return Ok(());
    }
    Err(format!("{status:?}"))
}

/// What became of compactions, those of the policy too.
async fn count_compactions(world: &World, process: &Process) {
    let all = process.meta.compactions(None, 1_000).await.unwrap_or_else(|error| world.broken(error));
    let seen = world.compactions_seen.get();
    for one in all.iter().filter(|one| one.id.0 > seen) {
        match (one.state, one.reason.as_deref()) {
            ("completed", _) => world.turns.met("compaction: completed"),
            ("failed", Some("aborted")) => world.turns.met("compaction: void"),
            ("failed", _) => world.turns.met("compaction: failed"),
            _ => world.turns.met("compaction: open"),
        }
    }
    world.compactions_seen.set(all.last().map_or(seen, |last| last.id.0));
}

/// I5: what was to be deleted never comes back. I8: what is live has a reference (a row that has none cannot be written).
async fn check_ended(world: &World, process: &Process) {
    let mut after = None;
    loop {
        let page = process.meta.known_objects(after.as_ref(), 1_000).await.unwrap_or_else(|error| world.broken(error));
        let Some(last) = page.last() else { return };
        after = Some(last.key.clone());
        let ended = world.shared.witness().ended();
        for object in page {
            if ended.contains(&object.file_set) && !["deleting", "gone"].contains(&object.file_set_state.as_str()) {
                world.broken(format!("I5: it was to be deleted, and is here again: {object:?}"));
            }
        }
    }
}

/// I1, I2, I7, I8, I9: the bucket is what the metadata says, to the last byte, and these are what they should be; an error when
/// something is there that nobody needs. An object that was written too late is found by the scan.
async fn scrub(world: &World, process: &Process) -> Result<(), String> {
    let report = process.operator.scrub().checksums(true).send().await.unwrap_or_else(|error| world.broken(error));
    let (late, kept): (Vec<_>, Vec<_>) = report.orphans.iter().partition(|key| world.turns.may_be_late(key));
    let sound = report.missing.is_empty() && report.damaged.is_empty() && report.findings.is_empty();
    if !sound || !kept.is_empty() || !report.unknown.is_empty() {
        world.broken(format!("bucket and metadata are not what they should be: {report:?}"));
    }
    for key in &late {
        world.turns.met("an object that was written after it had been given up (seen by a scrub)");
        world.turns.note(format!("nobody knows {key}"));
    }
    if !late.is_empty() {
        let scans = process.operator.scans();
        scans.start().await.unwrap_or_else(|error| world.broken(error));
        accept_scan(world, process).await;
    }
    match (report.abandoned, late.is_empty()) {
        (0, true) => Ok(()),
        (abandoned, _) => Err(format!("{abandoned} objects are abandoned, these came too late: {late:?}")),
    }
}

/// A small store of which much came too late holds its scan; the operator knows why.
async fn accept_scan(world: &World, process: &Process) {
    let scans = process.operator.scans();
    let last = scans.list(10).await.unwrap_or_else(|error| world.broken(error)).scans;
    let last = last.into_iter().find(|scan| scan.state == "complete");
    if let Some(last) = last.as_ref().filter(|last| last.unknown > 0) {
        world.broken(format!("a scan found objects that no row ever mentioned: {last:?}"));
    }
    if let Some(held) = last.filter(|last| last.held && last.accepted_ms == 0) {
        world.turns.met("a scan that is held, and accepted");
        // Another scan may be complete meanwhile.
        let _ = scans.allow(elanus_client::Allow::Scan(held.id)).await;
    }
}

/// G-2: after a long time everything that is needed is still there; when the last collection is purged, the bucket is empty.
pub(crate) async fn everything_goes(world: &World) {
    let process = world.alive().pop().expect("a process was started");
    // Pins end, rows are forgotten.
    world.turns.jump_ms(2 * ops::PIN.as_millis() as i64);
    pause(LEASES_MS).await;
    settle_collections(world, &process).await;
    let dropped = async {
        for collection in process.operator.collections().list().await? {
            if let Err(error) = process.milvus.drop_collection(&collection.name).await {
                world.broken(format!("{} cannot be dropped: {error}", collection.name));
            }
        }
        for trashed in process.operator.trash().list().await? {
            process.operator.trash().purge(elanus_client::InTrash::Id(trashed.id)).await?;
        }
        Ok::<_, elanus_client::ClientError>(())
    };
    dropped.await.unwrap_or_else(|error| world.broken(error));
    let empty = async || {
        scrub(world, &process).await?;
        match world.shared.store.list(None).count().await {
            0 => Ok(()),
            objects => Err(format!("{objects} objects")),
        }
    };
    until(world, "the bucket to be empty (G-2)", empty).await;
    check_ended(world, &process).await;
    world.turns.met("the bucket is empty at the end");
}

/// Restores whose submit had no known end, and those whose target has not been looked at.
async fn follow_restores(world: &World, rng: &mut StdRng, process: &Process) {
    let targets: Vec<String> = world.model().restores.keys().cloned().collect();
    for target in targets {
        if matches!(world.collection(&target).life, Life::Doubt(_)) {
            let jobs = process.operator.jobs().list().target_collection(target.as_str()).send().await;
            let jobs = jobs.unwrap_or_else(|error| world.broken(error));
            match &jobs[..] {
                [] => {
                    world.model().restores.remove(&target);
                    world.collection(&target).life = Life::Gone;
                }
                [job] => follow(world, rng, &target, job.job_id, None).await,
                more => world.broken(format!("two restores into {target}: {more:?}")),
            }
        }
        if world.collection(&target).life == Life::Live && !adopt(world, rng, &target).await {
            world.broken(format!("R-1: {target} was restored and cannot be read"));
        }
    }
}

/// Where every collection is.
async fn settle_lives(world: &World, process: &Process) {
    let listed = process.operator.collections().list().await.unwrap_or_else(|error| world.broken(error));
    let trash = process.operator.trash().list().await.unwrap_or_else(|error| world.broken(error));
    let listed: BTreeSet<String> = listed.into_iter().map(|one| one.name).collect();
    let trashed: BTreeSet<String> = trash.into_iter().map(|one| one.name).collect();
    let names: Vec<String> = world.model().collections.keys().cloned().collect();
    for name in &names {
        let found = match (listed.contains(name), trashed.contains(name)) {
            (true, false) => Life::Live,
            (false, true) => Life::Trashed,
            (false, false) => Life::Gone,
            (true, true) => world.broken(format!("{name} is in the trash and out of it")),
        };
        let expected = world.collection(name).life.clone();
        let right = match &expected {
            Life::Doubt(lives) if lives.contains(&Life::Trashed) && found == Life::Gone => true,
            Life::Doubt(lives) => lives.contains(&found),
            // Its time in the trash is over.
            Life::Trashed if found == Life::Gone => true,
            life => *life == found,
        };
        if !right {
            world.broken(format!("the collection {name} is {found:?}, and should be {expected:?}"));
        }
        world.settle_life(name, found);
    }
    if let Some(unknown) = listed.iter().chain(&trashed).find(|name| !names.contains(name)) {
        world.broken(format!("R-2: a collection that nobody made: {unknown}"));
    }
}

/// D-1, S-1, S-2: every row and every snapshot of every collection.
async fn settle_collections(world: &World, process: &Process) {
    let names: Vec<String> = world.model().collections.keys().cloned().collect();
    for name in names {
        if world.collection(&name).life != Life::Live {
            continue;
        }
        if !world.collection(&name).ready {
            if let Err(error) = set_up(&process.milvus, process, &name).await {
                world.broken(format!("{name} cannot be set up: {error}"));
            }
            world.collection(&name).ready = true;
        }
        settle_rows(world, process, &name).await;
        settle_snapshots(world, process, &name).await;
    }
}

/// A collection whose creation was cut off gets what it lacks.
async fn set_up(milvus: &Milvus, process: &Process, name: &str) -> Result<(), String> {
    let detail = process.operator.collections().describe(name).await.map_err(|error| error.to_string())?;
    let collection = detail.collection.unwrap_or_default();
    if collection.partitions.len() < 2 {
        add_partition(milvus, name).await.map_err(|error| error.to_string())?;
    }
    if collection.indexes.is_empty() {
        milvus.create_index(name).await.map_err(|error| error.to_string())?;
    }
    milvus.load(name).await.map_err(|error| error.to_string())
}

async fn settle_rows(world: &World, process: &Process, name: &str) {
    let found = match read::rows(&process.milvus, name, None).await {
        Ok(found) => found,
        Err(why) => world.broken(format!("D-1: {name} cannot be read: {why:?}")),
    };
    let event = world.next();
    let mut collection = world.collection(name);
    let open = collection.rows.ops.iter().filter(|op| op.end == End::Open).count();
    let before = collection.rows.ops.len();
    let settled = collection.rows.settle(&found, event);
    let undone = before - collection.rows.ops.len();
    drop(collection);
    if let Err(why) = settled {
        world.broken(format!("{name}: {why}"));
    }
    (0..undone).for_each(|_| world.turns.met("end of a request found: not done"));
    (undone..open).for_each(|_| world.turns.met("end of a request found: done"));
}

async fn settle_snapshots(world: &World, process: &Process, name: &str) {
    let listed = process.operator.snapshots().list(name).await.unwrap_or_else(|error| world.broken(error));
    let known: Vec<String> = world.collection(name).snapshots.keys().cloned().collect();
    for snapshot in &known {
        let found = listed.iter().find(|one| one.name == *snapshot);
        let event = world.next();
        let mut collection = world.collection(name);
        let one = collection.snapshots.get_mut(snapshot).expect("it is known");
        match (found, one.stage) {
            (Some(found), Stage::Creating) => one.committed(event, Some(found.create_ts)),
            (Some(found), _) => {
                one.stage = Stage::Committed;
                one.ts = Some(found.create_ts);
            }
            (None, Stage::Committed) => {
                drop(collection);
                world.broken(format!("S-1: the snapshot {snapshot} of {name} is not there"));
            }
            (None, _) => drop(collection.snapshots.remove(snapshot)),
        }
    }
    for found in &listed {
        // A rollback whose end is not known may have left one.
        if !known.contains(&found.name) && !found.name.starts_with("before_rollback_") {
            world.broken(format!("S-2: a snapshot that nobody made: {} of {name}", found.name));
        }
    }
    let left: Vec<String> = world.collection(name).snapshots.keys().cloned().collect();
    for snapshot in left {
        match read::rows(&process.milvus, name, Some(&snapshot)).await {
            Ok(found) => read::check_inside(world, name, &snapshot, &found, None),
            Err(why) => world.broken(format!("S-1: {name}.{snapshot} cannot be read: {why:?}")),
        }
    }
}

/// a name whose restore failed is free.
async fn check_names(world: &World, process: &Process) {
    let gone = world.model().collections.iter().find(|(_, one)| one.life == Life::Gone).map(|(name, _)| name.clone());
    let Some(name) = gone else { return };
    if let Err(error) = process.milvus.create_collection(&name).await {
        world.broken(format!("R-2: the name {name} is not free: {error}"));
    }
    let dropped = process.milvus.drop_collection(&name).await;
    let purged = process.operator.trash().purge(elanus_client::InTrash::Name(&name)).await;
    if dropped.is_err() || purged.is_err() {
        world.broken(format!("{name} cannot be removed: {dropped:?} {purged:?}"));
    }
}

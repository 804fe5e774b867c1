//! After a restart: everything that was promised holds, and what was cut off ends by itself. Afterwards the test knows again
//! what is there.

use crate::world::{Restore, Snapshot, World};
use elanus_client::{RestoreMode, ScrubReport};
use elanus_testkit::wait_for;
use std::{collections::BTreeSet, rc::Rc, time::Duration};
use tokio::task::JoinSet;

/// A create that is repeated after a crash is not made to wait for leases of the dead process.
const REPEAT_MAX: Duration = Duration::from_secs(10);
const SWEEP_MAX: Duration = Duration::from_secs(60);

/// Checks all promises and learns what became of what was cut off.
pub(crate) async fn settle(world: &World) {
    world.settle_writers().await;
    settle_snapshots(world).await;
    settle_restores(world).await;
    scrub(world).await;
}

/// S-1: what was committed is there. S-2: a create that was cut off was done, or is done when it is asked for again.
async fn settle_snapshots(world: &World) {
    let listed: BTreeSet<String> = world.milvus.snapshots(&world.collection).await.unwrap().into_iter().collect();
    let known = world.snapshots().clone();
    for (name, state) in &known {
        let is_there = listed.contains(name);
        let now = match *state {
            Snapshot::Committed { .. } => {
                assert!(is_there, "S-1: snapshot {name} was committed and is gone");
                Some(*state)
            }
            Snapshot::Creating { begin } if is_there => {
                world.met().creates_cut_off[0] += 1;
                Some(Snapshot::Committed { begin, end: world.event() })
            }
            Snapshot::Creating { .. } => {
                world.met().creates_cut_off[1] += 1;
                Some(repeat(world, name).await)
            }
            Snapshot::Dropping { begin, end } => is_there.then_some(Snapshot::Committed { begin, end }),
        };
        match now {
            Some(now) => world.snapshots().insert(name.clone(), now),
            None => world.snapshots().remove(name),
        };
    }
    let unknown: Vec<_> = listed.iter().filter(|name| !known.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "snapshots that are dropped or were never asked for: {unknown:?}");
}

async fn repeat(world: &World, name: &str) -> Snapshot {
    let begin = world.event();
    let repeated = tokio::time::timeout(REPEAT_MAX, world.milvus.create_snapshot(&world.collection, name)).await;
    let repeated = repeated.unwrap_or_else(|_| panic!("S-2: the repeated create of {name} took over {REPEAT_MAX:?}"));
    repeated.unwrap_or_else(|error| panic!("S-2: the repeated create of {name}: {error}"));
    Snapshot::Committed { begin, end: world.event() }
}

/// what was accepted completes; what was not is not there at all.
async fn settle_restores(world: &World) {
    let asked = std::mem::take(&mut *world.restores());
    for (target, restore) in &asked {
        settle_restore(world, target, restore).await;
        world.milvus.drop_collection(target).await.unwrap();
    }
}

async fn settle_restore(world: &World, target: &str, restore: &Restore) {
    let jobs = world.milvus.jobs_into(target).await.unwrap();
    let job = match (restore.job, jobs.as_slice()) {
        (None, []) => {
            assert!(!world.milvus.has_collection(target).await.unwrap(), "R-1: {target} is there without a job");
            world.met().restores_cut_off[1] += 1;
            return;
        }
        (asked, [job]) if asked.is_none_or(|asked| asked == job.job_id) => job.job_id,
        other => panic!("R-3: restore into {target}: asked for, and there are {other:?}"),
    };
    world.met().restores_cut_off[0] += 1;
    let completed = world.follow(target, job).await.unwrap();
    let visible = world.milvus.has_collection(target).await.unwrap();
    if completed {
        assert!(visible || restore.dropping, "R-1: restore {job} completed and {target} is not there");
        if visible {
            world.check_rows(target, &restore.snapshot).await.unwrap();
        }
    } else {
        assert!(restore.cancelled, "R-3: restore {job} into {target} failed");
        assert!(!visible, "R-2: restore {job} was cancelled and {target} is there");
    }
}

/// Every snapshot that is left is restored once more in each mode and compared; several at the same time.
pub(crate) async fn check_every_snapshot(world: &Rc<World>) {
    let names: Vec<String> = world.snapshots().keys().cloned().collect();
    let mut checks = JoinSet::new();
    for name in names {
        let world = Rc::clone(world);
        checks.spawn_local(async move {
            for mode in RestoreMode::ALL {
                let target = format!("check_{mode}_{name}");
                let job = world.milvus.restore(&world.collection, &name, &target, mode).await.unwrap();
                assert!(world.follow(&target, job).await.unwrap(), "the restore ({mode}) of {name} failed");
                world.check_rows(&target, &name).await.unwrap();
                world.milvus.drop_collection(&target).await.unwrap();
            }
        });
    }
    while let Some(checked) = checks.join_next().await {
        checked.unwrap();
    }
}

/// R-2 and more: what is in the directory is what the metadata says.
pub(crate) async fn scrub(world: &World) -> ScrubReport {
    let report = world.milvus.operator().scrub().checksums(true).send().await.unwrap();
    let ScrubReport { missing, damaged, unknown, orphans, .. } = &report;
    assert!([missing, damaged, unknown, orphans].iter().all(|keys| keys.is_empty()), "{report:#?}");
    report
}

/// G-2: what was begun and given up is deleted.
pub(crate) async fn swept(world: &World) {
    wait_for("the files of what was given up to be deleted", SWEEP_MAX, async || match scrub(world).await.abandoned {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    })
    .await;
}

//! When nothing is wrong any more: everything that was promised holds.

use super::load::restore_one;
use super::world::{AGAIN, LOAD, PATIENCE, Snapshot, World, count, hash};
use crate::stack::Stack;
use anyhow::{Context as _, Result, bail, ensure};
use elanus_client::ScrubReport;
use elanus_scenarios::milvus::{Milvus, completed};
use elanus_types::RestoreMode;
use std::{collections::BTreeSet, time::Instant};
use tokio::time::sleep;

/// The store tells times in whole seconds.
const STORE_CLOCK_MS: i64 = 1_000;

/// What was found at the end.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Rows of the collection under load.
    pub rows: usize,
    /// Snapshots that were restored in both modes.
    pub snapshots: usize,
    /// Of the snapshots whose create or drop had no answer, those that are there.
    pub unsure: usize,
    /// Writes without an answer: done, and not done.
    pub unknown: [u64; 2],
    /// Objects that scrub looked at.
    pub objects: i64,
    /// Those that were written after they had been given up; the scans for orphans delete them.
    pub late: usize,
}

/// Checks everything.
///
/// # Errors
/// The first promise that does not hold.
pub async fn settle(world: &World, stack: &Stack) -> Result<Found> {
    let mut found = Found::default();
    let event = world.event();
    let rows = world.read(LOAD).await?;
    world.check_now(&rows, event)?;
    found.rows = rows.len();
    for number in 0..super::world::WRITERS {
        let unknown = world.writer(number).unknown();
        found.unknown = [found.unknown[0] + unknown[0], found.unknown[1] + unknown[1]];
    }
    found.unsure = listed(world).await?;
    found.snapshots = restores(world).await?;
    leftovers(world).await?;
    quiet(world).await?;
    (found.objects, found.late) = scrub(world).await?;
    everybody(stack).await?;
    panics(stack)?;
    Ok(found)
}

/// S-1 and S-2: the snapshots that are there are those that must be, and some that may be. They are known from now on.
async fn listed(world: &World) -> Result<usize> {
    let listed = world.persist("listing snapshots", async |milvus| milvus.snapshots(LOAD).await).await?;
    let listed: BTreeSet<String> = listed.into_iter().collect();
    let (known, mut unsure) = (world.snapshots().clone(), world.unsure().clone());
    let lost: Vec<_> = known.keys().filter(|name| !listed.contains(*name)).collect();
    ensure!(lost.is_empty(), "S-1: committed snapshots are gone: {lost:?}");
    let extra: Vec<_> =
        listed.iter().filter(|name| !known.contains_key(*name) && !unsure.contains_key(*name)).collect();
    ensure!(extra.is_empty(), "S-2: snapshots that are dropped, or whose create was refused, are there: {extra:?}");
    unsure.retain(|name, _| listed.contains(name));
    for (name, cut) in &mut unsure {
        let described = async |milvus: &Milvus| milvus.snapshot_ts(LOAD, name).await;
        cut.ts = world.persist(&format!("describing {name}"), described).await?;
        let rows = world.read_inside(name).await?.with_context(|| format!("{name} was listed and is gone"))?;
        world.check(&rows, *cut, &format!("inside {name}"))?;
        world.snapshots().insert(name.clone(), Snapshot { cut: *cut, hash: hash(&rows) });
    }
    Ok(unsure.len())
}

/// Every snapshot, once more in each mode.
async fn restores(world: &World) -> Result<usize> {
    let known = world.snapshots().clone();
    for (name, snapshot) in &known {
        for mode in RestoreMode::ALL {
            restore_one(world, name, *snapshot, &format!("last_{mode}_{name}"), mode).await?;
        }
    }
    Ok(known.len())
}

/// Jobs that nobody heard of end by themselves; what they made is dropped.
async fn leftovers(world: &World) -> Result<()> {
    let names = std::mem::take(&mut *world.leftovers());
    for name in names {
        for job in world.persist("jobs", async |milvus| milvus.jobs_into(&name).await).await? {
            let until = Instant::now() + PATIENCE;
            while completed(&world.persist("a job", async |milvus| milvus.job(job.job_id).await).await?) == Ok(false) {
                ensure!(Instant::now() < until, "R-3: job {} into {name} is stuck", job.job_id);
                sleep(AGAIN).await;
            }
        }
        world.persist("dropping a collection", async |milvus| milvus.drop_collection(&name).await).await?;
        count(&world.met.drops);
    }
    Ok(())
}

/// O-1: nothing waits for ever. What becomes less is not stuck, however slow the machine is.
async fn quiet(world: &World) -> Result<()> {
    let mut until = Instant::now() + PATIENCE;
    let mut least = i64::MAX;
    loop {
        let status = world.milvus().operator().status().await?;
        let queues = status.queues.unwrap_or_default();
        let compactions = world.milvus().operator().compactions().list(None).await?;
        let compacting = compactions.iter().filter(|one| one.ended_ms == 0).count();
        let indexing = [queues.index_builds_pending, queues.index_builds_running];
        let waiting = [queues.jobs, queues.tasks_pending, queues.tasks_running, queues.events, queues.deleting];
        if waiting == [0; 5] && indexing == [0; 2] && compacting == 0 {
            return Ok(());
        }
        let left = waiting.iter().chain(&indexing).sum::<i64>() + queues.deletions + i64::try_from(compacting)?;
        if left < least {
            (least, until) = (left, Instant::now() + PATIENCE);
        }
        if Instant::now() > until {
            bail!("O-1: stuck: {queues:?}, {compacting} compactions");
        }
        sleep(AGAIN).await;
    }
}

/// What is in the store is what the metadata say; what was begun and given up is deleted. How many objects there are, and how
/// many were written too late for that: a scan has seen them.
async fn scrub(world: &World) -> Result<(i64, usize)> {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = world.milvus().operator().scrub().checksums(true).send().await?;
        let ScrubReport { missing, damaged, unknown, findings, orphans, .. } = &report;
        let clean = missing.is_empty() && damaged.is_empty() && unknown.is_empty() && findings.is_empty();
        ensure!(clean, "scrub: {report:#?}");
        if report.abandoned == 0 {
            late(world, orphans).await?;
            return Ok((report.objects_known, orphans.len()));
        }
        if Instant::now() > until {
            bail!("G-2: {} objects of what was given up are still there", report.abandoned);
        }
        sleep(AGAIN * 5).await;
    }
}

/// G-2: a scan finds what is there although it was deleted, and it was written afterwards: no delete was lost.
async fn late(world: &World, orphans: &[String]) -> Result<()> {
    if orphans.is_empty() {
        return Ok(());
    }
    let operator = world.milvus().operator();
    let scan = operator.scans().start().await?;
    let until = Instant::now() + PATIENCE;
    while !operator.scans().list(10).await?.scans.iter().any(|one| one.id == scan.id && one.state == "complete") {
        ensure!(Instant::now() < until, "scan {} of the bucket does not end", scan.id);
        sleep(AGAIN).await;
    }
    let seen = operator.scans().orphans("", u32::MAX).await?;
    let mut lost = Vec::new();
    for key in orphans {
        let Some(orphan) = seen.iter().find(|orphan| orphan.key == *key) else {
            lost.push(format!("{key}: no scan sees it"));
            continue;
        };
        let (written, deleted) = (orphan.modified_ms, orphan.deleted_ms);
        let why = operator.gc().why(key).await?;
        eprintln!("orphan {key}: written {written}, deleted {deleted}, {:?}", why.reasons);
        if written + STORE_CLOCK_MS < deleted {
            lost.push(format!("{key}: written {written}, deleted {deleted}"));
        }
        // Only what was given up may be written late: what was published was complete, and nobody writes it again (TK-7).
        if why.reasons.iter().any(|reason| reason.starts_with("was in segment")) {
            lost.push(format!("{key}: it was part of a collection, and was written again after its delete"));
        }
    }
    ensure!(lost.is_empty(), "G-2: deleted, and still there: {lost:#?}");
    Ok(())
}

/// Whoever was killed is forgotten, everybody else is there.
async fn everybody(stack: &Stack) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = stack.status().await?;
        if status["missing"].as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "missing: {:#}", status["missing"]);
        sleep(AGAIN).await;
    }
}

fn panics(stack: &Stack) -> Result<()> {
    for (name, log) in stack.logs() {
        if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
            bail!("{name} panicked: {line}");
        }
    }
    Ok(())
}

//! Every background task of the coordinator, on one screen. Each scans the state that it drains and does one bounded
//! round; its timer is its retry, an event only wakes it earlier, and a restart needs no code of its own.

use crate::{Parts, compaction, gc, index, restore, segment, snapshot, tasks};
use async_trait::async_trait;
use elanus_meta::COORDINATION_LEASE_MS;
use elanus_runtime::background::{BackgroundTask, Report};
use elanus_types::Failure;
use futures::future::BoxFuture;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Renews the lease of the coordinator, and asks whether this is still the one.
pub const COORDINATOR_WATCH: &str = "coordinator.watch";
/// Plans, counts, publishes and fails restore jobs.
pub const RESTORE_CHECK: &str = "restore.check";
/// Gives pending tasks to workers.
pub const TASK_SCHEDULE: &str = "task.schedule";
/// Takes tasks from workers that are silent, and forgets services that are gone.
pub const TASK_EXPIRE: &str = "task.expire";
/// Plans compactions, and ends delete logs that hide nothing any more.
pub const COMPACTION_PLAN: &str = "compaction.plan";
/// Plans index builds.
pub const INDEX_PLAN: &str = "index.plan";
/// Forgets finished jobs after their retention.
pub const RESTORE_RETENTION: &str = "restore.retention";
/// Gives up snapshots whose writer is silent.
pub const SNAPSHOT_EXPIRE: &str = "snapshot.expire";
/// Writes the manifests of snapshots that were answered before.
pub const SNAPSHOT_WRITE: &str = "snapshot.write";
/// Removes pins that ended.
pub const PIN_EXPIRE: &str = "pin.expire";
/// Gives up writes whose writer is silent.
pub const INTENT_EXPIRE: &str = "intent.expire";
/// Ends segments that grow for too long.
pub const SEGMENT_SEAL: &str = "segment.seal";
/// Deletes the objects of what nothing needs.
pub const SWEEP: &str = "sweep";
/// Counts what waits for deletion and what keeps it, for metrics.
pub const GC_MEASURE: &str = "gc.measure";
/// Empties folders of former owners of the root path, where an operator wants that.
pub const PURGE: &str = "purge";
/// Looks for objects that nothing knows.
pub const GC_SCAN: &str = "gc.scan";
/// Gives back the references of what was dropped.
pub const GC_RELEASE: &str = "gc.release";
/// Compares references with what refers.
pub const GC_RECOUNT: &str = "gc.recount";
/// Forgets rows after their retention.
pub const GC_FORGET: &str = "gc.forget";
/// What `ctl gc run` activates, in an order in which one leaves work for the next.
pub const GC_TASKS: [&str; 6] = [SNAPSHOT_EXPIRE, INTENT_EXPIRE, GC_RELEASE, SWEEP, GC_RECOUNT, GC_FORGET];

#[rustfmt::skip]
pub(crate) fn register(parts: &Parts) {
    let spawn = |name, drains, seconds, run| {
        // A coordinator that another took over from does nothing any more.
        let coordinator = parts.coordinator.clone();
        let fenced = async move { coordinator.fenced().await };
        parts.background.spawn_until(fenced, Duty { name, drains, period: Duration::from_secs(seconds), run, parts: parts.clone() });
    };
    //    task               drains                                    s   round
    spawn(COORDINATOR_WATCH, "the lease of the coordinator",            2,  |p| Box::pin(watch(p)));
    spawn(RESTORE_CHECK,     "jobs that have not ended",               2,  |p| Box::pin(restore::check(p)));
    spawn(TASK_SCHEDULE,     "pending tasks",                          1,  |p| Box::pin(tasks::schedule(p)));
    spawn(TASK_EXPIRE,       "tasks and services, lease ended",        2,  |p| Box::pin(tasks::expire(p)));
    spawn(COMPACTION_PLAN,   "small files and deleted rows", parts.config.compaction.interval_s, |p| Box::pin(compaction::plan(p)));
    spawn(INDEX_PLAN,        "files without the index of a field",     5,  |p| Box::pin(index::plan(p)));
    spawn(RESTORE_RETENTION, "jobs that ended long ago",               60, |p| Box::pin(restore::remove_finished(p)));
    spawn(SNAPSHOT_EXPIRE,   "pending snapshots whose lease ended",    5,  |p| Box::pin(snapshot::expire(p)));
    spawn(SNAPSHOT_WRITE,    "accepted snapshots without manifests",   5,  |p| Box::pin(snapshot::write_accepted(p)));
    spawn(PIN_EXPIRE,        "pins that ended",                        60, |p| Box::pin(snapshot::expire_pins(p)));
    spawn(INTENT_EXPIRE,     "intents whose lease ended",              5,  |p| Box::pin(gc::expire_intents(p)));
    spawn(SEGMENT_SEAL,      "segments that grow for too long",        60, |p| Box::pin(segment::seal(p)));
    spawn(GC_MEASURE,        "nothing: it counts, for metrics",        60, |p| Box::pin(gc::measure(p)));
    spawn(GC_SCAN,           "orphans, where a scan is due",           600, |p| Box::pin(gc::scan(p)));
    spawn(GC_RELEASE,        "dropped snapshots, collections, partitions", 5,  |p| Box::pin(gc::release(p)));
    spawn(SWEEP,             "queued file sets that nothing keeps",    5,  |p| Box::pin(gc::sweep(p)));
    spawn(PURGE,             "folders that are to be emptied",         10, |p| Box::pin(gc::purge(p)));
    spawn(GC_RECOUNT,        "references that are not what they say",  3600, |p| Box::pin(gc::recount(p)));
    spawn(GC_FORGET,         "rows after their retention",             60, |p| Box::pin(gc::forget(p)));
}

/// A coordinator that writes finds out by itself that another took over; one that has nothing to write is told here. The
/// lease is renewed when a third of it is used up.
async fn watch(parts: &Parts) -> Result<Report, Failure> {
    let left_ms = parts.lease_until_ms.load(Ordering::Relaxed) - parts.now_ms();
    if left_ms > COORDINATION_LEASE_MS - COORDINATION_LEASE_MS / 3 {
        parts.coordinator.prove().await?;
        return Ok(Report::default());
    }
    let text = match parts.coordinator.renew_coordination(&parts.node).await? {
        Some(until_ms) => {
            parts.lease_until_ms.store(until_ms, Ordering::Relaxed);
            ""
        }
        None => "this coordinator was silent for too long: another one is about to take over",
    };
    Ok(Report { text: text.to_owned(), ..Report::default() })
}

type Round = for<'p> fn(&'p Parts) -> BoxFuture<'p, Result<Report, Failure>>;

/// A row of the table above.
struct Duty {
    name: &'static str,
    drains: &'static str,
    period: Duration,
    run: Round,
    parts: Parts,
}

#[async_trait]
impl BackgroundTask for Duty {
    fn name(&self) -> &'static str {
        self.name
    }

    fn drains(&self) -> &'static str {
        self.drains
    }

    fn period(&self) -> Duration {
        self.period
    }

    async fn round(&self) -> Report {
        (self.run)(&self.parts).await.unwrap_or_else(|failure| Report::error(failure.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_lifecycle::drivers::{DRIVERS, Mover};

    #[test]
    fn every_state_that_needs_a_driver_has_its_background_task() {
        let names = [
            RESTORE_CHECK,
            TASK_SCHEDULE,
            TASK_EXPIRE,
            SNAPSHOT_EXPIRE,
            SNAPSHOT_WRITE,
            INTENT_EXPIRE,
            SEGMENT_SEAL,
            GC_RELEASE,
            SWEEP,
        ];
        for driver in DRIVERS {
            if let Mover::Task(name) = driver.mover {
                assert!(names.contains(&name), "{name} drives {}.{}", driver.machine, driver.state);
            }
        }
    }
}

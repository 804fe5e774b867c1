//! The garbage collector, for operators.

use super::catalog::{database, resolve};
use super::convert;
use crate::Parts;
use crate::background::{GC_RELEASE, GC_TASKS, SWEEP};
use crate::gc::apply;
use elanus_meta::{AuditRecord, GcStatus, HoldRecord, PauseRecord, PlanRecord, WhichDropped};
use elanus_proto::admin::{self as pb, gc_answer::What as Answer, gc_request::What as Ask};
use elanus_proto::datacoord::CollectionRef;
use elanus_types::{Code, CollectionId, Failure, ObjectKey, SnapshotId};

/// A pause that was forgotten ends by itself.
const PAUSE_S_MAX: i64 = 30 * 24 * 3_600;
/// Lines of one answer.
const LINES_MAX: i64 = 10_000;
const LINES: i64 = 1_000;

pub(super) async fn serve(parts: &Parts, request: pb::GcRequest) -> Result<pb::GcAnswer, Failure> {
    let actor = match request.actor.trim() {
        "" => "operator",
        actor => actor,
    };
    let ask = request.what.ok_or_else(|| Failure::missing("nothing is asked of the collector"))?;
    let answer = match ask {
        Ask::Status(_) => Answer::Status(status(parts).await?),
        Ask::Pause(ask) => Answer::Pause(pause(parts, ask, actor).await?),
        Ask::Resume(ask) => resume(parts, &ask, actor).await?,
        Ask::Hold(ask) => Answer::Hold(hold(parts, ask, actor).await?),
        Ask::Lift(ask) => lift(parts, ask.hold_id, actor).await?,
        Ask::Holds(_) => Answer::Holds(pb::GcHolds { holds: holds(parts).await? }),
        Ask::Plan(_) => Answer::Plan(of_plan(&parts.coordinator.plan_gc(actor).await?)),
        Ask::PlanItems(ask) => Answer::PlanItems(plan_items(parts, &ask).await?),
        Ask::Apply(ask) => count(apply(parts, ask.plan_id, actor).await?),
        Ask::Why(ask) => Answer::Why(why(parts, &ask.key).await?),
        Ask::Undo(ask) => Answer::Undone(undo(parts, &ask, actor).await?),
        Ask::Audit(ask) => Answer::Audit(audit(parts, &ask).await?),
        Ask::Run(ask) => Answer::Runs(run(parts, &ask.task).await?),
        Ask::Freeze(ask) => freeze(parts, &ask.reason, actor).await?,
        Ask::Thaw(_) => thaw(parts, actor).await?,
        Ask::Dropped(ask) => Answer::Dropped(dropped(parts, ask).await?),
        Ask::Undrop(ask) => Answer::Undropped(undrop(parts, ask, actor).await?),
    };
    Ok(pb::GcAnswer { what: Some(answer) })
}

fn count(count: u64) -> Answer {
    Answer::Count(pb::GcCount { count: convert::int(count) })
}

fn amount(amount: elanus_meta::Amount) -> Option<pb::GcAmount> {
    Some(pb::GcAmount { objects: convert::int(amount.objects), bytes: convert::int(amount.bytes) })
}

async fn status(parts: &Parts) -> Result<pb::GcStatus, Failure> {
    let status = parts.meta().gc_status().await?;
    let pauses = parts.meta().gc_pauses().await?;
    let GcStatus { frozen, waiting, due, kept, deleting, next_due_ms, oldest_due_ms, .. } = status;
    let (frozen_ms, frozen_reason) = frozen.unwrap_or_default();
    Ok(pb::GcStatus {
        frozen_ms,
        frozen_reason,
        waiting: amount(waiting),
        due: amount(due),
        deleting: amount(deleting),
        kept: kept.into_iter().map(|one| pb::GcKept { by: one.by, amount: amount(one.amount) }).collect(),
        next_due_ms: next_due_ms.unwrap_or_default(),
        oldest_due_ms: oldest_due_ms.unwrap_or_default(),
        unreleased_snapshots: convert::int(status.unreleased_snapshots),
        unreleased_partitions: convert::int(status.unreleased_partitions),
        unreleased_collections: convert::int(status.unreleased_collections),
        readers: convert::int(status.readers),
        breakers: status
            .breakers
            .into_iter()
            .map(|one| pb::GcBreaker {
                collection_id: one.collection.0,
                opened_ms: one.opened_ms,
                amount: amount(one.amount),
            })
            .collect(),
        pauses: pauses.into_iter().map(of_pause).collect(),
        holds: holds(parts).await?,
        drop_tolerance_ms: parts.config.gc_drop_tolerance_ms,
        failing: convert::int(status.failing),
        failures: status
            .failures
            .into_iter()
            .map(|one| pb::GcFailure {
                key: one.key,
                fails: convert::int(one.fails),
                since_ms: one.since_ms,
                retry_ms: one.retry_ms,
                why: one.why,
            })
            .collect(),
    })
}

/// A collection by name or id; a dropped one only by id. `None` where neither is given.
async fn collection(parts: &Parts, db: String, name: String, id: i64) -> Result<Option<CollectionId>, Failure> {
    if id != 0 {
        return Ok(Some(CollectionId(id)));
    }
    if name.is_empty() {
        return Ok(None);
    }
    named(parts, db, name).await.map(Some)
}

/// A barrier: when it returns, no round runs that began before the pause.
async fn pause(parts: &Parts, ask: pb::GcPauseRequest, actor: &str) -> Result<pb::GcPause, Failure> {
    if !(1..=PAUSE_S_MAX).contains(&ask.seconds) {
        return Err(Failure::invalid(format!("a pause takes 1 to {PAUSE_S_MAX} seconds, not {}", ask.seconds)));
    }
    let of = collection(parts, ask.db_name, ask.collection_name, ask.collection_id).await?;
    let until_ms = parts.now_ms().saturating_add(ask.seconds * 1_000);
    let paused = parts.coordinator.pause_gc(of, until_ms, actor).await?;
    drop(parts.gc.running.write().await);
    Ok(of_pause(paused))
}

async fn resume(parts: &Parts, ask: &pb::GcResumeRequest, actor: &str) -> Result<Answer, Failure> {
    let ticket = Some(ask.ticket).filter(|ticket| *ticket != 0);
    let of = Some(ask.collection_id).filter(|id| *id != 0).map(CollectionId);
    let ended = parts.coordinator.resume_gc(ticket, of, actor).await?;
    if ended == 0 && ticket.is_some() {
        return Err(Failure::invalid(format!("there is no pause with the ticket {}; it may be over", ask.ticket)));
    }
    parts.background.activate(GC_RELEASE);
    parts.background.activate(SWEEP);
    Ok(count(ended))
}

async fn hold(parts: &Parts, ask: pb::GcHoldRequest, actor: &str) -> Result<pb::GcHold, Failure> {
    if ask.reason.trim().is_empty() {
        return Err(Failure::missing("a hold needs a reason"));
    }
    let of = collection(parts, ask.db_name, ask.collection_name, ask.collection_id).await?;
    let of = of.ok_or_else(|| Failure::missing("a hold needs a collection"))?;
    let snapshot =
        match ask.snapshot_name.as_str() {
            "" => None,
            name => {
                Some(parts.meta().snapshot(of, name).await?.map(|record| record.id).ok_or_else(|| {
                    Failure::new(Code::SnapshotNotFound, format!("snapshot not found[snapshot={name}]"))
                })?)
            }
        };
    let held = parts.coordinator.hold_gc(of, snapshot, ask.reason.trim(), actor).await?;
    drop(parts.gc.running.write().await);
    Ok(of_hold(held))
}

async fn lift(parts: &Parts, hold: i64, actor: &str) -> Result<Answer, Failure> {
    if !parts.coordinator.lift_hold(hold, actor).await? {
        return Err(Failure::invalid(format!("there is no hold {hold}")));
    }
    parts.background.activate(GC_RELEASE);
    parts.background.activate(SWEEP);
    Ok(count(1))
}

async fn holds(parts: &Parts) -> Result<Vec<pb::GcHold>, Failure> {
    Ok(parts.meta().gc_holds().await?.into_iter().map(of_hold).collect())
}

async fn plan_items(parts: &Parts, ask: &pb::GcPlanItemsRequest) -> Result<pb::GcPlanItems, Failure> {
    let items = parts.meta().plan_items(ask.plan_id, Some(&ask.after_key), lines(ask.limit)).await?;
    let items = items
        .into_iter()
        .map(|item| pb::GcPlanItem {
            key: item.key,
            file_set_id: item.file_set.0,
            bytes: item.size.unwrap_or_default(),
            collection_id: item.collection.map_or(0, |id| id.0),
            reason: item.reason,
            by_itself: item.by_itself,
        })
        .collect();
    Ok(pb::GcPlanItems { items })
}

async fn why(parts: &Parts, key: &str) -> Result<pb::GcWhy, Failure> {
    let key = ObjectKey::parse(key).map_err(|error| Failure::invalid(error.to_string()))?;
    let why = parts.meta().gc_why(&key).await?.ok_or_else(|| {
        Failure::invalid(format!("the metadata does not know {key}: it never wrote it, or has forgotten it"))
    })?;
    Ok(pb::GcWhy {
        file_set_id: why.file_set.0,
        kind: why.kind,
        state: why.state,
        references: why.refs,
        reasons: why.reasons,
    })
}

async fn undo(parts: &Parts, ask: &pb::GcUndoRequest, actor: &str) -> Result<pb::GcUndone, Failure> {
    let new_name = Some(ask.new_name.as_str()).filter(|name| !name.is_empty());
    let back = parts.coordinator.undo_collection(CollectionId(ask.collection_id), new_name, actor).await?;
    // A backup from before the undo would delete it. It is done, whether this works or not.
    if let Err(why) = parts.guard.mark().await {
        tracing::warn!(why, "a backup of the metadata from before this undo may not be known as one");
    }
    Ok(pb::GcUndone { collection_id: back.id.0, name: back.name })
}

async fn dropped(parts: &Parts, ask: pb::GcDroppedRequest) -> Result<pb::GcDroppedSnapshots, Failure> {
    let of = named(parts, ask.db_name, ask.collection_name).await?;
    let snapshots = parts.meta().dropped_snapshots(of).await?;
    let snapshots = snapshots.into_iter().map(|one| pb::GcDroppedSnapshot {
        snapshot_id: one.id.0,
        name: one.name,
        create_ts: convert::ts(one.create_ts),
        dropped_ms: one.dropped_ms,
        rows: convert::int(one.rows),
        bytes: convert::int(one.bytes),
    });
    Ok(pb::GcDroppedSnapshots { snapshots: snapshots.collect() })
}

async fn undrop(parts: &Parts, ask: pb::GcUndropRequest, actor: &str) -> Result<pb::GcUndropped, Failure> {
    let of = named(parts, ask.db_name, ask.collection_name).await?;
    let which = match (ask.snapshot_id, ask.snapshot_name.as_str()) {
        (0, "") => return Err(Failure::missing("no snapshot is named")),
        (0, name) => WhichDropped::Name(name),
        (id, _) => WhichDropped::Id(SnapshotId(id)),
    };
    let new_name = Some(ask.new_name.as_str()).filter(|name| !name.is_empty());
    let back = parts.coordinator.undrop_snapshot(of, which, new_name, actor).await?;
    Ok(pb::GcUndropped { snapshot_id: back.id.0, name: back.name, create_ts: convert::ts(back.create_ts) })
}

/// A live collection by name.
async fn named(parts: &Parts, db: String, name: String) -> Result<CollectionId, Failure> {
    if name.is_empty() {
        return Err(Failure::missing("no collection is named"));
    }
    let of = CollectionRef { db_name: database(db), collection_name: name, ..CollectionRef::default() };
    Ok(resolve(parts, Some(of)).await?.id)
}

async fn audit(parts: &Parts, ask: &pb::GcAuditRequest) -> Result<pb::GcAuditLines, Failure> {
    let key = match ask.key.as_str() {
        "" => None,
        key => Some(ObjectKey::parse(key).map_err(|error| Failure::invalid(error.to_string()))?),
    };
    let before = Some(ask.before_id).filter(|id| *id != 0);
    let records = parts.meta().gc_audit(key.as_ref(), before, lines(ask.limit)).await?;
    Ok(pb::GcAuditLines { lines: records.into_iter().map(of_line).collect() })
}

/// Runs background tasks now, one after the other, each until it finds no more.
async fn run(parts: &Parts, task: &str) -> Result<pb::GcRuns, Failure> {
    const ROUNDS_MAX: usize = 1_000;
    let tasks: Vec<&str> = match task {
        "" => GC_TASKS.to_vec(),
        task => vec![*GC_TASKS.iter().find(|name| **name == task).ok_or_else(|| {
            Failure::invalid(format!(
                "no background task of the collector is called {task}; there are {}",
                GC_TASKS.join(", ")
            ))
        })?],
    };
    let mut runs = vec![];
    for task in tasks {
        let mut sum = pb::GcRun { task: task.to_owned(), ..pb::GcRun::default() };
        for _ in 0..ROUNDS_MAX {
            let report = parts.background.activate_and_wait(task).await;
            sum.handled += convert::int(report.handled);
            sum.failed = convert::int(report.failed);
            sum.text = report.text;
            if report.handled == 0 || report.failed > 0 {
                break;
            }
        }
        runs.push(sum);
    }
    Ok(pb::GcRuns { runs })
}

async fn freeze(parts: &Parts, reason: &str, actor: &str) -> Result<Answer, Failure> {
    if reason.trim().is_empty() {
        return Err(Failure::missing("a freeze needs a reason"));
    }
    parts.coordinator.freeze_gc(reason.trim(), actor).await?;
    drop(parts.gc.running.write().await);
    Ok(count(1))
}

/// Ends what an operator or the recount froze. What a scan froze ends otherwise, and must not look as if it had ended.
async fn thaw(parts: &Parts, actor: &str) -> Result<Answer, Failure> {
    let thawed = parts.coordinator.thaw_gc(actor).await?;
    if let Some(left) = parts.meta().delete_freezes().await?.into_iter().next() {
        let text = format!("deletes stay frozen by {}: {}; look at gc reconcile", left.source, left.why);
        return Err(Failure::new(Code::Unexpected, text));
    }
    parts.background.activate(GC_RELEASE);
    parts.background.activate(SWEEP);
    Ok(count(u64::from(thawed)))
}

fn lines(limit: i64) -> u32 {
    let limit = if limit == 0 { LINES } else { limit.clamp(1, LINES_MAX) };
    u32::try_from(limit).unwrap_or(u32::MAX)
}

fn of_pause(record: PauseRecord) -> pb::GcPause {
    pb::GcPause {
        ticket: record.id,
        collection_id: record.collection.map_or(0, |id| id.0),
        until_ms: record.until_ms,
        created_ms: record.created_ms,
        actor: record.actor,
        plan_id: record.plan.unwrap_or_default(),
        why: record.why,
    }
}

fn of_hold(record: HoldRecord) -> pb::GcHold {
    pb::GcHold {
        hold_id: record.id,
        collection_id: record.collection.0,
        snapshot_id: record.snapshot.map_or(0, |id| id.0),
        created_ms: record.created_ms,
        actor: record.actor,
        reason: record.reason,
    }
}

fn of_plan(record: &PlanRecord) -> pb::GcPlan {
    pb::GcPlan {
        plan_id: record.id,
        created_ms: record.created_ms,
        file_sets: convert::int(record.file_sets),
        objects: convert::int(record.objects),
        bytes: convert::int(record.bytes),
    }
}

fn of_line(record: AuditRecord) -> pb::GcAuditLine {
    pb::GcAuditLine {
        id: record.id,
        at_ms: record.at_ms,
        epoch: record.epoch.0,
        actor: record.actor,
        action: record.action,
        collection_id: record.collection.map_or(0, |id| id.0),
        file_set_id: record.file_set.map_or(0, |id| id.0),
        key: record.key.unwrap_or_default(),
        bytes: record.size.unwrap_or_default(),
        checksum: record.checksum.unwrap_or_default(),
        detail: record.detail,
    }
}

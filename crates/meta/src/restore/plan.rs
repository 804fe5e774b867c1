//! From a pending job to copy tasks. What is to be copied is read and cut before the transaction that stores the plan:
//! the snapshot is pinned, so what it holds does not change.

use super::{JobRow, job_not_found, lock, locked, move_job, of_members, require_homes, with_members};
use crate::Coordinator;
use crate::db::{Tx, add, args};
use crate::error::Result;
use crate::machines::refused;
use crate::model::{JobKind, TaskBounds};
use crate::rows::{bigint, count};
use crate::tasks::{self, NewTask};
use elanus_lifecycle::restore_job::{Event, State};
use elanus_lifecycle::{Segment, Step};
use elanus_types::{JobId, PartitionId, RestoreMode, SegmentId, TaskId};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Items of a plan that are statements at the same time.
const ITEMS_AT_ONCE: usize = 5_000;

/// A membership of the source as of the snapshot.
pub(super) struct Member {
    segment: SegmentId,
    file_set: i64,
    target_partition: PartitionId,
    shard: i64,
    level: String,
    kind: String,
    base_ts: i64,
    rows: i64,
    bytes: u64,
    objects: u64,
    deletes_before_ts: Option<i64>,
}

/// What a job will do: members, in the order of their segments, and the tasks as ranges of them.
struct Plan {
    members: Vec<Member>,
    tasks: Vec<Range<usize>>,
}

impl Coordinator {
    /// Cuts a pending job that copies into tasks; a snapshot without files is ready to be published at once. A job that is planned,
    /// failing or over is left alone.
    ///
    /// # Errors
    /// 2101 for an unknown job; when the store is away.
    pub async fn plan_job(&self, id: JobId, bounds: TaskBounds) -> Result<()> {
        let mut read = self.meta().db.read().await?;
        let job = locked(&mut read, id).await?.ok_or_else(|| job_not_found(id))?;
        if *job.machine.state() != State::Pending || job.record.options.mode != RestoreMode::Copy {
            return Ok(());
        }
        let members = match job.record.kind {
            JobKind::Restore => members(&mut read, &job).await?,
            JobKind::Detach => super::detach::shared(&mut read, &job).await?,
        };
        drop(read);
        let tasks = bundle(members.iter().map(|member| member.bytes), bounds);
        let plan = Plan { members, tasks };

        let mut tx = self.write().await?;
        let job = lock(&mut tx, id).await?;
        match move_job(&mut tx, &job, &Event::Planned).await? {
            Step::Move(..) => {}
            Step::Repeat | Step::Fenced => return Ok(()),
            Step::Refuse(refusal) => return Err(refused(&refusal)),
        }
        store(&mut tx, &job, &plan).await?;
        if plan.tasks.is_empty() {
            let job = lock(&mut tx, id).await?;
            if let Step::Refuse(refusal) = move_job(&mut tx, &job, &Event::AllTasksCompleted).await? {
                return Err(refused(&refusal));
            }
        }
        tx.commit().await
    }
}

/// Cuts a list of sizes into runs that keep the bounds; what is too large by itself is a run of its own.
fn bundle(sizes: impl Iterator<Item = u64>, bounds: TaskBounds) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = vec![];
    let mut bytes = 0_u64;
    for (n, size) in sizes.enumerate() {
        bytes = bytes.saturating_add(size);
        match runs.last_mut() {
            Some(run) if run.len() < bounds.files_max && bytes <= bounds.bytes_max => run.end = n + 1,
            _ => {
                runs.push(n..n + 1);
                bytes = size;
            }
        }
    }
    runs
}

/// What the job copies, in the order of the segments.
async fn members(tx: &mut Tx, job: &JobRow) -> Result<Vec<Member>> {
    require_homes(tx, job).await?;
    tx.all_as(
        with_members!(
            "",
            "SELECT m.*, (SELECT COUNT(*) FROM objects o WHERE o.file_set_id = m.file_set_id) AS objects_num \
             FROM members m ORDER BY m.segment_id, m.file_set_id"
        ),
        of_members(job),
        Member::read,
    )
    .await
}

impl Member {
    pub(super) fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            segment: SegmentId(row.try_get("segment_id")?),
            file_set: row.try_get("file_set_id")?,
            target_partition: PartitionId(row.try_get("target_id")?),
            shard: row.try_get("shard")?,
            level: row.try_get("level")?,
            kind: row.try_get("kind")?,
            base_ts: row.try_get("base_ts")?,
            rows: row.try_get("rows_num")?,
            bytes: count(row, "bytes")?,
            objects: count(row, "objects_num")?,
            deletes_before_ts: row.try_get("deletes_before_ts")?,
        })
    }
}

/// The segments that the copies belong to, by those of their originals: the same ones where a collection is detached.
async fn target_segments(tx: &mut Tx, job: &JobRow, members: &[Member]) -> Result<BTreeMap<SegmentId, i64>> {
    let segments: Vec<&[Member]> = members.chunk_by(|a, b| a.segment == b.segment).collect();
    if job.record.kind == JobKind::Detach {
        return Ok(segments.iter().map(|members| (members[0].segment, members[0].segment.0)).collect());
    }
    let first = tx.allocate_ids(u32::try_from(segments.len()).unwrap_or(u32::MAX)).await?;
    let targets: BTreeMap<SegmentId, i64> = segments.iter().map(|members| members[0].segment).zip(first..).collect();
    let state = Segment::flushed().label();
    tx.insert_many(
        "INSERT INTO segments (segment_id, collection_id, partition_id, shard, level, state, rows_num, bytes, created_ts)",
        9,
        segments,
        |arguments, members| {
            let one = &members[0];
            add(arguments, targets[&one.segment]);
            add(arguments, job.record.target.0);
            add(arguments, one.target_partition.0);
            add(arguments, one.shard);
            add(arguments, one.level.clone());
            add(arguments, state.to_owned());
            add(arguments, members.iter().filter(|member| member.kind != "index").map(|member| member.rows).sum::<i64>());
            add(arguments, bigint(members.iter().map(|member| member.bytes).sum()));
            add(arguments, job.create_ts.0);
        },
    )
    .await?;
    Ok(targets)
}

/// Segments, tasks, items and totals of a plan.
async fn store(tx: &mut Tx, job: &JobRow, plan: &Plan) -> Result<()> {
    let targets = target_segments(tx, job, &plan.members).await?;
    let first_task = tx.allocate_ids(u32::try_from(plan.tasks.len()).unwrap_or(u32::MAX)).await?;
    let tasks: Vec<NewTask> = (first_task..)
        .zip(&plan.tasks)
        .map(|(id, run)| {
            let members = &plan.members[run.clone()];
            NewTask {
                id: TaskId(id),
                files: members.iter().map(|member| member.objects).sum(),
                bytes: members.iter().map(|member| member.bytes).sum(),
            }
        })
        .collect();
    tasks::insert(tx, job.record.id, &tasks).await?;

    let items: Vec<(TaskId, &Member)> = tasks
        .iter()
        .zip(&plan.tasks)
        .flat_map(|(task, run)| plan.members[run.clone()].iter().map(move |member| (task.id, member)))
        .collect();
    // As statements they are many times as large.
    for some in items.chunks(ITEMS_AT_ONCE) {
        insert_items(tx, job, &targets, some).await?;
    }

    let (files, bytes) = (tasks.iter().map(|task| task.files).sum(), tasks.iter().map(|task| task.bytes).sum());
    tx.execute(
        "UPDATE restore_jobs SET files_total = $2, bytes_total = $3 WHERE job_id = $1",
        args![job.record.id.0, bigint(files), bigint(bytes)],
    )
    .await
    .map(|_| ())
}

async fn insert_items(
    tx: &mut Tx,
    job: &JobRow,
    targets: &BTreeMap<SegmentId, i64>,
    items: &[(TaskId, &Member)],
) -> Result<()> {
    tx.insert_many(
        "INSERT INTO copy_items (task_id, job_id, source_file_set_id, source_segment_id, target_segment_id, \
         target_partition_id, shard, kind, base_ts, rows_num, bytes, deletes_before_ts)",
        12,
        items,
        |arguments, (task, member)| {
            add(arguments, task.0);
            add(arguments, job.record.id.0);
            add(arguments, member.file_set);
            add(arguments, member.segment.0);
            add(arguments, targets[&member.segment]);
            add(arguments, member.target_partition.0);
            add(arguments, member.shard);
            add(arguments, member.kind.clone());
            add(arguments, member.base_ts);
            add(arguments, member.rows);
            add(arguments, bigint(member.bytes));
            add(arguments, member.deletes_before_ts);
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_keeps_its_bounds_and_nothing_is_left_out() {
        let runs =
            |sizes: &[u64], bytes_max, files_max| bundle(sizes.iter().copied(), TaskBounds { bytes_max, files_max });
        assert!(runs(&[], 10, 3).is_empty());
        assert_eq!(runs(&[4, 4, 4], 10, 3), [0..2, 2..3], "bytes");
        assert_eq!(runs(&[1, 1, 1, 1], 10, 3), [0..3, 3..4], "files");
        assert_eq!(runs(&[1, 99, 1, 1], 10, 3), [0..1, 1..2, 2..4], "one too large for any task");
        assert_eq!(runs(&[1, 1], 0, 0), [0..1, 1..2], "bounds that hold nothing");
    }
}

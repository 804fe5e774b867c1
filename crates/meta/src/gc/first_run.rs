//! The first run of a collector that another program than the last one would make, or that follows a hold of the root path.
//! A new program may be wrong about what nobody needs; what it would delete is written down before it deletes anything.
//!
//! FR-1  Such a run deletes nothing. One transaction notes who collects now, writes the plan of what would be deleted, and
//!       pauses everything for a time.
//! FR-2  That pause is one like others: it ends by itself, with `gc resume`, or with the plan that is applied. Deletion is
//!       put off, never off (G-2).
//! FR-3  The same program goes on as it did, whoever coordinates: a restart or a takeover within the cluster costs nothing.
//! FR-4  A store that nobody collected before has nothing to compare with, and nothing that is old.

use super::audit::{self, Line};
use super::brakes::PauseRecord;
use super::plans::{self, PlanRecord};
use crate::db::{Tx, args};
use crate::error::Result;
use crate::{Coordinator, schema};
use sqlx::Row;

/// Who asks for the pause.
const ACTOR: &str = "first run";

/// A run that deletes nothing (FR-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstRun {
    /// Why.
    pub why: String,
    /// What it would have deleted.
    pub plan: PlanRecord,
    /// Until when nothing is deleted, unless somebody says so.
    pub pause: PauseRecord,
}

impl Coordinator {
    /// To be asked before a process deletes for the first time: `None` when it may. `program` says which program this is,
    /// with its version and build; the format of the metadata is added to it. `pause_ms` is the time for which nothing is
    /// deleted; 0: no run is dry.
    ///
    /// # Errors
    /// When the store is away: then nothing may be deleted.
    pub async fn begin_collecting(&self, program: &str, pause_ms: i64) -> Result<Option<FirstRun>> {
        let program = format!("{program}, metadata format {}", schema::KNOWN);
        let mut tx = self.write().await?;
        let row = tx.one("SELECT program, held FROM gc_program WHERE only_row = 1 /*FOR UPDATE*/", args![]).await?;
        let before: Option<String> = row.try_get("program")?;
        let held = row.try_get::<i64, _>("held")? != 0;
        if before.as_deref() == Some(program.as_str()) && !held {
            return Ok(None); // FR-3
        }
        let now_ms = tx.now_ms;
        tx.execute_exactly(
            1,
            "the program that collects",
            "UPDATE gc_program SET program = $1, since_ms = $2, held = 0 WHERE only_row = 1",
            args![program.clone(), now_ms],
        )
        .await?;
        let why = match before {
            _ if held => "the first run after a hold of the root path".to_owned(),
            Some(before) => format!("the first run of {program}, after {before}"),
            None => String::new(), // FR-4
        };
        if why.is_empty() || pause_ms <= 0 {
            tx.commit().await?;
            return Ok(None);
        }
        let plan = plans::write(&mut tx, ACTOR).await?;
        let pause = self.pause_for(&mut tx, &plan, &why, pause_ms).await?;
        tx.commit().await?;
        Ok(Some(FirstRun { why, plan, pause }))
    }

    /// In place of one of an earlier first run.
    async fn pause_for(&self, tx: &mut Tx, plan: &PlanRecord, why: &str, pause_ms: i64) -> Result<PauseRecord> {
        let (now_ms, id) = (tx.now_ms, tx.allocate_ids(1).await?);
        let until_ms = now_ms.saturating_add(pause_ms);
        tx.execute("DELETE FROM gc_pauses WHERE plan_id IS NOT NULL", args![]).await?;
        tx.execute(
            "INSERT INTO gc_pauses (pause_id, until_ms, created_ms, actor, plan_id, why) VALUES ($1, $2, $3, $4, $5, $6)",
            args![id, until_ms, now_ms, ACTOR.to_owned(), plan.id, why.to_owned()],
        )
        .await?;
        let detail = format!(
            "{why}: nothing is deleted until {until_ms} ms, ticket {id}; plan {} would delete {} objects, {} bytes",
            plan.id, plan.objects, plan.bytes
        );
        audit::write(tx, self.epoch(), Line { actor: ACTOR, action: "dry run", collection: None, detail }).await?;
        Ok(PauseRecord {
            id,
            collection: None,
            until_ms,
            created_ms: now_ms,
            actor: ACTOR.to_owned(),
            plan: Some(plan.id),
            why: why.to_owned(),
        })
    }
}

/// A hold of the root path: when it is over, the first run is dry.
pub(crate) async fn after_a_hold(tx: &mut Tx) -> Result<()> {
    tx.execute("UPDATE gc_program SET held = 1 WHERE only_row = 1", args![]).await.map(|_| ())
}

/// Somebody applies a plan: a first run that waits for it waits no more (FR-2).
pub(super) async fn answered(tx: &mut Tx, plan: i64) -> Result<()> {
    tx.execute("DELETE FROM gc_pauses WHERE plan_id = $1", args![plan]).await.map(|_| ())
}

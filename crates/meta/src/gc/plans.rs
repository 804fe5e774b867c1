//! Plans: what a claim would take now, written down, for an operator to look at and to apply. Applying one claims nothing
//! that is not in it, and of what is in it only what may still go.

use super::audit::{self, Line};
use super::brakes::brake_on;
use super::first_run;
use crate::db::{Tx, args};
use crate::error::Result;
use crate::rows::count;
use crate::{Coordinator, Meta};
use elanus_types::{CollectionId, Failure, FileSetId};
use sqlx::Row;

/// File sets of one plan: the next plan has the next ones.
const SETS_MAX: i64 = 100_000;

/// A plan as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRecord {
    /// Names the plan.
    pub id: i64,
    /// When it was made.
    pub created_ms: i64,
    /// File sets.
    pub file_sets: u64,
    /// Objects.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
}

/// An object of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanItem {
    /// Its file set.
    pub file_set: FileSetId,
    /// Its key.
    pub key: String,
    /// Its size, where it is known.
    pub size: Option<i64>,
    /// Who released it last.
    pub collection: Option<CollectionId>,
    /// Why it is queued.
    pub reason: String,
    /// It would go without the operator, too.
    pub by_itself: bool,
}

impl Coordinator {
    /// Writes down what a claim would take now, and what it would take were no circuit breaker open.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn plan_gc(&self, actor: &str) -> Result<PlanRecord> {
        let mut tx = self.write().await?;
        let plan = write(&mut tx, actor).await?;
        let detail = format!("plan {}: {} objects, {} bytes", plan.id, plan.objects, plan.bytes);
        audit::write(&mut tx, self.epoch(), Line { actor, action: "plan", collection: None, detail }).await?;
        tx.commit().await?;
        Ok(plan)
    }

    /// An operator applies a plan: the circuit breakers of its collections close, and what is in it may be claimed with
    /// [`super::Room::Plan`].
    ///
    /// # Errors
    /// 1100 for an unknown plan.
    pub async fn begin_apply(&self, plan: i64, actor: &str) -> Result<PlanRecord> {
        let mut tx = self.write().await?;
        let found = tx
            .optional(
                "SELECT plan_id, created_ms, sets_num, objects_num, bytes FROM gc_plans WHERE plan_id = $1",
                args![plan],
            )
            .await?
            .ok_or_else(|| unknown(plan))?;
        let found = read(&found)?;
        first_run::answered(&mut tx, plan).await?;
        let detail = format!("plan {plan}: {} objects, {} bytes", found.objects, found.bytes);
        audit::write(&mut tx, self.epoch(), Line { actor, action: "apply", collection: None, detail }).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// The end of an applied plan: the breakers that it answered close, and it cannot be applied again.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn end_apply(&self, plan: i64) -> Result<()> {
        let mut tx = self.write().await?;
        tx.execute(
            "DELETE FROM gc_breakers WHERE collection_id IN (SELECT COALESCE(f.collection_id, 0) FROM gc_plan_items i \
             JOIN file_sets f ON f.file_set_id = i.file_set_id WHERE i.plan_id = $1)",
            args![plan],
        )
        .await?;
        for sql in ["DELETE FROM gc_plan_items WHERE plan_id = $1", "DELETE FROM gc_plans WHERE plan_id = $1"] {
            tx.execute(sql, args![plan]).await?;
        }
        tx.commit().await
    }
}

/// Writes down what a claim would take now, and what it would take were no circuit breaker open.
pub(super) async fn write(tx: &mut Tx, actor: &str) -> Result<PlanRecord> {
    let now_ms = tx.now_ms;
    let id = tx.allocate_ids(1).await?;
    tx.execute(
        "INSERT INTO gc_plans (plan_id, created_ms, actor, sets_num, objects_num, bytes) VALUES ($1, $2, $3, 0, 0, 0)",
        args![id, now_ms, actor.to_owned()],
    )
    .await?;
    tx.execute(
        concat!(
            "INSERT INTO gc_plan_items (plan_id, file_set_id) SELECT CAST($1 AS BIGINT), f.file_set_id \
             FROM file_sets f WHERE f.state = 'queued' AND f.not_before_ms <= $2 AND COALESCE(",
            brake_on!("$2"),
            ", 'breaker') = 'breaker' ORDER BY f.not_before_ms LIMIT $3"
        ),
        args![id, now_ms, SETS_MAX],
    )
    .await?;
    tx.execute(
        "UPDATE gc_plans SET sets_num = (SELECT COUNT(*) FROM gc_plan_items i WHERE i.plan_id = $1), \
         objects_num = (SELECT COUNT(*) FROM gc_plan_items i JOIN objects o ON o.file_set_id = i.file_set_id \
           WHERE i.plan_id = $1), \
         bytes = (SELECT CAST(COALESCE(SUM(o.size_bytes), 0) AS BIGINT) FROM gc_plan_items i \
           JOIN objects o ON o.file_set_id = i.file_set_id WHERE i.plan_id = $1) WHERE plan_id = $1",
        args![id],
    )
    .await?;
    let row = tx
        .one("SELECT plan_id, created_ms, sets_num, objects_num, bytes FROM gc_plans WHERE plan_id = $1", args![id])
        .await?;
    read(&row)
}

impl Meta {
    /// Objects of a plan that still wait, those after `after`.
    ///
    /// # Errors
    /// 1100 for an unknown plan.
    pub async fn plan_items(&self, plan: i64, after: Option<&str>, limit: u32) -> Result<Vec<PlanItem>> {
        let mut tx = self.db.read().await?;
        let known = tx.optional("SELECT 1 AS known FROM gc_plans WHERE plan_id = $1", args![plan]).await?;
        known.ok_or_else(|| unknown(plan))?;
        let rows = tx
            .all(
                "SELECT f.file_set_id, o.object_key, o.size_bytes, f.collection_id, f.reason, f.covered, f.ever_live, \
                 CASE WHEN EXISTS (SELECT 1 FROM gc_breakers b WHERE b.collection_id = f.collection_id) THEN 1 ELSE 0 END \
                 AS stopped FROM gc_plan_items i JOIN file_sets f ON f.file_set_id = i.file_set_id \
                 JOIN objects o ON o.file_set_id = f.file_set_id \
                 WHERE i.plan_id = $1 AND f.state = 'queued' AND o.object_key > $2 ORDER BY o.object_key LIMIT $3",
                args![plan, after.unwrap_or_default().to_owned(), i64::from(limit)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let counted = row.try_get::<i64, _>("covered")? == 0 && row.try_get::<i64, _>("ever_live")? == 1;
                Ok(PlanItem {
                    file_set: FileSetId(row.try_get("file_set_id")?),
                    key: row.try_get("object_key")?,
                    size: row.try_get("size_bytes")?,
                    collection: row.try_get::<Option<i64>, _>("collection_id")?.map(CollectionId),
                    reason: row.try_get("reason")?,
                    by_itself: !(counted && row.try_get::<i64, _>("stopped")? == 1),
                })
            })
            .collect()
    }
}

fn unknown(plan: i64) -> crate::MetaError {
    Failure::invalid(format!("there is no plan {plan}: it was applied, or its time is over; make another one")).into()
}

fn read(row: &sqlx::any::AnyRow) -> Result<PlanRecord> {
    Ok(PlanRecord {
        id: row.try_get("plan_id")?,
        created_ms: row.try_get("created_ms")?,
        file_sets: count(row, "sets_num")?,
        objects: count(row, "objects_num")?,
        bytes: count(row, "bytes")?,
    })
}

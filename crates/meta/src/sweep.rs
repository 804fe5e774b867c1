//! The end of file sets: intents whose owner is lost are abandoned, abandoned ones are deleted.
//!
//! Permits to delete leave this crate only after the transaction that claimed their file sets was committed. What was
//! live once is never claimed here.

use crate::db::args;
use crate::error::Result;
use crate::file_sets::{self, Abandon, file_set_columns, from_row, write_step};
use crate::machines::{concerns_one, refused};
use crate::model::KnownObject;
use crate::rows::{checksum, object_key};
use crate::scans::require_not_frozen;
use crate::{Coordinator, Meta};
use elanus_lifecycle::file_set::Event;
use elanus_lifecycle::{ClaimPolicy, DeletePermit, FileSet, Step};
use elanus_types::{FileSetId, NodeId, ObjectKey};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A file set whose objects are to be deleted.
#[derive(Debug)]
pub struct Claimed {
    /// Which one; to be told to [`Coordinator::mark_gone`] when the store has answered for every permit.
    pub file_set: FileSetId,
    /// One an object.
    pub permits: Vec<DeletePermit>,
}

/// File sets of `$conditions` with their keys, the keys of one after each other.
macro_rules! select_with_keys {
    ($conditions:literal) => {
        concat!(
            "SELECT f.*, o.object_key FROM (SELECT ",
            file_set_columns!(),
            " FROM file_sets WHERE ever_live = 0 AND ",
            $conditions,
            ") f LEFT JOIN objects o ON o.file_set_id = f.file_set_id ORDER BY f.file_set_id, o.ordinal"
        )
    };
}

impl Coordinator {
    /// Abandons at most `limit` intents whose lease is over, a restore job's aside; how many.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expire_intents(&self, limit: u32) -> Result<u64> {
        let mut tx = self.write().await?;
        let now_ms = tx.now_ms;
        let abandoned = file_sets::abandon(&mut tx, Abandon::LeaseOver(i64::from(limit)), now_ms).await?;
        if abandoned > 0 {
            tx.commit().await?;
        }
        Ok(abandoned)
    }

    /// For a start at which every process but these is dead for sure: ends their pending snapshots, takes their copy
    /// tasks back and abandons their intents; how many things.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expire_other_owners(&self, alive: &[NodeId]) -> Result<u64> {
        let mut ended = self.take_back_from_others(alive).await? + self.end_snapshots_of_others(alive).await?;
        let mut read = self.meta().db.read().await?;
        let rows = read
            .all(
                "SELECT DISTINCT owner FROM file_sets WHERE state = 'intent' AND job_id IS NULL AND owner IS NOT NULL",
                args![],
            )
            .await?;
        drop(read);
        for row in &rows {
            let owner = NodeId(row.try_get("owner")?);
            if !alive.contains(&owner) {
                let mut tx = self.write().await?;
                let now_ms = tx.now_ms;
                ended += file_sets::abandon(&mut tx, Abandon::Owner(&owner), now_ms).await?;
                tx.commit().await?;
            }
        }
        Ok(ended)
    }

    /// Claims file sets that never were live and that nothing needs, at most `limit`, those whose deletion has begun
    /// included. To be repeated as long as it returns any.
    ///
    /// # Errors
    /// When deletes are frozen; when the store is away.
    pub async fn claim_abandoned(&self, limit: u32) -> Result<Vec<Claimed>> {
        let mut tx = self.write().await?;
        require_not_frozen(&mut tx).await?;
        let now_ms = tx.now_ms;
        // Half of the room, and by chance: objects that cannot be deleted keep no others waiting (O-1).
        let begun = tx
            .all(
                select_with_keys!("state = 'deleting' ORDER BY RANDOM() LIMIT $1"),
                args![i64::from(limit.div_ceil(2))],
            )
            .await?;
        let begun = group(&begun)?;
        let room = i64::from(limit) - i64::try_from(begun.len()).unwrap_or(i64::MAX);
        let queued = tx
            .all(
                select_with_keys!("state = 'queued' AND not_before_ms <= $1 ORDER BY not_before_ms LIMIT $2"),
                args![now_ms, room],
            )
            .await?;
        let claim = Event::Claim { now_ms, policy: ClaimPolicy::AbandonedOnly };
        let mut claimed = vec![];
        for mut one in begun.into_iter().chain(group(&queued)?) {
            match write_step(&mut tx, one.id, &one.set, &claim).await? {
                Step::Move(after, _) => one.set = after,
                Step::Repeat => {}
                Step::Fenced => continue,
                Step::Refuse(refusal) => {
                    tracing::warn!(file_set = one.id.0, %refusal, "is not claimed");
                    continue;
                }
            }
            claimed.push(one);
        }
        if !claimed.is_empty() {
            tx.commit().await?;
        }
        let permits = |Unneeded { id, set, keys }| Some(Claimed { file_set: id, permits: set.permits(id, keys)? });
        Ok(claimed.into_iter().filter_map(permits).collect())
    }

    /// The store has answered for every object of these file sets: it is deleted or was absent.
    ///
    /// # Errors
    /// When one of them was not claimed; when the store is away.
    pub async fn mark_gone(&self, ids: &[FileSetId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        for id in ids {
            if let Step::Refuse(refusal) = file_sets::move_file_set(&mut tx, *id, &Event::ObjectsGone).await? {
                return Err(refused(&refusal));
            }
        }
        tx.commit().await
    }
}

impl Meta {
    /// Objects that the metadata knows, by key, those after `after`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn known_objects(&self, after: Option<&ObjectKey>, limit: u32) -> Result<Vec<KnownObject>> {
        self.known_between(after, None, limit).await
    }

    /// As [`Meta::known_objects`], those not after `until`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn known_between(
        &self,
        after: Option<&ObjectKey>,
        until: Option<&ObjectKey>,
        limit: u32,
    ) -> Result<Vec<KnownObject>> {
        let mut tx = self.db.read().await?;
        let after = after.map_or_else(String::new, ToString::to_string);
        // No character of a key comes after it.
        let until = until.map_or_else(|| "~".to_owned(), ToString::to_string);
        let rows = tx.all(KNOWN_OBJECTS, args![after, until, i64::from(limit)]).await?;
        rows.iter().map(known_object).collect()
    }
}

pub(crate) const KNOWN_OBJECTS: &str = "
SELECT o.object_key, o.size_bytes, o.checksum, o.file_set_id, f.state, f.ever_live
FROM objects o JOIN file_sets f ON f.file_set_id = o.file_set_id
WHERE o.object_key > $1 AND o.object_key <= $2 ORDER BY o.object_key LIMIT $3";

fn known_object(row: &AnyRow) -> Result<KnownObject> {
    let state: String = row.try_get("state")?;
    let size: Option<i64> = row.try_get("size_bytes")?;
    let sum: Option<String> = row.try_get("checksum")?;
    Ok(KnownObject {
        key: object_key(row.try_get("object_key")?)?,
        file_set: FileSetId(row.try_get("file_set_id")?),
        size: size.and_then(|size| u64::try_from(size).ok()),
        checksum: sum.as_deref().map(checksum).transpose()?,
        abandoned: row.try_get::<i64, _>("ever_live")? == 0 && state != "intent",
        file_set_state: state,
    })
}

/// File sets of [`select_with_keys!`]. One that is corrupt is kept out: nothing of it is ever deleted.
fn group(rows: &[AnyRow]) -> Result<Vec<Unneeded>> {
    let id = |row: &AnyRow| row.try_get::<i64, _>("file_set_id").ok();
    let mut sets = vec![];
    for rows in rows.chunk_by(|a, b| id(a) == id(b)) {
        match Unneeded::read(rows) {
            Ok(set) => sets.push(set),
            Err(error) if concerns_one(&error) => tracing::error!(file_set = id(&rows[0]), %error, "is kept"),
            Err(error) => return Err(error),
        }
    }
    Ok(sets)
}

/// A file set and its keys.
struct Unneeded {
    id: FileSetId,
    set: FileSet,
    keys: Vec<ObjectKey>,
}

impl Unneeded {
    fn read(rows: &[AnyRow]) -> Result<Self> {
        let mut keys = vec![];
        for row in rows {
            if let Some(key) = row.try_get::<Option<&str>, _>("object_key")? {
                keys.push(object_key(key)?);
            }
        }
        Ok(Self { id: FileSetId(rows[0].try_get("file_set_id")?), set: from_row(&rows[0])?, keys })
    }
}

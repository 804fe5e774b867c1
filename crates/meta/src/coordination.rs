//! The lease of the active coordinator: when another one may take over.
//!
//! CO-1  The lease proves nothing. Whoever raises the epoch coordinates, whatever the lease says, and everything that an
//!       earlier coordinator writes is refused; so a lease that ended too early costs a change of coordinators, no more.
//! CO-2  Of several that wait, one takes over: the one that claimed the lease as it was last seen.
//! CO-3  A new epoch comes with a lease: it is not taken over from before it could renew.

use crate::db::{Tx, args};
use crate::error::Result;
use crate::{Coordinator, Meta};
use elanus_types::{Epoch, NodeId};
use sqlx::Row;

/// A coordinator that is silent for so long is taken over from, in milliseconds.
pub const COORDINATION_LEASE_MS: i64 = 6_000;

/// Who coordinates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinationRecord {
    /// Who, or who is about to; empty: nobody ever did.
    pub holder: NodeId,
    /// Of the last one that took over.
    pub epoch: Epoch,
    /// Moves with every renewal.
    pub beat: i64,
    /// By the holder's clock, in milliseconds since 1970; 0: given back.
    pub lease_until_ms: i64,
}

impl CoordinationRecord {
    /// True when nobody needs to be waited for.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.lease_until_ms == 0
    }
}

impl Meta {
    /// Who coordinates now.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn coordination(&self) -> Result<CoordinationRecord> {
        read(&mut self.db.read().await?).await
    }

    /// `node` is about to take over, because nobody has renewed the lease since `seen_beat`; false when somebody has, or
    /// another one is (CO-2).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn claim_coordination(&self, node: &NodeId, seen_beat: i64) -> Result<bool> {
        let mut tx = self.db.write().await?;
        let lease_until_ms = tx.now_ms + COORDINATION_LEASE_MS;
        let claimed = tx
            .execute(
                "UPDATE coordination SET holder = $1, beat = beat + 1, lease_until_ms = $2 WHERE only_row = 1 AND beat = $3",
                args![node.0.clone(), lease_until_ms, seen_beat],
            )
            .await?;
        tx.commit().await?;
        Ok(claimed == 1)
    }
}

impl Coordinator {
    /// Renews the lease, which is `node`'s; until when. `None`: another one has claimed it and is about to take over.
    ///
    /// # Errors
    /// [`crate::MetaError::Fenced`] when another took over; when the store is away.
    pub async fn renew_coordination(&self, node: &NodeId) -> Result<Option<i64>> {
        let mut tx = self.write().await?;
        let (now_ms, epoch) = (tx.now_ms, self.epoch().0);
        let lease_until_ms = now_ms + COORDINATION_LEASE_MS;
        let renewed = tx
            .execute(
                "UPDATE coordination SET holder = $1, epoch = $2, beat = beat + 1, lease_until_ms = $3 \
                 WHERE only_row = 1 AND (holder = $1 OR lease_until_ms <= $4)",
                args![node.0.clone(), epoch, lease_until_ms, now_ms],
            )
            .await?;
        tx.commit().await?;
        Ok((renewed == 1).then_some(lease_until_ms))
    }

    /// `node` coordinates no more: another one need not wait.
    ///
    /// # Errors
    /// When the store is away, or another took over.
    pub async fn release_coordination(&self, node: &NodeId) -> Result<()> {
        let mut tx = self.write().await?;
        tx.execute(
            "UPDATE coordination SET beat = beat + 1, lease_until_ms = 0 WHERE only_row = 1 AND holder = $1",
            args![node.0.clone()],
        )
        .await?;
        tx.commit().await
    }
}

pub(crate) async fn read(tx: &mut Tx) -> Result<CoordinationRecord> {
    let sql = "SELECT holder, epoch, beat, lease_until_ms FROM coordination WHERE only_row = 1";
    let row = tx.one(sql, args![]).await?;
    Ok(CoordinationRecord {
        holder: NodeId(row.try_get("holder")?),
        epoch: Epoch(row.try_get("epoch")?),
        beat: row.try_get("beat")?,
        lease_until_ms: row.try_get("lease_until_ms")?,
    })
}

/// CO-3
pub(crate) async fn begin(tx: &mut Tx, holder: &NodeId, epoch: Epoch) -> Result<()> {
    let lease_until_ms = tx.now_ms + COORDINATION_LEASE_MS;
    tx.execute(
        "UPDATE coordination SET holder = $1, epoch = $2, beat = beat + 1, lease_until_ms = $3 WHERE only_row = 1",
        args![holder.0.clone(), epoch.0, lease_until_ms],
    )
    .await?;
    Ok(())
}

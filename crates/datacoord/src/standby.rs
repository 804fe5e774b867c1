//! A coordinator that waits for its turn.
//!
//! It takes over when the active one gave its lease back, or when the lease did not move for as long as it lasts, by this
//! machine's clock alone: clocks of machines differ. While the metadata are away nothing is concluded, for the active one
//! cannot renew its lease then either.

use elanus_meta::{COORDINATION_LEASE_MS, CoordinationRecord, Meta, MetaError};
use elanus_types::NodeId;
use std::time::Duration;
use tokio::time::Instant;

const LOOK_EVERY: Duration = Duration::from_millis(500);
const LEASE: Duration = Duration::from_millis(COORDINATION_LEASE_MS.unsigned_abs());

/// What was seen of the lease.
#[derive(Debug, Default)]
struct Watch {
    /// The beat, and since when it is this one.
    beat: Option<(i64, Instant)>,
}

impl Watch {
    /// True when the coordination may be claimed.
    fn is_over(&mut self, record: &CoordinationRecord, now: Instant) -> bool {
        match self.beat {
            _ if record.is_free() => true,
            Some((beat, since)) if beat == record.beat => now.duration_since(since) >= LEASE,
            _ => {
                self.beat = Some((record.beat, now));
                false
            }
        }
    }
}

/// Waits until `node` may take over, and has claimed that (CO-2).
pub async fn stand_by(meta: &Meta, node: &NodeId) {
    let mut watch = Watch::default();
    let mut waits_for = None;
    loop {
        match look(meta, node, &mut watch).await {
            Ok(None) => return,
            Ok(Some(active)) if waits_for.as_ref() == Some(&active.holder) => {}
            Ok(Some(active)) => {
                tracing::info!(active = %active.holder, epoch = active.epoch.0, "standing by");
                waits_for = Some(active.holder);
            }
            Err(error) => {
                tracing::warn!(%error, "standing by without sight of the metadata");
                watch = Watch::default();
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Who is to be waited for; `None` when the coordination is claimed.
async fn look(meta: &Meta, node: &NodeId, watch: &mut Watch) -> Result<Option<CoordinationRecord>, MetaError> {
    let record = meta.coordination().await?;
    let claimed = watch.is_over(&record, Instant::now()) && meta.claim_coordination(node, record.beat).await?;
    Ok(if claimed { None } else { Some(record) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_types::Epoch;

    fn record(beat: i64, lease_until_ms: i64) -> CoordinationRecord {
        CoordinationRecord { holder: NodeId("a".to_owned()), epoch: Epoch(1), beat, lease_until_ms }
    }

    #[test]
    fn a_lease_is_over_when_it_stood_still_for_as_long_as_it_lasts_or_was_given_back() {
        let start = Instant::now();
        let mut watch = Watch::default();
        let after = |ms| start + Duration::from_millis(ms);
        assert!(!watch.is_over(&record(1, 5), start), "whatever it says, it is watched first");
        assert!(!watch.is_over(&record(1, 5), after(5_999)));
        assert!(!watch.is_over(&record(2, 5), after(6_000)), "it moved");
        assert!(!watch.is_over(&record(2, 5), after(11_999)));
        assert!(watch.is_over(&record(2, 5), after(12_000)));
        assert!(watch.is_over(&record(3, 0), after(12_001)), "given back");
    }
}

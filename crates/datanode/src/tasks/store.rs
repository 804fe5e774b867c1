//! Calls to the object store on behalf of a claim: through the node's gate, again where that may help, and never once the
//! claim is lost.

use super::gate::Gate;
use super::limit::Outcome;
use super::report::Lease;
use elanus_objects::{Error, ObjectStore, Retry, checksum_of};
use elanus_types::ObjectKey;
use std::time::Duration;

/// Tries of one call before the claim is given up.
const TRIES_MAX: u32 = 10;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Where files are, and what may stop their worker.
pub(super) struct Way<'w> {
    pub(super) objects: &'w dyn ObjectStore,
    pub(super) gate: &'w Gate,
    pub(super) lease: &'w Lease,
}

/// Does one call that is about the object `key`, which no other call is about. `None` when the worker was told to stop.
pub(super) async fn tried<T, F>(way: &Way<'_>, key: &ObjectKey, call: impl Fn() -> F) -> Option<Result<T, Error>>
where
    F: Future<Output = Result<T, Error>>,
{
    for attempt in 1.. {
        let pass = tokio::select! {
            pass = way.gate.enter() => pass?,
            () = way.lease.lost() => return None,
        };
        if !way.lease.holds() {
            return None; // between two effects, never inside one: an abandoned call could still write (CW-3)
        }
        let result = call().await;
        pass.ended(match &result {
            Ok(_) => Outcome::Succeeded,
            Err(error) if error.retry() == Retry::After => Outcome::Overloaded,
            Err(_) => Outcome::Neither,
        });
        match result {
            Err(error) if error.retry() == Retry::After && attempt < TRIES_MAX => {
                tracing::debug!(%key, attempt, %error, "a call to the store is tried again");
                elanus_trace::event!(attempt, error = error.label(), "tried again");
                metrics::counter!("elanus_datanode_store_retries_total").increment(1);
                tokio::select! {
                    () = tokio::time::sleep(pause(attempt, chance(key, attempt))) => {}
                    () = way.lease.lost() => return None,
                }
            }
            other => return Some(other),
        }
    }
    None
}

/// How long to wait after the `attempt`-th attempt: any time up to a bound that doubles ("full jitter"), so that files
/// that were refused together do not come back together. `chance` is from 0 to 1.
pub(super) fn pause(attempt: u32, chance: f64) -> Duration {
    let doubled = 2_u32.checked_pow(attempt.saturating_sub(1)).and_then(|factor| BACKOFF_FIRST.checked_mul(factor));
    doubled.unwrap_or(BACKOFF_MAX).min(BACKOFF_MAX).mul_f64(chance.clamp(0.0, 1.0))
}

/// A number from 0 to 1 that no two attempts share: keys have random bits. Not drawn here, so that a
/// simulation can repeat a run.
fn chance(key: &ObjectKey, attempt: u32) -> f64 {
    let bits = checksum_of(format!("{key} {attempt}").as_bytes()).0;
    (bits >> 32) as f64 / f64::from(u32::MAX)
}

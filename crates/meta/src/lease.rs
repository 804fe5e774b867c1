//! Work that takes longer than its lease.

use std::fmt::Display;
use std::time::Duration;

/// Runs `work` while `renew` is called every so often; a renewal that fails is logged, for whoever commits finds out.
///
/// The work goes on while a lease is renewed: both use the same connections and rows, and a work that has just been given
/// one and is not polled would keep the renewal waiting for it.
pub async fn while_renewing<T, R, E: Display>(
    every: Duration,
    what: &str,
    renew: impl Fn() -> R,
    work: impl Future<Output = T>,
) -> T
where
    R: Future<Output = Result<(), E>>,
{
    tokio::pin!(work);
    loop {
        let renewed = async {
            tokio::time::sleep(every).await;
            renew().await
        };
        tokio::select! {
            done = &mut work => return done,
            renewed = renewed => {
                if let Err(error) = renewed {
                    tracing::warn!(%error, "{what} could not be renewed");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::sync::{Mutex, Notify};

    #[tokio::test]
    async fn o_1_work_that_holds_what_the_renewal_waits_for_goes_on() {
        let connection = Mutex::new(());
        let held = connection.lock().await;
        let renew = || async {
            drop(connection.lock().await);
            Ok::<(), String>(())
        };
        let work = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(held);
            // Behind the renewal in the queue.
            drop(connection.lock().await);
            7
        };
        let done = while_renewing(Duration::from_millis(1), "a lease", renew, work);
        assert_eq!(tokio::time::timeout(Duration::from_secs(20), done).await, Ok(7));
    }

    #[tokio::test]
    async fn a_lease_is_renewed_again_and_again_whether_or_not_it_works() {
        for answer in [Ok(()), Err("away")] {
            let renewals = Cell::new(0);
            let third = Notify::new();
            let renew = || async {
                renewals.set(renewals.get() + 1);
                if renewals.get() == 3 {
                    third.notify_one();
                }
                answer
            };
            while_renewing(Duration::from_millis(1), "a lease", renew, third.notified()).await;
        }
    }
}

//! Waiting for a level.

use std::{fmt::Display, time::Duration};
use tokio::time::Instant;

const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Looks until `look` gives a value. What it gives otherwise is the status that the panic shows when `bound` is over.
///
/// # Panics
/// When `bound` is over.
pub async fn wait_for<T, S: Display>(what: &str, bound: Duration, mut look: impl AsyncFnMut() -> Result<T, S>) -> T {
    let until = Instant::now() + bound;
    let mut pause = PAUSE_MIN;
    loop {
        match tokio::time::timeout_at(until, look()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(status)) if Instant::now() >= until => {
                panic!("waited {bound:?} for {what}; now: {status}")
            }
            Ok(Err(_)) => {}
            Err(_) => panic!("waited {bound:?} for {what}; the last look at it did not end"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_waited_for_is_returned() {
        let mut looks = 0;
        let found = wait_for("three looks", Duration::from_secs(10), async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(format!("{looks} looks")) }
        })
        .await;
        assert_eq!(found, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "for a miracle; now: none yet")]
    async fn a_wait_ends_with_the_last_status() {
        wait_for::<(), _>("a miracle", Duration::from_millis(20), async || Err("none yet")).await;
    }
}

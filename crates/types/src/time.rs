//! Hybrid timestamps and the clock.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bits of the logical part of a [`Timestamp`] (Milvus: physical milliseconds << 18 | logical).
const LOGICAL_BITS: u32 = 18;

/// A Milvus hybrid timestamp: milliseconds since 1970 in the upper bits, a counter in the lower 18.
///
/// Fits a signed 64-bit column until the year 3084; [`Timestamp::NEVER`] is the end of what has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before everything.
    pub const ZERO: Timestamp = Timestamp(0);
    /// `removed_ts` of a fact that still holds.
    pub const NEVER: Timestamp = Timestamp(i64::MAX);

    /// The first timestamp of a millisecond.
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        Self(ms << LOGICAL_BITS)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn ms(self) -> i64 {
        self.0 >> LOGICAL_BITS
    }

    /// What a clock that stands at `self` gives next: `max(self + 1, now)`. Never repeats, never falls.
    #[must_use]
    pub fn tick(self, now_ms: i64) -> Self {
        Self((self.0 + 1).max(Self::from_ms(now_ms).0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a service reads the time. Given to constructors, so that a test can move it.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Milliseconds since 1970, UTC.
    fn now_ms(&self) -> i64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the front door that the ban points to")]
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX >> LOGICAL_BITS)
    }
}

/// A clock that a test moves by hand.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `ms` milliseconds since 1970.
    #[must_use]
    pub fn at_ms(ms: i64) -> Self {
        Self(AtomicI64::new(ms))
    }

    /// Moves the clock forward (or, with a negative number, back).
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_never_repeats_and_never_falls() {
        let first = Timestamp::ZERO.tick(1_000);
        assert_eq!(first, Timestamp::from_ms(1_000));
        assert_eq!(first.tick(1_000).0, first.0 + 1);
        assert_eq!(first.tick(5).0, first.0 + 1, "the machine's clock went back");
        assert_eq!(first.tick(2_000).ms(), 2_000);
    }
}

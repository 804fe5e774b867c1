//! When rows expire: the time to live of a collection, and from when its rows age. Pure.
//!
//! A row expires when its age passes the time to live. Its age counts from when it was written or, in what a snapshot was
//! brought back to, from when that was done where that is later: else a restore of an old snapshot would be empty. What had
//! expired in the snapshot stays so.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The property that says how many seconds a row lives. Zero, less, and what is no number: for ever.
pub const TTL_PROPERTY: &str = "collection.ttl.seconds";

/// From when the rows of a collection age, where that is not when they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Aging {
    /// Rows that were written before age from then.
    pub from_ts: Timestamp,
    /// Rows that were written before had expired when the collection was brought back.
    pub expired_before_ts: Timestamp,
}

impl Default for Aging {
    fn default() -> Self {
        Self { from_ts: Timestamp::ZERO, expired_before_ts: Timestamp::ZERO }
    }
}

impl Aging {
    /// True when rows age from when they were written, which is not worth being told.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Rows that were written before this have expired at `at`; [`Timestamp::ZERO`]: none have.
    #[must_use]
    pub fn expired_before(&self, ttl_s: Option<i64>, at: Timestamp) -> Timestamp {
        let by_age = ttl_s.map_or(Timestamp::ZERO, |ttl_s| {
            Timestamp::from_ms(at.ms().saturating_sub(ttl_s.saturating_mul(1_000)).max(0))
        });
        // Until then, none of those that age from `from_ts` is old enough, and so none of the later ones.
        let by_age = if by_age > self.from_ts { by_age } else { Timestamp::ZERO };
        by_age.max(self.expired_before_ts)
    }

    /// Of what is brought back to `then`: what had expired stays so, and all other rows age from `from_ts`.
    #[must_use]
    pub fn brought_back(&self, ttl_s: Option<i64>, then: Timestamp, from_ts: Timestamp) -> Self {
        Self { from_ts, expired_before_ts: self.expired_before(ttl_s, then) }
    }
}

/// How many seconds a row lives; `None`: for ever.
#[must_use]
pub fn ttl_s(properties: &BTreeMap<String, String>) -> Option<i64> {
    properties.get(TTL_PROPERTY)?.parse().ok().filter(|ttl_s| *ttl_s > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_s(s: i64) -> Timestamp {
        Timestamp::from_ms(s * 1_000)
    }

    #[test]
    fn rows_expire_when_they_are_older_than_the_time_to_live() {
        let aging = Aging::default();
        assert_eq!(aging.expired_before(Some(10), at_s(100)), at_s(90));
        assert_eq!(aging.expired_before(Some(1_000), at_s(100)), Timestamp::ZERO);
        assert_eq!(aging.expired_before(Some(i64::MAX), at_s(100)), Timestamp::ZERO);
        assert_eq!(aging.expired_before(None, at_s(100)), Timestamp::ZERO);
    }

    #[test]
    fn what_is_brought_back_begins_to_age_and_what_had_expired_stays_so() {
        let source = Aging::default();
        let back = source.brought_back(Some(10), at_s(100), at_s(500));
        // The rows of the seconds 90 to 100 live until 510; those from before 90 were not in the snapshot.
        for now in [500, 505, 510] {
            assert_eq!(back.expired_before(Some(10), at_s(now)), at_s(90), "{now}");
        }
        assert_eq!(back.expired_before(Some(10), at_s(511)), at_s(501));
        assert_eq!(back.expired_before(None, at_s(600)), at_s(90));
        // And once more: at 505 nothing else had expired.
        let again = back.brought_back(Some(10), at_s(505), at_s(900));
        assert_eq!(again, Aging { from_ts: at_s(900), expired_before_ts: at_s(90) });
        let later = back.brought_back(Some(10), at_s(520), at_s(900));
        assert_eq!(later.expired_before_ts, at_s(510));
    }

    #[test]
    fn a_time_to_live_is_a_number_of_seconds_above_zero() {
        let of = |value: &str| ttl_s(&[(TTL_PROPERTY.to_owned(), value.to_owned())].into());
        assert_eq!((of("7"), of("0"), of("-1"), of("x"), ttl_s(&BTreeMap::new())), (Some(7), None, None, None, None));
    }
}

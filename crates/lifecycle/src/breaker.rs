//! The circuit breaker of deletion: how much of a collection may go in an hour without anybody having asked for it.
//!
//! BR-1  What a user's own drop released, and what never was visible, is not counted.
//! BR-2  Of the rest, at most [`OBJECTS_MIN`] objects an hour, or [`PERCENT`] percent of the collection where that is
//!       more, in objects and in bytes. What would go beyond stops the collection until an operator answers.

/// So many objects an hour never trip it: small collections may lose all of a compaction's inputs.
pub const OBJECTS_MIN: u64 = 1_000;
/// Of what the collection has, an hour.
pub const PERCENT: u64 = 5;

/// Objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Number of objects.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
}

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { objects: self.objects + other.objects, bytes: self.bytes + other.bytes }
    }
}

/// True when an hour in which `deleted` goes needs nobody's consent, for a collection of any size.
#[must_use]
pub fn is_small(deleted: Amount) -> bool {
    deleted.objects <= OBJECTS_MIN
}

/// BR-2: whether so much of a collection that has `total` may go in an hour.
#[must_use]
pub fn allows(deleted: Amount, total: Amount) -> bool {
    let share = |part: u64, whole: u64| u128::from(part) * 100 <= u128::from(whole) * u128::from(PERCENT);
    is_small(deleted) || (share(deleted.objects, total.objects) && share(deleted.bytes, total.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(objects: u64, bytes: u64) -> Amount {
        Amount { objects, bytes }
    }

    #[test]
    fn br_2_more_than_a_thousand_objects_and_five_percent_trips() {
        for (deleted, total, allowed) in [
            (amount(1_000, u64::MAX), amount(0, 0), true),
            (amount(1_001, 0), amount(0, 0), false),
            (amount(1_001, 5), amount(20_020, 100), true),
            (amount(1_002, 5), amount(20_020, 100), false),
            (amount(1_001, 6), amount(20_020, 100), false),
        ] {
            assert_eq!(allows(deleted, total), allowed, "{deleted:?} of {total:?}");
        }
        assert_eq!(amount(1, 2).plus(amount(3, 4)), amount(4, 6));
    }
}

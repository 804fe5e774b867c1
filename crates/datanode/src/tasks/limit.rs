//! How many files a node copies at a time: as many as the store bears, found out by trying (additive increase,
//! multiplicative decrease). One limit for all tasks of the node. No clock, no I/O.
//!
//! AL-1  The limit stays within its bounds.
//! AL-2  It rises only while it is what holds the node back: by one for each success until the store first refuses, then
//!       by one for as many successes as it is high.
//! AL-3  A refusal halves it; of calls that were under way together, only the first: what began before a cut says
//!       nothing about the limit after it.

/// Bounds of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) min: usize,
    pub(super) first: usize,
    pub(super) max: usize,
}

/// What the end of a call says about the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    /// It asked to be left alone: throttled, timed out, away.
    Overloaded,
    /// An answer that has nothing to do with load.
    Neither,
}

/// The cuts that a call has seen when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cuts(u64);

/// The limit.
#[derive(Clone, Debug)]
pub(super) struct Aimd {
    bounds: Bounds,
    limit: f64,
    cuts: Cuts,
}

const CUT: f64 = 0.5;

impl Aimd {
    pub(super) fn new(bounds: Bounds) -> Self {
        let min = bounds.min.max(1);
        let bounds = Bounds { min, max: bounds.max.max(min), ..bounds };
        Self { bounds, limit: as_f64(bounds.first.clamp(bounds.min, bounds.max)), cuts: Cuts(0) }
    }

    /// Calls that may be under way.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "AL-1")]
    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// To be kept by a call that begins now.
    pub(super) fn cuts(&self) -> Cuts {
        self.cuts
    }

    /// A call ended that had begun at `began`; `busy` calls were under way, it among them.
    pub(super) fn ended(&mut self, outcome: Outcome, began: Cuts, busy: usize) {
        match outcome {
            Outcome::Succeeded if busy * 2 >= self.limit() => {
                let step = if self.cuts == Cuts(0) { 1.0 } else { 1.0 / self.limit };
                self.limit = (self.limit + step).min(as_f64(self.bounds.max)); // AL-1, AL-2
            }
            Outcome::Overloaded if began == self.cuts => {
                self.limit = (self.limit * CUT).max(as_f64(self.bounds.min)); // AL-1
                self.cuts = Cuts(self.cuts.0 + 1); // AL-3
            }
            Outcome::Succeeded | Outcome::Overloaded | Outcome::Neither => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "limits are small numbers")]
fn as_f64(limit: usize) -> f64 {
    limit as f64
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Neither, Overloaded, Succeeded};
    use super::*;

    fn limit(min: usize, first: usize, max: usize) -> Aimd {
        Aimd::new(Bounds { min, first, max })
    }

    /// `times` calls that each saw all cuts before them, with every place taken.
    fn after(mut aimd: Aimd, outcome: Outcome, times: usize) -> Aimd {
        for _ in 0..times {
            aimd.ended(outcome, aimd.cuts(), aimd.limit());
        }
        aimd
    }

    #[test]
    fn al_1_the_limit_stays_within_its_bounds() {
        assert_eq!(after(limit(2, 8, 20), Succeeded, 1_000).limit(), 20);
        assert_eq!(after(limit(2, 8, 20), Overloaded, 1_000).limit(), 2);
        for (bounds, expected) in [((0, 0, 0), 1), ((4, 1, 9), 4), ((4, 99, 9), 9), ((9, 9, 4), 9)] {
            assert_eq!(limit(bounds.0, bounds.1, bounds.2).limit(), expected, "{bounds:?}");
        }
    }

    #[test]
    fn al_2_it_doubles_in_a_round_at_first_and_rises_by_one_in_a_round_after_a_cut() {
        assert_eq!(after(limit(1, 4, 100), Succeeded, 4).limit(), 8);
        let cut = after(limit(1, 16, 100), Overloaded, 1);
        assert_eq!(cut.limit(), 8);
        assert_eq!(after(cut.clone(), Succeeded, 7).limit(), 8);
        assert_eq!(after(cut.clone(), Succeeded, 9).limit(), 9);
        assert_eq!(after(cut, Succeeded, 100_000).limit(), 100);
    }

    #[test]
    fn al_2_what_is_not_used_up_does_not_rise() {
        let mut idle = limit(1, 8, 100);
        for _ in 0..1_000 {
            idle.ended(Succeeded, idle.cuts(), 3);
        }
        assert_eq!(idle.limit(), 8);
        assert_eq!(after(limit(1, 8, 100), Neither, 1_000).limit(), 8, "an answer that says nothing about load");
    }

    #[test]
    fn al_3_calls_that_were_under_way_together_cut_it_once() {
        let mut aimd = limit(1, 64, 100);
        let began = aimd.cuts();
        for _ in 0..64 {
            aimd.ended(Overloaded, began, 64);
        }
        assert_eq!(aimd.limit(), 32);
        aimd.ended(Overloaded, aimd.cuts(), 32);
        assert_eq!(aimd.limit(), 16);
    }
}

//! Pins: leased wishes to keep a snapshot. A pin has no states, only an end.
//!
//! PN-1  A pin with a time to live is live until exactly that time; renewal never shortens it.
//! PN-2  A pin that has ended stays ended: a snapshot may have been dropped meanwhile, so it is not renewed.
//! PN-3  A pin that a restore job owns is live as long as its row is there. The job's last transaction removes it, no
//!       time does.
//! PN-4  Only a committed snapshot is pinned: the transaction that inserts the pin asks `Snapshot::pinnable`.

use crate::{CorruptRow, Refusal, Step};
use elanus_types::JobId;
use std::convert::Infallible;

/// Name of this machine in messages and metrics.
pub const MACHINE: &str = "pin";

/// When a pin ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// When its owner or an operator removes it.
    Never,
    /// By itself. Milliseconds since 1970.
    AtMs(i64),
    /// When this restore job is over.
    WithJob(JobId),
}

impl Expiry {
    /// The end of a pin that is made at `now_ms` for `ttl_s` seconds; 0 seconds: it does not end by itself.
    #[must_use]
    pub fn from_ttl_s(ttl_s: u64, now_ms: i64) -> Self {
        if ttl_s == 0 {
            return Self::Never;
        }
        let ttl_ms = i64::try_from(ttl_s).unwrap_or(i64::MAX).saturating_mul(1_000);
        Self::AtMs(now_ms.saturating_add(ttl_ms))
    }
}

/// A pin on one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pin {
    /// Who wants the snapshot to be kept, as a person reads it.
    pub owner: String,
    /// When that wish ends.
    pub expiry: Expiry,
}

/// What a refused drop says about the pin that refused it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LivePin {
    /// Who holds the pin.
    pub owner: String,
    /// When it ends by itself, in milliseconds since 1970; `None` when it does not.
    pub until_ms: Option<i64>,
}

impl Pin {
    /// True while the pin keeps its snapshot.
    #[must_use]
    pub fn is_live(&self, now_ms: i64) -> bool {
        match self.expiry {
            Expiry::Never | Expiry::WithJob(_) => true, // PN-3
            Expiry::AtMs(until_ms) => now_ms < until_ms,
        }
    }

    /// What its owner's wish to keep it for `ttl_s` seconds from now does.
    pub fn renew(&self, ttl_s: u64, now_ms: i64) -> Step<Self, Infallible> {
        if !self.is_live(now_ms) {
            return Step::Fenced; // PN-2
        }
        let expiry = match (self.expiry, Expiry::from_ttl_s(ttl_s, now_ms)) {
            (Expiry::WithJob(_), _) => {
                return Step::Refuse(Refusal::Bug { machine: MACHINE, state: "with_job", event: "renew" });
            }
            (Expiry::Never, _) => return Step::Repeat,
            (Expiry::AtMs(old), Expiry::AtMs(new)) if new <= old => return Step::Repeat, // PN-1
            (Expiry::AtMs(_), new) => new,
        };
        Step::Move(Self { owner: self.owner.clone(), expiry }, vec![])
    }

    /// The live pin that lasts longest: the one to name when a drop is refused.
    pub fn longest_live<'a>(pins: impl IntoIterator<Item = &'a Self>, now_ms: i64) -> Option<LivePin> {
        pins.into_iter()
            .filter(|pin| pin.is_live(now_ms))
            .map(|pin| LivePin { owner: pin.owner.clone(), until_ms: pin.columns().expires_at_ms })
            .max_by_key(|pin| pin.until_ms.unwrap_or(i64::MAX))
    }

    /// What the row of this pin holds of its end.
    #[must_use]
    pub fn columns(&self) -> Columns {
        let (expires_at_ms, job_id) = match self.expiry {
            Expiry::Never => (None, None),
            Expiry::AtMs(ms) => (Some(ms), None),
            Expiry::WithJob(job) => (None, Some(job.0)),
        };
        Columns { owner: self.owner.clone(), expires_at_ms, job_id }
    }

    /// The pin of a row.
    ///
    /// # Errors
    /// When the row has both an end and a job.
    pub fn from_columns(columns: &Columns) -> Result<Self, CorruptRow> {
        let expiry = match (columns.expires_at_ms, columns.job_id) {
            (None, None) => Expiry::Never,
            (Some(ms), None) => Expiry::AtMs(ms),
            (None, Some(job)) => Expiry::WithJob(JobId(job)),
            (Some(_), Some(_)) => {
                return Err(CorruptRow { machine: MACHINE, why: format!("{columns:?}") });
            }
        };
        Ok(Self { owner: columns.owner.clone(), expiry })
    }
}

/// The columns of a pin's row that its end has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "see `Pin` and `Expiry`")]
pub struct Columns {
    pub owner: String,
    pub expires_at_ms: Option<i64>,
    pub job_id: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(expiry: Expiry) -> Pin {
        Pin { owner: "ada".into(), expiry }
    }

    #[test]
    fn pn_1_a_pin_is_live_until_its_time() {
        let pin = pin(Expiry::from_ttl_s(2, 1_000));
        assert_eq!(pin.expiry, Expiry::AtMs(3_000));
        assert!(pin.is_live(2_999));
        assert!(!pin.is_live(3_000));
        assert_eq!(Expiry::from_ttl_s(u64::MAX, 1), Expiry::AtMs(i64::MAX));
    }

    #[test]
    fn pn_1_no_renewal_shortens_a_pin() {
        for (old, ttl_s) in [(Expiry::AtMs(9_000), 5), (Expiry::AtMs(5_000), 5), (Expiry::Never, 5), (Expiry::Never, 0)]
        {
            assert_eq!(pin(old).renew(ttl_s, 0), Step::Repeat, "{old:?}");
        }
        assert_eq!(pin(Expiry::AtMs(4_000)).renew(5, 0), Step::Move(pin(Expiry::AtMs(5_000)), vec![]));
        assert_eq!(pin(Expiry::AtMs(4_000)).renew(0, 0), Step::Move(pin(Expiry::Never), vec![]));
    }

    #[test]
    fn pn_2_a_pin_that_has_ended_is_not_renewed() {
        assert_eq!(pin(Expiry::AtMs(4_000)).renew(5, 4_000), Step::Fenced);
    }

    #[test]
    fn pn_3_no_time_ends_a_pin_without_an_end() {
        assert!(pin(Expiry::from_ttl_s(0, 5)).is_live(i64::MAX));
        assert!(pin(Expiry::WithJob(JobId(1))).is_live(i64::MAX));
    }

    #[test]
    fn a_refused_drop_names_the_live_pin_that_lasts_longest() {
        let pins = [Expiry::AtMs(10), Expiry::AtMs(30), Expiry::AtMs(20)].map(pin);
        assert_eq!(Pin::longest_live(&pins, 0).unwrap().until_ms, Some(30));
        assert_eq!(Pin::longest_live(&pins, 30), None);
        let pins = [Expiry::AtMs(10), Expiry::WithJob(JobId(3)), Expiry::AtMs(20)].map(pin);
        assert_eq!(Pin::longest_live(&pins, 99).unwrap().until_ms, None);
    }

    #[test]
    fn a_row_gives_back_the_pin() {
        for expiry in [Expiry::Never, Expiry::AtMs(4), Expiry::WithJob(JobId(3))] {
            assert_eq!(Pin::from_columns(&pin(expiry).columns()), Ok(pin(expiry)));
        }
        assert!(Pin::from_columns(&Columns { owner: "a".into(), expires_at_ms: Some(1), job_id: Some(1) }).is_err());
    }
}

//! What each step does. Every step is one transaction, or one message.

use super::possible::Action;
use super::state::{FILE_SETS, Member, Reader, Row, Scan, Set, Snapshot, SnapshotState, State, Sweeper, Writer};
use super::{Collector, Less};

impl Collector {
    pub(super) fn step(&self, before: &State, action: Action) -> State {
        let mut s = before.clone();
        match action {
            Action::Register(i) => self.register(&mut s, i),
            Action::SendPut(i) => {
                s.file_sets[i].attempts += u8::from(s.file_sets[i].writer == Writer::Registered);
                s.file_sets[i].writer = Writer::Sent;
                s.file_sets[i].puts += 1;
            }
            Action::LandPut(i) => {
                s.file_sets[i].puts -= 1;
                s.file_sets[i].object = true;
                if s.file_sets[i].writer == Writer::Sent {
                    s.file_sets[i].writer = Writer::Answered;
                }
            }
            Action::Commit(i) => {
                s.file_sets[i].writer = Writer::Ended;
                enliven(&mut s, i);
            }
            Action::WriterDies(i) => s.file_sets[i].writer = Writer::Ended,
            Action::AbandonIntent(i) => s.file_sets[i].row = Row::Queued,
            Action::TryAgain(i) => {
                s.resurrected |= s.file_sets[i].claimed_ever;
                s.file_sets[i].row = Row::Intent;
                s.file_sets[i].writer = Writer::Registered;
            }

            Action::EndMembership(i) => self.end_membership(&mut s, i),
            Action::ReadFirst => s.read_before = Some(self.what_is_read_first(&s)),
            Action::CreateSnapshot => {
                // The row's time, `now`, is all that the protocol keeps.
                let holds = self.read_before(&mut s, Less::SnapshotInTwoTransactions).unwrap_or(s.visible());
                s.snapshots[usize::from(s.now)] = Snapshot { state: SnapshotState::Pending, holds };
                s.now += 1;
            }
            Action::CommitSnapshot(k) => s.snapshots[k].state = SnapshotState::Committed,
            Action::EndSnapshot(k) => s.snapshots[k].state = SnapshotState::Deleting,
            Action::Drain(_, i) => release_membership(&mut s, i),
            Action::DrainEnds(k) => s.snapshots[k].state = SnapshotState::Gone,
            Action::Clone(k) => {
                let shared = self.read_before(&mut s, Less::CloneFromARead).unwrap_or_else(|| held_by(&s, k));
                for i in (0..FILE_SETS).filter(|i| shared.has(*i)) {
                    s.file_sets[i].cloned = true;
                    s.file_sets[i].refs += 1;
                }
                s.clone_made = true;
            }
            Action::ReleaseClone(i) => {
                s.file_sets[i].cloned = false;
                s.file_sets[i].release();
            }
            Action::Undo(i) => {
                s.undone = true;
                enliven(&mut s, i);
            }
            Action::OpenReader => {
                let view = self.read_before(&mut s, Less::LeaseAfterView).unwrap_or(s.visible());
                s.reader = Reader::Leased(view);
            }
            Action::CloseReader => s.reader = Reader::Ended,

            Action::Claim(i) => {
                if !self.lacks(Less::DeleteBeforeClaim) {
                    s.file_sets[i].row = Row::Deleting;
                    s.file_sets[i].claimed_ever = true;
                }
                s.sweeper = Sweeper::Holds(i);
            }
            Action::Reclaim(i) => s.sweeper = Sweeper::Holds(i),
            Action::SendDelete => {
                if let Sweeper::Holds(i) = s.sweeper {
                    s.file_sets[i].deletes += 1;
                }
            }
            Action::LandDelete(i) => {
                s.file_sets[i].deletes -= 1;
                s.file_sets[i].object = false;
                if s.sweeper == Sweeper::Holds(i) {
                    s.sweeper = Sweeper::Answered(i);
                }
            }
            Action::MarkGone => self.mark_gone(&mut s),
            Action::SweeperDies => s.sweeper = Sweeper::Idle,

            Action::List => {
                s.scan = Some(Scan { listed: self.listing(&s) });
                // Saturates: the drain of liveness scans as often as it needs.
                s.scans = s.scans.saturating_add(1);
            }
            Action::Judge(i) => self.judge(&mut s, i),
            Action::EndScan => {
                s.scan = None;
                let _ = self.read_before(&mut s, Less::KnownBeforeListing);
            }
        }
        s
    }

    fn register(&self, s: &mut State, i: usize) {
        if !self.lacks(Less::NoIntents) {
            s.file_sets[i].row = Row::Intent;
        }
        s.file_sets[i].writer = Writer::Registered;
    }

    /// Ends a membership; releases it at once when no snapshot lies in its interval.
    fn end_membership(&self, s: &mut State, i: usize) {
        let Member::Now { added } = s.file_sets[i].member else { return };
        let member = Member::Ended { added, removed: s.now };
        s.file_sets[i].member = member;
        let needed = (0u8..).zip(&s.snapshots).any(|(at, k)| k.state.protects() && member.is_needed_at(at));
        if !needed {
            release_membership(s, i);
        }
    }

    /// The interval rule: dropping snapshot `k` between neighbours `p < k < n` releases what has
    /// `p < added <= k < removed <= n`.
    pub(super) fn only_needed_by(&self, s: &State, k: usize, i: usize) -> bool {
        let Member::Ended { added, removed } = s.file_sets[i].member else { return false };
        let at = |k: usize| u8::try_from(k).unwrap_or(u8::MAX);
        if !(added <= at(k) && at(k) < removed) {
            return false;
        }
        let protects = |k: &usize| s.snapshots[*k].state.protects();
        let before = (0..k).rev().find(protects).map(at);
        let after = (k + 1..s.snapshots.len()).find(protects).map(at);
        let alone = before.is_none_or(|p| p < added) && after.is_none_or(|n| removed <= n);
        alone || self.lacks(Less::DrainIgnoresNeighbours)
    }

    fn mark_gone(&self, s: &mut State) {
        let Sweeper::Answered(i) = s.sweeper else { return };
        s.sweeper = Sweeper::Idle;
        let unclaimed = self.lacks(Less::DeleteBeforeClaim) && s.file_sets[i].row == Row::Queued;
        if s.file_sets[i].row == Row::Deleting || unclaimed {
            s.file_sets[i].row = Row::Gone;
        }
    }

    fn listing(&self, s: &State) -> Set {
        Set::of(|i| s.file_sets[i].object && (!s.file_sets[i].foreign || self.lacks(Less::ScanOfWholeRoot)))
    }

    /// Queues a listed key that no row accounts for.
    fn judge(&self, s: &mut State, i: usize) {
        let Some(scan) = &mut s.scan else { return };
        scan.listed = scan.listed.without(i);
        let known = match s.read_before.filter(|_| self.lacks(Less::KnownBeforeListing)) {
            Some(known) => known.has(i),
            None => self.is_known(s.file_sets[i].row),
        };
        if !known {
            s.file_sets[i].row = Row::Queued;
        }
    }

    fn is_known(&self, row: Row) -> bool {
        match row {
            Row::Intent | Row::Live | Row::Queued | Row::Deleting => true,
            Row::Gone => self.lacks(Less::TombstonesAreKnown),
            Row::Absent => false,
        }
    }

    /// What the simplified process read earlier, once.
    fn read_before(&self, s: &mut State, by: Less) -> Option<Set> {
        if self.lacks(by) { s.read_before.take() } else { None }
    }

    fn what_is_read_first(&self, s: &State) -> Set {
        match self.less {
            Some(Less::KnownBeforeListing) => Set::of(|i| self.is_known(s.file_sets[i].row)),
            Some(Less::CloneFromARead) => {
                let committed = (0..s.snapshots.len()).find(|k| s.snapshots[*k].state == SnapshotState::Committed);
                committed.map_or(Set::default(), |k| held_by(s, k))
            }
            _ => s.visible(),
        }
    }
}

/// What snapshot `k` holds, by times.
fn held_by(s: &State, k: usize) -> Set {
    Set::of(|i| s.file_sets[i].member.is_needed_at(u8::try_from(k).unwrap_or(u8::MAX)))
}

/// A file set becomes live with one reference, by a membership from now on.
fn enliven(s: &mut State, i: usize) {
    s.resurrected |= s.file_sets[i].claimed_ever;
    s.file_sets[i].row = Row::Live;
    s.file_sets[i].ever_live = true;
    s.file_sets[i].refs += 1;
    s.file_sets[i].member = Member::Now { added: s.now };
}

fn release_membership(s: &mut State, i: usize) {
    s.file_sets[i].member = Member::No;
    s.file_sets[i].release();
}

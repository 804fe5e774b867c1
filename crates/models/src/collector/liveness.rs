//! The second level of L1 and L2: nobody begins anything, every request is answered, every lease ends, and the background
//! tasks run in turn.

use super::Collector;
use super::possible::Action;
use super::state::{Row, SnapshotState, State, Sweeper};

/// Far more than any state needs.
const STEPS_MAX: usize = 100;

impl Collector {
    /// The state in which the background tasks find nothing to do.
    pub(super) fn settle(&self, from: &State) -> State {
        let mut state = from.clone();
        for _ in 0..STEPS_MAX {
            let possible = self.possible(&state);
            match possible.into_iter().filter(|action| helps(&state, *action)).min_by_key(order) {
                Some(action) => state = self.step(&state, action),
                None => break,
            }
        }
        state
    }
}

impl State {
    /// Every object is referenced, no row waits for anything, no snapshot is being drained.
    pub(super) fn is_clean(&self) -> bool {
        let mut own = self.file_sets.iter().enumerate().filter(|(_, f)| !f.foreign);
        own.all(|(i, f)| match f.row {
            Row::Live => self.is_referenced(i),
            Row::Absent | Row::Gone => !f.object && f.puts == 0,
            Row::Intent | Row::Queued | Row::Deleting => false,
        }) && self.snapshots.iter().all(|snapshot| snapshot.state != SnapshotState::Deleting)
    }
}

/// What happens without anybody who begins something.
fn helps(s: &State, action: Action) -> bool {
    match action {
        Action::LandPut(_) | Action::LandDelete(_) | Action::WriterDies(_) | Action::CloseReader => true,
        Action::AbandonIntent(_) | Action::Drain(..) | Action::Claim(_) | Action::Reclaim(_) => true,
        Action::MarkGone | Action::Judge(_) => true,
        Action::EndSnapshot(k) => s.snapshots[k].state == SnapshotState::Pending,
        Action::DrainEnds(_) => true,
        Action::SendDelete => matches!(s.sweeper, Sweeper::Holds(i) if s.file_sets[i].deletes == 0),
        Action::List => s.file_sets.iter().any(|f| f.object && !f.foreign && matches!(f.row, Row::Absent | Row::Gone)),
        Action::EndScan => s.scan.is_some_and(|scan| scan.listed.is_empty()),
        _ => false,
    }
}

/// What is on the wire first, then each task in turn; a scan when everything else is quiet.
fn order(action: &Action) -> u8 {
    match action {
        Action::LandPut(_) | Action::LandDelete(_) => 0,
        Action::WriterDies(_) | Action::CloseReader | Action::EndSnapshot(_) => 1,
        Action::AbandonIntent(_) | Action::Drain(..) => 2,
        Action::DrainEnds(_) => 3,
        Action::MarkGone | Action::SendDelete => 4,
        Action::Claim(_) | Action::Reclaim(_) => 5,
        Action::Judge(_) => 6,
        Action::EndScan => 7,
        _ => 8,
    }
}

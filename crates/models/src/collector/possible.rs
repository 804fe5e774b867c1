//! Who can do what in a state.

use super::state::{FILE_SETS, Member, Reader, Row, SNAPSHOTS, SnapshotState, State, Sweeper, Writer};
use super::{Collector, Less};

/// One step of somebody. File sets and snapshots are told by their position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Writer: registers the key.
    Register(usize),
    /// Writer, or the client library in its name: sends the bytes.
    SendPut(usize),
    /// Wire: a PUT arrives.
    LandPut(usize),
    /// Writer: commits.
    Commit(usize),
    /// Writer: dies.
    WriterDies(usize),
    /// Checker: the intent's lease ended.
    AbandonIntent(usize),
    /// Writer, simplified: once more, with the same key.
    TryAgain(usize),
    /// User: compacts or drops; the membership ends.
    EndMembership(usize),
    /// Simplified: reads what will be acted on later.
    ReadFirst,
    /// User: a pending snapshot.
    CreateSnapshot,
    /// Coordinator: its manifests are written.
    CommitSnapshot(usize),
    /// User drops it, or its writer gives up.
    EndSnapshot(usize),
    /// Drain of a dropped snapshot: releases a file set.
    Drain(usize, usize),
    /// Drain of a dropped snapshot: nothing is left.
    DrainEnds(usize),
    /// User: clones a snapshot.
    Clone(usize),
    /// Drain of the dropped clone: releases a file set.
    ReleaseClone(usize),
    /// Operator: keep it after all.
    Undo(usize),
    /// Query node: takes a view and a lease on it.
    OpenReader,
    /// Query node: stops.
    CloseReader,
    /// Sweeper: the tolerance is over, it may be deleted.
    Claim(usize),
    /// Sweeper: finds a deletion that nobody pursues.
    Reclaim(usize),
    /// Sweeper: sends a DELETE.
    SendDelete,
    /// Wire: a DELETE arrives.
    LandDelete(usize),
    /// Sweeper: the answer is written down.
    MarkGone,
    /// Sweeper: dies.
    SweeperDies,
    /// Scan: lists the bucket.
    List,
    /// Scan: compares a listed key with the metadata, as it is now.
    Judge(usize),
    /// Scan: ends, or is given up.
    EndScan,
}

impl Collector {
    /// Everything that somebody can do.
    pub(super) fn possible(&self, s: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        for i in 0..FILE_SETS {
            self.wire(s, i, &mut actions);
            if !s.file_sets[i].foreign {
                self.write(s, i, &mut actions);
                self.change(s, i, &mut actions);
            }
            self.sweep(s, i, &mut actions);
        }
        for k in 0..SNAPSHOTS {
            self.drain(s, k, &mut actions);
        }
        self.snapshot(s, &mut actions);
        self.read(s, &mut actions);
        self.delete(s, &mut actions);
        self.scan(s, &mut actions);
        actions
    }

    /// Whether the scope has room for it.
    pub(super) fn is_in_scope(&self, s: &State, action: Action) -> bool {
        match action {
            Action::CreateSnapshot => s.now < self.scope.snapshots,
            Action::Clone(_) => self.scope.clone,
            Action::OpenReader => self.scope.reader,
            Action::List => s.scans < self.scope.scans,
            Action::SendPut(i) => self.scope.puts_again || s.file_sets[i].writer == Writer::Registered,
            _ => true,
        }
    }

    fn wire(&self, s: &State, i: usize, actions: &mut Vec<Action>) {
        if s.file_sets[i].puts > 0 {
            actions.push(Action::LandPut(i));
        }
        if s.file_sets[i].deletes > 0 {
            actions.push(Action::LandDelete(i));
        }
    }

    fn write(&self, s: &State, i: usize, actions: &mut Vec<Action>) {
        let f = &s.file_sets[i];
        match f.writer {
            Writer::Idle if f.row == Row::Absent => actions.push(Action::Register(i)),
            Writer::Registered => actions.extend([Action::SendPut(i), Action::WriterDies(i)]),
            Writer::Sent => {
                if f.puts == 1 {
                    actions.push(Action::SendPut(i));
                }
                actions.push(Action::WriterDies(i));
            }
            Writer::Answered => {
                let unregistered = self.lacks(Less::NoIntents) && f.row != Row::Live;
                if f.row == Row::Intent || self.lacks(Less::CommitIgnoresIntent) || unregistered {
                    actions.push(Action::Commit(i));
                }
                actions.push(Action::WriterDies(i));
            }
            Writer::Idle | Writer::Ended => {}
        }
        if f.row == Row::Intent {
            actions.push(Action::AbandonIntent(i));
        }
        let given_up = matches!(f.row, Row::Queued | Row::Deleting | Row::Gone);
        if self.lacks(Less::KeysUsedAgain) && given_up && !f.ever_live && f.attempts == 1 {
            actions.push(Action::TryAgain(i));
        }
    }

    fn change(&self, s: &State, i: usize, actions: &mut Vec<Action>) {
        let f = &s.file_sets[i];
        if matches!(f.member, Member::Now { .. }) {
            actions.push(Action::EndMembership(i));
        }
        if f.cloned {
            actions.push(Action::ReleaseClone(i));
        }
        let waits = f.row == Row::Queued && (!f.claimed_ever || self.lacks(Less::UndoOfClaimed))
            || f.row == Row::Deleting && self.lacks(Less::UndoWhileDeleting);
        if waits && f.ever_live && !s.undone {
            actions.push(Action::Undo(i));
        }
    }

    fn snapshot(&self, s: &State, actions: &mut Vec<Action>) {
        let reads_first = self.lacks(Less::SnapshotInTwoTransactions);
        if usize::from(s.now) < SNAPSHOTS {
            match s.read_before {
                Some(_) if reads_first => actions.push(Action::CreateSnapshot),
                _ if s.visible().is_empty() => {}
                _ if reads_first => actions.push(Action::ReadFirst),
                _ => actions.push(Action::CreateSnapshot),
            }
        }
        for k in 0..SNAPSHOTS {
            let state = s.snapshots[k].state;
            if state == SnapshotState::Pending {
                actions.push(Action::CommitSnapshot(k));
            }
            if state.promises() {
                actions.push(Action::EndSnapshot(k));
            }
            self.clone_of(s, k, actions);
        }
    }

    fn clone_of(&self, s: &State, k: usize, actions: &mut Vec<Action>) {
        let committed = s.snapshots[k].state == SnapshotState::Committed;
        let reads_first = self.lacks(Less::CloneFromARead);
        match s.read_before {
            _ if s.clone_made => {}
            Some(_) if reads_first => actions.push(Action::Clone(k)),
            _ if !committed => {}
            _ if reads_first => actions.push(Action::ReadFirst),
            _ => actions.push(Action::Clone(k)),
        }
    }

    fn drain(&self, s: &State, k: usize, actions: &mut Vec<Action>) {
        if s.snapshots[k].state != SnapshotState::Deleting {
            return;
        }
        let left: Vec<usize> = (0..FILE_SETS).filter(|i| self.only_needed_by(s, k, *i)).collect();
        if left.is_empty() || self.lacks(Less::DrainEndsBlindly) {
            actions.push(Action::DrainEnds(k));
        }
        actions.extend(left.into_iter().map(|i| Action::Drain(k, i)));
    }

    fn read(&self, s: &State, actions: &mut Vec<Action>) {
        let reads_first = self.lacks(Less::LeaseAfterView);
        match (s.reader, s.read_before) {
            (Reader::Idle, Some(_)) if reads_first => actions.push(Action::OpenReader),
            (Reader::Idle, _) if s.visible().is_empty() => {}
            (Reader::Idle, _) if reads_first => actions.push(Action::ReadFirst),
            (Reader::Idle, _) => actions.push(Action::OpenReader),
            (Reader::Leased(_), _) => actions.push(Action::CloseReader),
            (Reader::Ended, _) => {}
        }
    }

    fn sweep(&self, s: &State, i: usize, actions: &mut Vec<Action>) {
        if s.sweeper != Sweeper::Idle {
            return;
        }
        let leased = s.is_leased(i) && !self.lacks(Less::ClaimIgnoresLeases);
        match s.file_sets[i].row {
            Row::Queued if !leased => actions.push(Action::Claim(i)),
            Row::Deleting if !self.lacks(Less::DeletingIsForgotten) => actions.push(Action::Reclaim(i)),
            _ => {}
        }
    }

    fn delete(&self, s: &State, actions: &mut Vec<Action>) {
        match s.sweeper {
            Sweeper::Idle => {}
            Sweeper::Holds(i) => {
                if s.file_sets[i].deletes < 2 {
                    actions.push(Action::SendDelete);
                }
                actions.push(Action::SweeperDies);
            }
            Sweeper::Answered(_) => actions.extend([Action::MarkGone, Action::SweeperDies]),
        }
    }

    fn scan(&self, s: &State, actions: &mut Vec<Action>) {
        let Some(scan) = s.scan else {
            let reads_first = self.lacks(Less::KnownBeforeListing) && s.read_before.is_none();
            actions.push(if reads_first { Action::ReadFirst } else { Action::List });
            return;
        };
        actions.extend((0..FILE_SETS).filter(|i| scan.listed.has(*i)).map(Action::Judge));
        actions.push(Action::EndScan);
    }
}

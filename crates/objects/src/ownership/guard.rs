//! The running owner. Every answer about deletes or writes is from what the store said last, and how long ago.

use super::{
    claims,
    judge::{Freeze, Frozen, MetaView, Running, Seen, Verdict, doubt, judge, judge_running, purgeable},
    marker::{FormerOwner, Marker, Term},
    probe::{Capabilities, Probed, SKEW_MAX_MS, chain, skew_ms},
    start::{Mirror, RootMeta, Site, look},
};
use crate::{Error, marker_store::Etag};
use elanus_types::{Epoch, Failure, NodeId, RootHold};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;
use uuid::Uuid;

/// Pause between two renewals, in milliseconds.
pub const RENEW_EVERY_MS: i64 = 10_000;
/// Nothing is deleted when the marker was confirmed longer ago (OW-2).
pub const DELETE_WITHIN_MS: i64 = 30_000;
/// Nothing is written when the store was heard longer ago (OW-3).
pub const WRITE_WITHIN_MS: i64 = 60_000;

/// What a renewal does while the metadata is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    /// The marker shows a living owner all the same, with the counter that it has.
    May,
    /// Nothing: the counter must be raised.
    Must,
}

const LATER_PROCESS: &str = "a later process of this cluster, as the metadata says";

/// What a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// Of this process from now on.
    pub epoch: Epoch,
    /// The hold that was there.
    pub ended: Option<RootHold>,
}

/// The owner of a root path. Clones are the same owner.
#[derive(Clone)]
pub struct Ownership(Arc<Inner>);

struct Inner {
    site: Site,
    meta: Arc<dyn RootMeta>,
    cluster_id: Uuid,
    holder: NodeId,
    capabilities: Capabilities,
    state: Mutex<State>,
    /// One renewal at a time.
    turn: tokio::sync::Mutex<()>,
    fenced: watch::Sender<Option<String>>,
}

#[derive(Clone)]
struct State {
    /// Of this process; only a reconciliation changes it.
    term: Term,
    /// The marker as this process wrote or read it last.
    marker: Option<(Marker, Etag)>,
    /// What the metadata said before this process took over; `None` once the marker was confirmed.
    before: Option<MetaView>,
    /// When the marker was known to be mine.
    confirmed_ms: Option<i64>,
    /// When the store said that the marker is mine or nobody's.
    heard_ms: i64,
    skew_ms: i64,
    /// Why the marker is not confirmed.
    freeze: Option<Freeze>,
    /// What the metadata was told to remember last, beside the etag.
    mirrored: Option<(Epoch, Option<RootHold>)>,
}

/// How an owner is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The owner.
    pub cluster_id: Uuid,
    /// Of this process.
    pub epoch: Epoch,
    /// Of the root path.
    pub location: String,
    /// Why nothing is deleted; `None`: deletes are on.
    pub frozen: Option<Freeze>,
    /// Writes are on.
    pub writes: bool,
    /// When the marker was confirmed, by this machine's clock, in milliseconds since 1970.
    pub confirmed_ms: Option<i64>,
    /// What the store can do.
    pub capabilities: Capabilities,
}

impl Ownership {
    pub(super) fn owner(
        site: &Site,
        meta: &Arc<dyn RootMeta>,
        holder: &NodeId,
        probed: Probed,
        marker: Marker,
        etag: Etag,
    ) -> Self {
        let now_ms = site.clock.now_ms();
        let cluster_id = marker.cluster_id;
        let state = State {
            term: marker.term(),
            mirrored: Some((marker.epoch, marker.hold)),
            marker: Some((marker, etag)),
            before: None,
            confirmed_ms: Some(now_ms),
            heard_ms: now_ms,
            skew_ms: probed.skew_ms,
            freeze: None,
        };
        Self::new(site, meta, holder, cluster_id, probed, state)
    }

    pub(super) fn frozen(
        site: &Site,
        meta: &Arc<dyn RootMeta>,
        holder: &NodeId,
        term: Term,
        probed: Probed,
        before: MetaView,
        freeze: Freeze,
    ) -> Self {
        let cluster_id = before.cluster_id;
        let state = State {
            term,
            mirrored: None,
            marker: None,
            before: Some(before),
            confirmed_ms: None,
            heard_ms: site.clock.now_ms(),
            skew_ms: probed.skew_ms,
            freeze: Some(freeze),
        };
        Self::new(site, meta, holder, cluster_id, probed, state)
    }

    fn new(
        site: &Site,
        meta: &Arc<dyn RootMeta>,
        holder: &NodeId,
        cluster_id: Uuid,
        probed: Probed,
        state: State,
    ) -> Self {
        Self(Arc::new(Inner {
            site: site.clone(),
            meta: Arc::clone(meta),
            cluster_id,
            holder: holder.clone(),
            capabilities: probed.capabilities,
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::default(),
            fenced: watch::Sender::new(None),
        }))
    }

    /// The cluster.
    #[must_use]
    pub fn cluster_id(&self) -> Uuid {
        self.0.cluster_id
    }

    /// Of this process.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.state().term.epoch
    }

    /// May objects be deleted? To be asked before every delete request, and before anything is claimed for deletion
    /// (OW-2). Looks at the marker when the last look is too old.
    ///
    /// # Errors
    /// [`Frozen`], with what an operator is to do.
    pub async fn confirm_for_delete(&self) -> Result<(), Frozen> {
        if matches!(self.delete_freeze(), Some(Freeze::NotConfirmed { .. } | Freeze::Unreadable(_))) {
            // Its outcome is in the state.
            let _ = self.renew().await;
        }
        match self.delete_freeze() {
            None => Ok(()),
            Some(why) => Err(Frozen { what: "deletes", why }),
        }
    }

    /// May objects be written? (OW-3)
    ///
    /// # Errors
    /// [`Frozen`], with what an operator is to do.
    pub fn may_write(&self) -> Result<(), Frozen> {
        match self.write_freeze() {
            None => Ok(()),
            Some(why) => Err(Frozen { what: "writes", why }),
        }
    }

    /// Returns when this process has lost the root path, with the new owner (OW-4). It is to end then.
    pub async fn fenced(&self) -> String {
        let mut fenced = self.0.fenced.subscribe();
        loop {
            if let Some(by) = fenced.borrow_and_update().clone() {
                return by;
            }
            if fenced.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            cluster_id: self.0.cluster_id,
            epoch: self.epoch(),
            location: self.0.site.location.clone(),
            frozen: self.delete_freeze(),
            writes: self.write_freeze().is_none(),
            confirmed_ms: self.0.state().confirmed_ms,
            capabilities: self.0.capabilities,
        }
    }

    /// The former owner whose folder may be emptied, by a marker that was written a moment ago.
    ///
    /// # Errors
    /// Why it may not, for people.
    pub async fn purgeable(&self, cluster: Uuid) -> Result<FormerOwner, String> {
        self.mark().await.map_err(|freeze| freeze.to_string())?;
        let marker = self.0.state().marker.clone();
        let (marker, _) = marker.ok_or_else(|| Freeze::MarkerMissing.to_string())?;
        purgeable(&marker, cluster).cloned().map_err(|why| why.to_string())
    }

    /// Ends the hold on restored metadata, when somebody has reconciled it, under a new epoch: whatever another copy of the
    /// metadata decided before is behind. The epoch is raised in the metadata, then the marker is written without the hold,
    /// then the metadata forgets it: dying in between leaves the hold. Done again, it is another epoch and nothing else.
    ///
    /// # Errors
    /// When the marker could not be written: the hold stays.
    pub async fn reconciled(&self) -> Result<Reconciled, Frozen> {
        let _turn = self.0.turn.lock().await;
        self.0.reconciled().await.map_err(|why| Frozen { what: "deletes", why })
    }

    /// One renewal: writes the marker again, or finds out why it cannot (OW-4, OW-5). Every [`RENEW_EVERY_MS`].
    ///
    /// # Errors
    /// Why the marker is not confirmed.
    pub async fn renew(&self) -> Result<(), Freeze> {
        let _turn = self.0.turn.lock().await;
        self.0.renew(Counter::May).await
    }

    /// A renewal after which every backup from before is known as one: between a claim and its delete, and after an undo
    /// (OW-9).
    ///
    /// # Errors
    /// Why it is not; also when the metadata is away.
    pub async fn mark(&self) -> Result<(), Freeze> {
        let _turn = self.0.turn.lock().await;
        self.0.renew(Counter::Must).await
    }

    fn delete_freeze(&self) -> Option<Freeze> {
        if let Some(fenced) = self.0.fenced_freeze() {
            return Some(fenced);
        }
        let now_ms = self.0.site.clock.now_ms();
        let state = self.0.state();
        if let Some(freeze) = &state.freeze {
            return Some(freeze.clone());
        }
        if let Some(hold) = state.marker.as_ref().and_then(|(marker, _)| marker.hold) {
            return Some(Freeze::Hold(hold));
        }
        if state.skew_ms.abs() > SKEW_MAX_MS {
            return Some(Freeze::ClockSkew { skew_ms: state.skew_ms });
        }
        stale(now_ms, state.confirmed_ms.unwrap_or(i64::MIN / 2), DELETE_WITHIN_MS)
    }

    fn write_freeze(&self) -> Option<Freeze> {
        let now_ms = self.0.site.clock.now_ms();
        let heard_ms = self.0.state().heard_ms;
        self.0.fenced_freeze().or_else(|| stale(now_ms, heard_ms, WRITE_WITHIN_MS))
    }
}

fn away(failure: &Failure) -> Freeze {
    Freeze::Unreadable(format!("the metadata did not answer: {}", failure.message))
}

/// A clock that went back proves nothing either.
pub(super) fn stale(now_ms: i64, seen_ms: i64, within_ms: i64) -> Option<Freeze> {
    let age_ms = now_ms - seen_ms;
    if (0..=within_ms).contains(&age_ms) { None } else { Some(Freeze::NotConfirmed { seconds: age_ms.abs() / 1_000 }) }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fenced_freeze(&self) -> Option<Freeze> {
        self.fenced.borrow().clone().map(|by| Freeze::Fenced { by })
    }

    async fn renew(&self, counter: Counter) -> Result<(), Freeze> {
        if let Some(fenced) = self.fenced_freeze() {
            return Err(fenced);
        }
        let (known, epoch, before) = {
            let state = self.state();
            (state.marker.clone(), state.term.epoch, state.before.clone())
        };
        let known = match before {
            Some(before) => Some(self.first_look(&before).await?),
            None => known,
        };
        // OW-9: first in the metadata.
        let hwm = match self.meta.raise(epoch, known.as_ref().map(|(_, etag)| etag)).await {
            Ok(Some(hwm)) => hwm,
            Ok(None) => return Err(self.fence(LATER_PROCESS.to_owned())),
            Err(failure) if counter == Counter::Must => return Err(away(&failure)),
            Err(failure) => {
                tracing::warn!(error = failure.message, "the marker is renewed without a word of the metadata");
                0 // OW-6: what the marker has stays
            }
        };
        if let Some((marker, etag)) = known
            && self.write(marker, &etag, hwm).await?
        {
            return Ok(());
        }
        let (marker, etag) = self.look_again().await?;
        if self.write(marker, &etag, hwm).await? {
            return Ok(());
        }
        Err(self.freeze(Freeze::Unreadable("somebody else writes it at the same time".to_owned())))
    }

    async fn reconciled(&self) -> Result<Reconciled, Freeze> {
        // Also finds out that this process is fenced, before it takes anything.
        self.renew(Counter::Must).await?;
        let epoch = self.state().term.epoch;
        let Some(taken) = self.meta.next_term(epoch).await.map_err(|failure| away(&failure))? else {
            return Err(self.fence(LATER_PROCESS.to_owned()));
        };
        self.state().term = taken.term.clone();
        // Only a marker that was written without the hold ends it here.
        let known = self.state().marker.clone();
        let Some((marker, etag)) = known else { return Err(self.freeze(Freeze::MarkerMissing)) };
        let ended = marker.hold.filter(|hold| *hold == RootHold::Restored);
        let hold = marker.hold.filter(|hold| *hold != RootHold::Restored);
        if !self.write(Marker { hold, ..marker }, &etag, taken.hwm).await? {
            return Err(Freeze::Unreadable("somebody else writes it at the same time; try again".to_owned()));
        }
        tracing::warn!(epoch = taken.term.epoch.0, ended = ended.map(RootHold::label), "the metadata was reconciled");
        Ok(Reconciled { epoch: taken.term.epoch, ended })
    }

    /// True when it was written; false when somebody else wrote since.
    async fn write(&self, marker: Marker, expected: &Etag, hwm: i64) -> Result<bool, Freeze> {
        let before_ms = self.site.clock.now_ms();
        if !self.capabilities.conditional_writes() && !self.seems_unchanged(&marker).await? {
            return Ok(false);
        }
        let (term, skew_ms) = {
            let state = self.state();
            (state.term.clone(), state.skew_ms)
        };
        let next = marker.renewed(&term, hwm, &self.holder.0, before_ms + skew_ms);
        match self.site.store.replace(&Marker::key(), next.to_bytes(), expected).await {
            Ok(written) => {
                self.confirmed(next, written.etag, before_ms, written.store_ms);
                self.mirror().await;
                Ok(true)
            }
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => {
                // Whether it was written is not known; how old the last confirmation is decides.
                let why = chain(&error);
                tracing::warn!(why, "the owner's marker could not be renewed");
                Err(Freeze::Unreadable(why))
            }
        }
    }

    fn confirmed(&self, marker: Marker, etag: Etag, before_ms: i64, store_ms: i64) {
        let skew_ms = skew_ms(&*self.site.clock, before_ms, store_ms);
        let mut state = self.state();
        let was_frozen = state.freeze.take();
        // From before the request: the store decided at some moment after that.
        *state = State {
            term: state.term.clone(),
            mirrored: state.mirrored,
            marker: Some((marker, etag)),
            before: None,
            confirmed_ms: Some(before_ms),
            heard_ms: before_ms,
            skew_ms,
            freeze: None,
        };
        if let Some(freeze) = was_frozen {
            tracing::info!(was = freeze.label(), "the owner's marker is confirmed again");
        }
    }

    /// A store without conditions: read, compare, and write before long.
    async fn seems_unchanged(&self, marker: &Marker) -> Result<bool, Freeze> {
        if let Err(refusal) = claims::claim(&*self.site.store, self.cluster_id, marker).await {
            return Err(match refusal {
                super::Refusal::Claimed { cluster } => self.fence(format!("cluster {cluster}, by its claim file")),
                other => self.freeze(Freeze::Unreadable(other.to_string())),
            });
        }
        let found = look(&self.site, true).await;
        Ok(matches!(found.seen, Seen::Marker(found) if found.nonce == marker.nonce))
    }

    /// The marker, when it is still mine.
    async fn look_again(&self) -> Result<(Marker, Etag), Freeze> {
        let found = look(&self.site, true).await;
        let (before, term) = {
            let state = self.state();
            (state.before.clone(), state.term.clone())
        };
        match (judge_running(&found.seen, self.cluster_id, &term), found.seen, found.etag) {
            (Running::Mine, Seen::Marker(marker), Some(etag)) => Ok((self.as_first_seen(*marker, before), etag)),
            (Running::Fenced { by }, ..) => Err(self.fence(by)),
            (Running::Freeze(freeze), ..) => Err(self.freeze(freeze)),
            (Running::Mine, ..) => Err(self.freeze(Freeze::MarkerMissing)),
        }
    }

    /// The marker, for a process that has not seen it yet. What it says that the metadata do not know is remembered here:
    /// afterwards the counter is raised, and nothing tells any more that it was behind (OW-10).
    async fn first_look(&self, before: &MetaView) -> Result<(Marker, Etag), Freeze> {
        let (marker, etag) = self.look_again().await?;
        if marker.hold.is_some() && marker.hold != before.hold {
            let (location, epoch, hold) = (self.site.location.clone(), marker.epoch, marker.hold);
            let mirror = Mirror { location, epoch, etag: etag.0.clone(), hold };
            self.meta.mirror(&mirror).await.map_err(|failure| self.freeze(away(&failure)))?;
        }
        Ok((marker, etag))
    }

    /// A marker that this process never saw may know more than the metadata did at the start.
    fn as_first_seen(&self, mut marker: Marker, before: Option<MetaView>) -> Marker {
        let Some(before) = before else { return marker };
        let own = self.state().term.epoch;
        let seen = Seen::Marker(Box::new(marker.clone()));
        if let Verdict::Replace { hold: Some(hold) } = judge(&seen, Some(&before), &self.site.location)
            && marker.epoch < own
        {
            if let Some(doubt) = doubt(&marker, &before) {
                tracing::error!(holder = marker.holder, "{doubt}");
            }
            tracing::error!("deletes are off: {}", Freeze::Hold(hold));
            marker.hold = Some(hold);
        }
        marker
    }

    /// OW-4: the first time it is logged, and the process is told to end.
    fn fence(&self, by: String) -> Freeze {
        let first = self.fenced.borrow().is_none();
        if first {
            tracing::error!("the root path {} is lost: it is now owned by {by}", self.site.location);
            self.fenced.send_replace(Some(by.clone()));
        }
        Freeze::Fenced { by }
    }

    fn freeze(&self, freeze: Freeze) -> Freeze {
        let mut state = self.state();
        // Nobody else owns it, as long as nobody's marker is there.
        if freeze == Freeze::MarkerMissing {
            state.heard_ms = self.site.clock.now_ms();
            state.marker = None;
        }
        if state.freeze.as_ref().map(Freeze::label) != Some(freeze.label()) {
            tracing::error!("deletes are off: {freeze}");
        }
        state.freeze = Some(freeze.clone());
        freeze
    }

    /// Best effort: the marker is what counts, the mirror is for when it is gone. The etag alone waits for the next renewal.
    async fn mirror(&self) {
        let Some((marker, etag)) = self.state().marker.clone() else { return };
        let said = Some((marker.epoch, marker.hold));
        if self.state().mirrored == said {
            return;
        }
        let location = self.site.location.clone();
        let mirror = Mirror { location, epoch: marker.epoch, etag: etag.0, hold: marker.hold };
        match self.meta.mirror(&mirror).await {
            Ok(()) => self.state().mirrored = said,
            Err(failure) => {
                tracing::warn!(error = failure.message, "the metadata could not note the owner's marker");
            }
        }
    }
}

impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ownership").field("status", &self.status()).finish()
    }
}

//! The start of a cluster on a root path: look, judge, probe, raise the epoch, write the marker.
//!
//! The marker is read before the metadata. Whoever wrote it had raised epoch and counter in the metadata before, so a marker
//! that is ahead of metadata read later means that the metadata is from the past, and never that another process is just
//! starting. Metadata that is ahead of the marker means nothing: its process died in between.

use super::{
    claims,
    guard::Ownership,
    judge::{Freeze, MetaView, Refusal, Seen, Verdict, doubt, judge},
    marker::{Marker, Term, Unreadable},
    probe::{Capabilities, Probed, Unprobed, chain, probe},
};
use crate::{
    Error, Result,
    marker_store::{Etag, FOLDER, MarkerStore},
};
use async_trait::async_trait;
use elanus_types::{Clock, Epoch, Failure, NodeId, RootHold};
use std::{collections::VecDeque, fmt, sync::Arc};
use uuid::Uuid;

/// Times that a start looks again because somebody else wrote the marker.
const ROUNDS_MAX: usize = 5;
/// Folders above a root path that are looked at for a marker.
const ABOVE_MAX: usize = 32;
/// Folders below a root path that are looked at for a marker, nearest first, three levels deep.
const BELOW_MAX: usize = 64;
const BELOW_LEVELS: usize = 3;
/// What may be in `_elanus/` of a root path that nobody owns: left by a first start that was killed, or by a probe.
const HARMLESS: [&str; 8] =
    ["lock", "marker.lock", "staged", "owner.json.new", "metadata.json", "metadata.json.new", "probe/", "claims/"];
/// File systems put it into the top directory of an empty volume.
const LOST_AND_FOUND: &str = "lost+found/";

/// A root path.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its mutable objects.
    pub store: Arc<dyn MarkerStore>,
    /// How it is called, without secrets: `file:///…`.
    pub location: String,
    /// Files of this cluster's own metadata, where these lie in the same directory.
    pub beside: Vec<String>,
    /// This machine's clock.
    pub clock: Arc<dyn Clock>,
}

/// What the metadata is asked. Durable when it is answered.
#[async_trait]
pub trait RootMeta: Send + Sync + fmt::Debug {
    /// What it says now.
    async fn view(&self) -> Result<MetaView, Failure>;
    /// Raises epoch and counter above its own and above those of the marker, `floor`, and remembers the hold and the new
    /// start, in one transaction. A hold that is there stays.
    async fn take_over(&self, floor: Floor, hold: Option<RootHold>) -> Result<Taken, Failure>;
    /// Raises the epoch of the coordinator that has `epoch`, which goes on under the new one, and the counter; `None` when
    /// an epoch later than this one was given.
    async fn next_term(&self, epoch: Epoch) -> Result<Option<Taken>, Failure>;
    /// Raises the counter; `None` when an epoch later than this one was given. Notes the etag of the marker that was
    /// written last.
    async fn raise(&self, epoch: Epoch, etag: Option<&Etag>) -> Result<Option<i64>, Failure>;
    /// Remembers what the marker says.
    async fn mirror(&self, mirror: &Mirror) -> Result<(), Failure>;
}

/// What is in the marker, and is exceeded by whoever takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its counter; `None`: it was not seen, so that of the metadata must stay as it is, or nothing would tell later that
    /// it was behind (OW-10).
    pub hwm: Option<i64>,
}

impl Floor {
    pub(super) fn of(marker: &Marker) -> Self {
        Self { epoch: marker.epoch, hwm: Some(marker.meta_hwm) }
    }
}

/// A new epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// It, and the start that has it.
    pub term: Term,
    /// The counter of the metadata.
    pub hwm: i64,
}

/// What the metadata remembers of the marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Of the root path.
    pub location: String,
    /// In the marker.
    pub epoch: Epoch,
    /// Of the marker.
    pub etag: String,
    /// In the marker.
    pub hold: Option<RootHold>,
}

/// Why a cluster did not start on a root path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An operator must change something; nothing was changed.
    #[error("the root path {location} is refused: {refusal}")]
    Refused {
        /// Of the root path.
        location: String,
        /// Why.
        refusal: Refusal,
    },
    /// The metadata did not answer.
    #[error("the metadata did not answer: {}", .0.message)]
    Meta(Failure),
    /// The store did not answer.
    #[error("the owner's marker of {location} could not be written")]
    Store {
        /// Of the root path.
        location: String,
        /// What it said.
        source: Error,
    },
    /// Others write the marker all the time.
    #[error("other processes keep writing the owner's marker of {location}: is a second one of this cluster starting?")]
    Contended {
        /// Of the root path.
        location: String,
    },
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        Self::Meta(failure)
    }
}

/// What was found at a root path.
#[derive(Clone, Debug)]
pub struct Look {
    /// What it is.
    pub seen: Seen,
    /// Of the marker, also of one that cannot be understood.
    pub etag: Option<Etag>,
}

impl Site {
    pub(super) fn refuse(&self, refusal: Refusal) -> StartError {
        StartError::Refused { location: self.location.clone(), refusal }
    }

    pub(super) fn failed(&self, source: Error) -> StartError {
        StartError::Store { location: self.location.clone(), source }
    }
}

/// Looks at a root path and changes nothing. `ours`: the metadata is this cluster's, so its files may lie there.
pub async fn look(site: &Site, ours: bool) -> Look {
    let unreadable = |error: &Error| Look { seen: Seen::Unreadable(chain(error)), etag: None };
    let found = match site.store.read(&Marker::key()).await {
        Ok(found) => found,
        Err(error) => return unreadable(&error),
    };
    let Some(found) = found else {
        return match is_empty(site, ours).await {
            Ok(empty) => Look { seen: Seen::Absent { empty }, etag: None },
            Err(error) => unreadable(&error),
        };
    };
    let seen = match Marker::read(&found.bytes) {
        Ok(marker) => Seen::Marker(Box::new(marker)),
        Err(Unreadable::Newer(version)) => Seen::Newer(version),
        Err(Unreadable::Damaged(why)) => Seen::Unreadable(format!("it is damaged: {why}")),
    };
    Look { seen, etag: Some(found.etag) }
}

async fn is_empty(site: &Site, ours: bool) -> Result<bool> {
    let mine = |name: &String| ours && site.beside.contains(name);
    let top = site.store.list("").await?;
    let own_folder = format!("{FOLDER}/");
    if top.iter().any(|name| *name != own_folder && name != LOST_AND_FOUND && !mine(name)) {
        return Ok(false);
    }
    let inside = site.store.list(FOLDER).await?;
    Ok(inside.iter().all(|name| HARMLESS.contains(&name.as_str())))
}

/// Refuses a root path that lies in another one, or has another one in it. Changes nothing. What may not be listed is
/// passed over: it is somebody else's business.
///
/// # Errors
/// [`Refusal::Overlap`].
pub async fn check_overlap(site: &Site) -> Result<(), Refusal> {
    let marked = async |folder: &str| {
        let folder = if folder.is_empty() { FOLDER.to_owned() } else { format!("{folder}/{FOLDER}") };
        match site.store.list(&folder).await {
            Ok(names) if names.iter().any(|name| name == "owner.json") => {
                Err(Refusal::Overlap { marker: format!("{folder}/owner.json") })
            }
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(folder, %error, "not looked at for another root path");
                Ok(())
            }
        }
    };
    for above in 1..=ABOVE_MAX {
        marked(&vec![".."; above].join("/")).await?;
    }
    let (mut waiting, mut looked_at) = (VecDeque::from([(String::new(), 0)]), 0);
    while let Some((folder, level)) = waiting.pop_front() {
        if level > 0 {
            looked_at += 1;
            marked(&folder).await?;
        }
        if level == BELOW_LEVELS || looked_at == BELOW_MAX {
            continue;
        }
        let names = site.store.list(&folder).await.unwrap_or_default();
        // A namespace holds objects of one cluster and no root path.
        let folders = names.iter().filter_map(|name| name.strip_suffix('/'));
        let folders = folders.filter(|name| *name != FOLDER && Uuid::parse_str(name).is_err());
        let below = folders.map(|name| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") });
        let room = BELOW_MAX.saturating_sub(looked_at + waiting.len());
        waiting.extend(below.take(room).map(|folder| (folder, level + 1)));
    }
    Ok(())
}

/// Looks and judges before anything is opened or made: for metadata that may not exist yet.
///
/// # Errors
/// [`StartError::Refused`]; nothing was changed.
pub async fn check(site: &Site, meta: Option<&MetaView>) -> Result<(), StartError> {
    let found = look(site, meta.is_some()).await;
    match judge(&found.seen, meta, &site.location) {
        Verdict::Refuse(refusal) => Err(site.refuse(refusal)),
        Verdict::Create { .. } | Verdict::Replace { .. } | Verdict::Freeze(_) => {
            check_overlap(site).await.map_err(|refusal| site.refuse(refusal))
        }
    }
}

/// Makes this process the owner of the root path, or says why it cannot be.
///
/// # Errors
/// When it is refused (OW-1: then nothing but probes was written), or a store is away.
pub async fn start(site: &Site, meta: Arc<dyn RootMeta>, holder: &NodeId) -> Result<Ownership, StartError> {
    let view = meta.view().await?;
    check(site, Some(&view)).await?; // OW-1
    let probed = match probe(&*site.store, &*site.clock).await {
        Ok(probed) => probed,
        Err(Unprobed::Refused(refusal)) => return Err(site.refuse(refusal)),
        Err(Unprobed::Away(why)) if view.location.is_none() => {
            return Err(site.refuse(Refusal::Unreadable { why }));
        }
        // OW-5. What it could do the last time, it is trusted to be able to do.
        Err(Unprobed::Away(why)) => {
            tracing::error!(location = site.location, why, "the object store does not answer");
            let capabilities =
                Capabilities { conditional_create: true, conditional_replace: true, ..Capabilities::default() };
            Probed { capabilities, skew_ms: 0 }
        }
    };
    if !probed.capabilities.conditional_writes() {
        tracing::warn!(
            location = site.location,
            "this object store has no conditional writes: a second cluster on this root path may not be noticed at once. \
             Objects are safe all the same, because every cluster has a folder of its own"
        );
    }
    for _ in 0..ROUNDS_MAX {
        if let Some(ownership) = attempt(site, &meta, holder, probed).await? {
            return Ok(ownership);
        }
    }
    Err(StartError::Contended { location: site.location.clone() })
}

/// `None` when somebody else wrote the marker meanwhile.
async fn attempt(
    site: &Site,
    meta: &Arc<dyn RootMeta>,
    holder: &NodeId,
    probed: Probed,
) -> Result<Option<Ownership>, StartError> {
    let found = look(site, true).await;
    let view = meta.view().await?; // after the marker
    let (verdict, mut marker) = match (judge(&found.seen, Some(&view), &site.location), found.seen) {
        (Verdict::Refuse(refusal), _) => return Err(site.refuse(refusal)),
        (verdict, Seen::Marker(marker)) => (verdict, *marker),
        (verdict, _) => (verdict, Marker::new(view.cluster_id)),
    };
    if !probed.capabilities.conditional_writes() {
        let claimed = claims::claim(&*site.store, view.cluster_id, &marker).await;
        claimed.map_err(|refusal| site.refuse(refusal))?;
    }
    let hold = match &verdict {
        Verdict::Create { hold } | Verdict::Replace { hold } => *hold,
        Verdict::Freeze(_) | Verdict::Refuse(_) => view.hold,
    };
    if let Some(doubt) = doubt(&marker, &view) {
        tracing::error!(location = site.location, holder = marker.holder, "{doubt}");
    }
    let floor = match &verdict {
        Verdict::Freeze(_) => Floor { hwm: None, ..Floor::of(&marker) },
        Verdict::Create { .. } | Verdict::Replace { .. } | Verdict::Refuse(_) => Floor::of(&marker),
    };
    let taken = meta.take_over(floor, hold).await?; // OW-7: before the marker, with the epoch
    marker.hold = hold;
    marker.capabilities = probed.capabilities;
    let store_ms = site.clock.now_ms() + probed.skew_ms;
    let marker = marker.renewed(&taken.term, taken.hwm, &holder.0, store_ms);
    let written = match &verdict {
        Verdict::Create { .. } => site.store.create(&Marker::key(), marker.to_bytes()).await,
        Verdict::Replace { .. } => {
            let etag = found.etag.unwrap_or(Etag(String::new()));
            site.store.replace(&Marker::key(), marker.to_bytes(), &etag).await
        }
        Verdict::Freeze(freeze) => {
            tracing::error!(location = site.location, "deletes are off: {freeze}");
            return Ok(Some(Ownership::frozen(site, meta, holder, taken.term, probed, view, freeze.clone())));
        }
        Verdict::Refuse(_) => unreachable!("answered above"),
    };
    let etag = match written {
        Ok(written) => written.etag,
        Err(Error::Exists { .. } | Error::Conflict { .. }) => return Ok(None),
        Err(error) => return Err(site.failed(error)),
    };
    let mirror = Mirror { location: site.location.clone(), epoch: taken.term.epoch, etag: etag.0.clone(), hold };
    meta.mirror(&mirror).await?;
    if let Some(hold) = hold {
        tracing::error!(location = site.location, "deletes are off: {}", Freeze::Hold(hold));
    }
    Ok(Some(Ownership::owner(site, meta, holder, probed, marker, etag)))
}

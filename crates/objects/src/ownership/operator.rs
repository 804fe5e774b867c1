//! What `elanus ctl root` does to a marker. Each is one conditional write, decided by what was read before it.

use super::{
    judge::{Refusal, Seen},
    marker::{FormerObjects, Marker},
    probe::{Unprobed, probe},
    start::{Floor, Look, Mirror, RootMeta, Site, StartError, check_overlap, look},
};
use crate::{Error, Result, marker_store::Etag};
use elanus_types::{Epoch, RootHold};
use uuid::Uuid;

/// Why an operator's wish was not done. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// It is not as the operator expects it to be.
    #[error("{0}; nothing was changed")]
    Unexpected(String),
    /// The store or the metadata did not do it.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<elanus_types::Failure> for OperatorError {
    fn from(failure: elanus_types::Failure) -> Self {
        Self::Start(failure.into())
    }
}

fn unexpected(text: impl Into<String>) -> OperatorError {
    OperatorError::Unexpected(text.into())
}

/// Makes the metadata's cluster the owner of a root path that has no marker, whatever else is there (`root init`).
///
/// # Errors
/// When there is a marker, when it is not empty and `into_nonempty` was not said, or overlaps with another.
pub async fn init(site: &Site, meta: &dyn RootMeta, into_nonempty: bool) -> Result<Marker, OperatorError> {
    check_init(site, true, into_nonempty).await?;
    let capabilities = match probe(&*site.store, &*site.clock).await {
        Ok(probed) => probed.capabilities,
        Err(Unprobed::Refused(refusal)) => return Err(site.refuse(refusal).into()),
        Err(Unprobed::Away(why)) => return Err(site.refuse(Refusal::Unreadable { why }).into()),
    };
    let view = meta.view().await?;
    let taken = meta.take_over(Floor { hwm: Some(0), ..Floor::default() }, None).await?;
    let marker = Marker { hold: view.hold, capabilities, ..Marker::new(view.cluster_id) };
    let marker = marker.renewed(&taken.term, taken.hwm, "elanus ctl root init", site.clock.now_ms());
    create(site, &marker).await.map(|etag| (marker, etag))?.mirrored(site, meta).await
}

/// The part of [`init`] that changes nothing, for metadata that does not exist yet as well.
///
/// # Errors
/// As [`init`].
pub async fn check_init(site: &Site, ours: bool, into_nonempty: bool) -> Result<(), OperatorError> {
    match look(site, ours).await.seen {
        Seen::Absent { empty: true } => {}
        Seen::Absent { empty: false } if into_nonempty => {}
        Seen::Absent { empty: false } => {
            return Err(unexpected(
                "the root path is not empty; give --into-nonempty to share it: what is there is never touched",
            ));
        }
        Seen::Marker(marker) => {
            return Err(unexpected(format!("the root path has an owner: cluster {}", marker.cluster_id)));
        }
        Seen::Newer(found) => return Err(site.refuse(Refusal::Newer { found }).into()),
        Seen::Unreadable(why) => return Err(site.refuse(Refusal::Unreadable { why }).into()),
    }
    check_overlap(site).await.map_err(|refusal| site.refuse(refusal).into())
}

/// Takes a root path from another cluster (`root takeover`). Nothing is deleted afterwards until [`decide`].
///
/// # Errors
/// When the owner or its epoch is not the expected one.
pub async fn take(
    site: &Site,
    meta: &dyn RootMeta,
    expected: (Uuid, Epoch),
    reason: &str,
) -> Result<Marker, OperatorError> {
    let (marker, etag) = check_take(site, Some(meta.view().await?.cluster_id), expected).await?;
    let view = meta.view().await?;
    // OW-7: should this process die here, the hold is in the metadata. OW-6: above the old owner's epoch.
    // Counters of two clusters have nothing to do with each other.
    let floor = Floor { epoch: marker.epoch, hwm: Some(0) };
    let taken = meta.take_over(floor, Some(RootHold::Quarantined)).await?;
    let now_ms = site.clock.now_ms();
    let marker = marker.taken_by(view.cluster_id, reason, now_ms);
    let marker = marker.renewed(&taken.term, taken.hwm, "elanus ctl root takeover", now_ms);
    replace(site, &marker, &etag).await.map(|etag| (marker, etag))?.mirrored(site, meta).await
}

/// The part of [`take`] that changes nothing. `cluster`: whose metadata it is, when it exists.
///
/// # Errors
/// As [`take`].
pub async fn check_take(
    site: &Site,
    cluster: Option<Uuid>,
    (expected, epoch): (Uuid, Epoch),
) -> Result<(Marker, Etag), OperatorError> {
    let Look { seen, etag } = look(site, cluster.is_some()).await;
    let (Seen::Marker(marker), Some(etag)) = (seen, etag) else {
        return Err(unexpected("the root path has no marker that can be read, so there is nobody to take it from"));
    };
    if Some(marker.cluster_id) == cluster {
        return Err(unexpected(format!("the root path belongs to this cluster already: {}", marker.cluster_id)));
    }
    if marker.cluster_id != expected {
        return Err(unexpected(format!("the root path belongs to cluster {}, not to {expected}", marker.cluster_id)));
    }
    if marker.epoch != epoch {
        return Err(unexpected(format!(
            "the owner has epoch {}, not {}: it has started since you looked, so it is alive",
            marker.epoch.0, epoch.0
        )));
    }
    Ok((*marker, etag))
}

/// Says what becomes of the objects of former owners, and ends the quarantine (`root adopt`, `root leave-foreign`).
///
/// # Errors
/// When the root path is not this cluster's, or was never taken from `former`.
pub async fn decide(
    site: &Site,
    meta: &dyn RootMeta,
    former: Option<Uuid>,
    objects: FormerObjects,
) -> Result<Marker, OperatorError> {
    let (marker, etag) = check_decide(site, meta, former, objects).await?;
    let marker = rewritten(marker, site);
    replace(site, &marker, &etag).await.map(|etag| (marker, etag))?.mirrored(site, meta).await
}

/// The part of [`decide`] that changes nothing: the marker as it would be.
///
/// # Errors
/// As [`decide`].
pub async fn check_decide(
    site: &Site,
    meta: &dyn RootMeta,
    former: Option<Uuid>,
    objects: FormerObjects,
) -> Result<(Marker, Etag), OperatorError> {
    let (mut marker, etag) = mine(site, meta).await?;
    let mut decided = 0;
    for owner in &mut marker.former_owners {
        let meant = former.map_or(owner.objects == FormerObjects::Undecided, |former| owner.cluster_id == former);
        if meant {
            owner.objects = objects;
            decided += 1;
        }
    }
    if decided == 0 && (former.is_some() || marker.hold != Some(RootHold::Quarantined)) {
        return Err(unexpected(match former {
            Some(former) => format!("the root path was not taken from cluster {former}"),
            None => "there is no former owner whose objects wait for a decision".to_owned(),
        }));
    }
    let undecided = marker.former_owners.iter().any(|owner| owner.objects == FormerObjects::Undecided);
    if marker.hold == Some(RootHold::Quarantined) && !undecided {
        marker.hold = None;
    }
    Ok((marker, etag))
}

/// Ends the hold on metadata that was restored from a backup (`root repair --metadata-is-complete`).
///
/// # Errors
/// When there is no such hold.
pub async fn release_restored(site: &Site, meta: &dyn RootMeta) -> Result<Marker, OperatorError> {
    let (mut marker, etag) = mine(site, meta).await?;
    if marker.hold != Some(RootHold::Restored) {
        return Err(unexpected("the root path is not held because of restored metadata"));
    }
    marker.hold = None;
    let marker = rewritten(marker, site);
    replace(site, &marker, &etag).await.map(|etag| (marker, etag))?.mirrored(site, meta).await
}

/// Writes the marker again where it is gone or damaged (`root repair`).
///
/// # Errors
/// When there is a marker, or this cluster never owned the root path.
pub async fn repair(site: &Site, meta: &dyn RootMeta) -> Result<Marker, OperatorError> {
    let (marker, etag) = check_repair(site, meta).await?;
    let marker = rewritten(marker, site);
    let written = match &etag {
        None => create(site, &marker).await,
        Some(etag) => replace(site, &marker, etag).await,
    };
    written.map(|etag| (marker, etag))?.mirrored(site, meta).await
}

/// The part of [`repair`] that changes nothing: the marker as it would be, and the etag of a damaged one.
///
/// # Errors
/// As [`repair`].
pub async fn check_repair(site: &Site, meta: &dyn RootMeta) -> Result<(Marker, Option<Etag>), OperatorError> {
    let view = meta.view().await?;
    if view.location.as_deref() != Some(site.location.as_str()) {
        return Err(unexpected(match view.location {
            Some(there) => format!("this metadata owned {there}, not {}", site.location),
            None => format!("this metadata never owned {}; is `root init` meant?", site.location),
        }));
    }
    let Look { seen, etag } = look(site, true).await;
    match seen {
        Seen::Absent { .. } => {}
        Seen::Unreadable(_) if etag.is_some() => {}
        Seen::Unreadable(why) => return Err(site.refuse(Refusal::Unreadable { why }).into()),
        Seen::Newer(found) => return Err(site.refuse(Refusal::Newer { found }).into()),
        Seen::Marker(marker) if marker.cluster_id == view.cluster_id => {
            return Err(unexpected("the marker is there and is this cluster's: there is nothing to repair"));
        }
        Seen::Marker(marker) => {
            return Err(unexpected(format!("the root path belongs to cluster {}", marker.cluster_id)));
        }
    }
    // The counter stays unset: what the lost marker knew is not known, and a running owner sets its own.
    let start_id = view.starts.get(&view.epoch).cloned().unwrap_or_default();
    Ok((Marker { epoch: view.epoch, start_id, hold: view.hold, ..Marker::new(view.cluster_id) }, etag))
}

async fn mine(site: &Site, meta: &dyn RootMeta) -> Result<(Marker, Etag), OperatorError> {
    let view = meta.view().await?;
    let Look { seen, etag } = look(site, true).await;
    match (seen, etag) {
        (Seen::Marker(marker), Some(etag)) if marker.cluster_id == view.cluster_id => Ok((*marker, etag)),
        (Seen::Marker(marker), _) => Err(unexpected(format!(
            "the root path belongs to cluster {}, the metadata to {}",
            marker.cluster_id, view.cluster_id
        ))),
        _ => Err(unexpected("the root path has no marker that can be read; is `root repair` meant?")),
    }
}

/// With a new nonce and everything else as it is: a running owner finds its own numbers in it.
fn rewritten(marker: Marker, site: &Site) -> Marker {
    let (term, hwm, holder) = (marker.term(), marker.meta_hwm, marker.holder.clone());
    let renewed_ms = if marker.renewed_ms == 0 { site.clock.now_ms() } else { marker.renewed_ms };
    marker.renewed(&term, hwm, &holder, renewed_ms)
}

async fn create(site: &Site, marker: &Marker) -> Result<Etag, OperatorError> {
    match site.store.create(&Marker::key(), marker.to_bytes()).await {
        Ok(written) => Ok(written.etag),
        Err(Error::Exists { .. }) => Err(unexpected("somebody created a marker at this moment")),
        Err(error) => Err(site.failed(error).into()),
    }
}

async fn replace(site: &Site, marker: &Marker, etag: &Etag) -> Result<Etag, OperatorError> {
    match site.store.replace(&Marker::key(), marker.to_bytes(), etag).await {
        Ok(written) => Ok(written.etag),
        Err(Error::Conflict { .. }) => Err(unexpected("the marker was renewed at this moment; try again")),
        Err(error) => Err(site.failed(error).into()),
    }
}

trait Mirrored {
    async fn mirrored(self, site: &Site, meta: &dyn RootMeta) -> Result<Marker, OperatorError>;
}

impl Mirrored for (Marker, Etag) {
    async fn mirrored(self, site: &Site, meta: &dyn RootMeta) -> Result<Marker, OperatorError> {
        let (marker, etag) = self;
        let location = site.location.clone();
        let mirror = Mirror { location, epoch: marker.epoch, etag: etag.0, hold: marker.hold };
        meta.mirror(&mirror).await?;
        Ok(marker)
    }
}

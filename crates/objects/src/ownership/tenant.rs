//! A process of the cluster that writes below the root path and does not own it: a data node. The coordinator renews the
//! marker; whoever else writes looks at it (OW-11).
//!
//! It does not ask for the coordinator's epoch: what a tenant writes is committed in the metadata, which fence by intents
//! and generations, and its keys are below its own cluster's folder. The marker says whether that folder is still in use.

use super::{
    judge::{Freeze, Frozen, MetaView, Refusal, Seen},
    start::{RootMeta, Site, StartError, look},
};
use crate::ownership::guard::{WRITE_WITHIN_MS, stale};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// What a marker means to a process that is not the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may write.
    Allowed,
    /// Not now: the coordinator has never started, or the store does not say.
    Wait {
        /// Why.
        why: String,
    },
    /// The wrong place, or not this cluster's any more.
    Refused(Refusal),
}

/// Judges what was seen at `location`. Pure.
#[must_use]
pub fn stand(seen: &Seen, meta: &MetaView, location: &str) -> Standing {
    let there = meta.location.as_deref();
    // A directory may have other names on other machines; a bucket has one.
    let elsewhere = there.filter(|there| *there != location && there.starts_with("s3:") && location.starts_with("s3:"));
    let copy = || Refusal::Copy { location: there.unwrap_or_default().to_owned() };
    match seen {
        Seen::Newer(found) => Standing::Refused(Refusal::Newer { found: *found }),
        Seen::Unreadable(why) => Standing::Wait { why: why.clone() },
        Seen::Marker(marker) if marker.cluster_id != meta.cluster_id => {
            Standing::Refused(Refusal::AnotherCluster(marker.clone()))
        }
        Seen::Marker(_) if elsewhere.is_some() => Standing::Refused(copy()),
        Seen::Marker(marker) if marker.epoch < meta.marker_epoch => Standing::Refused(copy()),
        Seen::Marker(_) => Standing::Allowed,
        Seen::Absent { empty } => match there {
            None => Standing::Wait { why: "no coordinator has started yet: start elanus datacoord".to_owned() },
            Some(there) if there != location && (*empty || elsewhere.is_some()) => {
                Standing::Refused(Refusal::OtherPlace { location: there.to_owned() })
            }
            // OW-5: it stops deletes and nothing else.
            Some(_) => Standing::Allowed,
        },
    }
}

/// A process that writes below the root path of its cluster. Clones are the same process.
#[derive(Clone)]
pub struct Tenant(Arc<Inner>);

struct Inner {
    site: Site,
    meta: Arc<dyn RootMeta>,
    state: Mutex<State>,
    fenced: watch::Sender<Option<String>>,
}

/// What the last look said.
#[derive(Clone, Debug, Default)]
struct State {
    /// When it was allowed to write, in milliseconds since 1970.
    allowed_ms: Option<i64>,
    /// Why it was not, the last time.
    why_not: Option<String>,
}

impl Tenant {
    /// Looks for the first time. Whoever has to wait for the coordinator starts all the same, and writes later.
    ///
    /// # Errors
    /// When the place is not this cluster's; when the metadata is away. Nothing was changed.
    pub async fn enter(site: &Site, meta: Arc<dyn RootMeta>) -> Result<Self, StartError> {
        let (state, fenced) = (Mutex::default(), watch::Sender::new(None));
        let tenant = Self(Arc::new(Inner { site: site.clone(), meta, state, fenced }));
        match ask(site, &*tenant.0.meta).await? {
            Standing::Refused(refusal) => Err(site.refuse(refusal)),
            standing => {
                tenant.0.heard(standing);
                Ok(tenant)
            }
        }
    }

    /// For a process that only reads: looks whether the place is this cluster's.
    ///
    /// # Errors
    /// As [`Tenant::enter`].
    pub async fn check(site: &Site, meta: &dyn RootMeta) -> Result<(), StartError> {
        match ask(site, meta).await? {
            Standing::Refused(refusal) => Err(site.refuse(refusal)),
            Standing::Allowed | Standing::Wait { .. } => Ok(()),
        }
    }

    /// One look at the marker, every [`super::guard::RENEW_EVERY_MS`], or sooner while it may not write.
    ///
    /// # Errors
    /// Why it may not write.
    pub async fn look(&self) -> Result<(), String> {
        match ask(&self.0.site, &*self.0.meta).await {
            Ok(standing) => self.0.heard(standing),
            Err(StartError::Meta(failure)) => return Err(failure.message),
            Err(other) => return Err(other.to_string()),
        }
        self.may_write().map_err(|frozen| frozen.to_string())
    }

    /// May objects be written? (OW-3)
    ///
    /// # Errors
    /// [`Frozen`], with what an operator is to do.
    pub fn may_write(&self) -> Result<(), Frozen> {
        let frozen = |why| Err(Frozen { what: "writes", why });
        if let Some(by) = self.0.fenced.borrow().clone() {
            return frozen(Freeze::Fenced { by });
        }
        let now_ms = self.0.site.clock.now_ms();
        let state = self.0.state();
        match (state.allowed_ms, &state.why_not) {
            (None, why) => frozen(Freeze::Unreadable(why.clone().unwrap_or_default())),
            (Some(allowed_ms), _) => stale(now_ms, allowed_ms, WRITE_WITHIN_MS).map_or(Ok(()), frozen),
        }
    }

    /// True when the last look allowed it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let state = self.0.state();
        state.allowed_ms.is_some() && state.why_not.is_none()
    }

    /// True once it was allowed to write.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.state().allowed_ms.is_some()
    }

    /// Of the root path.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.0.site.location
    }

    /// Returns when the root path is not this cluster's any more, with why (OW-4). The process is to end then.
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
}

async fn ask(site: &Site, meta: &dyn RootMeta) -> Result<Standing, StartError> {
    // Before the marker: one that is older than what is said here is a copy, and never one that is just being written.
    let view = meta.view().await?;
    let found = look(site, true).await;
    Ok(stand(&found.seen, &view, &site.location))
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, standing: Standing) {
        let now_ms = self.site.clock.now_ms();
        let mut state = self.state();
        match standing {
            Standing::Allowed => *state = State { allowed_ms: Some(now_ms), why_not: None },
            Standing::Wait { why } => {
                if state.why_not.as_ref() != Some(&why) {
                    tracing::warn!("the owner's marker does not allow writes now: {why}");
                }
                state.why_not = Some(why);
            }
            Standing::Refused(refusal) => {
                let by = match refusal {
                    Refusal::AnotherCluster(marker) => format!("cluster {}", marker.cluster_id),
                    other => other.to_string(),
                };
                tracing::error!("the root path {} is lost: {by}", self.site.location);
                self.fenced.send_replace(Some(by));
            }
        }
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant").field("location", &self.0.site.location).field("may_write", &self.may_write()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::{Marker, Term};
    use elanus_types::Epoch;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn meta(location: Option<&str>) -> MetaView {
        let location = location.map(str::to_owned);
        MetaView {
            cluster_id: Uuid::from_u128(1),
            epoch: Epoch(5),
            hwm: 1,
            starts: BTreeMap::new(),
            hold: None,
            location,
            marker_epoch: Epoch(4),
        }
    }

    fn marker(cluster: u128, epoch: i64) -> Seen {
        Seen::Marker(Box::new(Marker::new(Uuid::from_u128(cluster)).renewed(&Term::new(Epoch(epoch)), 1, "node", 5)))
    }

    #[test]
    #[rustfmt::skip]
    fn ow_11_every_row_of_the_table() {
        let short = |standing: Standing| match standing {
            Standing::Allowed => "allowed",
            Standing::Wait { .. } => "wait",
            Standing::Refused(Refusal::Copy { .. }) => "copy",
            Standing::Refused(Refusal::OtherPlace { .. }) => "other place",
            Standing::Refused(_) => "refused",
        };
        let kinds = [None, Some("s3://b/here"), Some("s3://b/there"), Some("file:///there")];
        let table: [(Seen, [&str; 4]); 8] = [
            //                                     never owned  here         another bucket  a directory
            (marker(1, 4),                        ["allowed",   "allowed",   "copy",         "allowed"]),
            (marker(1, 9),                        ["allowed",   "allowed",   "copy",         "allowed"]),
            (marker(1, 3),                        ["copy",      "copy",      "copy",         "copy"]),
            (marker(2, 9),                        ["refused",   "refused",   "refused",      "refused"]),
            (Seen::Newer(9),                      ["refused",   "refused",   "refused",      "refused"]),
            (Seen::Unreadable("503".to_owned()),  ["wait",      "wait",      "wait",         "wait"]),
            (Seen::Absent { empty: true },        ["wait",      "allowed",   "other place",  "other place"]),
            (Seen::Absent { empty: false },       ["wait",      "allowed",   "other place",  "allowed"]),
        ];
        for (seen, expected) in table {
            for (location, expected) in kinds.iter().zip(expected) {
                assert_eq!(short(stand(&seen, &meta(*location), "s3://b/here")), expected, "{seen:?} and {location:?}");
            }
        }
    }
}

//! The format of `_elanus/owner.json`. A reader of an older version refuses a newer marker; see [`super::judge`].

use super::probe::Capabilities;
use bytes::Bytes;
use elanus_types::{Epoch, ObjectKey, RootHold};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What this build writes, and the newest that it reads. 1 had no more than the cluster: it is epoch 0 of that cluster.
pub const FORMAT_VERSION: u32 = 2;
/// Former owners that a marker remembers; the oldest are forgotten first.
const FORMER_OWNERS_MAX: usize = 16;

/// Whose root path it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Of this text.
    pub format_version: u32,
    /// The owner.
    pub cluster_id: Uuid,
    /// Ownership number of the coordinator that wrote it; never falls.
    #[serde(default)]
    pub epoch: Epoch,
    /// The process that wrote it, for people.
    #[serde(default)]
    pub holder: String,
    /// When it was written, by the store's clock, in milliseconds since 1970; 0: never renewed.
    #[serde(default)]
    pub renewed_ms: i64,
    /// The owner is expected to renew it at least this often, in milliseconds.
    #[serde(default)]
    pub lease_ttl_ms: i64,
    /// The counter of the owner's metadata, which every write of the marker raises there first. Metadata whose counter is
    /// lower is from the past. No id that the metadata had given is above it.
    #[serde(default)]
    pub meta_hwm: i64,
    /// The start that has `epoch`; empty in markers of older programs. Metadata that does not know it is a copy.
    #[serde(default)]
    pub start_id: String,
    /// Nothing is deleted while it is set (OW-7).
    #[serde(default)]
    pub hold: Option<RootHold>,
    /// What the store was found to be able to do.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Whom the root path was taken from, oldest first.
    #[serde(default)]
    pub former_owners: Vec<FormerOwner>,
    /// The program, for people.
    #[serde(default, alias = "created_by")]
    pub written_by: String,
    /// New in every write (OW-8).
    #[serde(default)]
    pub nonce: String,
}

/// One start of one process. Two copies of the same metadata may give the same epoch, and never the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Ownership number.
    pub epoch: Epoch,
    /// Made at random; empty where an older program left none.
    pub start_id: String,
}

impl Term {
    /// With an id of its own.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, start_id: Uuid::new_v4().to_string() }
    }
}

/// A cluster that the root path was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerOwner {
    /// Who it was.
    pub cluster_id: Uuid,
    /// Its last epoch.
    pub epoch: Epoch,
    /// When it was taken, by the store's clock, in milliseconds since 1970.
    pub taken_ms: i64,
    /// Why, as the operator said.
    pub reason: String,
    /// What becomes of its objects.
    #[serde(default)]
    pub objects: FormerObjects,
}

/// What becomes of the objects of a former owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormerObjects {
    /// Nobody has said yet.
    #[default]
    Undecided,
    /// They are somebody else's and are never touched.
    LeftForeign,
    /// They belong to whoever owns the root path now, who may purge them.
    Adopted,
}

impl FormerObjects {
    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Undecided => "undecided",
            Self::LeftForeign => "left_foreign",
            Self::Adopted => "adopted",
        }
    }
}

/// Why a text is no marker that this build can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A later format.
    Newer(u32),
    /// Not a marker at all.
    Damaged(String),
}

/// Read first, because a newer format may have other fields.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

impl Marker {
    /// The first marker of a cluster; `renewed_ms`, the holder and the nonce are set by [`Marker::renewed`].
    #[must_use]
    pub fn new(cluster_id: Uuid) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            cluster_id,
            epoch: Epoch(0),
            holder: String::new(),
            renewed_ms: 0,
            lease_ttl_ms: 0,
            meta_hwm: 0,
            start_id: String::new(),
            hold: None,
            capabilities: Capabilities::default(),
            former_owners: Vec::new(),
            written_by: String::new(),
            nonce: String::new(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn key() -> ObjectKey {
        ObjectKey::parse("_elanus/owner.json").expect("a constant key")
    }

    /// Reads a marker of this or an older format.
    ///
    /// # Errors
    /// When it is a newer one, or none.
    pub fn read(text: &[u8]) -> Result<Self, Unreadable> {
        let damaged = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
        let found = serde_json::from_slice::<Version>(text).map_err(damaged)?.format_version;
        if found > FORMAT_VERSION {
            return Err(Unreadable::Newer(found));
        }
        serde_json::from_slice(text).map_err(damaged)
    }

    /// As it is written next: with a new nonce (OW-8), never with a lower epoch or high-water mark (OW-6).
    #[must_use]
    pub fn renewed(mut self, term: &Term, meta_hwm: i64, holder: &str, store_ms: i64) -> Self {
        self.format_version = FORMAT_VERSION;
        if term.epoch >= self.epoch {
            (self.epoch, self.start_id) = (term.epoch, term.start_id.clone()); // OW-6
        }
        self.meta_hwm = self.meta_hwm.max(meta_hwm); // OW-6
        holder.clone_into(&mut self.holder);
        self.renewed_ms = store_ms;
        self.lease_ttl_ms = super::guard::WRITE_WITHIN_MS;
        self.written_by = concat!("elanus ", env!("CARGO_PKG_VERSION")).to_owned();
        self.nonce = Uuid::new_v4().to_string(); // OW-8
        self
    }

    /// The start that wrote it.
    #[must_use]
    pub fn term(&self) -> Term {
        Term { epoch: self.epoch, start_id: self.start_id.clone() }
    }

    /// The marker after `cluster_id` took the root path from this one's owner: nothing is deleted until somebody says what
    /// becomes of the old objects.
    #[must_use]
    pub fn taken_by(self, cluster_id: Uuid, reason: &str, now_ms: i64) -> Self {
        let Self { cluster_id: former, epoch, mut former_owners, capabilities, .. } = self;
        former_owners.push(FormerOwner {
            cluster_id: former,
            epoch,
            taken_ms: now_ms,
            reason: reason.to_owned(),
            objects: FormerObjects::Undecided,
        });
        let forgotten = former_owners.len().saturating_sub(FORMER_OWNERS_MAX);
        former_owners.drain(..forgotten);
        Self { epoch, former_owners, capabilities, hold: Some(RootHold::Quarantined), ..Self::new(cluster_id) }
    }

    /// As text.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        serde_json::to_vec_pretty(self).expect("a marker is plain data").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_and_every_write_is_another_text() {
        let marker = Marker::new(Uuid::new_v4()).renewed(&Term::new(Epoch(3)), 17, "node", 1_000);
        assert_eq!(Marker::read(&marker.to_bytes()), Ok(marker.clone()));
        let again = marker.clone().renewed(&marker.term(), 17, "node", 1_000);
        assert_ne!(again.to_bytes(), marker.to_bytes(), "OW-8");
    }

    #[test]
    fn ow_6_epoch_and_high_water_mark_never_fall() {
        let marker = Marker::new(Uuid::new_v4()).renewed(&Term::new(Epoch(3)), 17, "node", 1_000);
        let start_id = marker.start_id.clone();
        let later = marker.renewed(&Term::new(Epoch(2)), 16, "node", 2_000);
        assert_eq!((later.epoch, later.meta_hwm, &later.start_id), (Epoch(3), 17, &start_id));
        let taken = later.taken_by(Uuid::new_v4(), "x", 3_000);
        assert_eq!(taken.epoch, Epoch(3));
    }

    #[test]
    fn the_first_format_is_the_cluster_with_epoch_0() {
        let id = Uuid::new_v4();
        let text = format!(r#"{{"format_version": 1, "cluster_id": "{id}", "created_by": "elanus 0.1.0"}}"#);
        let marker = Marker::read(text.as_bytes()).unwrap();
        assert_eq!((marker.cluster_id, marker.epoch, marker.meta_hwm), (id, Epoch(0), 0));
        assert_eq!(marker.start_id, "");
        assert_eq!(marker.written_by, "elanus 0.1.0");
    }

    #[test]
    fn what_is_no_marker_says_so() {
        assert_eq!(Marker::read(br#"{"format_version": 3, "other": []}"#), Err(Unreadable::Newer(3)));
        for bad in ["", "{", "[]", r#"{"format_version": 2}"#, r#"{"format_version": 2, "cluster_id": "x"}"#] {
            assert!(matches!(Marker::read(bad.as_bytes()), Err(Unreadable::Damaged(_))), "{bad}");
        }
    }

    #[test]
    fn a_takeover_remembers_whom_and_why_and_not_without_end() {
        let mut marker = Marker::new(Uuid::new_v4()).renewed(&Term::new(Epoch(3)), 17, "node", 1_000);
        let first = marker.cluster_id;
        marker = marker.taken_by(Uuid::new_v4(), "the disk is gone", 5);
        assert_eq!(
            (marker.former_owners[0].cluster_id, marker.former_owners[0].reason.as_str()),
            (first, "the disk is gone")
        );
        assert_eq!((marker.hold, marker.meta_hwm), (Some(RootHold::Quarantined), 0), "its numbers are its own");
        for _ in 0..30 {
            marker = marker.taken_by(Uuid::new_v4(), "again", 6);
        }
        assert_eq!(marker.former_owners.len(), FORMER_OWNERS_MAX);
    }
}

//! What a marker means to a cluster. Pure; the table of docs/operations.md, and nothing else decides.

use super::marker::{FormerObjects, FormerOwner, Marker, Term};
use elanus_types::{Epoch, RootHold};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    time::{Duration, UNIX_EPOCH},
};
use uuid::Uuid;

/// What was found at a root path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No marker.
    Absent {
        /// Nothing else either.
        empty: bool,
    },
    /// A marker.
    Marker(Box<Marker>),
    /// A marker of a later version.
    Newer(u32),
    /// A marker that is no marker, or a store that does not say.
    Unreadable(String),
}

/// What the metadata says. `None` in its place is metadata that was never written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaView {
    /// Whose metadata.
    pub cluster_id: Uuid,
    /// The last epoch that was given.
    pub epoch: Epoch,
    /// Its counter: no marker that it wrote has a higher one.
    pub hwm: i64,
    /// The starts that it gave an epoch to: all since the marker was seen to be written, and many before.
    pub starts: BTreeMap<Epoch, String>,
    /// A hold that the metadata remembers.
    pub hold: Option<RootHold>,
    /// The root path where it was the owner last; `None`: it never was.
    pub location: Option<String>,
    /// Of the owner's marker, when it was noted last.
    pub marker_epoch: Epoch,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Create the marker: the root path is nobody's.
    Create {
        /// With this hold.
        hold: Option<RootHold>,
    },
    /// Write the marker: it is this cluster's.
    Replace {
        /// With this hold.
        hold: Option<RootHold>,
    },
    /// Serve without a marker of one's own, and delete nothing.
    Freeze(Freeze),
    /// Do not start. Nothing was changed (OW-1).
    Refuse(Refusal),
}

/// Why a cluster may not use a root path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is another cluster's.
    AnotherCluster(Box<Marker>),
    /// Files are there, and no marker.
    NotEmpty,
    /// It is empty, and the metadata belongs to another place.
    OtherPlace {
        /// That place.
        location: String,
    },
    /// The marker was written by a later version.
    Newer {
        /// Its format.
        found: u32,
    },
    /// The marker cannot be read, and this cluster was never the owner.
    Unreadable {
        /// Why not.
        why: String,
    },
    /// A root path lies in another one.
    Overlap {
        /// The other marker, relative to this root path.
        marker: String,
    },
    /// The store does not let this process do what it must be able to do.
    Rights {
        /// `put`, `get`, `list` or `delete`.
        right: &'static str,
        /// What the store said.
        why: String,
    },
    /// The store gives answers that make no sense.
    Store {
        /// Which.
        why: String,
    },
    /// Another cluster has a claim file, in a store without conditional writes.
    Claimed {
        /// That cluster.
        cluster: String,
    },
    /// The marker is older than the one that the metadata remembers, or the place has another name: it is a copy.
    Copy {
        /// Where the owner is.
        location: String,
    },
}

/// Why nothing is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freeze {
    /// See [`RootHold`].
    Hold(RootHold),
    /// The marker is gone.
    MarkerMissing,
    /// The marker or the store cannot be read.
    Unreadable(String),
    /// The store's clock and this machine's differ.
    ClockSkew {
        /// By so much.
        skew_ms: i64,
    },
    /// The marker was not confirmed for so long.
    NotConfirmed {
        /// Seconds.
        seconds: i64,
    },
    /// This process is not the coordinator: it writes, and deletes nothing.
    NotOwner,
    /// Another cluster or a later epoch owns the root path: this process is to end.
    Fenced {
        /// Who.
        by: String,
    },
}

/// How a process stands to a root path, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It owns it, and deletes.
    Owner,
    /// Deletes are off until the marker can be confirmed, or the clocks agree.
    Frozen,
    /// Deletes are off until somebody reconciles.
    Restored,
    /// Deletes are off until somebody says what becomes of a former owner's objects.
    Quarantined,
    /// It lost it.
    Fenced,
    /// It only reads: the root path is, or may be, somebody else's.
    Foreign,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Owner, Self::Frozen, Self::Restored, Self::Quarantined, Self::Fenced, Self::Foreign];

    /// What a reason for which nothing is deleted means; `None`: there is none.
    #[must_use]
    pub fn of(frozen: Option<&Freeze>) -> Self {
        match frozen {
            None => Self::Owner,
            Some(Freeze::Hold(RootHold::Restored)) => Self::Restored,
            Some(Freeze::Hold(RootHold::Quarantined)) => Self::Quarantined,
            Some(Freeze::Fenced { .. }) => Self::Fenced,
            Some(
                Freeze::MarkerMissing
                | Freeze::Unreadable(_)
                | Freeze::ClockSkew { .. }
                | Freeze::NotConfirmed { .. }
                | Freeze::NotOwner,
            ) => Self::Frozen,
        }
    }

    /// For metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Frozen => "frozen",
            Self::Restored => "restored",
            Self::Quarantined => "quarantined",
            Self::Fenced => "fenced",
            Self::Foreign => "foreign",
        }
    }
}

/// Deletes, or writes, are off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} are off: {why}")]
pub struct Frozen {
    /// `deletes` or `writes`.
    pub what: &'static str,
    /// Why.
    pub why: Freeze,
}

/// Why metadata of this cluster cannot be what wrote the marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The marker was written after anything that the metadata knows of: it was restored from a backup.
    Behind {
        /// Epoch and counter in the marker.
        marker: (Epoch, i64),
        /// Epoch and counter of the metadata.
        meta: (Epoch, i64),
    },
    /// The marker was written by a start that the metadata never saw, although its numbers are higher: there are two
    /// copies of it, and both were started.
    Diverged {
        /// Of that start.
        epoch: Epoch,
    },
}

/// Is it this metadata that wrote this cluster's marker last? The numbers tell a backup; the start tells a copy whose
/// numbers went on by themselves.
#[must_use]
pub fn doubt(marker: &Marker, meta: &MetaView) -> Option<Doubt> {
    if marker.cluster_id != meta.cluster_id {
        return None;
    }
    if marker.epoch > meta.epoch || marker.meta_hwm > meta.hwm {
        return Some(Doubt::Behind { marker: (marker.epoch, marker.meta_hwm), meta: (meta.epoch, meta.hwm) });
    }
    let known = marker.start_id.is_empty() || meta.starts.get(&marker.epoch) == Some(&marker.start_id);
    if known { None } else { Some(Doubt::Diverged { epoch: marker.epoch }) }
}

/// The start of a cluster on a root path at `location`.
#[must_use]
pub fn judge(seen: &Seen, meta: Option<&MetaView>, location: &str) -> Verdict {
    let owned_before = meta.and_then(|meta| meta.location.as_deref());
    match (seen, meta) {
        (Seen::Newer(found), _) => Verdict::Refuse(Refusal::Newer { found: *found }),
        (Seen::Marker(marker), Some(meta)) if marker.cluster_id == meta.cluster_id => {
            let doubted = doubt(marker, meta).is_some();
            let hold = if doubted { Some(RootHold::Restored) } else { marker.hold.or(meta.hold) }; // OW-7
            Verdict::Replace { hold }
        }
        (Seen::Marker(marker), _) => Verdict::Refuse(Refusal::AnotherCluster(marker.clone())),
        (Seen::Unreadable(why), _) if owned_before.is_some() => Verdict::Freeze(Freeze::Unreadable(why.clone())), // OW-5
        (Seen::Unreadable(why), _) => Verdict::Refuse(Refusal::Unreadable { why: why.clone() }),
        (Seen::Absent { empty }, meta) => match (owned_before, empty) {
            (None, true) => Verdict::Create { hold: meta.and_then(|meta| meta.hold) },
            (None, false) => Verdict::Refuse(Refusal::NotEmpty),
            (Some(there), true) if there != location => {
                Verdict::Refuse(Refusal::OtherPlace { location: there.to_owned() })
            }
            (Some(_), _) => Verdict::Freeze(Freeze::MarkerMissing), // OW-5
        },
    }
}

/// Why the folder of a cluster is not emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPurge {
    /// The root path is that cluster's.
    #[error("that cluster owns the root path: its folder is never emptied")]
    Owner,
    /// The root path was never taken from it.
    #[error(
        "the root path was not taken from that cluster, as far as the owner's marker knows: its objects are not touched"
    )]
    NeverOwner,
    /// Nobody has said what becomes of its objects.
    #[error("nobody has said what becomes of that cluster's objects: run `elanus ctl root leave-foreign` first")]
    Undecided,
}

/// May the folder of `cluster` be emptied? Only that of a former owner of which somebody has decided.
///
/// # Errors
/// Why not.
pub fn purgeable(marker: &Marker, cluster: Uuid) -> Result<&FormerOwner, NoPurge> {
    if marker.cluster_id == cluster {
        return Err(NoPurge::Owner);
    }
    // It may have taken the root path back, and lost it again.
    let last = marker.former_owners.iter().rev().find(|owner| owner.cluster_id == cluster);
    match last {
        None => Err(NoPurge::NeverOwner),
        Some(owner) if owner.objects == FormerObjects::Undecided => Err(NoPurge::Undecided),
        Some(owner) => Ok(owner),
    }
}

/// What a running owner makes of a marker that is not the one it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Running {
    /// Still mine: go on from this text.
    Mine,
    /// Nobody's, or not to be read.
    Freeze(Freeze),
    /// Somebody else's (OW-4).
    Fenced {
        /// Who.
        by: String,
    },
}

/// The owner `cluster_id` with `term` has lost sight of its marker, and looked.
#[must_use]
pub fn judge_running(seen: &Seen, cluster_id: Uuid, term: &Term) -> Running {
    match seen {
        Seen::Marker(marker) if marker.cluster_id != cluster_id => {
            let Marker { cluster_id, epoch, holder, .. } = &**marker;
            Running::Fenced { by: format!("cluster {cluster_id} (epoch {}, {holder})", epoch.0) }
        }
        Seen::Marker(marker) if marker.epoch > term.epoch => {
            let by = format!("a later process of this cluster (epoch {}, {})", marker.epoch.0, marker.holder);
            Running::Fenced { by }
        }
        Seen::Marker(marker) if marker.epoch == term.epoch && marker.start_id != term.start_id => {
            let Marker { epoch, holder, .. } = &**marker;
            let by = format!("a process with another copy of this cluster's metadata (epoch {}, {holder})", epoch.0);
            Running::Fenced { by }
        }
        // An older epoch of mine: somebody put an old marker back.
        Seen::Marker(_) => Running::Mine,
        Seen::Absent { .. } => Running::Freeze(Freeze::MarkerMissing),
        Seen::Newer(found) => Running::Fenced { by: format!("a newer elanus (marker format {found})") },
        Seen::Unreadable(why) => Running::Freeze(Freeze::Unreadable(why.clone())),
    }
}

impl Freeze {
    /// One word, for programs.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Hold(hold) => hold.label(),
            Self::MarkerMissing => "marker_missing",
            Self::Unreadable(_) => "unreadable",
            Self::ClockSkew { .. } => "clock_skew",
            Self::NotConfirmed { .. } => "not_confirmed",
            Self::NotOwner => "not_owner",
            Self::Fenced { .. } => "fenced",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { marker, meta } => write!(
                f,
                "the metadata is from the past: the owner's marker has epoch {} and counter {}, the metadata {} and {}",
                marker.0.0, marker.1, meta.0.0, meta.1
            ),
            Self::Diverged { epoch } => write!(
                f,
                "there are two copies of this metadata: the owner's marker was written by a start with epoch {} that this \
                 one never saw",
                epoch.0
            ),
        }
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Cow<'_, str> = match self {
            Self::Hold(RootHold::Restored) => "the owner's marker was written by other metadata than this, so the metadata was \
                 restored from a backup, or it is one of two copies: check it with `elanus ctl gc reconcile`, then release it \
                 with `elanus ctl gc reconcile --apply`"
                .into(),
            Self::Hold(RootHold::Quarantined) => "the root path was taken from another cluster and nobody has said what \
                 becomes of its objects: run `elanus ctl root leave-foreign` or `elanus ctl root adopt`"
                .into(),
            Self::MarkerMissing => "the owner's marker _elanus/owner.json is gone: find out who removed it, then run \
                 `elanus ctl root repair`"
                .into(),
            Self::Unreadable(why) => format!("the owner's marker cannot be read ({why}); it is tried again").into(),
            Self::ClockSkew { skew_ms } => {
                format!("the clocks of this machine and of the store differ by {} s: set them right", skew_ms / 1_000).into()
            }
            Self::NotConfirmed { seconds } => {
                format!("the owner's marker was not confirmed for {seconds} s: is the object store reachable?").into()
            }
            Self::NotOwner => "only the coordinator deletes".into(),
            Self::Fenced { by } => format!("the root path is now owned by {by}").into(),
        };
        f.write_str(&text)
    }
}

/// RFC 3339, whole seconds.
fn time(ms: i64) -> String {
    match u64::try_from(ms) {
        Ok(ms) if ms > 0 => humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string(),
        _ => "never".to_owned(),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Cow<'_, str> = match self {
            Self::AnotherCluster(marker) => {
                let Marker { cluster_id, epoch, holder, renewed_ms, .. } = &**marker;
                format!(
                    "it belongs to another cluster: {cluster_id}, epoch {}, holder {}, last renewed {}. Give \
                     this cluster a root path of its own. Only if that cluster is gone for good: elanus ctl root takeover \
                     --expect-cluster {cluster_id} --expect-epoch {} --reason '…'",
                    epoch.0,
                    if holder.is_empty() { "unknown" } else { holder },
                    time(*renewed_ms),
                    epoch.0,
                )
                .into()
            }
            Self::NotEmpty => "it is not empty and was not made by elanus, or its marker is gone while this metadata never owned \
                 it; choose another place, or run `elanus ctl root init --into-nonempty`: what is there is never touched"
                .into(),
            Self::OtherPlace { location } => {
                format!("it is empty, but the metadata belongs to the objects at {location}; give that place").into()
            }
            Self::Newer { found } => format!(
                "it was made by a newer elanus (format {found}, this build knows {}); use that version",
                super::marker::FORMAT_VERSION
            )
            .into(),
            Self::Unreadable { why } => {
                format!("its marker _elanus/owner.json cannot be read ({why}) and this metadata never owned it").into()
            }
            Self::Overlap { marker } => format!(
                "it overlaps with another root path: there is {marker}. Two root paths must not lie in each other; choose \
                 another place"
            )
            .into(),
            Self::Rights { right, why } => format!(
                "the credential may not {right} there ({why}); it needs to put, get, list and delete below the cluster's \
                 folder and _elanus/"
            )
            .into(),
            Self::Store { why } => format!("the store does not do what it answers: {why}").into(),
            Self::Claimed { cluster } => format!(
                "it is claimed by another cluster: {cluster} (_elanus/claims/{cluster}.json). Give this cluster a root path of \
                 its own; if that cluster is gone for good, remove its claim file"
            )
            .into(),
            Self::Copy { location } => format!(
                "it is a copy of {location}, or another place than the coordinator's: give all services the same objects"
            )
            .into(),
        };
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "file:///here";

    fn meta(epoch: i64, hwm: i64, location: Option<&str>) -> MetaView {
        MetaView {
            cluster_id: Uuid::from_u128(1),
            epoch: Epoch(epoch),
            hwm,
            starts: (0..=epoch).map(|epoch| (Epoch(epoch), start_id(epoch))).collect(),
            hold: None,
            location: location.map(str::to_owned),
            marker_epoch: Epoch(epoch - 1),
        }
    }

    fn start_id(epoch: i64) -> String {
        format!("start {epoch}")
    }

    fn marker(cluster: u128, epoch: i64, hwm: i64) -> Marker {
        let term = Term { epoch: Epoch(epoch), start_id: start_id(epoch) };
        Marker::new(Uuid::from_u128(cluster)).renewed(&term, hwm, "node", 5)
    }

    fn seen(marker: Marker) -> Seen {
        Seen::Marker(Box::new(marker))
    }

    fn short(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Create { hold: None } => "create",
            Verdict::Create { hold: Some(_) } => "create, held",
            Verdict::Replace { hold: None } => "replace",
            Verdict::Replace { hold: Some(RootHold::Restored) } => "replace, restored",
            Verdict::Replace { hold: Some(RootHold::Quarantined) } => "replace, quarantined",
            Verdict::Freeze(Freeze::MarkerMissing) => "freeze, missing",
            Verdict::Freeze(_) => "freeze, unreadable",
            Verdict::Refuse(Refusal::AnotherCluster(_)) => "refuse, another",
            Verdict::Refuse(Refusal::NotEmpty) => "refuse, not empty",
            Verdict::Refuse(Refusal::OtherPlace { .. }) => "refuse, other place",
            Verdict::Refuse(Refusal::Newer { .. }) => "refuse, newer",
            Verdict::Refuse(Refusal::Unreadable { .. }) => "refuse, unreadable",
            Verdict::Refuse(_) => "refuse",
        }
    }

    /// Every row of the table: what is there, and what each kind of metadata does about it.
    #[test]
    #[rustfmt::skip]
    fn every_row_of_the_table() {
        let never_written = None;
        let never_owned   = Some(meta(4, 40, None));
        let owned         = Some(meta(4, 40, Some(HERE)));
        let elsewhere     = Some(meta(4, 40, Some("file:///there")));
        let kinds = [never_written, never_owned, owned, elsewhere];
        let by_a_copy     = |epoch, hwm| Marker { start_id: "of a copy".to_owned(), ..marker(1, epoch, hwm) };
        let by_old_build  = |epoch, hwm| Marker { start_id: String::new(), ..marker(1, epoch, hwm) };
        let table: [(Seen, [&str; 4]); 15] = [
            //                                          never written         never owned             owned                 owned elsewhere
            (Seen::Absent { empty: true },             ["create",             "create",               "freeze, missing",    "refuse, other place"]),
            (Seen::Absent { empty: false },            ["refuse, not empty",  "refuse, not empty",    "freeze, missing",    "freeze, missing"]),
            (seen(marker(1, 3, 30)),                   ["refuse, another",    "replace",              "replace",            "replace"]),
            (seen(marker(1, 4, 40)),                   ["refuse, another",    "replace",              "replace",            "replace"]),
            (seen(marker(1, 5, 40)),                   ["refuse, another",    "replace, restored",    "replace, restored",  "replace, restored"]),
            (seen(marker(1, 4, 41)),                   ["refuse, another",    "replace, restored",    "replace, restored",  "replace, restored"]),
            (seen(marker(1, 3, 41)),                   ["refuse, another",    "replace, restored",    "replace, restored",  "replace, restored"]),
            (seen(by_a_copy(4, 40)),                   ["refuse, another",    "replace, restored",    "replace, restored",  "replace, restored"]),
            (seen(by_a_copy(3, 30)),                   ["refuse, another",    "replace, restored",    "replace, restored",  "replace, restored"]),
            (seen(by_old_build(3, 30)),                ["refuse, another",    "replace",              "replace",            "replace"]),
            (seen(marker(2, 1, 10)),                   ["refuse, another",    "refuse, another",      "refuse, another",    "refuse, another"]),
            (seen(marker(2, 9, 90)),                   ["refuse, another",    "refuse, another",      "refuse, another",    "refuse, another"]),
            (seen(Marker { hold: Some(RootHold::Quarantined), ..marker(1, 4, 40) }),
                                                       ["refuse, another",    "replace, quarantined", "replace, quarantined", "replace, quarantined"]),
            (Seen::Unreadable("503".to_owned()),       ["refuse, unreadable", "refuse, unreadable",   "freeze, unreadable", "freeze, unreadable"]),
            (Seen::Newer(3),                           ["refuse, newer",      "refuse, newer",        "refuse, newer",      "refuse, newer"]),
        ];
        for (seen, expected) in &table {
            for (meta, expected) in kinds.iter().zip(expected) {
                assert_eq!(short(&judge(seen, meta.as_ref(), HERE)), *expected, "{seen:?} and {meta:?}");
            }
        }
    }

    #[test]
    fn whoever_deletes_is_the_owner_and_nobody_else_is() {
        let hold = |hold| Some(Freeze::Hold(hold));
        let table = [
            (None, "owner"),
            (hold(RootHold::Restored), "restored"),
            (hold(RootHold::Quarantined), "quarantined"),
            (Some(Freeze::MarkerMissing), "frozen"),
            (Some(Freeze::Unreadable(String::new())), "frozen"),
            (Some(Freeze::ClockSkew { skew_ms: 1 }), "frozen"),
            (Some(Freeze::NotConfirmed { seconds: 1 }), "frozen"),
            (Some(Freeze::Fenced { by: String::new() }), "fenced"),
        ];
        for (frozen, expected) in table {
            assert_eq!(Standing::of(frozen.as_ref()).label(), expected, "{frozen:?}");
        }
    }

    #[test]
    fn ow_7_a_hold_of_the_metadata_holds_too() {
        let held = MetaView { hold: Some(RootHold::Restored), ..meta(4, 40, Some(HERE)) };
        assert_eq!(short(&judge(&seen(marker(1, 3, 30)), Some(&held), HERE)), "replace, restored");
        let held = MetaView { location: None, ..held };
        assert_eq!(short(&judge(&Seen::Absent { empty: true }, Some(&held), HERE)), "create, held");
    }

    #[test]
    fn ow_4_a_running_owner_is_fenced_by_another_cluster_and_by_a_later_epoch_only() {
        let term = Term { epoch: Epoch(4), start_id: start_id(4) };
        let running = |seen: &Seen| judge_running(seen, Uuid::from_u128(1), &term);
        for mine in [marker(1, 4, 40), marker(1, 3, 99)] {
            assert_eq!(running(&seen(mine)), Running::Mine);
        }
        for other in [marker(2, 1, 1), marker(2, 9, 9), marker(1, 5, 40)] {
            assert!(matches!(running(&seen(other)), Running::Fenced { .. }));
        }
        let copy = Marker { start_id: "of a copy".to_owned(), ..marker(1, 4, 40) };
        assert!(matches!(running(&seen(copy)), Running::Fenced { by } if by.contains("another copy")));
        assert!(matches!(running(&Seen::Newer(9)), Running::Fenced { .. }));
        for empty in [false, true] {
            assert_eq!(running(&Seen::Absent { empty }), Running::Freeze(Freeze::MarkerMissing));
        }
        assert!(matches!(running(&Seen::Unreadable("x".to_owned())), Running::Freeze(Freeze::Unreadable(_))));
    }

    #[test]
    fn only_the_folder_of_a_former_owner_of_which_somebody_decided_is_emptied() {
        let (one, two, three) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let mut taken = marker(1, 4, 40).taken_by(two, "burnt", 1);
        assert_eq!(purgeable(&taken, two), Err(NoPurge::Owner));
        assert_eq!(purgeable(&taken, three), Err(NoPurge::NeverOwner));
        assert_eq!(purgeable(&taken, one), Err(NoPurge::Undecided));
        for objects in [FormerObjects::LeftForeign, FormerObjects::Adopted] {
            taken.former_owners[0].objects = objects;
            assert_eq!(purgeable(&taken, one).unwrap().reason, "burnt");
        }
        let back = taken.taken_by(one, "found again", 2);
        assert_eq!(purgeable(&back, one), Err(NoPurge::Owner), "it was a former owner, and is the owner");
        let again = back.taken_by(two, "burnt again", 3);
        assert_eq!(purgeable(&again, one), Err(NoPurge::Undecided), "the last word counts");
    }

    #[test]
    fn a_refusal_says_who_owns_it_since_when_and_what_to_do() {
        let text = Refusal::AnotherCluster(Box::new(marker(2, 7, 1))).to_string();
        for part in [
            "00000000-0000-0000-0000-000000000002",
            "epoch 7",
            "last renewed",
            "elanus ctl root takeover",
            "--expect-epoch 7",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(Refusal::NotEmpty.to_string().contains("root init --into-nonempty"));
        let frozen = Frozen { what: "deletes", why: Freeze::MarkerMissing };
        assert!(frozen.to_string().starts_with("deletes are off: the owner's marker"), "{frozen}");
    }
}

//! Which manifests a new snapshot has: those of an earlier snapshot and what changed since, or everything anew.
//!
//! A manifest is never changed, so any number of snapshots may name it. What a snapshot adds to the manifests of an earlier
//! one costs as much as what changed; writing everything anew is paid for by the changes that made it necessary.

use crate::{ManifestEntry, ManifestRef, Status, Totals};

/// How long manifests and lists of them become.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of one manifest: what one reader takes at once.
    pub entries_max: usize,
    /// Manifests of one snapshot: what a reader must open. A collection that fills more than half of that by itself may
    /// have twice what it fills.
    pub manifests_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries_max: 8_192, manifests_max: 32 }
    }
}

/// What happened between two snapshots. All entries are as they were added.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// In the later one only.
    pub added: Vec<ManifestEntry>,
    /// In the earlier one only.
    pub removed: Vec<ManifestEntry>,
    /// Segments that the later one has more than the earlier one.
    pub segments: i64,
}

/// The manifests of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// Those that are there already, in order.
    pub shared: Vec<ManifestRef>,
    /// Those to be written, in order, behind the shared ones.
    pub written: Vec<Vec<ManifestEntry>>,
    /// Sums over the folded manifests.
    pub totals: Totals,
}

impl Chain {
    /// Everything that there is, in manifests of its own.
    #[must_use]
    pub fn anew(entries: &[ManifestEntry], limits: Limits) -> Self {
        Self { shared: Vec::new(), written: chunks(entries, limits), totals: Totals::of(entries) }
    }

    /// The manifests and totals of an earlier snapshot and what changed since. `None` when all must be written anew: the
    /// list would be too long, more than half of what it adds would be removed again, or the totals do not fit the changes.
    #[must_use]
    pub fn extend(shared: &[ManifestRef], totals: Totals, changes: Changes, limits: Limits) -> Option<Self> {
        let Changes { added, removed, segments } = changes;
        let totals = totals.after(&Totals::of(&added), &Totals::of(&removed), segments)?;
        let sum = |count: fn(&ManifestRef) -> u64| shared.iter().map(count).sum::<u64>();
        let added_num = sum(|manifest| manifest.entries_added) + added.len() as u64;
        let removed_num = sum(|manifest| manifest.entries_removed) + removed.len() as u64;
        let left_num = usize::try_from(added_num.checked_sub(removed_num)?).ok()?;
        let entries: Vec<ManifestEntry> = removed.into_iter().map(ended).chain(added).collect();
        let written = chunks(&entries, limits);
        let manifests_max = limits.manifests_max.max(2 * left_num.div_ceil(limits.entries_max));
        if shared.len() + written.len() > manifests_max || 2 * removed_num > added_num {
            return None;
        }
        Some(Self { shared: shared.to_vec(), written, totals })
    }
}

/// The end of what was added. Its files stand in the entry that added it.
fn ended(entry: ManifestEntry) -> ManifestEntry {
    ManifestEntry { status: Status::Removed, files: Vec::new(), ..entry }
}

fn chunks(entries: &[ManifestEntry], limits: Limits) -> Vec<Vec<ManifestEntry>> {
    entries.chunks(limits.entries_max).map(<[_]>::to_vec).collect()
}

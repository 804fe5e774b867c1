//! The file sets of a snapshot from what its manifests added and removed.

use crate::{Error, ManifestEntry, Status};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What is there after all manifests, by segment and file set. Every entry of the answer is an added one.
///
/// # Errors
/// When a file set is added while it is there, or removed while it is not.
pub fn fold(manifests: impl Iterator<Item = Vec<ManifestEntry>>) -> Result<Vec<ManifestEntry>, Error> {
    let mut there = BTreeMap::new();
    for entry in manifests.flatten() {
        let (segment_id, file_set_id) = (entry.segment_id, entry.file_set_id);
        let refuse = |what| Err(Error::Fold { segment_id, file_set_id, what });
        match (entry.status, there.entry((segment_id, file_set_id))) {
            (Status::Added, Entry::Vacant(place)) => _ = place.insert(entry),
            (Status::Added, Entry::Occupied(_)) => return refuse("added twice"),
            (Status::Removed, Entry::Occupied(place)) => _ = place.remove(),
            (Status::Removed, Entry::Vacant(_)) => return refuse("removed and was never added"),
        }
    }
    Ok(there.into_values().collect())
}

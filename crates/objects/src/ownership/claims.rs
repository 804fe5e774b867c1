//! For stores without conditional writes: each cluster has a claim file that only it writes, and looks for those of others.
//!
//! Two clusters that start at the same moment see each other's claim and are both refused. What was deleted or taken over
//! in between is not seen: that the objects are safe all the same rests on the namespaces alone.

use super::{judge::Refusal, marker::Marker, probe::chain};
use crate::{Error, Result, marker_store::MarkerStore};
use bytes::Bytes;
use elanus_types::ObjectKey;
use uuid::Uuid;

const FOLDER: &str = "_elanus/claims";

/// Writes the claim of `cluster_id` and refuses when another cluster has one that this marker does not call a former owner.
///
/// # Errors
/// [`Refusal::Claimed`], or what the store said.
pub async fn claim(store: &dyn MarkerStore, cluster_id: Uuid, former: &Marker) -> Result<(), Refusal> {
    let failed = |error: Error| Refusal::Store { why: chain(&error) };
    let key = ObjectKey::parse(&format!("{FOLDER}/{cluster_id}.json")).expect("a uuid is digits, letters and dashes");
    match store.create(&key, Bytes::from(format!("{{\"cluster_id\": \"{cluster_id}\"}}\n"))).await {
        Ok(_) | Err(Error::Exists { .. }) => {}
        Err(error) => return Err(failed(error)),
    }
    match foreign(&store.list(FOLDER).await.map_err(failed)?, cluster_id, former) {
        Some(cluster) => Err(Refusal::Claimed { cluster }),
        None => Ok(()),
    }
}

/// The claim of somebody who is not known to be gone.
fn foreign(names: &[String], cluster_id: Uuid, marker: &Marker) -> Option<String> {
    let clusters = names.iter().filter_map(|name| name.strip_suffix(".json"));
    let known = |name: &str| {
        name == cluster_id.to_string() || marker.former_owners.iter().any(|owner| owner.cluster_id.to_string() == name)
    };
    clusters.filter(|name| !known(name)).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_of_somebody_else_counts_unless_the_root_path_was_taken_from_them() {
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let names = [format!("{mine}.json"), format!("{other}.json"), "notes.txt".to_owned()];
        let marker = Marker::new(mine);
        assert_eq!(foreign(&names[..1], mine, &marker), None);
        assert_eq!(foreign(&names, mine, &marker), Some(other.to_string()));
        let taken = Marker::new(other).taken_by(mine, "x", 1);
        assert_eq!(foreign(&names, mine, &taken), None);
    }
}

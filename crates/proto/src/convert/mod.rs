//! Messages to and from the words of `elanus-types`. Pure; what a type of Elanus cannot hold is a failure that names it.

mod field;
mod restore;
mod schema;
mod status;
mod template;

pub use field::{field_from_proto, field_to_proto};
pub use restore::restore_state;
pub use schema::{schema_from_proto, schema_to_proto};
pub use status::{failure_from_grpc, failure_to_grpc, success};
pub use template::template_params;

use crate::common::KeyValuePair;
use std::collections::BTreeMap;

/// Pairs as a map; of a key that comes twice, the last value.
#[must_use]
pub fn pairs_to_map(pairs: &[KeyValuePair]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
}

/// A map as pairs, by key.
#[must_use]
pub fn map_to_pairs(map: &BTreeMap<String, String>) -> Vec<KeyValuePair> {
    map.iter().map(|(key, value)| KeyValuePair { key: key.clone(), value: value.clone() }).collect()
}

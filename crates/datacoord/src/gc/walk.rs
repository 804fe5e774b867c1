//! The bucket beside the metadata, a page at a time, both in the order of keys: what scan and scrub go through.
//!
//! A page is listed before the metadata is asked about it: a key is registered before its first byte is written, so whatever
//! was listed and is known at all is known by then. What the metadata knows and the page does not have may have been
//! written since, and must be looked at again before anybody calls it missing.
//!
//! Memory is that of one page, whatever the size of the bucket.

use crate::Parts;
use elanus_meta::model::KnownObject;
use elanus_objects::ObjectInfo;
use elanus_types::{Failure, ObjectKey};
use std::cmp::Ordering;

/// Objects of one listing request: the most that S3 gives.
pub(super) const PAGE: usize = 1_000;
/// Rows of one statement beside it: more than listed are known when many are gone or not yet there.
const KNOWN_MAX: usize = 4 * PAGE;

/// A key of the bucket, of the metadata, or of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: ObjectKey,
    pub(super) listed: Option<ObjectInfo>,
    pub(super) known: Option<KnownObject>,
}

/// Neighbouring keys.
pub(super) struct Page {
    /// They come after this one.
    pub(super) after: Option<ObjectKey>,
    pub(super) pairs: Vec<Pair>,
}

/// A walk through the namespace of the cluster, and nothing else (G-3).
pub(super) struct Walk<'p> {
    parts: &'p Parts,
    namespace: ObjectKey,
    /// After every key in it.
    end: ObjectKey,
    after: Option<ObjectKey>,
    done: bool,
}

impl<'p> Walk<'p> {
    pub(super) fn new(parts: &'p Parts) -> Result<Self, Failure> {
        let parse = |text: &str| ObjectKey::parse(text).map_err(|e| Failure::internal(e.to_string()));
        let namespace = parts.meta().keys().namespace();
        // No character that a key can have stands between the slash and the zero.
        let (namespace, end) = (parse(namespace)?, parse(&format!("{namespace}0"))?);
        Ok(Self { parts, namespace, end, after: None, done: false })
    }

    /// The next keys; `None` after the last ones.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, Failure> {
        if self.done {
            return Ok(None);
        }
        let mut listed = self.parts.objects.list_page(&self.namespace, self.after.as_ref(), PAGE).await?;
        // To go on would be to call objects missing that are on another page.
        if !listed.is_sorted_by(|a, b| a.key < b.key)
            || listed.first().is_some_and(|info| Some(&info.key) <= self.after.as_ref())
        {
            return Err(Failure::internal("the object store does not list in the order of keys"));
        }
        let mut until = (listed.len() >= PAGE).then(|| listed.last().map(|info| info.key.clone())).flatten();
        let limit = u32::try_from(KNOWN_MAX).unwrap_or(u32::MAX);
        // Rows of another namespace are of one that is being purged.
        let (after, before) = (self.after.as_ref().unwrap_or(&self.namespace), until.as_ref().unwrap_or(&self.end));
        let known = self.parts.meta().known_between(Some(after), Some(before), limit).await?;
        if known.len() >= KNOWN_MAX {
            // The rest of both is for the next page.
            until = known.last().map(|object| object.key.clone());
            listed.retain(|info| until.as_ref().is_some_and(|until| info.key <= *until));
        }
        self.done = until.is_none();
        let after = std::mem::replace(&mut self.after, until);
        Ok(Some(Page { after, pairs: pairs(listed, known) }))
    }
}

/// Both lists as one, in the order of keys, which both are in.
fn pairs(listed: Vec<ObjectInfo>, known: Vec<KnownObject>) -> Vec<Pair> {
    let mut pairs = Vec::with_capacity(listed.len().max(known.len()));
    let (mut listed, mut known) = (listed.into_iter().peekable(), known.into_iter().peekable());
    loop {
        let order = match (listed.peek(), known.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(info), Some(object)) => info.key.cmp(&object.key),
        };
        let listed = if order.is_le() { listed.next() } else { None };
        let known = if order.is_ge() { known.next() } else { None };
        let key = listed.as_ref().map(|info| &info.key).or(known.as_ref().map(|object| &object.key));
        if let Some(key) = key.cloned() {
            pairs.push(Pair { key, listed, known });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_types::FileSetId;

    fn info(key: &str) -> ObjectInfo {
        ObjectInfo { key: ObjectKey::parse(key).unwrap(), size: 1, modified_ms: 1 }
    }

    fn object(key: &str) -> KnownObject {
        KnownObject {
            key: ObjectKey::parse(key).unwrap(),
            file_set: FileSetId(1),
            size: None,
            checksum: None,
            file_set_state: "live".into(),
            abandoned: false,
        }
    }

    #[test]
    fn two_ordered_lists_become_one() {
        let found = pairs(vec![info("a"), info("b"), info("d")], vec![object("b"), object("c"), object("e")]);
        let told: Vec<_> =
            found.iter().map(|pair| (pair.key.as_str(), pair.listed.is_some(), pair.known.is_some())).collect();
        let expected =
            [("a", true, false), ("b", true, true), ("c", false, true), ("d", true, false), ("e", false, true)];
        assert_eq!(told, expected);
        assert!(pairs(vec![], vec![]).is_empty());
    }
}

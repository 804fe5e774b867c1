//! The bucket beside the metadata, a page at a time, both in the order of keys: what scan and scrub go through.
//!
//! A page is listed before the metadata is asked about it: a key is registered before its first byte is written, so whatever
//! was listed and is known at all is known by then. What the metadata knows and the page does not have may have been
//! written since, and must be looked at again before anybody calls it missing.
//!
//! Memory is that of one page, whatever the size of the bucket. A namespace is walked as a whole, or in ranges of keys side by
//! side ([`shards`]); the same keys come, in other pages. A page that the store does not give is asked for again a few times:
//! a walk of hours must not begin anew for a moment's weakness of the store.

use crate::Parts;
use elanus_meta::model::KnownObject;
use elanus_objects::{ObjectInfo, Retry};
use elanus_types::{Failure, ObjectKey};
use std::cmp::Ordering;
use std::time::Duration;

/// Rows of one statement beside a page, for each object of that: more than listed are known when many are gone or not yet
/// there.
const KNOWN_PER_LISTED: usize = 4;
/// Times that a page is asked for.
const TRIES: u32 = 4;
/// Before the second time; each later pause is four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Ranges of a walk, at most.
const SHARDS_MAX: u64 = 256;

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
    after: Option<ObjectKey>,
    /// The last key of the range, or what is after every key of the namespace.
    end: ObjectKey,
    done: bool,
}

/// Keys after the first one, up to and with the second one; `None`: from the first key, up to the last one.
pub(super) type KeyRange = (Option<ObjectKey>, Option<ObjectKey>);

/// Ranges that have no key in common and together have every key of the namespace, of about as many known keys each; one
/// range where there are few.
pub(super) async fn shards(parts: &Parts) -> Result<Vec<KeyRange>, Failure> {
    let known = parts.meta().objects_number().await?;
    let wanted = (known / parts.config.scan_shard_keys.max(1)).clamp(1, SHARDS_MAX);
    if wanted == 1 {
        return Ok(vec![(None, None)]);
    }
    let mut ends = parts.meta().every_nth_object(known.div_ceil(wanted)).await?;
    // Rows of another namespace are of one that is being purged.
    ends.retain(|key| parts.meta().keys().owns(key));
    let begins = std::iter::once(None).chain(ends.iter().cloned().map(Some));
    Ok(begins.zip(ends.iter().cloned().map(Some).chain([None])).collect())
}

impl<'p> Walk<'p> {
    pub(super) fn new(parts: &'p Parts) -> Result<Self, Failure> {
        Self::of(parts, (None, None))
    }

    /// Of a part of the namespace.
    pub(super) fn of(parts: &'p Parts, (after, end): KeyRange) -> Result<Self, Failure> {
        let parse = |text: &str| ObjectKey::parse(text).map_err(|e| Failure::internal(e.to_string()));
        let namespace = parts.meta().keys().namespace();
        // No character that a key can have stands between the slash and the zero.
        let end = end.map_or_else(|| parse(&format!("{namespace}0")), Ok)?;
        Ok(Self { parts, namespace: parse(namespace)?, after, end, done: false })
    }

    /// The next keys; `None` after the last ones.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, Failure> {
        if self.done {
            return Ok(None);
        }
        let page = self.parts.config.scan_page_keys.max(1);
        let mut listed = self.list(page).await?;
        // To go on would be to call objects missing that are on another page.
        if !listed.is_sorted_by(|a, b| a.key < b.key)
            || listed.first().is_some_and(|info| Some(&info.key) <= self.after.as_ref())
        {
            return Err(Failure::internal("the object store does not list in the order of keys"));
        }
        let mut until = (listed.len() >= page).then(|| listed.last().map(|info| info.key.clone())).flatten();
        // The range ends on this page: what follows is another walk's.
        until = until.filter(|last| *last < self.end);
        listed.retain(|info| info.key <= self.end);
        let limit = KNOWN_PER_LISTED * page;
        // Rows of another namespace are of one that is being purged.
        let (after, upto) = (self.after.as_ref().unwrap_or(&self.namespace), until.as_ref().unwrap_or(&self.end));
        let rows = u32::try_from(limit).unwrap_or(u32::MAX);
        let known = self.parts.meta().known_between(Some(after), Some(upto), rows).await?;
        if known.len() >= limit {
            // The rest of both is for the next page.
            until = known.last().map(|object| object.key.clone());
            listed.retain(|info| until.as_ref().is_some_and(|until| info.key <= *until));
        }
        self.done = until.is_none();
        let after = std::mem::replace(&mut self.after, until);
        Ok(Some(Page { after, pairs: pairs(listed, known) }))
    }

    /// The next page of the store, from where this walk is.
    async fn list(&self, limit: usize) -> Result<Vec<ObjectInfo>, Failure> {
        let mut pause = FIRST_PAUSE;
        for left in (0..TRIES).rev() {
            match self.parts.objects.list_page(&self.namespace, self.after.as_ref(), limit).await {
                Err(error) if left > 0 && error.retry() == Retry::After => {
                    tracing::warn!(%error, after = ?self.after, "a page of the bucket is asked for again");
                    tokio::time::sleep(pause).await;
                    pause *= 4;
                }
                listed => return Ok(listed?),
            }
        }
        Err(Failure::internal("no page of the bucket was asked for"))
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

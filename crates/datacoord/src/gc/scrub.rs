//! What is in the bucket against what the metadata says. Changes nothing.
//!
//! The listing is read before the metadata: whatever was listed is known. What the metadata knows and the listing does
//! not have may have been written since, and is looked at again.

use crate::Parts;
use elanus_meta::model::KnownObject;
use elanus_proto::admin::ScrubReport;
use elanus_types::{Failure, ObjectKey};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::HashMap;

const PAGE: u32 = 1_000;
const READS_AT_ONCE: usize = 8;
/// Keys that a report names of each kind.
const NAMED_MAX: usize = 1_000;

pub(crate) async fn scrub(parts: &Parts, checksums: bool) -> Result<ScrubReport, Failure> {
    let namespace = ObjectKey::parse(parts.meta().keys().namespace()).map_err(|e| Failure::internal(e.to_string()))?;
    let mut listed: HashMap<ObjectKey, u64> =
        parts.objects.list(Some(&namespace)).map_ok(|info| (info.key, info.size)).try_collect().await?;
    let mut report = ScrubReport { objects_listed: count(listed.len()), ..ScrubReport::default() };
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = parts.meta().known_objects(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        let verdicts: Vec<(ObjectKey, Verdict)> = stream::iter(page)
            .map(|known| {
                let size = listed.remove(&known.key);
                async move {
                    let size = if size.is_none() { look_again(parts, &known).await? } else { size };
                    Ok::<_, Failure>((known.key.clone(), judge(parts, &known, size, checksums).await?))
                }
            })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        report.objects_known += count(verdicts.len());
        for (key, verdict) in verdicts {
            match verdict {
                Verdict::Sound => {}
                Verdict::Abandoned => report.abandoned += 1,
                Verdict::Missing => name(&mut report.missing, &key),
                Verdict::Damaged => name(&mut report.damaged, &key),
                Verdict::Unknown => name(&mut report.unknown, &key),
            }
        }
    }
    let mut rest: Vec<ObjectKey> = listed.into_keys().collect();
    rest.sort();
    rest.iter().for_each(|key| name(&mut report.unknown, key));
    Ok(report)
}

enum Verdict {
    Sound,
    Missing,
    Damaged,
    Unknown,
    Abandoned,
}

/// The size of an object that came after the listing.
async fn look_again(parts: &Parts, known: &KnownObject) -> Result<Option<u64>, Failure> {
    if known.file_set_state == "gone" {
        return Ok(None);
    }
    match parts.objects.head(&known.key).await {
        Ok(info) => Ok(Some(info.size)),
        Err(elanus_objects::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn judge(parts: &Parts, known: &KnownObject, found: Option<u64>, checksums: bool) -> Result<Verdict, Failure> {
    Ok(match (known.file_set_state.as_str(), found) {
        ("gone", None) => Verdict::Sound,
        ("gone", Some(_)) => Verdict::Unknown,
        // Being written, or waiting to be deleted: there or not, both are right.
        ("intent" | "deleting", _) => Verdict::Abandoned,
        ("queued", _) if known.abandoned => Verdict::Abandoned,
        (_, None) => Verdict::Missing,
        (_, Some(size)) if known.size.is_some_and(|expected| expected != size) => Verdict::Damaged,
        (_, Some(_)) if checksums => {
            let found = parts.objects.checksum(&known.key).await?;
            if known.checksum.is_none_or(|expected| expected == found) { Verdict::Sound } else { Verdict::Damaged }
        }
        (_, Some(_)) => Verdict::Sound,
    })
}

fn name(keys: &mut Vec<String>, key: &ObjectKey) {
    if keys.len() < NAMED_MAX {
        keys.push(key.to_string());
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

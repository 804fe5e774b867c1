//! What is in the bucket against what the metadata says, at three levels. Memory is that of a page, or of one snapshot.
//!
//! * metadata: file sets, references and memberships against each other. No request to the bucket.
//! * presence: also every object: is it there, has it its size, is it known.
//! * checksum: also the bytes of every object, and the manifests of every snapshot (I9).
//!
//! Changes nothing, unless it is to repair; then only what can be repaired without loss: references that are counted too
//! low are counted again, intents whose writer is gone are given up.

use super::walk::{Pair, Walk};
use super::{facts, scan};
use crate::Parts;
use elanus_meta::model::KnownObject;
use elanus_proto::admin::{ScrubReport, ScrubRequest};
use elanus_types::{Failure, ObjectKey};
use futures::{StreamExt as _, TryStreamExt as _, stream};

const READS_AT_ONCE: usize = 8;
/// Keys that a report names of each kind.
const NAMED_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Metadata,
    Presence,
    Checksum,
}

impl Level {
    fn of(request: &ScrubRequest) -> Result<Self, Failure> {
        Ok(match request.level.as_str() {
            "" if request.checksums => Self::Checksum,
            "" | "presence" => Self::Presence,
            "metadata" => Self::Metadata,
            "checksum" => Self::Checksum,
            other => {
                return Err(Failure::invalid(format!(
                    "{other:?} is no level of scrub: use metadata, presence or checksum"
                )));
            }
        })
    }
}

pub(crate) async fn scrub(parts: &Parts, request: ScrubRequest) -> Result<ScrubReport, Failure> {
    let level = Level::of(&request)?;
    let mut report = ScrubReport::default();
    if request.repair {
        super::expire_intents(parts).await?;
    }
    facts::metadata(parts, request.repair, &mut report).await?;
    if level == Level::Metadata {
        return Ok(report);
    }
    let mut walk = Walk::new(parts)?;
    while let Some(page) = walk.next().await? {
        let judged: Vec<(Pair, Verdict)> = stream::iter(page.pairs)
            .map(|pair| async move {
                let verdict = judge(parts, &pair, level == Level::Checksum).await?;
                Ok::<_, Failure>((pair, verdict))
            })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        // The collector goes on meanwhile: who is suspected is looked at again.
        let missing =
            scan::still_missing(parts, page.after.as_ref(), keys(&judged, Verdict::Missing), is_needed).await?;
        let strays = judged.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Orphan | Verdict::Unknown));
        let deleted = scan::absent_of(parts, strays.map(|(pair, _)| pair.key.clone()).collect()).await?;
        for (pair, verdict) in judged {
            report.objects_listed += i64::from(pair.listed.is_some());
            report.objects_known += i64::from(pair.known.is_some());
            match verdict {
                Verdict::Missing if missing.binary_search(&pair.key).is_ok() => name(&mut report.missing, &pair.key),
                // Written, or deleted, since its page was listed.
                Verdict::Missing | Verdict::Sound => {}
                Verdict::Orphan | Verdict::Unknown if deleted.binary_search(&pair.key).is_ok() => {}
                Verdict::Abandoned => report.abandoned += 1,
                Verdict::Damaged => name(&mut report.damaged, &pair.key),
                Verdict::Orphan => name(&mut report.orphans, &pair.key),
                Verdict::Unknown => name(&mut report.unknown, &pair.key),
            }
        }
    }
    if level == Level::Checksum {
        facts::snapshots(parts, &mut report).await?;
    }
    Ok(report)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Sound,
    Missing,
    Damaged,
    /// Deleted, and there.
    Orphan,
    /// Never registered, and there.
    Unknown,
    Abandoned,
}

fn keys(judged: &[(Pair, Verdict)], of: Verdict) -> Vec<ObjectKey> {
    judged.iter().filter(|(_, verdict)| *verdict == of).map(|(pair, _)| pair.key.clone()).collect()
}

/// Its objects must be there: it is live, or may become so again.
fn is_needed(known: &KnownObject) -> bool {
    known.file_set_state == "live" || known.file_set_state == "queued" && !known.abandoned
}

async fn judge(parts: &Parts, pair: &Pair, checksums: bool) -> Result<Verdict, Failure> {
    let size = pair.listed.as_ref().map(|info| info.size);
    let Some(known) = &pair.known else { return Ok(Verdict::Unknown) };
    let KnownObject { file_set_state, abandoned, .. } = known;
    Ok(match (file_set_state.as_str(), size) {
        ("gone", None) => Verdict::Sound,
        ("gone", Some(_)) => Verdict::Orphan,
        // Being written, or waiting to be deleted: there or not, both are right.
        ("intent" | "deleting", _) => Verdict::Abandoned,
        ("queued", _) if *abandoned => Verdict::Abandoned,
        (_, None) => Verdict::Missing,
        (_, Some(size)) if known.size.is_some_and(|expected| expected != size) => Verdict::Damaged,
        (_, Some(_)) if checksums => match parts.objects.checksum(&known.key).await {
            Ok(found) if known.checksum.is_none_or(|expected| expected == found) => Verdict::Sound,
            Ok(_) => Verdict::Damaged,
            Err(elanus_objects::Error::NotFound { .. }) => Verdict::Missing,
            Err(error) => return Err(error.into()),
        },
        (_, Some(_)) => Verdict::Sound,
    })
}

fn name(keys: &mut Vec<String>, key: &ObjectKey) {
    if keys.len() < NAMED_MAX {
        keys.push(key.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_named_or_follows_from_what_older_clients_say() {
        let of = |level: &str, checksums| {
            Level::of(&ScrubRequest { level: level.to_owned(), checksums, ..ScrubRequest::default() })
        };
        assert_eq!(of("", false).unwrap(), Level::Presence);
        assert_eq!(of("", true).unwrap(), Level::Checksum);
        assert_eq!(of("metadata", true).unwrap(), Level::Metadata);
        assert!(of("everything", false).unwrap_err().message.contains("use metadata, presence or checksum"));
    }
}

//! Does the store keep the promises on which ownership rests? Asked at each start, with objects of its own below
//! `_elanus/probe/`, which it removes. The collecting of answers and what they mean are apart.

use super::judge::Refusal;
use crate::{
    Error, Result, Retry,
    marker_store::{Etag, MarkerStore, PROBE_FOLDER},
};
use bytes::Bytes;
use elanus_types::{Clock, ObjectKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Clocks that differ by more stop deletes.
pub const SKEW_MAX_MS: i64 = 60_000;
/// Probes of processes that were killed are removed when they are older.
const LEFTOVER_MS: i64 = 3_600_000;
/// So many of them at one start.
const LEFTOVERS_MAX: usize = 20;

/// What the store was found to be able to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// A second create is refused (`If-None-Match: *`).
    pub conditional_create: bool,
    /// A replace with a stale etag, or of nothing, is refused (`If-Match`).
    pub conditional_replace: bool,
    /// A remove with a stale etag is refused. Nothing rests on it.
    pub conditional_remove: bool,
}

impl Capabilities {
    /// False: the marker cannot be relied on, and claim files are used besides.
    #[must_use]
    pub fn conditional_writes(self) -> bool {
        self.conditional_create && self.conditional_replace
    }
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// What the store can do.
    pub capabilities: Capabilities,
    /// The store's clock minus this machine's, in milliseconds.
    pub skew_ms: i64,
}

/// Why a probe gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unprobed {
    /// The store cannot be used.
    Refused(Refusal),
    /// The store is away.
    Away(String),
}

/// Whether a call was done, refused as it should be, or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Refused,
    Denied(String),
    Impossible(String),
    Away(String),
}

/// The answers of one probe, in the order of the questions; a question that could not be asked any more is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answers {
    create: Option<Answer>,
    read: Option<Answer>,
    read_is_right: bool,
    list: Option<Answer>,
    list_is_right: bool,
    create_again: Option<Answer>,
    replace: Option<Answer>,
    replace_stale: Option<Answer>,
    replace_absent: Option<Answer>,
    remove_stale: Option<Answer>,
    remove: Option<Answer>,
    gone: Option<Answer>,
    gone_is_right: bool,
}

/// Asks the store.
///
/// # Errors
/// When this process lacks a right, when the store contradicts itself, or is away.
pub async fn probe(store: &dyn MarkerStore, clock: &dyn Clock) -> Result<Probed, Unprobed> {
    let (answers, skew_ms) = ask(store, clock).await;
    let capabilities = judge(&answers)?;
    remove_leftovers(store, clock.now_ms()).await;
    Ok(Probed { capabilities, skew_ms })
}

/// The store's clock minus this machine's, when the answer that told it took from `before_ms` until now.
pub(super) fn skew_ms(clock: &dyn Clock, before_ms: i64, store_ms: i64) -> i64 {
    let after_ms = clock.now_ms();
    // Any moment between the two may be the one of the store's clock.
    if store_ms < before_ms { store_ms - before_ms } else { (store_ms - after_ms).max(0) }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(&format!("{PROBE_FOLDER}/{name}")).expect("digits and letters")
}

fn answer<T>(result: &Result<T>) -> Option<Answer> {
    Some(match result {
        Ok(_) => Answer::Done,
        Err(Error::Exists { .. } | Error::Conflict { .. } | Error::NotFound { .. }) => Answer::Refused,
        Err(error @ Error::Denied { .. }) => Answer::Denied(chain(error)),
        Err(error) if error.retry() == Retry::After => Answer::Away(chain(error)),
        Err(error) => Answer::Impossible(chain(error)),
    })
}

/// An error with what caused it, outermost first.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

async fn ask(store: &dyn MarkerStore, clock: &dyn Clock) -> (Answers, i64) {
    let mut answers = Answers::default();
    let name = format!("{}-{}", clock.now_ms(), Uuid::new_v4());
    let (probe, absent) = (key(&name), key(&format!("{name}-absent")));
    let text = |n: u8| Bytes::from(format!("probe {n} of {name}"));

    let before_ms = clock.now_ms();
    let created = store.create(&probe, text(1)).await;
    answers.create = answer(&created);
    let Ok(created) = created else { return (answers, 0) };
    let skew_ms = skew_ms(clock, before_ms, created.store_ms);

    let read = store.read(&probe).await;
    answers.read = answer(&read);
    answers.read_is_right = matches!(&read, Ok(Some(found)) if found.bytes == text(1) && found.etag == created.etag);
    let listed = store.list(PROBE_FOLDER).await;
    answers.list = answer(&listed);
    answers.list_is_right =
        listed.is_ok_and(|names| names.contains(&name) || names.len() >= crate::marker_store::LIST_MAX);

    answers.create_again = answer(&store.create(&probe, text(2)).await);
    // A store that ignored the condition has another content now.
    let now = store.read(&probe).await.ok().flatten().map_or(created.etag, |found| found.etag);
    let replaced = store.replace(&probe, text(3), &now).await;
    answers.replace = answer(&replaced);
    answers.replace_stale = answer(&store.replace(&probe, text(4), &now).await);
    let wrong = store.replace(&absent, text(5), &now).await;
    answers.replace_absent = answer(&wrong);
    if let Ok(made) = wrong {
        // Whatever it says: there is nothing else to be done about it.
        let _ = store.remove(&absent, &made.etag).await;
    }
    answers.remove_stale = answer(&store.remove(&probe, &now).await);
    let left = store.read(&probe).await.ok().flatten().map(|found| found.etag);
    answers.remove = match left {
        Some(etag) => answer(&store.remove(&probe, &etag).await),
        None => Some(Answer::Done),
    };
    let gone = store.read(&probe).await;
    answers.gone = answer(&gone);
    answers.gone_is_right = matches!(gone, Ok(None));
    (answers, skew_ms)
}

fn judge(answers: &Answers) -> Result<Capabilities, Unprobed> {
    let right = |right: &'static str, answer: &Option<Answer>| match answer {
        Some(Answer::Denied(why)) => Err(Unprobed::Refused(Refusal::Rights { right, why: why.clone() })),
        Some(Answer::Impossible(why)) => {
            Err(Unprobed::Refused(Refusal::Store { why: format!("it cannot {right} an object: {why}") }))
        }
        Some(Answer::Away(why)) => Err(Unprobed::Away(why.clone())),
        _ => Ok(()),
    };
    let wrong = |why: &str| Err(Unprobed::Refused(Refusal::Store { why: why.to_owned() }));
    right("put", &answers.create)?;
    if answers.create != Some(Answer::Done) {
        return wrong("it refused to create an object under a new key");
    }
    right("get", &answers.read)?;
    right("list", &answers.list)?;
    right("put", &answers.replace)?;
    right("delete", &answers.remove)?;
    right("get", &answers.gone)?;
    if !answers.read_is_right {
        return wrong("an object that was just created was read back with other content");
    }
    if !answers.list_is_right {
        return wrong("an object that was just created is not in the listing of its folder");
    }
    if !answers.gone_is_right {
        return wrong("an object that was just deleted is still there");
    }
    let refused = |answer: &Option<Answer>| *answer == Some(Answer::Refused);
    Ok(Capabilities {
        conditional_create: refused(&answers.create_again),
        conditional_replace: answers.replace == Some(Answer::Done)
            && refused(&answers.replace_stale)
            && refused(&answers.replace_absent),
        conditional_remove: refused(&answers.remove_stale),
    })
}

/// Best effort: what stays is small, and the next start tries again.
async fn remove_leftovers(store: &dyn MarkerStore, now_ms: i64) {
    let names = store.list(PROBE_FOLDER).await.unwrap_or_default();
    let old = |name: &&String| {
        let made_ms = name.split('-').next().and_then(|ms| ms.parse::<i64>().ok());
        made_ms.is_some_and(|ms| ms < now_ms - LEFTOVER_MS)
    };
    for name in names.iter().filter(old).take(LEFTOVERS_MAX) {
        let Ok(key) = ObjectKey::parse(&format!("{PROBE_FOLDER}/{name}")) else { continue };
        let etag = store.read(&key).await.ok().flatten().map_or(Etag(String::new()), |found| found.etag);
        if let Err(error) = store.remove(&key, &etag).await {
            tracing::debug!(%key, %error, "an old probe stays");
        }
    }
}

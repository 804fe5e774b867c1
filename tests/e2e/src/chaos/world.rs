//! What the load shares: whom it asks, what it was told, what it counts.

use super::oracle::{self, Cut, State, Writer};
use anyhow::{Result, anyhow, bail};
use elanus_scenarios::{
    milvus::{CallError, Milvus},
    rows::{self, FIELDS, Row},
};
use elanus_types::Code;
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The collection under load.
pub const LOAD: &str = "load";
/// Writers beside each other.
pub const WRITERS: usize = 3;
/// Keys of one writer: those of writer w begin at w times this.
pub const KEYS: i64 = 1_000_000_000;
/// So long a call that can be repeated is repeated: longer than any fault lasts.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Pause before a call is repeated.
pub const AGAIN: Duration = Duration::from_millis(150);
const ROWS_MAX: u32 = 16_384;

/// What a client may conclude from the end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing was done.
    Refused,
    /// It may have been done.
    Unknown,
}

/// The two that a fault may cause.
///
/// # Errors
/// Every other error: the server says something that cannot be.
pub fn told(error: CallError) -> Result<Told> {
    match error {
        CallError::NoAnswer(_) => Ok(Told::Unknown),
        CallError::Refused(failure) => match failure.code {
            Code::NotReady | Code::DiskFull | Code::RateLimit => Ok(Told::Refused),
            Code::Internal => Ok(Told::Unknown),
            _ => Err(anyhow!("refused: {failure}")),
        },
        CallError::Wrong(what) => Err(anyhow!(what)),
    }
}

/// A snapshot of [`LOAD`] that a client saw.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// What it may hold.
    pub cut: Cut,
    /// Hash of its rows, as they were read inside it.
    pub hash: u64,
}

/// Counts of what the load did.
#[derive(Debug, Default)]
pub struct Met {
    /// Writes that were acknowledged.
    pub writes: AtomicU64,
    /// Writes that were refused.
    pub refused: AtomicU64,
    /// Requests of all sorts whose outcome was unknown.
    pub unknown: AtomicU64,
    /// Snapshots that were acknowledged.
    pub snapshots: AtomicU64,
    /// Drops of snapshots that were acknowledged.
    pub snapshot_drops: AtomicU64,
    /// Restores by clone that were compared, row by row and by hash.
    pub clones: AtomicU64,
    /// The same by copy.
    pub copies: AtomicU64,
    /// Rollbacks that were compared.
    pub rollbacks: AtomicU64,
    /// Compactions that were asked for.
    pub compactions: AtomicU64,
    /// Drops of collections that were acknowledged.
    pub drops: AtomicU64,
    /// Reads that were compared.
    pub reads: AtomicU64,
}

/// One more.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// See the module.
#[derive(Debug)]
pub struct World {
    proxies: Vec<Milvus>,
    turn: AtomicUsize,
    events: AtomicU64,
    stop: AtomicBool,
    writers: Vec<Mutex<Writer>>,
    snapshots: Mutex<BTreeMap<String, Snapshot>>,
    /// Snapshots whose create or drop has no answer: there or not.
    unsure: Mutex<BTreeMap<String, Cut>>,
    /// Collections whose create, restore or drop has no answer: there or not.
    leftovers: Mutex<Vec<String>>,
    outage: Mutex<Outage>,
    /// What the probe waits for, and since when.
    waits: Mutex<(String, Instant)>,
    /// What was said, without numbers, and how often.
    said: Mutex<BTreeMap<String, u64>>,
    /// See there.
    pub met: Met,
}

/// How long the probe was not served.
#[derive(Clone, Debug)]
struct Outage {
    served: Instant,
    longest: Duration,
    after: String,
    fault: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Asks these proxies.
    #[must_use]
    pub fn new(proxies: &[String]) -> Self {
        Self {
            proxies: proxies.iter().map(|url| Milvus::at(url)).collect(),
            turn: AtomicUsize::new(0),
            events: AtomicU64::new(1),
            stop: AtomicBool::new(false),
            writers: (0..WRITERS).map(|_| Mutex::default()).collect(),
            snapshots: Mutex::default(),
            unsure: Mutex::default(),
            leftovers: Mutex::default(),
            outage: Mutex::new(Outage {
                served: Instant::now(),
                longest: Duration::ZERO,
                after: String::new(),
                fault: "nothing".to_owned(),
            }),
            waits: Mutex::new(("nothing".to_owned(), Instant::now())),
            said: Mutex::default(),
            met: Met::default(),
        }
    }

    /// The proxy that answered last time.
    #[must_use]
    pub fn milvus(&self) -> &Milvus {
        &self.proxies[self.turn.load(Ordering::Relaxed) % self.proxies.len()]
    }

    /// As clients do when one does not answer.
    pub fn other_proxy(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// The next event.
    pub fn event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::SeqCst)
    }

    /// The load ends after what it does now.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// True when the load is to end.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// See [`Writer`].
    pub fn writer(&self, number: usize) -> MutexGuard<'_, Writer> {
        lock(&self.writers[number])
    }

    /// Snapshots that are there.
    pub fn snapshots(&self) -> MutexGuard<'_, BTreeMap<String, Snapshot>> {
        lock(&self.snapshots)
    }

    /// Snapshots that may be there.
    pub fn unsure(&self) -> MutexGuard<'_, BTreeMap<String, Cut>> {
        lock(&self.unsure)
    }

    /// Collections that may be there.
    pub fn leftovers(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.leftovers)
    }

    /// What an error of a call means; another proxy is asked next time.
    ///
    /// # Errors
    /// As [`told`].
    pub fn told(&self, error: CallError) -> Result<Told> {
        if matches!(error, CallError::NoAnswer(_)) {
            self.other_proxy();
        }
        *lock(&self.said).entry(without_numbers(&error.to_string())).or_default() += 1;
        told(error)
    }

    /// What clients were told when something could not be done, and how often; the most frequent first.
    #[must_use]
    pub fn said(&self) -> Vec<(String, u64)> {
        let mut said: Vec<_> = lock(&self.said).clone().into_iter().collect();
        said.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        said
    }

    /// Repeats a call that does no harm when it is done twice, until it is answered.
    ///
    /// # Errors
    /// When the answer cannot be, or none comes for longer than any fault lasts.
    pub async fn persist<T>(
        &self,
        what: &str,
        mut call: impl AsyncFnMut(&Milvus) -> Result<T, CallError>,
    ) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            let error = match call(self.milvus()).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let text = error.to_string();
            self.told(error).map_err(|error| error.context(what.to_owned()))?;
            if Instant::now() > until {
                bail!("{what}: not served for {PATIENCE:?}; now: {text}");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The probe was served, or begins.
    pub fn served(&self) {
        let mut outage = lock(&self.outage);
        let gap = outage.served.elapsed();
        if gap > outage.longest {
            (outage.longest, outage.after) = (gap, outage.fault.clone());
        }
        outage.served = Instant::now();
    }

    /// The probe begins to wait for this.
    pub fn waits_for(&self, call: &str) {
        let proxy = self.turn.load(Ordering::Relaxed) % self.proxies.len();
        *lock(&self.waits) = (format!("{call} by proxy-{proxy}"), Instant::now());
    }

    /// What the probe waits for, for people.
    #[must_use]
    pub fn waiting(&self) -> String {
        let waits = lock(&self.waits);
        format!("the probe waits for {} since {:.1?}", waits.0, waits.1.elapsed())
    }

    /// This happens now.
    pub fn happens(&self, fault: &str) {
        fault.clone_into(&mut lock(&self.outage).fault);
    }

    /// When the probe was served last.
    #[must_use]
    pub fn last_served(&self) -> Instant {
        lock(&self.outage).served
    }

    /// The longest time in which the probe was not served, and what had happened.
    #[must_use]
    pub fn longest_outage(&self) -> (Duration, String) {
        let outage = lock(&self.outage);
        (outage.longest, outage.after.clone())
    }

    /// The rows of [`LOAD`], or of a collection that was restored from it.
    ///
    /// # Errors
    /// As [`World::persist`].
    pub async fn read(&self, collection: &str) -> Result<Vec<Row>> {
        self.persist(&format!("reading {collection}"), async |milvus| milvus.query(collection, "id >= 0").await).await
    }

    /// The rows inside a snapshot of [`LOAD`], by key; `None` when there is no such snapshot.
    ///
    /// # Errors
    /// As [`World::persist`].
    pub async fn read_inside(&self, snapshot: &str) -> Result<Option<Vec<Row>>> {
        let fields = FIELDS.map(str::to_owned).to_vec();
        let read = async |milvus: &Milvus| {
            let operator = milvus.operator();
            match operator.snapshots().query(LOAD, snapshot).rows(fields.clone(), ROWS_MAX).await {
                Ok(found) => {
                    let mut rows = rows::from_columns(found.fields_data).map_err(CallError::Wrong)?;
                    rows.sort_unstable();
                    Ok(Some(rows))
                }
                Err(error) => match error.code {
                    Some(Code::SnapshotNotFound) => Ok(None),
                    Some(code) => Err(CallError::Refused(elanus_types::Failure::new(code, error.message))),
                    None => Err(away(&error.message)),
                },
            }
        };
        self.persist(&format!("reading inside {snapshot}"), read).await
    }

    /// S-1: these rows are those of the cut.
    ///
    /// # Errors
    /// What is there instead.
    pub fn check(&self, rows: &[Row], cut: Cut, what: &str) -> Result<()> {
        for (number, found) in by_writer(rows)?.iter().enumerate() {
            self.writer(number).check(cut, found).map_err(|why| anyhow!("S-1: {what}, writer {number}: {why}"))?;
        }
        Ok(())
    }

    /// D-1: these rows, read after this event, are those of now. No write may be under way.
    ///
    /// # Errors
    /// What is there instead.
    pub fn check_now(&self, rows: &[Row], event: u64) -> Result<()> {
        for (number, found) in by_writer(rows)?.iter().enumerate() {
            self.writer(number).check_now(event, found).map_err(|why| anyhow!("D-1: writer {number}: {why}"))?;
        }
        Ok(())
    }
}

/// An error of a call that nobody answered.
#[must_use]
pub fn away(message: &str) -> CallError {
    CallError::Refused(elanus_types::Failure::internal(format!("no answer: {message}")))
}

fn by_writer(rows: &[Row]) -> Result<Vec<State>> {
    let mut of: Vec<Vec<Row>> = vec![Vec::new(); WRITERS];
    for row in rows {
        let writer = usize::try_from(row.id / KEYS).ok().and_then(|number| of.get_mut(number));
        writer.ok_or_else(|| anyhow!("{row:?} is of no writer"))?.push(*row);
    }
    of.into_iter().map(|rows| oracle::state(rows).map_err(|why| anyhow!(why))).collect()
}

/// Messages that differ in ids, keys, times and addresses alone are one.
fn without_numbers(text: &str) -> String {
    const LENGTH_MAX: usize = 150;
    let words = text.split(' ').map(|word| if word.contains('/') { "…" } else { word });
    let text = words.collect::<Vec<_>>().join(" ");
    let mut short = String::new();
    for c in text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).take(LENGTH_MAX * 2) {
        if !(c == '#' && short.ends_with('#')) {
            short.push(c);
        }
    }
    short.chars().take(LENGTH_MAX).collect()
}

/// Hash of rows in their order.
#[must_use]
pub fn hash(rows: &[Row]) -> u64 {
    let mut hasher = DefaultHasher::new();
    rows.len().hash(&mut hasher);
    for row in rows {
        (row.id, row.version).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_types::Failure;

    #[test]
    fn only_what_a_fault_can_cause_is_put_up_with() {
        let refused = |code| CallError::Refused(Failure::new(code, "x"));
        for (code, expected) in
            [(Code::NotReady, Told::Refused), (Code::DiskFull, Told::Refused), (Code::Internal, Told::Unknown)]
        {
            assert_eq!(told(refused(code)).unwrap(), expected);
        }
        assert!(told(refused(Code::CollectionNotFound)).is_err());
        assert!(told(CallError::Wrong("x".to_owned())).is_err());
    }

    #[test]
    fn messages_that_differ_in_numbers_are_one() {
        assert_eq!(without_numbers("job 17 at 127.0.0.1:99 of a/b: no"), "job # at #.#.#.#:# of … no");
        assert_eq!(without_numbers(&"x".repeat(1_000)).len(), 150);
    }

    #[test]
    fn the_same_rows_have_the_same_hash() {
        let [one, other] = [Row { id: 1, version: 2 }, Row { id: 1, version: 3 }];
        assert_eq!(hash(&[one]), hash(&[one]));
        assert_ne!(hash(&[one]), hash(&[other]));
        assert_ne!(hash(&[]), hash(&[one]));
        assert!(by_writer(&[Row { id: KEYS * WRITERS as i64, version: 1 }]).is_err());
    }
}

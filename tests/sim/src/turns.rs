//! Who goes on next: the one place where the order of effects, their faults and the passing of time are decided.
//!
//! An *effect* is a transaction of the metadata store (reading ones too) or a call of the object store. Whoever wants one
//! waits here. When nothing else can run, one of those that wait is chosen by the seed, together with what goes wrong with
//! it, and everything else stands still until it has ended. So a run is the sequence of these choices: same seed, same
//! trace.
//!
//! "Nothing else can run" is what tokio's paused clock waits for before it moves; threads of `spawn_blocking` hold it.
//! SQLite's own threads do not, so a thread is held for as long as a transaction runs.

use elanus_types::Clock;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicI64, atomic::Ordering, mpsc},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

/// Milliseconds since 1970 at which a run begins.
const START_MS: i64 = 1_790_000_000_000;
/// Rounds in which tasks that were woken at the same instant come to rest.
const YIELDS: usize = 40;
/// What a call that deletes is called.
pub const DELETE: &str = "delete";

/// A process, by its number.
pub type ProcessId = usize;

/// What goes wrong with one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Nothing.
    Well,
    /// It is refused and does not happen.
    ErrorBefore,
    /// A transaction runs and is rolled back at its commit.
    ErrorAtCommit,
    /// It happens, and is answered with an error.
    ErrorAfter,
    /// The process dies, and it does not happen.
    DeathBefore,
    /// The process dies at the commit, which does not happen.
    DeathAtCommit,
    /// It happens, and the process dies.
    DeathAfter,
}

/// What an effect is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A transaction of the metadata store.
    Transaction,
    /// A call of the object store that changes nothing.
    Read(String),
    /// A call of the object store that changes something.
    Write(String),
}

impl Kind {
    /// Deletes are compared with the metadata at the instant at which they arrive.
    fn uses_metadata(&self) -> bool {
        match self {
            Self::Transaction => true,
            Self::Read(_) => false,
            Self::Write(what) => what.starts_with(DELETE),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transaction => f.write_str("transaction"),
            Self::Read(what) | Self::Write(what) => f.write_str(what),
        }
    }
}

/// The process that asked is dead.
#[derive(Clone, Copy, Debug)]
pub struct Dead;

/// Of 10,000 effects, how many go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Errors, of each kind.
    pub error: u32,
    /// Deaths, of each kind.
    pub death: u32,
    /// How many take up to three seconds.
    pub slow: u32,
}

/// Clones are the same.
#[derive(Clone)]
pub struct Turns(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    began: Instant,
    jumps_ms: AtomicI64,
}

struct State {
    rng: StdRng,
    rates: Rates,
    waiting: Vec<Waiting>,
    running: bool,
    arrivals: u64,
    processes: Vec<Process>,
    trace: Vec<String>,
    met: BTreeMap<String, u64>,
    late: BTreeSet<String>,
    written: BTreeMap<String, ProcessId>,
    broken: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Process {
    dead: bool,
    stalled: bool,
    /// It stood still or its clock jumped: its leases may have ended while it wrote.
    disturbed: bool,
}

struct Waiting {
    process: ProcessId,
    kind: Kind,
    arrival: u64,
    /// A slow one is not chosen earlier.
    not_before: Instant,
    grant: oneshot::Sender<Result<Turn, Dead>>,
}

/// The turn of one effect: nothing else has one until it is dropped.
pub struct Turn {
    /// What goes wrong.
    pub fate: Fate,
    turns: Turns,
    hold: Option<mpsc::Sender<()>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().running = false;
        self.hold.take();
        self.turns.0.changed.notify_one();
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turns")
    }
}

/// The time of the run: that of the paused runtime, and jumps.
impl Clock for Turns {
    fn now_ms(&self) -> i64 {
        let passed = i64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        START_MS + passed + self.0.jumps_ms.load(Ordering::SeqCst)
    }
}

impl Turns {
    /// The choices of a seed. Within a paused runtime of one thread.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            rates: Rates::default(),
            waiting: Vec::new(),
            running: false,
            arrivals: 0,
            processes: Vec::new(),
            trace: Vec::new(),
            met: BTreeMap::new(),
            late: BTreeSet::new(),
            written: BTreeMap::new(),
            broken: None,
        };
        let shared = Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
            began: Instant::now(),
            jumps_ms: AtomicI64::new(0),
        };
        Self(Arc::new(shared))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that is about to start.
    pub fn add_process(&self) -> ProcessId {
        let mut state = self.lock();
        state.processes.push(Process::default());
        state.processes.len() - 1
    }

    /// From now on effects go wrong so often.
    pub fn set_rates(&self, rates: Rates) {
        self.lock().rates = rates;
    }

    /// The clocks of all processes jump.
    pub fn jump_ms(&self, ms: i64) {
        self.0.jumps_ms.fetch_add(ms, Ordering::SeqCst);
        self.lock().processes.iter_mut().for_each(|process| process.disturbed = true);
        self.note(format!("the clock jumps by {ms} ms"));
    }

    /// Adds a line to the trace.
    pub fn note(&self, line: impl fmt::Display) {
        let at = self.now_ms() - START_MS;
        self.lock().trace.push(format!("{at:>8} {line}"));
    }

    /// The run is over: a promise is broken. The first reason counts.
    pub fn break_off(&self, why: &str) {
        self.note(format!("BROKEN: {why}"));
        self.lock().broken.get_or_insert_with(|| why.to_owned());
    }

    /// Why the run is over.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// Counts something that the run met.
    pub fn met(&self, what: impl Into<String>) {
        *self.lock().met.entry(what.into()).or_default() += 1;
    }

    /// How often the run met what.
    #[must_use]
    pub fn all_met(&self) -> BTreeMap<String, u64> {
        self.lock().met.clone()
    }

    /// Every line so far.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// A number that follows from the seed.
    pub fn random(&self) -> u64 {
        self.lock().rng.random()
    }

    /// True when nothing that this process tries has an effect any more.
    #[must_use]
    pub fn is_dead(&self, process: ProcessId) -> bool {
        self.lock().processes[process].dead
    }

    /// True when a process stands still.
    #[must_use]
    pub fn is_stalled(&self, process: ProcessId) -> bool {
        self.lock().processes[process].stalled
    }

    /// Remembers an object of a process whose leases may have ended while it wrote: what it wrote may have been given up
    /// and deleted already, and then nothing knows the object.
    ///
    /// I6: a key is written by one process.
    pub fn wrote(&self, process: ProcessId, key: &str) {
        let mut state = self.lock();
        if state.processes[process].disturbed {
            state.late.insert(key.to_owned());
        }
        let first = *state.written.entry(key.to_owned()).or_insert(process);
        drop(state);
        if first != process {
            self.break_off(&format!("I6: {key} is written by p{process}, and was by p{first}"));
        }
    }

    /// Remembers an object whose request arrived after its process had been told that it failed.
    pub fn wrote_late(&self, key: &str) {
        self.lock().late.insert(key.to_owned());
    }

    /// True when nobody may know this object for a while, because it was written too late: until a scan deletes it.
    #[must_use]
    pub fn may_be_late(&self, key: &str) -> bool {
        self.lock().late.contains(key)
    }

    /// No effect of this process any more; those that wait are told.
    pub fn kill(&self, process: ProcessId, why: &str) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.processes[process].dead, true) {
            return;
        }
        let (mut told, left) = state.waiting.drain(..).partition::<Vec<_>, _>(|waiting| waiting.process == process);
        state.waiting = left;
        told.sort_by(|a, b| (&a.kind, a.arrival).cmp(&(&b.kind, b.arrival)));
        drop(state);
        self.note(format!("process {process} dies: {why}"));
        for waiting in told {
            let _ = waiting.grant.send(Err(Dead));
        }
    }

    /// A process gets no turn while it is stalled, as if it were stopped by a signal.
    pub fn stall(&self, process: ProcessId, stalled: bool) {
        let before = {
            let mut state = self.lock();
            state.processes[process].disturbed = true;
            std::mem::replace(&mut state.processes[process].stalled, stalled)
        };
        if before != stalled {
            self.note(format!("process {process} {}", if stalled { "stands still" } else { "goes on" }));
        }
        self.0.changed.notify_one();
    }

    /// Waits for the turn of an effect.
    ///
    /// # Errors
    /// When the process is dead.
    pub async fn turn(&self, process: ProcessId, kind: Kind) -> Result<Turn, Dead> {
        let granted = {
            let mut state = self.lock();
            if state.processes[process].dead {
                return Err(Dead);
            }
            let (grant, granted) = oneshot::channel();
            state.arrivals += 1;
            let arrival = state.arrivals;
            let slow = state.slow();
            state.waiting.push(Waiting { process, kind, arrival, not_before: Instant::now() + slow, grant });
            granted
        };
        self.0.changed.notify_one();
        granted.await.unwrap_or(Err(Dead))
    }

    /// Gives turns for as long as it is polled.
    pub async fn run(self) {
        loop {
            let next = self.lock().next_at();
            match next {
                Some(at) if at <= Instant::now() => {}
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = self.0.changed.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                    continue;
                }
                None => {
                    self.0.changed.notified().await;
                    continue;
                }
            }
            // Returns when nothing else can run.
            tokio::time::sleep(Duration::from_millis(1)).await;
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            self.give();
        }
    }

    fn give(&self) {
        let at = self.now_ms() - START_MS;
        let chosen = self.lock().choose(at);
        let Some((waiting, fate)) = chosen else { return };
        let hold = waiting.kind.uses_metadata().then(|| {
            let (sender, receiver) = mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || receiver.recv());
            sender
        });
        // Dropped, and thereby over, when nobody waits any more.
        let _ = waiting.grant.send(Ok(Turn { fate, turns: self.clone(), hold }));
    }
}

impl State {
    /// When somebody can be given a turn; nobody as long as one has it.
    fn next_at(&mut self) -> Option<Instant> {
        self.waiting.retain(|waiting| !waiting.grant.is_closed());
        let (processes, waiting) = (&self.processes, self.waiting.iter());
        let next =
            waiting.filter(|waiting| !processes[waiting.process].stalled).map(|waiting| waiting.not_before).min();
        next.filter(|_| !self.running)
    }

    fn slow(&mut self) -> Duration {
        if self.rng.random_range(0..10_000) >= self.rates.slow {
            return Duration::ZERO;
        }
        *self.met.entry("fault: a slow effect".to_owned()).or_default() += 1;
        Duration::from_millis(self.rng.random_range(0..3_000))
    }

    fn choose(&mut self, at: i64) -> Option<(Waiting, Fate)> {
        let now = Instant::now();
        self.next_at().filter(|next| *next <= now)?;
        let can = |waiting: &Waiting| !self.processes[waiting.process].stalled && waiting.not_before <= now;
        let mut ready: Vec<usize> = (0..self.waiting.len()).filter(|n| can(&self.waiting[*n])).collect();
        let key = |waiting: &Waiting| (waiting.process, waiting.kind.clone(), waiting.arrival);
        ready.sort_by(|a, b| key(&self.waiting[*a]).cmp(&key(&self.waiting[*b])));
        let n = ready[self.rng.random_range(0..ready.len())];
        let waiting = self.waiting.swap_remove(n);
        let fate = self.fate(&waiting.kind);
        let Waiting { process, kind, .. } = &waiting;
        let told = if fate == Fate::Well { String::new() } else { format!(": {fate:?}") };
        self.trace.push(format!("{at:>8} p{process} {kind}{told}"));
        if fate != Fate::Well {
            let what = match kind {
                Kind::Transaction => "transaction",
                Kind::Read(_) => "read",
                Kind::Write(_) => "write",
            };
            *self.met.entry(format!("fault: {fate:?} of a {what}")).or_default() += 1;
        }
        self.running = true;
        Some((waiting, fate))
    }

    fn fate(&mut self, kind: &Kind) -> Fate {
        let Rates { error, death, .. } = self.rates;
        let fates: &[(Fate, u32)] = match kind {
            // There are many fewer of these than transactions.
            Kind::Read(_) => &[(Fate::ErrorBefore, 5 * error), (Fate::DeathBefore, 5 * death)],
            Kind::Write(_) => &[
                (Fate::ErrorBefore, 5 * error),
                (Fate::ErrorAfter, 5 * error),
                (Fate::DeathBefore, 5 * death),
                (Fate::DeathAfter, 5 * death),
            ],
            Kind::Transaction => &[
                (Fate::ErrorBefore, error),
                (Fate::ErrorAtCommit, error),
                (Fate::ErrorAfter, error),
                (Fate::DeathBefore, death),
                (Fate::DeathAtCommit, death),
                (Fate::DeathAfter, death),
            ],
        };
        let mut point = self.rng.random_range(0..10_000);
        for (fate, rate) in fates {
            if point < *rate {
                return *fate;
            }
            point -= rate;
        }
        Fate::Well
    }
}

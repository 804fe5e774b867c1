//! Everything that a run knows: the processes, what was asked of them, and what they answered.

use crate::model::{Cut, Rows, State};
use crate::process::{Process, Shared};
use crate::turns::{ProcessId, Turns};
use elanus_client::ClientError;
use elanus_scenarios::milvus::CallError;
use elanus_types::{Code, Failure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};
use std::{
    cell::{Cell, RefCell, RefMut},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

/// Where a collection is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Life {
    Live,
    /// Until its time in the trash is over.
    Trashed,
    #[default]
    Gone,
    /// A request about it has no known end: it is one of these.
    Doubt(Vec<Life>),
}

/// What may be done to a collection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collection {
    pub(crate) life: Life,
    /// Known once somebody wanted to drop it.
    pub(crate) id: Option<i64>,
    /// A hold keeps all of it for certain.
    pub(crate) held: bool,
    /// That was so when it was dropped, and ever since.
    pub(crate) held_since_drop: bool,
    /// It has its partitions and its index, and is loaded.
    pub(crate) ready: bool,
    /// One request has it for itself, or had it and its end is not known.
    pub(crate) taken: bool,
    /// When it last changed where it is.
    pub(crate) moved: u64,
    pub(crate) rows: Rows,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its create has no known end.
    Creating,
    Committed,
    /// Its drop has no known end.
    Dropping,
}

#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) stage: Stage,
    pub(crate) begin: u64,
    /// When it was known to be there.
    pub(crate) end: u64,
    pub(crate) ts: Option<u64>,
    /// What was read in it.
    pub(crate) content: Option<State>,
    pub(crate) pins: BTreeSet<i64>,
}

impl Snapshot {
    pub(crate) fn creating(begin: u64) -> Self {
        Self { stage: Stage::Creating, begin, end: 0, ts: None, content: None, pins: BTreeSet::new() }
    }

    pub(crate) fn committed(&mut self, end: u64, ts: Option<u64>) {
        self.stage = Stage::Committed;
        self.end = end;
        self.ts = ts;
    }

    pub(crate) fn cut(&self) -> Option<Cut> {
        Some(Cut { begin: self.begin, end: self.end, ts: self.ts? })
    }
}

/// A restore whose end is not known.
#[derive(Clone, Debug)]
pub(crate) struct Restore {
    pub(crate) source: String,
    pub(crate) snapshot: String,
    /// Only rows of this partition.
    pub(crate) partition: Option<&'static str>,
    /// It was asked to stop.
    pub(crate) cancelled: bool,
}

/// What was asked and answered.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) collections: BTreeMap<String, Collection>,
    /// By target.
    pub(crate) restores: BTreeMap<String, Restore>,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) enum Told<T> {
    Done(T),
    /// Not done, for this reason.
    Refused(Failure),
    /// Nobody knows.
    Unknown,
}

pub(crate) struct World {
    pub(crate) shared: Shared,
    pub(crate) turns: Turns,
    pub(crate) processes: RefCell<Vec<Rc<Process>>>,
    model: RefCell<Model>,
    /// Numbers of events, requests, names and versions.
    last: Cell<u64>,
    pub(crate) running: Cell<usize>,
    /// Compactions until this one are counted.
    pub(crate) compactions_seen: Cell<i64>,
    /// Holds are being lifted, also those that were put meanwhile.
    pub(crate) lifting: Cell<usize>,
}

/// The partition of the odd keys; the others are in the default one.
pub(crate) const ODD: &str = "odd";
pub(crate) const DEFAULT: &str = "_default";

pub(crate) fn partition_of(key: i64) -> &'static str {
    if key % 2 == 0 { DEFAULT } else { ODD }
}

impl World {
    pub(crate) fn new(turns: &Turns) -> Rc<Self> {
        Rc::new(Self {
            shared: Shared::new(turns.clone()).expect("a directory for temporary files"),
            turns: turns.clone(),
            processes: RefCell::default(),
            model: RefCell::default(),
            last: Cell::new(0),
            running: Cell::new(0),
            compactions_seen: Cell::new(0),
            lifting: Cell::new(0),
        })
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    pub(crate) fn model(&self) -> RefMut<'_, Model> {
        self.model.borrow_mut()
    }

    pub(crate) fn collection(&self, name: &str) -> RefMut<'_, Collection> {
        RefMut::map(self.model(), |model| model.collections.get_mut(name).expect("a collection of this run"))
    }

    /// Where a collection is, after the request that had it for itself.
    pub(crate) fn settle_life(&self, name: &str, life: Life) {
        let moved = self.next();
        let mut collection = self.collection(name);
        (collection.life, collection.taken, collection.moved) = (life, false, moved);
    }

    pub(crate) fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.turns.random())
    }

    /// A broken promise ends the run.
    pub(crate) fn broken(&self, why: impl std::fmt::Display) -> ! {
        self.turns.break_off(&why.to_string());
        panic!("{why}");
    }

    /// Ends this task when the run is over.
    pub(crate) fn go_on(&self) {
        if let Some(why) = self.turns.broken() {
            panic!("{why}");
        }
    }

    /// A process to talk to: mostly the newest one.
    pub(crate) async fn server(&self, rng: &mut StdRng) -> Rc<Process> {
        loop {
            let newest = rng.random_ratio(3, 4);
            let alive: Vec<Rc<Process>> = self.alive();
            let chosen = if newest { alive.last().cloned() } else { alive.into_iter().choose(rng) };
            match chosen {
                Some(process) => return process,
                None => pause(500).await,
            }
        }
    }

    /// Processes that have died and are not buried. The one that took over last stays, so that it is known to be dead.
    pub(crate) fn take_dead(&self) -> Vec<Rc<Process>> {
        let mut processes = self.processes.borrow_mut();
        let newest = processes.last().map(|process| process.id);
        let (dead, left) =
            processes.drain(..).partition(|process| self.turns.is_dead(process.id) && Some(process.id) != newest);
        *processes = left;
        dead
    }

    pub(crate) fn alive(&self) -> Vec<Rc<Process>> {
        self.processes.borrow().iter().filter(|process| !self.turns.is_dead(process.id)).cloned().collect()
    }

    /// How a call to this process ended.
    pub(crate) fn told<T>(&self, process: ProcessId, what: &str, answer: Option<Result<T, Failed>>) -> Told<T> {
        self.told_surely(process, what, answer, |code| {
            !matches!(code, Code::Internal | Code::Unexpected | Code::NotReady)
        })
    }

    /// As [`World::told`], where these codes promise that nothing was done.
    pub(crate) fn told_surely<T>(
        &self,
        process: ProcessId,
        what: &str,
        answer: Option<Result<T, Failed>>,
        sure: fn(Code) -> bool,
    ) -> Told<T> {
        let (told, text, kind) = match answer {
            Some(Ok(value)) => (Told::Done(value), "done".to_owned(), "done"),
            Some(Err(Failed::Refused(failure))) if !self.turns.is_dead(process) && sure(failure.code) => {
                let text = format!("refused ({}): {}", failure.code.number(), failure.message);
                (Told::Refused(failure), text, "refused")
            }
            Some(Err(Failed::Refused(failure))) => {
                let text = format!("failed ({}): {}", failure.code.number(), failure.message);
                (Told::Unknown, text, "not known")
            }
            Some(Err(Failed::NoAnswer(why))) => (Told::Unknown, why, "not known"),
            None => (Told::Unknown, "no answer in time".to_owned(), "not known"),
        };
        let verb = what.split(' ').next().unwrap_or(what);
        self.turns.met(format!("{verb}: {kind}"));
        self.turns.note(format!("p{process} {what}: {text}"));
        told
    }
}

/// Why a call did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failed {
    Refused(Failure),
    NoAnswer(String),
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(failure) => Self::Refused(failure),
            CallError::NoAnswer(_) => Self::NoAnswer(error.to_string()),
            CallError::Wrong(why) => panic!("an answer that cannot be right: {why}"),
        }
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        match error.code {
            Some(code) => Self::Refused(Failure::new(code, error.message)),
            None => Self::NoAnswer(error.message),
        }
    }
}

/// A call that its client gives up after a while: `None`.
pub(crate) async fn call<T, E: Into<Failed>>(
    rng: &mut StdRng,
    call: impl Future<Output = Result<T, E>>,
) -> Option<Result<T, Failed>> {
    let patience = Duration::from_millis(rng.random_range(20_000..90_000));
    tokio::time::timeout(patience, call).await.ok().map(|answer| answer.map_err(Into::into))
}

pub(crate) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

//! What the test knows about the server: everything that it asked, and what it was told.

use crate::history::{self, Cut, Settled, State, Writer};
use elanus_scenarios::{
    milvus::{CallError, Milvus, completed},
    rows::Row,
};
use elanus_testkit::wait_for;
use std::{
    cell::{Cell, RefCell, RefMut},
    collections::BTreeMap,
    time::Duration,
};
use tokio::sync::watch;

/// Writers beside each other.
pub(crate) const WRITERS: usize = 4;
/// Keys of one writer: those of writer w begin at w times this.
pub(crate) const KEYS: i64 = 1_000_000;
/// No restore of a test takes longer, also when the server was killed in the middle of it.
const RESTORE_MAX: Duration = Duration::from_secs(60);

/// A snapshot as the test knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Snapshot {
    /// Its create began at this event and was not answered yet.
    Creating { begin: u64 },
    /// Committed between these events.
    Committed { begin: u64, end: u64 },
    /// As before; its drop was not answered yet.
    Dropping { begin: u64, end: u64 },
}

/// A restore that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Restore {
    pub(crate) snapshot: String,
    /// `None` while the answer is out.
    pub(crate) job: Option<i64>,
    /// It was asked to stop, and did not say no.
    pub(crate) cancelled: bool,
    /// Its target may have been dropped already.
    pub(crate) dropping: bool,
}

/// What the run met.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    pub(crate) writes: u64,
    /// Requests to write that were cut off: done, and not done.
    pub(crate) cut_off: [u64; 2],
    pub(crate) snapshots: u64,
    /// Creates that were cut off: done, and not done.
    pub(crate) creates_cut_off: [u64; 2],
    pub(crate) restores: u64,
    pub(crate) restores_cancelled: u64,
    /// Restores that were cut off: accepted, and not accepted.
    pub(crate) restores_cut_off: [u64; 2],
}

/// How far the load is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Writes that were acknowledged.
    pub(crate) acks: u64,
    /// The server was killed.
    pub(crate) dead: bool,
}

/// One collection under load, and what is known of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) milvus: Milvus,
    pub(crate) collection: String,
    events: Cell<u64>,
    writers: Vec<RefCell<Writer>>,
    snapshots: RefCell<BTreeMap<String, Snapshot>>,
    /// By target.
    restores: RefCell<BTreeMap<String, Restore>>,
    pub(crate) progress: watch::Sender<Progress>,
    met: RefCell<Met>,
}

impl World {
    pub(crate) fn new(milvus: Milvus, collection: String) -> Self {
        Self {
            milvus,
            collection,
            events: Cell::new(1),
            writers: (0..WRITERS).map(|_| RefCell::default()).collect(),
            snapshots: RefCell::default(),
            restores: RefCell::default(),
            progress: watch::Sender::default(),
            met: RefCell::default(),
        }
    }

    /// The next event.
    pub(crate) fn event(&self) -> u64 {
        self.events.replace(self.events.get() + 1)
    }

    pub(crate) fn writer(&self, number: usize) -> RefMut<'_, Writer> {
        self.writers[number].borrow_mut()
    }

    pub(crate) fn snapshots(&self) -> RefMut<'_, BTreeMap<String, Snapshot>> {
        self.snapshots.borrow_mut()
    }

    pub(crate) fn restores(&self) -> RefMut<'_, BTreeMap<String, Restore>> {
        self.restores.borrow_mut()
    }

    pub(crate) fn met(&self) -> RefMut<'_, Met> {
        self.met.borrow_mut()
    }

    /// All rows of a collection, by writer.
    async fn read(&self, collection: &str) -> Result<Vec<State>, CallError> {
        let mut rows: Vec<Vec<Row>> = vec![Vec::new(); WRITERS];
        for row in self.milvus.query(collection, "id >= 0").await? {
            rows[usize::try_from(row.id / KEYS).unwrap()].push(row);
        }
        rows.into_iter().map(|rows| history::state(rows).map_err(CallError::Wrong)).collect()
    }

    /// D-1, for every writer.
    pub(crate) async fn settle_writers(&self) {
        let found = self.read(&self.collection).await.unwrap();
        let event = self.event();
        for (number, found) in found.iter().enumerate() {
            let settled = self.writer(number).settle(found, event);
            match settled.unwrap_or_else(|why| panic!("writer {number}: {why}")) {
                Settled::Whole => {}
                Settled::Done => self.met().cut_off[0] += 1,
                Settled::Undone => self.met().cut_off[1] += 1,
            }
        }
    }

    /// S-1: a restored collection has what its snapshot must have.
    pub(crate) async fn check_rows(&self, target: &str, snapshot: &str) -> Result<(), CallError> {
        let known = self.snapshots().get(snapshot).copied();
        let (begin, end) = match known {
            Some(Snapshot::Committed { begin, end } | Snapshot::Dropping { begin, end }) => (begin, end),
            other => panic!("restored from {snapshot}, which is {other:?}"),
        };
        let ts = self.milvus.snapshot_ts(&self.collection, snapshot).await?;
        self.milvus.load(target).await?;
        self.met().restores += 1;
        for (number, found) in self.read(target).await?.iter().enumerate() {
            let checked = self.writer(number).check(Cut { begin, end, ts }, found);
            checked.unwrap_or_else(|why| panic!("{target} of {snapshot}, writer {number}: {why}"));
        }
        Ok(())
    }

    /// waits for the end of a job that nobody helps; its target is not seen before it completed. True when it
    /// completed, false when it failed.
    pub(crate) async fn follow(&self, target: &str, job: i64) -> Result<bool, CallError> {
        let mut seen = -1;
        wait_for(&format!("restore {job} into {target}"), RESTORE_MAX, async || {
            // In this order: what is seen now was published before the job is looked at.
            let look = async {
                let visible = self.milvus.has_collection(target).await?;
                Ok((visible, self.milvus.job(job).await?))
            };
            let (visible, now) = match look.await {
                Ok(seen) => seen,
                Err(error) => return Ok(Err(error)),
            };
            assert!(seen <= now.progress, "the progress of {job} fell from {seen} to {}", now.progress);
            seen = now.progress;
            let done = completed(&now);
            assert!(!visible || done == Ok(true), "R-1: {target} is visible and its job {now:?}");
            assert_eq!(now.progress == 100, done == Ok(true), "{now:?}");
            match done {
                Ok(false) => Err(format!("{now:?}")),
                ended => Ok(Ok(ended.is_ok())),
            }
        })
        .await
    }
}

//! What a read looks at: a collection as it is now, or as it was at one of its snapshots.
//!
//! A snapshot protects what it holds as long as it is there. So a read inside it counts only when the snapshot is still
//! there afterwards: then everything that was read was protected all the time, and no pin is needed.

use crate::{
    Proxy,
    backend::{Call, Collection, answer},
    names,
};
use elanus_proto::datacoord as dc;
use elanus_types::{Code, Failure};

/// What a read looks at.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) collection: Collection,
    snapshot: Option<dc::Snapshot>,
}

impl Source {
    pub(super) async fn open(proxy: &Proxy, call: &Call, db: &str, name: &str) -> Result<Self, Failure> {
        let collection = proxy.collection(call, db, name).await?;
        let Some(snapshot) = call.snapshot() else {
            return Ok(Self { collection, snapshot: None });
        };
        names::snapshot(snapshot)?;
        let reference =
            dc::SnapshotRef { collection: Some(collection.reference()), snapshot_name: snapshot.to_owned() };
        let opened = answer(proxy.datacoord().open_snapshot(reference)).await?;
        let lacks = || Failure::internal("the coordinator opened a snapshot without saying what is in it");
        let collection = Collection::new(opened.collection.ok_or_else(lacks)?)?;
        Ok(Self { collection, snapshot: Some(opened.snapshot.ok_or_else(lacks)?) })
    }

    /// For the query node: 0 is now.
    pub(super) fn read_ts(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.create_ts)
    }

    pub(super) fn is_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// What was read, unless the snapshot was dropped meanwhile. That also explains a read that failed.
    pub(super) async fn checked<T>(self, proxy: &Proxy, read: Result<T, Failure>) -> Result<T, Failure> {
        let Some(snapshot) = self.snapshot else { return read };
        let snapshot_name = snapshot.name;
        let reference =
            dc::SnapshotRef { collection: Some(self.collection.reference()), snapshot_name: snapshot_name.clone() };
        let now = answer(proxy.datacoord().describe_snapshot(reference)).await?;
        // Another one of the same name is another one.
        if now.id == snapshot.id {
            return read;
        }
        let failure = Failure::new(Code::SnapshotNotFound, format!("snapshot not found[snapshot={snapshot_name}]"));
        Err(failure.context(format_args!("collection {}", self.collection.id())))
    }
}

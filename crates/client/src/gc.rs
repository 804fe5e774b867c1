//! The garbage collector: what waits for deletion, what keeps it, and the brakes.

use crate::{Client, ClientError, ErrorKind, Result};
use elanus_proto::admin::{self as pb, gc_answer::What as Answer, gc_request::What as Ask};
use std::time::Duration;

/// Calls about the garbage collector.
#[derive(Clone, Debug)]
pub struct Gc<'c> {
    pub(crate) client: &'c Client,
    /// Who asks, for the audit trail.
    pub(crate) actor: String,
}

/// A collection that an operator means: by name where it is live, by id also a dropped one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcCollection<'n> {
    /// By id.
    Id(i64),
    /// By name.
    Name(&'n str),
}

impl GcCollection<'_> {
    fn parts(which: Option<Self>) -> (String, i64) {
        match which {
            None => (String::new(), 0),
            Some(GcCollection::Id(id)) => (String::new(), id),
            Some(GcCollection::Name(name)) => (name.to_owned(), 0),
        }
    }
}

/// One method an answer: what another answer would mean is a server that this client does not fit.
macro_rules! answers {
    ($($method:ident: $variant:ident -> $answer:ty;)*) => {
        $(async fn $method(&self, ask: Ask) -> Result<$answer> {
            match self.ask(ask).await? {
                Some(Answer::$variant(answer)) => Ok(answer),
                _ => Err(ClientError::new(ErrorKind::Other, "the server answers something else than was asked".to_owned())),
            }
        })*
    };
}

impl Gc<'_> {
    /// Who asks, for the audit trail.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    async fn ask(&self, ask: Ask) -> Result<Option<Answer>> {
        let request = pb::GcRequest { actor: self.actor.clone(), what: Some(ask) };
        let mut admin = self.client.admin.clone();
        Ok(self.client.write(admin.gc(request)).await?.what)
    }

    answers! {
        as_status: Status -> pb::GcStatus;
        as_pause: Pause -> pb::GcPause;
        as_count: Count -> pb::GcCount;
        as_hold: Hold -> pb::GcHold;
        as_holds: Holds -> pb::GcHolds;
        as_plan: Plan -> pb::GcPlan;
        as_plan_items: PlanItems -> pb::GcPlanItems;
        as_why: Why -> pb::GcWhy;
        as_undone: Undone -> pb::GcUndone;
        as_audit: Audit -> pb::GcAuditLines;
        as_runs: Runs -> pb::GcRuns;
        as_dropped: Dropped -> pb::GcDroppedSnapshots;
        as_undropped: Undropped -> pb::GcUndropped;
    }

    /// The state of the collector.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn status(&self) -> Result<pb::GcStatus> {
        self.as_status(Ask::Status(pb::GcStatusRequest {})).await
    }

    /// Pauses deletion everywhere or of one collection; when it returns, nothing is being deleted.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a time that is no pause, [`ErrorKind::NotFound`] for an unknown collection.
    pub async fn pause(&self, which: Option<GcCollection<'_>>, ttl: Duration) -> Result<pb::GcPause> {
        let (collection_name, collection_id) = GcCollection::parts(which);
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let db_name = self.client.database.clone();
        self.as_pause(Ask::Pause(pb::GcPauseRequest { collection_name, collection_id, db_name, seconds })).await
    }

    /// Ends one pause, or all of them; how many ended.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown ticket.
    pub async fn resume(&self, ticket: Option<i64>) -> Result<i64> {
        let ask = pb::GcResumeRequest { ticket: ticket.unwrap_or_default(), collection_id: 0 };
        Ok(self.as_count(Ask::Resume(ask)).await?.count)
    }

    /// Puts a hold on a collection or on one of its snapshots.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an unknown one.
    pub async fn hold(&self, which: GcCollection<'_>, snapshot: Option<&str>, reason: &str) -> Result<pb::GcHold> {
        let (collection_name, collection_id) = GcCollection::parts(Some(which));
        let ask = pb::GcHoldRequest {
            collection_name,
            collection_id,
            db_name: self.client.database.clone(),
            snapshot_name: snapshot.unwrap_or_default().to_owned(),
            reason: reason.to_owned(),
        };
        self.as_hold(Ask::Hold(ask)).await
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown one.
    pub async fn lift(&self, hold_id: i64) -> Result<()> {
        self.as_count(Ask::Lift(pb::GcLiftRequest { hold_id })).await.map(|_| ())
    }

    /// Holds, oldest first.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn holds(&self) -> Result<Vec<pb::GcHold>> {
        Ok(self.as_holds(Ask::Holds(pb::GcHoldsRequest {})).await?.holds)
    }

    /// Writes down what would be deleted now.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn plan(&self) -> Result<pb::GcPlan> {
        self.as_plan(Ask::Plan(pb::GcPlanRequest {})).await
    }

    /// Objects of a plan, those after a key.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown plan.
    pub async fn plan_items(&self, plan_id: i64, after_key: &str, limit: i64) -> Result<Vec<pb::GcPlanItem>> {
        let ask = pb::GcPlanItemsRequest { plan_id, after_key: after_key.to_owned(), limit };
        Ok(self.as_plan_items(Ask::PlanItems(ask)).await?.items)
    }

    /// Deletes what is in a plan and may still go; how many file sets.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown plan.
    pub async fn apply(&self, plan_id: i64) -> Result<i64> {
        Ok(self.as_count(Ask::Apply(pb::GcApplyRequest { plan_id })).await?.count)
    }

    /// Who keeps an object.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a key that the metadata does not know.
    pub async fn why(&self, key: &str) -> Result<pb::GcWhy> {
        self.as_why(Ask::Why(pb::GcWhyRequest { key: key.to_owned() })).await
    }

    /// Brings a dropped collection back from the deletion queue.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when its files are deleted already, or the name is taken.
    pub async fn undo(&self, collection_id: i64, new_name: Option<&str>) -> Result<pb::GcUndone> {
        let new_name = new_name.unwrap_or_default().to_owned();
        self.as_undone(Ask::Undo(pb::GcUndoRequest { collection_id, new_name })).await
    }

    /// Dropped snapshots of a collection that may still come back, newest drop first.
    ///
    /// # Errors
    /// When there is no such collection.
    pub async fn dropped(&self, collection: &str) -> Result<Vec<pb::GcDroppedSnapshot>> {
        let db_name = self.client.database.clone();
        let ask = pb::GcDroppedRequest { collection_name: collection.to_owned(), db_name };
        Ok(self.as_dropped(Ask::Dropped(ask)).await?.snapshots)
    }

    /// Brings a dropped snapshot back: the one with this id, or the one of this name that was dropped last.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when none was dropped, or too long ago; [`ErrorKind::Invalid`] when something of it is
    /// deleted already, or the name is taken.
    pub async fn undrop(
        &self,
        collection: &str,
        snapshot: &str,
        id: Option<i64>,
        new_name: Option<&str>,
    ) -> Result<pb::GcUndropped> {
        let ask = pb::GcUndropRequest {
            collection_name: collection.to_owned(),
            db_name: self.client.database.clone(),
            snapshot_name: snapshot.to_owned(),
            snapshot_id: id.unwrap_or_default(),
            new_name: new_name.unwrap_or_default().to_owned(),
        };
        self.as_undropped(Ask::Undrop(ask)).await
    }

    /// Lines of the audit trail, newest first.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn audit(&self, key: Option<&str>, before_id: i64, limit: i64) -> Result<Vec<pb::GcAuditLine>> {
        let key = key.unwrap_or_default().to_owned();
        Ok(self.as_audit(Ask::Audit(pb::GcAuditRequest { key, before_id, limit })).await?.lines)
    }

    /// Runs a background task of the collector now, or all of them.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown task.
    pub async fn run(&self, task: Option<&str>) -> Result<Vec<pb::GcRun>> {
        let task = task.unwrap_or_default().to_owned();
        Ok(self.as_runs(Ask::Run(pb::GcRunRequest { task })).await?.runs)
    }

    /// Freezes all deletes until [`Gc::thaw`].
    ///
    /// # Errors
    /// When the server is away.
    pub async fn freeze(&self, reason: &str) -> Result<()> {
        let ask = pb::GcFreezeRequest { reason: reason.to_owned() };
        self.as_count(Ask::Freeze(ask)).await.map(|_| ())
    }

    /// Lets deletes go on; false when they were not frozen.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn thaw(&self) -> Result<bool> {
        Ok(self.as_count(Ask::Thaw(pb::GcThawRequest {})).await?.count > 0)
    }
}

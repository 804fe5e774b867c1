//! Scans for orphans, and the reconcile after a restore of the metadata.

use crate::{Client, Orphan, PurgeNamespaceReport, ReconcileReport, Result, Scan};
use elanus_proto::admin::{
    AllowOrphansRequest, ListOrphansRequest, ListScansRequest, ListScansResponse, PurgeNamespaceRequest,
    ReconcileRequest, StartScanRequest, allow_orphans_request::What,
};
use std::time::Duration;

/// Objects in the bucket that nothing knows.
#[derive(Clone, Copy, Debug)]
pub struct Scans<'c>(pub(crate) &'c Client);

/// What is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// To delete this object, which no row of the metadata ever mentioned.
    UnknownKey(String),
    /// To delete all such objects that complete scans saw so far.
    AllUnknown,
    /// To go on although this scan found many orphans.
    Scan(i64),
}

impl Scans<'_> {
    /// Wants a scan to run now; the one that is under way where there is one. Returns at once.
    ///
    /// # Errors
    /// When the metadata cannot be written.
    pub async fn start(&self) -> Result<Scan> {
        let mut admin = self.0.admin.clone();
        self.0.write(admin.start_scan(StartScanRequest {})).await
    }

    /// Scans, the newest first, and why nothing is deleted at present.
    ///
    /// # Errors
    /// When the metadata cannot be read.
    pub async fn list(&self, limit: u32) -> Result<ListScansResponse> {
        self.0
            .read(|| {
                let mut admin = self.0.admin.clone();
                async move { admin.list_scans(ListScansRequest { limit }).await }
            })
            .await
    }

    /// At most `limit` orphans in the order of their keys, those after `after_key`.
    ///
    /// # Errors
    /// When the metadata cannot be read.
    pub async fn orphans(&self, after_key: &str, limit: u32) -> Result<Vec<Orphan>> {
        let request = ListOrphansRequest { after_key: after_key.to_owned(), limit };
        let found = self
            .0
            .read(|| {
                let (mut admin, request) = (self.0.admin.clone(), request.clone());
                async move { admin.list_orphans(request).await }
            })
            .await?;
        Ok(found.orphans)
    }

    /// Allows it; the number of objects that this concerns.
    ///
    /// # Errors
    /// When there is no such object or scan.
    pub async fn allow(&self, what: Allow) -> Result<i64> {
        let what = match what {
            Allow::UnknownKey(key) => What::UnknownKey(key),
            Allow::AllUnknown => What::AllUnknown(true),
            Allow::Scan(id) => What::AcceptScan(id),
        };
        let mut admin = self.0.admin.clone();
        Ok(self.0.write(admin.allow_orphans(AllowOrphansRequest { what: Some(what) })).await?.objects)
    }

    /// What is in the folder of a former owner of the root path; changes nothing.
    ///
    /// # Errors
    /// When the cluster is no former owner, or nobody has decided what becomes of its objects.
    pub async fn look_at_namespace(&self, cluster_id: &str) -> Result<PurgeNamespaceReport> {
        self.ask_namespace(cluster_id, false).await
    }

    /// Has the folder of a former owner emptied; returns at once. Repeated, it is the same one.
    ///
    /// # Errors
    /// As [`Scans::look_at_namespace`].
    pub async fn purge_namespace(&self, cluster_id: &str, actor: &str) -> Result<PurgeNamespaceReport> {
        let mut admin = self.0.admin.clone();
        let ask = PurgeNamespaceRequest {
            cluster_id: cluster_id.to_owned(),
            apply: true,
            confirm: cluster_id.to_owned(),
            actor: actor.to_owned(),
            progress: false,
        };
        self.0.write(admin.purge_namespace(ask)).await
    }

    /// How that stands; an empty `state`: nobody wanted it.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn purge_progress(&self, cluster_id: &str) -> Result<PurgeNamespaceReport> {
        self.ask_namespace(cluster_id, true).await
    }

    async fn ask_namespace(&self, cluster_id: &str, progress: bool) -> Result<PurgeNamespaceReport> {
        let cluster_id = cluster_id.to_owned();
        let ask = PurgeNamespaceRequest { cluster_id, progress, ..PurgeNamespaceRequest::default() };
        self.0
            .read(|| {
                let (mut admin, ask) = (self.0.admin.clone(), ask.clone());
                async move { admin.purge_namespace(ask).await }
            })
            .await
    }

    /// Compares bucket and metadata after the metadata was restored from a backup; with `apply` puts what is unknown in
    /// quarantine and lets deletes go on, unless live objects are missing or damaged and `accept_missing` is not set: then
    /// the report says that nothing was applied.
    ///
    /// # Errors
    /// When bucket or metadata cannot be read, or the owner's marker cannot be written.
    pub async fn reconcile(&self, apply: bool, accept_missing: bool, quarantine: Duration) -> Result<ReconcileReport> {
        let quarantine_ms = i64::try_from(quarantine.as_millis()).unwrap_or(i64::MAX);
        let mut admin = self.0.admin.clone();
        self.0.write(admin.reconcile(ReconcileRequest { apply, accept_missing, quarantine_ms })).await
    }
}

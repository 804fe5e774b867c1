//! Restore jobs.

use crate::{Client, ClientError, ErrorKind, JobError, JobHistoryLine, RestoreJob, Result};
use elanus_proto::datacoord::{JobRef, ListRestoreJobsRequest};
use elanus_types::Code;
use std::time::{Duration, Instant};

/// Pause between two looks at a job that is waited for.
const POLL: Duration = Duration::from_millis(250);
/// A job goes on while its server restarts; so does the wait for it.
const AWAY_MAX: Duration = Duration::from_secs(120);

/// Calls about restore jobs.
#[derive(Clone, Copy, Debug)]
pub struct Jobs<'c>(pub(crate) &'c Client);

/// A list of jobs that is not asked for yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct ListJobs<'c> {
    client: &'c Client,
    request: ListRestoreJobsRequest,
}

impl<'c> Jobs<'c> {
    /// A job as it is now.
    ///
    /// # Errors
    /// When no job has this id.
    pub async fn describe(&self, job_id: i64) -> Result<RestoreJob> {
        let call = async || self.0.admin.clone().get_job(JobRef { job_id }).await;
        self.0.read(call).await
    }

    /// What went wrong in a job's copy tasks, also where a task was tried again; oldest first.
    ///
    /// # Errors
    /// When no job has this id.
    pub async fn errors(&self, job_id: i64) -> Result<Vec<JobError>> {
        let call = async || self.0.admin.clone().list_job_errors(JobRef { job_id }).await;
        Ok(self.0.read(call).await?.errors)
    }

    /// What happened to a job and to its tasks, oldest first. A job's own lines are kept longer than the job.
    ///
    /// # Errors
    /// When no job ever had this id.
    pub async fn history(&self, job_id: i64) -> Result<Vec<JobHistoryLine>> {
        let call = async || self.0.admin.clone().list_job_history(JobRef { job_id }).await;
        Ok(self.0.read(call).await?.lines)
    }

    /// Jobs of all databases, newest last.
    pub fn list(&self) -> ListJobs<'c> {
        ListJobs { client: self.0, request: ListRestoreJobsRequest::default() }
    }

    /// Stops a job; what it had done is removed. A repeat is success.
    ///
    /// # Errors
    /// When no job has this id, and when it completed already or is about to.
    pub async fn cancel(&self, job_id: i64) -> Result<RestoreJob> {
        let mut admin = self.0.admin.clone();
        self.0.write(admin.cancel_job(JobRef { job_id })).await
    }

    /// Waits until a job ended and shows every look at it. A server that restarts meanwhile is waited for.
    ///
    /// # Errors
    /// [`ErrorKind::JobFailed`] when the job failed or was cancelled.
    pub async fn wait(&self, job_id: i64, mut show: impl FnMut(&RestoreJob)) -> Result<RestoreJob> {
        let mut seen = Instant::now();
        loop {
            match self.describe(job_id).await {
                Ok(job) => {
                    seen = Instant::now();
                    show(&job);
                    if let Some(end) = ended(job) {
                        return end;
                    }
                }
                Err(error) if error.kind == ErrorKind::Unavailable && seen.elapsed() < AWAY_MAX => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// `None` while it runs. A failing job runs: its traces are still being removed.
fn ended(job: RestoreJob) -> Option<Result<RestoreJob>> {
    match job.state.as_str() {
        "completed" => Some(Ok(job)),
        "failed" => Some(Err(ClientError {
            kind: ErrorKind::JobFailed,
            code: Some(Code::JobFailed),
            message: format!("restore job {} failed: {}", job.job_id, job.reason),
        })),
        _ => None,
    }
}

impl ListJobs<'_> {
    /// Only those whose target is in this database.
    pub fn target_database(mut self, name: impl Into<String>) -> Self {
        self.request.db_name = name.into();
        self
    }

    /// Only those whose target is called so.
    pub fn target_collection(mut self, name: impl Into<String>) -> Self {
        self.request.collection_name = name.into();
        self
    }

    /// Asks.
    ///
    /// # Errors
    /// When there is no such database.
    pub async fn send(self) -> Result<Vec<RestoreJob>> {
        let call = async || self.client.admin.clone().list_jobs(self.request.clone()).await;
        Ok(self.client.read(call).await?.jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_ended_when_nothing_of_it_goes_on() {
        let job = |state: &str| RestoreJob {
            job_id: 7,
            state: state.to_owned(),
            reason: "a file is damaged".to_owned(),
            ..RestoreJob::default()
        };
        for state in ["pending", "copying", "publishing", "failing"] {
            assert_eq!(ended(job(state)), None, "{state}");
        }
        assert_eq!(ended(job("completed")), Some(Ok(job("completed"))));
        let error = ended(job("failed")).unwrap().unwrap_err();
        assert_eq!(error.kind, ErrorKind::JobFailed);
        assert_eq!(error.message, "restore job 7 failed: a file is damaged");
    }
}

//! What metrics and traces are told of the tasks of a node.

use super::Work;
use super::report::{Progress, Verdict};
use elanus_trace::Span;

/// Counts a task that runs, also one that is dropped.
pub(super) struct Counted(&'static str);

impl Counted {
    pub(super) fn new(kind: &'static str) -> Self {
        metrics::gauge!("elanus_datanode_tasks_running", "kind" => kind).increment(1.0);
        Self(kind)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("elanus_datanode_tasks_running", "kind" => self.0).decrement(1.0);
    }
}

/// One more file is copied and verified, or read to be compacted.
pub(super) fn moved(kind: &'static str, bytes: u64) {
    metrics::counter!("elanus_datanode_task_files_total", "kind" => kind).increment(1);
    metrics::counter!("elanus_datanode_task_bytes_total", "kind" => kind).increment(bytes);
}

/// The work of a task has ended.
pub(super) fn ended(step: &Span, work: &Work, progress: &Progress, verdict: Option<&Verdict>) {
    let ended = match verdict {
        Some(Verdict::Copied | Verdict::Compacted(_) | Verdict::Indexed(_)) => "done",
        Some(Verdict::Failed { permanent: true, .. }) => "failed",
        Some(Verdict::Failed { permanent: false, .. }) => "failed_for_now",
        None => "stopped",
    };
    let kind = work.label();
    metrics::counter!("elanus_datanode_tasks_total", "ended" => ended, "kind" => kind).increment(1);
    if let Some(Verdict::Compacted(Some(file))) = verdict {
        metrics::counter!("elanus_datanode_compacted_bytes_total").increment(file.size);
    }
    if let Some(Verdict::Indexed(file)) = verdict {
        metrics::counter!("elanus_datanode_indexed_bytes_total").increment(file.size);
    }
    let (files, bytes) = progress.so_far();
    step.record("elanus.files_done", files);
    step.record("elanus.bytes_done", bytes);
    step.record("elanus.ended", ended);
    if let Some(Verdict::Failed { errors, .. }) = verdict {
        let (key, why) = errors.first().map_or(("", ""), |(key, why)| (key.as_str(), why.as_str()));
        elanus_trace::span_failed(step, &format!("{} files failed; {key}: {why}", errors.len()));
    }
}

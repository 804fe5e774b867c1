//! Watching a job: a progress bar on a terminal, a line now and then elsewhere. Both on stderr.

use super::{Stop, job::moved};
use elanus_client::{Client, RestoreJob};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

const BAR: &str = "{msg} [{bar:30}] {percent} %  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
const SPINNER: &str = "{msg} {spinner}";
const LINE_INTERVAL: Duration = Duration::from_secs(10);
const LINE_PROGRESS: i32 = 10;

/// Waits for the end of a job. Ctrl-C ends only the wait.
pub(super) async fn until_ended(client: &Client, job_id: i64) -> Result<RestoreJob, Stop> {
    let mut watch = Watch::start();
    let jobs = client.jobs();
    let ended = tokio::select! {
        ended = jobs.wait(job_id, |job| watch.show(job)) => Some(ended),
        _ = tokio::signal::ctrl_c() => None,
    };
    watch.end();
    let Some(ended) = ended else {
        eprintln!("job {job_id} goes on in the server");
        eprintln!("  follow it:  elanus ctl job describe {job_id} --wait");
        eprintln!("  cancel it:  elanus ctl job cancel {job_id}");
        return Err(Stop::Interrupted);
    };
    Ok(ended?)
}

enum Watch {
    Bar(ProgressBar),
    Lines(Lines),
}

impl Watch {
    fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines(Lines::default());
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style(SPINNER));
        bar.set_message("asking the server");
        bar.enable_steady_tick(Duration::from_millis(100));
        Self::Bar(bar)
    }

    fn show(&mut self, job: &RestoreJob) {
        match self {
            Self::Bar(bar) => show(bar, job),
            Self::Lines(lines) => {
                if let Some(line) = lines.next(job, Instant::now()) {
                    eprintln!("{line}");
                }
            }
        }
    }

    fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants")
}

/// The numbers first: the bar is drawn by its own clock.
fn show(bar: &ProgressBar, job: &RestoreJob) {
    let counted = job.state == "copying" && job.bytes_total > 0;
    if counted {
        bar.set_length(u64::try_from(job.bytes_total).unwrap_or_default());
        bar.set_position(u64::try_from(job.bytes_done).unwrap_or_default());
    }
    bar.set_message(format!("{} job {}: {}", job.kind, job.job_id, doing(&job.state)));
    bar.set_style(style(if counted { BAR } else { SPINNER }));
}

fn doing(state: &str) -> &str {
    match state {
        "pending" => "planning",
        "failing" => "failed, removing what it had done",
        other => other,
    }
}

/// Which looks at a job are worth a line.
#[derive(Default)]
struct Lines {
    last: Option<(String, i32, Instant)>,
}

impl Lines {
    fn next(&mut self, job: &RestoreJob, now: Instant) -> Option<String> {
        if let Some((state, progress, at)) = &self.last
            && *state == job.state
            && job.progress < progress + LINE_PROGRESS
            && now.duration_since(*at) < LINE_INTERVAL
        {
            return None;
        }
        self.last = Some((job.state.clone(), job.progress, now));
        let RestoreJob { kind, job_id, progress, .. } = job;
        Some(format!("{kind} job {job_id}: {}, {progress} %, {}", doing(&job.state), moved(job)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::job::sample;

    #[test]
    fn a_line_comes_with_a_new_state_with_progress_and_after_a_while() {
        let mut lines = Lines::default();
        let start = Instant::now();
        let job = |state: &str, progress| RestoreJob { state: state.to_owned(), progress, ..sample() };
        let mut shown = |state, progress, s| lines.next(&job(state, progress), start + Duration::from_secs(s));
        let first = "restore job 42: copying, 25 %, copied 1.00 MiB of 4.00 MiB";
        assert_eq!(shown("copying", 25, 0).as_deref(), Some(first));
        assert_eq!(shown("copying", 34, 9), None);
        assert!(shown("copying", 35, 9).is_some());
        assert_eq!(shown("copying", 35, 18), None);
        assert!(shown("copying", 35, 19).is_some());
        assert!(shown("publishing", 35, 19).unwrap().contains("publishing"));
    }

    #[test]
    fn the_templates_are_valid_in_every_state() {
        let bar = ProgressBar::hidden();
        for state in ["pending", "copying", "publishing", "failing"] {
            show(&bar, &RestoreJob { state: state.to_owned(), ..sample() });
        }
    }
}

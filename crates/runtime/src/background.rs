//! Background tasks: each drains a state, one bounded round at a time, for as long as the process lives.
//!
//! BT-1  A task takes no input: a wake-up only makes the next round sooner, the timer makes it happen anyway.
//! BT-2  Rounds of one task never overlap; rounds of different tasks never wait for each other.
//! BT-3  A round that fails or panics is counted and followed by another one, after a pause that grows.
//! BT-4  What [`Background::activate_and_wait`] returns is the report of a round that started after the call.
//!
//! A round may be dropped at any await when the process ends; what it drains must survive that, as it survives kill -9.

use async_trait::async_trait;
use elanus_types::Clock;
use futures::FutureExt as _;
use serde::Serialize;
use std::{
    any::Any,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How long [`Background::shutdown`] lets running rounds finish.
const LAST_ROUND_MAX: Duration = Duration::from_secs(5);

/// Work that is found, not given: a round reads the state that it drains.
#[async_trait]
pub trait BackgroundTask: Send + Sync + 'static {
    /// Unique in its process, for example `snapshot.expire`.
    fn name(&self) -> &'static str;
    /// The state that it empties, for people: "snapshots whose creator died".
    fn drains(&self) -> &'static str;
    /// Longest pause between two rounds that did not fail.
    fn period(&self) -> Duration;
    /// One bounded round.
    async fn round(&self) -> Report;
    /// Returns when something in this process left work: the next round then starts soon. Dropped and called again at
    /// will; what happened between two calls must make the second one return at once.
    async fn woken(&self) {
        std::future::pending().await
    }
}

/// What a round did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Items that left the state.
    pub handled: u64,
    /// Items that should have left it and did not.
    pub failed: u64,
    /// For people: what happened, in a line. May be empty.
    pub text: String,
    /// More is waiting than one round takes.
    pub again_now: bool,
}

impl Report {
    /// A round that did this many items and found no more.
    #[must_use]
    pub fn handled(items: u64) -> Self {
        Self { handled: items, ..Self::default() }
    }

    /// A round that could not do its work. Logged by the driver, with this text.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self { failed: 1, text: text.into(), ..Self::default() }
    }

    /// True when the round found nothing to do.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.handled == 0 && self.failed == 0 && !self.again_now
    }
}

/// How a task is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskStatus {
    /// Its name.
    pub name: &'static str,
    /// The state that it empties.
    pub drains: &'static str,
    /// Longest pause between rounds.
    #[serde(rename = "period_ms", serialize_with = "as_ms")]
    pub period: Duration,
    /// Of the last round that ended.
    pub last_report: Option<Report>,
    /// When the last round started.
    pub last_started_ms: Option<i64>,
    /// When the last round ended.
    pub last_ended_ms: Option<i64>,
    /// Rounds that ended.
    pub rounds: u64,
    /// Rounds that failed in part or as a whole.
    pub failures: u64,
    /// Of those, the last ones without one that did not fail.
    pub failed_in_a_row: u64,
}

fn as_ms<S: serde::Serializer>(period: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(period.as_millis()).unwrap_or(u64::MAX))
}

/// Tasks still found work after as many passes as were allowed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("background tasks are not quiet after {passes} passes: {busy:?}")]
pub struct NotQuiet {
    /// Passes over all tasks.
    pub passes: usize,
    /// Name and last report of every task that was still busy.
    pub busy: Vec<(&'static str, Report)>,
}

/// The background tasks of a process. Clones are the same set.
#[derive(Clone)]
pub struct Background(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    slots: Mutex<Vec<Arc<Slot>>>,
    running: TaskTracker,
    /// No further rounds.
    stop: CancellationToken,
    /// Drop running rounds.
    abandon: CancellationToken,
}

/// One task: what was asked of it and what it did.
struct Slot {
    name: &'static str,
    wake: Notify,
    asked: Mutex<Asked>,
    progress: watch::Sender<Progress>,
}

/// Requests are numbered; a round covers all requests made before it started.
#[derive(Clone, Copy, Default)]
struct Asked {
    last: u64,
    /// The last request with somebody waiting for it: not held back by a pause after failures.
    last_urgent: u64,
}

impl Asked {
    /// BT-3: a mere wake-up does not break the pause after a failure.
    fn wants_a_round(self, covered: u64, held_back: bool) -> bool {
        self.last_urgent > covered || (self.last > covered && !held_back)
    }
}

struct Progress {
    covered: u64,
    ended: bool,
    status: TaskStatus,
}

impl Background {
    /// A set without tasks.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            clock,
            slots: Mutex::default(),
            running: TaskTracker::new(),
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
        }))
    }

    /// Starts a task's loop; its first round starts at once.
    ///
    /// # Panics
    /// Outside a tokio runtime, and when a task of this name runs already.
    pub fn spawn(&self, task: impl BackgroundTask) {
        self.spawn_until(std::future::pending(), task);
    }

    /// As [`Background::spawn`]; the task ends, also in the middle of a round, when `end` does.
    ///
    /// # Panics
    /// As [`Background::spawn`].
    pub fn spawn_until(&self, end: impl Future<Output = ()> + Send + 'static, task: impl BackgroundTask) {
        let slot = Arc::new(Slot::new(&task));
        let mut slots = lock(&self.0.slots);
        assert!(slots.iter().all(|other| other.name != slot.name), "two background tasks are called {}", slot.name);
        slots.push(Arc::clone(&slot));
        let inner = Arc::clone(&self.0);
        self.0.running.spawn(async move {
            tokio::select! {
                () = drive(&task, &slot, &inner) => {}
                () = end => tracing::info!(task = task.name(), "background task ended"),
            }
            slot.progress.send_modify(|progress| progress.ended = true);
        });
    }

    /// Makes the next round of a task start as soon as the present one ended. An unknown name is ignored.
    pub fn activate(&self, name: &str) {
        if let Some(slot) = self.slot(name) {
            slot.ask(false);
        }
    }

    /// Runs a full round of a task and waits for it (BT-4). An unknown or stopped task gives a failed report.
    pub async fn activate_and_wait(&self, name: &str) -> Report {
        let Some(slot) = self.slot(name) else {
            return Report::error(format!("no background task is called {name}"));
        };
        let mut progress = slot.progress.subscribe();
        let ticket = slot.ask(true);
        let seen = progress.wait_for(|progress| progress.covered >= ticket || progress.ended).await;
        match seen {
            Ok(progress) if progress.covered >= ticket => progress.status.last_report.clone().unwrap_or_default(),
            _ => Report::error(format!("background task {name} has stopped")),
        }
    }

    /// Runs all tasks, pass after pass, until a whole pass finds nothing to do.
    ///
    /// # Errors
    /// When there is still work after `passes_max` passes.
    pub async fn run_until_quiet(&self, passes_max: usize) -> Result<(), NotQuiet> {
        let mut busy = Vec::new();
        for _ in 0..passes_max {
            busy.clear();
            let names: Vec<_> = lock(&self.0.slots).iter().map(|slot| slot.name).collect();
            for name in names {
                let report = self.activate_and_wait(name).await;
                if !report.is_quiet() {
                    busy.push((name, report));
                }
            }
            if busy.is_empty() {
                return Ok(());
            }
        }
        Err(NotQuiet { passes: passes_max, busy })
    }

    /// How every task is doing, in the order in which they were started.
    #[must_use]
    pub fn status(&self) -> Vec<TaskStatus> {
        let slots = lock(&self.0.slots);
        slots.iter().map(|slot| slot.progress.borrow().status.clone()).collect()
    }

    /// Ends all loops: no further round starts, running ones get a few seconds, then they are dropped.
    pub async fn shutdown(&self) {
        self.shutdown_within(LAST_ROUND_MAX).await;
    }

    async fn shutdown_within(&self, last_round_max: Duration) {
        self.0.stop.cancel();
        self.0.running.close();
        if tokio::time::timeout(last_round_max, self.0.running.wait()).await.is_err() {
            tracing::warn!(
                "background tasks did not finish their last round; what they left is found at the next start"
            );
            self.0.abandon.cancel();
            self.0.running.wait().await;
        }
    }

    fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        lock(&self.0.slots).iter().find(|slot| slot.name == name).map(Arc::clone)
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = lock(&self.0.slots).iter().map(|slot| slot.name).collect();
        f.debug_tuple("Background").field(&names).finish()
    }
}

impl Slot {
    fn new(task: &impl BackgroundTask) -> Self {
        let status = TaskStatus {
            name: task.name(),
            drains: task.drains(),
            period: task.period(),
            last_report: None,
            last_started_ms: None,
            last_ended_ms: None,
            rounds: 0,
            failures: 0,
            failed_in_a_row: 0,
        };
        Self {
            name: task.name(),
            wake: Notify::new(),
            asked: Mutex::default(),
            progress: watch::Sender::new(Progress { covered: 0, ended: false, status }),
        }
    }

    fn ask(&self, urgent: bool) -> u64 {
        let ticket = {
            let mut asked = lock(&self.asked);
            asked.last += 1;
            if urgent {
                asked.last_urgent = asked.last;
            }
            asked.last
        };
        self.wake.notify_one();
        ticket
    }

    fn begin(&self, now_ms: i64) -> u64 {
        self.progress.send_modify(|progress| progress.status.last_started_ms = Some(now_ms));
        lock(&self.asked).last
    }

    fn end(&self, covered: u64, report: Report, now_ms: i64) {
        self.progress.send_modify(|progress| {
            progress.covered = covered;
            progress.status.rounds += 1;
            progress.status.failures += u64::from(report.failed > 0);
            progress.status.failed_in_a_row = if report.failed > 0 { progress.status.failed_in_a_row + 1 } else { 0 };
            progress.status.last_ended_ms = Some(now_ms);
            progress.status.last_report = Some(report);
        });
    }

    /// Returns when the next round is due: at the deadline, or sooner when somebody asks.
    async fn due(&self, covered: u64, deadline: Instant, held_back: bool) {
        loop {
            if lock(&self.asked).wants_a_round(covered, held_back) {
                return;
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(deadline) => return,
            }
        }
    }
}

/// Round after round until the process ends.
async fn drive(task: &impl BackgroundTask, slot: &Slot, inner: &Inner) {
    let mut failed_in_a_row = 0;
    while !inner.stop.is_cancelled() {
        let covered = slot.begin(inner.clock.now_ms());
        let started = Instant::now();
        let report = tokio::select! {
            report = guarded_round(task) => report,
            () = inner.abandon.cancelled() => return,
        };
        failed_in_a_row = if report.failed > 0 { failed_in_a_row + 1 } else { 0 };
        log(task.name(), &report);
        count(task.name(), &report, started.elapsed());
        let again_now = report.again_now;
        slot.end(covered, report, inner.clock.now_ms());
        if again_now && failed_in_a_row == 0 {
            tokio::task::yield_now().await;
            continue;
        }
        let deadline = Instant::now() + pause(task.period(), failed_in_a_row);
        tokio::select! {
            () = slot.due(covered, deadline, failed_in_a_row > 0) => {}
            () = task.woken(), if failed_in_a_row == 0 => {}
            () = inner.stop.cancelled() => return,
        }
    }
}

/// BT-3
async fn guarded_round(task: &impl BackgroundTask) -> Report {
    match AssertUnwindSafe(task.round()).catch_unwind().await {
        Ok(report) => report,
        Err(panic) => Report::error(format!("panicked: {}", panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}

fn log(task: &'static str, report: &Report) {
    let Report { handled, failed, text, .. } = report;
    if *failed > 0 {
        tracing::warn!(task, handled, failed, "background round failed: {text}");
    } else if *handled > 0 {
        tracing::debug!(task, handled, "background round: {text}");
    }
}

fn count(task: &'static str, report: &Report, took: Duration) {
    metrics::counter!("elanus_runtime_task_rounds_total", "task" => task).increment(1);
    metrics::counter!("elanus_runtime_task_failures_total", "task" => task).increment(u64::from(report.failed > 0));
    metrics::counter!("elanus_runtime_task_handled_total", "task" => task).increment(report.handled);
    metrics::histogram!("elanus_runtime_task_duration_seconds", "task" => task).record(took.as_secs_f64());
}

/// After a failure sooner than the period at first, then ever later.
fn pause(period: Duration, failed_in_a_row: u32) -> Duration {
    if failed_in_a_row == 0 {
        return period;
    }
    let factor = 2_u32.saturating_pow(failed_in_a_row - 1);
    BACKOFF_MIN.saturating_mul(factor).min(period.max(BACKOFF_MAX))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these, and what they guard is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use elanus_types::ManualClock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Longest wait for what must happen.
    const WAIT_MAX: Duration = Duration::from_secs(30);
    /// Longer than any test.
    const NEVER: Duration = Duration::from_secs(1 << 20);

    /// Says what `round` says for each round number, from 0.
    struct Script<F> {
        period: Duration,
        rounds: AtomicU64,
        round: F,
    }

    #[async_trait]
    impl<F: Fn(u64) -> Report + Send + Sync + 'static> BackgroundTask for Script<F> {
        fn name(&self) -> &'static str {
            "test.script"
        }
        fn drains(&self) -> &'static str {
            "nothing"
        }
        fn period(&self) -> Duration {
            self.period
        }
        async fn round(&self) -> Report {
            tokio::task::yield_now().await;
            (self.round)(self.rounds.fetch_add(1, Ordering::SeqCst))
        }
    }

    fn start(period: Duration, round: impl Fn(u64) -> Report + Send + Sync + 'static) -> Background {
        let background = Background::new(Arc::new(ManualClock::at_ms(7)));
        background.spawn(Script { period, rounds: AtomicU64::new(0), round });
        background
    }

    /// Waits until so many rounds ended.
    async fn rounds(background: &Background, at_least: u64) -> TaskStatus {
        let mut progress = lock(&background.0.slots)[0].progress.subscribe();
        let reached = progress.wait_for(|progress| progress.status.rounds >= at_least);
        let reached = tokio::time::timeout(WAIT_MAX, reached).await;
        let Ok(Ok(progress)) = reached else {
            panic!("not {at_least} rounds: {:?}", background.status());
        };
        progress.status.clone()
    }

    #[tokio::test]
    async fn bt_1_the_timer_runs_rounds_from_the_start_on() {
        let background = start(Duration::from_millis(1), |_| Report::default());
        let status = rounds(&background, 5).await;
        assert_eq!((status.last_started_ms, status.last_ended_ms), (Some(7), Some(7)));
    }

    #[tokio::test]
    async fn bt_1_many_wake_ups_are_one_more_round() {
        let background = start(NEVER, |_| Report::default());
        rounds(&background, 1).await;
        for _ in 0..10 {
            background.activate("test.script");
        }
        background.activate("unknown");
        assert_eq!(rounds(&background, 2).await.rounds, 2);
        background.activate_and_wait("test.script").await;
        assert_eq!(background.status()[0].rounds, 3);
    }

    #[tokio::test]
    async fn bt_3_a_round_that_panics_is_counted_and_followed_by_another() {
        let background = start(NEVER, |n| {
            assert_ne!(n, 0, "the first round breaks");
            Report::handled(3)
        });
        let status = rounds(&background, 1).await;
        assert_eq!(status.failures, 1);
        assert!(status.last_report.unwrap().text.contains("the first round breaks"));
        let status = rounds(&background, 2).await;
        assert_eq!((status.failures, status.last_report), (1, Some(Report::handled(3))));
    }

    #[test]
    fn bt_3_failures_pause_ever_longer() {
        let pauses = |period| [0, 1, 2, 3, 40].map(|failed| pause(Duration::from_millis(period), failed).as_millis());
        assert_eq!(pauses(10), [10, 250, 500, 1_000, 30_000]);
        assert_eq!(pauses(60_000), [60_000, 250, 500, 1_000, 60_000]);
    }

    #[test]
    fn bt_3_a_wake_up_does_not_break_the_pause_after_a_failure() {
        let asked = |last, last_urgent| Asked { last, last_urgent };
        assert!(!asked(4, 4).wants_a_round(4, false));
        assert!(asked(5, 4).wants_a_round(4, false));
        assert!(!asked(5, 4).wants_a_round(4, true));
        assert!(asked(5, 5).wants_a_round(4, true), "somebody waits");
    }

    #[tokio::test]
    async fn bt_4_who_waits_gets_a_round_that_started_after_the_call() {
        let background = start(NEVER, Report::handled);
        for _ in 0..5 {
            let before = background.status()[0].rounds;
            let report = background.activate_and_wait("test.script").await;
            assert!(report.handled >= before, "{report:?} {before}");
        }
        assert_eq!(background.activate_and_wait("unknown").await.failed, 1);
    }

    #[tokio::test]
    async fn bt_4_who_waits_is_not_held_back_by_failures() {
        let background = start(NEVER, |n| if n < 20 { Report::error("away") } else { Report::default() });
        let started = Instant::now();
        while background.activate_and_wait("test.script").await.failed > 0 {}
        assert!(started.elapsed() < WAIT_MAX, "twenty pauses would take minutes");
    }

    #[tokio::test]
    async fn work_that_waits_is_done_without_a_pause() {
        let background = start(NEVER, |n| Report { again_now: n < 9, ..Report::handled(1) });
        assert_eq!(rounds(&background, 10).await.rounds, 10);
    }

    #[tokio::test]
    async fn quiet_is_a_pass_without_work_and_the_wait_is_bounded() {
        let background = start(NEVER, |n| Report::handled(u64::from(n < 4)));
        background.run_until_quiet(10).await.unwrap();
        background.shutdown().await;

        let background = start(NEVER, |_| Report::handled(1));
        let error = background.run_until_quiet(3).await.unwrap_err();
        assert_eq!((error.passes, error.busy[0].0), (3, "test.script"));
        background.shutdown().await;
        let after = background.activate_and_wait("test.script").await;
        assert!(after.text.contains("stopped"), "{after:?}");
    }

    struct Stuck;

    #[async_trait]
    impl BackgroundTask for Stuck {
        fn name(&self) -> &'static str {
            "test.stuck"
        }
        fn drains(&self) -> &'static str {
            "nothing"
        }
        fn period(&self) -> Duration {
            NEVER
        }
        async fn round(&self) -> Report {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_round_that_does_not_end_does_not_keep_the_process() {
        let background = Background::new(Arc::new(ManualClock::at_ms(0)));
        background.spawn(Stuck);
        let mut progress = lock(&background.0.slots)[0].progress.subscribe();
        let started = progress.wait_for(|progress| progress.status.last_started_ms.is_some());
        tokio::time::timeout(WAIT_MAX, started).await.unwrap().unwrap();
        let ended = background.shutdown_within(Duration::from_millis(1));
        tokio::time::timeout(WAIT_MAX, ended).await.unwrap();
        assert_eq!(background.status()[0].rounds, 0);
    }
}

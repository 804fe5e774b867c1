//! Looks at certificates, keys and tokens on disk, takes those that changed, and says in time when a certificate ends.

use crate::background::{BackgroundTask, Report};
use elanus_trust::{Found, Watch};
use elanus_types::Clock;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// So late a new file is in force at most. One that cannot be used is told of after twice as long.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The log warns so long before a certificate ends, once a day.
const WARN_DAYS: i64 = 14;
const DAY_S: i64 = 86_400;

/// The files of a process. New connections and calls have what is in force; those that are open go on. Clones are the same.
#[derive(Clone)]
pub struct Reload(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    watched: Vec<Watched>,
    concerns: Mutex<Vec<String>>,
}

struct Watched {
    of: &'static str,
    watch: Arc<dyn Watch>,
    told: Mutex<Told>,
}

/// What the log has said already.
#[derive(Default)]
struct Told {
    bad: bool,
    days_left: Option<i64>,
}

impl Reload {
    /// The name of the task.
    pub const NAME: &'static str = "tls.reload";

    /// Watches these, each under a name for logs and metrics.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, watched: Vec<(&'static str, Arc<dyn Watch>)>) -> Self {
        let watched = watched.into_iter().map(|(of, watch)| Watched { of, watch, told: Mutex::default() });
        Self(Arc::new(Inner { clock, watched: watched.collect(), concerns: Mutex::default() }))
    }

    /// For the health of the process: what a person must look at.
    ///
    /// # Errors
    /// What cannot be used, and certificates that have ended.
    pub fn concern(&self) -> Result<(), String> {
        let concerns = self.0.concerns.lock().unwrap_or_else(PoisonError::into_inner);
        if concerns.is_empty() { Ok(()) } else { Err(concerns.join("; ")) }
    }
}

#[async_trait::async_trait]
impl BackgroundTask for Reload {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn drains(&self) -> &'static str {
        "certificates and tokens that changed on disk"
    }

    fn period(&self) -> Duration {
        LOOK_EVERY
    }

    /// A file that cannot be used is no failure of the round: it is told once, and again by whoever asks for concerns.
    async fn round(&self) -> Report {
        let now_s = self.0.clock.now_ms().div_euclid(1_000);
        let (mut handled, mut concerns) = (0, Vec::new());
        for watched in &self.0.watched {
            let watch = Arc::clone(&watched.watch);
            let Ok(found) = tokio::task::spawn_blocking(move || watch.look(now_s)).await else { continue };
            handled += u64::from(found == Found::Changed);
            let told = [watched.take(found), watched.end(now_s)];
            concerns.extend(told.into_iter().flatten().map(|text| format!("{}: {text}", watched.of)));
        }
        *self.0.concerns.lock().unwrap_or_else(PoisonError::into_inner) = concerns;
        Report::handled(handled)
    }
}

impl Watched {
    /// What a person must look at.
    fn take(&self, found: Found) -> Option<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let bad = match found {
            Found::Bad(error) => Some(error.to_string()),
            Found::Unsettled => return None,
            Found::Changed => {
                tracing::info!(of = self.of, "the files changed, and are in force now");
                None
            }
            Found::Same => None,
        };
        ::metrics::gauge!("elanus_tls_files_refused", "of" => self.of).set(f64::from(u8::from(bad.is_some())));
        if let Some(why) = bad.as_ref().filter(|_| !told.bad) {
            tracing::error!(
                of = self.of,
                why,
                "the files changed and cannot be used: those that were read before stay in force"
            );
        }
        told.bad = bad.is_some();
        bad
    }

    /// What a person must look at.
    fn end(&self, now_s: i64) -> Option<String> {
        let left_s = self.watch.not_after_s()? - now_s;
        #[expect(clippy::cast_precision_loss, reason = "no certificate lasts for so long")]
        ::metrics::gauge!("elanus_tls_certificate_expiry_seconds", "of" => self.of).set(left_s as f64);
        let days_left = left_s.div_euclid(DAY_S);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = told.days_left.replace(days_left) != Some(days_left);
        if left_s <= 0 {
            if is_news {
                tracing::error!(of = self.of, "the certificate has ended: nobody who checks it connects any more");
            }
            return Some("the certificate has ended".to_owned());
        }
        if days_left < WARN_DAYS && is_news {
            tracing::warn!(
                of = self.of,
                days_left,
                "the certificate ends soon: put a new one in its place, it is read by itself"
            );
        }
        None
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.watched.iter().map(|watched| watched.of)).finish()
    }
}

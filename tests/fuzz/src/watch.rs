//! What is looked at while something is tried: panics, memory and time.

use crate::Finding;
use peak_alloc::PeakAlloc;
use std::{
    backtrace::Backtrace,
    panic,
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, Instant},
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static ALONE: Mutex<()> = Mutex::new(());

/// Readers of foreign bytes in which a panic of a library becomes an error, on purpose: what a backtrace says of them. That
/// of segments is one function in a file, which has no full name where the compiler put it into others.
const GUARDS: [&str; 2] = ["crates/segment/src/error.rs", "elanus_manifest::avro::decode_manifest"];

/// A look at one thing that is tried.
#[derive(Debug)]
pub struct Watch {
    started: Instant,
    before_bytes: usize,
}

/// Whoever has it is watched alone: panics and memory are those of the whole process.
pub fn alone() -> MutexGuard<'static, ()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if note(info) {
                usual(info);
            }
        }));
    });
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// True for a panic that counts.
fn note(info: &panic::PanicHookInfo<'_>) -> bool {
    let trace = Backtrace::force_capture().to_string();
    if GUARDS.iter().any(|guard| trace.contains(guard)) {
        return false;
    }
    PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{info}\n{trace}"));
    true
}

impl Watch {
    /// Starts looking.
    #[must_use]
    pub fn start() -> Self {
        MEMORY.reset_peak_usage();
        Self { started: Instant::now(), before_bytes: MEMORY.current_usage() }
    }

    /// FZ-1 to FZ-3.
    ///
    /// # Errors
    /// What does not hold.
    pub fn end(&self, within: Duration, bytes_max: usize) -> Result<(), Finding> {
        let took = self.started.elapsed();
        let bytes = MEMORY.peak_usage().saturating_sub(self.before_bytes);
        if let Some(panic) = PANICS.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Err(Finding(format!("FZ-1: {panic}")));
        }
        if took > within {
            return Err(Finding(format!("FZ-2: it took {took:?} instead of at most {within:?}")));
        }
        if bytes > bytes_max {
            let (bytes, max) = (bytes >> 20, bytes_max >> 20);
            return Err(Finding(format!("FZ-3: it took {bytes} MiB instead of at most {max} MiB")));
        }
        Ok(())
    }
}

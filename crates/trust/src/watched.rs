//! Something that is made of files, and made again when they change.

use crate::files::{Source, TrustError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What is in the files, in the order of the sources.
type Contents = Vec<Vec<u8>>;
type Make<T> = Box<dyn Fn(&[Vec<u8>], i64) -> Result<T, TrustError> + Send + Sync>;

/// What a look at the files found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing new.
    Same,
    /// New files, which are in force now.
    Changed,
    /// New files that cannot be used, seen for the first time: somebody may be about to replace the other ones, too.
    Unsettled,
    /// New files that cannot be used. What was read before stays in force.
    Bad(TrustError),
}

/// Looks at files again.
pub trait Watch: Send + Sync {
    /// Looks, and takes what is new and good. Blocks for as long as reading a few small files does.
    fn look(&self, now_s: i64) -> Found;

    /// When the certificate that is in force ends, in seconds since 1970, where there is one.
    fn not_after_s(&self) -> Option<i64>;
}

/// See the module.
pub(crate) struct Watched<T> {
    sources: Vec<Source>,
    make: Make<T>,
    current: RwLock<Arc<T>>,
    seen: Mutex<Seen>,
}

struct Seen {
    used: Contents,
    /// What could not be used when it was last looked at.
    bad: Option<Result<Contents, TrustError>>,
}

impl<T> Watched<T> {
    /// Reads the files for the first time (TR-1).
    pub(crate) fn open(
        sources: Vec<Source>,
        now_s: i64,
        make: impl Fn(&[Vec<u8>], i64) -> Result<T, TrustError> + Send + Sync + 'static,
    ) -> Result<Self, TrustError> {
        let used = read(&sources)?;
        let current = RwLock::new(Arc::new(make(&used, now_s)?));
        Ok(Self { sources, make: Box::new(make), current, seen: Mutex::new(Seen { used, bad: None }) })
    }

    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn look(&self, now_s: i64) -> Found {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = read(&self.sources);
        if found.as_ref() == Ok(&seen.used) {
            seen.bad = None;
            return Found::Same;
        }
        let made = found.as_ref().map_err(Clone::clone).and_then(|found| (self.make)(found, now_s));
        match (made, found) {
            (Ok(made), Ok(found)) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                *seen = Seen { used: found, bad: None };
                Found::Changed
            }
            (Err(error), found) => {
                let settled = seen.bad.as_ref() == Some(&found);
                seen.bad = Some(found);
                if settled { Found::Bad(error) } else { Found::Unsettled }
            }
            // What could not be read was not made either.
            (Ok(_), Err(error)) => Found::Bad(error),
        }
    }
}

fn read(sources: &[Source]) -> Result<Contents, TrustError> {
    sources.iter().map(Source::read).collect()
}

//! Which trace the present work belongs to, as text that may be written down and sent on.
//!
//! Whoever traces fills the hook once; without one, nothing is traced. It is here so that the metadata store can keep the
//! cause of an event without knowing how traces are made.

use std::sync::OnceLock;

/// Tells the W3C `traceparent` of the work that calls it; `None`: it is not traced.
pub type TraceparentSource = fn() -> Option<String>;

static SOURCE: OnceLock<TraceparentSource> = OnceLock::new();

/// Sets the hook. Only the first one counts: false when there was one before.
pub fn set_traceparent_source(source: TraceparentSource) -> bool {
    SOURCE.set(source).is_ok()
}

/// The `traceparent` of the present work, as `00-<trace id>-<span id>-<flags>`; `None` while nothing is traced.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    SOURCE.get().and_then(|source| source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_traced_until_somebody_says_so_and_the_first_one_counts() {
        assert_eq!(current_traceparent(), None);
        assert!(set_traceparent_source(|| Some("00-1-2-01".to_owned())));
        assert!(!set_traceparent_source(|| None));
        assert_eq!(current_traceparent().as_deref(), Some("00-1-2-01"));
    }
}

//! Counts the statements that the metadata store sends: it traces each one.

use std::sync::atomic::{AtomicU64, Ordering};
use tracing::{Event, Metadata, Subscriber, subscriber::Interest};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

static SENT: AtomicU64 = AtomicU64::new(0);

struct Statements;

impl<S: Subscriber> Layer<S> for Statements {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target() == "elanus_meta::db" { Interest::always() } else { Interest::never() }
    }

    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        SENT.fetch_add(1, Ordering::Relaxed);
    }
}

/// Begins to count, for this process.
pub(crate) fn listen() {
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Statements));
}

/// Statements since the process began.
pub(crate) fn sent() -> u64 {
    SENT.load(Ordering::Relaxed)
}

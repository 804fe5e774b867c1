//! The contract of every bus. Its promises are numbered in [`crate::suite`], where they are tested.

use crate::{Envelope, Kind, LocalBus};
use async_trait::async_trait;
use std::{fmt, pin::Pin, sync::Arc};
use tokio_stream::Stream;

/// What a subscriber gets. Ends when the bus is gone.
pub type Subscription = Pin<Box<dyn Stream<Item = Item> + Send>>;

/// One item of a subscription.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An event of one of the kinds asked for.
    Event(Envelope),
    /// Events were lost, of whatever kind: scan everything that events would have pointed at.
    Lagged,
}

/// Carries events to whoever listens.
///
/// Events may be lost, late, repeated or reordered. A subscriber that must not miss anything scans on a timer; an event
/// only makes it scan sooner.
#[async_trait]
pub trait EventBus: Send + Sync + fmt::Debug {
    /// Sends an event to the subscribers of its kind. Never waits for them; nobody listening is success.
    ///
    /// # Errors
    /// When the bus cannot be reached. The event may have been sent all the same.
    async fn publish(&self, envelope: Envelope) -> Result<(), Error>;

    /// Listens to events of these kinds that are published from now on.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    async fn subscribe(&self, kinds: &[Kind]) -> Result<Subscription, Error>;
}

/// Why a bus did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Try again after a while, or leave it to the next scan.
    #[error("the event bus cannot be reached")]
    Away {
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a URL gives no bus. Texts never repeat the URL: it may have secrets in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A bus that this build cannot talk to.
    #[error("{scheme}:// event buses are not supported by this build; use local:")]
    Unsupported {
        /// The URL's scheme.
        scheme: String,
    },
    /// Not a URL, or one with parts that have no meaning here.
    #[error("the event bus URL is not valid; use local:")]
    Invalid,
}

/// Opens the bus of `local:`, which lives in this process: every call gives a bus of its own.
///
/// # Errors
/// When the URL is wrong or means a bus that this build does not have.
pub fn open(url: &str) -> Result<Arc<dyn EventBus>, OpenError> {
    let parsed = url::Url::parse(url).map_err(|_| OpenError::Invalid)?;
    match parsed.scheme() {
        "local" if url.eq_ignore_ascii_case("local:") => Ok(Arc::new(LocalBus::new())),
        "local" => Err(OpenError::Invalid),
        scheme => Err(OpenError::Unsupported { scheme: scheme.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_that_cannot_be_opened_says_what_can() {
        open("local:").unwrap();
        let text = |url: &str| open(url).unwrap_err().to_string();
        assert_eq!(text("nats://user:secret@host"), "nats:// event buses are not supported by this build; use local:");
        for url in ["", "local", "local:x", "local://host"] {
            assert_eq!(text(url), "the event bus URL is not valid; use local:", "{url:?}");
        }
    }
}

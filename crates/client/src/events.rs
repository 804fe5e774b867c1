//! Events of the cluster, as they are published.

use crate::{Client, Result};
use elanus_proto::admin::{TailEventsRequest, TailedEvent};
use tonic::Streaming;

/// Events that are followed. Dropped: nobody follows any more.
#[derive(Debug)]
pub struct Tail(Streaming<TailedEvent>);

impl Client {
    /// Follows events. Without a start: those that are published from now on.
    ///
    /// # Errors
    /// When the server has no event bus, or does not keep what is asked for.
    pub async fn tail_events(&self, request: TailEventsRequest) -> Result<Tail> {
        Ok(Tail(self.admin.clone().tail_events(request).await?.into_inner()))
    }
}

impl Tail {
    /// The next event, or the news that some may be missing; waits for it. `None` when the limit is reached.
    ///
    /// # Errors
    /// When the server has gone.
    pub async fn next(&mut self) -> Result<Option<TailedEvent>> {
        Ok(self.0.message().await?)
    }
}

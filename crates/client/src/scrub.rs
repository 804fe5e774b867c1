//! The object store against the metadata.

use crate::{Client, Result, ScrubReport};
use elanus_proto::admin::ScrubRequest;

/// A scrub that is not started yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct Scrub<'c> {
    client: &'c Client,
    request: ScrubRequest,
}

impl<'c> Scrub<'c> {
    pub(crate) fn new(client: &'c Client) -> Self {
        Self { client, request: ScrubRequest::default() }
    }

    /// Also reads every object and compares its checksum.
    pub fn checksums(mut self, yes: bool) -> Self {
        self.request.checksums = yes;
        self
    }

    /// How deep it looks: `metadata`, `presence` (the default) or `checksum`.
    pub fn level(mut self, level: impl Into<String>) -> Self {
        self.request.level = level.into();
        self
    }

    /// Repairs what can be repaired without loss.
    pub fn repair(mut self, yes: bool) -> Self {
        self.request.repair = yes;
        self
    }

    /// Runs it. Takes as long as listing (with checksums: reading) the whole store does.
    ///
    /// # Errors
    /// When the store or the metadata cannot be read.
    pub async fn send(self) -> Result<ScrubReport> {
        // Changes nothing, but is too heavy to be repeated unasked.
        let mut admin = self.client.admin.clone();
        self.client.write(admin.scrub(self.request)).await
    }
}

//! Commits a group: register the keys, write the files, commit the facts. In this order, always.
//!
//! Whatever fails or dies on the way leaves intents, which say exactly which keys may have been written; they are
//! abandoned here or when their lease ends.

use super::group::{Content, Write, assemble};
use super::queue::Waiting;
use elanus_meta::model::{CollectionKey, FilePlace, PlannedFile, WrittenFile};
use elanus_meta::{Meta, MetaError, while_renewing};
use elanus_objects::ObjectStore;
use elanus_segment::{encode_deletes, encode_rows};
use elanus_types::schema::CollectionSchema;
use elanus_types::{Code, CollectionId, Failure, FileSetId, NodeId, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::sync::Arc;
use std::time::Duration;

/// How long an intent lives without renewal, in milliseconds.
const LEASE_MS: i64 = 60_000;
const RENEW_EVERY: Duration = Duration::from_secs(20);
/// Times that a commit is asked for when the answer is lost.
const COMMITS_MAX: u32 = 3;
/// Files of one group that are encoded and written at the same time.
const FILES_AT_ONCE: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Committer {
    pub(crate) meta: Meta,
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) node: NodeId,
}

impl Committer {
    /// Commits all writes of a group, and answers each. A write that cannot be done does not take the others with it (O-1).
    pub(crate) async fn commit_group(&self, collection: CollectionId, group: Vec<Waiting>) {
        match self.commit(collection, group.iter().map(|waiting| &waiting.write)).await {
            Ok(base) => {
                for (offset, waiting) in (0_i64..).zip(group) {
                    // A caller that has gone does not want its answer.
                    let _ = waiting.reply.send(Ok(Timestamp(base.0 + offset)));
                }
            }
            // One of them is wrong, and it is not known which: each is tried alone.
            Err(failure) if group.len() > 1 && failure.code.is_input() => {
                for waiting in group {
                    let answer = self.commit(collection, [&waiting.write]).await;
                    let _ = waiting.reply.send(answer);
                }
            }
            Err(failure) => {
                for waiting in group {
                    let _ = waiting.reply.send(Err(failure.clone()));
                }
            }
        }
    }

    /// One commit of all these writes, or nothing of them; the timestamp of the first.
    async fn commit<'w>(
        &self,
        collection: CollectionId,
        writes: impl IntoIterator<Item = &'w Write>,
    ) -> Result<Timestamp, Failure> {
        let writes: Vec<&Write> = writes.into_iter().collect();
        let record = self.meta.collection(&CollectionKey::Id(collection)).await?.ok_or_else(|| {
            Failure::new(Code::CollectionNotFound, format!("collection not found[collection={collection}]"))
        })?;
        let schema = Arc::new(record.definition.schema);
        let files = assemble(&schema, record.definition.shards_num, writes.iter().copied())?;
        if files.is_empty() {
            return Ok(record.last_ts);
        }

        let places: Vec<FilePlace> = files.keys().copied().collect();
        let planned = self.meta.begin_write(collection, &self.node, self.lease_until_ms(), &places).await?;
        let file_sets: Vec<FileSetId> = planned.iter().map(|file| file.file_set).collect();
        let written = self.keeping_leases(&file_sets, self.write_files(&schema, planned, files)).await;
        let committed = match written {
            Ok(written) => {
                let requests = u32::try_from(writes.len()).expect("a group is bounded");
                self.commit_facts(collection, requests, &written).await
            }
            Err(failure) => Err(MetaError::Refused(failure)),
        };
        match committed {
            Ok(base) => Ok(base),
            // It may have been applied: then the sets are live, else their lease ends.
            Err(error @ MetaError::CommitUnknown(_)) => Err(error.into()),
            Err(error) => {
                let failure = Failure::from(error);
                if let Err(error) = self.meta.abandon(&self.node, &file_sets, &failure.message).await {
                    tracing::warn!(%collection, %error, "intents of a failed write wait for the end of their lease");
                }
                Err(failure)
            }
        }
    }

    /// Asked again when it is not known whether it was done: the same files are committed once, with one timestamp.
    async fn commit_facts(
        &self,
        collection: CollectionId,
        requests: u32,
        written: &[WrittenFile],
    ) -> Result<Timestamp, MetaError> {
        let commit = || self.meta.commit_write(collection, &self.node, requests, written);
        let mut answer = commit().await;
        for _ in 1..COMMITS_MAX {
            let Err(MetaError::CommitUnknown(error)) = &answer else { break };
            tracing::warn!(%error, "a commit is asked for again");
            match commit().await {
                // It says nothing about the commit before, which may have been applied.
                Err(MetaError::Unavailable(_) | MetaError::Full(_)) => {}
                known => answer = known,
            }
        }
        answer
    }

    async fn write_files(
        &self,
        schema: &Arc<CollectionSchema>,
        planned: Vec<PlannedFile>,
        files: impl IntoIterator<Item = (FilePlace, Content)>,
    ) -> Result<Vec<WrittenFile>, Failure> {
        stream::iter(planned.into_iter().zip(files))
            .map(|(planned, (place, content))| self.write_file(schema.clone(), planned, place, content))
            .buffer_unordered(FILES_AT_ONCE)
            .try_collect()
            .await
    }

    async fn write_file(
        &self,
        schema: Arc<CollectionSchema>,
        planned: PlannedFile,
        place: FilePlace,
        content: Content,
    ) -> Result<WrittenFile, Failure> {
        let encoded = tokio::task::spawn_blocking(move || match content {
            Content::Rows(batch) => encode_rows(&schema, &batch),
            Content::Deletes(deletes) => encode_deletes(&deletes),
        })
        .await
        .map_err(|e| Failure::internal(format!("encoding a batch failed: {e}")))?
        .map_err(|e| Failure::invalid(e.to_string()))?;
        let size = encoded.bytes.len() as u64;
        self.objects.put(&planned.key, encoded.bytes).await?;
        Ok(WrittenFile { planned, place, rows: encoded.rows, size, checksum: encoded.checksum })
    }

    /// Runs `work` while the leases of its intents are renewed.
    async fn keeping_leases<T>(&self, file_sets: &[FileSetId], work: impl Future<Output = T>) -> T {
        let renew = || self.meta.renew(&self.node, file_sets, self.lease_until_ms());
        // Losing the lease is found out by the commit, which is refused then.
        while_renewing(RENEW_EVERY, "the lease of a write", renew, work).await
    }

    fn lease_until_ms(&self) -> i64 {
        self.meta.clock().now_ms() + LEASE_MS
    }
}

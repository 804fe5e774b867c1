//! Requests with a trace of the client's own.

use elanus_proto::milvus::{CreateSnapshotRequest, RestoreSnapshotRequest};
use elanus_scenarios::milvus::Milvus;
use elanus_scenarios::rows::Row;
use elanus_testkit::wait_for;
use std::time::Duration;
use tonic::{Request, metadata::MetadataValue};

/// A client's own step: the trace, and the span that calls.
pub(crate) struct Caller {
    pub(crate) trace: String,
    pub(crate) span: String,
    sampled: bool,
}

impl Caller {
    pub(crate) fn new() -> Self {
        let (high, low): (u64, u64) = (rand::random(), rand::random());
        Self {
            trace: format!("{:032x}", (u128::from(high) << 64) | u128::from(low)),
            span: format!("{:016x}", rand::random::<u64>() | 1),
            sampled: true,
        }
    }

    pub(crate) fn not_sampled() -> Self {
        Self { sampled: false, ..Self::new() }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let flags = u8::from(self.sampled);
        let parent = format!("00-{}-{}-{flags:02x}", self.trace, self.span);
        let mut request = Request::new(message);
        request.metadata_mut().insert("traceparent", MetadataValue::try_from(parent).unwrap());
        request
    }

    /// The code of the answer.
    pub(crate) async fn create_snapshot(&self, milvus: &Milvus, collection: &str, name: &str) -> i32 {
        let (collection_name, name) = (collection.to_owned(), name.to_owned());
        let request = CreateSnapshotRequest { collection_name, name, ..Default::default() };
        milvus.raw().create_snapshot(self.request(request)).await.unwrap().into_inner().code
    }

    /// Code and job of the answer.
    pub(crate) async fn restore(
        &self,
        milvus: &Milvus,
        from: (&str, &str),
        target: &str,
        mode: &'static str,
    ) -> (i32, i64) {
        let request = RestoreSnapshotRequest {
            collection_name: from.0.to_owned(),
            name: from.1.to_owned(),
            target_collection_name: target.to_owned(),
            ..Default::default()
        };
        let mut request = self.request(request);
        request.metadata_mut().insert("elanus-restore-mode", MetadataValue::from_static(mode));
        let answer = milvus.raw().restore_snapshot(request).await.unwrap().into_inner();
        (answer.status.unwrap_or_default().code, answer.job_id)
    }
}

/// Writes rows in so many requests, each of which makes files of its own.
pub(crate) async fn fill(milvus: &Milvus, name: &str, writes: i64) {
    milvus.create_collection(name).await.unwrap();
    for write in 0..writes {
        let rows: Vec<Row> = (1..=16).map(|n| Row { id: write * 16 + n, version: 1 }).collect();
        milvus.insert(name, &rows).await.unwrap();
    }
}

/// Waits until a job has ended well.
pub(crate) async fn completed(milvus: &Milvus, job: i64) {
    wait_for("the end of a restore", Duration::from_secs(60), async || {
        let job = milvus.job(job).await.map_err(|error| error.to_string())?;
        if job.state == 3 { Ok(()) } else { Err(format!("{job:?}")) }
    })
    .await;
}

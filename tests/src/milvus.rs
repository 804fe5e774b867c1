//! A client of the Milvus API that hides nothing: one call is one request, nothing is repeated, and a refusal is told
//! apart from an answer that never came. Only that lets a test know what was acknowledged.

use crate::rows::{self, FIELDS, Row};
use elanus_client::Client;
use elanus_proto::{
    common::{KeyValuePair, Status},
    milvus::{
        CreateCollectionRequest, CreateIndexRequest, CreateSnapshotRequest, DeleteRequest, DescribeCollectionRequest,
        DescribeSnapshotRequest, DropCollectionRequest, DropSnapshotRequest, FlushRequest,
        GetRestoreSnapshotStateRequest, InsertRequest, ListRestoreSnapshotJobsRequest, ListSnapshotsRequest,
        LoadCollectionRequest, MutationResult, QueryRequest, RestoreSnapshotInfo, RestoreSnapshotRequest,
        RestoreSnapshotState, UpsertRequest, milvus_service_client::MilvusServiceClient,
    },
    restore_headers,
    schema::CollectionSchema,
    transport::{Channel, milvus_client},
};
use elanus_types::{Failure, RestoreMode};
use prost::Message as _;
use std::time::Duration;
use tonic::{Response, transport::Endpoint};

const CONNECT_MAX: Duration = Duration::from_secs(5);
const CALL_MAX: Duration = Duration::from_secs(120);

/// Why a call did not do what was asked, as far as the caller knows.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The server said no: nothing was changed.
    #[error("refused ({}): {}", .0.code.number(), .0.message)]
    Refused(Failure),
    /// No answer: it may have been done or not.
    #[error("no answer: {0}")]
    NoAnswer(#[from] Box<tonic::Status>),
    /// The answer cannot be right.
    #[error("{0}")]
    Wrong(String),
}

/// Result of a call.
pub type Result<T> = std::result::Result<T, CallError>;

/// A client of one server. Cheap to clone; connects again by itself when the server comes back.
#[derive(Clone, Debug)]
pub struct Milvus(Channel);

impl Milvus {
    /// A client of the server at `http://host:port`, whether it runs now or not.
    ///
    /// # Panics
    /// When that is no URL.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let endpoint = Endpoint::from_shared(url.to_owned()).expect("the URL of a server");
        let endpoint = endpoint.connect_timeout(CONNECT_MAX).timeout(CALL_MAX).tcp_nodelay(true);
        Self(endpoint.connect_lazy().into())
    }

    /// A client of a server in this process.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self(channel)
    }

    /// A client of the calls for operators, over the same connection.
    #[must_use]
    pub fn operator(&self) -> Client {
        Client::over(self.0.clone())
    }

    /// The generated client, for calls that have no method here.
    #[must_use]
    pub fn raw(&self) -> MilvusServiceClient<Channel> {
        milvus_client(self.0.clone())
    }

    /// Creates a collection of [`Row`]s with an index, and loads it.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn create_collection(&self, name: &str) -> Result<()> {
        self.create_collection_of(rows::schema(name)).await
    }

    /// Creates a collection with a field `vector`, with an index on it, and loads it.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn create_collection_of(&self, schema: CollectionSchema) -> Result<()> {
        let name = &schema.name;
        let request = CreateCollectionRequest {
            collection_name: name.clone(),
            schema: schema.encode_to_vec().into(),
            ..Default::default()
        };
        done(self.raw().create_collection(request).await)?;
        self.create_index(name).await?;
        self.load(name).await
    }

    /// Creates an index on the field `vector`.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn create_index(&self, name: &str) -> Result<()> {
        let pair = |key: &str, value: &str| KeyValuePair { key: key.to_owned(), value: value.to_owned() };
        let request = CreateIndexRequest {
            collection_name: name.to_owned(),
            field_name: "vector".to_owned(),
            extra_params: vec![pair("index_type", "AUTOINDEX"), pair("metric_type", "L2")],
            ..Default::default()
        };
        done(self.raw().create_index(request).await)
    }

    /// Makes a collection readable.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn load(&self, name: &str) -> Result<()> {
        let request = LoadCollectionRequest { collection_name: name.to_owned(), ..Default::default() };
        done(self.raw().load_collection(request).await)
    }

    /// Drops a collection; success also when there is none.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn drop_collection(&self, name: &str) -> Result<()> {
        let request = DropCollectionRequest { collection_name: name.to_owned(), ..Default::default() };
        done(self.raw().drop_collection(request).await)
    }

    /// True when the collection can be seen.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn has_collection(&self, name: &str) -> Result<bool> {
        let request = DescribeCollectionRequest { collection_name: name.to_owned(), ..Default::default() };
        let answer = arrived(self.raw().describe_collection(request).await)?;
        match check(answer.status) {
            Ok(()) => Ok(true),
            Err(CallError::Refused(failure)) if failure.code.number() == 100 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes new rows; the timestamp of the commit.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn insert(&self, name: &str, rows: &[Row]) -> Result<u64> {
        let request = InsertRequest {
            collection_name: name.to_owned(),
            fields_data: rows::columns(rows),
            num_rows: length(rows),
            ..Default::default()
        };
        written(arrived(self.raw().insert(request).await)?)
    }

    /// Replaces rows; the timestamp of the commit.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn upsert(&self, name: &str, rows: &[Row]) -> Result<u64> {
        let request = UpsertRequest {
            collection_name: name.to_owned(),
            fields_data: rows::columns(rows),
            num_rows: length(rows),
            ..Default::default()
        };
        written(arrived(self.raw().upsert(request).await)?)
    }

    /// Deletes rows by key; the timestamp of the commit.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn delete(&self, name: &str, ids: &[i64]) -> Result<u64> {
        let request =
            DeleteRequest { collection_name: name.to_owned(), expr: format!("id in {ids:?}"), ..Default::default() };
        written(arrived(self.raw().delete(request).await)?)
    }

    /// All rows of a collection that match, by key.
    ///
    /// # Errors
    /// When the server refuses or does not answer, and when a row is not one that was ever written.
    pub async fn query(&self, name: &str, filter: &str) -> Result<Vec<Row>> {
        let request = QueryRequest {
            collection_name: name.to_owned(),
            expr: filter.to_owned(),
            output_fields: FIELDS.map(str::to_owned).to_vec(),
            use_default_consistency: true,
            ..Default::default()
        };
        let answer = arrived(self.raw().query(request).await)?;
        check(answer.status)?;
        let mut rows = rows::from_columns(answer.fields_data).map_err(CallError::Wrong)?;
        rows.sort_unstable();
        Ok(rows)
    }

    /// Ends the growing segments.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn flush(&self, name: &str) -> Result<()> {
        let request = FlushRequest { collection_names: vec![name.to_owned()], ..Default::default() };
        check(arrived(self.raw().flush(request).await)?.status)
    }

    /// Takes a snapshot.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn create_snapshot(&self, collection: &str, name: &str) -> Result<()> {
        let (name, collection_name) = (name.to_owned(), collection.to_owned());
        done(self.raw().create_snapshot(CreateSnapshotRequest { name, collection_name, ..Default::default() }).await)
    }

    /// Drops a snapshot; success also when there is none.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn drop_snapshot(&self, collection: &str, name: &str) -> Result<()> {
        let (name, collection_name) = (name.to_owned(), collection.to_owned());
        done(self.raw().drop_snapshot(DropSnapshotRequest { name, collection_name, ..Default::default() }).await)
    }

    /// Names of the committed snapshots.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn snapshots(&self, collection: &str) -> Result<Vec<String>> {
        let request = ListSnapshotsRequest { collection_name: collection.to_owned(), ..Default::default() };
        let answer = arrived(self.raw().list_snapshots(request).await)?;
        check(answer.status)?;
        Ok(answer.snapshots)
    }

    /// The timestamp of a snapshot: it has the commits up to this one.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn snapshot_ts(&self, collection: &str, name: &str) -> Result<u64> {
        let (name, collection_name) = (name.to_owned(), collection.to_owned());
        let request = DescribeSnapshotRequest { name, collection_name, ..Default::default() };
        let answer = arrived(self.raw().describe_snapshot(request).await)?;
        check(answer.status)?;
        u64::try_from(answer.create_ts).map_err(|error| CallError::Wrong(error.to_string()))
    }

    /// Starts a restore in a mode; its job.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn restore(&self, collection: &str, name: &str, target: &str, mode: RestoreMode) -> Result<i64> {
        let mut request = tonic::Request::new(RestoreSnapshotRequest {
            name: name.to_owned(),
            collection_name: collection.to_owned(),
            target_collection_name: target.to_owned(),
            ..Default::default()
        });
        let value = tonic::metadata::MetadataValue::from_static(mode.label());
        request.metadata_mut().insert(restore_headers::MODE, value);
        let answer = arrived(self.raw().restore_snapshot(request).await)?;
        check(answer.status)?;
        Ok(answer.job_id)
    }

    /// A restore job as it is now.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn job(&self, job_id: i64) -> Result<RestoreSnapshotInfo> {
        let request = GetRestoreSnapshotStateRequest { job_id, ..Default::default() };
        let answer = arrived(self.raw().get_restore_snapshot_state(request).await)?;
        check(answer.status)?;
        answer.info.ok_or_else(|| CallError::Wrong("an answer about a job has no job".to_owned()))
    }

    /// Jobs that restore into this collection.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn jobs_into(&self, target: &str) -> Result<Vec<RestoreSnapshotInfo>> {
        let request = ListRestoreSnapshotJobsRequest { collection_name: target.to_owned(), ..Default::default() };
        let answer = arrived(self.raw().list_restore_snapshot_jobs(request).await)?;
        check(answer.status)?;
        Ok(answer.jobs)
    }
}

/// True when the job completed; an error when it failed; false while it runs.
///
/// # Errors
/// The reason of a failed job.
pub fn completed(job: &RestoreSnapshotInfo) -> std::result::Result<bool, String> {
    match job.state() {
        RestoreSnapshotState::RestoreSnapshotCompleted => Ok(true),
        RestoreSnapshotState::RestoreSnapshotFailed => Err(job.reason.clone()),
        _ => Ok(false),
    }
}

fn length(rows: &[Row]) -> u32 {
    u32::try_from(rows.len()).expect("tests write few rows")
}

fn arrived<T>(answer: std::result::Result<Response<T>, tonic::Status>) -> Result<T> {
    answer.map(Response::into_inner).map_err(|status| CallError::NoAnswer(Box::new(status)))
}

fn check(status: Option<Status>) -> Result<()> {
    let status = status.ok_or_else(|| CallError::Wrong("an answer has no status".to_owned()))?;
    status.into_result().map_err(CallError::Refused)
}

fn done(answer: std::result::Result<Response<Status>, tonic::Status>) -> Result<()> {
    check(Some(arrived(answer)?))
}

fn written(result: MutationResult) -> Result<u64> {
    check(result.status)?;
    Ok(result.timestamp)
}

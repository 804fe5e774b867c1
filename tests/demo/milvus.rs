//! The calls of the demo to the server: the Milvus API as any client uses it.

use crate::dataset::{Column, Dataset, KEY, Values};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use elanus_proto::common::{ConsistencyLevel, KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue};
use elanus_proto::milvus as m;
use elanus_proto::milvus::milvus_service_client::MilvusServiceClient;
use elanus_proto::schema::{
    self, BoolArray, CollectionSchema, DoubleArray, FieldData, FieldSchema, FloatArray, IntArray, JsonArray, LongArray,
    ScalarField, StringArray, VectorField, field_data::Field, i_ds::IdField, scalar_field::Data, vector_field,
};
use elanus_proto::transport::{Channel, milvus_client};
use elanus_types::schema::DataType;
use prost::Message as _;
use std::ops::Range;
use std::time::Duration;
use tonic::transport::Endpoint;

pub(crate) const METRIC: &str = "L2";
const TEXT_BYTES_MAX: usize = 65_535;
const LOAD_MAX: Duration = Duration::from_secs(60);

/// A hit of a search: key and score, the bits of which count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) key: i64,
    pub(crate) score: f32,
}

impl PartialEq for Hit {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.score.to_bits() == other.score.to_bits()
    }
}

/// A connection. Cheap to clone; calls of clones run side by side.
#[derive(Clone, Debug)]
pub(crate) struct Milvus {
    client: MilvusServiceClient<Channel>,
}

/// The answer of a call, or the failure that its status tells.
macro_rules! call {
    ($self:ident.$call:ident($request:expr)) => {{
        let answer = $self.client.clone().$call($request).await.context(stringify!($call))?.into_inner();
        status(answer.status.clone()).context(stringify!($call))?;
        answer
    }};
    (bare $self:ident.$call:ident($request:expr)) => {{
        let answer = $self.client.clone().$call($request).await.context(stringify!($call))?.into_inner();
        status(Some(answer)).context(stringify!($call))?
    }};
}

fn status(status: Option<elanus_proto::common::Status>) -> Result<()> {
    Ok(status.unwrap_or_default().into_result()?)
}

impl Milvus {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let channel = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).connect().await?;
        Ok(Self { client: milvus_client(channel.into()) })
    }

    pub(crate) async fn create(&self, dataset: &Dataset) -> Result<()> {
        let schema = CollectionSchema {
            name: dataset.collection.to_owned(),
            fields: fields(dataset),
            enable_dynamic_field: dataset.has_dynamic_field(),
            ..CollectionSchema::default()
        };
        let request = m::CreateCollectionRequest {
            collection_name: dataset.collection.to_owned(),
            schema: schema.encode_to_vec().into(),
            shards_num: 2,
            consistency_level: ConsistencyLevel::Strong.into(),
            ..m::CreateCollectionRequest::default()
        };
        call!(bare self.create_collection(request));
        Ok(())
    }

    /// Inserts rows of a data set with these keys; how many the server took.
    pub(crate) async fn insert(&self, dataset: &Dataset, rows: Range<usize>, first_key: i64) -> Result<usize> {
        let request = m::InsertRequest {
            collection_name: dataset.collection.to_owned(),
            num_rows: u32::try_from(rows.len())?,
            fields_data: columns(dataset, rows, first_key),
            ..m::InsertRequest::default()
        };
        Ok(usize::try_from(call!(self.insert(request)).insert_cnt)?)
    }

    /// Writes rows of a data set over those that have these keys.
    pub(crate) async fn upsert(&self, dataset: &Dataset, rows: Range<usize>, first_key: i64) -> Result<usize> {
        let request = m::UpsertRequest {
            collection_name: dataset.collection.to_owned(),
            num_rows: u32::try_from(rows.len())?,
            fields_data: columns(dataset, rows, first_key),
            ..m::UpsertRequest::default()
        };
        Ok(usize::try_from(call!(self.upsert(request)).upsert_cnt)?)
    }

    pub(crate) async fn delete(&self, collection: &str, expr: &str) -> Result<usize> {
        let request = m::DeleteRequest {
            collection_name: collection.to_owned(),
            expr: expr.to_owned(),
            ..m::DeleteRequest::default()
        };
        Ok(usize::try_from(call!(self.delete(request)).delete_cnt)?)
    }

    pub(crate) async fn create_index(&self, collection: &str, field: &str) -> Result<()> {
        let request = m::CreateIndexRequest {
            collection_name: collection.to_owned(),
            field_name: field.to_owned(),
            extra_params: pairs(&[("index_type", "FLAT"), ("metric_type", METRIC)]),
            ..m::CreateIndexRequest::default()
        };
        call!(bare self.create_index(request));
        Ok(())
    }

    /// Loads a collection and waits until it is.
    pub(crate) async fn load(&self, collection: &str) -> Result<()> {
        let collection_name = collection.to_owned();
        let request = m::LoadCollectionRequest { collection_name: collection_name.clone(), ..Default::default() };
        call!(bare self.load_collection(request));
        let loaded = async {
            loop {
                let request =
                    m::GetLoadingProgressRequest { collection_name: collection_name.clone(), ..Default::default() };
                if call!(self.get_loading_progress(request)).progress >= 100 {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LOAD_MAX, loaded).await.context("the collection is not loaded after a minute")?
    }

    pub(crate) async fn count(&self, collection: &str) -> Result<usize> {
        let found = self.query(collection, "", &["count(*)"]).await?;
        match found.first().and_then(|field| field.field.as_ref()) {
            Some(Field::Scalars(ScalarField { data: Some(Data::LongData(count)), .. })) if count.data.len() == 1 => {
                Ok(usize::try_from(count.data[0])?)
            }
            _ => bail!("the server counts without a number"),
        }
    }

    /// Columns of the rows that match.
    pub(crate) async fn query(&self, collection: &str, expr: &str, fields: &[&str]) -> Result<Vec<FieldData>> {
        let request = m::QueryRequest {
            collection_name: collection.to_owned(),
            expr: expr.to_owned(),
            output_fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            consistency_level: ConsistencyLevel::Strong.into(),
            ..m::QueryRequest::default()
        };
        Ok(call!(self.query(request)).fields_data)
    }

    /// The rows nearest to a vector, the nearest first.
    pub(crate) async fn search(
        &self,
        collection: &str,
        field: &str,
        vector: &[f32],
        filter: &str,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        let bytes: Vec<u8> = vector.iter().flat_map(|element| element.to_le_bytes()).collect();
        let group = PlaceholderGroup {
            placeholders: vec![PlaceholderValue {
                tag: "$0".to_owned(),
                r#type: PlaceholderType::FloatVector.into(),
                values: vec![bytes.into()],
                ..PlaceholderValue::default()
            }],
        };
        let request = m::SearchRequest {
            collection_name: collection.to_owned(),
            dsl: filter.to_owned(),
            dsl_type: elanus_proto::common::DslType::BoolExprV1.into(),
            search_input: Some(m::search_request::SearchInput::PlaceholderGroup(group.encode_to_vec().into())),
            search_params: pairs(&[("anns_field", field), ("metric_type", METRIC), ("topk", &limit.to_string())]),
            nq: 1,
            consistency_level: ConsistencyLevel::Strong.into(),
            ..m::SearchRequest::default()
        };
        let found = call!(self.search(request)).results.unwrap_or_default();
        let keys = match found.ids.and_then(|ids| ids.id_field) {
            Some(IdField::IntId(keys)) => keys.data,
            None => Vec::new(),
            Some(_) => bail!("the hits have keys of another type"),
        };
        ensure!(keys.len() == found.scores.len(), "{} hits with {} scores", keys.len(), found.scores.len());
        Ok(keys.into_iter().zip(found.scores).map(|(key, score)| Hit { key, score }).collect())
    }

    pub(crate) async fn create_snapshot(&self, collection: &str, name: &str, description: &str) -> Result<()> {
        let request = m::CreateSnapshotRequest {
            name: name.to_owned(),
            description: description.to_owned(),
            collection_name: collection.to_owned(),
            ..m::CreateSnapshotRequest::default()
        };
        call!(bare self.create_snapshot(request));
        Ok(())
    }

    /// Starts a restore; the id of its job.
    pub(crate) async fn restore(&self, collection: &str, snapshot: &str, target: &str) -> Result<i64> {
        let request = m::RestoreSnapshotRequest {
            name: snapshot.to_owned(),
            collection_name: collection.to_owned(),
            target_collection_name: target.to_owned(),
            ..m::RestoreSnapshotRequest::default()
        };
        Ok(call!(self.restore_snapshot(request)).job_id)
    }

    /// State, progress in percent, and the reason of a failure.
    pub(crate) async fn restore_state(&self, job_id: i64) -> Result<(m::RestoreSnapshotState, i32, String)> {
        let request = m::GetRestoreSnapshotStateRequest { job_id, ..Default::default() };
        let info = call!(self.get_restore_snapshot_state(request)).info.context("the job has no state")?;
        Ok((info.state(), info.progress, info.reason))
    }

    pub(crate) async fn drop_snapshot(&self, collection: &str, name: &str) -> Result<()> {
        let request = m::DropSnapshotRequest {
            name: name.to_owned(),
            collection_name: collection.to_owned(),
            ..m::DropSnapshotRequest::default()
        };
        call!(bare self.drop_snapshot(request));
        Ok(())
    }

    pub(crate) async fn drop(&self, collection: &str) -> Result<()> {
        let request = m::DropCollectionRequest { collection_name: collection.to_owned(), ..Default::default() };
        call!(bare self.drop_collection(request));
        Ok(())
    }

    pub(crate) async fn exists(&self, collection: &str) -> Result<bool> {
        let request = m::HasCollectionRequest { collection_name: collection.to_owned(), ..Default::default() };
        Ok(call!(self.has_collection(request)).value)
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs.iter().map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() }).collect()
}

fn fields(dataset: &Dataset) -> Vec<FieldSchema> {
    let key = FieldSchema {
        name: KEY.to_owned(),
        data_type: DataType::Int64.number(),
        is_primary_key: true,
        ..FieldSchema::default()
    };
    let vector = FieldSchema {
        name: dataset.vector_field.clone(),
        data_type: DataType::FloatVector.number(),
        type_params: pairs(&[("dim", &dataset.dim.to_string())]),
        ..FieldSchema::default()
    };
    let columns = dataset.columns.iter().filter(|column| !column.dynamic).map(|column| FieldSchema {
        name: column.name.clone(),
        data_type: column.data_type.number(),
        type_params: match column.data_type {
            DataType::VarChar => pairs(&[("max_length", &TEXT_BYTES_MAX.to_string())]),
            _ => Vec::new(),
        },
        nullable: column.values.has_nulls(),
        ..FieldSchema::default()
    });
    [key, vector].into_iter().chain(columns).collect()
}

fn columns(dataset: &Dataset, rows: Range<usize>, first_key: i64) -> Vec<FieldData> {
    let keys = (first_key..).take(rows.len()).collect();
    let key = scalars(KEY, DataType::Int64, Data::LongData(LongArray { data: keys }), Vec::new());
    let elements = dataset.vectors[rows.start * dataset.dim..rows.end * dataset.dim].to_vec();
    let vector = FieldData {
        r#type: DataType::FloatVector.number(),
        field_name: dataset.vector_field.clone(),
        field: Some(Field::Vectors(VectorField {
            dim: i64::try_from(dataset.dim).unwrap_or(i64::MAX),
            data: Some(vector_field::Data::FloatVector(FloatArray { data: elements })),
            valid_data: Vec::new(),
        })),
        ..FieldData::default()
    };
    let others = dataset.columns.iter().map(|column| column_data(column, rows.clone()));
    [key, vector].into_iter().chain(others).collect()
}

/// As clients send it: the values that there are, and for columns with nulls which rows have one.
fn column_data(column: &Column, rows: Range<usize>) -> FieldData {
    macro_rules! present {
        ($values:ident, $message:ident, $data:ident) => {{
            let some = &$values[rows];
            let valid = some.iter().map(Option::is_some).collect();
            (Data::$data($message { data: some.iter().flatten().cloned().map(Into::into).collect() }), valid)
        }};
    }
    let (data, valid) = match &column.values {
        Values::Bool(values) => present!(values, BoolArray, BoolData),
        Values::Int(values) => present!(values, IntArray, IntData),
        Values::Long(values) => present!(values, LongArray, LongData),
        Values::Float(values) => present!(values, FloatArray, FloatData),
        Values::Double(values) => present!(values, DoubleArray, DoubleData),
        Values::Text(values) => present!(values, StringArray, StringData),
        Values::Json(values) => {
            let some = &values[rows];
            let documents = some.iter().flatten().map(|text| Bytes::copy_from_slice(text.as_bytes()));
            (Data::JsonData(JsonArray { data: documents.collect() }), some.iter().map(Option::is_some).collect())
        }
    };
    let valid = if column.values.has_nulls() { valid } else { Vec::new() };
    FieldData { is_dynamic: column.dynamic, ..scalars(&column.name, column.data_type, data, valid) }
}

fn scalars(name: &str, data_type: DataType, data: Data, valid_data: Vec<bool>) -> FieldData {
    FieldData {
        r#type: data_type.number(),
        field_name: name.to_owned(),
        field: Some(Field::Scalars(schema::ScalarField { data: Some(data), valid_data: Vec::new() })),
        valid_data,
        ..FieldData::default()
    }
}

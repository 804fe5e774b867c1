//! Reads inside a snapshot, without restoring it.

use crate::{Client, ClientError, ErrorKind, QueryResults, Result, Snapshots, error::check};
use elanus_proto::common::KeyValuePair;
use elanus_proto::{milvus, schema};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};

/// Metadata of a read: the snapshot to read inside of.
const SNAPSHOT: &str = "elanus-snapshot";

/// A read inside a snapshot that is not asked for yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct QuerySnapshot<'c> {
    client: &'c Client,
    snapshot: String,
    request: milvus::QueryRequest,
}

impl<'c> Snapshots<'c> {
    /// Rows of a collection as they were at one of its snapshots, by primary key.
    pub fn query(&self, collection: &str, name: &str) -> QuerySnapshot<'c> {
        let request = milvus::QueryRequest {
            db_name: self.0.database.clone(),
            collection_name: collection.to_owned(),
            ..Default::default()
        };
        QuerySnapshot { client: self.0, snapshot: name.to_owned(), request }
    }
}

impl QuerySnapshot<'_> {
    /// Only rows that match a filter of the Milvus language.
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.request.expr = filter.into();
        self
    }

    /// Only rows of these partitions.
    pub fn partitions(mut self, names: Vec<String>) -> Self {
        self.request.partition_names = names;
        self
    }

    /// Asks for at most so many rows, with these fields; `*` is every field.
    ///
    /// # Errors
    /// When there is no such collection or snapshot, and when the filter or a field is wrong.
    pub async fn rows(mut self, output_fields: Vec<String>, limit: u32) -> Result<QueryResults> {
        self.request.output_fields = output_fields;
        self.request.query_params = vec![KeyValuePair { key: "limit".to_owned(), value: limit.to_string() }];
        self.send().await
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// When there is no such collection or snapshot, and when the filter is wrong.
    pub async fn count(mut self) -> Result<i64> {
        self.request.output_fields = vec!["count(*)".to_owned()];
        let answer = self.send().await?;
        let field = answer.fields_data.into_iter().next().and_then(|field| field.field);
        match field {
            Some(schema::field_data::Field::Scalars(schema::ScalarField {
                data: Some(schema::scalar_field::Data::LongData(numbers)),
                ..
            })) if numbers.data.len() == 1 => Ok(numbers.data[0]),
            _ => Err(ClientError::new(ErrorKind::Other, "the server's answer has no count")),
        }
    }

    async fn send(self) -> Result<QueryResults> {
        let Self { client, snapshot, request } = self;
        let name: MetadataValue<Ascii> = snapshot.parse().map_err(|_| {
            ClientError::new(ErrorKind::Invalid, format!("{snapshot:?} cannot be the name of a snapshot"))
        })?;
        let call = async || {
            let mut request = Request::new(request.clone());
            request.metadata_mut().insert(SNAPSHOT, name.clone());
            client.milvus.clone().query(request).await
        };
        let answer = client.read(call).await?;
        check(answer.status.clone())?;
        Ok(answer)
    }
}

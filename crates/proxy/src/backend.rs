//! The other services as the proxy's topics see them: clients to clone, a collection to look at, one way to read failures.

use crate::{Proxy, access::Identity};
use elanus_proto::{convert, datacoord as dc, datanode as dn, querynode as qn, restore_headers, transport::Channel};
use elanus_types::{
    Code, Failure,
    privilege::ROOT,
    schema::{CollectionSchema, DEFAULT_DATABASE, DEFAULT_PARTITION, FieldSchema},
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Response, Status};

/// What of a call is not in its message.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    db: String,
    /// What the client calls this request, in all its repeats; empty when it does not say.
    pub(crate) request_id: String,
    snapshot: Option<String>,
    /// What a restore is asked for beyond the Milvus API, as it was sent.
    pub(crate) restore: RestoreHeaders,
    /// Who calls; `None` where nobody is asked.
    identity: Option<Identity>,
}

/// Values of the metadata keys of a restore; `None` where the key is absent, and what is not text is told as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct RestoreHeaders {
    pub(crate) mode: Option<String>,
    pub(crate) partitions: Option<String>,
    pub(crate) indexes: Option<String>,
    pub(crate) ages: Option<String>,
}

/// Metadata of a read: the name of the snapshot to read inside of.
const SNAPSHOT: &str = "elanus-snapshot";

impl Call {
    /// Reads the metadata of a request.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        let text = |key| request.metadata().get(key).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let given = |key: &str| {
            let value = request.metadata().get(key)?;
            Some(String::from_utf8_lossy(value.as_encoded_bytes()).into_owned())
        };
        // A name that is not text is no name, but it must not be passed over either.
        let name = |value: &MetadataValue<Ascii>| value.to_str().unwrap_or("\u{fffd}").to_owned();
        let db = request.metadata().get("dbname").map(name).filter(|db| !db.is_empty());
        Self {
            db: db.unwrap_or_else(|| DEFAULT_DATABASE.to_owned()),
            request_id: text("client-request-id").to_owned(),
            snapshot: request.metadata().get(SNAPSHOT).map(name),
            restore: RestoreHeaders {
                mode: given(restore_headers::MODE),
                partitions: given(restore_headers::PARTITIONS),
                indexes: given(restore_headers::INDEXES),
                ages: given(restore_headers::AGES),
            },
            identity: request.extensions().get::<Identity>().cloned(),
        }
    }

    /// Who calls.
    ///
    /// # Errors
    /// UNAUTHENTICATED where nobody said so, though everybody is asked: a call that came past the door.
    pub(crate) fn identity(&self) -> Result<&Identity, Status> {
        self.identity.as_ref().ok_or_else(|| Status::unauthenticated("missing authorization in header"))
    }

    /// Of a list: what this caller may see of it. Everything, where nobody is asked.
    pub(crate) fn sees(&self, may: impl FnOnce(&Identity) -> bool) -> bool {
        self.identity.as_ref().is_none_or(may)
    }

    /// Who calls, by name; root where nobody is asked.
    pub(crate) fn user(&self) -> &str {
        self.identity.as_ref().map_or(ROOT, |identity| &identity.user)
    }

    /// The snapshot that is to be read, where the call names one.
    pub(crate) fn snapshot(&self) -> Option<&str> {
        self.snapshot.as_deref()
    }

    /// 1100 for a write into a snapshot.
    pub(crate) fn requires_present(&self) -> Result<(), Failure> {
        match &self.snapshot {
            None => Ok(()),
            Some(name) => Err(Failure::invalid(format!(
                "a snapshot cannot be changed: leave the metadata {SNAPSHOT} ({name}) out"
            ))),
        }
    }

    /// The database of this call: what the message names, else what the metadata names, else the default one.
    /// Never a property of the connection: clients of several databases share one.
    pub(crate) fn db(&self, named: &str) -> String {
        if named.is_empty() { self.db.clone() } else { named.to_owned() }
    }
}

/// What a call between services gave.
pub(crate) async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
    call.await.map(Response::into_inner).map_err(convert::failure_from_grpc)
}

impl Proxy {
    pub(crate) fn datacoord(&self) -> dc::data_coord_client::DataCoordClient<Channel> {
        self.datacoord.clone()
    }

    pub(crate) fn datanode(&self) -> dn::data_node_client::DataNodeClient<Channel> {
        self.datanode.clone()
    }

    pub(crate) fn querynode(&self) -> qn::query_node_client::QueryNodeClient<Channel> {
        self.querynode.clone()
    }

    /// The collection with this name.
    pub(crate) async fn collection(&self, call: &Call, db: &str, name: &str) -> Result<Collection, Failure> {
        self.find(dc::CollectionRef { db_name: call.db(db), collection_name: name.to_owned(), collection_id: 0 }).await
    }

    /// The collection that is referred to.
    pub(crate) async fn find(&self, reference: dc::CollectionRef) -> Result<Collection, Failure> {
        let (db, name) = (reference.db_name.clone(), reference.collection_name.clone());
        elanus_trace::note("elanus.database", db.clone());
        elanus_trace::note("elanus.collection", name.clone());
        if name.is_empty() && reference.collection_id == 0 {
            return Err(Failure::invalid("collection name should not be empty"));
        }
        let found = answer(self.datacoord().describe_collection(reference)).await;
        let info = found.map_err(|failure| match failure.code {
            Code::CollectionNotFound => {
                Failure::new(failure.code, format!("can't find collection[database={db}][collection={name}]"))
            }
            Code::DatabaseNotFound => Failure::new(failure.code, format!("database not found[database={db}]")),
            _ => failure,
        })?;
        Collection::new(info)
    }

    pub(crate) async fn statistics(
        &self,
        collection_id: i64,
        partition_ids: Vec<i64>,
    ) -> Result<dc::Statistics, Failure> {
        answer(self.datacoord().get_statistics(dc::StatisticsRequest { collection_id, partition_ids })).await
    }
}

/// A collection as the coordinator describes it now.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) info: dc::Collection,
    pub(crate) schema: CollectionSchema,
}

impl Collection {
    pub(crate) fn new(info: dc::Collection) -> Result<Self, Failure> {
        let message = info.schema.as_ref();
        let message =
            message.ok_or_else(|| Failure::internal("the coordinator described a collection without schema"))?;
        let schema = convert::schema_from_proto(message).map_err(|failure| {
            Failure::internal(failure.message).context("the coordinator described a collection that cannot be")
        })?;
        Ok(Self { info, schema })
    }

    pub(crate) fn id(&self) -> i64 {
        self.info.id
    }

    /// How another service finds it: by its id, which a new collection of the same name does not have.
    pub(crate) fn reference(&self) -> dc::CollectionRef {
        dc::CollectionRef {
            db_name: self.info.db_name.clone(),
            collection_name: self.info.name.clone(),
            collection_id: self.info.id,
        }
    }

    /// The partition with this name; the empty name is the default partition's.
    pub(crate) fn partition(&self, name: &str) -> Result<&dc::Partition, Failure> {
        let name = if name.is_empty() { DEFAULT_PARTITION } else { name };
        let found = self.info.partitions.iter().find(|partition| partition.name == name);
        found.ok_or_else(|| Failure::new(Code::PartitionNotFound, format!("partition not found[partition={name}]")))
    }

    pub(crate) fn partitions(&self, names: &[String]) -> Result<Vec<&dc::Partition>, Failure> {
        names.iter().map(|name| self.partition(name)).collect()
    }

    /// 1100 for partitions that are named although a partition key says where rows are.
    pub(crate) fn requires_no_partition_names(&self, named: bool) -> Result<(), Failure> {
        if !named || self.schema.partition_key.is_none() {
            return Ok(());
        }
        Err(Failure::invalid("not support manually specifying the partition names if partition key mode is used"))
    }

    /// 1100 for a change of partitions that a partition key made.
    pub(crate) fn requires_own_partitions(&self, what: &str) -> Result<(), Failure> {
        if self.schema.partition_key.is_none() {
            return Ok(());
        }
        Err(Failure::invalid(format!("disable {what} partition if partition key mode is used")))
    }

    /// The name of a shard's channel.
    pub(crate) fn channel(&self, shard: i32) -> String {
        format!("elanus_{}v{shard}", self.info.id)
    }

    pub(crate) fn index_of(&self, field: &FieldSchema) -> Option<&dc::Index> {
        self.info.indexes.iter().find(|index| index.field_id == field.id.0)
    }

    /// True when any of it can be read.
    pub(crate) fn any_loaded(&self) -> bool {
        any_loaded(&self.info)
    }

    pub(crate) fn not_loaded(&self) -> Failure {
        Failure::new(Code::CollectionNotLoaded, format!("collection not loaded[collection={}]", self.info.name))
    }
}

/// True when any partition of the collection can be read.
pub(crate) fn any_loaded(info: &dc::Collection) -> bool {
    info.partitions.iter().any(|partition| partition.loaded)
}

//! The calls of a query node. Turns requests into reads, failures into statuses; decides nothing else.

use crate::cache::FileCache;
use crate::cpu::Cpu;
use crate::leases::Leases;
use crate::query::query;
use crate::scan::Reader;
use crate::scope::Scope;
use crate::search::search;
use crate::views::Views;
use elanus_meta::Meta;
use elanus_objects::ObjectStore;
use elanus_proto::convert::failure_to_grpc;
use elanus_proto::querynode::query_node_server;
use elanus_proto::querynode::{
    QueryRequest, QueryResponse, ReadScope, SearchManyRequest, SearchManyResponse, SearchRequest, SearchResponse,
};
use elanus_proto::transport::MESSAGE_BYTES_MAX;
use elanus_types::{Code, CollectionId, Failure};
use std::sync::Arc;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, info_span};

/// How much a query node may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryConfig {
    /// Decoded files that are kept for later reads, in bytes. Primary keys of collections in use come on top.
    pub cache_bytes_max: usize,
    /// Files that are fetched at a time.
    pub fetch_concurrency: usize,
    /// Cores that reads may use at a time.
    pub cpu_concurrency: usize,
    /// How long what is known of a collection is kept after its last read, in milliseconds.
    pub view_idle_ms_max: i64,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            cache_bytes_max: 2 << 30,
            fetch_concurrency: 16,
            cpu_concurrency: std::thread::available_parallelism().map_or(1, usize::from),
            view_idle_ms_max: 10 * 60 * 1000,
        }
    }
}

/// A query node: reads as of a timestamp, from files. Cheap to clone; clones share one cache.
#[derive(Clone, Debug)]
pub struct QueryNode {
    pub(crate) views: Arc<Views>,
    reader: Reader,
    pub(crate) leases: Arc<Leases>,
}

impl QueryNode {
    /// A query node with an empty cache.
    #[must_use]
    pub fn new(meta: Meta, objects: Arc<dyn ObjectStore>, config: QueryConfig) -> Self {
        let cpu = Cpu::new(config.cpu_concurrency);
        let fetches_max = config.fetch_concurrency;
        let cache = Arc::new(FileCache::new(objects, cpu.clone(), config.cache_bytes_max, fetches_max));
        let views = Views::new(meta, Arc::clone(&cache), cpu.clone(), fetches_max, config.view_idle_ms_max);
        Self { views: Arc::new(views), reader: Reader { cache, cpu }, leases: Arc::default() }
    }

    /// What is read of a collection that changed is brought up to date before somebody asks for it. For events, which may be
    /// lost: every read looks for itself. True when there was something to do.
    ///
    /// # Errors
    /// When the collection cannot be read; the next read tries again.
    pub async fn hear(&self, collection: CollectionId) -> Result<bool, Failure> {
        self.views.hear(collection).await
    }

    /// The collections that are read here.
    #[must_use]
    pub fn followed(&self) -> Vec<CollectionId> {
        self.views.followed()
    }

    async fn scope(&self, request: Option<ReadScope>) -> Result<Scope, Failure> {
        let request = request.ok_or_else(|| Failure::missing("the request does not say what to read"))?;
        elanus_trace::note("elanus.collection_id", request.collection_id);
        let step = elanus_trace::inner!("querynode.view");
        let view = self.views.at(CollectionId(request.collection_id), request.read_ts).instrument(step).await?;
        self.reader.cpu.run(move || Scope::new(view, &request)).await
    }

    /// Several searches as of the timestamp of the first one.
    async fn search_all(&self, mut searches: Vec<SearchRequest>) -> Result<SearchManyResponse, Failure> {
        let scopes: Vec<ReadScope> = searches.iter_mut().filter_map(|search| search.scope.take()).collect();
        let first = scopes.first().filter(|_| scopes.len() == searches.len());
        let first = first.ok_or_else(|| Failure::missing("a search does not say what to read"))?;
        let collection = first.collection_id;
        if scopes.iter().any(|scope| scope.collection_id != collection) {
            return Err(Failure::invalid("searches that are made together are of one collection"));
        }
        elanus_trace::note("elanus.collection_id", collection);
        let view = self.views.at(CollectionId(collection), first.read_ts).await?;
        let mut answers = Vec::with_capacity(searches.len());
        let mut bytes = 0;
        for (scope, request) in scopes.into_iter().zip(searches) {
            let seen = Arc::clone(&view);
            let scope = self.reader.cpu.run(move || Scope::new(seen, &scope)).await?;
            let answer = search(&self.reader, scope, request).await?;
            bytes += answer.arrow_ipc.len() + answer.scores.len() * size_of::<f32>();
            if bytes > MESSAGE_BYTES_MAX / 2 {
                let text = format!("the results are larger than {} bytes: ask for fewer fields", MESSAGE_BYTES_MAX / 2);
                return Err(Failure::new(Code::ParameterTooLarge, text));
            }
            answers.push(answer);
        }
        Ok(SearchManyResponse { answers })
    }
}

#[tonic::async_trait]
impl query_node_server::QueryNode for QueryNode {
    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        let mut request = request.into_inner();
        let span = info_span!("querynode.query", collection_id = collection_of(request.scope.as_ref()));
        let answer = async {
            let scope = self.scope(request.scope.take()).await?;
            query(&self.reader, scope, &request).await
        };
        answer.instrument(span).await.map(Response::new).map_err(failure_to_grpc)
    }

    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        let mut request = request.into_inner();
        let span = info_span!("querynode.search", collection_id = collection_of(request.scope.as_ref()));
        let answer = async {
            let scope = self.scope(request.scope.take()).await?;
            search(&self.reader, scope, request).await
        };
        answer.instrument(span).await.map(Response::new).map_err(failure_to_grpc)
    }

    async fn search_many(&self, request: Request<SearchManyRequest>) -> Result<Response<SearchManyResponse>, Status> {
        let searches = request.into_inner().searches;
        let scope = searches.first().and_then(|search| search.scope.as_ref());
        let span = info_span!("querynode.search_many", collection_id = collection_of(scope));
        self.search_all(searches).instrument(span).await.map(Response::new).map_err(failure_to_grpc)
    }
}

fn collection_of(scope: Option<&ReadScope>) -> i64 {
    scope.map_or(0, |scope| scope.collection_id)
}

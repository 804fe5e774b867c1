//! Builds the index of one claim: reads the file of rows, makes a graph of the vectors of one field, writes that as one file.
//!
//! In memory are the file as it lies in the store, the vectors twice, and the links of the graph.

use super::files::{Stop, fetch, key_of, permanent, store, transient, with_source};
use super::report::{Lease, Progress, Verdict};
use super::store::Way;
use super::{Claim, TaskWorker};
use bytes::Bytes;
use elanus_meta::model::{IndexWork, IndexedFile};
use elanus_segment::{EncodedGraph, build_graph, decode_rows};
use elanus_types::Failure;
use elanus_types::graph::GraphSpec;
use elanus_types::schema::{CollectionSchema, FieldSchema};
use tokio_util::sync::CancellationToken;

/// Builds, or says why not. `None` when it was told to stop.
pub(super) async fn build(worker: &TaskWorker, claim: &Claim, progress: &Progress, lease: &Lease) -> Option<Verdict> {
    let way = Way { objects: &*worker.objects, gate: &worker.gate, lease };
    match make(worker, claim, progress, &way).await {
        Ok(file) => Some(Verdict::Indexed(file)),
        Err(Stop::Told) => None,
        Err(Stop::Failed { permanent, key, why }) => {
            tracing::info!(task = %claim.task, key, why, permanent, "an index was not built");
            Some(Verdict::Failed { permanent, errors: vec![(key, why)] })
        }
    }
}

async fn make(worker: &TaskWorker, claim: &Claim, progress: &Progress, way: &Way<'_>) -> Result<IndexedFile, Stop> {
    let work = worker.meta.index_work(claim.task, claim.generation, &worker.node).await;
    let work = work.map_err(|error| transient("", Failure::from(error).message))?;
    let Some(IndexWork { mut schema, index, input, target, .. }) = work else {
        // Void, or another's by now: the first is found out when another claims it.
        return Err(transient("", "what is to be indexed is not there any more".to_owned()));
    };
    schema.fields.retain(|field| field.is_primary_key || field.id == index.field_id);
    let field = schema.fields.iter().find(|field| field.id == index.field_id).cloned();
    let built = field.and_then(|field| Some((GraphSpec::of(&field, &index)?, field)));
    let Some((spec, field)) = built else {
        return Err(permanent("", format!("index {} is of no kind that is built", index.name)));
    };

    let (_, bytes) = fetch(way, &input).await?;
    let stop = CancellationToken::new();
    // Also when this future is dropped, the thread that builds ends.
    let _guard = stop.clone().drop_guard();
    let rows = input.rows;
    let building = tokio::task::spawn_blocking(move || graph_of(&schema, &field, spec, bytes, rows, &stop));
    let built = tokio::select! {
        built = building => built,
        () = way.lease.lost() => return Err(Stop::Told),
    };
    let graph = match built {
        Ok(Ok(Some(graph))) => graph,
        Ok(Ok(None)) => return Err(Stop::Told),
        Ok(Err(why)) => return Err(permanent(key_of(&input), why)),
        Err(error) => return Err(permanent(key_of(&input), format!("building stopped: {error}"))),
    };
    progress.add(claim.work.label(), input.objects.iter().map(|object| object.size).sum());
    let file = IndexedFile { size: graph.bytes.len() as u64, checksum: graph.checksum };
    store(way, &target, graph.bytes).await?;
    Ok(file)
}

fn graph_of(
    schema: &CollectionSchema,
    field: &FieldSchema,
    spec: GraphSpec,
    bytes: Bytes,
    rows: u64,
    stop: &CancellationToken,
) -> Result<Option<EncodedGraph>, String> {
    let batch = decode_rows(schema, bytes).map_err(|error| with_source(&error))?;
    if batch.num_rows() as u64 != rows {
        return Err(format!("it has {} rows where {rows} were written", batch.num_rows()));
    }
    let column = batch.column_by_name(&field.name).ok_or_else(|| format!("it has no column {}", field.name))?;
    build_graph(field, spec, column, || !stop.is_cancelled()).map_err(|error| with_source(&error))
}

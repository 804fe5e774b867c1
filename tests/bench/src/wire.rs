//! A server as a process of its own, and the official Rust client over the wire. Beside it: the same bytes written to the
//! same disk, the same search over bare vectors in one thread, and a call that does nothing.

use crate::report::{Figure, milliseconds};
use anyhow::{Context as _, Result, ensure};
use elanus_testkit::Server;
use milvus::v2::prelude::*;
use serde_json::json;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

const COLLECTION: &str = "bench";
const DIM: usize = 128;
/// Rows of one insert.
const BATCH: usize = 5_000;
const LIMIT: usize = 10;

pub(crate) async fn measure(rows: usize, searches: usize) -> Result<Vec<Figure>> {
    let mut server = Server::start().await?;
    let client = ClientV2::new(&ConnectConfig::new().uri(server.url())).await?;
    create(&client).await?;
    let vectors: Vec<Vec<f32>> = (0..rows).map(vector).collect();
    let figures = vec![
        insert(&client, &vectors).await?,
        search(&client, &vectors, searches).await?,
        query(&client, rows, searches).await?,
    ];
    server.terminate().await?;
    Ok(figures)
}

async fn create(client: &ClientV2) -> Result<()> {
    let request = CreateSimpleCollectionRequest::builder()
        .collection_name(COLLECTION)
        .primary_field("id")
        .vector_field("vector")
        .metric_type(MetricType::L2)
        .dimension(u32::try_from(DIM)?)
        .build()?;
    client.create_collection(request).await?;
    Ok(())
}

/// Looks random and is not.
fn vector(row: usize) -> Vec<f32> {
    let element = |i: usize| ((row * 2_654_435_761 + i * 40_503) % 10_007) as f32 / 10_007.0;
    (0..DIM).map(element).collect()
}

async fn insert(client: &ClientV2, vectors: &[Vec<f32>]) -> Result<Figure> {
    let mut seconds = 0.0;
    let mut bare_seconds = 0.0;
    let mut file = tempfile::tempfile()?;
    for (batch, vectors) in vectors.chunks(BATCH).enumerate() {
        let row = |(n, vector): (usize, &Vec<f32>)| json!({"id": batch * BATCH + n, "vector": vector});
        let rows: Vec<_> = vectors.iter().enumerate().map(row).collect();
        let request = InsertRequest::builder().collection_name(COLLECTION).rows(rows).build()?;
        let started = Instant::now();
        client.insert(request).await?;
        seconds += started.elapsed().as_secs_f64();

        let bytes: Vec<u8> = vectors.iter().flatten().flat_map(|element| element.to_le_bytes()).collect();
        let started = Instant::now();
        file.write_all(&bytes)?;
        file.sync_all()?;
        bare_seconds += started.elapsed().as_secs_f64();
    }
    let rows = vectors.len() as f64;
    Ok(Figure::new(format!("wire: insert, {DIM} dimensions, {BATCH} rows a request"), rows / seconds, "rows/s")
        .beside("the vectors written and synced", rows / bare_seconds))
}

async fn search(client: &ClientV2, vectors: &[Vec<f32>], searches: usize) -> Result<Figure> {
    let mut seconds = 0.0;
    let mut bare_seconds = 0.0;
    let flat: Vec<f32> = vectors.iter().flatten().copied().collect();
    // The first one fills the server's cache.
    for n in 0..=searches {
        let wanted = n * vectors.len() / (searches + 1);
        let request = SearchRequest::builder()
            .collection_name(COLLECTION)
            .vector_field("vector")
            .vectors(SearchVectors::Float(vec![vectors[wanted].clone()]))
            .limit(i64::try_from(LIMIT)?)
            .build()?;
        let started = Instant::now();
        let found = client.search(request).await?;
        let took = started.elapsed().as_secs_f64();
        ensure!(found.results().get_results().len() == 1, "no hits");

        let started = Instant::now();
        black_box(nearest(&flat, &vectors[wanted]));
        if n > 0 {
            seconds += took;
            bare_seconds += started.elapsed().as_secs_f64();
        }
    }
    let each_ms = |seconds: f64| seconds * 1_000.0 / searches as f64;
    Ok(Figure::new(format!("wire: exact search, {} rows of {DIM} dimensions", vectors.len()), each_ms(seconds), "ms")
        .beside("a bare scan in one thread", each_ms(bare_seconds)))
}

/// The rows with the smallest distances.
fn nearest(flat: &[f32], wanted: &[f32]) -> Vec<(f32, usize)> {
    let distance = |row: &[f32]| row.iter().zip(wanted).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    let mut found: Vec<(f32, usize)> = flat.chunks_exact(DIM).map(distance).zip(0..).collect();
    let last = LIMIT.min(found.len() - 1);
    found.select_nth_unstable_by(last, |a, b| a.0.total_cmp(&b.0));
    found.truncate(LIMIT);
    found
}

async fn query(client: &ClientV2, rows: usize, queries: usize) -> Result<Figure> {
    let (mut times, mut nothing) = (Vec::new(), Vec::new());
    for n in 0..queries {
        let id = n * rows / queries;
        let request = QueryRequest::builder()
            .collection_name(COLLECTION)
            .filter(format!("id == {id}"))
            .output_fields(["id", "vector"])
            .consistency_level(ConsistencyLevel::Strong)
            .build()?;
        let started = Instant::now();
        let answer = client.query(request).await?;
        times.push(milliseconds(started.elapsed()));
        answer.results().rows()?.next().with_context(|| format!("row {id} is not found"))?;

        let request = HasCollectionRequest::builder().collection_name(COLLECTION).build()?;
        let started = Instant::now();
        client.has_collection(request).await?;
        nothing.push(milliseconds(started.elapsed()));
    }
    for times in [&mut times, &mut nothing] {
        times.sort_by(f64::total_cmp);
    }
    Ok(Figure::new(format!("wire: query by key, {rows} rows, median"), times[queries / 2], "ms")
        .beside("has_collection", nothing[queries / 2]))
}

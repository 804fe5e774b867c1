//! Create and clone for one size of collection. Beside them: what SQLite needs by itself for a durable transaction, and for
//! as many rows.

use crate::report::{Figure, milliseconds};
use crate::world::{Cost, Objects, SOURCE, World, source};
use anyhow::Result;
use elanus_proto::datacoord as pb;
use elanus_types::{Checksum, RestoreMode};
use sqlx::AssertSqlSafe;
use std::time::Instant;

/// Of which the median is told.
const TIMES: usize = 9;

pub(crate) async fn measure(files: i64) -> Result<Vec<Figure>> {
    let mut world = World::start(Objects::Memory).await?;
    world.fill(files, 1_000, Checksum(0x0123_4567_89ab_cdef)).await?;
    let transaction_ms = durable_transaction(&world).await?;
    let rows_ms = insert_rows(&world, files).await?;

    let what = |what: &str| format!("snapshot: {what}, {files} files");
    let (first, _) = world.cost(world.snapshot("first")).await?;
    let unlisted = "SELECT 1 FROM snapshots WHERE accepted = 1 LIMIT 1";
    let (listed, ()) = world.cost(world.until_none(unlisted)).await?;
    let mut later = Vec::new();
    for n in 0..TIMES {
        later.push(world.cost(world.snapshot(&format!("later{n}"))).await?.0);
    }
    let (cloned, ()) = world.cost(world.restore("first", "target", RestoreMode::Clone)).await?;
    // The first one also waits for what the clone, a large transaction, left SQLite to do.
    let mut dropped = vec![world.cost(drop_snapshot(&world, "first")).await?.0];
    for n in 0..TIMES - 1 {
        dropped.push(world.cost(drop_snapshot(&world, &format!("later{n}"))).await?.0);
    }
    let (gone, _) = world.cost(drop_collection(&world)).await?;
    world.end().await;

    let transaction = "a durable transaction";
    Ok(vec![
        Figure::cost(what("first create"), &first).beside(transaction, transaction_ms),
        Figure::cost(what("first create, then its lists"), &listed).beside(transaction, transaction_ms),
        Figure::cost(what("later create"), &median(later)).beside(transaction, transaction_ms),
        Figure::cost(what("clone"), &cloned).beside(format!("INSERT of {files} rows"), rows_ms),
        Figure::cost(what("drop snapshot"), &median(dropped)).beside(transaction, transaction_ms),
        Figure::cost(what("drop collection"), &gone).beside(transaction, transaction_ms),
    ])
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.time);
    costs[costs.len() / 2]
}

async fn drop_snapshot(world: &World, name: &str) -> Result<()> {
    let request = pb::SnapshotRef { collection: Some(source()), snapshot_name: name.to_owned() };
    world.coord.clone().drop_snapshot(request).await?;
    Ok(())
}

async fn drop_collection(world: &World) -> Result<()> {
    let request = pb::CollectionRef { collection_name: SOURCE.to_owned(), ..pb::CollectionRef::default() };
    world.coord.clone().drop_collection(request).await?;
    Ok(())
}

/// Milliseconds of one row in a transaction of its own.
pub(crate) async fn durable_transaction(world: &World) -> Result<f64> {
    let mut scratch = world.scratch().await?;
    sqlx::query("CREATE TABLE one (n BIGINT PRIMARY KEY)").execute(&mut scratch).await?;
    let mut times = Vec::new();
    for n in 0..51_i64 {
        let started = Instant::now();
        sqlx::query("INSERT INTO one (n) VALUES ($1)").bind(n).execute(&mut scratch).await?;
        times.push(milliseconds(started.elapsed()));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// Milliseconds of so many rows like memberships, with their indexes, by one statement.
async fn insert_rows(world: &World, rows: i64) -> Result<f64> {
    let mut scratch = world.scratch().await?;
    for statement in [
        "CREATE TABLE members (a BIGINT, b BIGINT, c BIGINT, d BIGINT, e TEXT, f BIGINT, g BIGINT, h BIGINT, PRIMARY KEY (a, b))",
        "CREATE INDEX members_c ON members (c, f)",
        "CREATE INDEX members_d ON members (c, g)",
        "CREATE INDEX members_b ON members (b)",
    ] {
        sqlx::query(statement).execute(&mut scratch).await?;
    }
    let insert = format!(
        "INSERT INTO members WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows}) \
         SELECT n / 100, n, 1, 1, 'insert', n, n, n FROM n"
    );
    let started = Instant::now();
    sqlx::query(AssertSqlSafe(insert)).execute(&mut scratch).await?;
    Ok(milliseconds(started.elapsed()))
}

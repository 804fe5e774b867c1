//! The official Rust client against a server: a second client, written by others, that reads our answers its own way.

#![allow(clippy::unwrap_used, reason = "a scenario fails by panicking")]

use elanus_testkit::wait_for;
use milvus::v2::prelude::*;
use serde_json::json;
use std::time::Duration;

const DIM: usize = 4;

async fn client(url: &str) -> ClientV2 {
    ClientV2::new(&ConnectConfig::new().uri(url)).await.unwrap()
}

fn vector(id: i64) -> Vec<f32> {
    vec![id as f32, id as f32 / 2.0, 1.0, -1.0]
}

async fn create(client: &ClientV2, collection: &str) {
    let request = CreateSimpleCollectionRequest::builder()
        .collection_name(collection)
        .primary_field("id")
        .vector_field("vector")
        .metric_type(MetricType::L2)
        .dimension(DIM as u32)
        .build()
        .unwrap();
    client.create_collection(request).await.unwrap();
}

async fn insert(client: &ClientV2, collection: &str, ids: std::ops::Range<i64>) {
    let count = ids.end - ids.start;
    let rows: Vec<_> = ids.map(|id| json!({"id": id, "vector": vector(id)})).collect();
    let request = InsertRequest::builder().collection_name(collection).rows(rows).build().unwrap();
    assert_eq!(client.insert(request).await.unwrap().insert_count(), count);
}

async fn ids(client: &ClientV2, collection: &str, filter: &str) -> Vec<i64> {
    let request = QueryRequest::builder()
        .collection_name(collection)
        .filter(filter)
        .output_fields(["id"])
        .consistency_level(ConsistencyLevel::Strong)
        .build()
        .unwrap();
    let answer = client.query(request).await.unwrap();
    let mut ids: Vec<i64> = answer.results().rows().unwrap().map(|row| row.get_i64("id").unwrap()).collect();
    ids.sort_unstable();
    ids
}

async fn has(client: &ClientV2, collection: &str) -> bool {
    let request = HasCollectionRequest::builder().collection_name(collection).build().unwrap();
    client.has_collection(request).await.unwrap().exists()
}

async fn drop_collection(client: &ClientV2, collection: &str) {
    let request = DropCollectionRequest::builder().collection_name(collection).build().unwrap();
    client.drop_collection(request).await.unwrap();
    assert!(!has(client, collection).await);
}

/// Inserts, searches, deletes, upserts, flushes.
///
/// # Panics
/// When an answer is not the right one.
pub async fn writes_and_reads(url: &str) {
    let client = client(url).await;
    create(&client, "things").await;
    assert!(has(&client, "things").await);
    insert(&client, "things", 0..50).await;
    assert_eq!(ids(&client, "things", "id >= 47").await, [47, 48, 49]);

    let request = SearchRequest::builder()
        .collection_name("things")
        .vector_field("vector")
        .vectors(SearchVectors::Float(vec![vector(7), vector(30)]))
        .output_fields(["vector"])
        .limit(2)
        .build()
        .unwrap();
    let found = client.search(request).await.unwrap();
    let first = |at: usize| {
        let row = found.results().get_results()[at].rows().unwrap().next().unwrap();
        let ResultValue::FloatVector(vector) = row.get("vector").unwrap() else { panic!("no vector") };
        (row.get_i64("id").unwrap(), vector.to_vec())
    };
    assert_eq!([first(0), first(1)], [(7, vector(7)), (30, vector(30))]);

    let request = DeleteRequest::builder().collection_name("things").filter("id < 45").build().unwrap();
    assert_eq!(client.delete(request).await.unwrap().delete_count(), 45);
    assert_eq!(ids(&client, "things", "id >= 0").await, [45, 46, 47, 48, 49]);
    let rows = vec![json!({"id": 45, "vector": vector(0)})];
    let rows = InsertRequest::builder().collection_name("things").rows(rows).build().unwrap();
    let request = UpsertRequest::builder().insert(rows).build().unwrap();
    assert_eq!(client.upsert(request).await.unwrap().upsert_count(), 1);
    assert_eq!(ids(&client, "things", "id >= 0").await.len(), 5);
    let request = FlushRequest::builder().collection_names(["things"]).wait_flushed_ms(30_000).build().unwrap();
    client.flush(request).await.unwrap();
    drop_collection(&client, "things").await;
}

async fn restored(client: &ClientV2, job_id: i64) -> RestoreSnapshotJobInfo {
    wait_for("the restore", Duration::from_secs(60), async || {
        let request = GetRestoreSnapshotStateRequest::builder().job_id(job_id).build().unwrap();
        let job = client.get_restore_snapshot_state(request).await.unwrap().job_info().clone();
        match job.get_state() {
            RestoreSnapshotStateCode::Completed => Ok(job),
            RestoreSnapshotStateCode::Failed => panic!("{}", job.get_reason()),
            state => Err(format!("{state:?} {} %", job.get_progress())),
        }
    })
    .await
}

/// The calls about snapshots, and a restore.
///
/// # Panics
/// When an answer is not the right one.
pub async fn snapshots(url: &str) {
    let client = client(url).await;
    create(&client, "source").await;
    insert(&client, "source", 0..20).await;
    let of = ("source", "first");

    let request =
        CreateSnapshotRequest::builder().collection_name(of.0).snapshot_name(of.1).description("of rust").build();
    client.create_snapshot(request.unwrap()).await.unwrap();
    insert(&client, "source", 20..30).await;
    let request = ListSnapshotsRequest::builder().collection_name(of.0).build().unwrap();
    assert_eq!(client.list_snapshots(request).await.unwrap().snapshots(), ["first"]);
    let request = DescribeSnapshotRequest::builder().collection_name(of.0).snapshot_name(of.1).build().unwrap();
    let described = client.describe_snapshot(request).await.unwrap();
    assert_eq!(
        (described.name(), described.description(), described.collection_name()),
        ("first", "of rust", "source")
    );
    assert_eq!(described.partition_names(), ["_default"]);
    assert!(described.create_ts() > 0 && described.s3_location().contains("/snapshots/"));

    let request =
        PinSnapshotDataRequest::builder().collection_name(of.0).snapshot_name(of.1).ttl_seconds(60).build().unwrap();
    let pin_id = client.pin_snapshot_data(request).await.unwrap().pin_id();
    let drop_it = DropSnapshotRequest::builder().collection_name(of.0).snapshot_name(of.1).build().unwrap();
    let refusal = client.drop_snapshot(drop_it.clone()).await.unwrap_err().to_string();
    assert!(refusal.contains("active pins exist"), "{refusal}");
    let request = UnpinSnapshotDataRequest::builder().pin_id(pin_id).build().unwrap();
    client.unpin_snapshot_data(request).await.unwrap();

    let request = RestoreSnapshotRequest::builder()
        .snapshot_name(of.1)
        .source_collection_name(of.0)
        .target_collection_name("restored_by_rust")
        .build()
        .unwrap();
    let job_id = client.restore_snapshot(request).await.unwrap().job_id();
    let job = restored(&client, job_id).await;
    assert_eq!((job.get_collection_name(), job.get_progress()), ("restored_by_rust", 100));
    let request = ListRestoreSnapshotJobsRequest::builder().collection_name("restored_by_rust").build().unwrap();
    assert_eq!(client.list_restore_snapshot_jobs(request).await.unwrap().jobs().len(), 1);
    let request = LoadCollectionRequest::builder().collection_name("restored_by_rust").build().unwrap();
    client.load_collection(request).await.unwrap();
    assert_eq!(ids(&client, "restored_by_rust", "id >= 0").await, (0..20).collect::<Vec<_>>());

    client.drop_snapshot(drop_it).await.unwrap();
    for collection in ["source", "restored_by_rust"] {
        drop_collection(&client, collection).await;
    }
}

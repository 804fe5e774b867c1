//! tmp
use crate::restoring::*;
use crate::store::*;
use elanus_meta::model::*;
use std::time::Instant;
#[tokio::test]
async fn scale() {
    let store = Store::sqlite().await;
    let books = store.collection("books").await;
    let p = books.partitions[0].id;
    let t = Instant::now();
    for _ in 0..100 {
        let places = vec![rows_of(p); 1000];
        let files = store.begin(books.id, &places).await;
        store.commit(books.id, &files).await.unwrap();
    }
    println!("write {:?}", t.elapsed());
    snapshot(&store.coordinator, books.id, "s").await;
    let id = submit(&store.coordinator, books.id, "copy").await.id;
    let c = &store.coordinator;
    let t = Instant::now();
    c.plan_job(id, TaskBounds { bytes_max: u64::MAX, files_max: 1000 }).await.unwrap();
    println!("plan {:?}", t.elapsed());
    let t = Instant::now();
    let n = claim_all(c, "n1").await.unwrap().len();
    println!("claim {n} {:?}", t.elapsed());
    let t = Instant::now();
    finish_all(c).await.unwrap();
    println!("finish {:?}", t.elapsed());
    let t = Instant::now();
    c.publish_job(id).await.unwrap();
    println!("publish {:?}", t.elapsed());
    assert_eq!(job(&store.meta, id).await.state, "completed");
    let id = submit(&store.coordinator, books.id, "copy2").await.id;
    c.plan_job(id, TaskBounds { bytes_max: u64::MAX, files_max: 1000 }).await.unwrap();
    claim_all(c, "n1").await.unwrap().len();
    finish_all(c).await.unwrap();
    let t = Instant::now();
    c.cancel_job(id).await.unwrap();
    println!("cancel {:?}", t.elapsed());
    let t = Instant::now();
    println!("{:?}", c.clean_up_job(id).await.unwrap());
    println!("clean {:?}", t.elapsed());
    let t = Instant::now();
    c.clean_up_job(id).await.unwrap();
    println!("clean again {:?}", t.elapsed());
    let t = Instant::now();
    loop {
        let claimed = c.claim_abandoned(1000).await.unwrap();
        if claimed.is_empty() { break; }
        let ids: Vec<_> = claimed.iter().map(|one| one.file_set).collect();
        c.mark_gone(&ids).await.unwrap();
    }
    println!("sweep {:?}", t.elapsed());
    let t = Instant::now();
    println!("{:?}", c.clean_up_job(id).await.unwrap());
    println!("clean last {:?}", t.elapsed());
}

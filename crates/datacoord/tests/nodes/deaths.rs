//! A worker dies anywhere while another one lives, and a coordinator dies anywhere while its workers live.

use crate::cluster::{Cluster, Coord, Worker};
use crate::world::effects::{Blow, Effects};
use elanus_types::RestoreMode;

/// Effects that one scenario has at most: a bound for the loop, far above what is needed.
const EFFECTS_MAX: u64 = 200;
/// To those who live it is one whether somebody died after an effect or before the next one: each is tried at every other.
const DEATHS: [Blow; 2] = [Blow::DeathBefore, Blow::DeathAfter];

/// What is under way when somebody dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Restore,
    Detach,
}

/// True when the worker reached its `n`-th effect.
async fn worker_dies(n: u64, blow: Blow, work: Work) -> bool {
    let cluster = Cluster::new();
    let mut coord = cluster.coord("coord", Effects::none()).await.unwrap();
    let effects = Effects::blow_at(n, blow);
    let survivor = cluster.worker("a", 1, &coord, Effects::none()).await;
    coord.filled(&survivor).await;
    begin(&cluster, &mut coord, &survivor, work).await;
    let victim = cluster.worker("b", 2, &coord, effects.clone()).await;
    let meta = coord.calls.meta.clone();
    let both = [&survivor, &victim];
    let hit = async || effects.struck() || meta.open_jobs().await.unwrap().is_empty();
    cluster.until(&[&coord], &both, "it is struck, or all is done", hit).await;
    let struck = effects.struck();
    victim.kill().await;
    cluster.until_settled(&coord, &[&survivor]).await;
    finished(&mut coord, work).await;
    survivor.drain().await;
    coord.end().await;
    struck
}

/// True when the coordinator reached its `n`-th effect.
async fn coordinator_dies(n: u64, blow: Blow, work: Work) -> bool {
    let cluster = Cluster::new();
    let mut first = cluster.coord("first", Effects::none()).await.unwrap();
    let a = cluster.worker("a", 1, &first, Effects::none()).await;
    first.filled(&a).await;
    if work == Work::Detach {
        first.calls.restore("source", "s", "target", RestoreMode::Clone).await.unwrap();
        cluster.until_settled(&first, &[&a]).await;
    }
    first.end().await;

    let effects = Effects::blow_at(n, blow);
    let mut acknowledged = false;
    if let Ok(mut doomed) = cluster.coord("doomed", effects.clone()).await {
        a.follow(&doomed);
        let begun = match work {
            Work::Restore => doomed.calls.restore("source", "s", "target", RestoreMode::Copy).await,
            Work::Detach => doomed.calls.detach("target").await,
        };
        acknowledged = begun.is_ok();
        let meta = doomed.calls.meta.clone();
        let hit = async || effects.struck() || meta.open_jobs().await.unwrap().is_empty();
        cluster.until(&[&doomed], &[&a], "it is struck, or all is done", hit).await;
        doomed.end().await;
    }
    let mut successor = cluster.coord("successor", Effects::none()).await.unwrap();
    a.follow(&successor);
    let b = cluster.worker("b", 1, &successor, Effects::none()).await;
    cluster.until_settled(&successor, &[&a, &b]).await;
    if !acknowledged
        && successor.calls.jobs_of("target").await.iter().all(|job| (job.kind == "detach") != (work == Work::Detach))
    {
        begin(&cluster, &mut successor, &b, work).await;
        cluster.until_settled(&successor, &[&a, &b]).await;
    }
    finished(&mut successor, work).await;
    a.drain().await;
    b.drain().await;
    successor.end().await;
    effects.struck()
}

async fn begin(cluster: &Cluster, coord: &mut Coord, worker: &Worker, work: Work) {
    match work {
        Work::Restore => {
            coord.copying("target").await;
        }
        Work::Detach => {
            if !coord.collection_exists("target").await {
                coord.calls.restore("source", "s", "target", RestoreMode::Clone).await.unwrap();
                cluster.until_settled(coord, &[worker]).await;
            }
            coord.calls.detach("target").await.unwrap();
        }
    }
}

/// nothing is missing, and nothing is in the bucket that nobody knows.
async fn finished(coord: &mut Coord, work: Work) {
    assert_eq!(coord.calls.rows("target").await, (12, 12), "R-4");
    for job in coord.calls.jobs_of("target").await {
        assert_eq!(job.state, "completed", "R-3: {job:?}");
    }
    if work == Work::Detach {
        let [source, target] = ["source", "target"].map(|name| coord.calls.keys(name));
        let (source, target) = (source.await, target.await);
        assert!(source.is_disjoint(&target) && !target.is_empty(), "nothing is shared");
    }
    // Under load a worker that lives may be late by this clock, too.
    coord.of_lost_claims().await;
}

macro_rules! everywhere {
    ($($promise:ident: $dies:ident, $work:expr, at least $effects:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let mut reached = 0;
            for (n, blow) in (1..EFFECTS_MAX).zip(DEATHS.into_iter().cycle()) {
                if !$dies(n, blow, $work).await {
                    break;
                }
                reached = n;
            }
            assert!(($effects..EFFECTS_MAX - 1).contains(&reached), "{reached} effects");
        }
    )*};
}

everywhere! {
    r_3_a_worker_that_dies_at_any_effect_is_replaced_by_another: worker_dies, Work::Restore, at least 1;
    r_3_a_worker_that_dies_at_any_effect_of_a_detach_is_replaced_by_another: worker_dies, Work::Detach, at least 1;
    r_3_a_coordinator_that_dies_at_any_effect_is_replaced_while_its_workers_live: coordinator_dies, Work::Restore, at least 8;
    r_3_a_coordinator_that_dies_at_any_effect_of_a_detach_is_replaced_while_its_workers_live: coordinator_dies, Work::Detach, at least 8;
}

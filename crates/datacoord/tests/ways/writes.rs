//! Writes whose commit has no clear end.

use crate::world::World;
use crate::world::effects::{Blow, Effects};

#[tokio::test]
async fn d_1_a_write_that_may_be_done_is_not_called_retriable_when_the_store_goes_away_after_it() {
    let effects_of_a_write = {
        let mut world = World::new();
        let effects = Effects::none();
        let mut process = world.start(effects.clone()).await.unwrap();
        process.create_collection("c").await.unwrap();
        process.upsert("c", &[1]).await.unwrap();
        process.end().await;
        effects.seen()
    };
    // The commit is the last effect: it happens, its answer is lost, and whoever asks again reaches nobody.
    for away in [1, 2] {
        let mut world = World::new();
        let effects = Effects::blow_and_away(effects_of_a_write, Blow::ErrorAfter, away);
        let mut process = world.start(effects).await.unwrap();
        process.create_collection("c").await.unwrap();
        let answer = process.upsert("c", &[1]).await;
        assert_eq!(process.rows("c").await, (1, 1), "it was done");
        if let Err(failure) = answer {
            assert!(!failure.code.retriable(), "a client would write it twice: {failure:?}");
        }
        process.end().await;
    }
}

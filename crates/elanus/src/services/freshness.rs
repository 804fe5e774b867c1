//! Events of the bus keep what a query node has of collections up to date, so that the next read need not wait for what was
//! written since the last one. Nothing hangs on them: every read looks for itself.

use elanus_events::{EventBus, Item, Kind, Subject};
use elanus_querynode::QueryNode;
use elanus_types::CollectionId;
use futures::{FutureExt as _, StreamExt as _};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);

/// Listens for as long as the process lives; on a bus inside this process, not at all.
pub(super) fn keep(querynode: QueryNode, bus: Arc<dyn EventBus>) {
    if bus.is_shared() {
        tokio::spawn(async move {
            loop {
                if let Err(error) = listening(&querynode, &*bus).await {
                    tracing::debug!(%error, "no events come; reads look for themselves");
                }
                tokio::time::sleep(SUBSCRIBE_AGAIN).await;
            }
        });
    }
}

async fn listening(querynode: &QueryNode, bus: &dyn EventBus) -> Result<(), elanus_events::Error> {
    let mut items = bus.subscribe(&[Kind::Collection]).await?;
    while let Some(first) = items.next().await {
        // Those that came meanwhile are one look for each collection.
        let mut changed = BTreeSet::new();
        let mut item = Some(first);
        while let Some(one) = item {
            match one {
                Item::Event(event) => changed.extend(collection(event.subject)),
                Item::Lagged => changed.extend(querynode.followed()),
            }
            item = items.next().now_or_never().flatten();
        }
        for collection in changed {
            if let Err(failure) = querynode.hear(collection).await {
                tracing::debug!(%collection, %failure, "a view was not brought up to date; the next read tries again");
            }
        }
    }
    Ok(())
}

fn collection(subject: Subject) -> Option<CollectionId> {
    match subject {
        Subject::Collection(id) => Some(id),
        _ => None,
    }
}

//! Events wake background tasks. Nothing else hangs on them: a lost event costs one period.

use crate::background::{RESTORE_CHECK, TASK_SCHEDULE};
use elanus_events::{EventBus, Item, Kind};
use elanus_meta::Coordinator;
use elanus_runtime::background::Background;
use futures::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;

const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);

/// Listens for as long as the process lives and coordinates.
pub(crate) fn listen(bus: Arc<dyn EventBus>, background: Background, coordinator: Coordinator) {
    tokio::spawn(async move {
        tokio::select! {
            () = listening(&*bus, &background) => {}
            () = coordinator.fenced() => {}
        }
    });
}

async fn listening(bus: &dyn EventBus, background: &Background) {
    loop {
        match bus.subscribe(&[Kind::Restore, Kind::Task]).await {
            Ok(mut events) => {
                while let Some(event) = events.next().await {
                    wake(background, &event);
                }
            }
            Err(error) => tracing::warn!(%error, "the event bus is away; timers do the work"),
        }
        tokio::time::sleep(SUBSCRIBE_AGAIN).await;
    }
}

fn wake(background: &Background, event: &Item) {
    let tasks: &[&str] = match event {
        Item::Event(envelope) if envelope.subject.kind() == Kind::Restore => &[RESTORE_CHECK],
        Item::Event(_) | Item::Lagged => &[TASK_SCHEDULE, RESTORE_CHECK],
    };
    for task in tasks {
        background.activate(task);
    }
}

//! Events wake background tasks. Nothing else hangs on them: a lost event costs one period.
//!
//! All coordinators of a cluster consume under one name, and only the active one does so: the next one goes on where it was.

use crate::background::{RESTORE_CHECK, TASK_SCHEDULE};
use elanus_events::{EventBus, Handler, Item, Kind};
use elanus_meta::Coordinator;
use elanus_runtime::background::Background;
use std::sync::Arc;
use std::time::Duration;

/// Of the durable consumer.
const CONSUMER: &str = "datacoord";
const CONSUME_AGAIN: Duration = Duration::from_secs(1);

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
    let handler: Handler = {
        let background = background.clone();
        Arc::new(move |item| {
            wake(&background, item);
            Ok(())
        })
    };
    loop {
        // The bus itself says, once, that it is away.
        if let Err(error) = bus.consume(CONSUMER, &[Kind::Restore, Kind::Task], &handler).await {
            tracing::debug!(%error, "no events wake this coordinator; timers do the work");
        }
        tokio::time::sleep(CONSUME_AGAIN).await;
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

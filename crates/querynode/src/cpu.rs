//! Work that needs a core: off the async threads, no more at a time than there are cores.

use elanus_types::Failure;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The cores that reads may use.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    permits: Arc<Semaphore>,
    width: usize,
}

impl Cpu {
    pub(crate) fn new(width: usize) -> Self {
        let width = width.max(1);
        Self { permits: Arc::new(Semaphore::new(width)), width }
    }

    /// How much runs at a time.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Runs `work` once a core is free. Never call it from within `work`.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Failure::internal("the cores of this query node were closed"))?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        done.await.unwrap_or_else(|e| Err(Failure::internal(format!("a part of a read stopped: {e}"))))
    }
}

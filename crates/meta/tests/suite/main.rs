//! The promises of the metadata store, for every store that there is.
//!
//! A promise is an ordinary function over a fresh [`store::Store`]; `on_every_store!` at the end of its file makes it a
//! test of each store. A promise that is not listed there is dead code, which the lints refuse.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

/// Makes tests of promises, one module for each store.
macro_rules! on_every_store {
    ($($promise:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    super::$promise($crate::store::Store::sqlite().await).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    super::$promise($crate::store::Store::postgres().await).await;
                }
            )+
        }
    };
}

mod catalog;
mod clones;
mod compactions;
mod concurrency;
mod crash;
mod databases;
mod detach;
mod first_runs;
mod gc;
mod history;
mod index_builds;
mod outbox;
mod partition_drops;
mod plans;
mod purges;
mod races;
mod reads;
mod restore;
mod restore_failures;
mod restore_tasks;
mod restoring;
mod rollback;
mod roots;
mod scale;
mod scans;
mod security;
mod server;
mod services;
mod sharing;
mod snapshots;
mod store;
mod store_file;
mod store_server;
mod trash;
mod truncate;
mod ttl;
mod undrops;
mod writes;

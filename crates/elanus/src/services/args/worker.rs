//! What a data node is told.

use clap::Args;
use elanus_datanode::DataNodeConfig;

#[derive(Clone, Copy, Debug, Args)]
pub(in crate::services) struct WorkerArgs {
    /// Copy tasks of restores and compactions at the same time; 0: they wait
    #[arg(long, value_name = "N", env = "ELANUS_COPY_SLOTS", default_value_t = DataNodeConfig::default().copy_slots)]
    copy_slots: usize,
    /// Files that are copied at the same time, at most; how many the object store bears is found out by trying
    #[arg(long, value_name = "N", env = "ELANUS_COPIES_AT_ONCE_MAX", default_value_t = DataNodeConfig::default().copies_at_once_max)]
    copies_at_once_max: usize,
}

impl WorkerArgs {
    pub(in crate::services) fn config(&self) -> DataNodeConfig {
        let Self { copy_slots, copies_at_once_max } = *self;
        DataNodeConfig { copy_slots, copies_at_once_max, ..DataNodeConfig::default() }
    }
}

//! What the coordinator is told.

use super::events::StreamArgs;
use super::values::{a_day_or_more, bytes, first_run_pause, interval, retention, tolerance};
use clap::{ArgAction, Args};
use elanus_datacoord::{CompactionConfig, DataCoordConfig, IndexConfig};
use elanus_types::RestoreMode;
use std::{sync::LazyLock, time::Duration};

/// Which program this is: another one does not delete before somebody had time to look.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("ELANUS_COMMIT").map(|commit| format!(" ({commit})"));
    format!("elanus {}{}", env!("CARGO_PKG_VERSION"), commit.unwrap_or_default())
});

#[derive(Clone, Debug, Args)]
pub(in crate::services) struct CoordinatorArgs {
    #[command(flatten)]
    pub(in crate::services) streams: StreamArgs,
    /// A dropped collection can be brought back for so long: elanus ctl trash. 0: it cannot
    #[arg(long, value_name = "TIME", env = "ELANUS_TRASH_RETENTION", default_value = "24h", value_parser = retention)]
    trash_retention: Duration,
    /// Between two scans of the bucket for objects that nothing knows
    #[arg(long, value_name = "TIME", env = "ELANUS_GC_SCAN_INTERVAL", default_value = "168h", value_parser = a_day_or_more)]
    gc_scan_interval: Duration,
    /// Objects that nothing knows are not deleted before they are so old; at least a day
    #[arg(long, value_name = "TIME", env = "ELANUS_GC_MISSING_TOLERANCE", default_value = "168h", value_parser = a_day_or_more)]
    gc_missing_tolerance: Duration,
    /// What nothing needs any more is deleted so much later: reads that are under way still find it, and `elanus ctl gc
    /// undo` brings a purged collection back. As long as the oldest backup of the metadata that should be of use. 0: at once
    #[arg(long, value_name = "TIME", env = "ELANUS_GC_DROP_TOLERANCE", default_value = "24h", value_parser = tolerance)]
    gc_drop_tolerance: Duration,
    /// Small files are merged, and deleted rows left out, without being asked for; false: only by `elanus ctl collection
    /// compact`. A collection may turn it off by its property collection.autocompaction.enabled
    #[arg(long, value_name = "BOOL", env = "ELANUS_AUTO_COMPACTION", default_value_t = true, action = ArgAction::Set)]
    auto_compaction: bool,
    /// Between two looks for what is worth compacting
    #[arg(long, value_name = "TIME", env = "ELANUS_COMPACTION_INTERVAL", default_value = "30s", value_parser = interval)]
    compaction_interval: Duration,
    /// What is compacted into one file is not larger, for example 64MiB; twice as much memory is needed for each
    #[arg(long, value_name = "BYTES", env = "ELANUS_COMPACTION_FILE_SIZE", default_value = "256MiB", value_parser = bytes)]
    compaction_file_size: usize,
    /// Compactions at the same time, of all collections; 0: they wait. They share the copy slots with restores
    #[arg(long, value_name = "N", env = "ELANUS_COMPACTIONS_MAX", default_value_t = CompactionConfig::default().tasks_max)]
    compactions_max: usize,
    /// Files of rows with fewer rows get no index: they are scanned, and compaction makes larger ones of them
    #[arg(long, value_name = "ROWS", env = "ELANUS_INDEX_ROWS_MIN", default_value_t = IndexConfig::default().rows_min, value_parser = clap::value_parser!(u64).range(1..))]
    index_rows_min: u64,
    /// Index builds at the same time, of all collections; 0: they wait, and searches scan. They share the copy slots with
    /// restores and compactions, and each needs memory for the vectors of a file twice
    #[arg(long, value_name = "N", env = "ELANUS_INDEX_BUILDS_MAX", default_value_t = IndexConfig::default().tasks_max)]
    index_builds_max: usize,
    /// After an upgrade, or after a hold of the root path, the collector first writes down what it would delete, and deletes
    /// nothing for so long: elanus ctl gc status, gc apply, gc resume. 0: it deletes at once
    #[arg(long, value_name = "TIME", env = "ELANUS_GC_FIRST_RUN_PAUSE", default_value = "1h", value_parser = first_run_pause)]
    gc_first_run_pause: Duration,
    /// How a restore gets its files when it is not said: clone shares those of the snapshot, copy makes new ones
    #[arg(long, value_name = "MODE", env = "ELANUS_RESTORE_MODE", default_value = "clone", value_parser = crate::restore_mode())]
    restore_mode: RestoreMode,
    /// A snapshot that has more files to list in the bucket than this is answered first, and they are listed after. It holds
    /// all the same
    #[arg(long, value_name = "N", env = "ELANUS_SNAPSHOT_LISTED_MAX", default_value_t = DataCoordConfig::default().snapshot_entries_max)]
    snapshot_listed_max: u32,
}

impl CoordinatorArgs {
    pub(in crate::services) fn config(&self) -> DataCoordConfig {
        DataCoordConfig {
            compaction: CompactionConfig {
                automatic: self.auto_compaction,
                interval_s: self.compaction_interval.as_secs(),
                file_bytes: self.compaction_file_size as u64,
                tasks_max: self.compactions_max,
                ..CompactionConfig::default()
            },
            index: IndexConfig { rows_min: self.index_rows_min, tasks_max: self.index_builds_max },
            restore_mode: self.restore_mode,
            snapshot_entries_max: self.snapshot_listed_max,
            trash_retention_ms: ms(self.trash_retention),
            scan_interval_ms: ms(self.gc_scan_interval),
            orphan_age_ms: ms(self.gc_missing_tolerance),
            gc_drop_tolerance_ms: ms(self.gc_drop_tolerance),
            gc_first_run_pause_ms: ms(self.gc_first_run_pause),
            program: &PROGRAM,
            ..DataCoordConfig::default()
        }
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

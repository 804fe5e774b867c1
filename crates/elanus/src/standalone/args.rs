//! Flags of `elanus standalone`, and the plan that they make. Looks at nothing outside the command line.

use super::StartError;
use crate::{root::Places, s3::S3Args};
use anyhow::anyhow;
use clap::{ArgAction, Args, ValueEnum};
use elanus_datacoord::CompactionConfig;
use elanus_datanode::DataNodeConfig;
use elanus_events::EventBus;
use elanus_proto::transport::MESSAGE_BYTES_MAX;
use elanus_runtime::telemetry::{self, Filter};
use elanus_types::RestoreMode;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const HELP: &str = "\
Examples:
  elanus standalone
  elanus standalone --data /var/lib/elanus --listen 0.0.0.0:19530
  elanus standalone --objects s3://bucket/elanus --s3-endpoint https://s3.example.com
  elanus standalone --log debug --log-format json

Exit codes:
  0  stopped in good order (SIGTERM or Ctrl-C; a second Ctrl-C stops at once)
  1  something failed
  2  the command line, or a value in it, is wrong
  3  refused, and nothing was touched: an address or the directory is in use, the directory was
     not made by elanus, or was made by a newer one

Everything that was acknowledged survives any end of the process, also kill -9.";

/// Start everything in one process
///
/// Metadata in SQLite or PostgreSQL, objects in a directory or in S3, events in the process. Listens on this machine only, because
/// there is no authentication in this build: whoever can connect can read and change everything. Give --listen
/// 0.0.0.0:19530 where the network is trusted.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct StandaloneArgs {
    /// Configuration file: elanus config template. Environment and flags win over it
    #[arg(long, value_name = "FILE", env = "ELANUS_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of all data; created when absent
    #[arg(long, value_name = "DIR", env = "ELANUS_DATA", default_value = "./elanus-data")]
    data: PathBuf,
    /// Address of the Milvus API and of `elanus ctl`
    #[arg(long, value_name = "IP:PORT", env = "ELANUS_LISTEN", default_value = "127.0.0.1:19530")]
    pub(super) listen: SocketAddr,
    /// Address of /healthz, /readyz, /tasks and /version
    #[arg(long, value_name = "IP:PORT", env = "ELANUS_MANAGEMENT", default_value = "127.0.0.1:9091")]
    pub(super) management: SocketAddr,
    /// Metadata store: sqlite:///PATH or postgres://USER:PASSWORD@HOST/DATABASE [default: meta.db in the data directory]
    #[arg(long, value_name = "URL", env = "ELANUS_META", hide_env_values = true)]
    meta: Option<String>,
    /// Object store: file:///DIR or s3://BUCKET/ROOT/PATH [default: the data directory]
    #[arg(long, value_name = "URL", env = "ELANUS_OBJECTS", hide_env_values = true)]
    objects: Option<String>,
    #[command(flatten)]
    s3: S3Args,
    /// Event bus
    #[arg(long, value_name = "URL", env = "ELANUS_EVENTS", default_value = "local:", hide_env_values = true)]
    events: String,
    /// Longest message of the Milvus API, for example 64MiB
    #[arg(long, value_name = "BYTES", env = "ELANUS_MESSAGE_BYTES_MAX", default_value = "512MiB", value_parser = bytes)]
    message_bytes_max: usize,
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
    /// How a restore gets its files when it is not said: clone shares those of the snapshot, copy makes new ones
    #[arg(long, value_name = "MODE", env = "ELANUS_RESTORE_MODE", default_value = "clone", value_parser = crate::restore_mode())]
    restore_mode: RestoreMode,
    /// Copy tasks of restores and compactions at the same time; 0: they wait
    #[arg(long, value_name = "N", env = "ELANUS_COPY_SLOTS", default_value_t = DataNodeConfig::default().copy_slots)]
    copy_slots: usize,
    /// Files that are copied at the same time, at most; how many the object store bears is found out by trying
    #[arg(long, value_name = "N", env = "ELANUS_COPIES_AT_ONCE_MAX", default_value_t = DataNodeConfig::default().copies_at_once_max)]
    copies_at_once_max: usize,
    /// What is logged: a level, or directives such as info,elanus_meta=debug
    #[arg(long, value_name = "LEVEL", env = "ELANUS_LOG", default_value = "info")]
    pub(super) log: Filter,
    /// What log lines look like
    #[arg(long, value_name = "FORMAT", env = "ELANUS_LOG_FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

impl From<LogFormat> for telemetry::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// Which parts the process is made of.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) places: Places,
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) message_bytes_max: usize,
    pub(super) trash_retention: Duration,
    pub(super) gc_scan_interval: Duration,
    pub(super) gc_missing_tolerance: Duration,
    pub(super) gc_drop_tolerance: Duration,
    pub(super) compaction: CompactionConfig,
    pub(super) restore_mode: RestoreMode,
    pub(super) datanode: DataNodeConfig,
}

impl StandaloneArgs {
    /// The configuration file, where there is one.
    pub(crate) fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Refuses what [`Self::plan`] refuses.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.plan().map(drop).map_err(StartError::into_error)
    }

    /// Refuses what this build cannot be made of, before anything is touched.
    pub(super) fn plan(&self) -> Result<Plan, StartError> {
        let bus = elanus_events::open(&self.events).map_err(|error| StartError::Usage(anyhow!("--events: {error}")))?;
        let places = Places::of(&self.data, self.meta.as_deref(), self.objects.as_deref(), &self.s3);
        let places = places.map_err(StartError::Usage)?;
        Ok(Plan {
            places,
            bus,
            message_bytes_max: self.message_bytes_max,
            trash_retention: self.trash_retention,
            gc_scan_interval: self.gc_scan_interval,
            gc_missing_tolerance: self.gc_missing_tolerance,
            gc_drop_tolerance: self.gc_drop_tolerance,
            compaction: CompactionConfig {
                automatic: self.auto_compaction,
                interval_s: self.compaction_interval.as_secs(),
                file_bytes: self.compaction_file_size as u64,
                tasks_max: self.compactions_max,
                ..CompactionConfig::default()
            },
            restore_mode: self.restore_mode,
            datanode: DataNodeConfig {
                copy_slots: self.copy_slots,
                copies_at_once_max: self.copies_at_once_max,
                ..DataNodeConfig::default()
            },
        })
    }
}

/// Not shorter than a reader's lease lasts: what a read may still open must not depend on its heartbeat alone.
fn tolerance(text: &str) -> Result<Duration, String> {
    let least = Duration::from_millis(elanus_querynode::READER_LEASE_MS.unsigned_abs());
    match retention(text)? {
        time if time.is_zero() || time >= least => Ok(time),
        _ => Err(format!("give {least:?} or more, the time of a reader's lease, or 0")),
    }
}

/// `24h`, `7days`, `0`.
fn retention(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; for example 24h, or 0"))
}

/// `30s`, `5m`.
fn interval(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; for example 30s"))?;
    if time < Duration::from_secs(1) { Err("it is less than a second; for example 30s".to_owned()) } else { Ok(time) }
}

/// `24h`, `7days`.
fn a_day_or_more(text: &str) -> Result<Duration, String> {
    const DAY: Duration = Duration::from_secs(86_400);
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; for example 168h"))?;
    if time < DAY { Err("it is less than a day; for example 168h".to_owned()) } else { Ok(time) }
}

/// `1048576`, `1024KiB`, `1MiB`.
fn bytes(text: &str) -> Result<usize, String> {
    let (number, shift) = match text.find(|c: char| !c.is_ascii_digit()).map(|at| text.split_at(at)) {
        None => (text, 0),
        Some((number, "KiB")) => (number, 10),
        Some((number, "MiB")) => (number, 20),
        Some((number, "GiB")) => (number, 30),
        Some(_) => return Err("give bytes, or a number with KiB, MiB or GiB".to_owned()),
    };
    let number: usize = number.parse().map_err(|_| "give a number, for example 64MiB".to_owned())?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| (1 << 20..=MESSAGE_BYTES_MAX).contains(bytes));
    bytes.ok_or_else(|| "give at least 1MiB and at most 512MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use elanus_objects::Location;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: StandaloneArgs,
    }

    fn plan(flags: &[&str]) -> Result<Plan, String> {
        let flags = std::iter::once("standalone").chain(flags.iter().copied());
        let args = Cli::try_parse_from(flags).map_err(|error| error.to_string())?.args;
        args.plan().map_err(|error| match error {
            StartError::Usage(error) => format!("{error:#}"),
            other => panic!("not the command line's fault: {other:?}"),
        })
    }

    #[test]
    fn everything_is_in_the_data_directory_unless_it_is_said() {
        let default = plan(&["--data", "/d"]).unwrap();
        let places = |flags: &[&str]| plan(flags).unwrap().places;
        let directory = |path: &str| Location::Local(path.into());
        assert_eq!(
            (default.places.meta_url.as_str(), default.places.objects),
            ("sqlite:///d/meta.db", directory("/d"))
        );
        assert_eq!((default.places.meta_dir, default.message_bytes_max), (None, 512 << 20));
        assert_eq!(default.restore_mode, RestoreMode::Clone);
        assert_eq!(plan(&["--restore-mode", "copy"]).unwrap().restore_mode, RestoreMode::Copy);
        assert!(plan(&["--restore-mode", "move"]).unwrap_err().contains("possible values: clone, copy"));

        let elsewhere = places(&["--data", "/d", "--objects", "file:///no/such%20dir"]);
        assert_eq!(elsewhere.objects, directory("/no/such dir"));
        assert_eq!(elsewhere.meta_dir.as_deref(), Some(Path::new("/d")));

        let bucket = places(&["--data", "/d", "--objects", "s3://bucket/root"]);
        assert_eq!(bucket.objects, "s3://bucket/root".parse().unwrap());
        assert_eq!(
            (bucket.meta_url.as_str(), bucket.meta_dir.as_deref()),
            ("sqlite:///d/meta.db", Some(Path::new("/d")))
        );

        let both = places(&["--meta", "sqlite:///m/x.db", "--objects", "file:///o"]);
        assert_eq!((both.meta_url.as_str(), both.meta_dir), ("sqlite:///m/x.db", None));
        assert_eq!(places(&["--data", "/d", "--objects", "file:///d"]).meta_dir, None, "one guard for one directory");
    }

    #[test]
    fn listens_on_this_machine_only_unless_it_is_said() {
        let args = Cli::try_parse_from(["standalone"]).unwrap().args;
        assert!(args.listen.ip().is_loopback() && args.management.ip().is_loopback());
        assert_eq!((args.listen.port(), args.management.port()), (19_530, 9_091));
    }

    #[test]
    fn what_this_build_has_not_is_refused_without_secrets() {
        for (flag, url, says) in [
            ("--meta", "mysql://user:secret@host/db", "use sqlite:///path or postgres://"),
            ("--meta", "postgres:user:secret@host/db", "use sqlite:///path or postgres://"),
            ("--meta", "sqlite:relative.db", "use sqlite:///path"),
            ("--meta", "sqlite://relative.db", "needs an absolute path"),
            ("--objects", "s3://key:secret@bucket", "AWS_ACCESS_KEY_ID"),
            ("--objects", "gs://key:secret@bucket", "gs:// object stores are not supported by this build"),
            ("--objects", "file:///d?secret=1", "use file:///absolute/path"),
            ("--events", "nats://user:secret@host", "nats:// event buses are not supported by this build"),
        ] {
            let error = plan(&[flag, url]).unwrap_err();
            assert!(error.contains(says) && error.contains(flag) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_retention_is_a_time_or_none() {
        assert_eq!(plan(&[]).unwrap().trash_retention, Duration::from_secs(24 * 3_600));
        for (text, seconds) in [("0", 0), ("0s", 0), ("90m", 5_400), ("7days", 604_800)] {
            assert_eq!(plan(&["--trash-retention", text]).unwrap().trash_retention.as_secs(), seconds);
        }
        for bad in ["", "24", "-1h", "soon"] {
            assert!(plan(&["--trash-retention", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn compaction_is_automatic_unless_it_is_said() {
        assert_eq!(plan(&[]).unwrap().compaction, CompactionConfig::default());
        let flags = ["--auto-compaction", "false", "--compaction-interval", "2m", "--compaction-file-size", "64MiB"];
        let said = plan(&flags).unwrap().compaction;
        assert_eq!((said.automatic, said.interval_s, said.file_bytes), (false, 120, 64 << 20));
        for bad in [["--auto-compaction", "maybe"], ["--compaction-interval", "0s"], ["--compaction-interval", "30"]] {
            assert!(plan(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn orphans_have_a_day_at_least() {
        let found = plan(&["--gc-scan-interval", "2days"]).unwrap();
        assert_eq!(found.gc_scan_interval, Duration::from_secs(2 * 86_400));
        assert_eq!(found.gc_missing_tolerance, Duration::from_secs(7 * 86_400));
        for bad in ["0", "23h", "86400", "soon"] {
            assert!(plan(&["--gc-missing-tolerance", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tolerance_is_not_shorter_than_a_readers_lease() {
        for (text, seconds) in [("0", 0), ("60s", 60), ("24h", 86_400)] {
            assert_eq!(tolerance(text).map(|time| time.as_secs()), Ok(seconds));
        }
        for bad in ["59s", "1ms", "-1h", "24"] {
            assert!(tolerance(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_has_a_unit_and_bounds() {
        assert_eq!(bytes("1048576"), Ok(1 << 20));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        for bad in ["", "MiB", "1", "1GiB", "64MB", "-1", "99999999999999999999KiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}

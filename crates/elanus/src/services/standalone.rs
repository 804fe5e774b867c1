//! `elanus standalone`: all services in one process, which call each other without a socket.
//!
//! Order of the start: both listeners, the guard of the directory, metadata, ownership, services.

use super::args::{AccessArgs, CoordinatorArgs, EventsArgs, ListenArgs, Process, TlsArgs, WorkerArgs, bytes};
use super::coordination::{Active, TakenOver};
use super::error::StartError;
use super::frame::{Bound, Running, Service};
use super::guard::metadata_to_read;
use super::security::{Demands, Security};
use super::stores::{Stores, bus_answers, new_node, only_reads, owner_is_well};
use super::{milvus_gc, proxy, querynode};
use crate::root::{self, Places, Reach};
use crate::s3::S3Args;
use anyhow::anyhow;
use clap::Args;
use elanus_datacoord::OwnWorker;
use elanus_datanode::DataNode;
use elanus_events::EventBus;
use elanus_meta::Meta;
use elanus_meta::model::ServiceKind;
use elanus_objects::{LocalRoot, ownership::start};
use elanus_proto::transport::{
    Channel, datacoord_client, datacoord_server, datanode_client, datanode_server, querynode_server,
};
use elanus_proxy::Proxy;
use elanus_runtime::{LateChannel, Served, management::Management};
use elanus_types::Clock;
use std::{path::PathBuf, sync::Arc};
use tonic::service::Routes;
use uuid::Uuid;

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
/// Metadata in SQLite or PostgreSQL, objects in a directory or in S3, events in the process. Listens on this machine only unless
/// it is told otherwise, because whoever can connect can read and change everything. Give --authorization-enabled, with which
/// clients need a user and its password, or --tls-client-ca, with which they need a certificate, and then
/// --listen 0.0.0.0:19530.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct StandaloneArgs {
    #[command(flatten)]
    listen: ListenArgs<19_530, 9_091>,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    tls: TlsArgs,
    /// Directory of all data; created when absent
    #[arg(long, value_name = "DIR", env = "ELANUS_DATA", default_value = "./elanus-data")]
    data: PathBuf,
    /// Metadata store: sqlite:///PATH or postgres://USER:PASSWORD@HOST/DATABASE [default: meta.db in the data directory]
    #[arg(long, value_name = "URL", env = "ELANUS_META", hide_env_values = true)]
    meta: Option<String>,
    /// Object store: file:///DIR or s3://BUCKET/ROOT/PATH [default: the data directory]
    #[arg(long, value_name = "URL", env = "ELANUS_OBJECTS", hide_env_values = true)]
    objects: Option<String>,
    #[command(flatten)]
    s3: S3Args,
    /// Write nothing, delete nothing, and leave the root path to whoever owns it: for looking at a cluster whose root path is
    /// somebody else's now. The metadata must be there and of this version
    #[arg(
        long,
        value_name = "BOOL",
        env = "ELANUS_READ_ONLY",
        action = clap::ArgAction::Set,
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    read_only: bool,
    /// Longest message of the Milvus API, for example 64MiB
    #[arg(long, value_name = "BYTES", env = "ELANUS_MESSAGE_BYTES_MAX", default_value = "512MiB", value_parser = bytes)]
    message_bytes_max: usize,
    #[command(flatten)]
    events: EventsArgs,
    #[command(flatten)]
    coordinator: CoordinatorArgs,
    #[command(flatten)]
    worker: WorkerArgs,
}

impl StandaloneArgs {
    fn places(&self) -> Result<Places, StartError> {
        let places = Places::of(&self.data, self.meta.as_deref(), self.objects.as_deref(), &self.s3);
        places.map_err(StartError::Usage)
    }
}

impl Service for StandaloneArgs {
    type Running = Standalone;
    const KIND: ServiceKind = ServiceKind::Standalone;

    fn process(&self) -> Process {
        self.listen.process()
    }

    fn demands(&self) -> Result<Demands, StartError> {
        self.tls.demands(self.listen.trust())
    }

    fn check(&self) -> Result<(), StartError> {
        self.events.check()?;
        self.places().map(drop)
    }

    async fn start(&self, bound: Bound, _: &Security, clock: Arc<dyn Clock>) -> Result<Standalone, StartError> {
        let places = self.places()?;
        let Open { stores, taken, _alone } = match self.read_only {
            false => open(&places, Arc::clone(&clock)).await?,
            true => open_to_read(&places, Arc::clone(&clock)).await?,
        };

        let streams = &self.coordinator.streams;
        let bus = self.events.open(streams.limits(), &stores.meta, Self::KIND).await?;

        let late = LateChannel::new();
        let to_datacoord = late.channel();
        let (meta, node, objects) = (stores.meta.clone(), stores.node.clone(), Arc::clone(&taken.objects));
        let config = self.worker.config();
        let datanode = DataNode::new(meta, objects, datacoord_client(to_datacoord.clone()), node, config);
        let registration = stores.registration(Self::KIND, String::new(), bound, config.copy_slots);
        if !self.read_only {
            datanode.register_as(&stores.background, registration);
        }
        let to_datanode = Channel::in_process(Served::inside(datanode_server(datanode.clone())));
        let worker = OwnWorker::new(stores.node.clone(), datanode_client(to_datanode.clone()));
        let objects = Arc::clone(&taken.objects);
        let active = taken.coordinate(
            &stores,
            Arc::clone(&bus),
            streams.waiting_max(),
            self.coordinator.config(),
            Arc::new(worker),
        );
        late.set(Channel::in_process(Served::inside(datacoord_server(active.datacoord.clone()))));
        let querynode = match self.read_only {
            false => querynode::begin(&stores, objects),
            true => querynode::reader(&stores, objects),
        };
        let to_querynode = Channel::in_process(Served::inside(querynode_server(querynode)));
        let proxy = proxy::over(to_datacoord, to_datanode, to_querynode, clock, &self.access);
        self.access.warn(&proxy).await;
        let proxy = proxy.with_events(Arc::clone(&bus));
        let message_bytes_max = self.message_bytes_max;
        Ok(Standalone { stores, bus, datanode, late, active, proxy, message_bytes_max, _alone })
    }
}

/// Metadata and objects, with nobody else working on them where that can be known.
struct Open {
    stores: Stores,
    taken: TakenOver,
    /// Given back last: until then no other process may work on the directories.
    _alone: [Option<LocalRoot>; 2],
}

async fn open(places: &Places, clock: Arc<dyn Clock>) -> Result<Open, StartError> {
    let meta_url = &places.meta_url;
    let reach = places.reach().await.map_err(StartError::Refused)?;
    let site = places.site(&reach, &clock);
    // OW-1: whoever is refused has made nothing yet.
    let known = Meta::look(meta_url).await?.map(root::view).transpose()?;
    start::check(&site, known.as_ref()).await?;
    let meta_root = places.take_meta_dir(known.is_some())?;
    let root = match &reach {
        Reach::Directory(dir) => Some(LocalRoot::lock(dir)?),
        Reach::Bucket(_) => None,
    };
    let cluster_id = known.map_or_else(Uuid::new_v4, |view| view.cluster_id).to_string();
    let meta = Meta::open(meta_url, &cluster_id, clock).await?;
    let stores = Stores::new(meta, new_node(ServiceKind::Standalone), site, reach)?;
    let taken = TakenOver::now(&stores).await?;
    if let Some(root) = &root {
        root.sweep_staging(&cluster_id)?;
    }
    // A lock proves that no other process of this cluster lives: what they had begun need not run out first. Where
    // there is none, in a bucket with its metadata on a server, it runs out.
    if root.is_some() || meta_root.is_some() {
        let given_up = taken.coordinator.expire_other_owners(std::slice::from_ref(&stores.node)).await?;
        if given_up > 0 {
            tracing::info!(given_up, "gave up what an earlier process had begun and not acknowledged");
        }
    }
    Ok(Open { stores, taken, _alone: [root, meta_root] })
}

async fn open_to_read(places: &Places, clock: Arc<dyn Clock>) -> Result<Open, StartError> {
    let reach = places.reach().await.map_err(StartError::Refused)?;
    let site = places.site(&reach, &clock);
    let known = Meta::look(&places.meta_url).await?.map(root::view).transpose()?.ok_or_else(|| {
        let text =
            "--read-only: there is no metadata at this place; give --data or --meta of the cluster that wrote it";
        StartError::Refused(anyhow!(text))
    })?;
    let meta = metadata_to_read(&places.meta_url, &site, &known, clock).await?;
    let stores = Stores::new(meta, new_node(ServiceKind::Standalone), site, reach)?;
    let taken = TakenOver::to_read(&stores).await?;
    Ok(Open { stores, taken, _alone: [None, None] })
}

/// All services.
pub(crate) struct Standalone {
    stores: Stores,
    bus: Arc<dyn EventBus>,
    datanode: DataNode,
    late: LateChannel,
    active: Active,
    proxy: Proxy,
    message_bytes_max: usize,
    _alone: [Option<LocalRoot>; 2],
}

impl Running for Standalone {
    fn routes(&self) -> Routes {
        proxy::routes(&self.proxy, self.message_bytes_max)
    }

    fn management(&self, version: &'static str) -> Management {
        let management = milvus_gc::serve(self.stores.management(version), self.late.channel());
        let management = bus_answers(management, Arc::clone(&self.bus));
        match self.active.ownership.clone() {
            Some(owner) => owner_is_well(management, move || Some(owner.clone()), self.stores.meta.clone()),
            None => only_reads(management, self.stores.site.location.clone()),
        }
    }

    fn place(&self) -> String {
        self.stores.place()
    }

    async fn lost(&self) -> anyhow::Error {
        self.active.lost().await
    }

    async fn leave(&self) {
        self.proxy.end_tails();
    }

    async fn stop(self) {
        super::datanode::end_writes(&self.datanode).await;
        self.stores.background.shutdown().await;
        self.active.release().await;
        // The coordinator and the worker hold each other.
        self.late.clear();
        self.stores.meta.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use elanus_datacoord::{CompactionConfig, IndexConfig};
    use elanus_objects::Location;
    use elanus_types::RestoreMode;
    use std::path::Path;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: StandaloneArgs,
    }

    fn parse(flags: &[&str]) -> Result<StandaloneArgs, String> {
        let flags = std::iter::once("standalone").chain(flags.iter().copied());
        let args = Cli::try_parse_from(flags).map_err(|error| error.to_string())?.args;
        match args.check() {
            Ok(()) => Ok(args),
            Err(StartError::Usage(error)) => Err(format!("{error:#}")),
            Err(other) => panic!("not the command line's fault: {other:?}"),
        }
    }

    #[test]
    fn everything_is_in_the_data_directory_unless_it_is_said() {
        let default = parse(&["--data", "/d"]).unwrap();
        let places = |flags: &[&str]| parse(flags).unwrap().places().unwrap();
        let directory = |path: &str| Location::Local(path.into());
        assert_eq!(
            (default.places().unwrap().meta_url.as_str(), default.places().unwrap().objects),
            ("sqlite:///d/meta.db", directory("/d"))
        );
        assert_eq!((default.places().unwrap().meta_dir, default.message_bytes_max), (None, 512 << 20));
        assert_eq!(default.coordinator.config().restore_mode, RestoreMode::Clone);
        let copies = parse(&["--restore-mode", "copy"]).unwrap();
        assert_eq!(copies.coordinator.config().restore_mode, RestoreMode::Copy);
        assert!(parse(&["--restore-mode", "move"]).unwrap_err().contains("possible values: clone, copy"));

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
        let args = parse(&[]).unwrap().process();
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
            ("--events-url", "kafka://user:secret@host", "kafka:// event buses are not supported by this build"),
        ] {
            let error = parse(&[flag, url]).unwrap_err();
            assert!(error.contains(says) && error.contains(flag) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_retention_is_a_time_or_none() {
        let retention_ms = |flags: &[&str]| parse(flags).unwrap().coordinator.config().trash_retention_ms;
        assert_eq!(retention_ms(&[]), 24 * 3_600_000);
        for (text, seconds) in [("0", 0), ("0s", 0), ("90m", 5_400), ("7days", 604_800)] {
            assert_eq!(retention_ms(&["--trash-retention", text]), seconds * 1_000);
        }
        for bad in ["", "24", "-1h", "soon"] {
            assert!(parse(&["--trash-retention", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn compaction_is_automatic_unless_it_is_said() {
        let compaction = |flags: &[&str]| parse(flags).map(|args| args.coordinator.config().compaction);
        assert_eq!(compaction(&[]), Ok(CompactionConfig::default()));
        let flags = ["--auto-compaction", "false", "--compaction-interval", "2m", "--compaction-file-size", "64MiB"];
        let said = compaction(&flags).unwrap();
        assert_eq!((said.automatic, said.interval_s, said.file_bytes), (false, 120, 64 << 20));
        for bad in [["--auto-compaction", "maybe"], ["--compaction-interval", "0s"], ["--compaction-interval", "30"]] {
            assert!(compaction(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn files_of_how_many_rows_are_indexed_can_be_said() {
        let index = |flags: &[&str]| parse(flags).map(|args| args.coordinator.config().index);
        assert_eq!(index(&[]), Ok(IndexConfig::default()));
        let said = index(&["--index-rows-min", "1024", "--index-builds-max", "0"]).unwrap();
        assert_eq!((said.rows_min, said.tasks_max), (1_024, 0));
        for bad in [["--index-rows-min", "0"], ["--index-rows-min", "-1"], ["--index-builds-max", "many"]] {
            assert!(index(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn orphans_have_a_day_at_least() {
        let found = parse(&["--gc-scan-interval", "2days"]).unwrap().coordinator.config();
        assert_eq!((found.scan_interval_ms, found.orphan_age_ms), (2 * 86_400_000, 7 * 86_400_000));
        for bad in ["0", "23h", "86400", "soon"] {
            assert!(parse(&["--gc-missing-tolerance", bad]).is_err(), "{bad}");
        }
    }
}

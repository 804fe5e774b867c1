//! `elanus ctl root`: whose root path it is, from the store and the metadata alone, without a server; but for [`purge`].
//!
//! Every command that changes something is one conditional write of the marker; with `--dry-run` it says what it would do.
//! A running server finds the change at its next renewal.

mod purge;
mod render;

use super::{Options, Stop, confirm, stop};
use crate::output::Rendered;
use crate::root::{Places, RootInMeta, view};
use crate::s3::S3Args;
use clap::{Args, Subcommand};
use elanus_client::ErrorKind;
use elanus_meta::{Meta, MetaError};
use elanus_objects::{
    LocalRoot, RootError,
    ownership::{
        Marker, MetaView, Site, StartError, judge, look,
        marker::FormerObjects,
        operator::{self, OperatorError},
        start::check_overlap,
    },
};
use elanus_types::{Clock, Epoch, NodeId, SystemClock};
use std::{path::PathBuf, sync::Arc};
use uuid::Uuid;

/// The same flags as those of the server whose root path it is.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// Directory of all data
    #[arg(long, value_name = "DIR", env = "ELANUS_DATA", default_value = "./elanus-data", global = true)]
    data: PathBuf,
    /// Metadata store [default: meta.db in the data directory]
    #[arg(long, value_name = "URL", env = "ELANUS_META", hide_env_values = true, global = true)]
    meta: Option<String>,
    /// Object store [default: the data directory]
    #[arg(long, value_name = "URL", env = "ELANUS_OBJECTS", hide_env_values = true, global = true)]
    objects: Option<String>,
    #[command(flatten)]
    s3: S3Args,
}

#[derive(Debug, Args)]
pub(super) struct RootArgs {
    #[command(flatten)]
    places: Where,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Ask {
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who owns the root path, and what a start with this metadata would do
    Show,
    /// Make this metadata's cluster the owner of a root path that has none
    Init {
        /// Also where other files are; these are never touched
        #[arg(long)]
        into_nonempty: bool,
        /// Say what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take the root path from another cluster that is gone for good
    ///
    /// Its processes stop within ten seconds, should they still run. Nothing is deleted until `root leave-foreign` or
    /// `root adopt`.
    #[command(after_long_help = "The values to expect are those of `elanus ctl root show`.")]
    Takeover {
        /// The owner that you expect
        #[arg(long, value_name = "UUID")]
        expect_cluster: Uuid,
        /// The epoch that you expect
        #[arg(long, value_name = "N")]
        expect_epoch: i64,
        /// Why, for those who read the marker later
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// After a takeover: the old owner's objects are now this cluster's, to keep or to purge
    Adopt(Decision),
    /// After a takeover: the old owner's objects stay as they are and are never touched
    LeaveForeign(Decision),
    /// After `leave-foreign` or `adopt`: delete everything in the folder of the old owner, for good
    ///
    /// Without --confirm it counts what is there and names some of it. The server that owns the root path (--addr) deletes it in
    /// the same way as everything else: brakes, audit trail and all. It goes on after a restart. Nothing outside of that folder
    /// is touched; the folder of an owner never is.
    PurgeNamespace(purge::PurgeArgs),
    /// Write the marker again where it is gone or damaged; or release a hold on restored metadata
    Repair {
        /// The metadata was restored from a backup, and `scrub` shows that nothing which it needs is missing
        #[arg(long)]
        metadata_is_complete: bool,
        #[command(flatten)]
        ask: Ask,
    },
}

#[derive(Debug, Args)]
struct Decision {
    /// The former owner [default: all that wait for a decision]
    #[arg(long, value_name = "UUID")]
    cluster: Option<Uuid>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// A root path with the metadata that goes with it, as it was found.
struct Found {
    places: Places,
    site: Site,
    known: Option<MetaView>,
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 500 { Err("give a sentence".to_owned()) } else { Ok(text.to_owned()) }
}

pub(super) async fn execute(args: RootArgs, options: &Options) -> Result<Rendered, Stop> {
    if let Command::PurgeNamespace(args) = &args.command {
        // To count what is there takes as long as it takes.
        let client = options.client(false).await?;
        return purge::execute(&client, args).await;
    }
    let found = Found::find(&args.places).await?;
    match args.command {
        Command::Show => found.show().await,
        Command::Init { into_nonempty, dry_run } => found.init(into_nonempty, dry_run).await,
        Command::Takeover { expect_cluster, expect_epoch, reason, ask } => {
            found.take(expect_cluster, Epoch(expect_epoch), &reason, &ask).await
        }
        Command::PurgeNamespace(_) => unreachable!("answered above"),
        Command::Adopt(decision) => found.decide(&decision, FormerObjects::Adopted).await,
        Command::LeaveForeign(decision) => found.decide(&decision, FormerObjects::LeftForeign).await,
        Command::Repair { metadata_is_complete: true, ask } => found.release(&ask).await,
        Command::Repair { metadata_is_complete: false, ask } => found.repair(&ask).await,
    }
}

impl Found {
    /// Changes nothing.
    async fn find(flags: &Where) -> Result<Self, Stop> {
        let places = Places::of(&flags.data, flags.meta.as_deref(), flags.objects.as_deref(), &flags.s3);
        let places = places.map_err(|error| stop(ErrorKind::Invalid, format!("{error:#}")))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let reach = places.reach().await.map_err(|error| stop(ErrorKind::Invalid, format!("{error:#}")))?;
        let site = places.site(&reach, &clock);
        let known = Meta::look(&places.meta_url).await?.map(view).transpose()?;
        Ok(Self { places, site, known })
    }

    async fn show(self) -> Result<Rendered, Stop> {
        let seen = look(&self.site, self.known.is_some()).await.seen;
        let verdict = judge(&seen, self.known.as_ref(), &self.site.location);
        let overlap = check_overlap(&self.site).await.err();
        let shown =
            render::Shown { location: &self.site.location, seen: &seen, meta: self.known.as_ref(), verdict, overlap };
        let rendered = render::show(&shown);
        if shown.is_well() { Ok(rendered) } else { Err(Stop::Differs(rendered)) }
    }

    async fn init(self, into_nonempty: bool, dry_run: bool) -> Result<Rendered, Stop> {
        operator::check_init(&self.site, self.known.is_some(), into_nonempty).await?;
        if dry_run {
            return Ok(render::planned("would make this metadata's cluster the owner", &self.site.location));
        }
        let opened = self.opened(true).await?;
        // Nobody starts there at the same time.
        let _root = self.places.directory().map(LocalRoot::lock).transpose()?;
        let marker = operator::init(&self.site, &opened.meta, into_nonempty).await;
        opened.done(marker, "this metadata's cluster is the owner now", &self.site).await
    }

    async fn take(self, cluster: Uuid, epoch: Epoch, reason: &str, ask: &Ask) -> Result<Rendered, Stop> {
        let mine = self.known.as_ref().map(|view| view.cluster_id);
        operator::check_take(&self.site, mine, (cluster, epoch)).await?;
        if ask.dry_run {
            return Ok(render::planned("would take the root path from its owner", &self.site.location));
        }
        let what = format!(
            "{} is taken from cluster {cluster}. Should it still run, it stops serving. Nothing of it is deleted.",
            self.site.location
        );
        confirm::confirm(ask.yes, &what, &cluster.to_string())?;
        let opened = self.opened(true).await?;
        let marker = operator::take(&self.site, &opened.meta, (cluster, epoch), reason).await;
        let done = "taken; nothing is deleted until `elanus ctl root leave-foreign` or `elanus ctl root adopt`";
        opened.done(marker, done, &self.site).await
    }

    async fn decide(self, decision: &Decision, objects: FormerObjects) -> Result<Rendered, Stop> {
        let opened = self.opened(false).await?;
        if decision.dry_run {
            let planned = operator::check_decide(&self.site, &opened.meta, decision.cluster, objects).await;
            let (marker, _) = opened.closed(planned).await?;
            return Ok(render::marker("would be", &self.site.location, &marker));
        }
        let marker = operator::decide(&self.site, &opened.meta, decision.cluster, objects).await;
        opened.done(marker, "decided", &self.site).await
    }

    async fn repair(self, ask: &Ask) -> Result<Rendered, Stop> {
        let opened = self.opened(false).await?;
        if ask.dry_run {
            let planned = operator::check_repair(&self.site, &opened.meta).await;
            let (marker, _) = opened.closed(planned).await?;
            return Ok(render::marker("would be", &self.site.location, &marker));
        }
        let marker = operator::repair(&self.site, &opened.meta).await;
        opened.done(marker, "the marker is there again", &self.site).await
    }

    async fn release(self, ask: &Ask) -> Result<Rendered, Stop> {
        let opened = self.opened(false).await?;
        if ask.dry_run {
            opened.closed(Ok(())).await?;
            return Ok(render::planned("would let deletes go on with the restored metadata", &self.site.location));
        }
        confirm::confirm(
            ask.yes,
            "What the restored metadata wants to delete will be deleted again. Run `elanus ctl scrub` before.",
            "complete",
        )?;
        let marker = operator::release_restored(&self.site, &opened.meta).await;
        opened.done(marker, "deletes go on", &self.site).await
    }

    /// The metadata, ready to be written. `create`: also where there is none yet, and then as the only process.
    async fn opened(&self, create: bool) -> Result<Opened, Stop> {
        if self.known.is_none() && !create {
            return Err(stop(
                ErrorKind::NotFound,
                "there is no metadata at this place; give --data or --meta".to_owned(),
            ));
        }
        let guard = if create { self.places.take_meta_dir(self.known.is_some())? } else { None };
        let cluster_id = self.known.as_ref().map_or_else(Uuid::new_v4, |view| view.cluster_id);
        if let Some(dir) = self.places.directory().filter(|_| create && self.places.metadata_is_beside()) {
            LocalRoot::make(dir)?;
        }
        let meta = Meta::open(&self.places.meta_url, &cluster_id.to_string(), Arc::clone(&self.site.clock)).await?;
        let holder = NodeId("elanus ctl root".to_owned());
        Ok(Opened { meta: RootInMeta::new(meta.clone(), holder), store: meta, _guard: guard })
    }
}

/// Metadata that is open for one command.
struct Opened {
    meta: RootInMeta,
    store: Meta,
    _guard: Option<LocalRoot>,
}

impl Opened {
    async fn closed<T>(self, answer: Result<T, OperatorError>) -> Result<T, Stop> {
        self.store.close().await;
        Ok(answer?)
    }

    async fn done(self, answer: Result<Marker, OperatorError>, what: &str, site: &Site) -> Result<Rendered, Stop> {
        let marker = self.closed(answer).await?;
        Ok(render::marker(what, &site.location, &marker))
    }
}

/// The error with its sources, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

impl From<OperatorError> for Stop {
    fn from(error: OperatorError) -> Self {
        let kind = match &error {
            OperatorError::Unexpected(_) | OperatorError::Start(StartError::Refused { .. }) => ErrorKind::Conflict,
            _ => ErrorKind::Other,
        };
        stop(kind, chain(&error))
    }
}

impl From<MetaError> for Stop {
    fn from(error: MetaError) -> Self {
        let kind = if matches!(error, MetaError::BadUrl(_)) { ErrorKind::Invalid } else { ErrorKind::Other };
        stop(kind, chain(&error))
    }
}

impl From<RootError> for Stop {
    fn from(error: RootError) -> Self {
        let kind = if matches!(error, RootError::Io { .. }) { ErrorKind::Other } else { ErrorKind::Conflict };
        stop(kind, chain(&error))
    }
}

//! `elanus ctl rebuild`: without a server.

use super::{
    Stop, confirm,
    output::{Rendered, clean, rfc3339, seconds, table},
};
use crate::root::{Places, Reach};
use crate::s3::S3Args;
use clap::Args;
use elanus_client::{ClientError, ErrorKind};
use elanus_datacoord::rebuild::{self, FoundCollection, Survey};
use elanus_meta::Meta;
use elanus_objects::ownership::{self, Marker, Seen};
use elanus_objects::{LocalRoot, LocalStore, ObjectStore};
use elanus_types::key::KeySpace;
use elanus_types::{Clock, Failure, SystemClock};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HELP: &str = "\
Examples:
  elanus ctl rebuild --data /var/lib/elanus --apply
  elanus ctl rebuild --data /var/lib/new --objects s3://bucket/elanus --apply
  elanus standalone --data /var/lib/new --objects s3://bucket/elanus";

/// Make new metadata from the snapshots in the bucket, when the metadata store is lost
///
/// Every collection that has a snapshot comes back as it was at its newest one, with all its snapshots. What was written after
/// the newest snapshot, collections without snapshots, aliases, pins and jobs are lost. Prints what would come back; writes it
/// with --apply, into an empty metadata store. No server may run on the bucket. --data, --objects and --meta are those of the
/// server that is started afterwards.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct RebuildArgs {
    /// Directory of all data, as the server's: metadata go to meta.db in it; created when absent
    #[arg(long, value_name = "DIR", env = "ELANUS_DATA", required_unless_present_all = ["objects", "meta"])]
    data: Option<PathBuf>,
    /// Object store: file:///absolute/path or s3://bucket/root/path [default: the data directory]
    #[arg(long, value_name = "URL", env = "ELANUS_OBJECTS", hide_env_values = true)]
    objects: Option<String>,
    #[command(flatten)]
    s3: S3Args,
    /// Metadata store to be filled, a new one: sqlite:///absolute/path or postgres://user:password@host/database [default:
    /// meta.db in the data directory]
    #[arg(long, value_name = "URL", env = "ELANUS_META", hide_env_values = true)]
    meta: Option<String>,
    /// Write it
    #[arg(long)]
    apply: bool,
    /// Do not ask
    #[arg(long, requires = "apply")]
    yes: bool,
}

pub(super) async fn execute(args: &RebuildArgs) -> Result<Rendered, Stop> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // Where both are said, the directory is not asked for.
    let data = args.data.as_deref().unwrap_or(Path::new("."));
    let places = Places::of(data, args.meta.as_deref(), args.objects.as_deref(), &args.s3)
        .map_err(|error| refused(ErrorKind::Invalid, format!("{error:#}")))?;
    let reach = places.reach().await.map_err(|error| refused(ErrorKind::Invalid, format!("{error:#}")))?;
    let marker = owner(&places, &reach, &clock).await?;
    let cluster = marker.cluster_id.to_string();
    // Held until the end: no server starts meanwhile on this directory.
    let (objects, _lock): (Arc<dyn ObjectStore>, _) = match &reach {
        Reach::Directory(dir) => {
            let lock = LocalRoot::lock(dir).map_err(|error| refused(ErrorKind::Conflict, error))?;
            (Arc::new(LocalStore::open(dir).map_err(|error| refused(ErrorKind::Invalid, error))?), Some(lock))
        }
        Reach::Bucket(store) => (Arc::new(store.clone()), None),
    };
    let keys = KeySpace::new(&cluster).map_err(|error| refused(ErrorKind::Other, error))?;
    let bar = ProgressBar::new_spinner();
    let progress = |text: String| {
        bar.set_message(text);
        bar.tick();
    };
    let mut survey = rebuild::survey(&*objects, &keys, &progress).await.map_err(failed)?;
    // Ids that no key has were given to rows.
    survey.greatest_id = survey.greatest_id.max(marker.meta_hwm);
    if !args.apply {
        bar.finish_and_clear();
        return verdict(&survey, None);
    }
    bar.suspend(|| {
        eprintln!("{}", render(&survey, None).text);
        confirm::confirm(args.yes, "this will be written into the empty metadata store", &cluster)
    })?;
    // No server starts on it meanwhile either, and the next one finds a directory that Elanus made.
    let known = Meta::look(&places.meta_url).await.map_err(|error| failed(error.into()))?.is_some();
    let _meta_dir = places.take_meta_dir(known).map_err(|error| refused(ErrorKind::Conflict, error))?;
    let meta = Meta::open(&places.meta_url, &cluster, clock).await.map_err(|error| failed(error.into()))?;
    let applied = rebuild::apply(&*objects, &meta, &survey, &progress).await;
    meta.close().await;
    bar.finish_and_clear();
    verdict(&survey, Some(applied.map_err(failed)?))
}

/// The cluster that owns the root path. Looks, and changes nothing: an owner is not made here.
async fn owner(places: &Places, reach: &Reach, clock: &Arc<dyn Clock>) -> Result<Marker, Stop> {
    match ownership::look(&places.site(reach, clock), true).await.seen {
        Seen::Marker(marker) => Ok(*marker),
        _ => {
            let text =
                format!("{} has no owner that can be read: look at it with elanus ctl root show", places.location());
            Err(refused(ErrorKind::NotFound, text))
        }
    }
}

fn refused(kind: ErrorKind, text: impl ToString) -> Stop {
    Stop::Client(ClientError { kind, code: None, message: text.to_string() })
}

fn failed(failure: Failure) -> Stop {
    Stop::Client(failure.into())
}

/// What is left out must be noticed by a script.
fn verdict(survey: &Survey, written: Option<u64>) -> Result<Rendered, Stop> {
    let rendered = render(survey, written);
    let lost = survey.collections.iter().any(|one| one.refused.is_some() || !one.left_out.is_empty());
    if lost { Err(Stop::Differs(rendered)) } else { Ok(rendered) }
}

fn render(survey: &Survey, written: Option<u64>) -> Rendered {
    let come_back: Vec<&FoundCollection> = survey.collections.iter().filter(|one| one.refused.is_none()).collect();
    let row = |one: &&FoundCollection| {
        let newest = one.snapshots.last().map_or(0, |(_, ts)| ts.ms());
        vec![
            one.database.clone(),
            one.name.clone(),
            one.id.to_string(),
            one.snapshots.len().to_string(),
            seconds(newest),
            one.rows.to_string(),
            one.objects.to_string(),
        ]
    };
    let columns = ["DATABASE", "COLLECTION", "ID", "SNAPSHOTS>", "AS OF", "ROWS>", "OBJECTS>"];
    let mut text = table(&columns, come_back.iter().map(row));
    for one in &survey.collections {
        if let Some(name) = &one.renamed_from {
            text.push_str(&format!("\n{} was called {}: that name has another collection", one.name, clean(name)));
        }
        if !one.aliases.is_empty() {
            text.push_str(&format!("\n{} is also called {}", one.name, clean(&one.aliases.join(", "))));
        }
        if !one.aliases_taken.is_empty() {
            let names = clean(&one.aliases_taken.join(", "));
            text.push_str(&format!("\n{} was also called {names}: something newer has that name", one.name));
        }
        for (key, why) in &one.left_out {
            text.push_str(&format!("\nleft out: {key}: {}", clean(why)));
        }
        if let Some(why) = &one.refused {
            text.push_str(&format!("\nrefused: collection {}: {}", one.id, clean(why)));
        }
    }
    let end = match written {
        None => "nothing was written; give --apply to write it".to_owned(),
        Some(written) => format!(
            "{written} collections were written; start the server, run elanus ctl scrub, then elanus ctl gc reconcile --apply: until then nothing is deleted"
        ),
    };
    text.push_str(&format!("\n{} objects in the bucket; {end}", survey.objects));
    let json = json!({
        "objects": survey.objects,
        "applied": written.is_some(),
        "collections": survey.collections.iter().map(to_json).collect::<Vec<_>>(),
    });
    Rendered { text, json }
}

fn to_json(one: &FoundCollection) -> Value {
    let snapshot = |(name, ts): &(String, elanus_types::Timestamp)| json!({"name": name, "create_ts": ts.0, "created": rfc3339(ts.ms())});
    let left_out = |(key, why): &(elanus_types::ObjectKey, String)| json!({"key": key.as_str(), "why": why});
    json!({
        "id": one.id.0,
        "db_name": one.database,
        "name": one.name,
        "renamed_from": one.renamed_from,
        "aliases": one.aliases,
        "aliases_taken": one.aliases_taken,
        "rows": one.rows,
        "objects": one.objects,
        "snapshots": one.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        "left_out": one.left_out.iter().map(left_out).collect::<Vec<_>>(),
        "refused": one.refused,
    })
}

//! `elanus ctl rebuild`: without a server.

use super::{
    Stop, confirm,
    output::{Rendered, clean, rfc3339, seconds, table},
};
use clap::Args;
use elanus_client::{ClientError, ErrorKind};
use elanus_datacoord::rebuild::{self, FoundCollection, Survey};
use elanus_meta::Meta;
use elanus_objects::{LocalRoot, ObjectStore};
use elanus_types::key::KeySpace;
use elanus_types::{Failure, SystemClock};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

/// Make new metadata from the snapshots in the bucket, when the metadata store is lost
///
/// Every collection that has a snapshot comes back as it was at its newest one, with all its snapshots. What was written after
/// the newest snapshot, collections without snapshots, aliases, pins and jobs are lost. Prints what would come back; writes it
/// with --apply, into an empty metadata store. No server may run on the bucket.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  elanus ctl rebuild --objects file:///var/lib/elanus --meta sqlite:///var/lib/elanus/meta.db --apply"
)]
pub(super) struct RebuildArgs {
    /// Object store: file:///absolute/path
    #[arg(long, value_name = "URL")]
    objects: Url,
    /// Metadata store to be filled, a new one: sqlite:///absolute/path or postgres://user:password@host/database
    #[arg(long, value_name = "URL", env = "ELANUS_META", hide_env_values = true)]
    meta: String,
    /// Write it
    #[arg(long)]
    apply: bool,
    /// Do not ask
    #[arg(long, requires = "apply")]
    yes: bool,
}

pub(super) async fn execute(args: &RebuildArgs) -> Result<Rendered, Stop> {
    // Held until the end: no server starts meanwhile.
    let root = root(&args.objects)?;
    let objects: Arc<dyn ObjectStore> =
        elanus_objects::open(args.objects.as_str()).map_err(|error| refused(ErrorKind::Invalid, error))?;
    let cluster = root.cluster_id().to_string();
    let keys = KeySpace::new(&cluster).map_err(|error| refused(ErrorKind::Other, error))?;
    let bar = ProgressBar::new_spinner();
    let progress = |text: String| {
        bar.set_message(text);
        bar.tick();
    };
    let survey = rebuild::survey(&*objects, &keys, &progress).await.map_err(failed)?;
    if !args.apply {
        bar.finish_and_clear();
        return verdict(&survey, None);
    }
    bar.suspend(|| {
        eprintln!("{}", render(&survey, None).text);
        confirm::confirm(args.yes, "this will be written into the empty metadata store", &cluster)
    })?;
    let meta = Meta::open(&args.meta, &cluster, Arc::new(SystemClock)).await.map_err(|error| failed(error.into()))?;
    let applied = rebuild::apply(&*objects, &meta, &survey, &progress).await;
    meta.close().await;
    bar.finish_and_clear();
    verdict(&survey, Some(applied.map_err(failed)?))
}

/// The guard of a directory that has an owner: it is not made here.
fn root(objects: &Url) -> Result<LocalRoot, Stop> {
    let path: PathBuf = match objects.scheme() {
        "file" => objects.to_file_path().map_err(|()| refused(ErrorKind::Invalid, "--objects: it is not a path"))?,
        other => {
            let text = format!(
                "--objects: {other}:// object stores are not supported by this build; use file:///absolute/path"
            );
            return Err(refused(ErrorKind::Invalid, text));
        }
    };
    if !path.join("_elanus/owner.json").is_file() {
        let text = format!("--objects: {} has no owner: it is no object directory of elanus", path.display());
        return Err(refused(ErrorKind::NotFound, text));
    }
    LocalRoot::open(&path).map_err(|error| refused(ErrorKind::Conflict, error))
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
        for (key, why) in &one.left_out {
            text.push_str(&format!("\nleft out: {key}: {}", clean(why)));
        }
        if let Some(why) = &one.refused {
            text.push_str(&format!("\nrefused: collection {}: {}", one.id, clean(why)));
        }
    }
    let end = match written {
        None => "nothing was written; give --apply to write it".to_owned(),
        Some(written) => format!("{written} collections were written; start the server, then run elanus ctl scrub"),
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
        "rows": one.rows,
        "objects": one.objects,
        "snapshots": one.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        "left_out": one.left_out.iter().map(left_out).collect::<Vec<_>>(),
        "refused": one.refused,
    })
}

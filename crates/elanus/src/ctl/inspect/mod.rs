//! `elanus ctl snapshot inspect`: a snapshot from its objects alone, without a server and without a metadata store.
//!
//! Reads only. What is damaged or missing is a finding, as long as enough is left to tell what should be there.

mod render;

use super::{Stop, output::Rendered};
use crate::s3::S3Args;
use clap::{Args, ValueEnum};
use elanus_client::{ClientError, ErrorKind};
use elanus_manifest::{
    FileEntry, ManifestEntry, ManifestRef, SnapshotMetadata, Totals, decode_manifest, decode_metadata,
};
use elanus_objects::{LocalStore, ObjectStore, S3Location, S3Store};
use elanus_types::ObjectKey;
use futures::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use url::Url;

/// The folder of all snapshots of a cluster, right below the cluster's own.
const SNAPSHOTS: &str = "snapshots";
/// Of the key of a snapshot's metadata: cluster, `snapshots`, collection, `metadata`, name.
const KEY_PARTS: usize = 5;
/// Objects that are looked at together.
const AT_ONCE: usize = 8;

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The snapshot's metadata object: file:///DIR/CLUSTER/snapshots/ID/metadata/NAME.json, that path, or
    /// s3://BUCKET/ROOT/CLUSTER/snapshots/ID/metadata/NAME.json
    uri: String,
    #[command(flatten)]
    s3: S3Args,
    /// How closely to look; each level includes those before it
    #[arg(long, value_name = "LEVEL", default_value = "metadata")]
    verify: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Level {
    /// The metadata and every manifest
    Metadata,
    /// That every file is there and has its size
    Presence,
    /// Every byte of every file
    Checksum,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Presence => "presence",
            Self::Checksum => "checksum",
        }
    }
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// `missing`, `damaged`, `unreadable` or `contradiction`.
    what: &'static str,
    key: String,
    why: String,
}

/// What was read and found.
#[derive(Debug)]
struct Inspection {
    /// For people.
    root: String,
    metadata: SnapshotMetadata,
    /// By segment and file set; `None` when the manifests do not tell.
    entries: Option<Vec<ManifestEntry>>,
    level: Level,
    findings: Vec<Finding>,
}

pub(super) async fn execute(args: &InspectArgs) -> Result<Rendered, Stop> {
    let (store, root, key) = open(args).await?;
    let inspection = inspect(&*store, root, &key, args.verify).await?;
    let rendered = render::render(&inspection);
    if inspection.findings.is_empty() { Ok(rendered) } else { Err(Stop::Differs(rendered)) }
}

/// The store, its root as text, and the key of the metadata object below it.
async fn open(args: &InspectArgs) -> Result<(Box<dyn ObjectStore>, String, ObjectKey), Stop> {
    if args.uri.starts_with("s3://") {
        let (location, key) = locate_s3(&args.uri)?;
        let root = location.to_string();
        let config = args.s3.config(location).await.map_err(|error| invalid(format!("{error:#}")))?;
        let store = S3Store::new(config).map_err(|error| stop(ErrorKind::Invalid, &error))?;
        return Ok((Box::new(store), root, key));
    }
    let (root, key) = locate(&args.uri)?;
    let store = LocalStore::open(&root).map_err(|error| stop(ErrorKind::NotFound, &error))?;
    Ok((Box::new(store), root.display().to_string(), key))
}

async fn inspect(store: &dyn ObjectStore, root: String, key: &ObjectKey, level: Level) -> Result<Inspection, Stop> {
    let bytes = store.get(key).await.map_err(|error| match error {
        elanus_objects::Error::NotFound { .. } => stop(ErrorKind::NotFound, &error),
        other => stop(ErrorKind::Other, &other),
    })?;
    let metadata = decode_metadata(&bytes).map_err(|error| {
        let context = format!("{key} is not the metadata of a snapshot that can be read");
        Stop::Client(ClientError {
            kind: ErrorKind::Other,
            code: None,
            message: format!("{context}: {}", chain(&error)),
        })
    })?;
    let mut findings = vec![];
    let entries = entries(store, &metadata, &mut findings).await;
    if let Some(entries) = &entries {
        let found = Totals::of(entries);
        if found != metadata.totals {
            let why = format!("its totals are {:?}, its manifests have {found:?}", metadata.totals);
            findings.push(Finding { what: "contradiction", key: key.to_string(), why });
        }
        if level > Level::Metadata {
            findings.extend(verify(store, entries, level).await);
        }
    }
    Ok(Inspection { root, metadata, entries, level, findings })
}

/// The file sets of the snapshot; `None` when a manifest is in the way.
async fn entries(
    store: &dyn ObjectStore,
    metadata: &SnapshotMetadata,
    findings: &mut Vec<Finding>,
) -> Option<Vec<ManifestEntry>> {
    let mut manifests = vec![];
    for manifest in &metadata.manifests {
        match entries_of(store, manifest).await {
            Ok(entries) => manifests.push(entries),
            Err(finding) => findings.push(finding),
        }
    }
    if manifests.len() < metadata.manifests.len() {
        return None;
    }
    let folded = elanus_manifest::fold(manifests.into_iter());
    folded
        .map_err(|error| {
            let key = metadata.snapshot.name.clone();
            findings.push(Finding { what: "contradiction", key, why: chain(&error) });
        })
        .ok()
}

async fn entries_of(store: &dyn ObjectStore, manifest: &ManifestRef) -> Result<Vec<ManifestEntry>, Finding> {
    let finding = |what, why: &dyn std::error::Error| Finding { what, key: manifest.key.to_string(), why: chain(why) };
    let bytes = store.get(&manifest.key).await.map_err(|error| unread(&manifest.key, &error))?;
    elanus_manifest::verify(&bytes, manifest).map_err(|error| finding("damaged", &error))?;
    decode_manifest(&bytes).map_err(|error| finding("unreadable", &error))
}

/// Looks at every file once, also when several file sets name it; findings by key.
async fn verify(store: &dyn ObjectStore, entries: &[ManifestEntry], level: Level) -> Vec<Finding> {
    let files: BTreeMap<&ObjectKey, &FileEntry> =
        entries.iter().flat_map(|entry| &entry.files).map(|file| (&file.key, file)).collect();
    let bar = progress(&files, level);
    let mut findings: Vec<Finding> = stream::iter(files.into_values())
        .map(async |file| {
            let finding = verify_file(store, file, level).await.err();
            bar.inc(if level == Level::Checksum { file.size } else { 1 });
            finding
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    bar.finish_and_clear();
    findings.sort_by(|a, b| a.key.cmp(&b.key));
    findings
}

async fn verify_file(store: &dyn ObjectStore, file: &FileEntry, level: Level) -> Result<(), Finding> {
    let finding = |what, why| Finding { what, key: file.key.to_string(), why };
    let failed = |error: elanus_objects::Error| unread(&file.key, &error);
    let size = store.head(&file.key).await.map_err(failed)?.size;
    if size != file.size {
        return Err(finding("damaged", format!("{size} bytes instead of {}", file.size)));
    }
    if level == Level::Checksum {
        let checksum = store.checksum(&file.key).await.map_err(failed)?;
        if checksum != file.checksum {
            return Err(finding("damaged", format!("checksum {checksum} instead of {}", file.checksum)));
        }
    }
    Ok(())
}

fn progress(files: &BTreeMap<&ObjectKey, &FileEntry>, level: Level) -> ProgressBar {
    let (length, template) = match level {
        Level::Checksum => (
            files.values().map(|file| file.size).sum(),
            "checking [{bar:30}] {percent} %  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
        ),
        Level::Metadata | Level::Presence => {
            (files.len() as u64, "checking [{bar:30}] {percent} %  {pos} of {len} files")
        }
    };
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    ProgressBar::with_draw_target(Some(length), target)
        .with_style(ProgressStyle::with_template(template).expect("the templates are constants"))
}

fn unread(key: &ObjectKey, error: &elanus_objects::Error) -> Finding {
    let (what, why) = match error {
        elanus_objects::Error::NotFound { .. } => ("missing", "there is no such object".to_owned()),
        other => ("unreadable", chain(other)),
    };
    Finding { what, key: key.to_string(), why }
}

/// The root of the object store and the key of the metadata object below it.
fn locate(uri: &str) -> Result<(PathBuf, ObjectKey), Stop> {
    let path = path_of(uri)?;
    let path = std::fs::canonicalize(&path).map_err(|error| {
        let kind = if error.kind() == io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Other };
        Stop::Client(ClientError { kind, code: None, message: format!("could not open {}: {error}", path.display()) })
    })?;
    split(&path).ok_or_else(|| {
        invalid(format!(
            "{} is not the metadata of a snapshot: that lies in DIR/CLUSTER/{SNAPSHOTS}/ID/metadata/NAME.json, \
             beside the files that it names",
            path.display()
        ))
    })
}

fn path_of(uri: &str) -> Result<PathBuf, Stop> {
    if !uri.contains("://") {
        return Ok(PathBuf::from(uri));
    }
    let url = Url::parse(uri).map_err(|error| invalid(format!("{uri}: {error}")))?;
    if url.scheme() != "file" {
        return Err(invalid(format!(
            "{}:// object stores are not supported by this build; give file:///PATH, a path, or s3://BUCKET/KEY",
            url.scheme()
        )));
    }
    url.to_file_path().map_err(|()| invalid(format!("{uri} is not an absolute path of this machine")))
}

fn locate_s3(uri: &str) -> Result<(S3Location, ObjectKey), Stop> {
    let not_it = || {
        let layout = format!("s3://BUCKET/ROOT/CLUSTER/{SNAPSHOTS}/ID/metadata/NAME.json");
        invalid(format!("this is not the metadata of a snapshot: that is called {layout}"))
    };
    let (start, _) = uri.rmatch_indices('/').nth(KEY_PARTS - 1).ok_or_else(not_it)?;
    let key = key_of(&uri[start + 1..]).ok_or_else(not_it)?;
    let location = uri[..start].parse::<S3Location>().map_err(|error| invalid(error.to_string()))?;
    Ok((location, key))
}

fn split(path: &Path) -> Option<(PathBuf, ObjectKey)> {
    let root = path.ancestors().nth(KEY_PARTS)?;
    let key = key_of(path.strip_prefix(root).ok()?.to_str()?)?;
    Some((root.to_path_buf(), key))
}

fn key_of(text: &str) -> Option<ObjectKey> {
    let key = ObjectKey::parse(text).ok()?;
    let parts: Vec<&str> = key.as_str().split('/').collect();
    (parts.len() == KEY_PARTS && parts[1] == SNAPSHOTS && parts[3] == "metadata").then_some(key)
}

fn invalid(message: String) -> Stop {
    Stop::Client(ClientError { kind: ErrorKind::Invalid, code: None, message })
}

fn stop(kind: ErrorKind, error: &dyn std::error::Error) -> Stop {
    Stop::Client(ClientError { kind, code: None, message: chain(error) })
}

/// The error with its sources, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests;

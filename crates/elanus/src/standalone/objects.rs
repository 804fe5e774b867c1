//! The root path of the objects: a directory with its guard, or a root path in a bucket with its marker.
//!
//! A bucket is taken when its root path is empty, and known again by the marker. There is no lock in it: that one process
//! works at a time follows from the lock of the data directory where the metadata is, and from the epochs of the metadata.

use super::{StartError, args::Place};
use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use elanus_objects::{
    Error, LocalRoot, LocalStore, MarkerStore, ObjectStore, S3Markers, S3Store, marker_store::FOLDER,
};
use elanus_types::ObjectKey;
use futures::future::{BoxFuture, FutureExt as _};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

const FORMAT_VERSION: u32 = 1;

/// A root path that this process may write to.
pub(super) enum Root {
    Directory(LocalRoot),
    Bucket { name: String, markers: S3Markers, store: S3Store, cluster_id: Uuid },
}

/// The same as in a data directory.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format_version: u32,
    cluster_id: Uuid,
    created_by: String,
}

impl Root {
    pub(super) async fn open(place: &Place) -> Result<Self, StartError> {
        match place {
            Place::Directory(path) => Ok(Self::Directory(LocalRoot::open(path)?)),
            Place::Bucket(location, args) => {
                let name = location.to_string();
                let config = args.config(location.clone()).await.map_err(StartError::Refused)?;
                let store = S3Store::new(config).context("--objects").map_err(StartError::Refused)?;
                let markers = store.markers();
                let cluster_id = take(&markers, &name).await?;
                Ok(Self::Bucket { name, markers, store, cluster_id })
            }
        }
    }

    pub(super) fn cluster_id(&self) -> Uuid {
        match self {
            Self::Directory(root) => root.cluster_id(),
            Self::Bucket { cluster_id, .. } => *cluster_id,
        }
    }

    /// What people know it by.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Directory(root) => root.path().display().to_string(),
            Self::Bucket { name, .. } => name.clone(),
        }
    }

    /// No other process works on it, and none will until this value is gone.
    pub(super) fn is_locked(&self) -> bool {
        matches!(self, Self::Directory(_))
    }

    pub(super) fn store(&self) -> Result<Arc<dyn ObjectStore>, StartError> {
        match self {
            Self::Directory(root) => {
                let store = LocalStore::open(root.path()).context("could not open the object store");
                Ok(Arc::new(store.map_err(StartError::Failed)?))
            }
            Self::Bucket { store, .. } => Ok(Arc::new(store.clone())),
        }
    }

    /// A look at whether it is there; in words when it is not.
    pub(super) fn look(&self) -> impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + use<> {
        let looked_at = match self {
            Self::Directory(root) => Err(root.path().to_owned()),
            Self::Bucket { markers, .. } => Ok(markers.clone()),
        };
        move || match looked_at.clone() {
            Err(path) => async move {
                let found = tokio::fs::metadata(&path).await;
                found.map(drop).map_err(|error| format!("{}: {error}", path.display()))
            }
            .boxed(),
            Ok(markers) => async move {
                match markers.read(&marker_key()).await {
                    Ok(Some(_)) => Ok(()),
                    Ok(None) => Err("the marker of the root path is gone".to_owned()),
                    Err(error) => Err(format!("{:#}", anyhow!(error))),
                }
            }
            .boxed(),
        }
    }
}

fn marker_key() -> ObjectKey {
    ObjectKey::parse(&format!("{FOLDER}/owner.json")).expect("the marker's name is a key")
}

/// The cluster that owns the root path; an empty one is taken for a new cluster.
async fn take(markers: &S3Markers, name: &str) -> Result<Uuid, StartError> {
    if let Some(found) = markers.read(&marker_key()).await.map_err(|error| failed(name, error))? {
        return owner(name, &found.bytes);
    }
    if !markers.list("").await.map_err(|error| failed(name, error))?.is_empty() {
        return Err(StartError::Refused(anyhow!(
            "{name} is not empty and was not made by elanus; choose another root path"
        )));
    }
    let marker = Marker {
        format_version: FORMAT_VERSION,
        cluster_id: Uuid::new_v4(),
        created_by: concat!("elanus ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let text = serde_json::to_vec_pretty(&marker).map_err(|error| StartError::Failed(error.into()))?;
    match markers.create(&marker_key(), Bytes::from(text)).await {
        Ok(_) => Ok(marker.cluster_id),
        Err(Error::Exists { .. }) => {
            Err(StartError::Refused(anyhow!("another process took {name} at the same time; start again")))
        }
        Err(error) => Err(failed(name, error)),
    }
}

fn owner(name: &str, text: &[u8]) -> Result<Uuid, StartError> {
    let damaged = |error| StartError::Refused(anyhow!("the marker {FOLDER}/owner.json in {name} is damaged: {error}"));
    let marker: Marker = serde_json::from_slice(text).map_err(damaged)?;
    if marker.format_version > FORMAT_VERSION {
        return Err(StartError::Refused(anyhow!(
            "{name} was made by a newer elanus (format {}, this build knows {FORMAT_VERSION}); use that version",
            marker.format_version
        )));
    }
    Ok(marker.cluster_id)
}

fn failed(name: &str, error: Error) -> StartError {
    let refused = matches!(error, Error::Denied { .. } | Error::Refused { .. });
    let error = anyhow!(error).context(format!("could not use {name} as object store"));
    if refused { StartError::Refused(error) } else { StartError::Failed(error) }
}

//! Where metadata and objects are, as flags say it.

use crate::s3::S3Args;
use anyhow::{Context as _, anyhow};
use elanus_objects::{
    LocalMarkers, LocalRoot, Location, MarkerStore as _, RootError, S3Store, marker_store::FOLDER, ownership::Site,
};
use elanus_types::{Clock, Failure};
use std::{
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::Arc,
};

/// Where metadata and objects are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// `sqlite:///…` or `postgres://…`, with a password: never shown.
    pub(crate) meta_url: String,
    pub(crate) objects: Location,
    /// How a bucket is reached.
    s3: S3Args,
    /// The data directory, where it holds the metadata of objects that are elsewhere.
    pub(crate) meta_dir: Option<PathBuf>,
}

/// What is needed to talk to the objects.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    /// A directory, which need not exist yet: its guard creates it.
    Directory(PathBuf),
    /// A bucket, which nothing was sent to yet.
    Bucket(S3Store),
}

impl Reach {
    /// Is it there? In words when it is not.
    pub(crate) async fn look(&self) -> Result<(), String> {
        match self {
            Self::Directory(dir) => {
                let found = tokio::fs::metadata(dir).await;
                found.map(drop).map_err(|error| format!("{}: {error}", dir.display()))
            }
            Self::Bucket(store) => {
                let names = store.markers().list(FOLDER).await;
                names.map(drop).map_err(|error| Failure::from(error).message)
            }
        }
    }
}

impl Places {
    /// Looks at nothing outside the flags.
    pub(crate) fn of(data: &Path, meta: Option<&str>, objects: Option<&str>, s3: &S3Args) -> anyhow::Result<Self> {
        let data = std::path::absolute(data).context("--data")?;
        let objects = match objects {
            Some(url) => Location::from_str(url).map_err(|error| anyhow!("--objects: {error}"))?,
            None => Location::Local(data.clone()),
        };
        let meta_url = match meta {
            Some(url) => known_meta_url(url).context("--meta"),
            None => sqlite_url(&data.join("meta.db")).context("--meta"),
        };
        let same = objects == Location::Local(data.clone());
        let meta_dir = (meta.is_none() && !same).then_some(data);
        Ok(Self { meta_url: meta_url?, objects, s3: s3.clone(), meta_dir })
    }

    /// For services in processes of their own: nothing is in a directory of one of them.
    pub(crate) fn shared(meta: Option<&str>, objects: Option<&str>, s3: &S3Args) -> anyhow::Result<Self> {
        let meta = meta.context("--meta: give the metadata store of the cluster, postgres://USER@HOST/DATABASE")?;
        let objects = objects.context(
            "--objects: give the object store of the cluster, s3://BUCKET/ROOT, or file:///DIR of a file system that all \
             services share",
        )?;
        let meta_url = checked_postgres_url(meta)?;
        let objects = Location::from_str(objects).map_err(|error| anyhow!("--objects: {error}"))?;
        Ok(Self { meta_url, objects, s3: s3.clone(), meta_dir: None })
    }

    /// Takes what is needed to talk to the objects: for a bucket certificates and keys.
    pub(crate) async fn reach(&self) -> anyhow::Result<Reach> {
        match &self.objects {
            Location::Local(dir) => Ok(Reach::Directory(dir.clone())),
            Location::S3(location) => Ok(Reach::Bucket(S3Store::new(self.s3.config(location.clone()).await?)?)),
        }
    }

    /// The root path of the objects. Touches nothing.
    pub(crate) fn site(&self, reach: &Reach, clock: &Arc<dyn Clock>) -> Site {
        Site {
            store: match reach {
                Reach::Directory(dir) => Arc::new(LocalMarkers::new(dir, Arc::clone(clock))),
                Reach::Bucket(store) => Arc::new(store.markers()),
            },
            location: self.location(),
            beside: self.metadata_beside(),
            clock: Arc::clone(clock),
        }
    }

    /// The directory of the objects, where they are in one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match &self.objects {
            Location::Local(dir) => Some(dir),
            Location::S3(_) => None,
        }
    }

    /// How the root path is called, without secrets: `file:///…`, `s3://…`.
    pub(crate) fn location(&self) -> String {
        match &self.objects {
            Location::Local(dir) => {
                url::Url::from_file_path(dir).map_or_else(|()| dir.display().to_string(), String::from)
            }
            Location::S3(location) => location.to_string(),
        }
    }

    /// True when the metadata's file lies among the objects.
    pub(crate) fn metadata_is_beside(&self) -> bool {
        !self.metadata_beside().is_empty()
    }

    /// Names of the metadata's files, where they lie among the objects.
    fn metadata_beside(&self) -> Vec<String> {
        self.directory().map(|dir| self.metadata_in(dir)).unwrap_or_default()
    }

    /// Names of the metadata's files, where they lie in this directory.
    fn metadata_in(&self, dir: &Path) -> Vec<String> {
        let path = self.meta_url.strip_prefix("sqlite://").map(Path::new);
        let name =
            path.filter(|path| path.parent() == Some(dir)).and_then(Path::file_name).and_then(|name| name.to_str());
        match name {
            Some(name) => ["", "-wal", "-shm", "-journal"].map(|end| format!("{name}{end}")).to_vec(),
            None => Vec::new(),
        }
    }

    /// Takes the data directory that holds the metadata of objects that are elsewhere, where there is one. `known`: there is
    /// metadata of Elanus in it, which may have come there without a server.
    pub(crate) fn take_meta_dir(&self, known: bool) -> Result<Option<LocalRoot>, RootError> {
        let Some(dir) = self.meta_dir.as_deref() else { return Ok(None) };
        let own = if known { self.metadata_in(dir) } else { Vec::new() };
        LocalRoot::open(dir, &own).map(Some)
    }
}

/// The value of `--meta` where it must be given.
pub(crate) fn checked_meta_url(url: Option<&str>) -> anyhow::Result<String> {
    let url = url.context("--meta: give sqlite:///path or postgres://user:password@host/database")?;
    known_meta_url(url).context("--meta")
}

/// As [`checked_meta_url`], for stores that several processes work on.
pub(crate) fn checked_postgres_url(url: &str) -> anyhow::Result<String> {
    match url.split_once("://") {
        Some(("sqlite", _)) => Err(anyhow!(
            "--meta: a SQLite file serves one process, elanus standalone; services in processes of their own need \
             postgres://user:password@host/database"
        )),
        _ => known_meta_url(url).context("--meta"),
    }
}

/// Never repeats the URL: it may have a password in it.
fn known_meta_url(url: &str) -> anyhow::Result<String> {
    match url.split_once("://") {
        Some(("sqlite", path)) if path.starts_with('/') => Ok(url.to_owned()),
        Some(("sqlite", _)) => Err(anyhow!("a sqlite URL needs an absolute path: sqlite:///path")),
        Some(("postgres" | "postgresql", _)) => Ok(url.to_owned()),
        Some(_) | None => {
            Err(anyhow!("this is no metadata URL; use sqlite:///path or postgres://user:password@host/database"))
        }
    }
}

fn sqlite_url(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(format!("sqlite://{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_their_own_need_stores_that_several_can_share() {
        let places = |meta, objects| {
            Places::shared(meta, objects, &S3Args::default()).map(drop).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(places(Some("postgres://h/d"), Some("s3://bucket/d")), Ok(()));
        assert_eq!(places(Some("postgres://h/d"), Some("file:///d")), Ok(()));
        for (meta, objects, says) in [
            (None, Some("s3://b"), "--meta: give"),
            (Some("postgres://h/d"), None, "--objects: give"),
            (Some("sqlite:///d/meta.db"), Some("s3://b"), "elanus standalone"),
            (Some("mysql://u:secret@h/d"), Some("s3://b"), "--meta: this is no metadata URL"),
            (Some("postgres://h/d"), Some("gs://b"), "--objects: gs://"),
        ] {
            let error = places(meta, objects).unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_metadata_in_the_directory_of_the_objects_is_beside_them() {
        let beside = |meta: Option<&str>, objects: Option<&str>| {
            Places::of(Path::new("/d"), meta, objects, &S3Args::default()).unwrap().metadata_beside().first().cloned()
        };
        assert_eq!(beside(None, None).as_deref(), Some("meta.db"));
        assert_eq!(beside(None, Some("file:///o")), None);
        assert_eq!(beside(None, Some("s3://bucket/d")), None);
        assert_eq!(beside(Some("sqlite:///o/x.db"), Some("file:///o")).as_deref(), Some("x.db"));
        assert_eq!(beside(Some("postgres://h/d"), None), None);
    }
}

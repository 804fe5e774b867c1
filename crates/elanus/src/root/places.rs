//! Where metadata and objects are, as flags say it.

use anyhow::{Context as _, anyhow};
use elanus_objects::{LocalMarkers, OpenError, ownership::Site};
use elanus_types::Clock;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where metadata and objects are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// `sqlite:///…` or `postgres://…`, with a password: never shown.
    pub(crate) meta_url: String,
    pub(crate) objects_dir: PathBuf,
    /// The data directory, where it holds the metadata of objects that are elsewhere.
    pub(crate) meta_dir: Option<PathBuf>,
}

impl Places {
    /// Looks at nothing outside the flags.
    pub(crate) fn of(data: &Path, meta: Option<&str>, objects: Option<&str>) -> anyhow::Result<Self> {
        let data = std::path::absolute(data).context("--data")?;
        let objects_dir = match objects {
            Some(url) => objects_dir(url).map_err(|error| anyhow!("--objects: {error}"))?,
            None => data.clone(),
        };
        let meta_url = match meta {
            Some(url) => checked_meta_url(url),
            None => sqlite_url(&data.join("meta.db")),
        };
        let meta_dir = meta.is_none().then_some(data).filter(|dir| *dir != objects_dir);
        Ok(Self { meta_url: meta_url.context("--meta")?, objects_dir, meta_dir })
    }

    /// The root path of the objects. Touches nothing.
    pub(crate) fn site(&self, clock: &Arc<dyn Clock>) -> Site {
        let location = url::Url::from_file_path(&self.objects_dir).map(String::from);
        Site {
            store: Arc::new(LocalMarkers::new(&self.objects_dir, Arc::clone(clock))),
            location: location.unwrap_or_else(|()| self.objects_dir.display().to_string()),
            beside: self.metadata_beside(),
            clock: Arc::clone(clock),
        }
    }

    /// True when the metadata's file lies among the objects.
    pub(crate) fn metadata_is_beside(&self) -> bool {
        !self.metadata_beside().is_empty()
    }

    /// Names of the metadata's files, where they lie among the objects.
    fn metadata_beside(&self) -> Vec<String> {
        let Some(path) = self.meta_url.strip_prefix("sqlite://").map(Path::new) else { return Vec::new() };
        let name = path.file_name().and_then(|name| name.to_str());
        match name.filter(|_| path.parent() == Some(&self.objects_dir)) {
            Some(name) => ["", "-wal", "-shm", "-journal"].map(|end| format!("{name}{end}")).to_vec(),
            None => Vec::new(),
        }
    }
}

/// The directory of a store that need not exist yet: its guard creates it.
fn objects_dir(url: &str) -> Result<PathBuf, OpenError> {
    match elanus_objects::open(url) {
        Err(OpenError::Directory { path, .. }) => Ok(path),
        Err(error) => Err(error),
        Ok(_) => {
            let path = url::Url::parse(url).ok().and_then(|url| url.to_file_path().ok());
            path.ok_or_else(|| OpenError::Invalid { why: "it is not a path".to_owned() })
        }
    }
}

/// Never repeats the URL: it may have a password in it.
fn checked_meta_url(url: &str) -> anyhow::Result<String> {
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
    fn only_metadata_in_the_directory_of_the_objects_is_beside_them() {
        let beside = |meta: Option<&str>, objects: Option<&str>| {
            Places::of(Path::new("/d"), meta, objects).unwrap().metadata_beside().first().cloned()
        };
        assert_eq!(beside(None, None).as_deref(), Some("meta.db"));
        assert_eq!(beside(None, Some("file:///o")), None);
        assert_eq!(beside(Some("sqlite:///o/x.db"), Some("file:///o")).as_deref(), Some("x.db"));
        assert_eq!(beside(Some("postgres://h/d"), None), None);
    }
}

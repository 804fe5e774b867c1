//! From a URL to a store.

use crate::{LocalStore, ObjectStore};
use std::{io, path::PathBuf, sync::Arc};
use url::Url;

/// Why a URL gives no object store. Texts never repeat the URL: it may have secrets in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Stores that this build cannot talk to.
    #[error("{scheme}:// object stores are not supported by this build; use file:///absolute/path")]
    Unsupported {
        /// The URL's scheme.
        scheme: String,
    },
    /// Not a URL, or one with parts that have no meaning here.
    #[error("the object store URL is not valid: {why}; use file:///absolute/path")]
    Invalid {
        /// What is wrong with it.
        why: String,
    },
    /// The directory of a local store.
    #[error("could not open the object store directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Opens the object store of `file:///absolute/path`. The directory must exist: [`crate::LocalRoot`] creates and guards it.
///
/// # Errors
/// When the URL is wrong or means a store that this build does not have, and when there is no such directory.
pub fn open(url: &str) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let invalid = |why: &str| OpenError::Invalid { why: why.to_owned() };
    let parsed = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
    if parsed.scheme() != "file" {
        return Err(OpenError::Unsupported { scheme: parsed.scheme().to_owned() });
    }
    if !url.to_ascii_lowercase().starts_with("file:///") {
        return Err(invalid("a local directory has no host and an absolute path"));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(invalid("a local directory has no '?' and no '#'"));
    }
    let path = parsed.to_file_path().map_err(|()| invalid("it is not a path"))?;
    Ok(Arc::new(LocalStore::open(&path)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use elanus_types::ObjectKey;

    #[tokio::test]
    async fn a_file_url_opens_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(Url::from_directory_path(dir.path()).unwrap().as_str()).unwrap();
        store.put(&ObjectKey::parse("a/b").unwrap(), Bytes::from_static(b"1")).await.unwrap();
        assert_eq!(std::fs::read(dir.path().join("a/b")).unwrap(), b"1");
    }

    #[test]
    fn what_cannot_be_opened_says_what_can() {
        let text = |url: &str| open(url).unwrap_err().to_string();
        assert_eq!(
            text("s3://key:secret@bucket/root"),
            "s3:// object stores are not supported by this build; use file:///absolute/path"
        );
        for url in ["", "/data", "file://host/data", "file:data", "file:///data?x=1"] {
            assert!(text(url).contains("use file:///absolute/path"), "{url:?}: {}", text(url));
        }
        assert!(text("file:///no/such/directory").contains("/no/such/directory"));
    }
}

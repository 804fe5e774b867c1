//! From a URL to the place of a store.

use crate::S3Location;
use std::{io, path::PathBuf, str::FromStr};
use url::Url;

/// Where the objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `file:///absolute/path`: a directory, for [`crate::LocalStore`]. It need not exist: [`crate::LocalRoot`] creates and
    /// guards it.
    Local(PathBuf),
    /// `s3://bucket/root/path`: a bucket, for [`crate::S3Store`].
    S3(S3Location),
}

/// Why a URL gives no object store. Texts never repeat the URL: it may have secrets in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Stores that this build cannot talk to.
    #[error("{scheme}:// object stores are not supported by this build; use file:///absolute/path or s3://bucket/path")]
    Unsupported {
        /// The URL's scheme.
        scheme: String,
    },
    /// Not a URL, or one with parts that have no meaning here.
    #[error("the object store URL is not valid: {why}; use file:///absolute/path or s3://bucket/path")]
    Invalid {
        /// What is wrong with it.
        why: String,
    },
    /// What is trusted beside the system's certificates.
    #[error("the CA certificates of the object store cannot be used: {why}")]
    Trust {
        /// What is wrong with them.
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

impl FromStr for Location {
    type Err = OpenError;

    fn from_str(url: &str) -> Result<Self, OpenError> {
        let invalid = |why: &str| OpenError::Invalid { why: why.to_owned() };
        let parsed = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
        match parsed.scheme() {
            "file" => {}
            "s3" => return url.parse().map(Self::S3),
            other => return Err(OpenError::Unsupported { scheme: other.to_owned() }),
        }
        if !url.to_ascii_lowercase().starts_with("file:///") {
            return Err(invalid("a local directory has no host and an absolute path"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(invalid("a local directory has no '?' and no '#'"));
        }
        parsed.to_file_path().map(Self::Local).map_err(|()| invalid("it is not a path"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_the_objects_are() {
        let parse = |url: &str| Location::from_str(url).unwrap();
        assert_eq!(parse("file:///no/such%20dir"), Location::Local("/no/such dir".into()));
        let Location::S3(place) = parse("s3://bucket/root") else { panic!("not a bucket") };
        assert_eq!(place.to_string(), "s3://bucket/root");
    }

    #[test]
    fn what_cannot_be_opened_says_what_can() {
        let text = |url: &str| Location::from_str(url).unwrap_err().to_string();
        assert_eq!(
            text("gs://key:secret@bucket/root"),
            "gs:// object stores are not supported by this build; use file:///absolute/path or s3://bucket/path"
        );
        for url in ["", "/data", "file://host/data", "file:data", "file:///data?x=1", "s3://key:secret@bucket/root"] {
            assert!(text(url).contains("use file:///absolute/path"), "{url:?}: {}", text(url));
        }
    }
}

//! Files that tasks read and write as a whole: fetched and compared with the metadata, worked on off the async threads, and
//! why that did not go well.

use super::store::{Way, tried};
use bytes::Bytes;
use elanus_meta::model::FileRecord;
use elanus_objects::{Error, Expected, Retry};
use elanus_types::{Failure, ObjectKey};

/// Why there is no new file.
pub(super) enum Stop {
    /// The worker was told to stop, or lost the claim.
    Told,
    /// What is reported.
    Failed { permanent: bool, key: String, why: String },
}

/// The bytes of a file, as the metadata say that they are.
pub(super) async fn fetch<'f>(way: &Way<'_>, file: &'f FileRecord) -> Result<(&'f FileRecord, Bytes), Stop> {
    let [object] = file.objects.as_slice() else {
        let parts = file.objects.len();
        return Err(permanent("", format!("file set {} has {parts} objects instead of one", file.file_set)));
    };
    let expected = Expected { size: object.size, checksum: object.checksum };
    let read = || async {
        let bytes = way.objects.get(&object.key).await?;
        expected.verify(&object.key, &bytes)?;
        Ok(bytes)
    };
    let bytes = tried(way, &object.key, read).await.ok_or(Stop::Told)?;
    Ok((file, bytes.map_err(|error| of_store(object.key.as_str(), error))?))
}

/// Writes a file to its key, which is this claim's alone.
pub(super) async fn store(way: &Way<'_>, target: &ObjectKey, bytes: Bytes) -> Result<(), Stop> {
    let written = tried(way, target, || way.objects.put(target, bytes.clone())).await.ok_or(Stop::Told)?;
    written.map_err(|error| of_store(target.as_str(), error)).map(drop)
}

/// Runs work that needs a core off the async threads; what goes wrong is the file's fault.
pub(super) async fn off_thread<T: Send + 'static>(
    file: &FileRecord,
    work: impl FnOnce() -> Result<T, elanus_segment::Error> + Send + 'static,
) -> Result<T, Stop> {
    blocking(work).await.map_err(|error| permanent(key_of(file), error))
}

/// The same, for what is no one file's fault.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, elanus_segment::Error> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(with_source(&error)),
        Err(error) => Err(format!("the work on a file stopped: {error}")),
    }
}

pub(super) fn with_source(error: &elanus_segment::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

pub(super) fn key_of(file: &FileRecord) -> &str {
    file.objects.first().map_or("", |object| object.key.as_str())
}

fn of_store(key: &str, error: Error) -> Stop {
    let permanent = error.retry() == Retry::Never;
    Stop::Failed { permanent, key: key.to_owned(), why: Failure::from(error).message }
}

pub(super) fn permanent(key: &str, why: impl ToString) -> Stop {
    Stop::Failed { permanent: true, key: key.to_owned(), why: why.to_string() }
}

pub(super) fn transient(key: &str, why: String) -> Stop {
    Stop::Failed { permanent: false, key: key.to_owned(), why }
}

//! Files that are not yet objects: `name#N`, as the local store names them until they are linked into their place.

use elanus_types::ObjectKey;
use std::{
    fs::{self, DirEntry},
    io,
    path::Path,
};

/// Shows `look` every staging file in `dir` and below it, until it says that it has seen enough. Regular files only; an
/// absent directory has none.
pub(crate) fn walk(dir: &Path, look: &mut impl FnMut(&DirEntry) -> io::Result<Go>) -> io::Result<Go> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Go::On);
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        let go = if kind.is_dir() {
            walk(&entry.path(), look)?
        } else if kind.is_file() && entry.file_name().to_str().is_some_and(|name| object_of(name).is_some()) {
            look(&entry)?
        } else {
            Go::On
        };
        if go == Go::Enough {
            return Ok(Go::Enough);
        }
    }
    Ok(Go::On)
}

/// Is there anything more to be seen?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Go {
    On,
    Enough,
}

/// The object that a staging file, `name#N`, would have become; `None` for any other name.
pub(crate) fn object_of(name: &str) -> Option<ObjectKey> {
    let (base, number) = name.rsplit_once('#')?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    ObjectKey::parse(base).ok().filter(|_| is_number)
}

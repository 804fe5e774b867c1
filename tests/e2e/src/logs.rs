//! What the processes of a failed run wrote, where it stays.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// Writes logs into a new folder below `parent`, and says where.
pub(crate) fn collect(parent: &Path, logs: &[(String, String)]) -> Result<PathBuf> {
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let folder = tempfile::Builder::new().prefix("run-").tempdir_in(parent)?.keep();
    for (name, log) in logs {
        std::fs::write(folder.join(format!("{name}.log")), log)?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_a_folder_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let logs = [("proxy-0".to_owned(), "it was so".to_owned())];
        let [first, second] = [0, 1].map(|_| collect(&home.path().join("logs"), &logs).unwrap());
        assert_ne!(first, second);
        assert_eq!(std::fs::read_to_string(second.join("proxy-0.log")).unwrap(), "it was so");
    }
}

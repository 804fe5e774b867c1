//! A file system of a test's own.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A mount that ends with this value.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts with these arguments of `mount`; `None` when this process may not.
    #[must_use]
    pub fn new(args: &[&str], at: &Path) -> Option<Self> {
        let status = Command::new("mount").args(args).arg(at).stderr(Stdio::null()).status();
        let mounted = status.is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("not tested: this process may not mount");
        }
        mounted.then(|| Self(at.to_owned()))
    }

    /// A small file system in memory; `None` when this process may not mount.
    #[must_use]
    pub fn small(mib: u32, at: &Path) -> Option<Self> {
        Self::new(&["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"], at)
    }

    /// Takes all the room that is left with a file of this name.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn fill(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        let mut file = File::create(&path)?;
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

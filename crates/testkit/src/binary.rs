//! Where the elanus program is, and its commands that end by themselves.

use anyhow::{Context as _, Result};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

/// No command of a test takes longer.
const END_MAX: Duration = Duration::from_secs(120);

/// The program was not built.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no elanus program at {}: build it with `cargo build --package elanus`, or run `cargo xtask test`, which does",
    path.display()
)]
pub struct NoBinary {
    /// Where it should be.
    pub path: PathBuf,
}

/// The program that was built with this test: cargo puts tests into `deps` beside it, and other programs next to it.
///
/// # Errors
/// [`NoBinary`] when it was not built.
pub fn path() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this process does not know where it came from")?;
    let folder = own.parent().context("this process came from nowhere")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(format!("elanus{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() { Ok(path) } else { Err(NoBinary { path }.into()) }
}

/// How a command ended, and what it wrote.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// Runs `elanus` with these arguments to its end, away from a terminal.
///
/// # Errors
/// When the program was not built, cannot be started, or does not end in time.
pub async fn elanus<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<Ended> {
    elanus_of(&path()?, args).await
}

/// The same with another program, of an earlier version.
///
/// # Errors
/// When it cannot be started, or does not end in time.
pub async fn elanus_of<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> Result<Ended> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(END_MAX, command.output())
        .await
        .with_context(|| format!("{command:?} did not end within {END_MAX:?}"))??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
}

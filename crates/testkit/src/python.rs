//! Scripts in a Python that has pymilvus.

use crate::settings;
use anyhow::{Context as _, Result, bail};
use std::{path::Path, process::Stdio, time::Duration};
use tokio::process::Command;

const END_MAX: Duration = Duration::from_secs(240);

/// Runs a script to its end; what it wrote to standard output.
///
/// # Errors
/// When there is no such Python, or the script fails or does not end in time; with everything that it wrote.
pub async fn python(script: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(settings::python()?);
    command
        .arg(script)
        .args(args)
        .envs([("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONUNBUFFERED", "1"), ("GRPC_VERBOSITY", "ERROR")])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(END_MAX, command.output())
        .await
        .with_context(|| format!("{} did not end within {END_MAX:?}", script.display()))?
        .with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({})\n{stdout}\n{stderr}", script.display(), output.status);
    }
    Ok(stdout)
}

//! The Docker engine, through its command line.

use crate::run::{command, read, succeed};
use anyhow::{Context as _, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// On every stand-in, so that nobody takes it for the real thing.
pub(super) const STAND_IN: &str = "elanus.stand-in";

/// Fails with what to do when there is no engine.
pub(super) fn answers() -> Result<()> {
    let text = read(&mut docker(&["version", "--format", "{{.Server.Version}}"]));
    text.map(drop).context(
        "needs a Docker engine that runs, and the right to use it (Debian: apt-get install docker.io docker-compose)",
    )
}

pub(super) fn docker(arguments: &[&str]) -> Command {
    let mut docker = command("docker", arguments);
    // Without its plug-in, the client refuses to build unless it is told to use the older builder.
    if !*HAS_BUILDX.get_or_init(|| is_quiet_success(&mut command("docker", &["buildx", "version"]))) {
        docker.env("DOCKER_BUILDKIT", "0");
    }
    docker
}

static HAS_BUILDX: OnceLock<bool> = OnceLock::new();

fn is_quiet_success(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

pub(super) fn has(image: &str) -> bool {
    is_quiet_success(&mut docker(&["image", "inspect", image]))
}

pub(super) fn is_stand_in(image: &str) -> bool {
    let label = format!("{{{{index .Config.Labels \"{STAND_IN}\"}}}}");
    read(&mut docker(&["image", "inspect", "--format", &label, image])).is_ok_and(|text| text.trim() == "true")
}

pub(super) fn bytes(image: &str) -> Result<u64> {
    let text = read(&mut docker(&["image", "inspect", "--format", "{{.Size}}", image]))?;
    text.trim().parse().with_context(|| format!("docker says that the size of {image} is {text:?}"))
}

pub(super) fn pull(image: &str) -> Result<()> {
    succeed(&mut docker(&["pull", "--quiet", image]))
}

/// Builds `target` of a Dockerfile.
pub(super) fn build(image: &str, file: &Path, target: &str, context: &Path, arguments: &[String]) -> Result<()> {
    let mut build = docker(&["build", "--quiet", "--tag", image, "--target", target, "--file"]);
    build.arg(file);
    for argument in arguments {
        build.args(["--build-arg", argument]);
    }
    // The older builder is deprecated on every call; what goes wrong is told by the error.
    let output = build.arg(context).output().context("cannot start docker")?;
    if !output.status.success() {
        bail!("docker build of {image} failed:\n{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Makes an image of a root file system.
pub(super) fn import(tar: &Path, image: &str) -> Result<()> {
    let label = format!("LABEL {STAND_IN}=true");
    let mut import = docker(&["import", "--change", &label, "--change", "CMD [\"bash\"]"]);
    succeed(import.arg(tar).arg(image).stdout(Stdio::null()))
}

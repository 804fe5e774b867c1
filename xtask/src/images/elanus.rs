//! The image of Elanus.

use super::{Args, docker, stand_ins, step};
use crate::demo::target;
use crate::run::{cargo, command, read, root, succeed};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `deploy/Dockerfile` builds in and runs on.
pub(super) const BUILDER: &str = "rust:1.95-slim-bookworm";
const RUNTIME: &str = "debian:bookworm-slim";
/// Where Debian, Fedora and Alpine keep the certificates that are trusted.
const CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Builds it in a container, or puts a program into it that is built outside; says which.
pub(super) fn build(image: &str, args: &Args, is_cut_off: bool) -> Result<&'static str> {
    let file = root().join("deploy/Dockerfile");
    let commit = read(&mut command("git", &["describe", "--always", "--dirty"])).unwrap_or_default();
    let arguments = [format!("VERSION={}", env!("CARGO_PKG_VERSION")), format!("COMMIT={}", commit.trim())];
    if is_cut_off && !docker::has(RUNTIME) {
        stand_ins::debian(RUNTIME)?;
    }
    let how = if is_cut_off || args.debug || args.binary.is_some() {
        let context = program(args, commit.trim())?;
        step(&format!("{image} of a program that was built outside"));
        docker::build(image, &file, "prebuilt", &context, &arguments)?;
        if args.debug { "built, debug" } else { "built" }
    } else {
        step(&format!("{image}: compile in a container (minutes)"));
        docker::build(image, &file, "elanus", &root(), &arguments)?;
        "built"
    };
    starts(image)?;
    Ok(how)
}

/// A folder with what the target `prebuilt` copies.
fn program(args: &Args, commit: &str) -> Result<PathBuf> {
    let built = match &args.binary {
        Some(file) => file.clone(),
        None => compile(args.debug, commit)?,
    };
    let context = target(false).join("../images/elanus");
    fs::create_dir_all(&context).with_context(|| format!("cannot make {}", context.display()))?;
    strip(&built, &context.join("elanus"))?;
    let certificates = CERTIFICATES.iter().find(|file| Path::new(file).exists());
    let certificates =
        certificates.context("no trusted certificates here (Debian: apt-get install ca-certificates)")?;
    fs::copy(certificates, context.join("ca-certificates.crt"))?;
    Ok(context)
}

fn compile(debug: bool, commit: &str) -> Result<PathBuf> {
    let mut build = cargo(&["build", "--locked", "--package", "elanus"]);
    if !debug {
        // A debug build is built as the tests build it: another commit would build it anew.
        build.arg("--release").env("ELANUS_COMMIT", commit);
    }
    step(if debug { "build elanus" } else { "build elanus for release (minutes)" });
    succeed(&mut build)?;
    Ok(target(!debug).join("elanus"))
}

/// Without debug information, where there is a `strip`; else as it is.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let stripped = Command::new("strip").arg("--strip-debug").arg("-o").arg(to).arg(from).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// The program in the image runs there, and is of this version.
fn starts(image: &str) -> Result<()> {
    let said = read(&mut docker::docker(&["run", "--rm", "--network", "none", image, "--version"]));
    let said = said.with_context(|| {
        format!("elanus does not start in {image}; was it built on a system with a newer C library than {RUNTIME}?")
    })?;
    if said.trim() != format!("elanus {}", env!("CARGO_PKG_VERSION")) {
        bail!("the program in {image} says that it is {:?}", said.trim());
    }
    Ok(())
}

